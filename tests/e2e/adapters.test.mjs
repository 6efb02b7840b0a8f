// Adapters of one's own on a tiny model: folders, tasks, experts, and a run that waits for them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { fileURLToPath } from "node:url";

import { HOLD, LONG, finished, golden, greedy, loadTinyModel, open, run, start, text } from "./support.mjs";

const options = { timeout: 2 * LONG };

const { browser, proxy } = await start();
proxy.prelude = `{${HOLD}}`;
let context;
let page;
let complaints;

before(async () => {
  // A link from somebody who had these loaded under the same names.
  const hash = greedy("&chat=0&p=abcabc&n=6&a=poly:2:task=2,mpt:1:task=9,xlora_top:-1:experts=0.5_-0.25_1");
  ({ page, context, complaints } = await open(browser, proxy.url + hash));
  await loadTinyModel(page);
});
after(() => assert.deepEqual(complaints, []));
beforeEach(async () => {
  for (const switched of await page.getByRole("switch").all()) await switched.uncheck();
});

const folder = (name) => page.locator("#adapter-folder").setInputFiles(fileURLToPath(golden(name)));
const card = (name) => page.locator(`.adapter[data-adapter="${name}"]`).last();
/** Waits until the engine has read it, or has refused it. */
const idle = (at) => at.and(page.locator("[aria-busy=false]")).waitFor();
/** Types a coefficient into a card. */
async function turn(at, c) {
  await at.locator(".dose-box").fill(String(c));
  await at.locator(".dose-box").press("Enter");
}
/** The distances of a run's first tokens from the base, as the table says them. */
async function distances() {
  assert.match(await run(page), /^Done/);
  return page.locator("#strips tbody tr td:nth-of-type(3)").allTextContents();
}
const atWorker = (does) => page.workers()[0].evaluate(does);

test("a task is chosen on the card and keeps everything else as it is", options, async () => {
  await folder("poly");
  const poly = card("poly");
  await idle(poly);
  const task = poly.getByRole("spinbutton", { name: /^Task of/ });
  assert.equal(await task.inputValue(), "2", "the link's");
  assert.match(await poly.locator(".task-row").textContent(), /0 to 2: it was trained for 3/);
  assert.match(await page.locator("#adapter-add [role=status]", { hasText: "Not used" }).textContent(), /Not used: poly\/expect\.safetensors/);
  await turn(poly, 6);
  await poly.getByText("Where it acts").click();
  await poly.getByLabel(/^Layers/).fill("1");
  await poly.getByLabel(/^Layers/).press("Enter");
  const two = await distances();
  await task.fill("0");
  await task.press("Enter");
  await idle(poly);
  const zero = await distances();
  assert.notDeepEqual(zero, two, "another task says other things");
  assert.equal(await poly.locator(".dose-box").inputValue(), "6");
  assert.equal(await poly.getByLabel(/^Layers/).inputValue(), "1");
  await page.waitForFunction(() => /poly:6:on=1:task=0/.test(location.hash));
  // Out of range: the box shows again what acts, and nothing is asked of the engine.
  await task.fill("3");
  await task.press("Enter");
  assert.equal(await task.inputValue(), "0");
  assert.deepEqual(await distances(), zero);
  await task.fill("2");
  await task.press("Enter");
  await idle(poly);
  assert.deepEqual(await distances(), two, "the first task again, to the last digit, under the same mask");
});

test("skills are weighed by the task or by hand, and the task comes back", options, async () => {
  const poly = card("poly");
  await poly.getByRole("switch").check();
  const task = poly.getByRole("spinbutton", { name: /^Task of/ });
  const routed = await distances();
  const slider = (number) => poly.getByRole("slider", { name: `Weight of skill ${number} of poly` });
  await poly.getByLabel("I do, the same in every layer").check();
  await idle(poly);
  assert.equal(await task.isVisible(), false, "no task decides");
  assert.deepEqual(await poly.locator(".weight output").allTextContents(), ["+0.50", "+0.50"]);
  assert.notDeepEqual(await distances(), routed, "equal weights are not the task's");
  for (const number of [1, 2]) await slider(number).fill("0");
  await idle(poly);
  assert.ok((await distances()).every((nats) => Number(nats) === 0), "no skill: the base");
  await slider(2).fill("1");
  await idle(poly);
  await page.waitForFunction(() => location.hash.includes("poly:6:on=1:task=2:experts=0_1"));
  assert.ok((await distances()).some((nats) => Number(nats) > 0), "the second skill alone");
  await poly.getByLabel("its task, each layer in its own way").check();
  await idle(poly);
  assert.equal(await task.inputValue(), "2");
  assert.deepEqual(await distances(), routed, "the task again, to the last digit");
});

test("what comes with the page says calmly that it was made for another model", options, async () => {
  for (const name of ["tone-lora", "register-ia3", "mood-vector"]) {
    const shipped = card(name);
    await shipped.getByText("Made for SmolLM2-135M-Instruct; it does not fit the model that is loaded.").waitFor();
    assert.equal(await shipped.locator(".error").isHidden(), true);
  }
});

test("a task that is not there is told, and the field mends it", options, async () => {
  await folder("mpt");
  const mpt = card("mpt");
  await mpt.locator(".error code", { hasText: "bad-task" }).waitFor();
  await mpt.getByRole("spinbutton", { name: /^Task of/ }).fill("1");
  await mpt.getByRole("spinbutton", { name: /^Task of/ }).press("Enter");
  await mpt.locator(".facts").first().waitFor({ state: "attached" });
  assert.equal(await mpt.locator(".error").isHidden(), true);
  assert.ok((await distances()).some((nats) => Number(nats) > 0), "it acts");
});

