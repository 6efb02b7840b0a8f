// The steps of which the actions of ../soak.mjs consist, and what the page shows of all that must not be lost.
import assert from "node:assert/strict";

import { MOST } from "../../www/state/runs.js";
import { THE_DEVICE, finished, inWorkers, loadModel, ready, text, tokens, turn } from "../e2e/support.mjs";

/**
 * @typedef {{below: (n: number) => number, coin: () => boolean, pick: <T>(list: T[]) => T}} Dice
 * @typedef {Awaited<ReturnType<typeof shown>>} Shown
 *
 * @typedef {object} Session
 * @property {any} page
 * @property {any} context
 * @property {any} cdp             a session of Chromium's own protocol with the page
 * @property {Awaited<ReturnType<typeof import("../e2e/support.mjs").startProxy>>} proxy
 * @property {string[]} complaints of all tabs, since the last action
 * @property {Shown} want          what the page has to show: an action writes into it what it changes
 * @property {string[]} history    ids of the runs that are kept, the newest first
 * @property {Dice} dice           of the present action
 * @property {number} number       of the present action
 */

/** Bytes of the model's file. */
export const WHOLE = 98_362_432;
/** Where the page keeps its runs. */
const HISTORY = "playground.history";

/**
 * For each worker: `strike(fault, steps)` ends it, or loses its device, with that step of a text; while `isFull`
 * nothing can be kept.
 */
export const PRELUDE = `{
  ${THE_DEVICE}
  let [fault, left] = ["", 0];
  globalThis.strike = (what, steps) => { [fault, left] = [what, steps]; };
  const post = self.postMessage.bind(self);
  self.postMessage = (message) => {
    post(message);
    if (!message.step || --left !== 0) return;
    if (fault === "end") close();
    else globalThis.theDevice.destroy();
  };
  const { write } = FileSystemSyncAccessHandle.prototype;
  FileSystemSyncAccessHandle.prototype.write = function (...args) {
    if (globalThis.isFull) throw new DOMException("no space", "QuotaExceededError");
    return write.apply(this, args);
  };
}`;

// ---- what there is to see -----------------------------------------------------------------------

/** What the page shows of all that must not be lost. @param {any} page */
export const shown = (page) => page.evaluate(() => {
  const value = (id) => document.getElementById(id).value;
  // The first is the seed, the last the length.
  const numbers = [...document.querySelectorAll(".settings input[type=number]")].map((box) => box.value);
  return {
    prompt: value("prompt"), system: value("system"), seed: numbers[0], length: numbers.at(-1),
    adapters: [...document.querySelectorAll("#adapter-list > .adapter")].map((card) =>
      // A minus sign is a hyphen in the address.
      [card.dataset.adapter, card.querySelector(".dose-box")?.value.replace("−", "-"), card.querySelector("[role=switch]")?.checked]),
    turns: [...document.querySelectorAll(".turns p")].map(({ textContent }) => textContent),
    pairs: value("train-own"), theme: document.documentElement.dataset.theme,
  };
});

/** What the address says of it, in the same form. @param {any} page */
export const addressed = (page) => page.evaluate(() => {
  const said = new URLSearchParams(location.hash.slice(1));
  return {
    prompt: said.get("p") ?? "", system: said.get("sys") ?? "", seed: said.get("seed"), length: said.get("n"),
    adapters: (said.get("a") ?? "").split(",").map((one) => {
      const [name, c, ...more] = one.split(":");
      return [decodeURIComponent(name), c, !more.includes("off")];
    }),
  };
});

/** Words for people: a sentence, and nothing of the program's own. @param {string} words */
export function inWords(words) {
  assert.ok(words.trim().split(/\s+/).length >= 4 && !/panick|unwrap|\.rs\b|::/.test(words), `this is all that is told: “${words}”`);
}

/** Reads which runs are kept: of earlier ones only those that were too many may be gone. @param {Session} session */
export async function recall(session) {
  const { page, history: before } = session;
  const now = await page.evaluate((key) => JSON.parse(localStorage.getItem(key) ?? "[]").map(({ id }) => id), HISTORY);
  const gone = before.filter((id) => !now.includes(id));
  assert.deepEqual(gone, now.length < MOST ? [] : before.slice(before.length - gone.length), "runs are missing from the history");
  session.history = now;
}

/** Waits until so many more runs are kept. @param {Session} session @param {number} many */
export async function kept(session, many) {
  await session.page.waitForFunction(([key, known, many]) =>
    JSON.parse(localStorage.getItem(key) ?? "[]").filter(({ id }) => !known.includes(id)).length >= many, [HISTORY, session.history, many]);
  await recall(session);
}

// ---- texts --------------------------------------------------------------------------------------

const THINGS = ["your garden", "the weather", "a winter by the sea", "music", "an old friend", "the city at night", "rivers"];
const ENDS = [".", ": 100 % & more, a=b, c:d?", " – „Grüße“ 🌊!"];

/** @param {Dice} dice */
export const sentence = (dice) => `Tell me about ${dice.pick(THINGS)} and ${dice.pick(THINGS)}${dice.pick(ENDS)}`;

/** Types another prompt. @param {Session} session */
export async function type({ page, dice, want }) {
  want.prompt = sentence(dice);
  await page.locator("#prompt").fill(want.prompt);
}

/** Begins a text, and waits until there is a little of it. @param {Session} session */
export async function begin(session) {
  await type(session);
  await session.page.locator("#run").click();
  // A text that is steered too far may end at once.
  await tokens(session.page, 2, "base");
}

