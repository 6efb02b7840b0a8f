// The page in another language: chosen by the browser, by the link, by hand; and nobody else pays for it.
import assert from "node:assert/strict";
import { test } from "node:test";

import { DE } from "../../www/words/de.js";
import { EN } from "../../www/words/en.js";
import { LONG, axe, open, start, text } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();
const visit = async (hash = "", more = {}) => {
  const opened = await open(browser, proxy.url + hash, { reducedMotion: "reduce", viewport: { width: 1280, height: 720 }, ...more });
  await opened.page.locator("#base-text .tok").first().waitFor({ state: "attached" });
  return opened;
};
const asked = () => proxy.log.filter(({ path }) => path.includes("/words/de")).length;

test("a reader of German has it in German, at 320 px too, and axe finds nothing", options, async () => {
  const { page, context, complaints } = await visit("", { locale: "de-DE", viewport: { width: 320, height: 700 } });
  assert.equal(await page.locator("html").getAttribute("lang"), "de");
  // Every word that the document brought in English is there in German.
  const said = await page.locator("[data-say]").evaluateAll((list) => list.map((element) => [element.dataset.say, element.textContent]));
  const names = /\{\w+\}/;
  for (const [key, words] of said) if (typeof DE[key] === "string" && !names.test(DE[key])) assert.equal(words, DE[key], key);
  assert.ok(said.length > 30);
  assert.match(await page.locator("#status").textContent(), /^Eine Aufnahme, \d+ Tokens; die Texte gehen bei Token \d+ auseinander\.$/);
  assert.match(await page.locator("#stats").textContent(), /\d,\d\d Nats\/Token/, "figures with a comma");
  await page.locator("#in-english", { hasText: DE["page.english"].slice(0, 20) }).waitFor();
  for (const fold of await page.locator("summary").filter({ visible: true }).all()) await fold.click();
  const [scroll, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  assert.ok(scroll <= inner, `${scroll} > ${inner}`);
  assert.deepEqual(await axe(page), []);
  await page.locator("#adapters-open").click();
  for (const fold of await page.locator("#adapters-sheet summary").filter({ visible: true }).all()) await fold.click();
  assert.ok(await page.locator("#adapters-sheet").evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the link says it, or the chooser, which is remembered; the texts stay", options, async () => {
  proxy.log.length = 0;
  const { page, context } = await visit();
  assert.equal(asked(), 0, "who reads English loads nothing of it");
  assert.equal(await page.locator("#in-english").isVisible(), false);
  const steered = await text(page, "steered");
  await page.locator("#language").selectOption("de");
  await page.locator("#adapters-title", { hasText: DE["adapters.title"] }).waitFor();
  await page.locator("#model", { hasText: /laden/ }).waitFor();
  assert.ok(asked() > 3);
  await page.waitForFunction((many) => [...document.querySelectorAll("#steered-text .tok")].map((span) => span.textContent).join("").length === many, steered.length);
  assert.equal(await text(page, "steered"), steered);
  await page.goto("about:blank");
  await page.goto(proxy.url);
  // Remembered.
  await page.locator('html[lang="de"]').waitFor();
  // A link goes before it, and stays in the address.
  await page.goto("about:blank");
  await page.goto(`${proxy.url}#lang=en&p=Hello`);
  await page.locator("#share", { hasText: EN["page.copy-link"] }).waitFor();
  await page.locator("#prompt").fill("Hello you");
  await page.waitForFunction(() => location.hash.includes("p=Hello+you"));
  assert.match(page.url(), /[#&]lang=en&/);
  await context.close();
});

test("where the words do not come the page is in English", options, async () => {
  const { page, context } = await open(browser, "about:blank", { locale: "de-DE", reducedMotion: "reduce" });
  await page.route("**/words/de*", (route) => route.abort());
  await page.goto(proxy.url);
  await page.locator("#status", { hasText: /^A recorded run/ }).waitFor({ state: "attached" });
  assert.equal(await page.locator("html").getAttribute("lang"), "en");
  await context.close();
});
