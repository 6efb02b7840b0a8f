// node --test www
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { arrived, follow } from "./address.js";

/** @type {Map<string, string>} */
let kept;
/** @type {string[]} */
let written;
beforeEach(() => {
  kept = new Map();
  written = [];
  /** @type {any} */ (globalThis).sessionStorage = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
    removeItem: (/** @type {string} */ key) => kept.delete(key),
  };
  /** @type {any} */ (globalThis).history = { state: null, replaceState: (/** @type {any} */ _state, /** @type {string} */ _title, /** @type {string} */ hash) => written.push(hash) };
});

/** A page whose events happen when they are told to. */
function tab(hash = "#a") {
  /** @type {Record<string, () => void>} */
  const heard = {};
  const addEventListener = (/** @type {string} */ name, /** @type {() => void} */ does) => { heard[name] = does; };
  const page = { addEventListener, document: { addEventListener, hidden: false }, location: { hash, reloads: 0, reload() { this.reloads += 1; } } };
  return { page, heard, address: follow(() => "#b", /** @type {any} */ (page)) };
}

test("of several changes the last is written, once", (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { address } = tab();
  address.soon();
  context.mock.timers.tick(200);
  address.soon();
  context.mock.timers.tick(200);
  assert.deepEqual(written, []);
  context.mock.timers.tick(100);
  assert.deepEqual(written, ["#b"]);
});

test("a change that the address has not said yet is there after a reload, once", () => {
  const { address, heard } = tab();
  address.soon();
  heard.pagehide();
  assert.equal(arrived("#a", "reload"), "#b");
  assert.deepEqual(written, ["#b"], "and in the address");
  assert.equal(arrived("#a", "reload"), "#a");
});

test("a link that is followed, or another address, says what it says", () => {
  for (const [hash, kind] of [["#a", "navigate"], ["#c", "reload"], ["#c", "back_forward"]]) {
    const { address, heard } = tab();
    address.soon();
    heard.pagehide();
    assert.equal(arrived(hash, kind), hash);
  }
  // What was said already is not said again.
  const { address, heard } = tab();
  address.now();
  heard.pagehide();
  assert.equal(kept.size, 0);
});

test("a tab that is hidden writes at once; another link loads without it", () => {
  const { page, address, heard } = tab();
  address.soon();
  heard.visibilitychange();
  assert.deepEqual(written, [], "it is still seen");
  page.document.hidden = true;
  heard.visibilitychange();
  assert.deepEqual(written, ["#b"]);
  address.soon();
  heard.hashchange();
  heard.pagehide();
  assert.deepEqual([page.location.reloads, kept.size, written.length], [1, 0, 1]);
});

test("where the storage is denied or holds something else the address is what it is", () => {
  kept.set("playground.left", "{");
  assert.equal(arrived("#a", "reload"), "#a");
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get() { throw new Error("denied"); } });
  const { address, heard } = tab();
  address.soon();
  heard.pagehide();
  assert.equal(arrived("#a", "reload"), "#a");
});
