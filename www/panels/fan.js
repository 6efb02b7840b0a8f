// A fan: one prompt at several coefficients of an adapter, a row for each.
import { h, signed, typed } from "../dom.js";
import { say } from "../say.js";
import { current, present } from "../state/acting.js";
import { fanSentence, promptOf } from "../state/runs.js";
import { isAsked } from "../state/store.js";
import { exports } from "./export.js";
import { choose, field, workRow } from "./work.js";
import { outcome, told, written } from "./written.js";

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function fanPanel(store, actions) {
  const adapter = h("select", { id: "fan-adapter", onchange: () => { chosen = adapter.value; } });
  const box = (/** @type {string} */ id, /** @type {string} */ value) => h("input", { type: "text", inputMode: "decimal", id, value, autocomplete: "off" });
  const [from, to, step] = [box("fan-from", "−2"), box("fan-to", "2"), box("fan-step", "1")];
  const go = h("button", { type: "button", id: "fan-go", onclick: () => actions.fan({ key: adapter.value, from: typed(from.value), to: typed(to.value), step: typed(step.value) }) }, say("runs.fan.go"));
  const work = workRow(["fan"], actions, { told });
  const says = h("p.says", { role: "status" });
  const caption = h("caption");
  const body = h("tbody");
  const table = h("table.fan", { hidden: true }, caption,
    h("thead", {}, h("tr", {}, ...["c", "text", "facts"].map((name) => h("th", { scope: "col" }, say(`runs.column.${name}`))))), body);
  const out = exports(() => {
    const runs = (store.state.runs.groups.fan?.rows ?? []).flatMap(({ run }) => run ?? []);
    return { kind: "fan", runs };
  });
  let chosen = "";
  /** Of what the rows are. */
  let made = 0;
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];

  store.watch(["runs", "adapters", "work", "bench", "active", "run"], (state, changed) => {
    const writing = isAsked(state.run);
    if (changed.size === 1 && changed.has("run") && go.disabled === writing) return;
    const here = present(state.adapters);
    const wanted = here.some(({ key }) => key === chosen) ? chosen : current(state)?.key ?? "";
    choose(adapter, here.map(({ key, title }) => [key, title]), wanted);
    go.disabled = !here.length || state.work !== null || writing;
    work.update(state);
    const group = state.runs.groups.fan;
    table.hidden = out.element.hidden = !group?.rows.length;
    if (!group) return;
    const title = here.find(({ key }) => key === group.key)?.title ?? "";
    if (group.at !== made) {
      made = group.at;
      rows = group.rows.map((one) => row(one.c ?? 0, group.key ?? "", title, store, actions));
      body.replaceChildren(...rows.map(({ element }) => element));
    }
    const done = group.rows.find(({ run }) => run)?.run;
    const named = done ? say("runs.fan.of", { title, prompt: promptOf(done) }) : say("runs.fan.table");
    if (caption.textContent !== named) caption.textContent = named;
    const c = here.find(({ key }) => key === group.key)?.coefficient;
    for (const [at, one] of group.rows.entries()) rows[at]?.update(one, one.c === c);
    // Told once it is over.
    const said = state.work?.kind === "fan" ? "" : fanSentence(group);
    if (says.textContent !== said) says.textContent = said;
    says.hidden = !said;
    if (state.work?.kind !== "fan") out.update();
  });
  return h("div.runs-body", {}, h("p.hint", {}, say("runs.fan.hint")),
    h("div.row", {}, field(say("runs.fan.adapter"), adapter), h("div.between", {}, field(say("runs.fan.from"), from), field(say("runs.fan.to"), to), field(say("runs.fan.step"), step)), go),
    work.element, says, table, out.element);
}

/** @param {number} c @param {string} key @param {string} title @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
function row(c, key, title, store, actions) {
  const set = () => { if (store.state.adapters.some((one) => one.key === key)) actions.setCoefficient(key, c); };
  const button = h("button.rib", { type: "button", "aria-label": say("runs.fan.set", { title, c: signed(c) }), onclick: set }, signed(c));
  const text = written("steered");
  const { facts, error, open, show } = outcome(h("span.hint"), () => store.state.runs.groups.fan?.rows.find((one) => one.c === c)?.run, actions);
  const element = h("tr", { onclick: (/** @type {Event} */ { target }) => { if (!(target instanceof Element && target.closest("button")) && !getSelection()?.toString()) set(); } },
    h("th", { scope: "row" }, button), h("td", {}, text.element, error), h("td", {}, facts, " ", open));
  element.dataset.sign = c === 0 ? "zero" : c < 0 ? "minus" : "plus";
  return {
    element,
    /** @param {import("../state/runs.js").Row} one @param {boolean} now whether the slider is there */
    update(one, now) {
      text.show(one.run);
      show(one, `${title} ${signed(c)}`);
      button.setAttribute("aria-pressed", String(now));
      element.dataset.now = String(now);
    },
  };
}
