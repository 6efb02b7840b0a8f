// A conversation in the page: a system prompt, several turns of which the steered answer is kept, and what
// the chat template asks for besides; they reach the model, and outlive a reload.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, axe, finished, open, ready, run, start, text, turn } from "./support.mjs";
import { FAMILIES, loraFor, tinyFamily } from "./tiny.mjs";

const options = { timeout: LONG };
const { browser, proxy } = await start();
// What the page asks of its worker is noted there.
proxy.prelude = `
  globalThis.asked = [];
  addEventListener("message", ({ data }) => { if (data.call === "generate") asked.push(data.args[0]); });
`;
const HASH = "#v=2&device=cpu&t=0&tp=1&rp=1&seed=1&p=Hi&n=12&a=";

/** The page with a family's tiny model in it. */
async function page(family, hash = HASH) {
  const opened = await open(browser, proxy.url + hash);
  await load(opened.page, family);
  return opened;
}
async function load(page, family) {
  const { folder, template } = FAMILIES.find((one) => one.family === family);
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles(tinyFamily(folder, template));
  await ready(page);
}
const unfold = (page) => page.locator("#conversation").evaluate((details) => { details.open = true; });
const asked = (page) => page.workers()[0].evaluate(() => globalThis.asked.at(-1));
const roles = ({ chat }) => chat.map(({ role }) => role);

test("the steered answer is kept as a turn, both models read it, and a new conversation forgets it", options, async () => {
  const { page: here, context } = await page("qwen3");
  await here.locator("#adapter-files").setInputFiles(loraFor("qwen3"));
  await here.locator(".adapter .facts").first().waitFor({ state: "attached" });
  await turn(here, 30);
  assert.equal(await here.locator("#reply").isHidden(), true);
  await run(here);
  const [base, steered] = [await text(here, "base"), await text(here, "steered")];
  assert.notEqual(base, steered);

  await here.locator("#reply").click();
  assert.equal(await here.evaluate(() => document.activeElement?.id), "prompt");
  assert.equal(await here.locator("#prompt").inputValue(), "");
  assert.deepEqual(await here.locator(".turns p").allInnerTexts(), ["Hi", steered.trim()].map((words) => words), "the steered answer is the one");
  assert.match(await here.locator(".turns .answered b").innerText(), /^Steered, .+ \+30\.00$/);
  assert.match(await here.locator("#conversation summary").innerText(), /· 1 turn$/);
  assert.match(await here.locator("#steered-now").innerText(), /is a turn of the conversation now/);
  assert.equal(await here.locator("#reply").isHidden(), true);
  assert.equal(await here.locator("#again").isHidden(), true);

  // An empty message is no turn.
  assert.match(await run(here), /^Failed/);
  assert.match(await here.locator("#notice").innerText(), /empty-prompt/);

  await here.locator("#prompt").fill("And now?");
  await run(here);
  const request = await asked(here);
  assert.deepEqual(request.chat, [
    { role: "user", content: "Hi" }, { role: "assistant", content: steered }, { role: "user", content: "And now?" },
  ]);
  const second = await text(here, "base");
  await here.locator("#reply").click();
  assert.match(await here.locator("#conversation summary").innerText(), /· 2 turns$/);
  await here.getByRole("button", { name: "Take back the last turn" }).click();
  assert.equal(await here.locator("#prompt").inputValue(), "And now?");

  await here.locator("#new-conversation").click();
  assert.match(await here.locator("#conversation summary").innerText(), /^Conversation$/);
  await run(here);
  assert.deepEqual((await asked(here)).chat, [{ role: "user", content: "And now?" }]);
  assert.notEqual(await text(here, "base"), second, "the earlier turns were read");
  await context.close();
});

test("a system prompt and the template's switch reach the model", options, async () => {
  const { page: here, context } = await page("qwen3");
  await run(here);
  const plain = await text(here, "base");
  await unfold(here);
  await here.getByLabel("System prompt").fill("Be brief.");
  await run(here);
  assert.deepEqual((await asked(here)).chat[0], { role: "system", content: "Be brief." });
  const told = await text(here, "base");
  assert.notEqual(told, plain);

  const think = here.getByRole("checkbox", { name: "enable_thinking" });
  assert.equal(await think.isChecked(), true, "the template thinks unless it is told not to");
  await think.uncheck();
  assert.match(await here.locator("#conversation summary").innerText(), /with a system prompt · template changed/);
  await run(here);
  assert.deepEqual((await asked(here)).templateVariables, { enable_thinking: false });
  assert.notEqual(await text(here, "base"), told);
  await think.check();
  await run(here);
  assert.equal((await asked(here)).templateVariables, undefined);
  assert.equal(await text(here, "base"), told);
  await context.close();
});

