// Where a GPU has no room for a model the page computes on the processor and says why. The GPU is a software
// one, whose limit is told to be the least that we take.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { LONG, launch, open, ready, run, start } from "./support.mjs";
import { wideLlama } from "./tiny.mjs";

const options = { timeout: 2 * LONG };
const { browser, proxy } = await start({ browser: launch({ gpu: true }) });
const LIMIT = 134_217_728;
proxy.prelude = `Object.defineProperty(GPUSupportedLimits.prototype, "maxStorageBufferBindingSize", { get: () => ${LIMIT} });`;
const HASH = "#v=2&software=1&t=0&tp=1&rp=1&seed=1&chat=0&p=Hi&n=4&a=";
/** In f32 48 MB: more than a third of the limit. */
const ROWS = 100_000;

async function page(hash, rows) {
  const opened = await open(browser, proxy.url + hash);
  await opened.page.locator(".device", { hasText: "WebGPU on" }).waitFor();
  await opened.page.getByText("another model").click();
  await opened.page.locator("#model-files").setInputFiles(wideLlama(rows));
  await ready(opened.page);
  return opened;
}

test("a model that would fill more than a third of it goes to the processor, and the page says why", options, async () => {
  const { page: here, context } = await page(HASH, ROWS);
  const device = await here.locator(".device").textContent();
  assert.match(device, /^CPU .*the model's largest matrix, BF16 in the file, would be 48(\.0)? MB in f32 on the GPU, more than a third of the GPU's `maxStorageBufferBindingSize` \(134 MB\)/);
  assert.match(await run(here), /^Done, 4 tokens/);
  // A smaller one goes to the GPU after all.
  await here.locator("details.manage").evaluate((details) => { details.open = true; });
  await here.getByText("another model").click();
  await here.locator("#model-files").setInputFiles(wideLlama(1000));
  await here.locator(".device", { hasText: "WebGPU on" }).waitFor();
  await ready(here);
  assert.match(await run(here), /^Done, 4 tokens/);
  await context.close();
});

test("who insists on the GPU is told the numbers", options, async () => {
  const { page: here, context } = await page(`${HASH}&device=webgpu`, ROWS);
  assert.match(await here.locator(".device").textContent(), /WebGPU on/);
  assert.match(await here.locator("#model .warning").textContent(), /^The model's largest matrix, BF16 in the file, would be 48(\.0)? MB/);
  await context.close();
});

test("what no buffer holds is refused to whoever insists", options, async () => {
  const { page: here, context } = await open(browser, `${proxy.url}${HASH}&device=webgpu`);
  await here.locator(".device", { hasText: "WebGPU on" }).waitFor();
  const folder = mkdtempSync(join(tmpdir(), "playground-"));
  after(() => rmSync(folder, { recursive: true, force: true }));
  // Too large to be handed over without a file.
  const files = wideLlama(290_000).map(({ name, buffer }) => {
    writeFileSync(join(folder, name), buffer);
    return join(folder, name);
  });
  await here.getByText("another model").click();
  await here.locator("#model-files").setInputFiles(files);
  const card = here.locator("#model .lead.error");
  await card.waitFor();
  assert.match(await card.textContent(), /^your folder was not loaded\.Device `webgpu` cannot be used: the model's `model\.embed_tokens\.weight` would be 139 MB on the GPU, whose `maxStorageBufferBindingSize` is 134 MB\. device-unavailable$/);
  await context.close();
});
