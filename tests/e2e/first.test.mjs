// The first minute: a recorded run plays, is turned, looked into and explained, and no model has
// been asked for.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, axe, finished, greedy, loadTinyModel, open, sheet, start, text, turn } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();

/** A fresh visitor who wants no motion, so that texts are there at once. */
const visit = async (more = {}, hash = "") => {
  const opened = await open(browser, proxy.url + hash, { viewport: { width: 1280, height: 720 }, reducedMotion: "reduce", ...more });
  await opened.page.locator("#base-text .tok").first().waitFor({ state: "attached" });
  return opened;
};
const asked = () => proxy.log.filter(({ path }) => path.includes("/models/"));
const active = (page) => page.evaluate(() => document.activeElement?.id || document.activeElement?.dataset.term || document.activeElement?.textContent);

test("the recording grows by itself in both columns, and is said to be one", options, async () => {
  proxy.log.length = 0;
  const { page, context, complaints } = await visit({ reducedMotion: "no-preference" });
  const count = (lane) => page.locator(`#${lane}-text .tok`).count();
  const [base, steered] = [await count("base"), await count("steered")];
  await page.waitForFunction(([base, steered]) => document.querySelectorAll("#base-text .tok").length > base
    && document.querySelectorAll("#steered-text .tok").length > steered, [base, steered]);
  assert.match(await page.locator("#recorded").textContent(), /A recording\..*your own prompts/);
  await page.locator("#status", { hasText: /^A recorded run, \d+ tokens/ }).waitFor();
  assert.ok(await count("steered") > 20);
  await page.getByRole("button", { name: "Play again" }).click();
  assert.ok(await count("steered") < 20);
  assert.deepEqual(asked(), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the slider changes the text under the hand; 0 is the base; another adapter takes over", options, async () => {
  const { page, context } = await visit();
  const slider = page.locator(".adapters .dose-slider").first();
  const seen = new Set([await text(page, "steered")]);
  await slider.focus();
  for (const expected of ["0.5", "0", "−0.5", "−1"]) {
    await page.keyboard.press("ArrowLeft");
    assert.equal(await page.locator(".dose-box").first().inputValue(), expected);
    seen.add(await text(page, "steered"));
    if (expected === "0") {
      assert.equal(await text(page, "steered"), await text(page, "base"));
      assert.match(await page.locator("#steered-dose").textContent(), /no adapter acts/);
    }
  }
  assert.ok(seen.size >= 4, `${seen.size} texts of 5 coefficients`);
  await turn(page, 1, 1);
  assert.equal(await page.locator(".dose-box").first().inputValue(), "0", "one at a time");
  assert.match(await page.locator("#steered-dose").textContent(), /^Formal or casual \+1\.00$/);
  // What it has not is told, and the nearest is said to be that.
  await turn(page, 0.7, 1);
  assert.match(await page.locator("#steered-now").textContent(), /this is c = \+0\.50/);
  await page.locator("#prompt").fill("Something else");
  assert.match(await page.locator("#steered-now").textContent(), /answer the recorded prompt/);
  const other = page.locator(".examples button").nth(1);
  const before = await text(page, "base");
  await other.click();
  assert.notEqual(await text(page, "base"), before);
  assert.equal(await page.locator("#prompt").inputValue(), await other.textContent());
  await context.close();
});

test("what was changed just before the page is loaded again is there", options, async () => {
  const { page, context } = await visit();
  await page.locator("#prompt").fill("Just now");
  await turn(page, 0.5);
  await page.reload();
  await page.waitForFunction(() => document.querySelector(".dose-box")?.value === "0.5");
  assert.equal(await page.locator("#prompt").inputValue(), "Just now");
  assert.ok(page.url().includes("p=Just+now"), page.url());
  await context.close();
});

test("a token opens: both models' chances, here and on the strip", options, async () => {
  const { page, context } = await visit();
  await page.locator("#steered-text .tok").nth(6).click();
  assert.match(await page.locator("#token .facts").textContent(), /^Token 7: base wrote .* steered wrote .*KL \d/);
  assert.ok(await page.locator("#token tbody tr").count() >= 5);
  assert.equal(await page.locator("#strips .kl [data-selected]").count(), 1);
  // Turned, it is the same token of another text.
  await turn(page, -1);
  assert.match(await page.locator("#token .facts").textContent(), /^Token 7: .*−1\.00/);
  await context.close();
});

test("on one screen: adapters, both texts, the strip and the next token", options, async () => {
  const { page, context } = await visit();
  const inSight = async (selector) => {
    for (const element of await page.locator(selector).all()) {
      const { y, height } = await element.boundingBox();
      assert.ok(y >= 0 && y + height <= 720, `${selector} is at ${y} to ${y + height}`);
    }
  };
  for (const selector of [".adapters .dose-row", ".text:visible", ".legend", ".strip.kl", ".strip.trace", "#load-run", "#token-title"]) await inSight(selector);
  const fits = await page.locator("#steered-text").evaluate((element) => element.scrollHeight <= element.clientHeight + 1);
  assert.ok(fits, "the recorded text stands whole in its column");
  await context.close();
});

test("on a phone: the text and the bar that turns it, and each view of it", options, async () => {
  const { page, context } = await visit({ viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  assert.equal(await page.locator("#difference-text .way.steered").isVisible(), true);
  const bar = await page.locator("#dosebar").boundingBox();
  assert.ok(bar.y + bar.height <= 845 && bar.y > 600, `${bar.y}`);
  const way = await page.locator("#difference-text").boundingBox();
  assert.ok(way.y + 150 < bar.y, "the text's beginning is above the bar");
  const first = await page.locator("#difference-text").textContent();
  await page.locator("#dosebar .dose-slider").focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  assert.notEqual(await page.locator("#difference-text").textContent(), first);
  assert.equal(await page.locator(".adapters .dose-box").first().inputValue(), "−0.5");
  for (const view of ["Base", "Steered", "Difference"]) {
    await page.locator(".views").getByText(view, { exact: true }).click();
    assert.deepEqual(await page.locator(".column:visible h3").allTextContents(), [view]);
  }
  await sheet(page);
  await page.locator(".adapter .choose").nth(2).click();
  await page.locator("#dosebar .dose-box").fill("1");
  await page.locator("#dosebar .dose-box").press("Enter");
  assert.match(await page.locator("#difference-dose").textContent(), /^Bright or bleak \+1\.00$/);
  await context.close();
});

test("on a phone the adapters are a sheet: one control names what is turned, opens it and has the focus again", options, async () => {
  const { page, context, complaints } = await visit({ viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true });
  const opener = page.locator("#adapters-open");
  const opened = page.locator("#adapters-sheet[open]");
  const fits = () => page.evaluate(() => [document.documentElement, document.querySelector("#adapters-sheet")].every(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth));
  /** The sheet is closed, the focus is back, and nothing was lost. */
  const closed = async (names) => {
    await opened.waitFor({ state: "detached" });
    assert.equal(await active(page), "adapters-open");
    assert.equal(await opener.innerText(), names);
    assert.equal(await page.locator("#prompt").inputValue(), "Half a sentence");
    assert.ok((await text(page, "steered")).length > 20);
  };
  await page.locator("#prompt").fill("Half a sentence");
  assert.equal(await page.locator(".adapters").isVisible(), false);
  // By keyboard: in, down its last stop and never behind it, out by Escape.
  await opener.focus();
  await page.keyboard.press("Enter");
  await opened.waitFor();
  assert.equal(await opened.evaluate((dialog) => dialog.contains(document.activeElement)), true);
  assert.equal(await opened.evaluate((dialog) => getComputedStyle(dialog).animationName), "none", "it does not move where none is wished");
  assert.ok(await fits(), "no sideways scroll");
  assert.deepEqual(await axe(page), []);
  await page.locator("#composer").evaluate((composer) => composer.querySelector("textarea").focus());
  assert.equal(await opened.evaluate((dialog) => dialog.contains(document.activeElement)), true, "what lies behind takes no focus");
  await page.locator(".adapters .dose-slider").first().focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("Escape");
  await closed("Cheerful or gloomy +0.50");
  await sheet(page);
  await sheet(page, false);
  await closed("Cheerful or gloomy +0.50");
  // What explains a word lies over the sheet, and goes before it.
  await sheet(page);
  await page.locator(".adapters .section-head .term").click();
  assert.equal(await active(page), "word");
  await page.keyboard.press("Escape");
  assert.equal(await opened.isVisible(), true);
  await page.locator(".adapter .choose").nth(1).click();
  await closed("Formal or casual 0");
  // Where there is room it is no sheet.
  await sheet(page);
  await page.setViewportSize({ width: 1280, height: 720 });
  await opened.waitFor({ state: "detached" });
  assert.equal(await page.locator("main > .adapters").isVisible(), true);
  assert.equal(await page.locator(".choose").first().isVisible(), false);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("twice as large nothing is beside the window, and every control can be reached", options, async () => {
  // What a window of 1280 by 720 has at 200 %.
  const { page, context } = await visit({ viewport: { width: 640, height: 360 }, deviceScaleFactor: 2 });
  /** Controls that lie beside the window, or under something else, once they have the focus. */
  const lost = (within) => page.evaluate((within) => [...document.querySelectorAll(`${within} :is(a, button, input:not(.sr), select, textarea, summary)`)]
    .filter((control) => control.checkVisibility() && !control.disabled)
    .filter((control) => {
      control.focus();
      // A strip that scrolls shows a part of what is next.
      control.scrollIntoView({ block: "nearest", inline: "nearest", behavior: "instant" });
      const { left, right, top, bottom } = control.getBoundingClientRect();
      const found = document.elementFromPoint((left + right) / 2, (Math.max(0, top) + Math.min(innerHeight, bottom)) / 2);
      return left < -1 || right > innerWidth + 1 || !(control.contains(found) || found?.contains(control) || found?.closest("label")?.contains(control));
    }).map((control) => control.id || control.textContent || control.outerHTML), within);
  const fits = (selector) => page.locator(selector).evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth);
  for (const fold of await page.locator("main summary").filter({ visible: true }).all()) await fold.click();
  assert.ok(await fits("html"), "sideways scroll");
  assert.deepEqual(await lost("body"), []);
  await sheet(page);
  assert.deepEqual(await lost("#adapters-sheet"), []);
  assert.ok(await fits("#adapters-sheet"));
  await context.close();
});

test("every word is explained where it stands, and the keyboard comes back to it", options, async () => {
  const { page, context } = await visit();
  const words = await page.locator(".term:visible").evaluateAll((terms) => [...new Set(terms.map((term) => term.dataset.term))]);
  for (const word of ["base", "adapter", "c", "kl", "nats", "dose"]) assert.ok(words.includes(word), `${word} stands nowhere`);
  for (const word of words) {
    const term = page.locator(`.term[data-term="${word}"]:visible`).first();
    await term.focus();
    await page.keyboard.press("Enter");
    const popover = page.locator("#word");
    assert.equal(await popover.isVisible(), true);
    assert.ok((await popover.locator("p").first().textContent()).length > 60);
    const { x, y, width, height } = await popover.boundingBox();
    assert.ok(x >= 0 && y >= 0 && x + width <= 1280 && y + height <= 720, `${word} leaves the window`);
    await page.keyboard.press("Escape");
    await popover.waitFor({ state: "hidden" });
    assert.equal(await active(page), word);
  }
  // The residual stream stands where a vector is explained.
  await page.getByText("How it works").nth(2).click();
  await page.locator(".adapter").nth(2).getByText("More precisely").click();
  await page.locator('.adapter .term[data-term="stream"]').first().click();
  await page.locator("#word", { hasText: "adds one more arrow" }).waitFor();
  await page.getByRole("button", { name: "All words" }).click();
  assert.equal(await page.locator("#about .words section").count(), 10);
  await page.keyboard.press("Escape");
  await context.close();
});

test("the document's words are put in from the table, with the words that open", options, async () => {
  const { page, context } = await visit();
  const before = await page.locator("body").evaluate((body) => [...body.querySelectorAll("[data-say]")].map((element) => element.textContent));
  await page.evaluate(async () => {
    for (const element of document.querySelectorAll("h2[data-say]")) element.textContent = "…";
    document.querySelector(".tagline").prepend("… ");
    (await import("./say.js")).translate(document);
  });
  const after = await page.locator("body").evaluate((body) => [...body.querySelectorAll("[data-say]")].map((element) => element.textContent));
  assert.deepEqual(after, before);
  await page.locator('.tagline .term[data-term="base"]').click();
  await page.locator("#word", { hasText: "as it was published" }).waitFor();
  await context.close();
});

test("the first minute by keyboard alone", options, async () => {
  const { page, context } = await visit();
  const to = async (wanted, most = 60) => {
    for (let presses = 0; presses < most; presses += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), wanted)) return;
    }
    assert.fail(`${wanted} was not reached`);
  };
  await to(".skip", 1);
  await to("#about-open");
  await page.keyboard.press("Enter");
  await page.locator("#about[open]").waitFor();
  await page.keyboard.press("Escape");
  await to(".adapters .dose-slider");
  const before = await text(page, "steered");
  for (let presses = 0; presses < 4; presses += 1) await page.keyboard.press("ArrowLeft");
  assert.notEqual(await text(page, "steered"), before);
  await to(".examples button:nth-of-type(3)");
  await page.keyboard.press("Enter");
  assert.equal(await active(page), "prompt");
  await to("#steered-text");
  await page.keyboard.press("ArrowRight");
  assert.match(await page.locator("#token .facts").textContent(), /^Token 1:/);
  // Single keys: by the recording's steps, and the base again.
  await page.keyboard.press("]");
  assert.equal(await page.locator(".dose-box").first().inputValue(), "−0.5");
  await page.keyboard.press("0");
  assert.equal(await text(page, "steered"), await text(page, "base"));
  await context.close();
});

test("axe finds what is planted", options, async () => {
  const { page, context } = await visit();
  await page.evaluate(() => document.querySelector(".tagline").append(document.createElement("input")));
  assert.deepEqual((await axe(page)).map(({ id }) => id), ["label"]);
  await context.close();
});

for (const [name, viewport] of [["wide", { width: 1280, height: 720 }], ["narrow", { width: 360, height: 740 }]]) {
  for (const colorScheme of ["light", "dark"]) {
    test(`axe finds nothing: ${name}, ${colorScheme}`, options, async () => {
      const { page, context } = await visit({ viewport, colorScheme });
      assert.deepEqual(await axe(page), []);
      await page.locator("#steered-text .tok, #difference-text .tok").filter({ visible: true }).nth(8).click();
      if (name === "narrow") await sheet(page);
      await page.getByText("How it works").first().click();
      await page.getByText("Where it acts").first().click();
      if (name === "narrow") {
        assert.deepEqual(await axe(page), []);
        await sheet(page, false);
      }
      await page.locator(".settings summary").first().click();
      await page.locator("#strips").getByText("As a table").click();
      assert.deepEqual(await axe(page), []);
      await page.locator("#about-open").click();
      assert.deepEqual(await axe(page), []);
      await page.keyboard.press("Escape");
      await page.locator('.tagline .term[data-term="c"]').click();
      assert.deepEqual(await axe(page), []);
      await context.close();
    });
  }
}

test("without an engine the recording plays all the same, and says so", options, async () => {
  const { page, context } = await open(browser, "about:blank", { reducedMotion: "reduce" });
  await page.addInitScript(() => { WebAssembly.validate = () => false; });
  await page.goto(proxy.url);
  await page.locator("#steered-text .tok").nth(20).waitFor();
  await page.locator("#model .device", { hasText: /no WebAssembly with SIMD/ }).waitFor();
  await page.locator("#recorded", { hasText: "cannot start in this browser" }).waitFor();
  assert.equal(await page.locator("#load-run").isDisabled(), true);
  const before = await text(page, "steered");
  await turn(page, -1);
  assert.notEqual(await text(page, "steered"), before);
  await context.close();
});

test("without a recording the page is as before", options, async () => {
  proxy.files.set("/recorded/smollm2-135m.json", { type: "application/json", body: "{}" });
  const { page, context } = await open(browser, proxy.url + greedy());
  await page.locator("#load-run:not(:disabled)").waitFor();
  await page.locator("#steered-text .empty").waitFor();
  assert.equal(await page.locator("#recorded").isHidden(), true);
  proxy.files.clear();
  await context.close();
});

test("a live run takes the columns; turned after it, it is run again, by hand or by itself", options, async () => {
  const { page, context } = await visit({}, greedy("&n=6&chat=0&p=abca&a=tone-lora:0"));
  await loadTinyModel(page);
  assert.match(await page.locator("#steered-now").textContent(), /answer the recorded prompt/, "until something is live");
  const adapter = ["adapter_config.json", "adapter_model.safetensors"].map((name) => new URL(`../golden/lora/${name}`, import.meta.url).pathname);
  await page.locator("#adapter-files").setInputFiles(adapter);
  await page.locator('.adapter[data-adapter="adapter_model"][aria-busy=false]').waitFor();
  const mine = (await page.locator(".adapter").count()) - 1;
  await turn(page, 4, mine);
  await page.locator("#run").click();
  assert.match(await finished(page), /^Done/);
  assert.equal(await page.locator("#steered-now").isHidden(), true);
  await turn(page, 2, mine);
  const again = page.locator("#again");
  await again.click();
  await page.waitForFunction(() => document.querySelector("#steered-dose").textContent.includes("+2.00"));
  await finished(page);
  await turn(page, 3, mine);
  await page.locator("#rerun").check();
  await turn(page, 1, mine);
  await page.waitForFunction(() => document.querySelector("#steered-dose").textContent.includes("+1.00"));
  await finished(page);
  await page.locator("#steered-now").waitFor({ state: "hidden" });
  await context.close();
});