test("a text that the template writes out can be given", options, async () => {
  const { page: here, context } = await page("llama");
  await run(here);
  const plain = await text(here, "base");
  await unfold(here);
  const date = here.getByLabel("date_string");
  await date.fill("1 May");
  await date.blur();
  await run(here);
  assert.deepEqual((await asked(here)).templateVariables, { date_string: "1 May" });
  assert.notEqual(await text(here, "base"), plain);
  await context.close();
});

test("where the template has no place for a system prompt the page says so, and sends none", options, async () => {
  const { page: here, context } = await page("gemma2", `${HASH}&sys=Be+brief.`);
  await unfold(here);
  assert.equal(await here.getByLabel("System prompt").isDisabled(), true);
  await here.getByText("has no place for one").waitFor();
  assert.match(await run(here), /^Done/);
  assert.deepEqual(roles(await asked(here)), ["user"]);
  await context.close();
  // Gemma 3 reads it as the beginning of the first turn.
  const { page: other, context: of } = await page("gemma3", `${HASH}&sys=Be+brief.`);
  assert.equal(await other.getByLabel("System prompt").isEnabled(), true);
  await run(other);
  assert.deepEqual(roles(await asked(other)), ["system", "user"]);
  await of.close();
});

test("a conversation outlives a reload: short in the link, long in this tab", options, async () => {
  const { page: here, context } = await page("qwen3");
  await unfold(here);
  await here.getByLabel("System prompt").fill("Be brief.");
  await here.getByRole("checkbox", { name: "enable_thinking" }).uncheck();
  await run(here);
  const answer = await text(here, "steered");
  await here.locator("#reply").click();
  await here.locator("#prompt").fill("And?");
  await here.waitForFunction(() => /said=Hi/.test(location.hash) && /p=And/.test(location.hash));
  const link = here.url();
  await here.reload();
  await load(here, "qwen3");
  await unfold(here);
  assert.equal(await here.getByLabel("System prompt").inputValue(), "Be brief.");
  assert.equal(await here.getByRole("checkbox", { name: "enable_thinking" }).isChecked(), false);
  assert.match(await here.locator(".turns .answered b").innerText(), /^Steered, /, "how far it was turned is known in this tab");
  await run(here);
  assert.deepEqual((await asked(here)).chat.map(({ content }) => content), ["Be brief.", "Hi", answer, "And?"]);

  // Elsewhere the link says the same, but for that.
  const other = await open(browser, link);
  assert.deepEqual(await other.page.locator(".turns p").allTextContents(), ["Hi", answer]);
  await other.context.close();

  // Plain text is read alone.
  await here.locator(".settings").first().evaluate((settings) => { settings.open = true; });
  await here.getByRole("radio", { name: "Plain text" }).check();
  await here.locator("#conversation").waitFor({ state: "hidden" });
  await run(here);
  assert.equal((await asked(here)).prompt, "And?");
  await here.getByRole("radio", { name: "Chat" }).check();
  await context.close();
});

for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [320, "dark"]]) {
  test(`${width} px wide and ${scheme}, the conversation is accessible and nothing scrolls sideways`, options, async () => {
    const { page: here, context } = await page("qwen3", `${HASH}&sys=Be+brief.&said=${"Tell+me+of+kites.+".repeat(8)}&heard=${"A+kite+flies.".repeat(20)}`);
    await here.emulateMedia({ colorScheme: scheme });
    await here.setViewportSize({ width, height: 800 });
    await run(here);
    await unfold(here);
    const [scroll, inner] = await here.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(scroll <= inner, `${scroll} > ${inner}`);
    assert.deepEqual(await axe(here), []);
    if (process.env.SCREENSHOTS) {
      await here.evaluate(() => scrollTo(0, 0));
      await here.screenshot({ path: `${process.env.SCREENSHOTS}/talk-${width}-${scheme}.png`, fullPage: true });
    }
    await context.close();
  });
}
