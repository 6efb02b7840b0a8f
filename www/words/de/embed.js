// The words of ../embed.js in German.

/** @type {import("../../say.js").Table} */
export const EMBED = {
  "embed.told": "Gerechnet wird in dieser Seite. Die Seite um sie herum, von {origin}, erfährt den Prompt, die Koeffizienten, die Namen der Adapter und beide Texte; keine Datei verlässt diese Seite.",
  "embed.nameless": "einem Ort ohne Namen",
};
