// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { nearest, placeOf, readRecording, stepsOf } from "./recording.js";

/** One prompt, two adapters, three coefficients; the steered text of the second run is shorter. */
export const SMALL = {
  format: "steering-recording", version: 1, model: { name: "toy", file: "toy.gguf", sha256: "", bytes: 1 },
  sampling: { temperature: 0.8, topK: 0, topP: 0.95, minP: 0, repetitionPenalty: 1.1, seed: 7 }, chat: true, maxTokens: 3, klAfterSplit: true,
  coefficients: [-1, 0, 1],
  adapters: [{ name: "mood", title: "Mood" }, { name: "tone", title: "Tone" }],
  tokens: [[5, " a"], [6, " b"], [7, " c"]],
  prompts: [{ text: "Say.", base: { tokens: [0, 1, 0], probability: [500, 400, 300], finish: "length" } }],
  runs: [
    ...[0, 1].map((adapter) => ({ prompt: 0, adapter, coefficient: 0, steered: { tokens: [0, 1, 0], probability: [500, 400, 300], finish: "length" }, kl: [0, 0, 0], top: [[0, 500, 500], [1, 400, 400], [0, 300, 300]] })),
    { prompt: 0, adapter: 0, coefficient: 1, steered: { tokens: [0, 2], probability: [500, 900], finish: "end-of-text" }, kl: [12, 1500, null], top: [[0, 500, 500, 1, 100, 90], [2, 10, 900], []] },
    { prompt: 0, adapter: 0, coefficient: -1, steered: { tokens: [1, 1, 1], probability: [1, 2, 3], finish: "length" }, kl: [1, 2, 3], top: [[], [], []] },
    { prompt: 0, adapter: 1, coefficient: 1, steered: { tokens: [2, 2, 2], probability: [1, 2, 3], finish: "length" }, kl: [1, 2, 3], top: [[], [], []] },
  ],
};

test("only what is a recording of this version is played", () => {
  assert.throws(() => readRecording(null), /not a recording/);
  assert.throws(() => readRecording({ format: "steering-recording", version: 2 }), /version 2; this page plays version 1/);
  assert.equal(readRecording(SMALL), SMALL);
});

test("the nearest coefficient that was recorded, of two the smaller", () => {
  const recording = /** @type {any} */ (SMALL);
  for (const [c, near] of [[0.2, 0], [0.5, 0], [-0.5, 0], [0.6, 1], [7, 1], [-7, -1], [0, 0]]) assert.equal(nearest(recording, c), near, `${c}`);
});

test("a run becomes the steps that the engine reports", () => {
  const mood = { key: "shipped:mood", title: "Mood" };
  const steps = (/** @type {number} */ adapter, /** @type {number} */ c, /** @type {any} */ recording = SMALL) => stepsOf(recording, 0, adapter, c, mood);
  const run = steps(0, 1);
  assert.ok(run);
  assert.equal(run.split, 1);
  assert.deepEqual(run.tokens[1], {
    kind: "token", index: 1, base: { id: 6, text: " b", probability: 0.4, finish: null }, steered: { id: 7, text: " c", probability: 0.9, finish: "end-of-text" },
    klNats: 1.5, top: [{ id: 7, text: " c", base: 0.01, steered: 0.9 }], doses: [{ key: "shipped:mood", title: "Mood", c: 1 }], cache: "current",
  });
  const [, , last] = run.tokens;
  assert.deepEqual([last.steered, last.base.finish, last.klNats, last.doses], [null, "length", null, []]);
  assert.equal(steps(0, 0)?.split, null);
  assert.equal(steps(1, -1), null);
  assert.equal(steps(2, 1), null);
  // Turned at its second token only.
  for (const [cache, used] of /** @type {const} */ ([["keep", ["current", "kept", "kept"]], ["recompute", ["current", "recomputed", "current"]]])) {
    const late = steps(0, -1, { ...SMALL, adapters: [{ name: "mood", title: "Mood", from: 1, cache }] });
    assert.deepEqual(late?.tokens.map((token) => token.cache), used);
    assert.deepEqual(late?.tokens.map(({ doses }) => doses.length), [0, 1, 1]);
  }
});

test("an adapter is known by its name, its weights and where it acts", () => {
  const recording = /** @type {any} */ ({ ...SMALL, adapters: [
    { name: "mood", title: "Mood", sha256: "a" }, { name: "lora", title: "LoRA", sha256: "b" }, { name: "mood", title: "Mood", layers: "0-9" },
    { name: "tone", title: "Tone", cache: "keep" }, { name: "tone", title: "Tone", cache: "recompute" },
  ] });
  const place = (/** @type {any} */ adapter, /** @type {"keep"|"recompute"} */ cache = "keep") => placeOf(recording, { name: adapter.key.slice(adapter.key.indexOf(":") + 1), ...adapter },
    { zoo: [/** @type {any} */ ({ folder: "tone/lora", sha256: "b" }), /** @type {any} */ ({ folder: "tone/dora", sha256: "c" })], cache });
  assert.deepEqual([{ key: "shipped:mood" }, { key: "zoo:tone/lora" }, { key: "zoo:tone/dora" }, { key: "file:mood" }, { key: "shipped:lora" },
    { key: "shipped:mood", layers: "0-9" }, { key: "shipped:mood", layers: "3" }, { key: "shipped:mood", modules: "q_proj" }].map((one) => place(one)), [0, 1, -1, -1, 1, 2, -1, -1]);
  assert.deepEqual([place({ key: "shipped:tone" }), place({ key: "shipped:tone" }, "recompute")], [3, 4]);
});
