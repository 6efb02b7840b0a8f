// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_PICTURE, placeName, placeOf, wished } from "./picture.js";
import { defaults } from "./store.js";

/** @type {any} */
const ENTRY = { id: 4, law: "linear", maskLayers: "all", maskModules: "all", places: [["q_proj", [3, 4, 5, 6]], ["v_proj", [5]], ["lm_head", []]] };

test("a place is the chosen one, as far as the adapter has it", () => {
  assert.deepEqual(placeOf(ENTRY, NO_PICTURE), { module: "q_proj", layer: 5 });
  assert.deepEqual(placeOf(ENTRY, { module: "q_proj", layer: 3 }), { module: "q_proj", layer: 3 });
  assert.deepEqual(placeOf(ENTRY, { module: "v_proj", layer: 3 }), { module: "v_proj", layer: 5 }, "a block that it has");
  assert.deepEqual(placeOf(ENTRY, { module: "o_proj", layer: 4 }), { module: "q_proj", layer: 4 }, "a module that it has");
  assert.deepEqual(placeOf(ENTRY, { module: "lm_head", layer: 4 }), { module: "lm_head", layer: null });
  assert.equal(placeOf({ ...ENTRY, places: [] }, NO_PICTURE), null);
});

test("nothing is wished while nobody looks or nothing is there; another c, mask or place is another wish", () => {
  const state = defaults();
  const adapter = { key: "a", name: "a", title: "a", files: null, coefficient: 1, enabled: true, id: 4, error: null, entry: ENTRY };
  Object.assign(state, { adapters: [adapter], active: "a", picture: { ...NO_PICTURE, open: true }, model: { ...state.model, status: "ready" } });
  const first = wished(state);
  assert.deepEqual([first?.id, first?.c, first?.place], [4, 1, { module: "q_proj", layer: 5 }]);
  assert.equal(wished({ ...state, picture: NO_PICTURE }), null);
  assert.equal(wished({ ...state, model: { ...state.model, status: "none" } }), null);
  assert.equal(wished({ ...state, adapters: [{ ...adapter, id: null }] }), null);
  for (const other of [{ ...adapter, coefficient: 0.5 }, { ...adapter, entry: { ...ENTRY, maskLayers: "5" } }]) {
    assert.notEqual(wished({ ...state, adapters: [other] })?.wish, first?.wish);
  }
  assert.equal(wished({ ...state, adapters: [{ ...adapter, title: "b" }] })?.wish, first?.wish);
});

test("places have names", () => {
  assert.equal(placeName("q_proj", 12, [576, 576]), "q_proj of block 12: 576 × 576");
  assert.equal(placeName("lm_head", null, [49152, 576]), "lm_head: 49152 × 576");
  assert.equal(placeName("residual", 7), "residual of block 7");
});
