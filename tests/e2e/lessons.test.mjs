// Lessons on recordings: no model is asked for. The first one by keyboard alone; teachers' links; a lesson of
// one's own; what is kept over a reload and given back when the lesson is left.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { DE } from "../../www/words/de.js";
import { LONG, axe, open, start, text, turn } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();
const visit = async (hash = "", more = {}) => {
  const opened = await open(browser, proxy.url + hash, { viewport: { width: 1280, height: 720 }, reducedMotion: "reduce", ...more });
  await opened.page.locator("#base-text .tok").first().waitFor({ state: "attached" });
  return opened;
};
const lesson = (page, name) => page.locator("#lesson", { hasText: name }).waitFor();
const step = (page) => page.locator(".lesson-place").textContent();
const focused = (page) => page.evaluate(() => document.activeElement?.id);
/** Goes on with Tab until something has the focus. */
async function to(page, wanted, most = 80) {
  for (let presses = 0; presses < most; presses += 1) {
    if (await page.evaluate((wanted) => document.activeElement?.matches(wanted), wanted)) return;
    await page.keyboard.press("Tab");
  }
  assert.fail(`${wanted} was not reached`);
}

test("the first lesson by keyboard alone, on the recording", options, async () => {
  proxy.log.length = 0;
  const { page, context, complaints } = await visit();
  await to(page, "#lessons-open");
  await page.keyboard.press("Enter");
  await page.locator(".lesson-list li").nth(11).waitFor();
  await to(page, '[data-lesson="zero"]');
  await page.keyboard.press("Enter");
  await lesson(page, "One model writes twice");
  assert.equal(await focused(page), "lesson-title");
  const next = async () => {
    await to(page, "#lesson-next");
    await page.keyboard.press("Enter");
    assert.equal(await focused(page), "lesson-title");
  };
  await next();
  // The question: the wrong answer is answered, too.
  await page.locator(".lesson-predict legend").waitFor();
  assert.equal(await page.locator("#lesson-next").textContent(), "Skip");
  assert.equal(await page.locator("#lesson-next").getAttribute("class"), "quiet");
  assert.notEqual(await text(page, "steered"), await text(page, "base"));
  await to(page, "#lesson-choice-2");
  await page.keyboard.press("Enter");
  await page.locator(".lesson-reveal", { hasText: "It comes out differently." }).waitFor();
  assert.equal(await text(page, "steered"), await text(page, "base"));
  await next();
  assert.equal(await step(page), "Step 3 of 6");
  await to(page, ".adapters .dose-slider");
  for (const key of ["ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowRight"]) await page.keyboard.press(key);
  await page.locator(".lesson-done").waitFor();
  await page.locator("#lesson-title").focus();
  await next();
  await to(page, "#steered-text");
  for (let presses = 0; presses < 3; presses += 1) await page.keyboard.press("ArrowRight");
  await page.locator(".lesson-done").waitFor();
  await page.locator("#lesson-title").focus();
  await next();
  // Another prompt alone is no try.
  await to(page, ".examples button:nth-of-type(3)");
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(".lesson-done").count(), 0);
  await page.locator("#lesson-title").focus();
  await to(page, ".adapters .dose-slider");
  for (const key of ["ArrowRight", "ArrowLeft"]) await page.keyboard.press(key);
  await page.locator(".lesson-done").waitFor();
  await page.locator("#lesson-title").focus();
  await next();
  await page.locator(".lesson-keep", { hasText: "every difference is the adapter's work" }).waitFor();
  assert.deepEqual(await axe(page), []);
  await to(page, "#lesson-next");
  await page.keyboard.press("Enter");
  await page.locator("#lesson").waitFor({ state: "hidden" });
  assert.equal(await focused(page), "lessons-open");
  await page.keyboard.press("Enter");
  await page.locator('[data-lesson="zero"]', { hasText: "Open again" }).click();
  await lesson(page, "One model writes twice");
  assert.equal(await step(page), "Step 1 of 6");
  assert.deepEqual(proxy.log.filter(({ path }) => path.includes("/models/")), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what is the student's own comes back; step and answers survive a reload, and so does the way back", options, async () => {
  const { page, context } = await visit("#v=2&p=What+makes+a+good+breakfast%3F&seed=9&a=register-ia3:-1");
  const before = await text(page, "steered");
  const begin = async (name) => {
    await page.locator("#lessons-open").click();
    await page.locator(`[data-lesson="${name}"]`).click();
  };
  await begin("dose");
  await lesson(page, "As trained");
  await page.locator('.adapter[data-adapter="tone/delora"]').waitFor();
  assert.equal(await page.locator("#prompt").inputValue(), "Tell me about your garden.");
  await page.waitForFunction(() => document.querySelector("#steered-dose").textContent.includes("delora"));
  await page.locator("#lesson-leave").click();
  assert.equal(await text(page, "steered"), before);
  assert.equal(await page.locator("#prompt").inputValue(), "What makes a good breakfast?");
  assert.equal(await page.locator('.adapter[data-adapter="tone/delora"]').count(), 0);
  await begin("dose");
  await page.locator("#lesson-next").click();
  await page.locator("#lesson-choice-1").click();
  await page.locator(".lesson-reveal").waitFor();
  await page.waitForFunction(() => location.hash.includes("lesson=dose&step=2"));
  await page.reload();
  await page.locator(".lesson-reveal", { hasText: "You said: No: ROAD pushes further" }).waitFor();
  await page.waitForFunction(() => document.querySelector("#steered-dose").textContent.includes("road +1.00"));
  // Back and on again: what the question came to is said, and set.
  const turnedTo = (name) => page.waitForFunction((name) => document.querySelector("#steered-dose").textContent.includes(name), name);
  await page.locator("#lesson-back").click();
  await turnedTo("delora +1.00");
  await page.locator("#lesson-next").click();
  await page.locator(".lesson-reveal").waitFor();
  await turnedTo("road +1.00");
  // The same by keys.
  await page.keyboard.press("p");
  assert.equal(await step(page), "Step 1 of 6");
  await turnedTo("delora +1.00");
  await page.keyboard.press("n");
  await turnedTo("road +1.00");
  // Measured numbers come from the zoo's row.
  await page.locator("#lesson-next").click();
  const row = JSON.parse(readFileSync(new URL("../../www/adapters/tone/road/row.json", import.meta.url)));
  const kl = row.measured.kl_nats.p95[row.measured.coefficients.indexOf(1)].toFixed(2);
  assert.match(await page.locator(".lesson-figure tr", { hasText: "tone · road" }).textContent(), new RegExp(kl.replace(".", "\\.")));
  await page.locator("#lesson-leave").click();
  await page.waitForFunction(() => document.querySelector("#prompt")?.value === "What makes a good breakfast?" && document.querySelector("#lesson").hidden);
  await page.locator("#base-text .tok").first().waitFor();
  assert.equal(await text(page, "steered"), before);
  await context.close();
});

