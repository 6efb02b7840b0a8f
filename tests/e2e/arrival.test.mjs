// The first ten seconds, over a line of 10 Mbit/s: the page as a static host has it, an empty browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { LONG, dist, open, start } from "./support.mjs";

const HASHED = /\.[0-9a-f]{10}[./]/;
const LINE = { bitsPerSecond: 10e6, latencyMs: 40 };
const options = { timeout: LONG };

const { browser, proxy } = await start({ proxy: { upstream: dist(), ...LINE } });

/** An empty browser with the page open, which notes when things are there: `window.seen`, in ms from the navigation's start. */
async function arrive() {
  proxy.log.length = 0;
  const opened = await open(browser, "about:blank");
  await opened.page.addInitScript(() => {
    const seen = {};
    Object.assign(window, { seen });
    const look = () => {
      if (document.querySelector("#base-text .tok")) seen.text ??= performance.now();
      if (document.querySelector("#model .device strong")) seen.engine ??= performance.now();
      requestAnimationFrame(look);
    };
    look();
  });
  await opened.page.goto(proxy.url);
  return opened;
}
/** Waits until something is there. @returns {Promise<number>} when it was, in ms */
const when = async (page, what) => (await page.waitForFunction((what) => window.seen[what], what)).jsonValue();
/** What the service worker has a copy of. */
const copies = (page) => page.evaluate(async () => (await (await caches.open("shell")).keys()).map(({ url }) => new URL(url).pathname));
const copied = async (page, path) => {
  while (!(await copies(page)).includes(path)) await page.waitForTimeout(100);
};
const module = () => proxy.log.find(({ path }) => path.endsWith(".wasm"));

test("something moves within 2 s", options, async (t) => {
  const { page, context } = await arrive();
  const first = await when(page, "text");
  const count = () => page.locator("#base-text .tok").count();
  const before = await count();
  await page.waitForFunction((before) => document.querySelectorAll("#base-text .tok").length > before, before);
  t.diagnostic(`the first token after ${Math.round(first)} ms`);
  assert.ok(first < 2000, `the first token came after ${Math.round(first)} ms`);
  await context.close();
});

test("the engine is there within 6 s, its module travels compressed, and nothing travels twice", options, async (t) => {
  const { page, context, complaints } = await arrive();
  const engine = await when(page, "engine");
  const { status, bytes, encoding, path } = module();
  const all = proxy.log.reduce((sum, entry) => sum + entry.bytes, 0);
  t.diagnostic(`engine after ${Math.round(engine)} ms; ${bytes} bytes of module, ${all} in ${proxy.log.length} answers`);
  assert.deepEqual([status, encoding], [200, "br"]);
  // At 10 Mbit/s some 2.6 s.
  assert.ok(bytes <= 3.3e6, `${bytes} bytes`);
  assert.ok(engine < 6000, `the engine was there after ${Math.round(engine)} ms`);

  await copied(page, path);
  await page.waitForTimeout(500);
  const hashed = proxy.log.filter(({ path }) => HASHED.test(path)).map(({ path }) => path);
  assert.deepEqual(hashed.toSorted(), [...new Set(hashed)].toSorted(), "what the page had fetched, the service worker takes from the browser's cache");
  assert.deepEqual(complaints, []);

  proxy.log.length = 0;
  await page.goto("about:blank");
  await page.goto(proxy.url);
  await when(page, "engine");
  assert.deepEqual(proxy.log.filter(({ path }) => HASHED.test(path)), []);
  await context.close();
});

test("the service worker keeps one version of each file", options, async () => {
  const { page, context } = await arrive();
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  const probes = ["/probe.0000000000.js", "/probe.1111111111.js", "/probes.0000000000/probe.js"];
  for (const path of probes) proxy.files.set(path, { type: "text/javascript", body: "// probe" });
  const get = (path) => page.evaluate(async (path) => (await fetch(path)).status, path);
  for (const path of [probes[0], probes[2], probes[1], probes[1]]) {
    assert.equal(await get(path), 200);
    await copied(page, path);
  }
  const asked = proxy.log.map(({ path }) => path).filter((path) => path.includes("probe"));
  assert.deepEqual(asked, [probes[0], probes[2], probes[1]], "what is kept is not asked for again");
  await page.waitForFunction(async () => !(await (await caches.open("shell")).match("/probe.0000000000.js")));
  assert.deepEqual((await copies(page)).filter((path) => path.includes("probe")).toSorted(), probes.slice(1).toSorted());
  proxy.files.clear();
  await context.close();
});

test("asked late, the service worker takes what was fetched before from the browser's cache", options, async () => {
  const { page: visited, context: first } = await arrive();
  await when(visited, "engine");
  /** The path of what is asked for, some time. @param {RegExp} name */
  const asked = async (name) => {
    for (;;) {
      const found = proxy.log.find(({ path }) => name.test(path));
      if (found) return found.path;
      await sleep(50);
    }
  };
  const [late, worker] = [await asked(/\/offline\./), await asked(/\/worker\./)];
  const { path: wasm } = module();
  await first.close();

  proxy.files.set("/late.html", { type: "text/html", body: "<!doctype html><title>late</title>" });
  proxy.log.length = 0;
  const { page, context } = await open(browser, `${proxy.url}late.html`);
  const create = () => page.evaluate((worker) => new Promise((resolve, reject) => {
    const engine = new Worker(worker, { type: "module" });
    engine.onerror = () => reject(new Error("the engine could not be loaded"));
    engine.onmessage = ({ data }) => { if (data.id === 1) resolve(data.value?.device.kind); };
    engine.postMessage({ id: 1, call: "create", args: [{ device: "cpu" }] });
  }), worker);
  assert.equal(await create(), "cpu");
  await page.evaluate(async (late) => (await import(late)).offline(), late);
  await copied(page, wasm);
  await copied(page, late);
  const hashed = proxy.log.map(({ path }) => path).filter((path) => HASHED.test(path));
  assert.deepEqual(hashed.toSorted(), [...new Set(hashed)].toSorted(), "everything travelled once");
  proxy.gone = true;
  assert.equal(await create(), "cpu", "without a network");
  proxy.gone = false;
  proxy.files.clear();
  await context.close();
});
