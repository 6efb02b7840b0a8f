// The few settings that this browser remembers. Where a frame or the user denies it its storage,
// already looking for it throws: then nothing is remembered, and everything else works.

/** @param {string} key @returns {string|null} */
export function recall(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

/** @param {string} key @param {string} value @returns {boolean} whether it is remembered */
export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
    return true;
  } catch {
    return false; // denied, or full
  }
}

/** How all of them begin: others of this site have theirs. */
const OURS = "playground.";

/** All that is remembered, here and for this tab: names, and about how many bytes. @returns {{name: string, bytes: number}[]} */
export function remembered() {
  try {
    return [localStorage, sessionStorage].flatMap((place) => Object.keys(place).filter((name) => name.startsWith(OURS))
      .map((name) => ({ name, value: place.getItem(name) ?? "" })).filter(({ value }) => !["", "[]", "{}"].includes(value))
      .map(({ name, value }) => ({ name, bytes: 2 * (name.length + value.length) })));
  } catch {
    return []; // denied
  }
}

/** @param {string[]} names */
export function forgetRemembered(names) {
  for (const name of names) {
    localStorage.removeItem(name);
    sessionStorage.removeItem(name);
  }
}

/** Puts the state into the address. @param {string} hash @returns {boolean} whether it is there */
export function writeAddress(hash) {
  try {
    // What this entry shows stays with it.
    history.replaceState(history.state, "", hash);
    return true;
  } catch {
    return false; // a frame that may not, or too many changes at once
  }
}
