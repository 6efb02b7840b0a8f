// The two texts, growing token by token, with the place where they part; side by side, or one of
// them, or what they share and what they do not.
import { closest, errorParts, h, signed, textOf } from "../dom.js";
import { remember } from "../remember.js";
import { numbers, parts, say } from "../say.js";
import { doses, signOf, trail, trailWords, words } from "../state/acting.js";
import { isKept } from "../state/conversation.js";
import { meanKl, writesAside } from "../state/runs.js";
import { changedSince, otherwise } from "../state/since.js";
import { isOver, isWriting } from "../state/store.js";
import { ONE_TEXT } from "../widths.js";
import { replyButton } from "./conversation.js";
import { openedNote } from "./opened.js";
import { LEVELS, ends, pieces } from "./pieces.js";
import { term } from "./glossary.js";

const VIEWS = /** @type {const} */ (["both", "base", "steered", "difference"]);

/**
 * @typedef {import("../state/store.js").Token} Token
 * @typedef {import("../state/store.js").Run} Run
 * @typedef {import("../actions.js").Actions} Actions
 * @typedef {"base"|"steered"} Lane
 */

/**
 * @param {{columns: HTMLElement, base: HTMLElement, steered: HTMLElement, difference: HTMLElement, dose: HTMLElement, doseBeside: HTMLElement,
 *   below: HTMLElement, status: HTMLElement, notice: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {Actions} actions
 * @param {{again: () => void, unlike: () => string}} replay
 */
export function outputPanel({ columns, base, steered, difference, dose, doseBeside, below, status, notice }, store, actions, replay) {
  /** @type {{root: HTMLElement, lane: Lane, empty: string}[]} */
  const lanes = [
    { root: base, lane: "base", empty: say("texts.base.empty") },
    { root: steered, lane: "steered", empty: say("texts.steered.empty") },
  ];
  /** @type {Token[]|null} */
  let tokens = null;
  let drawn = 0;
  /** @type {number|null} */
  let selected = null;
  const forks = fork(difference);

  const narrow = matchMedia(ONE_TEXT);
  const stats = h("p.stats", { id: "stats", role: "group", "aria-label": say("stats.label") });
  const now = h("p.now", { id: "steered-now", hidden: true });
  const recorded = h("p.recorded", { id: "recorded", hidden: true });
  const replayButton = h("button.quiet", { type: "button", onclick: replay.again }, say("recorded.again"));
  below.append(h("div.row.under", {}, legend(), viewSwitch(columns)), stats);
  columns.before(h("div.notes", {}, recorded, openedNote(store, actions), now, replyButton(store, actions)));

  for (const root of [base, steered, difference]) {
    root.tabIndex = 0;
    root.addEventListener("click", (event) => {
      const token = closest(event, "[data-at]");
      if (!token) return;
      actions.select(Number(token.dataset.at));
      // On a small screen it is opened far below.
      if (narrow.matches) document.getElementById("token")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    });
    root.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      actions.select((store.state.run.selected ?? -by + (by > 0 ? 0 : drawn)) + by);
    });
  }

  store.watch(["run"], ({ run, runs }) => {
    const busy = isWriting(run);
    if (run.tokens !== tokens || !run.tokens) {
      tokens = run.tokens;
      drawn = 0;
      selected = null;
      for (const { root, empty } of lanes) root.replaceChildren(tokens ? "" : h("p.empty", {}, empty));
      forks.clear(tokens ? "" : say("texts.difference.empty"));
    }
    const had = drawn;
    for (; tokens && drawn < tokens.length; drawn += 1) {
      const token = tokens[drawn];
      for (const { root, lane } of lanes) root.append(...pieces(token, lane, drawn === run.split, run));
      forks.add(token, run);
    }
    for (const { root, lane } of lanes) root.setAttribute("aria-busy", String(busy && !(tokens && finishOf(tokens, lane))));
    difference.setAttribute("aria-busy", String(busy));
    if (run.selected !== selected) {
      for (const root of [base, steered, difference]) {
        for (const old of root.querySelectorAll("[data-selected]")) old.removeAttribute("data-selected");
        if (run.selected !== null) for (const one of root.querySelectorAll(`[data-at="${run.selected}"]`)) one.setAttribute("data-selected", "");
      }
    }
    selected = run.selected;
    // A whole text that comes at once is read from its beginning.
    if (busy && had > 0) follow([base, steered, difference]);
    columns.dataset.sign = below.dataset.sign = tokens?.length ? signOf(tokens[tokens.length - 1]) : "plus";
    showStats(stats, run);
    // What is opened again is said beside the texts.
    const said = runs.opened ? "" : sentence(run);
    if (status.textContent !== said) status.textContent = said;
  });

  const what = h("span");
  recorded.append(what, " ", replayButton);
  let said = "";
  store.watch(["recording", "engine"], ({ recording, engine }) => {
    recorded.title = recording.model;
    const key = engine.status === "failed" ? "recorded.only" : "recorded.what";
    if (key !== said) what.replaceChildren(...(key === "recorded.only" ? [say("recorded.only")] : parts("recorded.what", { c: term("c", "c") })));
    said = key;
  });
  store.watch(["run", "engine", "model"], (state) => showNotice(notice, state, actions));
  const rerun = h("input", { type: "checkbox", id: "rerun", onchange: () => { remember("playground.rerun", rerun.checked ? "on" : "off"); store.set({ rerun: rerun.checked }); } });
  const again = h("button", { type: "button", id: "again", onclick: () => actions.run() }, say("texts.again"));
  const byItself = h("label.check", {}, rerun, say("texts.again.itself"));
  const why = h("span");
  now.append(why, again, byItself);
  store.watch(["run", "adapters", "model", "prompt", "chat", "sampling", "maxTokens", "stop", "klAfterSplit", "rerun", "active", "system", "turns", "variables", "work"], (state) => {
    const { run, adapters, model } = state;
    const way = trail(run.tokens ?? []);
    const text = way.length ? trailWords(way) : words(run.recorded ? [] : doses(adapters));
    for (const place of [dose, doseBeside]) if (place.textContent !== text) place.textContent = text;
    const over = isOver(run);
    const since = run.recorded || run.status === "idle" ? replay.unlike() : sinceWords(state, actions, over);
    now.hidden = !since;
    // One line for either, so that nothing moves.
    recorded.hidden = !run.recorded || Boolean(since);
    if (why.textContent !== since) why.textContent = since;
    again.hidden = !over || model.status !== "ready" || Boolean(run.recorded) || isKept(state) || writesAside(state.work);
    byItself.hidden = again.hidden;
    rerun.checked = state.rerun;
  });
}

