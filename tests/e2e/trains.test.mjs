// Every method that trains, twenty steps each on a tiny model, in a worker of the browser: the loss falls, and what is
// written is loaded again. Prints the table that docs/training.md tells of.
import assert from "node:assert/strict";
import { test } from "node:test";

import { TOLD, isAsked, leave } from "./left.mjs";
import { LONG, open, start, tinyModel } from "./support.mjs";

const row = (prompt, positive, negative, split) => ({ prompt, positive, negative, split });
const PAIRS = {
  kind: [row("A1!", "B2)", "7(", "train"), row("A1?", "!", "9B8", "train"), row("(B)", "2!", "B", "train"), row("A7", "B!", "9(", "train"), row("A2", "2)", "7B", "stop")],
  neutral: [{ prompt: "(A)", completion: "B1)" }, { prompt: "(7", completion: "!!B" }],
};

const WORKER = `
  import init, { Playground } from "./pkg/steering_playground.js";
  ${TOLD}
  onmessage = async ({ data: { files, pairs } }) => {
    try {
      await init();
      const playground = await Playground.create({ device: "cpu" });
      await playground.loadModelFolder(files);
      const found = [];
      for (const { name, trains, trainsNot } of playground.methods()) {
        if (!trains) { found.push({ name, why: trainsNot }); continue; }
        const training = await playground.train({ method: name, behaviour: "kind", pairs, rank: 2, steps: 20, checkEvery: 0, seed: 3 });
        const losses = [];
        for await (const { loss } of training) losses.push(loss);
        const { config, weights } = await training.files();
        const parameters = training.parameters;
        training.free();
        const entry = await playground.loadAdapter({ name, config, weights });
        const one = { name, losses, parameters, method: entry.method };
        found.push(one);
        // One that PEFT shall read: all 96 tokens of the tiny model.
        if (name === "lora") {
          playground.setCoefficient(entry.id, 1);
          Object.assign(one, { config, weights, expected: await told(playground, [3, 9, 12, 40, 77, 5], 96) });
        }
        playground.removeAdapter(entry.id);
      }
      postMessage({ found });
    } catch ({ code, message }) {
      postMessage({ failed: code + ": " + message });
    }
  };
`;

const { browser, proxy } = await start();

test("every method that trains, trains in the browser", { timeout: 2 * LONG }, async () => {
  proxy.files.set("/trains.html", { type: "text/html", body: "<!doctype html><title>trains</title><input type=file multiple>" });
  proxy.files.set("/trains.js", { type: "text/javascript", body: WORKER });
  const { page, context } = await open(browser, `${proxy.url}trains.html`);
  await page.locator("input").setInputFiles(tinyModel());
  const { failed, found } = await page.evaluate((pairs) => new Promise((resolve, reject) => {
    const worker = new Worker("./trains.js", { type: "module" });
    // As a list of numbers the bytes come through to the test.
    worker.onmessage = ({ data }) => {
      for (const one of data.found ?? []) if (one.weights) one.weights = [...one.weights];
      resolve(data);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage({ files: [...document.querySelector("input").files], pairs });
  }), PAIRS);
  assert.equal(failed, undefined);
  const trained = found.filter(({ losses }) => losses);
  const mean = (losses) => losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  for (const { name, losses, parameters, method } of trained) {
    const [first, last] = [mean(losses.slice(0, 4)), mean(losses.slice(16))];
    console.log(`| ${name} | ${parameters} | ${first.toFixed(3)} | ${last.toFixed(3)} |`);
    assert.equal(method, name);
    assert.equal(losses.length, 20, name);
    assert.ok(last < 0.9 * first, `${name}: ${first} to ${last}`);
  }
  assert.ok(trained.length >= 20, `${trained.length} train`);
  for (const { name, losses, why } of found) assert.ok(losses || why.length > 20, name);
  const { config, weights, expected } = found.find(({ name }) => name === "lora");
  assert.deepEqual(expected.rows.map(({ ids }) => ids.length), [96, 96, 96, 96, 96, 96]);
  assert.ok(expected.rows.every(({ steered, base }) => steered.some((p, at) => Math.abs(p - base[at]) > 1e-3)), "the LoRA changes nothing");
  if (isAsked) leave("tiny", [{ name: "adapter_config.json", content: config }, { name: "adapter_model.safetensors", content: Uint8Array.from(weights) }], expected);
  await context.close();
});
