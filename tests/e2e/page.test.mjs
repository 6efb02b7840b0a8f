// What the page says is so: on a tiny model, with the worker's answers bent where that is the case to be seen.
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { HOLD, LONG, finished, golden, greedy, loadTinyModel, open, openSettings, run, sheet, start, text, tinyModel } from "./support.mjs";

const options = { timeout: LONG };
/** `hold(call)` holds back what the page asks of its worker until `release()`; `bend` changes what the worker says. */
const PRELUDE = `{
  ${HOLD}
  const say = self.postMessage.bind(self);
  self.postMessage = (message) => { const bent = globalThis.bend?.(message) ?? message; if (bent !== "nothing") say(bent); };
}`;

const { browser, proxy } = await start();
proxy.prelude = PRELUDE;
const folders = mkdtempSync(join(tmpdir(), "playground-"));
after(() => rmSync(folders, { recursive: true, force: true }));

const TINY = "&chat=0&p=abcabc&n=6";
/** The page with a tiny model in it. */
async function tiny(hash = greedy(`${TINY}&a=`), more = {}) {
  const opened = await open(browser, proxy.url + hash, more);
  await loadTinyModel(opened.page);
  return opened;
}
const card = (page, name) => page.locator(`.adapter[data-adapter="${name}"]`).last();
const idle = (at) => at.and(at.page().locator("[aria-busy=false]")).waitFor();
const pick = (page, folder) => page.locator("#adapter-folder").setInputFiles(folder);
const lora = fileURLToPath(golden("lora"));
/** The golden LoRA, turned. */
async function withLora(page, c = 4) {
  await pick(page, lora);
  await card(page, "lora").locator(".facts").first().waitFor({ state: "attached" });
  await card(page, "lora").locator(".dose-box").fill(String(c));
  await card(page, "lora").locator(".dose-box").press("Enter");
  return card(page, "lora");
}
const atWorker = (page, does, argument) => page.workers()[0].evaluate(does, argument);
/** A folder of adapters, by the paths in it. */
function folder(name, ...places) {
  const root = join(folders, name);
  for (const place of places) {
    mkdirSync(join(root, place), { recursive: true });
    for (const file of ["adapter_config.json", "adapter_model.safetensors"]) cpSync(join(lora, file), join(root, place, file));
  }
  return root;
}
/** What is the widest, of the page and of what lies open over it, and the window. */
const wide = (page) => page.evaluate(() => [Math.max(document.documentElement.scrollWidth, document.querySelector("dialog[open]")?.scrollWidth ?? 0), window.innerWidth]);
async function narrow(page, what) {
  const [scroll, inner] = await wide(page);
  assert.ok(scroll <= inner, `${what}: ${scroll} > ${inner}`);
}

test("where storage is denied the page runs without remembering", options, async () => {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    const denied = { get() { throw new DOMException("denied", "SecurityError"); } };
    for (const [on, what] of [[window, "localStorage"], [window, "sessionStorage"], [window, "indexedDB"], [window, "caches"], [navigator, "serviceWorker"], [navigator, "clipboard"]]) {
      Object.defineProperty(on, what, denied);
    }
    history.replaceState = () => { throw new DOMException("not here", "SecurityError"); };
    StorageManager.prototype.getDirectory = () => Promise.reject(new DOMException("denied", "SecurityError"));
  });
  const page = await context.newPage();
  const complaints = [];
  page.on("pageerror", ({ message }) => complaints.push(message));
  await page.goto(proxy.url + greedy(TINY));
  await page.locator(".device", { hasText: "CPU" }).waitFor();
  await loadTinyModel(page);
  assert.match(await run(page), /^Done/);
  await page.locator("#theme").click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "light");
  await page.locator("#help").click();
  await page.getByLabel(/Single-key/).uncheck();
  await page.keyboard.press("Escape");
  await page.locator("#share").click();
  await page.locator("#share", { hasText: "may not copy" }).waitFor();
  // What may not be copied is shown, to be copied by hand.
  await page.locator("summary", { hasText: /^Model$/ }).click();
  await page.getByRole("button", { name: "Copy diagnostics" }).click();
  const shown = page.locator(".diagnostics textarea");
  await shown.waitFor();
  assert.equal(JSON.parse(await shown.inputValue()).model.status, "ready");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("in another site's frame the page runs", options, async () => {
  const inside = proxy.url.replace("127.0.0.1", "localhost") + greedy(TINY);
  proxy.files.set("/frame.html", { type: "text/html", body: `<!doctype html><title>frame</title><iframe title="page" width="1000" height="800" src="${inside}"></iframe>` });
  const { page, context } = await open(browser, `${proxy.url}frame.html`);
  const frame = page.frameLocator("iframe");
  await frame.locator(".device", { hasText: "CPU" }).waitFor();
  await frame.getByText("another model").click();
  await frame.locator("#model-files").setInputFiles(tinyModel());
  await frame.locator("#run:not(:disabled)").click();
  await frame.locator("#status", { hasText: /^Done/ }).waitFor({ state: "attached" });
  await context.close();
  proxy.files.clear();
});