test("a mixture's experts are weighed by the gate or by hand", options, async () => {
  await folder("xlora");
  const xlora = card("xlora");
  await idle(xlora);
  await turn(xlora, 4);
  const gate = await distances();
  const slider = (at) => xlora.getByRole("slider", { name: `Weight of expert ${at} of xlora` });
  assert.equal(await slider(0).isVisible(), false, "the gate needs no sliders");
  await xlora.getByLabel("I do, the same for every token").check();
  await idle(xlora);
  const halves = await distances();
  assert.notDeepEqual(halves, gate, "equal weights are not the gate's");
  for (const at of [0, 1]) await slider(at).fill("0");
  await idle(xlora);
  assert.ok((await distances()).every((nats) => Number(nats) === 0), "no expert is heard: the base");
  await slider(1).fill("1");
  await idle(xlora);
  await page.waitForFunction(() => location.hash.includes("xlora:4:experts=0_1"));
  assert.notDeepEqual(await distances(), halves);
  await xlora.getByLabel("its gate, again for every token").check();
  await idle(xlora);
  assert.deepEqual(await distances(), gate, "the gate again, to the last digit");
});

test("weights of a link come back, and a gate saved in part is told and can be done without", options, async () => {
  await folder("xlora_top");
  const top = card("xlora_top");
  await idle(top);
  assert.deepEqual(await top.locator(".weight output").allTextContents(), ["+0.50", "−0.25", "+1.00"]);
  await folder("xlora_weights");
  const part = card("xlora_weights");
  await part.locator(".error code", { hasText: "missing-key" }).waitFor();
  await part.getByLabel("I do, the same for every token").check();
  await part.locator(".facts").first().waitFor({ state: "attached" });
  assert.equal(await part.locator(".error").isHidden(), true);
});

test("files chosen together, or dropped folders, are the same adapter", options, async () => {
  const files = (name, ...list) => list.map((file) => fileURLToPath(golden(`${name}/${file}`)));
  const parts = ["adapter_config.json", "adapter_model.safetensors", "0_svd_bases.safetensors"];
  await page.locator("#adapter-files").setInputFiles(files("antipasto", ...parts.slice(0, 2)));
  await card("adapter_model").locator(".error", { hasText: "0_svd_bases.safetensors; give that file too" }).waitFor();
  await page.locator("#adapter-files").setInputFiles(files("antipasto", ...parts));
  await card("adapter_model").locator(".facts").first().waitFor({ state: "attached" });
  const chosen = await distances();
  // Its file's name says nothing of it.
  const mine = card("adapter_model");
  assert.match(await mine.locator(".name").textContent(), /^Your adapter \d+$/);
  await mine.getByText("How it works").click();
  await mine.getByLabel("Name", { exact: true }).fill("seed 2");
  await page.keyboard.press("Enter");
  assert.equal(await mine.locator(".name").textContent(), "seed 2");
  await mine.getByRole("switch").uncheck();

  const session = await context.newCDPSession(page);
  const drop = async (path) => {
    await page.locator("#adapters-title").scrollIntoViewIfNeeded();
    const { x, y } = await page.locator("#adapters-title").boundingBox();
    const data = { items: [], files: [path], dragOperationsMask: 1 };
    for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: x + 10, y: y + 5, data });
  };
  await drop(fileURLToPath(golden("antipasto")));
  await card("antipasto").locator(".facts").first().waitFor({ state: "attached" });
  assert.deepEqual(await distances(), chosen, "by drop as by choice");
  await drop(fileURLToPath(golden("xlora_scout")));
  const mixture = card("xlora_scout");
  await mixture.locator(".facts").first().waitFor({ state: "attached" });
  assert.equal(await mixture.locator(".weight").count(), 2, "with its experts");
});

test("Run waits for an adapter on its way, and says so; Stop gives up", options, async () => {
  const before = await text(page, "steered");
  await atWorker(() => globalThis.hold("loadAdapter"));
  await folder("lora");
  await page.locator("#run").click();
  await page.locator("#status", { hasText: "Waiting until lora is loaded." }).waitFor();
  assert.match(await page.locator("#stats").textContent(), /waiting until it is loaded: lora/);
  assert.equal(await page.locator("#run").isDisabled(), true);
  await page.locator("#stop").click();
  await page.locator("#run:not(:disabled)").waitFor();
  assert.equal(await text(page, "steered"), before, "nothing was written");
  await turn(card("lora"), 5);
  await page.locator("#run").click();
  await page.locator("#status", { hasText: "Waiting" }).waitFor();
  await atWorker(() => globalThis.release());
  assert.match(await finished(page), /^Done/);
  assert.match(await page.locator(".changes").textContent(), /Token 1 lora \+5\.00/, "it acts from the first token on");

  // One that is refused is told, and nothing is written without it unasked.
  await atWorker(() => globalThis.hold("loadAdapter"));
  await page.locator("#adapter-files").setInputFiles([
    { name: "adapter_config.json", mimeType: "application/json", buffer: Buffer.from('{"peft_type":"NO_SUCH"}') },
    { name: "adapter_model.safetensors", mimeType: "application/octet-stream", buffer: readFileSync(golden("lora/adapter_model.safetensors")) },
  ]);
  await page.locator("#run").click();
  await page.locator("#status", { hasText: "Waiting" }).waitFor();
  await atWorker(() => globalThis.release());
  assert.match(await finished(page), /^Failed/);
  assert.match(await page.locator("#notice").textContent(), /nothing was written.*unknown-method/is);
  assert.match(await run(page), /^Done/);
});