/**
 * Waits until a text is over and kept. Where the model fell apart, that has to be told, and all is turned back.
 * @param {Session} session @param {RegExp} [ends]
 * @returns {Promise<boolean>} whether it was written as it was asked
 */
export async function over(session, ends = /^Done/) {
  const { page } = session;
  const status = await finished(page);
  if (/^Failed/.test(status)) {
    assert.match(await page.locator("#notice").innerText(), /not finite.*diverged/s);
    await calm(session);
    await write(session);
    return false;
  }
  assert.match(status, ends);
  await kept(session, 1);
  return true;
}

/** Writes a text. @param {Session} session */
export async function write(session) {
  await type(session);
  await session.page.locator("#run").click();
  return over(session);
}

/**
 * Writes a text whose engine is lost in its midst: that is told, and the text goes on from where it was.
 * @param {Session} session @param {"end"|"lose"} fault @param {RegExp} says
 */
export async function struck(session, fault, says) {
  const { page, dice } = session;
  await inWorkers(page, ([what, steps]) => globalThis.strike(what, steps), [fault, 2 + dice.below(3)]);
  await type(session);
  await page.locator("#run").click();
  const notice = page.locator("#notice", { hasText: says });
  await notice.waitFor();
  inWords(await notice.innerText());
  const before = await text(page, "steered");
  await page.locator("#status", { hasText: /^Done|not finite/ }).waitFor({ state: "attached" });
  const after = await text(page, "steered");
  assert.ok(after.startsWith(before), `“${before}” was there, and then “${after}”`);
  await over(session);
}

// ---- adapters -----------------------------------------------------------------------------------

/** Turns all adapters to the base. @param {Session} session */
export async function calm({ page, want }) {
  for (const [at, [, c]] of (await shown(page)).adapters.entries()) if (c !== "0") await turn(page, 0, at);
  want.adapters = (await shown(page)).adapters;
}

/** Takes an adapter off the list. @param {any} page @param {string} name */
export async function remove(page, name) {
  const card = page.locator(`.adapter[data-adapter="${name}"]`);
  await unfold(card.locator("details.more"));
  await card.getByRole("button", { name: "Remove from the list" }).click();
  await card.waitFor({ state: "detached" });
}

/** Waits until the engine has read what it was given. @param {any} page */
export const read = (page) => page.waitForFunction(() => !document.querySelector(".adapter[aria-busy=true]"));

export const unfold = (/** @type {any} */ fold) => fold.evaluate((details) => { details.open = true; });

// ---- the model ----------------------------------------------------------------------------------

/** Whether the browser keeps the whole model. @param {any} page @returns {Promise<boolean>} */
export const isKept = (page) => page.evaluate(async (whole) => {
  const folder = await (await navigator.storage.getDirectory()).getDirectoryHandle("models").catch(() => null);
  if (!folder) return false;
  for await (const [name, handle] of folder.entries()) if (name.endsWith(".gguf") && (await handle.getFile()).size === whole) return true;
  return false;
}, WHOLE);

/** A kept model loads by itself, any other is asked for. @param {any} page @param {boolean} isHere */
export const arrived = (page, isHere) => (isHere ? ready(page) : loadModel(page));

/** Opens the page anew. @param {any} page */
export async function reopen(page) {
  const isHere = await isKept(page);
  await page.reload();
  await arrived(page, isHere);
}

/**
 * Deletes what is kept of the model and opens the page anew, which offers it then.
 * @param {any} page @returns {Promise<any>} the button that loads it
 */
export async function forget(page) {
  if (await isKept(page)) {
    await page.locator("#storage-open").click();
    await page.locator("#storage").getByRole("button", { name: /^Delete: .*\.gguf$/ }).click();
    await page.locator("#storage [role=status]", { hasText: "Deleted." }).waitFor();
    await page.keyboard.press("Escape");
  }
  await page.reload();
  const load = page.locator("#model button.primary:not(:disabled)");
  await load.waitFor();
  return load;
}

/** Waits until the page has missed its engine and has another, with the model; after some it asks first. @param {any} page */
export async function recovered(page) {
  const isBusy = page.locator("#run:disabled");
  const again = page.getByRole("button", { name: "Start again" });
  await isBusy.or(again).first().waitFor();
  if (await again.isVisible()) {
    inWords(await page.locator(".device .error").innerText());
    await again.click();
    await isBusy.waitFor();
  }
  await ready(page);
}

// ---- training -----------------------------------------------------------------------------------

/** Pairs of one's own, as a table. Of the first eight, two say when to stop. */
export const PAIRS = [
  ["How was your day?", "It was wonderful, thank you!", "It was awful, leave me alone."],
  ["How is the soup?", "It is delicious and warm.", "It is cold and tastes of nothing."],
  ["What is the weather like?", "The sun is out, a lovely day.", "It rains, a miserable day."],
  ["How do you like the town?", "I love it, people are kind.", "I hate it, people are rude."],
  ["How was the film?", "It was a joy to watch.", "It was a waste of time."],
  ["How is your room?", "It is bright and cosy.", "It is dark and damp."],
  ["How was the journey?", "It was quick and pleasant.", "It was long and tiring."],
  ["How is the new teacher?", "She is patient and funny.", "She is strict and dull."],
].map((row) => row.join("\t")).join("\n");
