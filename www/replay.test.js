// node --test www
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { SMALL } from "./recording.test.js";
import { createReplay } from "./replay.js";
import { NO_RUN, createStore, defaults } from "./state/store.js";

const adapter = (/** @type {string} */ name, /** @type {any} */ more = {}) =>
  ({ key: `shipped:${name}`, name, title: name, files: null, id: null, error: null, coefficient: 0, enabled: true, ...more });

/** A page with a recording and these adapters. @param {any[]} adapters @param {any} [options] */
async function page(adapters, { still = true, answer = { ok: true, json: async () => SMALL } } = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setInterval"] });
  const store = createStore({ ...defaults(), prompt: "Say.", adapters, active: adapters[0]?.key ?? null, sampling: SMALL.sampling });
  const replay = createReplay(store, { url: "x.json", still, fetching: /** @type {any} */ (async () => answer) });
  await replay.begin();
  const text = (/** @type {"base"|"steered"} */ lane) => (store.state.run.tokens ?? []).map((/** @type {any} */ token) => token[lane]?.text ?? "").join("");
  const turn = (/** @type {string} */ name, /** @type {number} */ coefficient) => store.setAdapter(`shipped:${name}`, { coefficient });
  const at = (/** @type {string} */ name) => store.state.adapters.find((one) => one.name === name)?.coefficient;
  return { store, replay, text, turn, at };
}

test("what is turned is played, and the text changes under the hand", async () => {
  const { store, text, turn } = await page([adapter("mood", { coefficient: 1 }), adapter("tone")]);
  assert.deepEqual([text("base"), text("steered"), store.state.run.status], [" a b a", " a c", "played"]);
  turn("mood", -1);
  assert.deepEqual([text("base"), text("steered")], [" a b a", " b b b"]);
  turn("mood", 0);
  assert.equal(text("steered"), text("base"));
});

test("it grows at the pace of a laptop, and a turn on the way keeps its length", async () => {
  const { store, text, turn, replay } = await page([adapter("mood", { coefficient: 1 })], { still: false });
  assert.deepEqual([text("steered"), store.state.run.status], [" a", "playing"]);
  turn("mood", -1);
  mock.timers.tick(63);
  assert.equal(text("steered"), " b b b".slice(0, text("steered").length));
  mock.timers.tick(1000);
  assert.deepEqual([text("steered"), store.state.run.status], [" b b b", "played"]);
  replay.again();
  assert.equal(text("steered"), " b");
});

test("one adapter at a time: the other goes back to 0, unless a live model is there", async () => {
  const { store, text, turn, at, replay } = await page([adapter("mood", { coefficient: 1 }), adapter("tone")]);
  turn("tone", 1);
  assert.deepEqual([at("mood"), at("tone"), text("steered")], [0, 1, " c c c"]);
  store.set({ model: { ...store.state.model, status: "ready" } });
  turn("mood", 1);
  assert.deepEqual([at("mood"), at("tone"), text("steered")], [1, 1, " c c c"]);
  assert.match(replay.unlike(), /no recording of these adapters together/);
});

test("what the recording does not have is told", async () => {
  const { store, turn, replay } = await page([adapter("mood", { coefficient: 1 })]);
  assert.equal(replay.unlike(), "");
  turn("mood", 0.7);
  assert.match(replay.unlike(), /this is c = \+1\.00/);
  turn("mood", 1);
  store.set({ prompt: "Another." });
  assert.match(replay.unlike(), /answer the recorded prompt “Say\.”/);
  store.set({ prompt: "Say.", sampling: { ...store.state.sampling, seed: 8 } });
  assert.match(replay.unlike(), /own settings/);
  store.set({ adapters: [...store.state.adapters.map((one) => ({ ...one, coefficient: 0 })), adapter("mine", { key: "file:1", coefficient: 1 })] });
  assert.match(replay.unlike(), /mine is not in the recording/);
});

test("a mixture that a link asks for is not shown as if it were one of its parts", async () => {
  const { store, at, replay } = await page([adapter("mood", { coefficient: 1 }), adapter("tone", { coefficient: 1 })]);
  assert.deepEqual([store.state.run.status, at("mood"), at("tone")], ["idle", 1, 1]);
  assert.match(replay.unlike(), /no recording of these adapters together/);
});

test("a live run takes the columns, for good", async () => {
  const { store, turn } = await page([adapter("mood", { coefficient: 1 })]);
  assert.equal(store.state.recording.shown, true);
  store.set({ run: { status: "done", tokens: [], recorded: null } });
  assert.equal(store.state.recording.shown, false);
  turn("mood", -1);
  assert.deepEqual(store.state.run, { status: "done", tokens: [], recorded: null });
});

test("another recording in its place, and the page's own again", async () => {
  const { store, replay, text, turn } = await page([adapter("mood", { coefficient: 1 })]);
  const before = text("steered");
  // The same answer under another address.
  store.set({ run: NO_RUN, prompt: "Say." });
  assert.equal((await replay.use(new URL("http://x/other.json")))?.model.name, "toy");
  assert.equal(text("steered"), before);
  turn("mood", 1);
  store.setAdapter("shipped:mood", { layers: "0-9" });
  assert.match(replay.unlike(), /Where it acts is not recorded/);
  store.setAdapter("shipped:mood", { layers: "" });
  assert.equal(await replay.use(null) === null, false);
  assert.equal(replay.unlike(), "");
});

test("without a recording the page goes on", async () => {
  for (const answer of [{ ok: false, status: 404 }, { ok: true, json: async () => ({}) }]) {
    const { store } = await page([adapter("mood", { coefficient: 1 })], { answer: /** @type {any} */ (answer) });
    assert.deepEqual([store.state.recording.status, store.state.run.status], ["failed", "idle"]);
  }
});
