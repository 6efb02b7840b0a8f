// The whole page on the real model, computed on the CPU.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { LONG, count, finished, greedy, loadModel, open, openSettings, ready, run, runAndMeddle, start, text, tokens, turn } from "./support.mjs";

const { browser, proxy } = await start();

describe("with the model loaded once", { timeout: 4 * LONG }, () => {
  let page;
  let context;
  let complaints;

  before(async () => {
    ({ page, context, complaints } = await open(browser, proxy.url + greedy("&n=24&p=Tell+me+about+the+weather+today.")));
  });
  after(() => context?.close());

  test("nothing is downloaded before the click, and the button says how much", async () => {
    const button = page.getByRole("button", { name: /^Load SmolLM2.*98\.4 MB/ });
    await button.waitFor();
    assert.equal(proxy.log.filter(({ path }) => path.includes("/models/")).length, 0);
    assert.equal(await page.locator("#run").isDisabled(), true);
    await page.locator("#load-run:not(:disabled)", { hasText: "98.4 MB" }).waitFor();
    await page.keyboard.press("Control+Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "load-run", "the key leads to what comes first");
    await page.locator(".device", { hasText: /CPU.*asked for/ }).waitFor();
  });

  test("loading shows true bytes and every state", async () => {
    await page.evaluate(() => {
      const seen = { states: new Set(), bytes: [] };
      Object.assign(window, { seen });
      new MutationObserver(() => {
        const now = document.querySelector(".phases [data-at=now]")?.dataset.phase;
        if (now) seen.states.add(now);
        const bar = document.querySelector(".loading progress");
        if (bar && now === "downloading" && bar.max > 1) seen.bytes.push([bar.value, bar.max]);
      }).observe(document.querySelector("#model"), { subtree: true, childList: true, attributes: true, characterData: true });
    });
    await loadModel(page);
    const { states, bytes } = await page.evaluate(() => ({ states: [...window.seen.states], bytes: window.seen.bytes }));
    for (const state of ["downloading", "uploading", "warming-up"]) assert.ok(states.includes(state), `${state} was not shown, only ${states}`);
    assert.ok(bytes.length > 3, "the bar must move");
    assert.ok(bytes.every(([value, max]) => max === 98362432 && value <= max), "the bytes must be the file's");
    assert.match(await page.locator("#model-facts").textContent(), /98\.4 MB · kept in this browser/);
    await page.locator("#memory", { hasText: /WebAssembly [1-9]\d\d+ MB \(peak/ }).waitFor();
  });

  test("streams, changes with the slider while it streams, and comes back to the base at 0", async () => {
    await turn(page, 0);
    assert.match(await run(page), /^Done/);
    const base = await text(page, "base");
    assert.ok(base.length > 40, `too little text: ${base}`);
    assert.equal(await text(page, "steered"), base, "at c = 0 both texts are the same");
    assert.match(await page.locator("#stats").textContent(), /texts part nowhere/);

    // Turned in mid-stream: the texts are the same up to there, and part.
    await runAndMeddle(page, 4, 3);
    await finished(page);
    assert.equal(await text(page, "base"), base, "the base must not be moved by the slider");
    const steered = await text(page, "steered");
    assert.notEqual(steered, base, "the steered text must change");
    const same = await page.evaluate(() => {
      const list = (id) => [...document.querySelectorAll(`#${id} .tok`)].map((span) => span.textContent);
      const [left, right] = [list("base-text"), list("steered-text")];
      return left.findIndex((word, at) => word !== right[at]);
    });
    assert.ok(same >= 4, `parted at token ${same}, before the slider moved`);
    assert.match(await page.locator(".changes").textContent(), /\+3\.00, from here on/);
    assert.match(await page.locator("#stats").textContent(), /cache kept/);
    assert.ok(await page.locator(".strip.trace").count() > 0, "the trace must show the turn");
    assert.ok(await page.locator("#columns [data-split]").count() === 2, "both columns mark the split");

    // Back to 0: the base's text again, in both columns.
    await turn(page, 0);
    await run(page);
    assert.equal(await text(page, "steered"), base);
    assert.equal(await text(page, "base"), base);
  });

  test("as if from the start recomputes, and says so", async () => {
    await openSettings(page);
    await page.getByLabel("as if from the start").check();
    await runAndMeddle(page, 4, -2);
    await finished(page);
    assert.match(await page.locator(".changes").textContent(), /−2\.00, as if from the start/);
    await page.getByLabel("from here on").check();
    await turn(page, 0);
  });

  test("switching an adapter off is the base, on is the adapter", async () => {
    await turn(page, 2);
    const on = page.getByRole("switch").first();
    await on.uncheck();
    await run(page);
    assert.equal(await text(page, "steered"), await text(page, "base"));
    await on.check();
    await run(page);
    assert.notEqual(await text(page, "steered"), await text(page, "base"));
    await turn(page, 0);
  });

  test("a key acts at once while tokens come", async () => {
    await page.evaluate(() => {
      window.slow = [];
      new PerformanceObserver((list) => {
        for (const { name, startTime, processingStart, processingEnd } of list.getEntries()) window.slow.push([name, processingStart - startTime, processingEnd - startTime]);
      }).observe({ type: "event", durationThreshold: 16 });
    });
    await page.locator("#run").click();
    await tokens(page, 1);
    await page.locator(".dose-slider").first().focus();
    let presses = 0;
    for (; presses < 40 && await page.locator("#run").isDisabled(); presses += 1) await page.keyboard.press(presses % 2 ? "ArrowLeft" : "ArrowRight");
    await finished(page);
    const slow = await page.evaluate(() => window.slow);
    const most = (at) => Math.max(0, ...slow.map((entry) => entry[at]));
    console.log(`${presses} keys while tokens came: worst wait ${most(1).toFixed(0)} ms, until it was done ${most(2).toFixed(0)} ms, of ${slow.length} slow events`);
    assert.ok(presses >= 4, `${presses} keys`);
    // The aim is 50 ms on two cores that do nothing else; a busy machine is several times as slow.
    assert.ok(most(2) < 500, JSON.stringify(slow));
    await turn(page, 0);
  });

  test("stop keeps the text", async () => {
    await runAndMeddle(page, 3);
    assert.match(await finished(page), /^Stopped after/);
    const kept = await count(page);
    assert.ok(kept >= 3 && kept < 24, `${kept} tokens`);
  });

  test("NaN is refused with its code, and the coefficient stays", async () => {
    await turn(page, 0.5);
    await turn(page, "banana");
    const error = page.locator(".adapter .error").first();
    await error.waitFor();
    assert.match(await error.textContent(), /bad-coefficient/);
    assert.equal(await page.locator(".dose-box").first().inputValue(), "0.5");
    await turn(page, 0);
    assert.equal(await error.isHidden(), true, "a good number clears the error");
  });

  test("an empty prompt says so in the output area", async () => {
    await page.locator("#prompt").fill("  ");
    assert.match(await run(page), /^Failed/);
    assert.match(await page.locator("#notice").textContent(), /The prompt is empty.*empty-prompt/s);
    await page.locator("#prompt").fill("Tell me about the weather today.");
  });

  test("bad adapter files show their codes", async () => {
    const json = (value) => Buffer.from(JSON.stringify(value));
    const file = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer });
    const header = Buffer.from('{"x":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    const tensors = Buffer.concat([length, header, Buffer.alloc(16)]);
    const lying = Buffer.from(tensors);
    lying.writeBigUInt64LE(BigInt(header.length + 1000));
    const cases = [
      ["unknown-method", { peft_type: "NO_SUCH" }, tensors],
      ["unexpected-keys|missing-key", { peft_type: "IA3", target_modules: ["k_proj"], feedforward_modules: [] }, tensors],
      ["bad-header|truncated|tensor-beyond-file", { peft_type: "LORA", r: 4, lora_alpha: 8 }, lying],
      ["bad-config", null, tensors, "{ this is no json"],
    ];
    for (const [code, config, weights, raw] of cases) {
      await page.locator("#adapter-files").setInputFiles([
        file("adapter_config.json", raw ? Buffer.from(raw) : json(config)), file("adapter_model.safetensors", weights),
      ]);
      const card = page.locator(".adapter").last();
      const error = card.locator(".error code");
      await error.waitFor();
      assert.match(await error.textContent(), new RegExp(`^(${code})$`));
      await card.getByText("How it works").click();
      await card.getByRole("button", { name: "Remove from the list" }).click();
    }
    await page.locator("#adapter-files").setInputFiles([file("adapter_config.json", json({}))]);
    assert.match(await page.locator("#adapter-add .error:visible").textContent(), /None of these files is a \.safetensors/);
  });

  test("the link brings everything back, and the kept model loads by itself", async () => {
    await turn(page, -0.75);
    await page.locator("#prompt").fill("Describe the sea: 100 % & more.");
    await openSettings(page);
    const seed = page.getByRole("spinbutton", { name: "Seed" });
    await seed.fill("4242");
    await seed.blur();
    await page.waitForFunction(() => location.hash.includes("seed=4242") && location.hash.includes("sea"));
    const link = page.url();
    proxy.log.length = 0;
    await page.goto("about:blank");
    await page.goto(link);
    await ready(page);
    await openSettings(page);
    assert.equal(await page.locator("#prompt").inputValue(), "Describe the sea: 100 % & more.");
    assert.equal(await page.locator(".dose-box").first().inputValue(), "−0.75");
    assert.equal(await seed.inputValue(), "4242");
    assert.equal(proxy.log.filter(({ path }) => path.includes("/models/")).length, 0, "the model must come from storage");
  });

  test("reloads from storage with the server gone, and writes", async () => {
    proxy.gone = true;
    try {
      await page.reload();
      await ready(page);
      assert.match(await run(page), /^Done/);
      assert.ok((await text(page, "base")).length > 20);
    } finally {
      proxy.gone = false;
    }
  });

  test("works with the keyboard alone", async () => {
    await page.reload();
    await ready(page);
    await page.locator("#prompt").focus();
    await page.keyboard.press("ControlOrMeta+A");
    await page.keyboard.type("Write a haiku about rain.");
    await page.keyboard.press("Control+Enter");
    await tokens(page, 2);
    await page.keyboard.press("Escape");
    assert.match(await finished(page), /^(Stopped|Done)/);
    // On to the first adapter's slider with Tab alone, and turn it with the arrows.
    for (let presses = 0; presses < 60; presses += 1) {
      if (await page.evaluate(() => document.activeElement?.matches(".dose-slider"))) break;
      await page.keyboard.press("Tab");
    }
    const slider = page.locator(".dose-slider").first();
    assert.equal(await slider.evaluate((element) => element === document.activeElement), true, "Tab must reach the slider");
    await page.keyboard.press("0");
    await page.keyboard.press("]");
    await page.keyboard.press("}");
    assert.equal(await page.locator(".dose-box").first().inputValue(), "0.3");
    await page.keyboard.press("-");
    assert.equal(await page.locator(".dose-box").first().inputValue(), "−0.3");
    await page.keyboard.press("ArrowRight");
    assert.equal(await page.locator(".dose-box").first().inputValue(), "−0.25");
    await page.keyboard.press("?");
    await page.locator("#keys[open]").waitFor();
    await page.keyboard.press("Escape");
    await page.locator("#keys:not([open])").waitFor({ state: "attached" });
    // A token under the glass.
    await page.keyboard.press(",");
    assert.match(await page.locator("#token .facts").textContent(), /^Token \d+/);
    assert.ok(await page.locator("#token tbody tr").count() >= 8);
  });

  test("320 px wide without sideways scroll", async () => {
    await page.setViewportSize({ width: 320, height: 700 });
    const [scroll, inner] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
    assert.ok(scroll <= inner, `${scroll} > ${inner}`);
  });

  test("nothing was complained of", () => {
    // A server that is gone on purpose makes the browser log its failed requests.
    assert.deepEqual(complaints.filter((line) => !/Failed to load resource|ERR_EMPTY_RESPONSE|ServiceWorker/.test(line)), []);
  });
});

test("one click loads and runs, and says live what the recording said", { timeout: 2 * LONG }, async () => {
  const { page, context } = await open(browser, `${proxy.url}#v=2&device=cpu`, { reducedMotion: "reduce" });
  await page.locator("#recorded").waitFor();
  const recorded = [await text(page, "base"), await text(page, "steered")];
  await page.locator("#load-run").click();
  assert.match(await finished(page), /^Done, 96 tokens/);
  assert.equal(await page.locator("#recorded").isHidden(), true);
  const live = [await text(page, "base"), await text(page, "steered")];
  // Its last piece was cut, and another processor may fall on the other side of a near tie.
  const begins = (words) => words.slice(0, 60);
  assert.deepEqual(live.map(begins), recorded.map(begins));
  await context.close();
});
