// A handful of tokens on WebGPU. The software adapter needs minutes for them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LONG, THE_DEVICE, count, golden, inWorkers, launch, loadTinyModel, open, ready, start, text, tokens } from "./support.mjs";

const VERY_LONG = 3 * LONG;
const reference = JSON.parse(readFileSync(new URL("../fixtures/smollm2_greedy.json", import.meta.url)));

const { browser, proxy } = await start({ browser: launch({ gpu: true }) });

test("a software GPU is not taken unasked, and the page says why", { timeout: LONG }, async () => {
  const { page, context } = await open(browser, proxy.url);
  await page.locator(".device", { hasText: "software" }).waitFor();
  assert.match(await page.locator(".device").textContent(), /CPU.*swiftshader.*slower than the CPU/i);
  await context.close();
});

const tinyAdapter = () => ["adapter_config.json", "adapter_model.safetensors"].map((name) => (
  { name, mimeType: "application/octet-stream", buffer: readFileSync(golden(`lora/${name}`)) }));

test("the device is lost in mid-stream: the text is kept, a new worker goes on from it", { timeout: VERY_LONG }, async () => {
  proxy.prelude = THE_DEVICE;
  const { page, context } = await open(browser, `${proxy.url}#v=1&device=webgpu&software=1&chat=0&p=abcabc&t=0&tp=1&rp=1&n=12`);
  await page.locator(".device", { hasText: "WebGPU on" }).waitFor();
  await loadTinyModel(page);
  assert.match(await page.locator("#memory").textContent(), /GPU \d+ kB \(peak \d+ kB\)|GPU \d/);
  await page.locator("#adapter-files").setInputFiles(tinyAdapter());
  // Shipped adapters are listed too: ours is the last, and loaded when its card tells its size.
  const mine = page.locator(".adapter").last();
  await mine.locator(".facts").first().waitFor({ state: "attached" });
  await mine.locator(".dose-box").fill("4");
  await mine.locator(".dose-box").press("Enter");

  const whole = async () => {
    await page.waitForFunction(() => /^Done/.test(document.querySelector("#status").textContent));
    return [await text(page, "base"), await text(page, "steered")];
  };
  await page.locator("#run").click();
  const undisturbed = await whole();
  assert.notEqual(undisturbed[0], undisturbed[1], "the adapter must make a difference for this test to mean anything");

  await page.locator("#run").click();
  await tokens(page, 5);
  await inWorkers(page, () => globalThis.theDevice?.destroy());
  await page.locator("#notice", { hasText: "device-lost" }).waitFor();
  const notice = await page.locator("#notice").textContent();
  assert.doesNotMatch(notice, /panick|unwrap|\.rs|wasm|stack|::/i, "plain words");
  const kept = await text(page, "steered");
  assert.ok(kept.length > 0 && undisturbed[1].startsWith(kept), `kept "${kept}" of "${undisturbed[1]}"`);
  assert.deepEqual(await whole(), undisturbed, "what follows must be what would have followed");
  assert.equal(await count(page), 12);
  proxy.prelude = "";
  await context.close();
});

test("a long prompt shows how far it is, and can be stopped", { timeout: VERY_LONG }, async () => {
  const { page, context } = await open(browser, `${proxy.url}#v=1&device=webgpu&software=1&chat=0&t=0&n=4`);
  await page.locator(".device", { hasText: "WebGPU on" }).waitFor();
  await page.locator("#prompt").fill("The sea was calm and the light was low. ".repeat(250).slice(0, 10_000));
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  await ready(page);
  await page.evaluate(() => {
    Object.assign(window, { seen: [] });
    new MutationObserver(() => {
      const at = /reading the prompt (\d+) of (\d+)/.exec(document.querySelector("#stats").textContent.replaceAll(",", ""));
      if (at && window.seen.at(-1)?.[0] !== at[1]) window.seen.push([at[1], at[2], performance.now()]);
    }).observe(document.querySelector("#stats"), { childList: true, subtree: true, characterData: true });
  });
  await page.locator("#run").click();
  await page.waitForFunction(() => window.seen.length >= 4);
  const seen = await page.evaluate(() => window.seen);
  assert.ok(Number(seen[3][0]) < Number(seen[3][1]) / 2, `far from the end: ${JSON.stringify(seen)}`);
  assert.ok(seen[3][2] - seen[0][2] > 300, `while it is read, not after: ${JSON.stringify(seen)}`);
  const clicked = Date.now();
  await page.locator("#stop").click();
  await page.waitForFunction(() => /^Stopped/.test(document.querySelector("#status").textContent));
  assert.ok(Date.now() - clicked < 5000, `${Date.now() - clicked} ms to stop`);
  await context.close();
});

test("the real model's first 8 greedy ids and its logits equal the reference", { timeout: VERY_LONG }, async (t) => {
  const { prompt_ids: ids, greedy_ids: expected, name, top5_last_prompt: top } = reference.prompts.find(({ name }) => name === "capital");
  proxy.files.set("/bare.html", { type: "text/html", body: "<!doctype html><title>bare</title>" });
  proxy.files.set("/bare.js", { type: "text/javascript", body: `
    import init, { Playground } from "./pkg/steering_playground.js";
    onmessage = async ({ data }) => {
      try {
        await init();
        const playground = await Playground.create(data.create);
        await playground.loadModel("./models/SmolLM2-135M-Instruct.Q4_1.gguf");
        for await (const step of playground.generate(data.request)) {
          if (step.kind === "token") postMessage(step);
        }
        postMessage({ memory: playground.memory(), device: playground.device.why });
      } catch (error) {
        postMessage({ error: String(error), code: error.code });
      }
    };` });
  const { page, context } = await open(browser, `${proxy.url}bare.html`);
  const { list, end } = await page.evaluate((data) => new Promise((resolve) => {
    const worker = new Worker("./bare.js", { type: "module" });
    const list = [];
    worker.onmessage = ({ data }) => (data.kind ? list.push(data) : resolve({ list, end: data }));
    worker.onerror = ({ message }) => resolve({ list, end: { error: message } });
    worker.postMessage(data);
  }), { create: { device: "webgpu", allowSoftwareGpu: true }, request: { ids, maxTokens: 8, top: 5, sampling: { temperature: 0 } } });
  t.diagnostic(`${name}: ${JSON.stringify(end)}`);
  assert.equal(end.error, undefined);
  assert.deepEqual(list.map((step) => step.steered.id), expected.slice(0, 8));
  // Logits are read through the ratios of probabilities, which differ by the same amounts.
  const log = (id) => Math.log(list[0].top.find((candidate) => candidate.id === id).steered);
  for (const { id, logit } of top) {
    const off = Math.abs(log(id) - log(top[0].id) - (logit - top[0].logit));
    assert.ok(off < 1e-2, `logit of ${id} is off by ${off}`);
  }
  const { gpuPeakBytes, wasmHeapPeakBytes } = end.memory;
  assert.ok(gpuPeakBytes > 90e6, "the weights are on the GPU");
  assert.ok(gpuPeakBytes + wasmHeapPeakBytes < 2.5 * 98_362_432, "weights stay quantised");
  proxy.files.clear();
  await context.close();
});
