// The model that the page offers first; words/ has what it is ("model.default"). Any other GGUF
// works by address or by file.

export const DEFAULT_MODEL = {
  kind: /** @type {const} */ ("url"),
  name: "SmolLM2-135M-Instruct",
  url: new URL("../models/SmolLM2-135M-Instruct.Q4_1.gguf", import.meta.url).href,
  bytes: 98362432,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
};

/** Prompts to start from, those of the recording; the first is the page's at the start. */
export const EXAMPLES = [
  "Tell me about your garden.",
  "What makes a good breakfast?",
  "Tell me a story about a kite.",
  "What is the weather like in spring?",
];
