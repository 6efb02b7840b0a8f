// Random sessions with the page, and faults in their midst: `cargo xtask soak`. After each action it looks whether all
// holds that has to. Every choice comes from one seed, so that a failure can be repeated.
import assert from "node:assert/strict";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual, parseArgs } from "node:util";

import { LONG, count, greedy, inWorkers, launch, listen, loadModel, open, openSettings, ready, run, startProxy, turn } from "./e2e/support.mjs";
import {
  PAIRS, PRELUDE, WHOLE, addressed, arrived, begin, calm, forget, inWords, isKept, kept, over, read, recall, recovered, remove, reopen, sentence,
  shown, struck, type, unfold, write,
} from "./soak/steps.mjs";

/** @typedef {import("./soak/steps.mjs").Session} Session @typedef {import("./soak/steps.mjs").Dice} Dice */

// ---- what is done, and what befalls ---------------------------------------------------------------

/** How many times each is done in a round. */
const OFTEN = {
  run: 3, stop: 2, turn: 3, swap: 2, set: 2, converse: 3, train: 1, reload: 2, load: 1, tabs: 1, kill: 2, lose: 1, fill: 1, cut: 2,
};

/** What the browser's console may say of some. @type {Record<string, RegExp>} */
const MAY_LOG = { lose: /GPU|panicked/, cut: /Failed to load resource|ERR_|ServiceWorker/ };

/**
 * Each waits until it is over, looks at what only it can know, and answers with what it did.
 * @type {Record<keyof typeof OFTEN, (session: Session) => Promise<string>>}
 */
