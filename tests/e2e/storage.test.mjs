// Downloads that break, storage that is full, and files that never were on a server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, greedy, loadModel, loadTinyModel, open, ready, run, start, text, tokens } from "./support.mjs";

const options = { timeout: 2 * LONG };
const { browser, proxy } = await start();
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
    const words = await error.textContent();
    assert.match(words, /storage is full: 98\.4 MB are needed.*[Pp]rivate windows have less.*quota-exceeded/);
    assert.equal(words.match(/\d+(\.\d+)? MB/g).length, 1, "one number");
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

// ---- damaged copies -----------------------------------------------------------------------------

/** Meddles with what is kept of the model. @param {{at?: number, bytes?: number, cut?: number, drop?: string}} how */
const meddle = (page, how) => page.evaluate(async ({ at, bytes = 4096, cut, drop }) => {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
  for await (const name of folder.keys()) {
    if (drop && name.endsWith(drop)) await folder.removeEntry(name);
    if (!name.endsWith(".gguf") || (at === undefined && cut === undefined)) continue;
    const file = await folder.getFileHandle(name);
    const stream = await file.createWritable({ keepExistingData: true });
    if (at !== undefined) await stream.write({ type: "write", position: at, data: new Uint8Array(bytes) });
    if (cut !== undefined) await stream.truncate(cut);
    await stream.close();
  }
}, how);

const kept = (page) => page.evaluate(async () => {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models");
  const found = {};
  for await (const name of folder.keys()) found[name.replace(/^.*\.gguf/, "")] = (await (await folder.getFileHandle(name)).getFile()).size;
  return found;
});

test("a damaged copy is thrown away and fetched again, and the page says so", { timeout: 4 * LONG }, async () => {
  const { page, context } = await open(browser, proxy.url + greedy("&n=12&p=Tell+me+about+the+weather+today."));
  await loadModel(page);
  await run(page);
  const said = await text(page, "base");
  const sizes = await kept(page);
  assert.equal(sizes[""], 98362432);
  const cases = [
    ["in the middle", { at: 50e6 }], ["at its head", { at: 0 }], ["at its end", { at: 98362432 - 64, bytes: 64 }],
    ["cut short", { cut: 60e6 }], ["of an earlier version, without sums", { at: 50e6, drop: ".sums" }],
  ];
  for (const [what, how] of cases) {
    await meddle(page, how);
    proxy.log.length = 0;
    await page.reload();
    await ready(page);
    const [request, ...more] = models();
    assert.deepEqual([request?.status, request?.range, more.length], [200, undefined, 0], what);
    assert.match(await page.locator("#model").textContent(), /damaged.*fetched again/, what);
    assert.deepEqual(await kept(page), sizes, what);
  }

  proxy.log.length = 0;
  await meddle(page, { drop: ".sums" });
  await page.reload();
  await ready(page);
  assert.equal(models().length, 0, "a good copy without sums is not fetched again");
  assert.deepEqual(await kept(page), sizes, "and has sums from now on");
  assert.doesNotMatch(await page.locator("#model").textContent(), /damaged/);

  await meddle(page, { at: 70e6 });
  proxy.cut = 1;
  await page.reload();
  const error = page.locator("#model .error");
  await error.waitFor();
  assert.match(await error.textContent(), /damaged.*deleted.*connection.*damaged-copy/);
  await page.locator("#model button.primary").click();
  await ready(page);
  await run(page);
  assert.equal(await text(page, "base"), said);
  await context.close();
});

test("a beginning is gone on from after a reload, as far as it is what came", { timeout: 2 * LONG }, async () => {
  proxy.log.length = 0;
  proxy.cut = 40e6;
  const { page, context } = await open(browser, proxy.url + greedy("&n=4"));
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  await page.locator("#model .error").waitFor();
  // A slow machine has taken in less than was sent when the line breaks: half of what it has is damaged.
  const came = (await kept(page))[""];
  assert.ok(came >= 4 << 20, `${came} bytes came`);
  const block = Math.floor(came / 2 / (1 << 20));
  await meddle(page, { at: (block + 0.5) * (1 << 20) });
  await page.reload();
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  await ready(page);
  const rest = models().at(-1);
  assert.deepEqual([rest.status, rest.range], [206, `bytes=${block << 20}-`], "from the damaged block on");
  assert.match(await run(page), /^Done/);
  await context.close();
});