test("while it writes nothing is announced; then one sentence", options, async () => {
  const { page, context } = await tiny(greedy("&chat=0&p=abcabc&n=64&a="));
  await withLora(page);
  await page.evaluate(() => {
    const heard = [];
    Object.assign(window, { heard });
    const live = "[role=status], [role=alert], [aria-live=polite], [aria-live=assertive], [role=log]:not([aria-live=off])";
    new MutationObserver((records) => {
      for (const { target } of records) {
        const region = (target instanceof Element ? target : target.parentElement)?.closest(live);
        if (region && heard.at(-1) !== `${region.id} ${region.textContent}`) heard.push(`${region.id} ${region.textContent}`);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
  });
  assert.match(await run(page), /^Done, 64 tokens; (both texts are the same|the texts part at token \d+); (at the length asked for|base: .+; steered: .+)\.$/);
  const heard = await page.evaluate(() => window.heard);
  assert.equal(heard.length, 2, JSON.stringify(heard));
  assert.match(heard[0], /^status Reading the prompt and writing\.$/);
  assert.match(heard[1], /^status Done/);
  // A token that is picked is told.
  await page.locator("#steered-text .tok").nth(3).click();
  assert.match(await page.locator("#token [role=status]").textContent(), /^Token 4/);
  await context.close();
});

test("the header over a text says under which coefficient it was written, and what is set otherwise since", options, async () => {
  const { page, context } = await tiny();
  const mine = await withLora(page, 4);
  assert.equal(await page.locator("#steered-dose").textContent(), "lora +4.00", "what will act");
  await run(page);
  const now = page.locator("#steered-now");
  assert.equal(await now.isHidden(), true);
  await mine.locator(".dose-box").fill("-0.5");
  await mine.locator(".dose-box").press("Enter");
  assert.equal(await page.locator("#steered-dose").textContent(), "lora +4.00");
  assert.match(await now.textContent(), /now −0\.50\./);
  assert.equal(await now.getByRole("button", { name: "Run again" }).isVisible(), true);
  await mine.locator(".dose-box").fill("4");
  await mine.locator(".dose-box").press("Enter");
  assert.equal(await now.isHidden(), true, "as it was");
  await openSettings(page);
  const seed = async (value) => {
    await page.getByRole("spinbutton", { name: "Seed" }).fill(value);
    await page.getByRole("spinbutton", { name: "Seed" }).blur();
  };
  for (const [change, back] of [
    [() => page.locator("#prompt").fill("abc"), () => page.locator("#prompt").fill("abcabc")],
    [() => seed("8"), () => seed("1")],
  ]) {
    await change();
    await now.locator("text=The prompt or its settings").waitFor();
    await back();
    await now.waitFor({ state: "hidden" });
  }
  await mine.getByText("Where it acts").click();
  await mine.getByLabel(/^Layers/).fill("1");
  await mine.getByLabel(/^Layers/).press("Enter");
  await now.locator("text=How or where").waitFor();
  await mine.getByRole("switch").uncheck();
  assert.match(await now.textContent(), /now no adapter acts/);
  await now.getByRole("button", { name: "Run again" }).click();
  await page.waitForFunction(() => document.querySelector("#steered-dose").textContent === "no adapter acts: this is the base");
  await finished(page);
  assert.equal(await now.isHidden(), true);
  await context.close();
});

test("after the steered text's end the log is silent, and the header stays", options, async () => {
  const { page, context } = await tiny();
  const mine = await withLora(page, 4);
  await atWorker(page, () => {
    globalThis.bend = (message) => {
      const { step } = message;
      if (step?.kind !== "token" || step.index < 2) return message;
      if (step.index === 2) return { ...message, step: { ...step, steered: { ...step.steered, finish: "end-of-text" } } };
      return { ...message, step: { ...step, steered: null, klNats: null, coefficients: [[step.coefficients[0]?.[0] ?? 1, step.index]], cache: "kept", top: [] } };
    };
  });
  await run(page);
  assert.deepEqual(await page.locator(".changes li").allTextContents(), ["Token 1 lora +4.00"]);
  assert.equal(await page.locator("#steered-dose").textContent(), "lora +4.00");
  assert.match(await page.locator("#stats").textContent(), /ended base: at the length asked for; steered: the model ended it/);
  assert.doesNotMatch(await page.locator("#stats").textContent(), /cache/);
  const last = page.locator("#strips tbody tr").last();
  assert.deepEqual(await last.locator("td").allTextContents().then((cells) => cells.slice(1)), ["", "", "", ""]);
  await mine.locator(".dose-box").fill("5");
  await context.close();
});

test("a run that diverges says so, keeps its text, and goes again once turned back", options, async () => {
  const { page, context } = await tiny();
  const mine = await withLora(page, 4);
  await atWorker(page, () => {
    let over = 0;
    globalThis.bend = (message) => {
      const { id, step } = message;
      if (id === over) return "nothing";
      if (step?.kind !== "token" || step.index < 3) return step?.index === 2 ? { ...message, step: { ...step, klNats: NaN } } : message;
      over = id;
      return { id, error: { code: "diverged", message: "the logits of token 3 are not finite with lora at 4; turn towards 0, or take the adapter off: the text before it is kept" } };
    };
  });
  assert.match(await run(page), /^Failed/);
  assert.match(await page.locator("#notice").textContent(), /not finite with lora at 4.*diverged/s);
  assert.equal(await page.locator("#steered-text .tok").count(), 3);
  assert.equal(await page.locator("#strips tbody tr").last().locator("td").nth(2).textContent(), "");
  await page.locator("#steered-text .tok").last().click();
  assert.doesNotMatch(await page.locator("#token .facts").textContent(), /KL/);
  assert.doesNotMatch(await page.locator("#strips").innerText(), /NaN/);
  await atWorker(page, () => { globalThis.bend = undefined; });
  await mine.locator(".dose-box").fill("1");
  await mine.locator(".dose-box").press("Enter");
  assert.match(await run(page), /^Done/);
  assert.equal(await page.locator("#notice").isHidden(), true);
  await context.close();
});

test("boxes show what acts: refused layers, and a coefficient refused while another is on its way", options, async () => {
  const { page, context } = await tiny();
  const mine = await withLora(page, 0.5);
  await mine.getByText("Where it acts").click();
  const [layers, modules, c] = [mine.getByLabel(/^Layers/), mine.getByLabel(/^Modules/), mine.locator(".dose-box")];
  await modules.fill("v_proj");
  await modules.press("Enter");
  await layers.fill("abc");
  await layers.press("Enter");
  await mine.locator(".error code", { hasText: "bad-option" }).waitFor();
  assert.deepEqual([await layers.inputValue(), await modules.inputValue()], ["", "v_proj"]);
  await modules.fill("");
  await modules.press("Enter");
  await mine.locator(".error").first().waitFor({ state: "hidden" });
  assert.deepEqual([await layers.inputValue(), await modules.inputValue()], ["", ""]);
  await page.waitForFunction(() => /lora:0\.5(?!:)/.test(location.hash));

  for (const bad of ["banana", "1e39"]) {
    await c.fill("0.5");
    await c.press("Enter");
    await atWorker(page, () => globalThis.hold("setCoefficient"));
    await c.fill("1");
    await c.press("Enter");
    await c.fill(bad);
    await c.press("Enter");
    await atWorker(page, () => globalThis.release());
    await mine.locator(".error code", { hasText: "bad-coefficient" }).waitFor();
    await page.waitForFunction((box) => box.value === "1", await c.elementHandle());
  }
  await context.close();
});

test("refused numbers of the sampling are told, and the boxes show what holds", options, async () => {
  const { page, context } = await tiny();
  await openSettings(page);
  const cases = [
    ["Top-p", "5", "1", "0.5"], ["Top-k", "2.5", "0", "3"], ["At most", "0", "6", "5"],
    ["Temperature", "-1", "0", "0.123"], ["Seed", "1.5", "1", "2"], ["Min-p", "", "0", "0.1"],
  ];
  for (const [label, bad, held, good] of cases) {
    const field = page.locator(".settings .field", { has: page.locator("span", { hasText: new RegExp(`^${label}$`) }) });
    await field.locator("input").fill(bad);
    await field.locator("input").blur();
    assert.equal(await field.locator("input").inputValue(), held, label);
    assert.match(await field.locator(".error").textContent(), new RegExp(`is not a (whole )?number from .*; it stays ${held}\\.`));
    await field.locator("input").fill(good);
    await field.locator("input").blur();
    assert.equal(await field.locator(".error").isHidden(), true, label);
  }
  // What is still being typed counts when the keys say Run.
  await page.locator(".field", { hasText: "At most" }).locator("input").fill("3");
  await page.keyboard.press("Control+Enter");
  assert.match(await finished(page), /^Done, 3 tokens/);
  await context.close();
});

test("a full context is told as such", options, async () => {
  const prompt = "abcabcabca".repeat(25);
  // With most seeds the model does not end its answer within the few tokens that have room.
  for (let seed = 1; ; seed += 1) {
    const { page, context } = await tiny(`#v=1&device=cpu&chat=0&p=${prompt}&n=90&a=&t=1&seed=${seed}`);
    const end = await run(page);
    if (/the model ended it/.test(end) && seed < 12) {
      await context.close();
      continue;
    }
    assert.match(end, /the model's context of 256 tokens is full/);
    assert.match(await page.locator("#stats").textContent(), /ended the model's context of 256 tokens is full/);
    await context.close();
    break;
  }
});

test("a model without a tokenizer is told at loading, and Run says what to do", options, async () => {
  const { page, context } = await open(browser, proxy.url + greedy(TINY));
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles(tinyModel().filter(({ name }) => name !== "tokenizer.json"));
  await page.locator("#model [role=alert]", { hasText: /No tokenizer came with this model.*tokenizer\.json/ }).waitFor();
  await page.locator("#run").click();
  await page.locator("#notice", { hasText: /cannot read a prompt.*tokenizer\.json/ }).waitFor();
  // With it, all is well.
  await page.locator("summary", { hasText: /^Model$/ }).click();
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles(tinyModel());
  await page.locator("#model [role=alert]").waitFor({ state: "detached" });
  await page.locator("#run:not(:disabled)").waitFor();
  assert.equal(await page.getByLabel("Chat", { exact: true }).isDisabled(), true, "it has no chat template");
  assert.equal(await page.getByLabel("Plain text").isChecked(), true);
  assert.match(await run(page), /^Done/);
  // What a report takes: what there is, and nothing that was written.
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.locator("summary", { hasText: /^Model$/ }).click();
  await page.locator(".diagnostics button").click();
  await page.locator(".diagnostics button", { hasText: /^Copied/ }).waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  const { page: address, wasm, engine, model, adapters, run: done } = JSON.parse(copied);
  assert.equal(address, proxy.url);
  assert.match(wasm.sha256, /^[0-9a-f]{64}$/);
  assert.deepEqual([engine.status, model.status, model.info.layers, done.status, done.tokens], ["ready", "ready", 2, "done", 6]);
  assert.deepEqual(adapters.slice(0, 1).map(({ name, on }) => [name, on]), [["tone-lora", true]]);
  assert.ok(!copied.includes("abcabc"), copied);
  await context.close();
});

test("adapters that do not come are told, and come at the second try", options, async () => {
  const { page, context } = await open(browser, "about:blank", { serviceWorkers: "block" });
  const answers = [{ status: 404, body: "" }, { status: 200, body: "<!doctype html>" }];
  await page.route("**/adapters/index.json", (route) => (answers.length ? route.fulfill(answers.shift()) : route.continue()));
  const hash = greedy(`${TINY}&a=tone-lora:-1.5,mine:2`);
  await page.goto(proxy.url + hash);
  const note = page.locator(".shelf .error");
  await note.filter({ hasText: /adapters\/index\.json could not be fetched.*404/ }).waitFor();
  assert.equal(await page.locator("#adapter-list > *").count(), 0);
  await page.locator("#prompt").fill("abca");
  await page.waitForFunction(() => location.hash.includes("p=abca&"));
  assert.match(page.url(), /a=tone-lora:-1\.5,mine:2/, "the link is not emptied");
  await page.getByRole("button", { name: "Try again" }).click();
  await note.filter({ hasText: /not the list/ }).waitFor();
  await page.getByRole("button", { name: "Try again" }).click();
  await card(page, "mood-vector").waitFor();
  assert.equal(await note.count(), 0);
  assert.equal(await card(page, "tone-lora").locator(".dose-box").inputValue(), "−1.5");
  // One whose weights do not come says so on its card.
  await page.route("**/tone-lora/adapter_model.safetensors", (route) => route.fulfill({ status: 500, body: "" }), { times: 1 });
  await page.goto("about:blank");
  await page.goto(proxy.url + hash);
  await card(page, "tone-lora").locator(".error", { hasText: /could not be fetched.*500/ }).waitFor();
  await card(page, "tone-lora").getByRole("button", { name: "Try again" }).click();
  await card(page, "tone-lora").locator(".error").waitFor({ state: "hidden" });
  assert.equal(await card(page, "tone-lora").locator(".dose-box").inputValue(), "−1.5");
  await context.close();
});

test("an adapter that a link wants has a place until its files come", options, async () => {
  const { page, context } = await tiny(greedy(`${TINY}&a=lora:-3,theirs:2.5:off`));
  const place = card(page, "lora");
  await place.filter({ hasText: /asks for this adapter at −3\.00.*drop its files/ }).waitFor();
  assert.match(await card(page, "theirs").textContent(), /at \+2\.50, switched off/);
  await page.locator("#prompt").fill("abca");
  await page.waitForFunction(() => location.hash.includes("p=abca&"));
  assert.match(page.url(), /lora:-3,theirs:2\.5:off/, "the link goes on");
  await pick(page, lora);
  await place.locator(".dose-box").waitFor();
  await idle(place);
  assert.equal(await place.locator(".dose-box").inputValue(), "−3");
  assert.deepEqual(await page.locator(".adapter").evaluateAll((list) => list.slice(-2).map((one) => one.dataset.adapter)), ["lora", "theirs"]);
  await run(page);
  assert.match(await page.locator(".changes").textContent(), /lora −3\.00/);
  // Dropped on its place it is that one, whatever its folder's name.
  const session = await context.newCDPSession(page);
  await card(page, "theirs").scrollIntoViewIfNeeded();
  const { x, y } = await card(page, "theirs").boundingBox();
  const data = { items: [], files: [folder("another-name", "")], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: x + 30, y: y + 20, data });
  await card(page, "theirs").locator(".dose-box").waitFor();
  assert.equal(await card(page, "theirs").locator(".dose-box").inputValue(), "2.5");
  assert.equal(await card(page, "theirs").getByRole("switch").isChecked(), false);
  await context.close();
});

test("a removed adapter stays away, and the focus stays in the list", options, async () => {
  const { page, context } = await open(browser, proxy.url + greedy(TINY));
  const focus = () => page.evaluate(() => document.activeElement.id);
  const remove = async (name) => {
    await card(page, name).getByText("How it works").click();
    await card(page, name).getByRole("button", { name: "Remove from the list" }).focus();
    await page.keyboard.press("Enter");
    await card(page, name).waitFor({ state: "detached" });
    assert.equal(await focus(), "adapter-list");
  };
  await card(page, "tone-lora").waitFor();
  await remove("tone-lora");
  await page.waitForFunction(() => location.hash.includes("gone=tone-lora"));
  await page.reload();
  await card(page, "mood-vector").waitFor();
  assert.equal(await card(page, "tone-lora").count(), 0);
  await remove("register-ia3");
  await remove("mood-vector");
  await page.waitForFunction(() => new URLSearchParams(location.hash.slice(1)).get("a") === "");
  await page.reload();
  await page.locator(".shelf", { hasText: "The list is empty" }).waitFor();
  assert.equal(await page.locator(".adapter").count(), 0);
  await page.getByRole("button", { name: "Bring back" }).click();
  await card(page, "tone-lora").waitFor();
  assert.equal(await page.locator(".adapter").count(), 3);
  await context.close();
});

test("pickled weights are told how to convert", options, async () => {
  const { page, context } = await open(browser, proxy.url + greedy(TINY));
  const file = (name) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.from("{}") });
  await page.locator("#adapter-files").setInputFiles([file("adapter_config.json"), file("adapter_model.bin")]);
  const error = page.locator("#adapter-add .error:visible");
  await error.locator("pre").waitFor();
  assert.match(await error.textContent(), /adapter_model\.bin is a pickle.*weights_only=True.*adapter_model\.safetensors/s);
  await page.setViewportSize({ width: 320, height: 700 });
  await sheet(page);
  await narrow(page, "the command");
  await context.close();
});

test("of a folder of adapters the root loads, and the others are offered by name", options, async () => {
  const { page, context } = await tiny();
  await pick(page, folder("several", "", "french", "checkpoint-10"));
  await idle(card(page, "several"));
  const offers = page.getByRole("group", { name: "More adapters in the folder" });
  assert.deepEqual(await offers.getByRole("button").allTextContents(), ["checkpoint-10", "french"]);
  assert.equal(await card(page, "french").count(), 0);
  await offers.getByRole("button", { name: "french" }).click();
  await idle(card(page, "french"));
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "checkpoint-10", "the focus goes on");
  await offers.getByRole("button", { name: "checkpoint-10" }).click();
  await idle(card(page, "checkpoint-10"));
  assert.equal(await offers.isHidden(), true);
  await context.close();
});

test("a long name and all other long words wrap at 320 px", options, async () => {
  const long = "an_adapter_whose_folder_has_a_name_of_fifty_letters";
  const url = `${proxy.url}${greedy(`${TINY}&a=${"wanted".repeat(12)}:1`)}`;
  const { page, context } = await open(browser, url, { viewport: { width: 320, height: 700 } });
  // What the link wants is told in the sheet, and that there is something to see.
  await page.locator("#adapters-open", { hasText: "something is missing" }).click();
  await narrow(page, "the link's adapter");
  await sheet(page, false);
  await loadTinyModel(page);
  await sheet(page);
  await pick(page, folder(long, ""));
  await idle(card(page, long));
  await card(page, long).locator(".dose-box").fill("4");
  await card(page, long).locator(".dose-box").press("Enter");
  await card(page, long).getByText("How it works").click();
  await narrow(page, "the card");
  await sheet(page, false);
  await narrow(page, "what the bar names");
  await page.locator("#prompt").fill("a".repeat(100));
  await page.waitForFunction(() => document.querySelector("#run:not(:disabled)"));
  await run(page);
  await narrow(page, "the texts, their header, strips and log");
  await page.locator("#strips summary").click();
  await page.locator("#difference-text .tok").nth(2).click();
  await narrow(page, "the table");
  await sheet(page);
  await card(page, long).locator(".dose-box").fill("5");
  await card(page, long).locator(".dose-box").press("Enter");
  await narrow(page, "the sheet, and what changed since");
  await card(page, long).getByText("Where it acts").click();
  await card(page, long).getByLabel(/^Modules/).fill("x".repeat(80));
  await card(page, long).getByLabel(/^Modules/).press("Enter");
  await card(page, long).locator(".error code").waitFor();
  await narrow(page, "its error");
  await page.locator("#adapter-files").setInputFiles([{ name: `${"z".repeat(90)}.txt`, mimeType: "text/plain", buffer: Buffer.from("x") }]);
  await page.locator("#adapter-files").setInputFiles(["a", "b"].map((one) => ({ name: `${one.repeat(90)}.safetensors`, mimeType: "x/y", buffer: Buffer.from("x") })));
  await narrow(page, "refused files");
  await pick(page, folder("many", "", "offered".repeat(10)));
  await page.getByRole("group", { name: "More adapters in the folder" }).waitFor();
  await narrow(page, "offers");
  await sheet(page, false);
  await page.locator("summary", { hasText: /^Model$/ }).click();
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles([{ name: `${"m".repeat(90)}.gguf`, mimeType: "x/y", buffer: Buffer.from("no model") }]);
  await page.locator("#model .error").waitFor();
  await narrow(page, "a model's error");
  await page.goto("about:blank");
  await page.goto(`${proxy.url}#m=https://models.example/${"q".repeat(90)}.gguf`);
  await page.getByRole("button", { name: /^Load qqq/ }).waitFor();
  await narrow(page, "a link's model");
  await context.close();
});

test("in forced colours the bars of both models can be read alike", options, async () => {
  const { page, context } = await tiny(greedy(`${TINY}&a=`), { forcedColors: "active" });
  await withLora(page);
  await run(page);
  const look = (lane) => page.locator(`.pairs .bar.${lane} i`).first().evaluate((bar) => {
    const { backgroundColor, height, bottom } = getComputedStyle(bar);
    const [at, text] = [bar.getBoundingClientRect(), bar.nextElementSibling.firstChild];
    const range = document.createRange();
    range.selectNode(text);
    return { backgroundColor, height, bottom, covers: at.top < range.getBoundingClientRect().bottom - 4 };
  });
  const [base, steered] = [await look("base"), await look("steered")];
  assert.deepEqual(base, steered);
  assert.equal(base.covers, false, "the number stands free of its bar");
  assert.notEqual(base.backgroundColor, await page.evaluate(() => getComputedStyle(document.body).backgroundColor));
  await context.close();
});

test("a tap near −1, 0 or 1 rests there, and the keys go past", options, async () => {
  // A recording has steps of its own.
  proxy.files.set("/recorded/smollm2-135m.json", { type: "application/json", body: "{}" });
  for (const hasTouch of [false, true]) {
    const { page, context } = await open(browser, proxy.url + greedy(TINY), { hasTouch });
    const first = card(page, "tone-lora");
    const slider = first.locator(".dose-slider");
    await slider.waitFor();
    await slider.scrollIntoViewIfNeeded();
    const { x, y, width, height } = await slider.boundingBox();
    const value = () => first.locator(".dose-box").inputValue();
    for (const [at, rests] of [[1.1, "1"], [-1.1, "−1"], [0.9, "1"], [-0.9, "−1"], [0.1, "0"], [-0.1, "0"], [1.2, "1.2"], [-1.2, "−1.2"], [0.5, "0.5"]]) {
      const place = [x + 10 + ((at + 2) / 4) * (width - 20), y + height / 2];
      if (hasTouch) await page.touchscreen.tap(...place);
      else await page.mouse.click(...place);
      await page.waitForFunction(([box, rests]) => box.value === rests, [await first.locator(".dose-box").elementHandle(), rests], { timeout: 5000 })
        .catch(async () => assert.fail(`${hasTouch ? "touch" : "mouse"} at ${at}: ${await value()}, not ${rests}`));
    }
    await first.locator(".dose-box").fill("1");
    await first.locator(".dose-box").press("Enter");
    await slider.focus();
    await page.keyboard.press("ArrowRight");
    assert.equal(await value(), "1.05", "a key is no tap");
    await first.locator(".dose-box").focus();
    for (let presses = 0; presses < 21; presses += 1) await page.keyboard.press("ArrowDown");
    assert.equal(await value(), "0");
    await context.close();
  }
  proxy.files.delete("/recorded/smollm2-135m.json");
});

test("the kept copy of a model that cannot be loaded can be deleted", options, async () => {
  proxy.files.set("/models/broken.gguf", { type: "application/octet-stream", body: Buffer.concat([Buffer.from("GGUF\x03\0\0\0"), Buffer.alloc(5000, 255)]) });
  const { page, context } = await open(browser, `${proxy.url}#m=./models/broken.gguf&device=cpu`);
  await page.getByRole("button", { name: /^Load broken/ }).click();
  await page.locator("#model .error").waitFor();
  // Or the engine has thrown it away already, and says so.
  const button = page.getByRole("button", { name: /^Delete/ });
  await button.click();
  await page.locator("#model", { hasText: "The kept copy was deleted." }).waitFor();
  await page.reload();
  await page.getByRole("button", { name: /^Load broken/ }).waitFor();
  assert.equal(await button.count(), 0);
  await context.close();
  proxy.files.clear();
});

test("what is kept of a download that was cut is said, and can be deleted", options, async () => {
  proxy.prelude = `${PRELUDE}
    globalThis.bend = (message) => (Array.isArray(message.value) && !globalThis.forgot ? { ...message, value: [{
      url: new URL("../models/SmolLM2-135M-Instruct.Q4_1.gguf", location.href).href, complete: false, keptBytes: 3e7,
    }] } : message);
    addEventListener("message", ({ data }) => { globalThis.forgot ||= data.call === "deleteCachedModel"; });`;
  const { page, context } = await open(browser, `${proxy.url}#device=cpu`);
  await page.locator("#model", { hasText: "30.0 MB are kept in this browser; loading goes on from there." }).waitFor();
  await page.getByRole("button", { name: /^Load SmolLM2/ }).waitFor();
  await page.getByRole("button", { name: "Delete what is kept" }).click();
  await page.locator("#model", { hasText: "The kept copy was deleted." }).waitFor();
  assert.doesNotMatch(await page.locator("#model").textContent(), /30\.0 MB/);
  await context.close();
  proxy.prelude = PRELUDE;
});

test("a brush over the layer map says on which blocks an adapter acts, by mouse and by keys", options, async () => {
  const { page, context, complaints } = await tiny();
  const mine = await withLora(page, 1);
  await page.locator("#curve, #layers").evaluateAll((folds) => { for (const fold of folds) fold.open = true; });
  await page.locator('#curve input[name="dose-pairs"][value="one"]').check();
  for (const [what, words] of [["prompt", "abc"], ["positive", "aaaa"], ["negative", "cccc"]]) {
    await page.locator(`#dose-one-${what}`).fill(words);
    await page.locator(`#dose-one-${what}`).blur();
  }
  await page.locator("#layers-go:not(:disabled)").click();
  const brush = page.locator("#layers .brush");
  await brush.scrollIntoViewIfNeeded();
  /** The adapter acts on these blocks, and both places say so. */
  const acts = async (layers, says) => {
    await page.locator("#layers .brush-place [role=status]").filter({ hasText: says }).waitFor({ state: "attached" });
    await page.waitForFunction(([box, layers]) => box.value === layers, [await mine.locator("input[id$=-layers]").elementHandle(), layers]);
  };
  const { x, y, width, height } = await brush.boundingBox();
  /** The middle of one of the two bars. */
  const bar = (at) => [x + 44 + (at + 0.5) * (width - 52) / 2, y + height / 2];
  await page.mouse.move(...bar(1));
  await page.mouse.down();
  await page.mouse.up();
  await acts("1", /^lora acts on blocks 1 alone\.$/);
  await page.mouse.move(...bar(0));
  await page.mouse.down();
  await page.mouse.move(...bar(1), { steps: 3 });
  await page.mouse.up();
  await acts("0-1", /^lora acts on blocks 0-1 alone\.$/);
  // What is given up in its midst changes nothing.
  await page.mouse.move(...bar(0));
  await page.mouse.down();
  await page.keyboard.press("Escape");
  await page.mouse.up();
  await acts("0-1", /0-1/);
  await page.keyboard.press("Enter");
  await acts("0", /^lora acts on blocks 0 alone\.$/);
  await page.keyboard.press("Shift+ArrowRight");
  await acts("0-1", /0-1/);
  await page.getByRole("button", { name: "As before" }).click();
  await acts("", /^$/);
  assert.ok(await brush.evaluate((figure) => figure === document.activeElement), "the focus stays where it can go on");
  assert.deepEqual(complaints, []);
  await context.close();
});

test("an adapter's warnings, its base and the layers that it reaches are shown", options, async () => {
  const { page, context } = await tiny();
  await atWorker(page, () => {
    globalThis.bend = (message) => (message.value?.laws
      ? { ...message, value: { ...message.value, warnings: ["It names Llama-3.1-8B; the model is another."], baseModel: "meta-llama/Llama-3.1-8B", layersReached: "0-1 of 2" } } : message);
  });
  const mine = await withLora(page, 1);
  assert.equal(await mine.locator(".warnings").innerText(), "It names Llama-3.1-8B; the model is another.");
  assert.equal(await mine.locator(".origin").innerText(), "made for meta-llama/Llama-3.1-8B · reaches layers 0-1 of 2");
  await mine.getByText("How it works").click();
  assert.match(await mine.locator(".method-card").innerText(), /Layers reached: 0-1 of 2\s+Made for meta-llama\/Llama-3\.1-8B/);
  assert.equal(await text(page, "base"), "");
  await context.close();
});