const ACTIONS = {
  async run(session) {
    await write(session);
    return `${await count(session.page)} tokens`;
  },

  async stop(session) {
    const { page } = session;
    await begin(session);
    // It may be over before: then the key does nothing.
    await page.keyboard.press("Escape");
    await over(session, /^(Stopped|Done)/);
    return `${await count(page, "base")} tokens`;
  },

  async turn(session) {
    const { page, dice, want } = session;
    const [at, c, isWriting] = [dice.below(want.adapters.length), dice.below(17) / 4 - 2, dice.coin()];
    if (isWriting) await begin(session);
    await turn(page, c, at);
    const asAsked = await (isWriting ? over(session) : write(session));
    want.adapters = (await shown(page)).adapters;
    const [name, now] = want.adapters[at];
    // What a law does not admit goes back, which is told.
    if (asAsked && now !== String(c)) inWords(await page.locator("#adapter-list > .adapter").nth(at).locator(".error").first().innerText());
    return `${name} to ${c}${isWriting ? " while it writes" : ""}`;
  },

  async swap(session) {
    const { page, dice, want } = session;
    // One of the zoo takes the place of another only while that acts: the list shall not grow.
    const zoo = want.adapters.map(([name]) => name).filter((name) => name.includes("/"));
    if (zoo.length > 1) await remove(page, dice.pick(zoo));
    await unfold(page.locator("details.methods"));
    const there = page.locator(".all-methods button.cell[data-state=there]");
    await there.first().waitFor();
    const name = dice.pick((await there.evaluateAll((cells) => cells.map((cell) => cell.dataset.cell))).sort());
    const cell = page.locator(`.all-methods button.cell[data-cell="${name}"]`);
    await cell.click();
    // Where its law does not admit the coefficient of the one before, its card says so.
    await cell.and(page.locator("[data-state=on]")).or(page.locator(`.adapter[data-adapter="${name}"] .error:visible`)).first().waitFor();
    await read(page);
    await write(session);
    want.adapters = (await shown(page)).adapters;
    return name;
  },

  async set({ page, dice, want }) {
    await openSettings(page);
    [want.seed, want.length] = [String(dice.below(10_000)), String(16 + dice.below(33))];
    for (const [name, value] of [["Seed", want.seed], ["At most", want.length]]) {
      const box = page.getByRole("spinbutton", { name });
      await box.fill(value);
      await box.blur();
    }
    await unfold(page.locator("#conversation"));
    want.system = dice.pick(["", "You are a gardener.", "Answer in full sentences & with joy."]);
    await page.locator("#system").fill(want.system);
    await page.locator("#theme").click();
    want.theme = await page.locator("html").getAttribute("data-theme");
    return `seed ${want.seed}, ${want.length} tokens, theme ${want.theme}`;
  },

  async converse(session) {
    const { page, want } = session;
    if (want.turns.length >= 6) {
      await unfold(page.locator("#conversation"));
      await page.locator("#new-conversation").click();
      want.turns = [];
      return "a new conversation";
    }
    await write(session);
    // An empty answer cannot be kept.
    if (!await page.locator("#reply").isVisible()) return "no answer";
    await page.locator("#reply").click();
    const { turns } = await shown(page);
    assert.deepEqual(turns.slice(0, -1), [...want.turns, want.prompt]);
    [want.turns, want.prompt] = [turns, ""];
    return `turn ${turns.length / 2}`;
  },

  async train(session) {
    const { page, dice, number, want } = session;
    const [panel, name, isWhole] = [page.locator("#train"), `trained-${number}`, dice.coin()];
    for (const fold of [panel, page.locator("#train-more"), panel.locator("details", { hasText: "My own pairs" }).first()]) await unfold(fold);
    want.pairs = PAIRS;
    await page.locator("#train-own").fill(PAIRS);
    await page.locator("#train-own").blur();
    await page.locator("#train-pairs option[value='own:mine']").waitFor({ state: "attached" });
    await page.locator("#train-pairs").selectOption("own:mine");
    const fields = { name, layers: "20-21", rank: "1", steps: isWhole ? "2" : "200", batch: "1" };
    for (const [field, value] of Object.entries(fields)) await page.locator(`#train-${field}`).fill(value);
    await page.locator("#train-go:not(:disabled)").click();
    if (!isWhole) {
      await panel.locator(".work .figures", { hasText: /^step \d+ of 200 .* a step/ }).waitFor();
      await panel.getByRole("button", { name: "Stop and keep" }).click();
    }
    await panel.locator(".came li", { hasText: name }).waitFor();
    if (!isWhole) await panel.getByRole("button", { name: /^Throw away/ }).click();
    await panel.locator(".offer").waitFor({ state: "hidden" });
    await read(page);
    await write(session);
    // A reload would leave no more of it than its place.
    await remove(page, name);
    want.adapters = (await shown(page)).adapters;
    return isWhole ? "two steps" : "stopped";
  },

  async reload(session) {
    const isWriting = session.dice.coin();
    await (isWriting ? begin(session) : type(session));
    await reopen(session.page);
    return isWriting ? "while it writes" : "just after typing";
  },

  async load({ page }) {
    await (await forget(page)).click();
    await ready(page);
    return "from the server";
  },

  async tabs(session) {
    const { page, context, complaints, dice } = session;
    const isHere = await isKept(page);
    const other = await context.newPage();
    other.setDefaultTimeout(LONG);
    listen(other, complaints);
    await other.goto(page.url());
    await arrived(other, isHere);
    await type(session);
    await other.locator("#prompt").fill(sentence(dice));
    const ends = await Promise.all([run(page), run(other)]);
    await kept(session, ends.filter((end) => /^Done/.test(end)).length);
    await other.close();
    return "both write at once";
  },

  async kill(session) {
    const { page, dice } = session;
    if (dice.coin()) {
      await struck(session, "end", /ended without an error.*panic/s);
      return "while it writes";
    }
    const times = 1 + dice.below(3);
    for (let at = 0; at < times; at += 1) {
      await inWorkers(page, () => { setTimeout(() => close()); });
      await recovered(page);
    }
    await write(session);
    return `idle, ${times} in a row`;
  },

  async lose(session) {
    const { page, want } = session;
    const device = page.locator(".device");
    // In software whatever has no fast kernels takes minutes: only the first adapter acts, a LoRA.
    await calm(session);
    await turn(page, 1);
    want.adapters = (await shown(page)).adapters;
    // Nobody is offered a software GPU: the address asks for it, which follows what was turned a little late.
    await sleep(1000);
    const address = await page.evaluate(() => {
      const said = new URLSearchParams(location.hash.slice(1));
      said.set("device", "webgpu");
      said.set("software", "1");
      return `${location.href.split("#")[0]}#${said}`;
    });
    // Another address of the same page would only be a change within it.
    await page.goto("about:blank");
    await page.goto(address);
    await device.filter({ hasText: "WebGPU on" }).waitFor();
    await ready(page);
    await struck(session, "lose", /device-lost/);
    await device.getByRole("button", { name: "choose for me" }).click();
    await device.filter({ hasText: /^CPU/ }).waitFor();
    await ready(page);
    return "while it writes";
  },

  async fill(session) {
    const { page, cdp, proxy, dice } = session;
    const byQuota = dice.coin();
    const load = await forget(page);
    const full = (/** @type {boolean} */ isFull) => (byQuota
      ? cdp.send("Storage.overrideQuotaForOrigin", { origin: new URL(proxy.url).origin, ...(isFull ? { quotaSize: WHOLE / 2 } : {}) })
      : inWorkers(page, (is) => { globalThis.isFull = is; }, isFull));
    await full(true);
    await load.click();
    const error = page.locator("#model .error", { hasText: "quota-exceeded" });
    await error.waitFor();
    assert.match(await error.innerText(), /98\.4 MB are needed|needs 98\.4 MB/);
    await page.getByRole("button", { name: "Continue without keeping it" }).click();
    await ready(page);
    assert.match(await page.locator("#model-facts").innerText(), /not kept/);
    await write(session);
    await full(false);
    return byQuota ? "the site's share" : "the disk";
  },

  async cut(session) {
    const { page, proxy, dice } = session;
    await type(session);
    if (dice.coin() && await isKept(page)) {
      proxy.gone = true;
      await page.reload();
      await ready(page);
      await write(session);
      proxy.gone = false;
      return "before the page is opened anew";
    }
    const load = await forget(page);
    proxy.cut = 10e6 + dice.below(80e6);
    await load.click();
    const error = page.locator("#model .error", { hasText: "network" });
    await error.waitFor();
    inWords(await error.innerText());
    await page.getByRole("button", { name: "Try again" }).click();
    await ready(page);
    return "while the model comes";
  },
};