test("a teacher's link hides, locks and begins; what it asks besides is told", options, async () => {
  const { page, context, complaints } = await visit("#lesson=too-much&step=3&hide=strips,examples,nothing&lock=prompt,seed,run");
  await lesson(page, "Find the sweet spot");
  for (const hidden of ["#strips", ".examples"]) assert.equal(await page.locator(hidden).isVisible(), false, hidden);
  assert.equal(await page.locator("#prompt").getAttribute("readonly"), "");
  await page.locator("#lesson-notice", { hasText: "hide=nothing" }).waitFor();
  await lesson(page, "Locked in this step: Prompt, Seed, Run and Stop.");
  await page.locator("#lesson-notice").getByRole("button", { name: "Close this message" }).click();
  await turn(page, 1, 1);
  assert.notEqual(await text(page, "steered"), await text(page, "base"));
  await page.locator("#lesson-show-all").click();
  assert.equal(await page.locator("#strips").isVisible(), true);
  assert.equal(await page.locator("#prompt").getAttribute("readonly"), null);
  assert.equal(await page.locator("#lesson", { hasText: "Locked in this step" }).count(), 0);
  // Without a lesson, too; and a locked coefficient is not turned by a key.
  await page.goto("about:blank");
  await page.goto(`${proxy.url}#p=Tell+me+about+your+garden.&a=tone-lora:1&lock=coefficient&hide=strips,model`);
  await page.locator("#steered-text .tok").nth(5).waitFor();
  await page.locator(".adapters .dose-row[inert]").first().waitFor();
  await page.keyboard.press("0");
  assert.notEqual(await text(page, "steered"), await text(page, "base"));
  for (const hidden of ["#strips", "#model", "#load-run"]) assert.equal(await page.locator(hidden).isVisible(), false, hidden);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the dialog makes such a link", options, async () => {
  const { page, context } = await visit();
  await page.locator("#lessons-open").click();
  await page.locator(".lesson-list li").first().waitFor();
  await page.locator("#teacher summary").click();
  assert.match(await page.locator("#teacher-link").inputValue(), /#lesson=zero$/);
  await page.waitForFunction(() => document.querySelector("#teacher-lesson").getBoundingClientRect().bottom < innerHeight);
  await page.locator("#teacher-lesson").selectOption("layers");
  await page.locator("#teacher-step").selectOption({ label: "2" });
  await page.locator("#teacher").getByLabel("Train", { exact: true }).check();
  await page.locator("#teacher .lesson-parts").nth(1).getByLabel("Prompt", { exact: true }).check();
  assert.match(await page.locator("#teacher-link").inputValue(), /#lesson=layers&step=2&hide=train&lock=prompt$/);
  await page.locator("#teacher-auto").check();
  const link = await page.locator("#teacher-link").inputValue();
  assert.match(link, /&auto=1$/);
  assert.deepEqual(await axe(page), []);
  await page.goto("about:blank");
  await page.goto(link);
  await lesson(page, "Only a third of it");
  await page.locator("#lesson").getByRole("button", { name: "Pause" }).click();
  await page.locator("#lesson").getByRole("button", { name: "Continue" }).waitFor();
  await context.close();
});

const mine = (change = (one) => one) => ({ name: "mine.json", mimeType: "application/json", buffer: Buffer.from(JSON.stringify(change({
  format: "steering-lesson", version: 1, title: "Mine <img src=x onerror=alert(1)>", about: "Kites.", minutes: 5, state: { prompt: "Tell me a story about a kite." },
  steps: [{ say: ["<b>Look</b> & see."], predict: { question: "What do you see?", reveal: ["That."] }, state: { adapters: { "tone-lora": -1 } } }, { say: ["Two."], keep: "So." }],
}))) });

test("a lesson of one's own: its mistakes by key, its text as text, answers in words", options, async () => {
  const { page, context, complaints } = await visit();
  await page.locator("#lessons-open").click();
  await page.locator("#lesson-file").setInputFiles(mine((one) => ({ ...one, steps: [{ say: ["x"], predict: { question: "?", choices: ["a", "b"], answer: 2, reveal: ["x"] }, frame: [] }] })));
  const said = page.locator("#lessons .lesson-complaints");
  await said.locator("li", { hasText: "steps[0].frame: is no key" }).waitFor();
  await said.locator("li", { hasText: "steps[0].predict.answer: is beyond the choices" }).waitFor();
  await page.locator("#lesson-file").setInputFiles(mine((one) => ({ ...one, state: { adapters: { "tone-lroa": 1 } } })));
  await said.locator("li", { hasText: "state.adapters.tone-lroa: \"tone-lroa\" is not one of: tone-lora" }).waitFor();
  assert.equal(await page.locator("#lessons").evaluate((dialog) => dialog.open), true);
  await page.locator("#lesson-file").setInputFiles(mine());
  await lesson(page, "<b>Look</b> & see.");
  await lesson(page, "Kites. · 5 minutes");
  assert.equal(await page.locator("#lesson img, #lesson b").count(), 0);
  await page.locator("#lesson-line").fill("=a kite");
  await page.keyboard.press("Enter");
  await page.locator(".lesson-reveal", { hasText: "You said: =a kite" }).waitFor();
  // The address follows a little later.
  await page.waitForFunction(() => location.hash.includes("lesson=own"));
  await page.reload();
  await page.locator(".lesson-reveal", { hasText: "You said: =a kite" }).waitFor();
  await page.locator("#lesson-next").click();
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy as CSV" }).click();
  await page.locator(".lesson-over", { hasText: "Copied." }).waitFor();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /"1","What do you see\?","'=a kite"/);
  // On paper.
  await page.evaluate(() => { window.print = () => { document.documentElement.dataset.printed = document.querySelector("#lesson-sheet").textContent; }; });
  await page.locator("#lesson-print").click();
  await page.emulateMedia({ media: "print" });
  assert.equal(await page.locator("#lesson-sheet").isVisible(), true);
  assert.equal(await page.locator("main").isVisible(), false);
  assert.match(await page.locator("#lesson-sheet").textContent(), /What do you see\?/);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a lesson from the page's own server begins by its address; one from elsewhere does not", options, async () => {
  proxy.files.set("/class/mine.json", { type: "application/json", body: mine().buffer.toString() });
  const { page, context } = await visit("#lesson=class/mine.json&step=2");
  await lesson(page, "Two.");
  for (const [hash, why] of [["#lesson=https://elsewhere.example/x.json", /elsewhere\.example\/x\.json is elsewhere/], ["#lesson=none", /server says 404/], ["#lesson=class/none.json", /server says 404/]]) {
    await page.goto("about:blank");
    await page.goto(proxy.url + hash);
    await page.locator("#lesson-notice", { hasText: why }).waitFor();
    assert.equal(await page.locator("#lesson").isHidden(), true);
  }
  proxy.files.clear();
  await context.close();
});

test("on a phone the sheet leaves the texts in sight; axe finds nothing, light and dark", options, async () => {
  for (const colorScheme of ["light", "dark"]) {
    const { page, context } = await visit("#lesson=turning&step=2", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, colorScheme });
    await lesson(page, "Can a turn do as much?");
    const sheet = await page.locator("#lesson").boundingBox();
    const words = await page.locator("#difference-text").boundingBox();
    const bar = await page.locator("#dosebar").boundingBox();
    assert.ok(sheet.y + sheet.height <= bar.y + 1, "the sheet ends where the bar begins");
    assert.ok(words.y + 120 < sheet.y, `${words.y} ${sheet.y}`);
    assert.deepEqual(await axe(page), []);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
    // At the page's end the bar stays where it is, below the sheet.
    await page.evaluate(() => scrollTo(0, document.documentElement.scrollHeight));
    assert.ok(Math.abs((await page.locator("#dosebar").boundingBox()).y - bar.y) < 2);
    await page.locator("#lesson-choice-2").click();
    await page.locator(".lesson-reveal", { hasText: "That is what happens." }).waitFor();
    await page.locator("#lesson-fold").click();
    assert.ok((await page.locator("#lesson").boundingBox()).height < 80);
    await context.close();
  }
});