// ---- a browser that denies ------------------------------------------------------------------------

test("where storage is denied, the model loads and nothing is kept", { timeout: 2 * LONG }, async () => {
  const denied = 'throw new DOMException("denied in this frame", "SecurityError");';
  const ways = [
    `for (const name of ["storage", "locks"]) Object.defineProperty(WorkerNavigator.prototype, name, { get() { ${denied} } });`,
    `StorageManager.prototype.getDirectory = async () => { ${denied} };
     StorageManager.prototype.estimate = () => { ${denied} };
     LockManager.prototype.request = () => { ${denied} };`,
  ];
  try {
    for (const prelude of ways) {
      proxy.prelude = prelude;
      const { page, context } = await open(browser, proxy.url + greedy("&n=4"));
      await loadModel(page);
      assert.match(await page.locator("#model-facts").textContent(), /not kept/);
      assert.match(await run(page), /^Done/);
      await context.close();
    }
  } finally {
    proxy.prelude = "";
  }
});

// ---- a worker that ends ---------------------------------------------------------------------------

test("a worker that ends without a word is missed: the text is kept, and a new one goes on from it", options, async () => {
  // After a few steps, however fast they come.
  proxy.prelude = `
    const post = self.postMessage.bind(self);
    let steps = 0;
    self.postMessage = (message) => { if (message.step && ++steps > 5) close(); else post(message); };`;
  try {
    const { page, context } = await open(browser, `${proxy.url}#v=1&device=cpu&chat=0&p=abcabc&t=0&tp=1&rp=1&n=120`);
    await loadTinyModel(page);
    proxy.prelude = "";
    await page.evaluate(() => {
      Object.assign(window, { seen: [] });
      new MutationObserver(() => window.seen.push(document.querySelector("#notice").textContent))
        .observe(document.querySelector("#notice"), { childList: true, subtree: true });
    });
    await page.locator("#run").click();
    await tokens(page, 1);
    await page.waitForFunction(() => window.seen.some((words) => /ended without an error.*panic/.test(words)));
    await page.waitForFunction(() => /^Done, 120 tokens/.test(document.querySelector("#status").textContent));
    await context.close();
  } finally {
    proxy.prelude = "";
  }
});

// ---- files that are too large to be anything ------------------------------------------------------

test("a vast file that is refused is not read", { timeout: 2 * LONG }, async () => {
  const { page, context } = await open(browser, `${proxy.url}#v=1&device=cpu&chat=0`);
  await loadTinyModel(page);
  const heap = async () => Number(/WebAssembly (\d+)/.exec(await page.locator("#memory").textContent())[1]);
  const before = await heap();
  // Made in the page: they need not travel.
  const drop = (first, name) => page.evaluate(({ first, name }) => {
    const empty = new Uint8Array(30e6);
    const files = new DataTransfer();
    files.items.add(new File([Uint8Array.from(first), ...Array(10).fill(empty)], name));
    files.items.add(new File([JSON.stringify({ peft_type: "LORA", r: 4, lora_alpha: 8 })], "adapter_config.json"));
    const input = document.querySelector("#adapter-files");
    input.files = files.files;
    input.dispatchEvent(new Event("change"));
  }, { first: [...first], name });
  const header = (tensors) => {
    const json = Buffer.from(JSON.stringify(tensors));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    return Buffer.concat([length, json]);
  };
  const other = "base_model.model.model.layers.99.self_attn.q_proj.lora_A.weight";
  const cases = [
    [Buffer.from("a text of my own, and a long one"), "wrong-magic"],
    [header({ [other]: { dtype: "F32", shape: [4, 18750000], data_offsets: [0, 300e6] } }), "no-such-module"],
    [header({ "model.embed_tokens.weight": { dtype: "F32", shape: [75000000], data_offsets: [0, 300e6] } }), "missing-key|unexpected-keys"],
  ];
  for (const [first, code] of cases) {
    await drop(first, "adapter_model.safetensors");
    const error = page.locator(".adapter").last().locator(".error code", { hasText: new RegExp(`^(${code})$`) });
    await error.waitFor();
    await page.evaluate(() => new Promise((resolve) => { setTimeout(resolve, 300); }));
  }
  await run(page);
  const now = await heap();
  assert.ok(now < before + 20, `${before} MB before, ${now} MB after`);
  await context.close();
});
