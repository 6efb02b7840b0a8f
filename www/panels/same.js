// The same dose for several: each adapter is turned until it moves the model as far as the others.
import { h, signed } from "../dom.js";
import { parts, say } from "../say.js";
import { shift } from "../state/measured.js";
import { term } from "./glossary.js";
import { field, hindrance, loaded, workRow } from "./work.js";

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function samePanel(store, actions) {
  const target = h("input", { type: "text", inputMode: "decimal", id: "same-target", value: "1", autocomplete: "off" });
  const list = h("div.which");
  /** Keys of those that were left out. @type {Set<string>} */
  const out = new Set();
  const kept = () => loaded(store.state).filter(({ key, enabled }) => enabled && !out.has(key)).map(({ key }) => key);
  const go = h("button", { type: "button", id: "same-go", onclick: () => actions.sameDose(kept(), Number(target.value.trim().replace(",", "."))) }, say("dose.same.go"));
  const why = h("span.hint");
  const work = workRow(["same"], actions);
  const came = h("ul.came");
  let drawn = "";
  store.watch(["adapters", "bench", "work", "model"], (state) => {
    const here = loaded(state).filter(({ enabled }) => enabled);
    const now = JSON.stringify(here.map(({ key, title }) => [key, title]));
    if (now !== drawn) {
      drawn = now;
      list.replaceChildren(...here.map(({ key, title }) => {
        const box = h("input", {
          type: "checkbox", checked: !out.has(key),
          onchange: () => {
            if (box.checked) out.delete(key);
            else out.add(key);
            go.disabled = !kept().length;
          },
        });
        return h("label.check", {}, box, title);
      }));
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
  });
  return {
    element: h("div.bench-body", {}, h("p.hint", {}, ...parts("dose.same.hint", { kl: term("kl") })),
      h("fieldset.which-choice", {}, h("legend", {}, say("dose.same.which")), list),
      h("div.row", {}, field(say("dose.same.target"), target), go, why), work.element, h("div", { role: "status" }, came)),
    open: () => actions.listBehaviours(),
  };
}
