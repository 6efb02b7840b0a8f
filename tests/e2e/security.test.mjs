// What only a browser can show of docs/security.md: a hostile link asks nobody and runs nothing, and what files,
// cards and refusals say is shown as text. No model but a tiny one.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LONG, golden, greedy, loadTinyModel, open, start } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();

/** Text that would run if it were ever markup. */
const RUNS = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>';
/** Whether any of it has become an element, or has run. */
const became = (page) => page.evaluate(() => [window.ran ?? null, document.querySelectorAll('img[src="x"], body script, [onerror]').length]);

test("a hostile link asks nobody but the page's own server, downloads nothing and runs nothing", options, async () => {
  const { page, context, complaints } = await open(browser, "about:blank", { reducedMotion: "reduce" });
  const asked = [];
  const unasked = [];
  context.on("request", (request) => asked.push(request.url()));
  page.on("download", () => unasked.push("download"));
  page.on("dialog", (dialog) => { unasked.push("dialog"); dialog.dismiss(); });
  page.on("popup", () => unasked.push("popup"));
  proxy.log.length = 0;
  const link = new URLSearchParams({
    v: "2", p: RUNS, sys: RUNS, said: RUNS, heard: RUNS, m: "https://elsewhere.example/m.gguf", hub: "https://mirror.example",
    lesson: "https://elsewhere.example/lesson.json", hide: RUNS, gone: RUNS, stop: RUNS,
    a: `${encodeURIComponent(RUNS)}:1,${encodeURIComponent("https://elsewhere.example/adapter_model.safetensors")}:1,hub%3Ao%2Fn:2,tone-lora:0.5`,
  });
  await page.goto(`${proxy.url}#${link}`);
  await page.locator("#mirror", { hasText: "https://mirror.example" }).waitFor();
  await page.locator(".adapter .name", { hasText: RUNS }).waitFor();
  await page.getByRole("button", { name: "Load m.gguf" }).and(page.locator(":enabled")).waitFor();
  // The last thing that a visit begins.
  await page.evaluate(async () => { await navigator.serviceWorker.ready; });
  const own = new URL(proxy.url).origin;
  assert.deepEqual(asked.filter((url) => /^(https?|wss?):/.test(url) && new URL(url).origin !== own), []);
  assert.deepEqual(proxy.log.filter(({ path }) => path.includes("/models/")), []);
  assert.deepEqual(unasked, []);
  assert.deepEqual(await became(page), [null, 0]);
  assert.equal(await page.locator("#prompt").inputValue(), RUNS);
  assert.deepEqual(complaints.filter((words) => /Content Security Policy|page error/.test(words)), []);
  await context.close();
});

test("what a card, a file's name and a refusal say is shown as text", options, async () => {
  proxy.files.set("/adapters/tone-lora/card.json", { type: "application/json", body: JSON.stringify({ title: RUNS, sentence: RUNS }) });
  const { page, context } = await open(browser, proxy.url + greedy("&chat=0&p=abc&n=4"), { reducedMotion: "reduce" });
  await page.locator(".adapter .name", { hasText: RUNS }).first().waitFor();
  await loadTinyModel(page);
  const file = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer });
  const config = JSON.parse(readFileSync(golden("lora/adapter_config.json")));
  await page.locator("#adapter-files").setInputFiles([
    file("adapter_config.json", Buffer.from(JSON.stringify({ ...config, peft_type: RUNS }))),
    file("adapter_model.safetensors", readFileSync(golden("lora/adapter_model.safetensors"))),
  ]);
  await page.locator(".adapter .error", { hasText: "window.ran=1" }).filter({ hasText: "unknown-method" }).first().waitFor();
  await page.locator("#adapter-files").setInputFiles([file("<img src=x onerror=window.ran=1>.safetensors", Buffer.from("no weights"))]);
  await page.locator(".adapter .name", { hasText: "<img src=x onerror=window.ran=1>" }).waitFor();
  assert.deepEqual(await became(page), [null, 0]);
  await context.close();
  proxy.files.clear();
});
