// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { askedBy, changeOf, endOf, stepOf } from "./embed.js";
import { NO_RUN, defaults } from "./store.js";

test("of a message only what is understood is taken", () => {
  const of = (/** @type {any} */ more) => askedBy({ steering: 1, ...more });
  assert.deepEqual(of({ type: "run", prompt: "x" }), { type: "run" });
  assert.deepEqual(of({ type: "set", prompt: "Hi", c: -0.5, adapter: "tone-lora", device: "cpu" }), { type: "set", prompt: "Hi", c: -0.5, adapter: "tone-lora" });
  assert.deepEqual(of({ type: "set", prompt: 7, c: "1", adapter: {} }), { type: "set" });
  assert.deepEqual(of({ type: "set", c: NaN, prompt: "x".repeat(100_001) }), { type: "set" });
  for (const other of [{ type: "forget" }, { type: "__proto__" }, {}]) assert.equal(of(other), null);
  for (const other of [null, "run", 7, [], { type: "run" }, { steering: 2, type: "run" }]) assert.equal(askedBy(other), null);
});

test("what is told of adapters is their names and coefficients, never their files", () => {
  const state = { ...defaults(), prompt: "Hi", adapters: [/** @type {any} */ ({ name: "mine", title: "Mine", coefficient: -1, enabled: true, files: { secret: 1 }, key: "file:1" })] };
  assert.deepEqual(changeOf(state, "#v=2"), { prompt: "Hi", link: "#v=2", model: null, adapters: [{ name: "mine", title: "Mine", c: -1, on: true }] });
});

test("a run is told when it is over", () => {
  const token = (/** @type {number} */ index, /** @type {string|null} */ base, /** @type {string} */ steered) =>
    /** @type {any} */ ({ index, base: base === null ? null : { text: base }, steered: { text: steered }, klNats: 0.5 });
  const tokens = [token(0, "A", "A"), token(1, null, " b")];
  assert.equal(endOf({ ...NO_RUN, status: "streaming", tokens }), null);
  assert.deepEqual(endOf({ ...NO_RUN, status: "stopped", tokens, split: 1 }), { status: "stopped", recorded: false, base: "A", steered: "A b", split: 1, error: null });
  assert.deepEqual(stepOf(tokens[1]), { index: 1, base: null, steered: " b", klNats: 0.5 });
});