// ---- what has to hold -----------------------------------------------------------------------------

/** In this time the page has to answer a click, on a machine that does other things too. */
const ANSWER_MS = 20_000;

/** Waits until something reads as it should: the address follows a little late. @param {() => Promise<any>} reads @param {any} wanted */
async function comesTo(reads, wanted) {
  for (let tries = 0; tries < 20 && !isDeepStrictEqual(await reads(), wanted); tries += 1) await sleep(250);
  assert.deepEqual(await reads(), wanted);
}

/** @param {Session} session @param {RegExp} [mayLog] */
async function holds(session, mayLog = /^$/) {
  const { page, want, complaints } = session;
  // The page answers, and a text can be begun.
  await page.locator("#help").click({ timeout: ANSWER_MS });
  await page.locator("#keys[open]").waitFor({ timeout: ANSWER_MS });
  await page.keyboard.press("Escape");
  await page.locator("#keys:not([open])").waitFor({ state: "attached", timeout: ANSWER_MS });
  await ready(page);
  // Nothing is lost.
  await comesTo(() => shown(page), want);
  const { prompt, system, seed, length, adapters } = want;
  await comesTo(() => addressed(page), { prompt, system, seed, length, adapters });
  await recall(session);
  // Whatever went wrong is told.
  const hasFailed = /^Failed/.test(await page.locator("#status").textContent());
  assert.ok(!hasFailed || await page.locator("#notice").isVisible(), "a text failed in silence");
  for (const words of await page.locator("[role=alert]:visible").allInnerTexts()) if (words.trim()) inWords(words);
  const wrong = complaints.splice(0).filter((line) => !line.startsWith("warning: ") && !mayLog.test(line));
  assert.deepEqual(wrong, []);
}

/**
 * How much more than the first two rounds another may end with. In these everything was done once, and the history is
 * full. The module's memory never shrinks, and a method drawn later may keep whole matrices for all layers: 425 MB.
 */
const MORE = { scriptsMB: 16, nodes: 4000, listeners: 1500, moduleMB: 512 };

/** What the page takes, with a text in it and all methods in sight. @param {Session} session */
async function measured(session) {
  const { page, cdp } = session;
  await write(session);
  await unfold(page.locator("details.methods"));
  await cdp.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize } = await cdp.send("Runtime.getHeapUsage");
  const { nodes, jsEventListeners } = await cdp.send("Memory.getDOMCounters");
  const [, module] = /WebAssembly ([\d.,]+) MB/.exec(await page.locator("#memory").textContent()) ?? [];
  const [scriptsMB, moduleMB] = [Math.round((usedSize + backingStorageSize) / 1e6), Number(module?.replace(",", ""))];
  return { scriptsMB, nodes, listeners: jsEventListeners, moduleMB };
}

/** @param {(typeof MORE)[]} rounds */
function growsNot(rounds) {
  const now = rounds[rounds.length - 1];
  for (const what of /** @type {(keyof typeof MORE)[]} */ (Object.keys(MORE))) {
    const most = Math.max(...rounds.slice(0, 2).map((one) => one[what])) + MORE[what];
    assert.ok(now[what] <= most, `${what}: ${now[what]} is more than ${most}`);
  }
}

