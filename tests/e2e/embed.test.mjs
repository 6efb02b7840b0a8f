// The page in pages of others: the element, its messages, and frames that deny things.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { test } from "node:test";

import { LONG, UPSTREAM, axe, open, start, tinyModel } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();

/** Another site than that of the page around, which is that of 127.0.0.1. */
const THERE = proxy.url.replace("127.0.0.1", "localhost");
const example = readFileSync(new URL("../../examples/embed.html", import.meta.url), "utf8").replace("http://127.0.0.1:8080/", THERE);

/** A frame of another site may not take the focus while it loads, and the page around has no icon: a browser says so. */
const serious = (complaints) => complaints.filter((words) => !/Blocked autofocusing|status of 404/.test(words));

/** A page around, and everything that the element tells it. */
async function around(body, more = {}) {
  proxy.files.set("/around.html", { type: "text/html", body });
  const opened = await open(browser, "about:blank", { reducedMotion: "reduce", ...more });
  await opened.page.addInitScript(() => {
    if (window !== window.top) return;
    const told = [];
    Object.assign(window, { told });
    document.addEventListener("DOMContentLoaded", () => {
      for (const element of document.querySelectorAll("steering-playground")) {
        for (const name of ["ready", "change", "step", "run-end", "error"]) element.addEventListener(name, ({ detail }) => told.push({ name, ...detail }));
      }
    });
  });
  await opened.page.goto(`${proxy.url}around.html`);
  return { ...opened, frame: opened.page.frames().find((one) => one.url().startsWith(THERE)) ?? opened.page };
}
const told = (page, name) => page.evaluate((name) => window.told.filter((one) => one.name === name), name);
/** Waits until something was told that is so. */
const tell = async (page, name, more = {}) => {
  await page.waitForFunction(([name, more]) => window.told.some((one) => one.name === name && Object.entries(more).every(([key, value]) => one[key] === value)), [name, more]);
  return (await told(page, name)).at(-1);
};
/** The page's own frame, of an element whose insides are closed. */
const inside = async (page) => {
  for (;;) {
    const frame = page.frames().find((one) => one.url().includes("?embed"));
    if (frame) return frame;
    await page.waitForTimeout(50);
  }
};

test("the example: what it sets acts, what it asks is done, and it is told of both", options, async () => {
  const { page, context, complaints } = await around(example);
  const frame = await inside(page);
  const ready = await tell(page, "ready");
  assert.equal(ready.prompt, "Tell me about the weather today.");
  assert.deepEqual(ready.adapters.map(({ name, c }) => [name, c])[0], ["tone-lora", 1]);
  const first = await tell(page, "run-end", { recorded: true });
  assert.ok(first.steered.length > 20 && first.steered !== first.base);

  await page.locator("#c").fill("-1");
  await frame.waitForFunction(() => document.querySelector(".adapters .dose-box").value === "−1");
  await page.waitForFunction((steered) => window.told.some((one) => one.name === "run-end" && one.steered !== steered), first.steered);
  assert.equal((await told(page, "change")).at(-1).adapters[0].c, -1);
  const steered = await frame.locator("#steered-text .tok").evaluateAll((spans) => spans.map((span) => span.textContent).join(""));
  assert.equal((await told(page, "run-end")).at(-1).steered, steered);

  // What is turned inside is told outside.
  await frame.locator(".adapters .dose-box").first().fill("0");
  await frame.locator(".adapters .dose-box").first().press("Enter");
  await page.waitForFunction(() => window.told.at(-1) && window.told.some((one) => one.name === "change" && one.adapters[0].c === 0));

  // Compact, with its name as a way out, and what leaves it.
  assert.equal(await frame.locator(".tagline").isVisible(), false);
  assert.match(await frame.locator("#title a").getAttribute("href"), new RegExp(`^${THERE}#v=2&`));
  assert.ok((await frame.locator("#told").textContent()).includes(`of ${new URL(proxy.url).origin}, is told`));
  assert.deepEqual(await axe(page), []);
  assert.deepEqual(serious(complaints), []);
  await context.close();
});