/** What is set differently now than when the text was written, in words. @param {import("../state/store.js").State} state @param {Actions} actions @param {boolean} over */
function sinceWords(state, actions, over) {
  const { run, adapters } = state;
  if (!run.request) return "";
  if (!over) return otherwise(run.request, actions.request()) ? say("since.next") : "";
  const what = changedSince(state, actions.request());
  if (what === "model") return say("since.model", { name: run.model?.name ?? "" });
  if (what !== "turned") return what && say(`since.${what}`);
  const [present, last] = [doses(adapters), trail(run.tokens ?? []).at(-1) ?? []];
  const alone = present.length === 1 && last.length === 1 && present[0].key === last[0].key;
  return say("since.turned", { now: alone ? signed(present[0].c) : words(present) });
}

/** The shared beginning, and how each text goes on. @param {HTMLElement} root */
function fork(root) {
  const shared = h("p.shared");
  const ways = /** @type {Lane[]} */ (["base", "steered"]).map((lane) => {
    const text = h("p");
    return { lane, text, element: h(`div.way.${lane}`, { hidden: true }, h("h4", {}, say(`texts.way.${lane}`)), text) };
  });
  return {
    clear(/** @type {string} */ empty) {
      shared.replaceChildren(empty && h("span.empty", {}, empty));
      for (const { text, element } of ways) {
        text.replaceChildren();
        element.hidden = true;
      }
      root.replaceChildren(shared, ...ways.map(({ element }) => element));
    },
    add(/** @type {Token} */ token, /** @type {Run} */ run) {
      if (run.split === null || token.index < run.split) return shared.append(...pieces(token, token.steered ? "steered" : "base", false, run));
      for (const { lane, text, element } of ways) {
        element.hidden = false;
        text.append(...pieces(token, lane, false, run));
      }
    },
  };
}

/** What the marks in the texts mean. */
function legend() {
  const plain = numbers({});
  const swatches = LEVELS.map((from, at) => {
    const swatch = h("span.tok", {}, plain(from));
    swatch.dataset.kl = String(at + 1);
    return swatch;
  });
  const split = h("span.tok", {}, say("legend.split"));
  split.dataset.split = "";
  return h("p.legend", {}, h("span", {}, ...parts("legend.distance", { kl: term("kl"), nats: term("nats") })), ...swatches, split);
}

/** Which texts are in sight. Side by side needs room: without it that is what both share and do not. @param {HTMLElement} columns */
function viewSwitch(columns) {
  const narrow = matchMedia(ONE_TEXT);
  const inputs = VIEWS.map((view) => h("input", { type: "radio", name: "view", value: view, onchange: () => show(view) }));
  const show = (/** @type {string} */ view) => {
    const fitting = view === "both" && narrow.matches ? "difference" : ["base", "steered"].includes(view) && !narrow.matches ? "both" : view;
    columns.dataset.view = fitting;
    for (const input of inputs) input.checked = input.value === fitting;
  };
  narrow.addEventListener("change", () => show(narrow.matches ? String(columns.dataset.view) : "both"));
  show("both");
  return h("fieldset.segmented.views", {}, h("legend.sr", {}, say("views.label")),
    ...VIEWS.map((view, at) => h(`label.view-${view}`, {}, inputs[at], h("span", {}, say(`views.${view}`)))));
}

/** Keeps the growing end in sight inside each column, unless the reader has scrolled up. @param {HTMLElement[]} roots */
function follow(roots) {
  for (const root of roots) {
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 120) root.scrollTop = root.scrollHeight;
  }
}

