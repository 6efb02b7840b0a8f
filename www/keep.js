// What is too large for remember.js and shall be there on another visit, by name: IndexedDB, where the
// browser allows it. One thing after the other, so that what was asked last holds.

/** The database, and the place in it. */
const [BASE, PLACE] = ["steering-playground", "kept"];

/** @template T @param {IDBRequest<T>} request @returns {Promise<T>} */
const answer = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

/** @type {Promise<any>} */
let last = Promise.resolve();

/**
 * @template T
 * @param {IDBTransactionMode} mode @param {(store: IDBObjectStore) => IDBRequest<T>} does
 * @returns {Promise<T>}
 */
function ask(mode, does) {
  const next = last.then(async () => {
    const opening = indexedDB.open(BASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(PLACE);
    const base = await answer(opening);
    try {
      const transaction = base.transaction(PLACE, mode);
      const done = new Promise((resolve, reject) => {
        transaction.oncomplete = resolve;
        // A full disk is told here.
        transaction.onabort = () => reject(transaction.error);
      });
      const [value] = await Promise.all([answer(does(transaction.objectStore(PLACE))), done]);
      return value;
    } finally {
      base.close();
    }
  });
  last = next.catch(() => {});
  return next;
}

/** Rejects where the browser denies it, or has no room. @param {string} name @param {unknown} value */
export const keep = (name, value) => ask("readwrite", (store) => store.put(value, name));

/** Undefined where there is none. @param {string} name @returns {Promise<unknown>} */
export const kept = (name) => ask("readonly", (store) => store.get(name));

/** The names of all that is kept. */
export const keptNames = () => ask("readonly", (store) => store.getAllKeys());

/** Nothing is kept any more. */
export const forgetAll = () => ask("readwrite", (store) => store.clear());

/** @param {string} name */
export const forget = (name) => ask("readwrite", (store) => store.delete(name));
