// Models and adapters of the Hub, against a server that behaves like it; copies beside the page and on a stick.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { startHub } from "./hub-server.mjs";
import { LONG, UPSTREAM, golden, greedy, open, ready, run, start, tinyModel } from "./support.mjs";

const options = { timeout: 2 * LONG };
const { browser, proxy } = await start();

const NAME = "SmolLM2-135M-Instruct.Q4_1.gguf";
const real = Buffer.from(await (await fetch(new URL(`/models/${NAME}`, UPSTREAM))).arrayBuffer());
const tiny = Object.fromEntries(tinyModel().map(({ name, buffer }) => [name, buffer]));
const tone = Object.fromEntries(["adapter_config.json", "adapter_model.safetensors"].map((name) => [name, readFileSync(golden(`lora/${name}`))]));
const hub = await startHub({
  "tiny/model": { files: { ...tiny, "README.md": Buffer.from("a model") } },
  "tiny/tone": { files: tone },
  "tiny/pickled": { files: { "adapter_config.json": tone["adapter_config.json"], "adapter_model.bin": Buffer.from("pickle") } },
  "tiny/lies": { files: tiny, lies: "model.safetensors" },
  "tiny/gated": { files: tiny, gated: true },
  "tiny/unshared": { files: tiny, unshared: true },
  "tiny/notes": { files: { "README.md": Buffer.from("notes") } },
  "big/model": { files: { [NAME]: real, "other.gguf": Buffer.from("GGUF") } },
});
after(() => hub.close());
const HASH = greedy(`&chat=0&p=abc&n=4&hub=${hub.url}`);

/** Opens the list of other models, types into its box, and asks. */
async function look(page, what) {
  const address = page.getByLabel(/^Repository of the Hugging Face Hub/);
  if (!await address.isVisible()) await page.getByText("another model").click();
  await address.fill(what);
  await page.getByRole("button", { name: "Look", exact: true }).click();
}

const refusal = (page, code) => page.locator("#model .error", { hasText: code });

test("a model and an adapter are loaded by their ids, kept, and there without a network", options, async () => {
  const { page, context } = await open(browser, proxy.url + HASH);
  hub.log.length = 0;
  await look(page, "tiny/model");
  const offer = page.getByRole("button", { name: /^Load tiny\/model \(\d+ kB\)/ });
  await offer.waitFor();
  assert.deepEqual(hub.log, [], "nothing is fetched before somebody asks for it");
  await offer.click();
  await ready(page);
  assert.deepEqual(hub.log.map(({ path }) => path).sort(), ["tiny/model/config.json", "tiny/model/model.safetensors", "tiny/model/tokenizer.json"]);
  assert.match(await page.locator("#model-facts").textContent(), /kept in this browser/);
  await page.getByLabel(/^Adapter of the Hugging Face Hub/).fill("tiny/tone");
  await page.getByRole("button", { name: "Fetch", exact: true }).click();
  const card = page.locator(".adapter").last();
  await card.locator(".facts").first().waitFor({ state: "attached" });
  assert.match(await card.textContent(), /tone/);
  assert.match(await run(page), /^Done/);

  // The address has the model, and the browser has its files and what the repository lists.
  assert.match(page.url(), /m=hub:tiny\/model/);
  hub.gone = true;
  hub.log.length = 0;
  try {
    await page.reload();
    await page.getByRole("button", { name: "Load tiny/model" }).click();
    await ready(page);
    assert.match(await run(page), /^Done/);
    assert.deepEqual(hub.log, []);
  } finally {
    hub.gone = false;
  }
  await context.close();
});

test("a download is gone on with after a cut, though the store hides its headers", { timeout: 4 * LONG }, async () => {
  const { page, context } = await open(browser, proxy.url + HASH);
  hub.log.length = 0;
  hub.cut = 40e6;
  await look(page, `big/model/${NAME}`);
  await refusal(page, "network").waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await ready(page);
  const [first, second, ...more] = hub.log;
  assert.deepEqual([first.range, second.status, more.length], [undefined, 206, 0]);
  assert.ok(Number(/^bytes=(\d+)-$/.exec(second.range)[1]) > 1e6, second.range);
  assert.match(await run(page), /^Done/);
  await context.close();
});

