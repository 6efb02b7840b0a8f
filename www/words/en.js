// Every word of the page in English: key -> message. Names in braces are filled in; where a number
// decides between forms, there is one for each plural form of the language (`one`, `other`), and
// the number is called n. See ../say.js.

/** @type {Record<string, import("../say.js").Message>} */
export const EN = {
  // ---- the page and its words ----
  "page.percent": "{p} %",
  "page.percent-least": "<0.1 %",

  // ---- adapters ----

  // ---- model and device ----

  // ---- keys ----

  // ---- files that are offered ----

  // ---- engine ----

  // ---- prompt and sampling ----

  // ---- texts ----
  "token.count": { one: "{n} token", other: "{n} tokens" },

  // ---- strips ----

  // ---- next token ----

  // ---- recording ----

  // ---- glossary ----
};
