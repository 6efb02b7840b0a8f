// The words of the page in a frame; words/en.js has all others.

/** @type {Record<string, import("../say.js").Message>} */
export const EMBED = {
  "embed.told": "This page computes here. The page around it, of {origin}, is told the prompt, the coefficients, the names of adapters and both texts; no file leaves this page.",
  "embed.nameless": "an unnamed place",
};
