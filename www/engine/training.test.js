// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { trained } from "./training.js";

/** A training that fails as told before a step. @param {number} many @param {{at: number, error: any}} [fails] */
const training = (many, fails) => ({
  steps: 0, parameters: 7,
  async estimate() {
    if (fails?.at === -1) throw fails.error;
    return { steps: many, stepSeconds: 1, seconds: many, memory: { wasmHeapBytes: 5 } };
  },
  async *[Symbol.asyncIterator]() {
    while (this.steps < many) {
      if (fails?.at === this.steps) throw fails.error;
      this.steps += 1;
      yield { step: this.steps, loss: 1 };
    }
  },
  async files() { return { config: "{}", weights: new Uint8Array(1), record: { steps: this.steps } }; },
  async state() { return new Uint8Array([this.steps]); },
});
/** @param {any} one */
async function told(one) {
  /** @type {any[]} */
  const said = [];
  const left = await trained(one, (now) => said.push(now), () => /** @type {any} */ ({ wasmHeapBytes: 5 }));
  return { said, left };
}

test("every step is told, each tenth with a state to go on from", async () => {
  const { said, left } = await told(training(21));
  assert.deepEqual(said.map(({ step }) => step?.step ?? 0), Array.from({ length: 22 }, (_, at) => at));
  assert.deepEqual(said.filter(({ state }) => state).map(({ state }) => [...state]), [[10], [20]]);
  assert.deepEqual([said[0].parameters, said[0].memory.wasmHeapBytes, said[0].estimate.seconds], [7, 5, 21]);
  assert.ok(said.slice(1).every((one) => !("estimate" in one)));
  assert.deepEqual([left.steps, left.record.steps, "state" in left, "error" in left], [21, 21, false, false]);
});

test("what is stopped leaves its files, and what it takes to go on", async () => {
  const { left } = await told(training(9, { at: 3, error: { code: "aborted", message: "stopped" } }));
  assert.deepEqual([left.steps, [...left.state ?? []], left.error], [3, [3], undefined]);
});

test("what fails after a step leaves its files and says why", async () => {
  const { left } = await told(training(9, { at: 2, error: { code: "not-trained", message: "not finite" } }));
  assert.deepEqual([left.steps, left.error, left.state], [2, { code: "not-trained", message: "not finite" }, undefined]);
});

test("where there is nothing to leave it throws what failed", async () => {
  const lost = { code: "device-lost", message: "gone" };
  for (const at of [-1, 0]) await assert.rejects(told(training(9, { at, error: { code: "aborted" } })), { code: "aborted" });
  await assert.rejects(told({ ...training(9, { at: 4, error: lost }), files: async () => { throw new Error("no answer"); } }), lost);
  const trap = new WebAssembly.RuntimeError("unreachable");
  await assert.rejects(told(training(9, { at: 4, error: trap })), trap);
});
