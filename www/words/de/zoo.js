// The words of ../zoo.js in German.

/** @type {import("../../say.js").Table} */
export const ZOO = {
  "zoo.behaviour": "Verhalten",
  "zoo.other": "andere",
  "zoo.compared": "Wie alle im Vergleich abschneiden",
  "zoo.title": "{behaviour} · {name}",
  "zoo.variant": "{title} ({name})",
  "zoo.wrong-size": "{file} ist nicht die Datei der Liste: erwartet {expected} Bytes, gefunden {found}. Sie wurde nicht geladen; versuch es noch einmal oder lade die Seite neu",
  "zoo.wrong-hash": "{file} ist nicht die Datei der Liste: erwartet SHA-256 {expected}, gefunden {found}. Sie wurde nicht geladen; versuch es noch einmal oder lade die Seite neu",
  "zoo.trained": "Wie er entstand",
  "zoo.trained.behaviour": "Verhalten",
  "zoo.trained.rate": "Lernrate",
  "zoo.trained.steps": "Schritte",
  "zoo.trained.seconds": "Sekunden Training",
  "zoo.trained.seed": "Seed",
  "zoo.trained.parameters": "trainierte Zahlen",
  "zoo.measured": "d: mittlere Log-Wahrscheinlichkeit der positiven Antwort minus die der negativen, an Prompts, an denen nicht trainiert wurde; Nats je Token",
};
