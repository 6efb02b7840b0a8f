// The last runs as rows: opened again, the page set like them, pinned, exported, deleted.
import { h } from "../dom.js";
import { say } from "../say.js";
import { MOST, PINS, firstLine, mayPin, turnedWords } from "../state/runs.js";
import { isAsked } from "../state/store.js";
import { exports } from "./export.js";
import { factsOf } from "./written.js";

/** @typedef {import("../state/runs.js").Kept} Kept */

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function historyPanel(store, actions) {
  const none = h("p.hint", {}, say("runs.history.none"));
  const unkept = h("p.hint", { role: "status" }, say("runs.history.unkept"));
  const told = h("p.hint", { role: "status" });
  const list = h("ol.history", { "aria-label": say("runs.tab.history") });
  const compare = h("button", { type: "button", id: "compare-pinned", onclick: () => actions.comparePinned() }, say("runs.compare-pinned"));
  const clear = h("button.quiet", { type: "button", onclick: () => actions.forgetRuns() }, say("runs.delete-all"));
  const all = exports(() => ({ kind: "history", runs: store.state.runs.history }));
  /** Rows by id. @type {Map<string, ReturnType<typeof row>>} */
  let rows = new Map();

  store.watch(["runs", "run"], ({ runs, run }, changed) => {
    const { history } = runs;
    none.hidden = history.length > 0;
    unkept.hidden = !runs.unkept || !history.length;
    if (told.textContent !== runs.told) told.textContent = runs.told;
    told.hidden = !runs.told;
    compare.hidden = !history.some(({ pinned }) => pinned);
    clear.hidden = !history.some(({ pinned }) => !pinned);
    all.element.hidden = !history.length;
    const busy = isAsked(run);
    const keys = history.map(({ id }) => id).join();
    if (list.dataset.keys !== keys) {
      list.dataset.keys = keys;
      const focus = document.activeElement;
      const at = focus instanceof HTMLElement ? [...list.children].findIndex((item) => item.contains(focus)) : -1;
      rows = new Map(history.map((kept) => [kept.id, rows.get(kept.id) ?? row(kept, store, actions)]));
      list.replaceChildren(...[...rows.values()].map(({ element }) => element));
      // After one was deleted the next has the focus.
      if (at >= 0) /** @type {HTMLElement|null} */ (list.children[Math.min(at, list.children.length - 1)]?.querySelector("button") ?? null)?.focus();
      all.update();
    }
    if (changed.has("runs") || busy !== (list.dataset.busy === "true")) {
      list.dataset.busy = String(busy);
      for (const kept of history) rows.get(kept.id)?.update(kept, runs.opened === kept.id, mayPin(history, kept.id), busy);
    }
  });
  return h("div.runs-body", {}, h("p.hint", {}, say("runs.history.hint", { most: MOST, pins: PINS })), unkept, none, told, list, h("div.row", {}, compare, clear), all.element);
}

/** @param {Kept} first @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
function row(first, store, actions) {
  const { id } = first;
  const title = turnedWords(first);
  const now = () => store.state.runs.history.find((one) => one.id === id) ?? first;
  const open = h("button", { type: "button", "aria-label": say("runs.open.of", { title }), onclick: () => { actions.openRun(id); document.getElementById("columns")?.scrollIntoView({ block: "nearest" }); } }, say("runs.open"));
  const set = h("button", { type: "button", "aria-label": say("runs.set.of", { title }), onclick: () => actions.setLike(now()) }, say("runs.set"));
  const pin = h("button.pin", { type: "button", "aria-label": say("runs.pin.of", { title }), onclick: () => actions.pin(id, pin.getAttribute("aria-pressed") !== "true") }, say("runs.pin"));
  const remove = h("button.quiet", { type: "button", "aria-label": say("runs.delete.of", { title }), onclick: () => actions.forgetRun(id) }, say("runs.delete"));
  const facts = h("p.hint");
  const out = exports(() => ({ kind: "run", runs: [now()] }), say("runs.export.of", { title }));
  const element = h("li", {}, h("p.kept-head", {}, h("b", {}, title), " ", h("span.wrote", { lang: "en" }, firstLine(first))), facts, h("div.row.kept-does", {}, open, set, pin, remove, out.element));
  return {
    element,
    /** @param {Kept} kept @param {boolean} opened @param {boolean} may @param {boolean} busy */
    update(kept, opened, may, busy) {
      facts.textContent = factsOf(kept);
      pin.setAttribute("aria-pressed", String(Boolean(kept.pinned)));
      pin.disabled = !kept.pinned && !may;
      pin.title = pin.disabled ? say("runs.pin.full", { pins: PINS }) : "";
      open.disabled = busy || opened;
      if (opened) element.setAttribute("aria-current", "true");
      else element.removeAttribute("aria-current");
    },
  };
}
