// node --test www
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { DEFAULT_MODEL, EXAMPLES } from "./models.js";
import { defaults } from "./store.js";

const read = async (/** @type {string} */ path) => JSON.parse(await readFile(new URL(path, import.meta.url), "utf8"));

test("the page starts with what was recorded: model, prompts, sampling, adapters", async () => {
  const recording = await read("../recorded/smollm2-135m.json");
  const { prompt, chat, sampling, klAfterSplit } = defaults();
  assert.equal(recording.format, "steering-recording");
  const { name, sha256, bytes } = DEFAULT_MODEL;
  assert.deepEqual(recording.model, { name, file: DEFAULT_MODEL.url.split("/").at(-1), sha256, bytes });
  assert.deepEqual(EXAMPLES, recording.prompts.map((/** @type {any} */ one) => one.text));
  assert.equal(prompt, EXAMPLES[0]);
  assert.deepEqual({ chat, sampling, klAfterSplit }, { chat: recording.chat, sampling: recording.sampling, klAfterSplit: recording.klAfterSplit });
  const { adapters } = await read("../adapters/index.json");
  // Those of the zoo come when they are chosen.
  const first = adapters.filter((/** @type {any} */ { method }) => method === undefined);
  const cards = await Promise.all(first.map((/** @type {any} */ { folder }) => read(`../adapters/${folder}/card.json`)));
  assert.deepEqual(
    recording.adapters.map((/** @type {any} */ { name, title }) => ({ name, title })),
    cards.map(({ id, title }) => ({ name: id, title })),
  );
});

test("every number of the recording stands where the format has it", async () => {
  const { tokens, prompts, runs, adapters, coefficients, maxTokens } = await read("../recorded/smollm2-135m.json");
  assert.equal(runs.length, prompts.length * adapters.length * coefficients.length);
  const known = (/** @type {number} */ place) => Number.isInteger(place) && place >= 0 && place < tokens.length;
  const lane = (/** @type {any} */ { tokens: said, probability, finish }) => {
    assert.ok(said.length > 0 && said.length <= maxTokens && said.every(known));
    assert.equal(probability.length, said.length);
    assert.ok(probability.every((/** @type {number} */ p) => p >= 0 && p <= 1000));
    assert.equal(finish, said.length < maxTokens ? "end-of-text" : finish === "end-of-text" ? finish : "length");
    return said.length;
  };
  for (const { base } of prompts) lane(base);
  for (const [at, run] of runs.entries()) {
    assert.equal(run.coefficient, coefficients[at % coefficients.length]);
    const steps = Math.max(lane(run.steered), prompts[run.prompt].base.tokens.length);
    assert.deepEqual([run.kl.length, run.top.length], [steps, steps]);
    for (const [step, top] of run.top.entries()) {
      assert.equal(top.length % 3, 0);
      assert.equal(top.length > 0, step < run.steered.tokens.length);
      for (let each = 0; each < top.length; each += 3) assert.ok(known(top[each]));
    }
    if (run.coefficient === 0) assert.deepEqual(run.steered, prompts[run.prompt].base);
  }
});
