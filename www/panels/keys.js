// Shortcuts. Single keys act only where nothing is being typed, and can be switched off.
import { step as stepped } from "../dose.js";
import { recall, remember } from "../remember.js";
import { current } from "../state/acting.js";
import { PANEL_KEYS, holding, visit } from "./places.js";
import { reseed } from "./prompt.js";
import { openFilter } from "./zoo.js";

const STORED = "playground.single-keys";

/**
 * @param {HTMLDialogElement} dialog
 * @param {HTMLInputElement} toggle
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {{share: () => void, columns: HTMLElement, lesson: (by: number) => void}} page the link, the texts, and what goes through a lesson's steps
 */
export function keys(dialog, toggle, store, actions, page) {
  toggle.checked = recall(STORED) !== "off";
  toggle.addEventListener("change", () => remember(STORED, toggle.checked ? "on" : "off"));

  const turn = (/** @type {(c: number) => number} */ law) => {
    const adapter = current(store.state);
    if (adapter) actions.setCoefficient(adapter.key, law(adapter.coefficient));
  };
  /** By so much, or by the steps that the recording has. */
  const by = (/** @type {number} */ sum) => turn((c) => stepped(c, store.state.recording.shown ? Math.sign(sum) / 2 : sum));
  const step = (/** @type {number} */ by) => {
    const { selected, tokens } = store.state.run;
    actions.select((selected ?? (tokens?.length ?? 0) - (by > 0 ? 1 : 0)) + by);
  };
  const base = holding(page.columns);
  /** @type {Record<string, () => void>} */
  const single = {
    "[": () => by(-0.05),
    "]": () => by(0.05),
    "{": () => by(-0.25),
    "}": () => by(0.25),
    0: () => turn(() => 0),
    "-": () => turn((c) => (c === 0 ? 0 : -c)),
    ",": () => step(-1),
    ".": () => step(1),
    j: () => actions.nextMethod(1),
    k: () => actions.nextMethod(-1),
    "/": openFilter,
    n: () => page.lesson(1),
    p: () => page.lesson(-1),
    r: () => reseed(store),
    s: () => page.share(),
    b: () => base.begin(),
    ...Object.fromEntries(PANEL_KEYS.map((key) => [key, () => visit(key)])),
    "?": () => dialog.showModal(),
  };

  addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      // What is still being typed counts too.
      const typing = document.activeElement;
      if (typing instanceof HTMLElement && typing.matches("input, textarea:not(#prompt)")) {
        typing.blur();
        typing.focus({ preventScroll: true });
      }
      if (store.state.model.status === "ready") actions.run();
      // What has to be pressed first.
      else /** @type {HTMLElement|null} */ (document.querySelector("#load-run:not([hidden], :disabled)") ?? document.querySelector("#model button.primary"))?.focus();
      return;
    }
    // What lies open is closed first.
    if (event.key === "Escape" && !document.querySelector("dialog[open], :popover-open")) return actions.stop();
    const typing = event.target instanceof HTMLElement
      && (event.target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])") || event.target.isContentEditable);
    if (typing || document.querySelector("dialog[open]") || !toggle.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = single[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
  addEventListener("keyup", ({ key }) => { if (key.toLowerCase() === "b") base.end(); });
}
