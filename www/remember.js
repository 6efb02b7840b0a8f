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

/** @param {string} key @param {string} value */
export function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // denied, or full
  }
}

/** Puts the state into the address. @param {string} hash @returns {boolean} whether it is there */
export function writeAddress(hash) {
  try {
    history.replaceState(null, "", hash);
    return true;
  } catch {
    return false; // a frame that may not, or too many changes at once
  }
}
