// The words of the zoo; words/en.js has all others.

/** @type {Record<string, import("../say.js").Message>} */
export const ZOO = {
  "zoo.behaviour": "Behaviour",
  "zoo.other": "other",
  "zoo.compared": "How all of them compare",
  "zoo.title": "{behaviour} · {name}",
  "zoo.variant": "{title} ({name})",
  "zoo.wrong-size": "{file} is not the file of the list: expected {expected} bytes, found {found}. It was not loaded; try again, or reload the page",
  "zoo.wrong-hash": "{file} is not the file of the list: expected SHA-256 {expected}, found {found}. It was not loaded; try again, or reload the page",
  "zoo.trained": "How it came about",
  "zoo.trained.behaviour": "behaviour",
  "zoo.trained.rate": "learning rate",
  "zoo.trained.steps": "steps",
  "zoo.trained.seconds": "seconds of training",
  "zoo.trained.seed": "seed",
  "zoo.trained.parameters": "trained numbers",
  "zoo.measured": "d: mean log-probability of the positive answer minus that of the negative one, on prompts that it was not trained on; nats per token",
};
