// In which language the page speaks: what the link says, else what was chosen here, else the first of the
// reader's languages that there are words for.

/** The languages there are words for; a new one has a line here, in ../say.js and in index.html. */
export const LANGUAGES = ["en", "de"];

/**
 * @param {{hash?: string, remembered?: string|null, preferred?: readonly string[]}} reader
 * @returns {string} one of `LANGUAGES`
 */
export function languageOf({ hash = "", remembered = null, preferred = [] }) {
  const linked = new URLSearchParams(hash.replace(/^#/, "")).get("lang");
  const wishes = [linked, remembered, ...preferred].map((tag) => (tag ?? "").toLowerCase().split("-")[0]);
  return wishes.find((wish) => LANGUAGES.includes(wish)) ?? "en";
}
