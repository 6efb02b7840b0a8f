// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { found } from "./found.test.js";
import { asCsv, asJson, command, manifest } from "./report.js";

const part = { key: "a", scale: 1, title: "A", manner: "" };
/** @param {any} [more] @returns {import("./measured.js").Measured} */
const measured = (more) => ({ parts: [part], model: "m", modelFile: "SmolLM2.Q4_1.gguf", pairs: null, found: found(), ...more });

test("the command asks the terminal for the same", () => {
  assert.equal(command(measured()),
    "steer measure --model SmolLM2.Q4_1.gguf --adapter tone-lora --law linear --behaviour tone --split test --coeffs=-2,-1,0,1,2 --seed 0 --fast --json");
});

test("what is not usual is in the command, and quoted for a shell", () => {
  const [one] = found().adapters;
  const both = found({
    adapters: [{ ...one, name: "it's mine", scale: -0.3, layers: "8-14", positions: "from:3" }, { ...one, name: "poly" }], behaviour: "my kind",
    model: { name: "m", sha256: null, arithmetic: "f32", device: "gpu" },
  });
  const line = command(measured({ found: both, parts: [part, { ...part, task: 2 }], pairs: "{}" }));
  assert.match(line, /--adapter 'it'\\''s mine' --adapter poly --coeff -0\.3 --coeff 1 --law linear --law linear --layers 8-14 --layers all --positions from:3 --positions all/);
  assert.match(line, /--task none --task 2/);
  assert.match(line, /--pairs pairs\.json --behaviour 'my kind'/);
  assert.match(line, /--device gpu --json$/);
  assert.doesNotMatch(line, /--fast|--modules|--experts/);
  const { positions: _, ...earlier } = one;
  assert.doesNotMatch(command(measured({ found: found({ adapters: [earlier] }) })), /--positions/, "measured before tokens could be chosen");
  assert.match(command(measured({ variables: { enable_thinking: false } })), /--seed 0 --var enable_thinking=false --fast/);
  assert.match(command(measured({ parts: [{ ...part, experts: [0.5, 1] }] })), /--experts 0\.5,1/);
});

test("a manifest has every hash, the seed, the version and the device", () => {
  const { version, model, adapters, pairs, seed, coefficients } = manifest(measured());
  assert.deepEqual([version, model.sha256, model.device, adapters[0].sha256, pairs.sha256, pairs.file, seed], ["0.4.0", "aa", "cpu", "bb", "cc", null, 0]);
  assert.deepEqual(coefficients, [-2, -1, 0, 1, 2]);
});

test("as JSON nothing is lost, and the user's own pairs are there", () => {
  const own = measured({ pairs: "{\"a\": []}" });
  const read = JSON.parse(asJson(own));
  assert.deepEqual(read.measurement, own.found);
  assert.equal(read.pairs, own.pairs);
  assert.equal(read.manifest.command, command(own));
  assert.equal("pairs" in JSON.parse(asJson(measured())), false);
});

test("as CSV there is a row for each c, with every prompt in a column", () => {
  const lines = asCsv(measured()).split("\r\n");
  const comments = lines.filter((line) => line.startsWith("# "));
  assert.ok(comments.some((line) => line.startsWith("# command: steer measure")) && comments.some((line) => /^# adapters: .*"sha256":"bb"/.test(line)));
  const [head, ...rows] = lines.slice(comments.length);
  assert.equal(head, "c,d_nats,kl_mean_nats,kl_p95_nats,nll_shift_nats,d_nats: Hi?,\"d_nats: A \"\"day\"\", then\"");
  assert.deepEqual(rows, ["-2,-2.2,1,3,0.4,-2,-1", "-1,-1.3,0.3,0.9,0.02,-1,0.5", "0,0.21,0,0,0,0.2,0.2", "1,1.72,0.4,1.1,0.05,1,1", "2,2.1,1.5,,,2,2", ""]);
});
