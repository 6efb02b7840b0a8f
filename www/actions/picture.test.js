// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { pictureActions } from "./picture.js";
import { createStore, defaults } from "../state/store.js";

/** @type {any} */
const ENTRY = { id: 4, law: "linear", maskLayers: "all", maskModules: "all", places: [["q_proj", [3, 4, 5]]] };

/** A store with one adapter, and an engine that answers when it is told to. */
function room() {
  const store = createStore(defaults());
  const adapter = { key: "a", name: "a", title: "a", files: null, coefficient: 1, enabled: true, id: 4, error: null, entry: ENTRY };
  store.set({ adapters: [adapter], active: "a", model: { ...store.state.model, status: "ready" } });
  /** @type {{c: number, module: string, layer: number, answer: (value: any) => void, fail: (error: any) => void}[]} */
  const asked = [];
  const client = { call: (/** @type {string} */ _name, /** @type {any[]} */ [, options]) => new Promise((answer, fail) => asked.push({ ...options, answer, fail })) };
  const actions = pictureActions(store, /** @type {any} */ ({ client }));
  const turn = (/** @type {number} */ coefficient) => store.setAdapter("a", { coefficient });
  return { store, actions, asked, turn, rest: () => sleep(260) };
}

test("one picture at a time, of where the slider rests, and the last one wins", async () => {
  const { store, actions, asked, turn, rest } = room();
  await rest();
  assert.equal(asked.length, 0, "nobody looks");
  actions.setPicture({ open: true });
  for (const c of [0.2, 0.4, 0.6]) turn(c);
  await rest();
  assert.deepEqual(asked.map(({ c, module, layer }) => [c, module, layer]), [[0.6, "q_proj", 4]]);
  assert.equal(store.state.picture.asking, true);
  for (const c of [0.7, 0.8]) turn(c);
  await rest();
  assert.equal(asked.length, 1, "the engine is asked once it has answered");
  asked[0].answer({ c: 0.6 });
  await rest();
  assert.deepEqual(asked.map(({ c }) => c), [0.6, 0.8]);
  asked[1].answer({ c: 0.8 });
  await rest();
  assert.deepEqual([store.state.picture.found?.picture.c, store.state.picture.asking, asked.length], [0.8, false, 2]);
  actions.setPicture({ layer: 5 });
  await rest();
  assert.equal(asked[2].layer, 5);
  asked[2].fail({ code: "bad-option", message: "no such place" });
  await rest();
  assert.deepEqual([store.state.picture.error?.code, store.state.picture.found, asked.length], ["bad-option", null, 3], "told, and not asked again");
});

test("a text that is being written comes first", async () => {
  const { store, actions, asked, rest } = room();
  store.set({ run: { ...store.state.run, status: "streaming" } });
  actions.setPicture({ open: true });
  await rest();
  assert.equal(asked.length, 0);
  store.set({ run: { ...store.state.run, status: "done" } });
  await rest();
  assert.equal(asked.length, 1);
  asked[0].answer({ c: 1 });
  actions.setPicture({ open: false });
});
