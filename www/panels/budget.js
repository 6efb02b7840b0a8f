// What was measured, on the slider: a bar that says where the language holds, the strength at c, and
// the choice to type nats instead of c.
import { h, signed } from "../dom.js";
import { say } from "../say.js";
import { natsAt, readOut, spoken, stretches, tableOf } from "../state/measured.js";

/**
 * @param {() => string} key of the adapter that is turned
 * @param {import("../actions.js").Actions} actions
 */
export function budgetOf(key, actions) {
  const strip = h("div.budget", { hidden: true, "aria-hidden": "true" });
  const read = h("span.read");
  const units = h("select.units", { onchange: () => actions.setUnits(units.value === "nats" ? "nats" : "c") },
    h("option", { value: "c" }, say("dose.units.c")), h("option", { value: "nats" }, say("dose.units.nats")));
  const stop = h("button.quiet", { type: "button", hidden: true, onclick: () => actions.stopWork() }, say("dose.stop"));
  const line = h("p.budget-line", { hidden: true }, read, stop, units);
  let drawn = "";
  /** @type {import("../state/measured.js").Measurement|null} */
  let table = null;
  let inNats = false;
  return {
    strip, line,
    /** Whether the box beside the slider takes nats now. */
    inNats: () => inNats,
    /** What the box shows in nats. @param {number} c */
    shown: (c) => (table && natsAt(table, c)) ?? "",
    /** What stands below the slider at c. @param {number} c @param {string} usual */
    tick: (c, usual) => (inNats && table && c !== 0 ? natsAt(table, c, 1) ?? "" : usual),
    /** What the slider says of itself. @param {number} c @param {string} usual */
    spoken: (c, usual) => (table ? spoken(table, c, usual) : say("dose.spoken.unmeasured", { c: usual })),
    /** @param {import("../state/store.js").Adapter} adapter @param {import("../state/store.js").State} state */
    update(adapter, state) {
      table = tableOf(state, adapter.key);
      inNats = table !== null && state.units === "nats";
      for (const part of [strip, line]) part.hidden = !table;
      if (!table) return;
      const { finding } = adapter;
      const said = readOut(table, adapter.coefficient);
      read.textContent = finding ? say("dose.units.finding") : inNats ? say("dose.spoken", { c: signed(adapter.coefficient), read: said }) : said;
      stop.hidden = !finding;
      units.value = state.units;
      units.setAttribute("aria-label", say("dose.units.of", { title: adapter.title }));
      const list = stretches(table, -2, 2);
      const now = JSON.stringify(list);
      if (now === drawn) return;
      drawn = now;
      strip.replaceChildren(...list.map(({ from, to, budget }) => {
        const piece = h("i", { dataset: { budget } });
        piece.style.setProperty("--from", String((from + 2) / 4));
        piece.style.setProperty("--to", String((to + 2) / 4));
        return piece;
      }));
    },
  };
}

/** What the bar's patterns mean. */
export const budgetLegend = () => h("ul.budget-legend", { "aria-label": say("dose.legend") }, ...["within", "beyond", "broken"].map((budget) =>
  h("li", {}, h("i", { dataset: { budget } }), say(`dose.legend.${budget}`))));
