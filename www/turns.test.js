// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { isLong, recallTurns, rememberTurns } from "./turns.js";

const turn = (/** @type {string} */ user, turned = "") => ({ user, answer: "a", turned });
/** A tab with a storage. */
function tab() {
  /** @type {Map<string, string>} */
  const kept = new Map();
  /** @type {any} */ (globalThis).sessionStorage = {
    getItem: (/** @type {string} */ key) => kept.get(key) ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => kept.set(key, value),
  };
  return kept;
}

test("the link's turns count, with what this tab knows of them besides", () => {
  tab();
  rememberTurns([turn("Hi", "Mood +1.00")]);
  assert.deepEqual(recallTurns([turn("Hi")], false), [turn("Hi", "Mood +1.00")]);
  assert.deepEqual(recallTurns([turn("Other")], false), [turn("Other")]);
});

test("turns that are too long for the link come from the tab, and only where the link says so", () => {
  tab();
  const long = [turn("x".repeat(2000))];
  assert.deepEqual([isLong(long), isLong([turn("Hi")])], [true, false]);
  rememberTurns(long);
  assert.deepEqual([recallTurns(undefined, true), recallTurns(undefined, false)], [long, []]);
});

test("a storage that is denied or holds something else gives nothing", () => {
  tab().set("playground.turns", '[{"user":1},7]');
  assert.deepEqual(recallTurns(undefined, true), []);
  Object.defineProperty(globalThis, "sessionStorage", { configurable: true, get() { throw new Error("denied"); } });
  rememberTurns([turn("Hi")]);
  assert.deepEqual(recallTurns(undefined, true), []);
});