test("on a phone all answers are in sight, and words that are to be touched too", options, async () => {
  const { page, context } = await visit("#lesson=zero&step=2", { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await page.locator("#lesson-choice-2").waitFor();
  const [answer, foot] = [await page.locator("#lesson-choice-2").boundingBox(), await page.locator(".lesson-foot").boundingBox()];
  assert.ok(answer.y + answer.height <= foot.y, "no answer is cut");
  await page.locator("#lesson-next").click();
  await page.locator("#lesson-next").click();
  await lesson(page, "The same dice");
  const words = await page.locator("#difference-text").boundingBox();
  assert.ok(words.y >= 0 && words.y + 120 < (await page.locator("#lesson").boundingBox()).y, `${words.y}`);
  await context.close();
});

test("a lesson is in the page's language, or says that it is in English; a sheet on paper has its figure and the page's address", options, async () => {
  const { page, context } = await visit("#lesson=too-much&step=1&lang=de", { serviceWorkers: "block" });
  const german = JSON.parse(readFileSync(new URL("../../www/lessons/de/too-much.json", import.meta.url), "utf8"));
  await lesson(page, german.steps[0].say[0]);
  assert.equal(await page.getByText(DE["lesson.english"]).count(), 0);
  await context.route("**/lessons/de/*", (route) => route.abort());
  await page.reload();
  await lesson(page, DE["lesson.english"]);
  await page.evaluate(() => { window.print = () => { document.documentElement.dataset.printed = "true"; }; });
  await page.locator("#lesson-print").click();
  await page.locator("[data-printed]").waitFor({ state: "attached" });
  const sheet = page.locator("#lesson-sheet");
  assert.equal(await sheet.locator(".lesson-curves path.curve.d").count() >= 2, true);
  assert.ok((await sheet.locator(".sheet-head").textContent()).includes(proxy.url));
  await context.close();
});
