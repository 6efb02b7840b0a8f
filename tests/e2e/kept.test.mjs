// What the browser keeps: shown, deleted, and room said before a download. And what must not grow.
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { startHub } from "./hub-server.mjs";
import { LONG, axe, greedy, loadTinyModel, open, ready, run, start, tinyModel } from "./support.mjs";

const options = { timeout: 2 * LONG };
const { browser, proxy } = await start();
const hub = await startHub({ "tiny/model": { files: Object.fromEntries(tinyModel().map(({ name, buffer }) => [name, buffer])) } });
after(() => hub.close());
const HASH = greedy(`&chat=0&p=abc&n=4&a=&hub=${hub.url}&m=hub:tiny/model`);

const storage = async (page) => {
  await page.locator("#storage-open").click();
  // What is remembered is there first.
  await page.locator("#storage .kept li", { hasText: "The page itself" }).waitFor();
};
const rows = (page) => page.locator("#storage .kept strong").allTextContents();

test("what is kept is listed, and goes one by one, or all at once after a question", options, async () => {
  const { page, context, complaints } = await open(browser, proxy.url + HASH);
  await page.getByRole("button", { name: "Load tiny/model" }).click();
  await ready(page);
  await page.locator("#theme").click();
  await storage(page);
  for (const one of ["model.safetensors", "Settings: colours, language, keys", "The page itself"]) assert.ok((await rows(page)).includes(one), `${one} of ${await rows(page)}`);
  assert.match(await page.locator("#storage").textContent(), /are used; the browser would give this site about \d/);
  assert.deepEqual(await axe(page), []);

  await page.getByRole("button", { name: "Delete: Settings: colours" }).click();
  await page.locator("#storage [role=status]", { hasText: "Deleted." }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("playground.theme")), null);
  assert.equal(await page.evaluate(() => document.querySelector("#storage").contains(document.activeElement)), true, "the focus stays");

  await page.getByRole("button", { name: /^Delete everything/ }).click();
  const sure = page.getByRole("group", { name: "This goes" });
  assert.match(await sure.textContent(), /model\.safetensors · \d/);
  await sure.getByRole("button", { name: "Keep it" }).click();
  assert.ok((await rows(page)).includes("model.safetensors"), "nothing went");
  await page.getByRole("button", { name: /^Delete everything/ }).click();
  await sure.getByRole("button", { name: "Delete all of it" }).click();
  await page.locator("#storage [role=status]", { hasText: "All of it is deleted" }).waitFor();
  const left = await page.evaluate(async () => {
    const names = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
    const files = await (await (await navigator.storage.getDirectory()).getDirectoryHandle("models").catch(() => null))?.keys?.();
    for await (const name of files ?? []) names.push(name);
    return { names: names.filter((name) => name !== "models"), caches: (await Promise.all(["shell", "listings"].map(async (name) => (await (await caches.open(name)).keys()).length))).join(), settings: Object.keys(localStorage),
      workers: (await navigator.serviceWorker.getRegistrations()).length };
  });
  assert.deepEqual(left, { names: [], caches: "0,0", settings: [], workers: 0 });
  // The model in the page is as it was, until it is opened anew.
  await page.keyboard.press("Escape");
  assert.match(await run(page), /^Done/);
  await page.locator("#storage-open").click();
  await page.getByRole("button", { name: "Open the page anew" }).click();
  await page.getByRole("button", { name: /^Load SmolLM2/ }).waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a download without room is refused in a sentence, and goes on without being kept", options, async () => {
  const { page, context } = await open(browser, "about:blank");
  await page.addInitScript(() => { StorageManager.prototype.estimate = async () => ({ usage: 90e6, quota: 100e6 }); });
  await page.goto(proxy.url + greedy("&n=4"));
  proxy.log.length = 0;
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  const error = page.locator("#model .error", { hasText: "quota-exceeded" });
  await error.waitFor();
  assert.match(await error.textContent(), /It needs 98\.4 MB, and this browser has about 10\.0 MB left/);
  assert.deepEqual(proxy.log.filter(({ path }) => path.includes("/models/")), [], "nothing was asked for");
  await page.getByRole("button", { name: "Continue without keeping it" }).waitFor();
  await page.getByText("another model").click();
  await page.locator(".other", { hasText: "This browser has room for about 10.0 MB." }).waitFor();
  await context.close();
});

test("twenty runs leave nothing behind", options, async (t) => {
  const { page, context } = await open(browser, proxy.url + greedy("&chat=0&p=abcabc&n=24&a="));
  await loadTinyModel(page);
  const session = await context.newCDPSession(page);
  const measure = async () => {
    await session.send("HeapProfiler.collectGarbage");
    const { usedSize } = await session.send("Runtime.getHeapUsage");
    const { nodes, jsEventListeners } = await session.send("Memory.getDOMCounters");
    const wasm = Number(/WebAssembly ([\d.]+)/.exec(await page.locator("#memory").textContent())[1]);
    return { usedSize, nodes, jsEventListeners, wasm };
  };
  for (let runs = 0; runs < 3; runs += 1) await run(page);
  const before = await measure();
  for (let runs = 0; runs < 20; runs += 1) {
    await page.evaluate(() => { document.querySelector("#status").textContent = ""; });
    await run(page);
  }
  const now = await measure();
  t.diagnostic(`${JSON.stringify(before)} -> ${JSON.stringify(now)}`);
  // Other panels may keep twenty runs, as text.
  assert.ok(now.usedSize - before.usedSize < 3e6, `${now.usedSize - before.usedSize} bytes of scripts`);
  assert.ok(now.nodes - before.nodes < 1500, `${now.nodes - before.nodes} nodes`);
  assert.ok(now.jsEventListeners - before.jsEventListeners < 300, `${now.jsEventListeners - before.jsEventListeners} listeners`);
  assert.ok(now.wasm <= before.wasm * 1.05 + 1, `${before.wasm} MB -> ${now.wasm} MB of the module`);
  await context.close();
});

test("it can be installed: the manifest, its icons, and the worker that opens it without a network", options, async () => {
  const { page, context } = await open(browser, proxy.url, { reducedMotion: "reduce" });
  const { icons, start_url: begins, display } = await page.evaluate(async () => (await fetch(document.querySelector("link[rel=manifest]").href)).json());
  assert.deepEqual([begins, display], [".", "standalone"]);
  const sizes = await page.evaluate(async (icons) => Promise.all(icons.map(async ({ src, sizes, type, purpose }) => {
    const image = new Image();
    image.src = new URL(src, document.querySelector("link[rel=manifest]").href);
    await image.decode();
    return [type, sizes === "any" ? sizes : `${image.naturalWidth}x${image.naturalHeight}`, sizes, purpose ?? "any"];
  })), icons);
  for (const [, found, named] of sizes) assert.equal(found, named);
  assert.ok(["192x192", "512x512"].every((size) => sizes.some(([type, found, , purpose]) => type === "image/png" && found === size && purpose === "any")));
  const session = await context.newCDPSession(page);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  // Of a window that forgets all afterwards Chromium installs nothing, whatever it holds.
  assert.deepEqual(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito"), []);
  await context.close();
});
