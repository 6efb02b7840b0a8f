// Each family of models answers in the page through a chat template, with an adapter that is turned while it writes.
import assert from "node:assert/strict";
import { test } from "node:test";

import { LONG, finished, open, ready, run, runAndMeddle, start, text, turn } from "./support.mjs";
import { FAMILIES, loraFor, tinyFamily } from "./tiny.mjs";

const { browser, proxy } = await start();
// A tiny model has written all before word of its first token gets out: each step waits a little for messages.
proxy.prelude = `
  const post = MessagePort.prototype.postMessage;
  MessagePort.prototype.postMessage = function (...message) { setTimeout(() => post.apply(this, message), 60); };
`;
const HASH = "#v=2&device=cpu&t=1&tp=1&rp=1&seed=1&p=Hi&n=24&a=";

for (const { folder, family, template } of FAMILIES) {
  test(`${family} answers, and its adapter is turned while it writes`, { timeout: LONG }, async () => {
    const { page, context, complaints } = await open(browser, proxy.url + HASH);
    await page.getByText("another model").click();
    await page.locator("#model-files").setInputFiles(tinyFamily(folder, template));
    await ready(page);
    const facts = await page.locator("#model-facts").textContent();
    assert.match(facts, new RegExp(`^${family} · .+ parameters · BF16 · `), facts);
    assert.equal(await page.locator("input[name=mode][value=chat]").isEnabled(), true, "there is a chat template");

    await page.locator("#adapter-files").setInputFiles(loraFor(folder));
    const card = page.locator(".adapter").last();
    await card.locator(".facts").first().waitFor({ state: "attached" });
    await turn(page, 0);
    assert.match(await run(page), /^Done/);
    const base = await text(page, "base");
    assert.ok(base.length > 0, "it wrote nothing");
    assert.equal(await text(page, "steered"), base, "at 0 both texts are the same");
    assert.match(await page.locator("#stats").textContent(), /texts part nowhere/);

    // Turned after four tokens: alike up to there, and then they part.
    await runAndMeddle(page, 4, 30);
    assert.match(await finished(page), /^Done/);
    assert.equal(await text(page, "base"), base, "the base is the base");
    const stats = await page.locator("#stats").textContent();
    const [, split] = /texts part at token (\d+)/.exec(stats) ?? assert.fail(stats);
    assert.ok(Number(split) > 4, `they part at token ${split}, before it was turned`);
    assert.notEqual(await text(page, "steered"), base);
    assert.match(await page.locator(".changes").textContent(), /\+30\.00/);

    // And back at 0 it is the base again.
    await turn(page, 0);
    await run(page);
    assert.equal(await text(page, "steered"), base);
    assert.deepEqual(complaints.filter((line) => !/ServiceWorker/.test(line)), []);
    await context.close();
  });
}
