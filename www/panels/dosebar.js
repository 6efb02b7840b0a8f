// In one column the adapters are a sheet: this bar at the foot opens it, names the adapter that was used last, and
// turns it beside the texts.
import { h, signed } from "../dom.js";
import { say } from "../say.js";
import { current, present } from "../state/acting.js";
import { isRefused } from "../state/refused.js";
import { coefficient } from "./coefficient.js";

/**
 * @param {HTMLElement} root
 * @param {HTMLDialogElement} sheet
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function doseBar(root, sheet, store, actions) {
  let key = "";
  const name = h("span", {}, say("adapters.title"));
  // What is wrong is told in the sheet, which is closed.
  const wrong = h("span.error", { hidden: true }, say("dosebar.wrong"));
  const open = h("button", { type: "button", id: "adapters-open", "aria-haspopup": "dialog", onclick: () => sheet.showModal() }, name, wrong);
  const turned = coefficient("dosebar", () => key, actions);
  root.append(open, turned.box, turned.track, turned.budget, turned.poles);
  root.hidden = false;
  store.watch(["adapters", "active", "recording", "measured", "units", "model", "shelf"], (state) => {
    const here = present(state.adapters).filter((one) => !isRefused(one, state));
    const adapter = here.find((one) => one.key === current(state)?.key) ?? here[0];
    wrong.hidden = !state.shelf.error && !state.adapters.some((one) => one.wanted || one.refused || (one.error && !one.card));
    name.textContent = adapter ? `${adapter.title} ${signed(adapter.coefficient)}` : say("adapters.title");
    open.setAttribute("aria-label", [adapter && say("adapters.title"), name.textContent, !wrong.hidden && wrong.textContent].filter(Boolean).join(", "));
    for (const part of [turned.box, turned.track, turned.budget, turned.poles]) part.hidden = !adapter;
    key = adapter?.key ?? "";
    root.dataset.sign = adapter ? turned.sign(adapter) : "zero";
    if (adapter) turned.update(adapter, state);
  });
}
