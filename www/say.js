// What the page says, from one table of messages for each language: words/en.js. Nowhere else on
// the page are words for its reader; what the engine says of an error is the engine's.
import { EN } from "./words/en.js";

/** A message, or one for each plural form that the language has. @typedef {string|{[form in Intl.LDMLPluralRule]?: string} & {other: string}} Message */

/** The tables there are; another language is a file in words/ and a line here. @type {Record<string, Record<string, Message>>} */
const TABLES = { en: EN };

/** The first of the reader's languages that there is a table for. */
const code = (globalThis.navigator?.languages ?? []).map((tag) => tag.split("-")[0]).find((language) => language in TABLES) ?? "en";
const table = TABLES[code];
const plural = new Intl.PluralRules(code);
const number = new Intl.NumberFormat(code);

/**
 * A message in the page's language. A number comes as the language writes it, and `n` chooses the
 * plural form; text stays as it is, so a number that is formatted already is given as text.
 * @param {string} key
 * @param {Record<string, string|number>} [values] for the names in braces
 * @returns {string}
 */
export const say = (key, values = {}) => parts(key, values).join("");

/**
 * The same, for messages with elements in them: pieces of text and what was given for the names.
 * @param {string} key
 * @param {Record<string, string|number|Node>} [values]
 * @returns {(string|Node)[]}
 */
export function parts(key, values = {}) {
  const message = table[key];
  if (message === undefined) throw new Error(`words/${code}.js has no "${key}"`);
  const { n } = values;
  const text = typeof message === "string" ? message : message[plural.select(Number(n))] ?? message.other;
  return text.split(/\{(\w+)\}/).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const value = values[piece];
    if (value === undefined) throw new Error(`"${key}" wants {${piece}}`);
    return typeof value === "number" ? number.format(value) : value;
  }).filter((piece) => piece !== "");
}

/** A name as it stands among others: "a, b, and c"; a "unit" is without the word. @param {string[]} names @param {"conjunction"|"unit"} [type] */
export const listed = (names, type) => new Intl.ListFormat(code, { type }).format(names);

/** Writes numbers as the language does, but in one group. @param {Intl.NumberFormatOptions} options */
export function numbers(options) {
  const format = new Intl.NumberFormat(code, { useGrouping: false, ...options });
  return (/** @type {number} */ value) => format.format(value);
}

/** Puts the words of the table into the document, which comes in English. @param {Document} page */
export function translate(page) {
  page.documentElement.lang = code;
  for (const element of page.querySelectorAll("[data-say]")) {
    if (!(element instanceof HTMLElement)) continue;
    const terms = [...element.querySelectorAll("[data-term]")].map((term) => [/** @type {HTMLElement} */ (term).dataset.term, term]);
    element.replaceChildren(...parts(String(element.dataset.say), Object.fromEntries(terms)));
  }
  for (const element of page.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(String(element.getAttribute("data-label"))));
}
