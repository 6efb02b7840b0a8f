// SHA-256 of files that are in memory, as far as this page may compute it.

/** @type {WeakMap<object, Promise<string|null>>} */
const known = new WeakMap();
/** What is larger would take the memory of a second copy. */
const MOST_BYTES = 256e6;

/** In hex; null where the page is not secure, or the file is large. @param {ArrayBuffer|Uint8Array|Blob} bytes @returns {Promise<string|null>} */
export function hashOf(bytes) {
  const here = known.get(bytes);
  if (here) return here;
  const hash = digest(bytes).catch(() => null);
  known.set(bytes, hash);
  return hash;
}

/** @param {ArrayBuffer|Uint8Array|Blob} bytes */
async function digest(bytes) {
  const size = bytes instanceof Blob ? bytes.size : bytes.byteLength;
  if (size > MOST_BYTES || !globalThis.crypto?.subtle) return null;
  const held = bytes instanceof Blob ? await bytes.arrayBuffer() : bytes;
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", /** @type {BufferSource} */ (held)));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
