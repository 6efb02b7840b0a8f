// Runs: kept and opened again, several at once, exported, and gone on with from another word; on the
// recording, on the real model, and where the browser keeps nothing.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LONG, axe, finished, loadModel, loadTinyModel, open, run, start, text } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();
const HASH = "#v=2&device=cpu&n=8&p=Tell+me+about+your+garden.&seed=9";

const unfold = (page) => page.locator("#runs").evaluate((fold) => { fold.open = true; });
const tab = (page, name) => page.locator(`#runs-tab-${name}`).click();
/** Texts of the rows of a fan, as far as they are. */
const rows = (page, of = "#runs-fan") => page.locator(`${of} tbody tr`).evaluateAll((list) => list.map((row) => [...row.querySelectorAll(".wrote .tok")].map((one) => one.textContent).join("")));
/** What a button gives as a file. */
async function download(page, within, name) {
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator(within).getByRole("button", { name, exact: true }).click()]);
  return { name: file.suggestedFilename(), content: readFileSync(await file.path(), "utf8") };
}
/** Waits until nothing of several texts is being written. */
const over = (page, kind) => page.locator(`#runs-${kind} .work`).waitFor({ state: "hidden" });
const history = (page) => page.locator(".history > li");

test("a fan of the recording needs no model, its rows turn the slider, and its files say all", options, async () => {
  const { page, context, complaints } = await open(browser, `${proxy.url}#v=2`, { reducedMotion: "reduce" });
  await page.locator("#steered-text .tok").first().waitFor();
  await unfold(page);
  // By keyboard alone: the tabs, the button, a row.
  await page.locator("#runs-tab-history").focus();
  await page.keyboard.press("ArrowRight");
  assert.equal(await page.evaluate(() => document.activeElement.id), "runs-tab-fan");
  await page.locator("#fan-go").focus();
  await page.keyboard.press("Enter");
  await page.locator("#runs-fan tbody .tok").first().waitFor();
  const texts = await rows(page);
  assert.equal(texts.length, 5);
  assert.equal(texts[2], await text(page, "base"), "at c = 0 it is the base");
  assert.equal(new Set(texts).size, 5);
  assert.equal(await page.locator("#runs-fan tbody .tok[data-split]").count(), 4);
  assert.match(await page.locator("#runs-fan .says").innerText(), /^5 texts; 4 of them differ from the base’s\. At [−+][12]\.00 the model is furthest/);
  await page.locator("#runs-fan .rib").last().focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.locator(".dose-box").first().inputValue(), "2");
  assert.equal(await text(page, "steered"), texts[4]);
  assert.deepEqual(await axe(page, { runOnly: ["wcag2a", "wcag2aa", "wcag22aa"] }), []);

  await page.locator("#runs-fan .export > summary").click();
  const line = await page.locator("#runs-fan .export pre").filter({ hasText: "steer generate" }).first().innerText();
  assert.match(line, /^steer generate --model SmolLM2-135M-Instruct\.Q4_1\.gguf --adapter tone-lora --coeff -2 '--chat=Tell me about your garden\.'/);
  const json = JSON.parse((await download(page, "#runs-fan", "JSON")).content);
  assert.deepEqual(json.texts.map(({ manifest, result }) => [manifest.adapters[0]?.coefficient ?? 0, result.steered]), [-2, -1, 0, 1, 2].map((c, at) => [c, texts[at]]));
  assert.match(json.texts[0].manifest.model.sha256 + json.texts[0].manifest.adapters[0].sha256, /^[0-9a-f]{128}$/);
  assert.match((await download(page, "#runs-fan", "CSV")).content, /^title,prompt,system,turned,c,seed,/);
  assert.match((await download(page, "#runs-fan", "Markdown")).content, /^# A fan: one prompt, several coefficients\n/);
  const picture = await download(page, "#runs-fan", "Picture (SVG)");
  assert.match(picture.name, /^fan-.*\.svg$/);
  const read = await page.evaluate((svg) => {
    const drawing = new DOMParser().parseFromString(svg, "image/svg+xml");
    return { wrong: drawing.querySelector("parsererror")?.textContent ?? "", marks: drawing.querySelectorAll("rect").length, words: drawing.documentElement.textContent };
  }, picture.content);
  assert.equal(read.wrong, "");
  assert.ok(read.marks > 50 && read.words.includes("garden"), JSON.stringify(read));

  // What the recording does not have is refused in words.
  await page.locator("#fan-step").fill("0.3");
  await page.locator("#fan-go").click();
  assert.match(await page.locator("#runs-fan .error:visible").innerText(), /^Load the model first/);
  assert.deepEqual(await rows(page), texts, "what was there stays");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("on the model: from another word, kept, opened again; fan, comparison and batch leave the columns alone", options, async () => {
  const { page, context, complaints } = await open(browser, proxy.url + HASH);
  await loadModel(page);
  await run(page);
  const first = [await text(page, "base"), await text(page, "steered")];
  assert.notEqual(first[0], first[1]);

  // ---- how much likelier a word became, in nats ----
  await page.locator("#difference-nats").check();
  const cells = await page.locator("#token tbody tr").evaluateAll((list) => list.map((row) => [...row.querySelectorAll("td")].map((cell) => cell.textContent)));
  assert.ok(cells.length >= 8 && cells.every(([, , nats]) => /^(?:[+−]\d+\.\d\d|0)$/.test(nats)), JSON.stringify(cells));
  const number = (words) => Number(words.replace("−", "-").replace(/ %|<.*/g, ""));
  for (const [likely, now, nats] of cells.filter((row) => row.slice(0, 2).every((p) => number(p) >= 1))) {
    assert.ok(Math.abs(Math.log(number(now) / number(likely)) - number(nats)) < 0.7, `${likely} ${now} ${nats}`);
  }
  await page.locator("#difference-nats").uncheck();

  // ---- from another word, by keyboard ----
  await page.locator('#steered-text .tok[data-at="2"]').click();
  const before = await page.locator("#steered-text .tok").evaluateAll((list) => list.slice(0, 2).map((one) => one.textContent).join(""));
  const other = page.locator("#token .alternative").nth(2);
  const word = (await other.innerText()).replaceAll("·", " ").replaceAll("↵", "\n");
  await other.focus();
  await page.keyboard.press("Enter");
  assert.match(await finished(page), /^Done/);
  const [base, steered] = [await text(page, "base"), await text(page, "steered")];
  assert.ok(base.startsWith(before + word) && steered.startsWith(before + word), `${before}|${word}|${base}|${steered}`);
  assert.deepEqual(await page.locator("#steered-text .tok[data-given]").evaluateAll((list) => list.map((one) => one.dataset.given)), ["text", "text", "instead"]);
  assert.match(await page.locator("#stats").innerText(), /given 3/);

  // ---- the history ----
  await unfold(page);
  await history(page).nth(1).waitFor();
  await page.reload();
  await page.locator("#steered-text .tok").first().waitFor();
  assert.equal(await text(page, "steered"), steered, "the texts outlive a reload");
  assert.match(await page.locator("#opened").innerText(), /^From the history/);
  await page.locator("#run:not(:disabled)").waitFor();
  await unfold(page);
  assert.equal(await history(page).count(), 2);
  await history(page).nth(1).getByRole("button", { name: /^Open/ }).click();
  assert.deepEqual([await text(page, "base"), await text(page, "steered")], first);
  assert.equal(await page.locator("#token .alternative").first().isVisible(), true, "with what could have come");
  await page.locator("#opened-back").click();

  // ---- a fan, stopped and whole ----
  await tab(page, "fan");
  await page.locator("#fan-step").fill("0.5");
  await page.locator("#fan-go").click();
  await page.waitForFunction(() => document.querySelectorAll("#runs-fan tbody tr")[1]?.querySelector(".tok"));
  assert.equal(await page.locator("#run").isDisabled(), true, "one after the other");
  await page.locator("#runs-fan").getByRole("button", { name: "Stop" }).click();
  await over(page, "fan");
  const there = (await rows(page)).filter(Boolean).length;
  assert.ok(there >= 2 && there < 9, `${there}`);
  for (const [id, value] of [["from", "-1"], ["to", "1"], ["step", "1"]]) await page.locator(`#fan-${id}`).fill(value);
  await page.locator("#fan-go").click();
  await page.waitForFunction(() => document.querySelector("#runs-fan tbody .tok"));
  // The page answers meanwhile, and what is turned acts afterwards.
  await page.locator(".dose-box").first().fill("1.5");
  await page.locator(".dose-box").first().press("Enter");
  await over(page, "fan");
  const fan = await rows(page);
  assert.deepEqual([fan[1], fan[2]], first, "c = 0 is the base, and c = 1 what the columns had");
  await run(page);
  const turned = await text(page, "steered");
  assert.notEqual(turned, fan[2]);
  assert.match(await page.locator("#steered-dose").innerText(), /\+1\.50$/);

  // ---- a prompt beside an adapter ----
  await tab(page, "compare");
  await page.locator("#runs-compare .asks:visible select").selectOption({ index: 1 });
  await page.locator("#compare-go").click();
  await page.locator("#runs-compare .compare-columns article:nth-child(2) button:visible").waitFor();
  await over(page, "compare");
  const columns = await page.locator(".compare-columns article").evaluateAll((list) => list.map((one) => [one.querySelector("h4").textContent, [...one.querySelectorAll(":scope > .wrote .tok")].map((tok) => tok.textContent).join("")]));
  assert.equal(columns[0][0], "Cheerful or gloomy +1.50");
  assert.match(columns[1][0], /^Prompt: “Answer in a bright/);
  assert.equal(columns[0][1], turned);
  assert.ok(columns[1][1] && columns[1][1] !== turned && columns[1][1] !== first[0]);
  assert.equal(await text(page, "steered"), turned);

  // ---- a batch ----
  await tab(page, "batch");
  await page.locator("#batch-prompts").fill("Tell me about your garden.\n\nName a colour.");
  await page.locator("#batch-word").fill("garden");
  await page.locator("#batch-go").click();
  await page.waitForFunction(() => /2 prompts were answered/.test(document.querySelector("#runs-batch .came").textContent), null, { timeout: LONG });
  assert.match(await page.locator("#runs-batch .came").innerText(), /“garden” stands in \d of 2 base texts/);
  await page.locator("#runs-batch .export > summary").click();
  const { counts, texts } = JSON.parse((await download(page, "#runs-batch", "JSON")).content);
  assert.deepEqual([counts.prompts, counts.word, texts.map(({ manifest }) => manifest.chat.at(-1).content)], [2, "garden", ["Tell me about your garden.", "Name a colour."]]);
  assert.deepEqual([texts[0].manifest.adapters[0].law, texts[0].manifest.adapters[0].method, texts[0].manifest.model.device], ["linear", "lora", "cpu"]);
  assert.equal(await history(page).count(), 3, "only what was in the columns is in the history");

  // ---- set like an earlier one ----
  await tab(page, "history");
  await history(page).last().getByRole("button", { name: /^Set the page/ }).click();
  assert.equal(await page.locator(".dose-box").first().inputValue(), "1");
  assert.deepEqual(await axe(page, { runOnly: ["wcag2a", "wcag2aa", "wcag22aa"] }), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("back and forward show the texts that were in each place", options, async () => {
  const { page, context } = await open(browser, `${proxy.url}${HASH.replace("n=8", "n=4")}&a=`);
  await loadTinyModel(page);
  await run(page);
  const older = await text(page, "base");
  await page.locator("#prompt").fill("abcabc");
  await run(page);
  const newer = await text(page, "base");
  assert.notEqual(newer, older);
  await page.waitForFunction(() => location.hash.includes("p=abcabc") && history.state?.run);
  const shows = (words) => page.waitForFunction((words) => document.querySelector("#prompt") && [...document.querySelectorAll("#base-text .tok")].map((span) => span.textContent).join("") === words, words);
  // Another link is another place, in which the older one is opened.
  await page.evaluate(() => { location.hash = "#v=2&device=cpu&p=Elsewhere&a="; });
  await page.waitForFunction(() => document.querySelector("#prompt")?.value === "Elsewhere");
  await unfold(page);
  await history(page).nth(1).getByRole("button", { name: /^Open/ }).click();
  await shows(older);
  await page.evaluate(() => history.back());
  await shows(newer);
  assert.equal(await page.locator("#prompt").inputValue(), "abcabc");
  await page.evaluate(() => history.forward());
  await shows(older);
  assert.match(await page.locator("#opened").innerText(), /^From the history/);
  await context.close();
});

test("without storage runs are kept while the page is open; with it two tabs share them", options, async () => {
  const denied = await browser.newContext();
  await denied.addInitScript(() => { Object.defineProperty(window, "localStorage", { get() { throw new DOMException("denied", "SecurityError"); } }); });
  const page = await denied.newPage();
  await page.goto(`${proxy.url}${HASH.replace("n=8", "n=4")}&a=`);
  await loadTinyModel(page);
  await run(page);
  await unfold(page);
  await history(page).first().waitFor();
  assert.match(await page.locator("#runs-history").innerText(), /keeps nothing for this page/);
  await denied.close();

  const { page: one, context } = await open(browser, `${proxy.url}${HASH.replace("n=8", "n=4")}&a=`);
  const two = await context.newPage();
  await two.goto(`${proxy.url}#v=2`);
  await loadTinyModel(one);
  await run(one);
  await unfold(two);
  await history(two).first().waitFor();
  await history(two).first().getByRole("button", { name: /^Pin/ }).click();
  await unfold(one);
  await one.locator('.pin[aria-pressed="true"]').waitFor();
  await history(one).first().getByRole("button", { name: /^Delete/ }).click();
  await two.waitForFunction(() => !document.querySelector(".history > li"));
  await context.close();
});
