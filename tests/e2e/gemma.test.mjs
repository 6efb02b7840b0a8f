// The real Gemma 3 270M (base, Q4_K_M, 253 MB) in the browser, on the processor: against transformers, and
// measured. It runs where PLAYGROUND_GEMMA names the file, which is too large to come with the project.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, finished, open, ready, start, text } from "./support.mjs";

const FILE = process.env.PLAYGROUND_GEMMA;
/**
 * What transformers 5.23 says of the same file, widened to f32: texts, their ids, and the likeliest ids after them.
 * Activations are rounded to 16 bits here: where the two likeliest are closer than 0.05 logits, as at the fourth id of
 * the tale, either may come. `same` is how many come before such a place.
 */
const EXPECTED = [
  {
    prompt: "The capital of France is", same: 15, ids: [2, 818, 5279, 529, 7001, 563],
    greedy: [506, 5279, 529, 506, 2891, 529, 7001, 236761, 1030, 563, 506, 7488, 3207, 528, 7001, 532],
  },
  {
    prompt: "Once upon a time, in a small village by the sea,", same: 3, ids: [2, 14946, 3324, 496, 990, 236764, 528, 496, 1944, 9744, 684, 506, 5442, 236764],
    greedy: [993, 11742, 496, 880, 7489, 3415, 236761, 1293, 691, 496, 2712, 532, 14617, 880, 236764, 1015],
  },
  { same: 16, ids: [2, 2063, 10779, 78113, 236769, 236749, 1473, 107, 140], greedy: [584, 538, 1251, 236743, 236771, 236787, 107, 144, 2060, 236743, 236771, 107, 140, 36208, 538, 1251] },
];

/** In a worker, where the package belongs: loads the file that it is given, and writes. */
const WORKER = `
  import init, { Playground } from "./pkg/steering_playground.js";
  const heap = (playground) => playground.memory().wasmHeapBytes;
  onmessage = async ({ data: { file, expected } }) => {
    try {
      await init();
      const playground = await Playground.create({ device: "cpu" });
      const found = { device: playground.device.features, heapAtStart: heap(playground) };
      let begin = performance.now();
      // It is given up once the tokenizer is there, before a weight is read.
      await playground.loadModel(file, { signal: AbortSignal.abort() }).catch(({ code }) => { found.gaveUp = code; });
      Object.assign(found, { textSeconds: (performance.now() - begin) / 1000, heapWithText: heap(playground) });
      begin = performance.now();
      found.info = await playground.loadModel(file);
      Object.assign(found, { loadSeconds: (performance.now() - begin) / 1000, heapLoaded: heap(playground), runs: [] });
      for (const { prompt, ids } of expected) {
        const read = prompt === undefined ? ids : [...playground.promptIds({ prompt })];
        const run = { read, ids: [], text: "" };
        begin = performance.now();
        for await (const { kind, steered } of playground.generate({ ids, maxTokens: 16, sampling: { temperature: 0 } })) {
          if (kind !== "token") continue;
          run.first ??= performance.now();
          run.ids.push(steered.id);
          run.text += steered.text;
        }
        run.perSecond = 15_000 / (performance.now() - run.first);
        run.first = (run.first - begin) / 1000;
        found.runs.push(run);
      }
      postMessage({ ...found, heapAfter: heap(playground) });
    } catch ({ code, message }) {
      postMessage({ failed: code + ": " + message });
    }
  };
`;

const options = { timeout: 4 * LONG, skip: FILE ? false : "PLAYGROUND_GEMMA does not name the file" };
const { browser, proxy } = await start();

test("the package reads its texts and goes on as transformers does", options, async () => {
  proxy.files.set("/gemma.html", { type: "text/html", body: "<!doctype html><title>gemma</title><input type=file>" });
  proxy.files.set("/gemma.js", { type: "text/javascript", body: WORKER });
  const { page, context } = await open(browser, `${proxy.url}gemma.html`);
  await page.locator("input").setInputFiles(FILE);
  const found = await page.evaluate((expected) => new Promise((resolve, reject) => {
    const worker = new Worker("./gemma.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage({ file: document.querySelector("input").files[0], expected });
  }), EXPECTED);
  console.log(JSON.stringify({ ...found, info: { ...found.info, device: undefined } }, null, 1));
  assert.equal(found.failed, undefined);
  assert.equal(found.gaveUp, "aborted");
  assert.equal(found.info.family, "gemma3");
  for (const [at, { ids, greedy, same }] of EXPECTED.entries()) {
    assert.deepEqual(found.runs[at].read, ids, "the prompt's ids");
    assert.deepEqual(found.runs[at].ids.slice(0, same), greedy.slice(0, same));
  }
  await context.close();
});

test("the page goes on with a text", options, async () => {
  const [{ prompt }] = EXPECTED;
  const { page, context } = await open(browser, `${proxy.url}#v=2&device=cpu&t=0&tp=1&rp=1&n=16&a=&p=${encodeURIComponent(prompt)}`);
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles(FILE);
  await ready(page);
  const facts = await page.locator("#model-facts").textContent();
  assert.match(facts, /^gemma3 · 268M parameters · Q8_0, Q5_0, Q4_K, Q6_K · 253 MB/, facts);
  assert.equal(await page.locator("input[name=mode][value=chat]").isDisabled(), true, "a base model has no chat template");
  await page.locator("#run").click();
  assert.match(await finished(page), /^Done, 16 tokens/);
  assert.match(await text(page, "steered"), /^ the capital of the country of France\./);
  console.log(await page.locator("#stats").textContent());
  await context.close();
});