// ---- one after the other --------------------------------------------------------------------------

/** Random numbers, the same ones for a seed (mulberry32). @param {number} seed @returns {Dice} */
function diceOf(seed) {
  let state = seed >>> 0;
  const below = (/** @type {number} */ n) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 * n);
  };
  return { below, coin: () => below(2) === 0, pick: (list) => list[below(list.length)] };
}

/** @template T @param {T[]} list @param {Dice} dice @returns {T[]} */
function shuffled(list, dice) {
  const all = [...list];
  for (let at = all.length - 1; at > 0; at -= 1) {
    const other = dice.below(at + 1);
    [all[at], all[other]] = [all[other], all[at]];
  }
  return all;
}

/**
 * The page with the model in it, opened twice: so all of it has passed the service worker.
 * @param {any} browser @param {Session["proxy"]} proxy @returns {Promise<Session>}
 */
async function opened(browser, proxy) {
  const { page, context, complaints } = await open(browser, proxy.url + greedy("&n=32&p=Hello"));
  await loadModel(page);
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  await page.reload();
  await ready(page);
  const [cdp, want] = [await context.newCDPSession(page), await shown(page)];
  return { page, context, cdp, proxy, complaints, want, history: [], dice: diceOf(0), number: 0 };
}

const { values } = parseArgs({ options: { minutes: { type: "string" }, seed: { type: "string" }, actions: { type: "string" } } });
const seed = Number(values.seed ?? Date.now() % 100_000);
const last = Number(values.actions ?? Infinity);
const minutes = Number(values.minutes ?? (values.actions ? Infinity : 10));

/** @type {Session|undefined} */
let session;
/** What is done now, for whoever reads why it failed. */
let doing = "opening the page";
const browser = await launch({ gpu: true });
const proxy = await startProxy();
proxy.prelude = PRELUDE;
try {
  session = await opened(browser, proxy);
  const hasGpu = await session.page.evaluate(async () => Boolean(await navigator.gpu?.requestAdapter()));
  console.log(`seed ${seed}${hasGpu ? "" : "; no GPU, not even in software: none is lost"}`);
  await holds(session);
  const kinds = /** @type {(keyof typeof ACTIONS)[]} */ (Object.keys(ACTIONS)).filter((kind) => hasGpu || kind !== "lose");
  const order = diceOf(seed);
  /** @type {Record<string, number>} */
  const done = {};
  const rounds = [];
  const began = Date.now();
  const isOver = () => session.number >= last || Date.now() - began >= minutes * 60_000;
  while (!isOver()) {
    for (const kind of shuffled(kinds.flatMap((one) => Array(OFTEN[one]).fill(one)), order)) {
      if (isOver()) break;
      session.number += 1;
      // Its own: whatever it draws, all others draw the same.
      session.dice = diceOf(order.below(2 ** 32));
      doing = `action ${session.number}, ${kind}`;
      process.stdout.write(`${String(session.number).padStart(5)}  ${kind.padEnd(9)}`);
      const from = Date.now();
      const what = await ACTIONS[kind](session);
      await holds(session, MAY_LOG[kind]);
      done[kind] = (done[kind] ?? 0) + 1;
      console.log(`${what} (${((Date.now() - from) / 1000).toFixed(1)} s)`);
    }
    doing = `measuring after action ${session.number}`;
    rounds.push(await measured(session));
    console.log(`       after round ${rounds.length}: ${JSON.stringify(rounds.at(-1))}`);
    growsNot(rounds);
  }
  const counts = Object.entries(done).map(([kind, times]) => `${kind} ${times}`).join(", ");
  console.log(`all held: seed ${seed}, ${session.number} actions in ${((Date.now() - began) / 1000).toFixed(0)} s (${counts}); `
    + `memory first ${JSON.stringify(rounds[0])}, last ${JSON.stringify(rounds.at(-1))}`);
} catch (error) {
  process.exitCode = 1;
  const picture = join(process.env.SOAK_PICTURES ?? ".", `seed-${seed}-action-${session?.number ?? 0}.png`);
  const isTaken = await session?.page.screenshot({ path: picture, fullPage: true }).then(() => true, () => false);
  console.log(`\nfailed: seed ${seed}, ${doing}${isTaken ? `; ${picture} shows the page` : ""}\n${error.stack}\n`
    + `the page complained of: ${JSON.stringify(session?.complaints ?? [])}\n`
    + `the same again: cargo xtask soak --seed ${seed} --actions ${Math.max(1, session?.number ?? 0)}`);
} finally {
  await browser.close();
  proxy.close();
}
