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

test("a lesson asks and answers, several texts stand beside each other, and all methods are listed", options, async () => {
  const { page, complaints } = await open(proxy.url);
  await until(page, () => document.querySelectorAll("#base-text .tok").length > 0);
  await page.click("#lessons-open");
  await until(page, () => document.querySelectorAll(".lesson-list li").length === 12);
  assert.deepEqual(await axe(page), []);
  await page.click('[data-lesson="zero"]');
  await until(page, () => /One model writes twice/.test(document.querySelector("#lesson").textContent));
  await page.click("#lesson-next");
  await until(page, () => document.querySelector("#lesson-choice-2") !== null);
  await page.click("#lesson-choice-2");
  await until(page, () => /It comes out differently/.test(document.querySelector(".lesson-reveal")?.textContent ?? ""));
  // Both grow, at the same time.
  await until(page, () => {
    const [base, steered] = ["base", "steered"].map((lane) => document.querySelector(`#${lane}-text`).textContent);
    return base.length > 60 && steered === base;
  });
  await page.click("#lesson-leave");

  await page.$eval("#runs", (fold) => { fold.open = true; });
  await page.$eval("#runs-tab-fan", (tab) => tab.click());
  await page.$eval("#fan-go", (button) => button.click());
  await until(page, () => document.querySelectorAll("#runs-fan tbody tr .rib").length === 5 && document.querySelectorAll("#runs-fan tbody .tok[data-split]").length === 4);
  await page.$eval("#runs-fan .export", (fold) => { fold.open = true; });
  assert.match(await page.$$eval("#runs-fan .export pre", (lines) => lines.map(({ textContent }) => textContent).join("\n")), /steer generate --model SmolLM2/);

  await page.$eval(".methods", (fold) => { fold.open = true; });
  await until(page, () => document.querySelectorAll(".all-methods tr.method").length > 40);
  assert.ok(await page.$$eval(".all-methods button.cell", (cells) => cells.length) > 40);
  assert.deepEqual(await axe(page), []);
  assert.deepEqual(complaints, []);
  await page.close();
});
