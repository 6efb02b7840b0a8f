// Downloads that break, storage that is full, and files that never were on a server.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LONG, greedy, launch, loadModel, open, ready, run, startProxy } from "./support.mjs";

const options = { timeout: 2 * LONG };
let browser;
let proxy;
before(async () => {
  browser = await launch();
  proxy = await startProxy();
});
after(async () => {
  await browser?.close();
  proxy?.close();
});
const models = () => proxy.log.filter(({ path }) => path.includes("/models/"));

test("a broken download is continued where it stopped", options, async () => {
  proxy.log.length = 0;
  proxy.cut = 40e6;
  const { page, context } = await open(browser, proxy.url + greedy("&n=4"));
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  const error = page.locator("#model .error");
  await error.waitFor();
  assert.match(await error.textContent(), /network/);
  await page.getByRole("button", { name: "Try again" }).click();
  await ready(page);
  const [first, second, ...more] = models();
  assert.deepEqual([first.status, first.range, more.length], [200, undefined, 0]);
  assert.equal(second.status, 206, "the second request must be for the rest");
  const from = Number(/^bytes=(\d+)-$/.exec(second.range)[1]);
  assert.ok(from > 1e6 && from < 98362432, `continued from ${from}`);
  assert.match(await run(page), /^Done/);
  await context.close();
});

test("cancel keeps what came, resume goes on", options, async () => {
  proxy.log.length = 0;
  proxy.cut = 30e6; // so that the download cannot be over before the click
  const { page, context } = await open(browser, proxy.url + greedy("&n=4"));
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  await page.waitForFunction(() => document.querySelector(".loading progress")?.value > 1e6);
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.getByRole("button", { name: /^(Resume|Try again)$/ }).click();
  await ready(page);
  assert.equal(models().at(-1).status, 206);
  await context.close();
});

test("a full storage is told, and the model loads without being kept", options, async () => {
  proxy.prelude = `FileSystemSyncAccessHandle.prototype.write = function () {
    throw new DOMException("no space", "QuotaExceededError");
  };`;
  try {
    const { page, context } = await open(browser, proxy.url + greedy("&n=4"));
    await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
    const error = page.locator("#model .error");
    await error.waitFor();
    assert.match(await error.textContent(), /storage is full: 98362432 bytes are needed.*quota-exceeded/);
    await page.getByRole("button", { name: "Continue without keeping it" }).click();
    await ready(page);
    assert.match(await page.locator("#model-facts").textContent(), /not kept/);
    assert.match(await run(page), /^Done/);
    await context.close();
  } finally {
    proxy.prelude = "";
  }
});

test("another file under the same name is refused by its hash", options, async () => {
  proxy.files.set("/models/SmolLM2-135M-Instruct.Q4_1.gguf", { type: "application/octet-stream", body: Buffer.alloc(5e6, 7) });
  try {
    const { page, context } = await open(browser, proxy.url + greedy());
    await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
    const error = page.locator("#model .error");
    await error.waitFor();
    assert.match(await error.textContent(), /SHA-256.*hash-mismatch/);
    await context.close();
  } finally {
    proxy.files.clear();
  }
});

test("a file of one's own that is no model says what it is", options, async () => {
  const { page, context } = await open(browser, proxy.url + greedy());
  await page.getByText("another model").click();
  const cases = [
    ["notes.gguf", Buffer.from("These are my notes, not a model."), /wrong-magic/],
    ["cut.gguf", Buffer.from("GGUF\x03\0\0\0\x10\0\0\0"), /truncated/],
  ];
  for (const [name, buffer, code] of cases) {
    await page.locator("#model-files").setInputFiles([{ name, mimeType: "application/octet-stream", buffer }]);
    const error = page.locator("#model .error", { hasText: code });
    await error.waitFor();
    assert.match(await error.textContent(), new RegExp(name.replace(".", "\\.")));
  }
  await context.close();
});

test("deleting the kept copy deletes it", options, async () => {
  const { page, context } = await open(browser, proxy.url + greedy());
  await loadModel(page);
  await page.locator("summary", { hasText: /^Model$/ }).click();
  await page.getByRole("button", { name: "Delete the kept copy" }).click();
  await page.locator("#model-facts", { hasText: "was deleted" }).waitFor();
  await page.reload();
  await page.getByRole("button", { name: /^Load SmolLM2/ }).waitFor();
  await context.close();
});
