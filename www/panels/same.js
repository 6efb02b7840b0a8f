// The same dose for several: each adapter is turned until it moves the model as far as the others.
import { h, signed, typed } from "../dom.js";
import { parts, say } from "../say.js";
import { MOST } from "../state/compare.js";
import { shift } from "../state/measured.js";
import { term } from "./glossary.js";
import { field, hindrance, loaded, workRow } from "./work.js";

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function samePanel(store, actions) {
  const target = h("input", { type: "text", inputMode: "decimal", id: "same-target", value: "1", autocomplete: "off" });
  const list = h("div.which");
  /** What was ticked or not, by key; else those are that are turned. @type {Map<string, boolean>} */
  const ticked = new Map();
  const isIn = (/** @type {import("../state/store.js").Adapter} */ { key, coefficient }) => ticked.get(key) ?? coefficient !== 0;
  const kept = () => loaded(store.state).filter((adapter) => adapter.enabled && isIn(adapter)).map(({ key }) => key);
  const go = h("button", { type: "button", id: "same-go", onclick: () => actions.sameDose(kept(), typed(target.value)) }, say("dose.same.go"));
  const why = h("span.hint");
  const work = workRow(["same"], actions);
  const came = h("ul.came");
  const compare = h("button", { type: "button", id: "same-compare", hidden: true, onclick: () => actions.compareRuns(found()) }, say("dose.same.compare"));
  /** Each alone, for as long as it is listed. @returns {import("../state/runs.js").Item[]} */
  const found = () => store.state.bench.doses.filter(({ key, side }) => side.c !== null && loaded(store.state).some((one) => one.key === key))
    .map(({ key, title, side: { c, kl_p95_nats: nats } }) => ({ title: say("dose.compare.title", { title, c: signed(c ?? 0), nats: nats?.toFixed(2) ?? "?" }), doses: [{ key, c: c ?? 0 }] }));
  let drawn = "";
  store.watch(["adapters", "bench", "work", "model"], (state) => {
    const here = loaded(state).filter(({ enabled }) => enabled);
    const now = JSON.stringify(here.map((adapter) => [adapter.key, adapter.title, isIn(adapter)]));
    if (now !== drawn) {
      drawn = now;
      const at = [...list.children].findIndex((label) => label.contains(document.activeElement));
      list.replaceChildren(...here.map((adapter) => {
        const box = h("input", {
          type: "checkbox", checked: isIn(adapter),
          onchange: () => {
            ticked.set(adapter.key, box.checked);
            go.disabled = !kept().length;
          },
        });
        return h("label.check", {}, box, adapter.title);
      }));
      list.children[at]?.querySelector("input")?.focus();
    }
    why.textContent = hindrance(state);
    go.disabled = Boolean(why.textContent) || state.work !== null || !kept().length || !state.bench.shipped.length;
    work.update(state, ["same", "pairs"]);
    const said = state.bench.doses.map(({ title, side }) => (side.c === null
      ? say("dose.same.none", { title, why: side.note ?? "" })
      : say("dose.same.set", { title, c: signed(side.c), shift: shift(side.nll_shift_nats) })));
    if (came.dataset.said !== said.join("\n")) {
      came.dataset.said = said.join("\n");
      came.replaceChildren(...said.map((text) => h("li", {}, text)));
    }
    const many = found().length;
    compare.hidden = state.work !== null || many < 2 || many > MOST;
  });
  return {
    element: h("div.bench-body", {}, h("p.hint", {}, ...parts("dose.same.hint", { kl: term("kl") })),
      h("fieldset.which-choice", {}, h("legend", {}, say("dose.same.which")), list),
      h("div.row", {}, field(say("dose.same.target"), target), go, why), work.element, h("div", { role: "status" }, came), compare),
    open: () => actions.listBehaviours(),
  };
}
