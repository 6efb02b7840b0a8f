// The first minute in Firefox, without a model: the recording plays, is turned and looked into.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, axe, greedy, launchFirefox, start, until } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start({ browser: launchFirefox() });

/** The page, and everything that it complains of. */
async function open(url) {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", ({ message }) => complaints.push(`page error: ${message}`));
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  await page.goto(url);
  return { page, complaints };
}
const text = (page, lane) => page.$$eval(`#${lane}-text .tok`, (spans) => spans.map((span) => span.textContent).join(""));

test("the engine starts on the processor, and nothing is complained of", options, async () => {
  const { page, complaints } = await open(proxy.url + greedy());
  await until(page, () => /CPU/.test(document.querySelector(".device")?.textContent ?? ""));
  assert.deepEqual(complaints, []);
  await page.close();
});

test("the recording plays, the slider changes its text, a token and a word open", options, async () => {
  proxy.log.length = 0;
  const { page, complaints } = await open(proxy.url);
  await until(page, () => document.querySelectorAll("#base-text .tok").length > 0);
  const count = () => page.$$eval("#base-text .tok", (spans) => spans.length);
  const first = await count();
  await until(page, (first) => document.querySelectorAll("#base-text .tok").length > first, first);
  await until(page, () => /^A recorded run/.test(document.querySelector("#status").textContent));

  const cheerful = await text(page, "steered");
  await page.focus(".adapters .dose-slider");
  for (let presses = 0; presses < 2; presses += 1) await page.keyboard.press("ArrowLeft");
  assert.equal(await page.$eval(".dose-box", (box) => box.value), "0");
  assert.equal(await text(page, "steered"), await text(page, "base"));
  for (let presses = 0; presses < 2; presses += 1) await page.keyboard.press("ArrowLeft");
  const gloomy = await text(page, "steered");
  assert.ok(gloomy !== cheerful && gloomy !== await text(page, "base"));

  await page.click('#steered-text .tok[data-at="6"]');
  assert.match(await page.$eval("#token .facts", (facts) => facts.textContent), /^Token 7: base wrote .* steered wrote/);
  await page.click('.legend .term[data-term="kl"]');
  assert.equal(await page.$eval("#word", (word) => word.matches(":popover-open")), true);
  assert.deepEqual(await axe(page), []);
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.dataset.term), "kl");
  assert.deepEqual(proxy.log.filter(({ path }) => path.includes("/models/")), []);
  assert.deepEqual(complaints, []);
  await page.close();
});
