// The method card and the masks on the real model, computed on the CPU: formulas, the numbers of one place, what becomes
// of a weight as c is turned; a mask that is painted; an adapter that is refused.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, describe, test } from "node:test";

import { LONG, axe, golden, greedy, loadModel, open, start, turn } from "./support.mjs";

const { browser, proxy } = await start();
const CONFIG = JSON.parse(readFileSync(new URL("../../www/adapters/tone-lora/adapter_config.json", import.meta.url), "utf8"));

describe("with the model loaded once", { timeout: 6 * LONG }, () => {
  let page;
  let context;
  let complaints;
  const room = () => page.locator("#method");
  const card = (name) => page.locator(`.adapter[data-adapter="${name}"]`).last();
  /** The sentence below the picture, once it is of this adapter at this c. */
  const says = async (...parts) => {
    const sentence = room().locator(".weight-room .says");
    await page.waitForFunction((parts) => parts.every((part) => document.querySelector("#method .weight-room .says").textContent.includes(part)), parts);
    return sentence.textContent();
  };
  /** "0.92 %" of a sentence. */
  const share = (text) => Number(/by ([\d.]+)\s?%/.exec(text)[1]);

  before(async () => {
    ({ page, context, complaints } = await open(browser, proxy.url + greedy("&n=4&p=Hello&a=tone-lora:1,mood-vector:0")));
    await loadModel(page);
    await card("tone-lora").locator(".mask-grid").waitFor({ state: "attached" });
  });
  after(() => context?.close());

  test("a LoRA adds as many directions as its rank, in proportion to c", async () => {
    await card("tone-lora").getByText("How it works").click();
    await card("tone-lora").getByRole("button", { name: /^Open its method card/ }).click();
    await page.waitForFunction(() => document.querySelector("#method").open);
    const one = await says("at c = +1.00", `rank ${CONFIG.r} of`);
    const formulas = room().locator(".formula:not(.live) math");
    assert.ok(await formulas.count() >= 2, "each line is mathematics");
    assert.equal(await room().locator(".formula code").count(), 0);
    assert.ok(await formulas.locator("mfrac").count() >= 1, "α/r is a fraction");
    assert.match(await room().locator(".figures").textContent(), /^v_proj of block 15: 192 × 576 · 3,072 numbers here · [\d,]+ in the file · 0\.\d+\s?% of the model$/);
    assert.deepEqual(await room().locator(".live mtext.live").evaluateAll((all) => all.map(({ textContent }) => textContent.trim())), ["192×576", "192×4", "4×576"]);
    assert.deepEqual(await room().locator(".live mn.live").allTextContents(), ["1", "1"]);
    assert.match(await room().locator(".checks").textContent(), /twice c is twice the change/);
    await turn(page, 2);
    const two = await says("at c = +2.00");
    assert.match(await room().locator(".checks").textContent(), /c times that at 1, up to \d/);
    assert.ok(Math.abs(share(two) / share(one) - 2) < 0.1, `${one} ${two}`);
    await turn(page, 0);
    await says("at c = 0 the weight is the base's");
    assert.match(await room().locator(".checks").textContent(), /bit for bit/);
    await turn(page, 1);
    assert.equal(await says("at c = +1.00"), one, "there and back");
    // Another place of the same adapter, and the table beside the drawing.
    await page.locator("#method-module").selectOption("down_proj");
    await page.locator("#method-block").selectOption("9");
    await says("down_proj of block 9", `rank ${CONFIG.r} of 576`);
    await room().locator(".weight-room").getByText("As a table").click();
    const column = await room().locator(".weight-room tbody td:nth-child(4)").allTextContents();
    assert.deepEqual(column.map((text) => text !== "").indexOf(false), CONFIG.r, "the change has so many singular values");
    const levels = await room().locator("figure .small-weight path").evaluateAll((paths) => paths.map(({ className, dataset }) => `${className.baseVal}${dataset.level}`));
    assert.ok(levels.some((level) => level.startsWith("plus")) && levels.some((level) => level.startsWith("minus")), `${levels}`);
  });

  test("a turn keeps lengths and singular values, to the digits that are shown", async () => {
    await page.locator(".methods > summary").click();
    // Beside the LoRA, which the tests after this one need.
    await page.locator(".methods").getByLabel(/^Stack/).check();
    await page.locator('.all-methods button.cell[data-cell="tone/hra"]').click();
    await page.waitForFunction(() => document.querySelector("#method .method-title").textContent.includes("HRA"));
    await says("at c = +1.00", "The singular values stay.");
    const checks = await room().locator(".checks").textContent();
    assert.match(checks, /‖x'‖\/‖x‖, after over before, on 16 inputs: 1\.0000/);
    assert.match(checks, /−c undoes c.*leaves a difference of \d/);
    assert.match(await room().locator(".invariant math").getAttribute("alttext"), /‖M x‖ = ‖x‖/);
  });

  test("a vector has no picture and says why", async () => {
    await card("mood-vector").locator(".dose-box").fill("0.5");
    await card("mood-vector").locator(".dose-box").press("Enter");
    await says("no weight changes", "residual stream, 576 wide");
    assert.equal(await room().locator(".weight-plots").isHidden(), true);
    assert.deepEqual(await axe(page, { rules: { region: { enabled: false } } }), []);
  });

  test("a mask is painted with the mouse and with keys, and is the text beside it", async () => {
    const mine = card("tone-lora");
    await mine.getByText("Where it acts").click();
    const [layers, modules] = [mine.getByLabel(/^Layers/), mine.getByLabel(/^Modules/)];
    const cell = (layer, module) => mine.getByRole("gridcell", { name: new RegExp(`^block ${layer}, ${module}:`) });
    assert.match(await mine.locator(".mask [role=status]").textContent(), /^It acts at 36 of 36 places/);
    // A column, by its name.
    await mine.getByRole("columnheader", { name: /^down_proj/ }).click();
    await page.waitForFunction(() => location.hash.includes("tone-lora:1:of=v_proj.o_proj"));
    assert.deepEqual([await layers.inputValue(), await modules.inputValue()], ["", "v_proj,o_proj"]);
    // One cell, by keys: other places than blocks times modules.
    await cell(9, "v_proj").focus();
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press(" ");
    await page.waitForFunction(() => location.hash.includes("on=9~o_proj"));
    assert.deepEqual([await layers.inputValue(), await modules.inputValue()], ["9:o_proj;10-20:v_proj,o_proj", ""]);
    assert.equal(await cell(9, "v_proj").getAttribute("aria-selected"), "false");
    // Dragged back.
    await cell(9, "v_proj").hover();
    await page.mouse.down();
    await cell(9, "down_proj").hover();
    await cell(10, "down_proj").hover();
    await page.mouse.up();
    await page.waitForFunction(() => document.querySelector('.adapter[data-adapter="tone-lora"] .mask [role=status]').textContent.startsWith("It acts at 26 of 36"));
    assert.equal(await layers.inputValue(), "9-10;11-20:v_proj,o_proj");
    await mine.getByRole("button", { name: "Everywhere" }).click();
    await page.waitForFunction(() => !location.hash.includes("on="));
    assert.equal(await layers.inputValue(), "");
    // The text paints the grid.
    await layers.fill("12");
    await layers.press("Enter");
    await page.waitForFunction(() => document.querySelector('.adapter[data-adapter="tone-lora"] .mask [role=status]').textContent.startsWith("It acts at 3 of 36"));
    await layers.fill("");
    await layers.press("Enter");
  });

  test("a refused adapter is a card without a slider, which says why and goes away", async () => {
    const file = (name) => ({ name, mimeType: "application/octet-stream", buffer: readFileSync(golden(`lora/${name}`)) });
    await page.locator("#adapter-files").setInputFiles([file("adapter_config.json"), file("adapter_model.safetensors")]);
    const mine = page.locator(".adapter").last();
    await mine.locator(".error code").waitFor();
    assert.equal(await mine.getAttribute("data-refused"), "true");
    for (const part of [".dose-slider", ".dose-box", "input[role=switch]"]) assert.equal(await mine.locator(part).isHidden(), true, part);
    await mine.getByText("It is not loaded and does not act.").waitFor();
    const many = await page.locator(".adapter").count();
    await mine.getByRole("button", { name: /^Remove / }).first().click();
    await page.waitForFunction((many) => document.querySelectorAll(".adapter").length === many - 1, many);
    assert.deepEqual(complaints, []);
  });
});
