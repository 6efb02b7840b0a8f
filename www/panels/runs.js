// Runs: those that were, and several at once. Four tabs in one fold.
import { h } from "../dom.js";
import { say } from "../say.js";
import { batchPanel } from "./batch.js";
import { comparePanel } from "./compare.js";
import { fanPanel } from "./fan.js";
import { historyPanel } from "./history.js";

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function runsPanel(store, actions) {
  const compare = comparePanel(store, actions);
  const places = /** @type {const} */ ([
    ["history", historyPanel(store, actions)], ["fan", fanPanel(store, actions)], ["compare", compare.element], ["batch", batchPanel(store, actions)],
  ]);
  const tabs = places.map(([name]) => h("button.tab", {
    type: "button", role: "tab", id: `runs-tab-${name}`, "aria-controls": `runs-${name}`, onclick: () => actions.setTab(name),
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const at = places.findIndex(([other]) => other === name);
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: places.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const next = (to + places.length) % places.length;
      actions.setTab(places[next][0]);
      tabs[next].focus();
    },
  }, say(`runs.tab.${name}`)));
  const panels = places.map(([name, body]) => h("div.tab-panel", { role: "tabpanel", id: `runs-${name}`, "aria-labelledby": `runs-tab-${name}`, tabIndex: -1 }, body));
  const element = h("div.bench-body.runs", {}, h("div.tabs", { role: "tablist", "aria-label": say("runs.tabs") }, ...tabs), ...panels);
  let seen = "";
  /** What a comparison was that is seen already: one that is asked for elsewhere unfolds this. @type {unknown} */
  let compared = store.state.runs.groups.compare?.at;
  store.watch(["runs"], ({ runs: { tab } }) => {
    if (tab === seen) return;
    seen = tab;
    for (const [at, [name]] of places.entries()) {
      const on = name === tab;
      tabs[at].setAttribute("aria-selected", String(on));
      tabs[at].tabIndex = on ? 0 : -1;
      panels[at].hidden = !on;
    }
    if (tab === "compare") compare.open();
  });
  store.watch(["runs", "bench"], ({ runs, bench }) => {
    const now = bench.complaints.compare ?? runs.groups.compare?.at;
    if (!now || now === compared) return;
    compared = now;
    const fold = element.closest("details");
    if (fold) fold.open = true;
  });
  return { element, open: () => { if (store.state.runs.tab === "compare") compare.open(); } };
}
