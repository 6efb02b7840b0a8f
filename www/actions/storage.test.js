// node --test www
// What "Delete everything" leaves: nothing of the page's, and everything of its neighbours on the same site.
import assert from "node:assert/strict";
import { test } from "node:test";

/** A browser's small storage, whose keys are its own properties. @param {Record<string, string>} values */
function small(values) {
  const methods = {
    getItem(/** @type {string} */ name) { return /** @type {any} */ (this)[name] ?? null; },
    setItem(/** @type {string} */ name, /** @type {string} */ value) { /** @type {any} */ (this)[name] = value; },
    removeItem(/** @type {string} */ name) { delete /** @type {any} */ (this)[name]; },
  };
  return Object.assign(Object.create(methods), values);
}
/** @type {Map<string, Set<string>>} */
const held = new Map();
const open = async (/** @type {string} */ name) => {
  const urls = held.get(name) ?? new Set();
  held.set(name, urls);
  return { keys: async () => [...urls].map((url) => ({ url })), delete: async (/** @type {{url: string}} */ { url }) => urls.delete(url) };
};
/** @type {string[]} */
const removed = [];
let cleared = 0;
const request = (/** @type {any} */ result) => {
  const one = /** @type {any} */ ({ result });
  setTimeout(() => one.onsuccess?.());
  return one;
};
const registration = (/** @type {string} */ scope) => ({ scope, unregister: async () => removed.push(scope) });
Object.assign(globalThis, {
  document: { baseURI: "https://site.example/play/" }, caches: { open },
  localStorage: small({ "playground.theme": "dark", "playground.history": "[1]", "other.app": "stays" }),
  sessionStorage: small({ "playground.turns": "[2]", other: "stays" }),
  indexedDB: { open: () => request({ close() {}, transaction() {
    const transaction = /** @type {any} */ ({ objectStore: () => ({ clear: () => { cleared += 1; return request(undefined); }, getAllKeys: () => request([]) }) });
    setTimeout(() => transaction.oncomplete(), 5);
    return transaction;
  } }) },
});
Object.defineProperty(globalThis, "navigator", { configurable: true, value: {
  storage: { getDirectory: async () => ({ removeEntry: async (/** @type {string} */ name) => removed.push(name) }) },
  serviceWorker: { getRegistrations: async () => [registration("https://site.example/play/"), registration("https://site.example/grades/")] },
} });
const { storageActions } = await import("./storage.js");
const { createStore, defaults } = await import("../state/store.js");

test("all of the page's own goes, listings of repositories too, and nothing of its neighbours", async () => {
  held.set("shell", new Set(["https://site.example/play/main.js", "https://site.example/grades/main.js"]));
  held.set("listings", new Set(["https://huggingface.co/api/models/o/n/tree/main?recursive=true", "https://mirror.example/api/models/o/n/tree/dev?recursive=true", "https://site.example/grades/list.json"]));
  /** @type {string[]} */
  const deleted = [];
  const client = { call: async (/** @type {string} */ name, /** @type {any[]} */ [url]) => {
    if (name === "deleteCachedModel") deleted.push(url);
    return name === "cachedModels" ? [{ url: "https://site.example/m.gguf", complete: true, keptBytes: 5 }].filter((one) => !deleted.includes(one.url)) : undefined;
  } };
  const store = createStore(defaults());
  const { deleteEverything } = storageActions(store, /** @type {any} */ ({ client }), /** @type {any} */ ({ forgetModel() {} }));
  await deleteEverything();
  assert.match(store.state.storage.said, /All of it is deleted/);
  assert.deepEqual(deleted, ["https://site.example/m.gguf"]);
  assert.deepEqual(removed, ["models", "https://site.example/play/"]);
  assert.deepEqual([...held.values()].map((urls) => [...urls]), [["https://site.example/grades/main.js"], ["https://site.example/grades/list.json"]]);
  assert.deepEqual([Object.keys(localStorage), Object.keys(sessionStorage), cleared], [["other.app"], ["other"], 1]);
});
