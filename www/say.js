// What the page says, from one table of messages for each language: words/en.js. Nowhere else on
// the page are words for its reader; what the engine says of an error is the engine's.
//
// The table of another language is loaded before anything of the page is built, and only by those who read it.
import { recall, remember } from "./remember.js";
import { languageOf } from "./state/language.js";
import { EN } from "./words/en.js";

/** A message, or one for each plural form that the language has. @typedef {string|{[form in Intl.LDMLPluralRule]?: string} & {other: string}} Message */
/** @typedef {Record<string, Message>} Table */

/** Other languages; another is a folder in words/ and a line here. @type {Record<string, () => Promise<Table>>} */
const OTHERS = { de: async () => (await import("./words/de.js")).DE };

const STORED = "playground.language";
const wished = languageOf({
  hash: globalThis.location?.hash, remembered: recall(STORED), preferred: globalThis.navigator?.languages,
});
/** The words of another language; where they do not come, as without a network, the page is in English. @type {Table|null} */
const other = wished === "en" ? null : await OTHERS[wished]().catch(() => null);

/** The language of the page. */
export const LANGUAGE = other ? wished : "en";
const plural = new Intl.PluralRules(LANGUAGE);
const number = new Intl.NumberFormat(LANGUAGE);
const DECIMAL = /^[+−-]?\d+\.\d+$/;
const mark = number.formatToParts(0.5).find(({ type }) => type === "decimal")?.value ?? ".";

/** Remembers the language that the reader chose, for the next time the page is loaded. @param {string} language */
export const speak = (language) => { remember(STORED, language); };
/** What was chosen last, where the browser remembers it. */
export const spoken = () => recall(STORED);

/**
 * A message in the page's language. A number comes as the language writes it, and `n` chooses the
 * plural form; text stays as it is, so a number that is formatted already is given as text: of that only the
 * decimal mark is the language's.
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
  // What is not translated yet is said in English; a test finds it.
  const message = other?.[key] ?? EN[key];
  if (message === undefined) throw new Error(`words/en.js has no "${key}"`);
  const { n } = values;
  const text = typeof message === "string" ? message : message[plural.select(Number(n))] ?? message.other;
  return text.split(/\{(\w+)\}/).map((piece, at) => {
    if (at % 2 === 0) return piece;
    const value = values[piece];
    if (value === undefined) throw new Error(`"${key}" wants {${piece}}`);
    if (typeof value === "number") return number.format(value);
    return typeof value === "string" && DECIMAL.test(value) ? value.replace(".", mark) : value;
  }).filter((piece) => piece !== "");
}

/** A name as it stands among others: "a, b, and c"; a "unit" is without the word. @param {string[]} names @param {"conjunction"|"unit"} [type] */
export const listed = (names, type) => new Intl.ListFormat(LANGUAGE, { type }).format(names);

const clock = new Intl.DateTimeFormat(LANGUAGE, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

/** When something was. @param {number} at in ms since 1970 */
export const moment = (at) => clock.format(at);

/** Writes numbers as the language does, but in one group. @param {Intl.NumberFormatOptions} options */
export function numbers(options) {
  const format = new Intl.NumberFormat(LANGUAGE, { useGrouping: false, ...options });
  return (/** @type {number} */ value) => format.format(value);
}

/** Puts the words of the table into the document, which comes in English. @param {Document} page */
export function translate(page) {
  page.documentElement.lang = LANGUAGE;
  for (const element of page.querySelectorAll("[data-say]")) {
    if (!(element instanceof HTMLElement)) continue;
    const terms = [...element.querySelectorAll("[data-term]")].map((term) => {
      const name = /** @type {HTMLElement} */ (term).dataset.term;
      // A term has a name of its own, unless the sentence calls it otherwise.
      if (term.textContent === EN[`word.${name}`]) term.textContent = say(`word.${name}`);
      return [name, term];
    });
    element.replaceChildren(...parts(String(element.dataset.say), Object.fromEntries(terms)));
  }
  for (const element of page.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(String(element.getAttribute("data-label"))));
}
