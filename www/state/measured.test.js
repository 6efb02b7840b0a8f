// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { found } from "./found.test.js";
import { behaviourOf, NO_BENCH } from "./bench.js";
import { budget, count, holds, isMeasured, natsAt, nearest, ordered, part, readOut, spoken, stretches, summary, tableOf, turnedTo, withFresh } from "./measured.js";
import { defaults } from "./store.js";

/** @param {Partial<import("./store.js").Adapter>} [more] @returns {import("./store.js").Adapter} */
const adapter = (more) => ({ key: "shipped:tone-lora", name: "tone-lora", title: "Cheerful", files: null, id: 3, coefficient: 1, enabled: true, error: null, ...more });
/** @returns {import("./measured.js").Measured} */
const measured = (more = {}) => ({ parts: [part(adapter())], model: "SmolLM2-135M-Instruct", modelFile: "m.gguf", pairs: null, found: found(), ...more });

test("the budget of a shift: intact, beyond, broken, and no number is broken", () => {
  assert.deepEqual([-0.4, 0, 0.2, 0.21, 1, 1.01, null, undefined].map((value) => budget(value)),
    ["within", "within", "within", "beyond", "beyond", "broken", "broken", "broken"]);
});

test("the track is cut halfway between the points, and those alike are one stretch", () => {
  assert.deepEqual(stretches(found(), -2, 2), [
    { from: -2, to: -1.5, budget: "beyond" }, { from: -1.5, to: 1.5, budget: "within" }, { from: 1.5, to: 2, budget: "broken" },
  ]);
  // A law that ends at −1: what it does not admit is no good place.
  const cut = found({ coefficients: [-1, 0, 1], coefficients_left_out: [-2, 2], nll_shift_nats: [0, 0, 0] });
  assert.deepEqual(stretches(cut, -2, 2).map(({ from, to, budget: state }) => [from, to, state]), [[-2, -1.5, "broken"], [-1.5, 1.5, "within"], [1.5, 2, "broken"]]);
});

test("between the points the nearest one is told, and told as such; beyond them none is", () => {
  assert.deepEqual(nearest(found(), 1), { at: 3, c: 1, exact: true });
  assert.deepEqual(nearest(found(), 0.8), { at: 3, c: 1, exact: false });
  assert.equal(nearest(found(), 2.5), null);
  assert.equal(readOut(found(), 1), "1.10 nats, language intact");
  assert.equal(readOut(found(), 0.8), "about 1.10 nats, language intact");
  assert.equal(readOut(found(), 2), "language broken");
  assert.equal(readOut(found(), 7), "not measured there");
  assert.equal(natsAt(found(), -0.8), "−0.90");
  // As a slider says it.
  assert.equal(spoken(found(), 1, "1"), "c 1, 1.10 nats per token, within budget");
  assert.equal(spoken(found(), 2, "2"), "c 2, language broken");
  assert.equal(spoken(found(), 7, "7"), "c 7, not measured there");
  assert.equal(natsAt(found(), 2), null);
});

test("the sentence says what is seen", () => {
  assert.equal(summary(found()),
    "Turning to +1 makes the positive answers likelier by 1.51 nats per token, −1 less likely by 1.51. In order −1 < 0 < +1 on 1 of 2 prompts. "
    + "The language stays intact (NLL +0.02 at −1, +0.05 at +1).");
  const bad = summary(found({ d_nats: [0, 0.5, 0.2, -0.1, 0], nll_shift_nats: [0, 0.3, 0, null, 0] }));
  assert.match(bad, /^Turning to \+1 makes the positive answers less likely by 0\.30 nats per token, −1 likelier too, by 0\.30\./);
  assert.match(bad, /The language breaks \(NLL \+0\.30 at −1, no number at \+1\)\.$/);
  assert.match(summary(found({ nll_shift_nats: [0, 0.3, 0, 0.1, 0] })), /The language suffers/);
  assert.match(summary(found({ d_nats: [0, null, 0.2, null, 0] })), /^At \+1 nothing can be measured, nor at −1 anything\./);
});

test("prompts in order are those that rise, and shares become counts", () => {
  const one = found();
  assert.deepEqual(one.per_prompt.map((row) => ordered(one, row)), [true, false]);
  assert.equal(ordered(one, [0, null, 0, 1, 2]), false);
  assert.equal(count(one, one.ordered_share), 1);
});

test("a table belongs to its model, to its adapter, and to how that acts", () => {
  const state = { ...defaults(), adapters: [adapter()], measured: [measured()] };
  const key = "shipped:tone-lora";
  assert.equal(tableOf(state, key), state.measured[0].found);
  assert.equal(tableOf(state, "another"), null);
  const entry = /** @type {any} */ ({ law: "linear" });
  const loaded = { ...state, adapters: [adapter({ entry })], measured: [measured({ parts: [part(adapter({ entry }))] })] };
  assert.ok(tableOf(loaded, key));
  assert.equal(tableOf({ ...loaded, adapters: [adapter({ entry, layers: "3-5" })] }, key), null);
  assert.equal(tableOf({ ...loaded, adapters: [adapter({ entry, positions: "prompt" })] }, key), null);
  assert.ok(tableOf({ ...loaded, adapters: [adapter({ entry, positions: "" })] }, key), "all tokens");
  assert.equal(holds(loaded.measured[0], { ...loaded, adapters: [] }), false);
  const other = { ...state, model: { ...state.model, info: /** @type {any} */ ({ name: "another" }) } };
  assert.equal(tableOf(other, key), null);
});

test("of adapters together c is what all were turned by", () => {
  const both = [adapter({ coefficient: 0.5 }), adapter({ key: "b", coefficient: -0.3 })];
  const together = measured({ parts: [part(both[0], 1), part(both[1], -0.6)] });
  assert.equal(turnedTo(together, both), 0.5);
  assert.equal(turnedTo(together, [both[0], adapter({ key: "b", coefficient: 0.3 })]), null);
  assert.equal(turnedTo(together, [both[0]]), null);
});

test("the newest takes the place of what was measured of the same", () => {
  const [old, other, fresh] = [measured(), measured({ parts: [part(adapter({ key: "b" }))] }), measured()];
  assert.deepEqual(withFresh([other, old], fresh), [fresh, other]);
  assert.equal(withFresh([other, old], fresh)[0], fresh);
});

test("what is remembered is taken only if it is a measurement", () => {
  assert.equal(isMeasured(JSON.parse(JSON.stringify(measured()))), true);
  for (const wrong of [null, 7, {}, { parts: [] }, measured({ found: {} }), measured({ parts: [{ key: 1 }] }), measured({ found: found({ coefficients: [0, 1] }) }), measured({ pairs: 7 })]) {
    assert.equal(isMeasured(wrong), false);
  }
});

test("the behaviour is the one chosen, else the one that the adapter is named after, else the first", () => {
  const bench = { ...NO_BENCH, shipped: ["tone", "register"], own: ["kindness"] };
  assert.equal(behaviourOf(bench, "register-ia3"), "register");
  assert.equal(behaviourOf(bench, "mood-vector"), "tone");
  assert.equal(behaviourOf({ ...bench, behaviour: { shipped: "tone", own: "gone" } }, "register-ia3"), "tone");
  assert.equal(behaviourOf({ ...bench, source: "own", behaviour: { shipped: "tone", own: "gone" } }), "kindness");
  assert.equal(behaviourOf({ ...bench, source: "own", own: [] }), "");
});