/** @param {HTMLElement} root @param {Run} run */
function showStats(root, run) {
  const { tokens, split, firstAt, lastAt, prefill } = run;
  if (run.status === "waiting") {
    return root.replaceChildren(h("span.stat", {}, ...parts("stats.waiting", { names: h("b", {}, run.waitsFor.join(", ")) })));
  }
  if (!tokens) return root.replaceChildren();
  const made = tokens.length;
  const since = made - run.kept;
  const used = tokens.findLast(({ cache }) => cache !== "current")?.cache;
  const dose = meanKl(tokens);
  /** @type {[name: string|Node, value: string][]} */
  const facts = [];
  const fact = (/** @type {string|Node} */ name, /** @type {string} */ value) => facts.push([name, value]);
  fact(say("stats.tokens"), say("stats.tokens.of", { made, limit: run.limit ?? 0 }));
  const given = tokens.filter((token) => token.given).length;
  if (given) fact(say("stats.given"), String(given));
  if (since > 1 && firstAt && lastAt) fact(say("stats.speed"), say("stats.speed.is", { rate: ((since - 1) / ((lastAt - firstAt) / 1000)).toFixed(1) }));
  if (firstAt) fact(say("stats.first"), say("stats.first.is", { seconds: ((firstAt - run.startedAt) / 1000).toFixed(2) }));
  if (run.status === "prefill" && prefill) fact(say("stats.prompt"), say("stats.tokens.of", { made: prefill.doneTokens, limit: prefill.totalTokens }));
  if (made > 0) {
    fact(say("stats.split"), split !== null && split < made ? say("stats.split.at", { token: split + 1 })
      : say(["done", "played"].includes(run.status) ? "stats.split.never" : "stats.split.not"));
  }
  if (dose !== null) fact(term("dose"), say("stats.dose.is", { nats: dose.toFixed(2) }));
  if (run.status === "done" && ended(run)) fact(say("stats.ended"), ended(run));
  if (used) fact(say("stats.cache"), say(`stats.cache.${used}`));
  const text = JSON.stringify(facts.map(([name, value]) => [textOf([name]), value]));
  // A word that is being read must not vanish under the finger.
  if (root.dataset.text === text) return;
  root.dataset.text = text;
  const open = root.contains(document.activeElement);
  root.replaceChildren(...facts.map(([name, value]) => h("span.stat", {}, h("span", {}, name), " ", h("b", {}, value))));
  if (open) /** @type {HTMLElement|null} */ (root.querySelector(".term"))?.focus();
}

/** Why a text ended, if it has. @param {Token[]} tokens @param {Lane} lane */
const finishOf = (tokens, lane) => tokens.findLast((token) => token[lane])?.[lane]?.finish;

/** Why the texts ended; of each, where they ended differently. @param {Run} run */
function ended(run) {
  const why = (/** @type {Lane} */ lane) => {
    const finish = finishOf(run.tokens ?? [], lane);
    return finish ? say(`ends.${finish}`, ends(run)) : "";
  };
  const [base, steered] = [why("base"), why("steered")];
  return base === steered || !base ? steered : say("ends.each", { base, steered });
}

/** One sentence for those who listen, when it begins and when it is over: quiet while it writes. @param {Run} run */
function sentence(run) {
  const n = run.tokens?.length ?? 0;
  const split = () => (run.split === null || run.split >= n ? say("status.same") : say("status.part", { token: run.split + 1 }));
  switch (run.status) {
    case "waiting": return say("status.waiting", { names: run.waitsFor.join(` ${say("status.and")} `) });
    case "prefill": case "streaming": return say("status.writing");
    case "playing": return "";
    case "played": return say("status.recorded", { n, split: split() });
    case "done": return say("status.done", { n, split: split(), end: ended(run) ? `; ${ended(run)}` : "" });
    case "stopped": return say("status.stopped", { n });
    case "failed": return say("status.failed", { message: run.error?.message ?? "" });
    default: return "";
  }
}

/** @param {HTMLElement} root @param {import("../state/store.js").State} state @param {Actions} actions */
function showNotice(root, { run, engine, model }, actions) {
  const error = run.status === "failed" ? run.error : null;
  const key = JSON.stringify([error, engine.status, model.status === "ready"]);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.hidden = !error;
  if (!error) return root.replaceChildren();
  const lost = error.code === "device-lost" || error.code === "panic";
  const n = run.tokens?.length ?? 0;
  const ready = engine.status === "ready" && model.status === "ready";
  root.replaceChildren(
    h("p", {}, ...errorParts(error)),
    lost ? h("p", {}, n ? `${say("notice.kept", { n })} ` : "", ready || engine.status === "crashed" ? "" : say("notice.starting")) : "",
    lost && engine.status === "crashed" ? h("button", { type: "button", onclick: actions.restart }, say("notice.restart")) : "",
    lost && ready ? h("button", { type: "button", onclick: () => actions.run({ resume: true }) }, say("notice.resume")) : "");
}
