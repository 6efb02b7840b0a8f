// On a small screen the adapters are far from the texts: this bar at its foot turns the one that was
// used last, or another that is chosen here.
import { h } from "../dom.js";
import { say } from "../say.js";
import { current, present } from "../state/acting.js";
import { isRefused } from "../state/refused.js";
import { coefficient } from "./coefficient.js";

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function doseBar(root, store, actions) {
  const choice = h("select", { "aria-label": say("dosebar.choice"), onchange: () => store.set({ active: choice.value }) });
  const turned = coefficient("dosebar", () => choice.value, actions);
  root.append(choice, turned.box, turned.track, turned.budget, turned.poles);
  let names = "";
  store.watch(["adapters", "active", "recording", "measured", "units", "model"], (state) => {
    const here = present(state.adapters).filter((one) => !isRefused(one, state));
    const adapter = here.find(({ key }) => key === current(state)?.key) ?? here[0];
    root.hidden = !adapter;
    if (!adapter) return;
    const now = JSON.stringify(here.map(({ key, title }) => [key, title]));
    if (now !== names) {
      names = now;
      choice.replaceChildren(...here.map(({ key, title }) => h("option", { value: key }, title)));
    }
    choice.value = adapter.key;
    turned.update(adapter, state);
    root.dataset.sign = turned.sign(adapter);
  });
}