test("what cannot be had says why, each in a sentence", options, async () => {
  const { page, context } = await open(browser, proxy.url + HASH);
  const refused = async (what, code, words) => {
    await look(page, what);
    const error = refusal(page, code);
    await error.waitFor();
    assert.match(await error.textContent(), words, what);
  };
  await refused("tiny/nowhere", "not-found", /no such repository, or it is private/);
  await refused("tiny/model@old", "not-found", /no such revision/);
  await refused("tiny/model/none.gguf", "not-found", /there are README\.md, config\.json/);
  await refused("tiny/unshared", "unshared", /lets no other page read this/);
  await look(page, "tiny/notes");
  await page.locator("#model .offers", { hasText: "tiny/notes holds no model" }).waitFor();
  // These are listed, and give no file.
  for (const [what, code, words] of [["tiny/gated", "gated", /accepted its owner's terms/], ["tiny/lies", "hash-mismatch", /SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}/]]) {
    await look(page, what);
    await page.getByRole("button", { name: new RegExp(`^Load ${what} \\(`) }).click();
    const error = refusal(page, code);
    await error.waitFor();
    assert.match(await error.textContent(), words, what);
  }
  await look(page, "big/model");
  await page.locator("#model .offers button", { hasText: "other.gguf" }).waitFor();
  assert.equal(await page.locator("#model .offers button").count(), 2);
  await page.getByLabel(/^Adapter of the Hugging Face Hub/).fill("tiny/pickled");
  await page.getByRole("button", { name: "Fetch", exact: true }).click();
  await page.locator("#adapter-add .error:visible", { hasText: /adapter_model\.bin is a PyTorch file.*missing-key/ }).waitFor();
  hub.gone = true;
  try {
    await refused("tiny/tone", "network", /check the address and the connection/);
  } finally {
    hub.gone = false;
  }
  await context.close();
});

test("a copy beside the page is taken instead of what lies on the Hub", options, async () => {
  const copy = { id: `big/model/${NAME}`, file: `models/${NAME}`, name: "of our class", bytes: real.length, license: "Apache-2.0" };
  proxy.files.set("/models.json", { type: "application/json", body: JSON.stringify([copy]) });
  try {
    const { page, context } = await open(browser, proxy.url + HASH);
    await page.getByText("another model").click();
    const row = page.locator(".known li", { hasText: "of our class" });
    assert.match(await row.textContent(), /98\.4 MB · Apache-2\.0 · GPU or processor · beside this page/);
    assert.ok(await page.locator(".known li").count() > 3, "the known ones are there too");
    hub.log.length = 0;
    await look(page, copy.id);
    await ready(page);
    assert.deepEqual(hub.log, []);
    assert.ok(proxy.log.some(({ path }) => path === `/models/${NAME}`));
    await context.close();
  } finally {
    proxy.files.clear();
  }
});

test("a model is dropped onto the page, as from a stick", options, async () => {
  const folder = mkdtempSync(join(tmpdir(), "stick-"));
  const paths = tinyModel().map(({ name, buffer }) => {
    writeFileSync(join(folder, name), buffer);
    return join(folder, name);
  });
  const { page, context } = await open(browser, proxy.url + HASH);
  await page.locator("#model button.primary:not(:disabled)").waitFor();
  const session = await context.newCDPSession(page);
  const { x, y } = await page.locator("#model").boundingBox();
  for (const type of ["dragEnter", "dragOver", "drop"]) {
    await session.send("Input.dispatchDragEvent", { type, x: x + 9, y: y + 9, data: { items: [], files: paths, dragOperationsMask: 1 } });
  }
  await ready(page);
  assert.match(await run(page), /^Done/);
  await context.close();
});
