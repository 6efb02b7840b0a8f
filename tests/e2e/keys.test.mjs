// The keys that lead somewhere, by the recording alone.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, axe, open, sheet, start } from "./support.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();
const visit = async (more = {}) => {
  const opened = await open(browser, proxy.url, { reducedMotion: "reduce", viewport: { width: 1280, height: 720 }, ...more });
  await opened.page.locator("#base-text .tok").first().waitFor({ state: "attached" });
  return opened;
};
const at = (page, id) => page.evaluate((id) => document.getElementById(id).contains(document.activeElement), id);

test("b shows the base's text in the place of the steered one, for as long as it is held", options, async () => {
  const { page, context } = await visit();
  const place = () => page.locator("#steered-text").boundingBox();
  const before = await place();
  await page.keyboard.down("b");
  assert.equal(await page.locator("#steered-text").evaluate((element) => getComputedStyle(element).visibility), "hidden");
  const base = await page.locator("#base-text").boundingBox();
  assert.ok(Math.abs(base.x - before.x) < 2 && Math.abs(base.y - before.y) < 2, `${base.x}, ${base.y}`);
  await page.keyboard.up("b");
  assert.deepEqual(await place(), before);
  // On a phone there is one text.
  await page.setViewportSize({ width: 390, height: 844 });
  await page.keyboard.down("b");
  assert.deepEqual(await page.locator(".column:visible h3").allTextContents(), ["Base"]);
  await page.keyboard.up("b");
  assert.deepEqual(await page.locator(".column:visible h3").allTextContents(), ["Difference"]);
  // Never while typing.
  await page.locator("#prompt").focus();
  await page.keyboard.down("b");
  assert.deepEqual(await page.locator(".column:visible h3").allTextContents(), ["Difference"]);
  await page.keyboard.up("b");
  await context.close();
});

test("1 to 6 open the panels that are there and lead to their names", options, async () => {
  const { page, context } = await visit();
  const panels = [["1", "curve"], ["2", "token"], ["3", "layers"], ["4", "method"], ["5", "runs"], ["6", "train"]];
  let found = 0;
  for (const [key, id] of panels) {
    if (await page.locator(`#${id}`).count() === 0) continue;
    await page.keyboard.press(key);
    if (await page.locator(`#${id}`).isHidden()) continue;
    found += 1;
    assert.ok(await at(page, id), `${key} leads to ${id}`);
    assert.equal(await page.locator(`#${id}`).evaluate((panel) => !(panel instanceof HTMLDetailsElement) || panel.open), true);
  }
  assert.ok(found >= 4, `${found}`);
  await page.keyboard.press("?");
  const sheet = await page.locator("#keys").textContent();
  for (const [key] of panels) assert.ok(sheet.includes(key));
  await page.getByLabel(/Single-key/).uncheck();
  await page.keyboard.press("Escape");
  await page.locator("#share").focus();
  await page.keyboard.press("1");
  assert.ok(await page.locator("#share").evaluate((button) => button === document.activeElement), "switched off");
  await context.close();
});

for (const [name, viewport] of [["wide", { width: 1280, height: 720 }], ["narrow, twice as large", { width: 320, height: 600 }]]) {
  test(`in forced colours axe finds nothing, and what is drawn is there: ${name}`, options, async () => {
    const { page, context } = await visit({ viewport, forcedColors: "active" });
    const unfold = async (within) => { for (const fold of await page.locator(`${within} summary`).filter({ visible: true }).all()) await fold.click(); };
    await unfold("main");
    assert.deepEqual(await axe(page), []);
    if (viewport.width < 960) {
      await sheet(page);
      await unfold("#adapters-sheet");
      assert.deepEqual(await axe(page), []);
      assert.ok(await page.locator("#adapters-sheet").evaluate(({ scrollWidth, clientWidth }) => scrollWidth <= clientWidth));
      await sheet(page, false);
    }
    const [scroll, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(scroll <= inner, `${scroll} > ${inner}`);
    // Marks of colour alone would be gone: each is another colour than what is behind it.
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const bar = await page.locator(".strip.kl i").nth(3).evaluate((mark) => getComputedStyle(mark, "::after").backgroundColor);
    assert.notEqual(bar, ground);
    for (const swatch of await page.locator(".budget-legend i").filter({ visible: true }).all()) {
      const look = await swatch.evaluate((mark) => getComputedStyle(mark).backgroundColor + getComputedStyle(mark).backgroundImage + getComputedStyle(mark).borderStyle);
      assert.notEqual(look, `${ground}nonenone`);
    }
    await context.close();
  });
}
