// The turns of a conversation outlive a reload: short ones in the link, all of them in this tab.

/** @typedef {import("./state/store.js").Turn} Turn */

const KEPT = "playground.turns";
/** Characters of a conversation that a link takes. */
const LINK_CHARACTERS = 1500;

/** Whether a conversation is too long for a link. @param {Turn[]} turns */
export const isLong = (turns) => turns.reduce((sum, { user, answer }) => sum + user.length + answer.length, 0) > LINK_CHARACTERS;

/** What was said in both. @param {Turn[]} turns */
const words = (turns) => JSON.stringify(turns.map(({ user, answer }) => [user, answer]));

/**
 * The turns that a visit begins with: the link's, or, where it says that they are too long for it, this tab's.
 * @param {Turn[]|undefined} linked
 * @param {boolean} kept whether the link says so
 * @returns {Turn[]}
 */
export function recallTurns(linked, kept) {
  const here = recalled();
  if (linked?.length) return words(here) === words(linked) ? here : linked;
  return kept ? here : [];
}

/** @returns {Turn[]} */
function recalled() {
  try {
    const list = JSON.parse(sessionStorage.getItem(KEPT) ?? "[]");
    return list.filter((/** @type {any} */ turn) => [turn.user, turn.answer, turn.turned].every((part) => typeof part === "string"));
  } catch {
    return []; // denied, or of somebody else
  }
}

/** @param {Turn[]} turns */
export function rememberTurns(turns) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(turns));
  } catch {
    // denied, or full
  }
}