test("live: each token is told, then both texts, and nothing of the files", options, async () => {
  const { page, context } = await around(`<!doctype html><html lang="en"><title>around</title><script src="${THERE}element.js"></script>
    <main><h1>around</h1><steering-playground adapters="" prompt="abc" link="device=cpu&chat=0&t=0&n=5" height="500"></steering-playground></main>`);
  const frame = await inside(page);
  await tell(page, "ready");
  await page.evaluate(() => document.querySelector("steering-playground").run());
  await tell(page, "error", { code: "no-model" });
  await frame.getByText("another model").click();
  await frame.locator("#model-files").setInputFiles(tinyModel());
  await frame.locator("#run:not(:disabled)").waitFor();
  await page.evaluate(() => {
    window.told.length = 0;
    const element = document.querySelector("steering-playground");
    element.setAttribute("prompt", "abcabc");
    setTimeout(() => element.run(), 100);
  });
  const end = await tell(page, "run-end", { recorded: false, status: "done" });
  const steps = await told(page, "step");
  assert.deepEqual(steps.map(({ index }) => index), [0, 1, 2, 3, 4]);
  assert.equal(steps.map(({ base }) => base).join(""), end.base);
  assert.equal(await frame.locator("#prompt").inputValue(), "abcabc");
  assert.doesNotMatch(JSON.stringify(await page.evaluate(() => window.told)), /safetensors|tokenizer\.json/);
  // Another lasting attribute opens the page anew, in German.
  await page.evaluate(() => { window.told.length = 0; document.querySelector("steering-playground").setAttribute("lang", "de"); });
  await tell(page, "ready");
  assert.equal(await (await inside(page)).locator("html").getAttribute("lang"), "de");
  await context.close();
});

test("neither side believes a stranger", options, async () => {
  proxy.files.set("/stranger.html", { type: "text/html", body: "<!doctype html><title>stranger</title>" });
  // The element's own frame is nobody's to find; a plain one beside it can be spoken to by everybody.
  const { page, context, complaints } = await around(`<!doctype html><html lang="en"><title>around</title><script src="${THERE}element.js"></script>
    <iframe id="stranger" title="stranger" src="${proxy.url}stranger.html"></iframe><iframe title="plain" src="${THERE}?embed#p=plain"></iframe>
    <steering-playground adapter="tone-lora" prompt="Tell me about the weather today."></steering-playground>`);
  await tell(page, "ready");
  assert.equal(await page.evaluate(() => window.frames.length), 2);
  const plain = page.frames().find((one) => one.url().includes("p=plain"));
  await plain.waitForFunction(() => document.querySelector("#prompt")?.value === "plain" && document.querySelector(".adapter"));
  // The page around says to itself what only its frame may say, and another frame says it too.
  await page.evaluate(() => window.postMessage({ steering: 1, type: "ready", prompt: "forged" }, "*"));
  await page.frame({ url: /stranger/ }).evaluate(() => {
    window.parent.frames[1].postMessage({ steering: 1, type: "hello" }, "*");
    window.parent.frames[1].postMessage({ steering: 1, type: "set", prompt: "forged" }, "*");
    window.parent.postMessage({ steering: 1, type: "error", code: "forged", message: "forged" }, "*");
  });
  // The parent says what nobody understands, before its hello and after it.
  await page.evaluate(() => {
    const say = (message) => window.frames[1].postMessage(message, "*");
    const hostile = [null, 7, "run", [], { steering: 1 }, { steering: 1, type: "constructor" }, { steering: 2, type: "set", prompt: "forged" },
      { steering: 1, type: "set", prompt: { toString: "x" }, c: "1e999", adapter: [] }, { steering: 1, type: "set", prompt: "x".repeat(200_000) }];
    say({ steering: 1, type: "set", prompt: "too early" });
    for (const message of hostile) say(message);
    say({ steering: 1, type: "hello" });
    for (const message of hostile) say(message);
    say({ steering: 1, type: "set", c: -1 });
  });
  await plain.waitForFunction(() => document.querySelector(".adapters .dose-box").value === "−1");
  assert.equal(await plain.locator("#prompt").inputValue(), "plain");
  assert.doesNotMatch(JSON.stringify(await page.evaluate(() => window.told)), /forged/);
  assert.deepEqual(serious(complaints), []);
  await context.close();
  proxy.files.clear();
});

test("a frame without an origin plays the recording, and says what it cannot", options, async () => {
  // What docs/embedding.md asks of the host for it.
  const host = http.createServer((request, response) => {
    if (request.url.startsWith("/around.html")) {
      response.writeHead(200, { "content-type": "text/html" });
      return response.end(`<!doctype html><title>around</title><iframe title="page" sandbox="allow-scripts" width="1000" height="800" src="/?embed"></iframe>`);
    }
    http.get(new URL(request.url, UPSTREAM), (answer) => {
      response.writeHead(answer.statusCode, { ...answer.headers, "access-control-allow-origin": "*" });
      answer.pipe(response);
    });
  });
  await new Promise((resolve) => host.listen(0, "127.0.0.1", resolve));
  const { page, context } = await open(browser, "about:blank", { reducedMotion: "reduce" });
  const errors = [];
  page.on("pageerror", ({ message }) => errors.push(message));
  await page.goto(`http://127.0.0.1:${host.address().port}/around.html`);
  const frame = page.frameLocator("iframe");
  await frame.locator("#status", { hasText: /^A recorded run/ }).waitFor({ state: "attached" });
  await frame.locator("#model .error", { hasText: "open the page in a tab of its own" }).waitFor();
  await frame.locator("#nothing-kept").waitFor();
  assert.deepEqual(errors, []);
  await context.close();
  host.closeAllConnections();
  host.close();
});
