// The coefficient of one adapter: a slider from −2 to 2 and a box for any number. It stands on the
// adapter's card, and where the cards are far from the texts in a bar under the thumb.
import { h, shownIn, typed } from "../dom.js";
import { rest, step } from "../dose.js";
import { written } from "../plots/axes.js";
import { say } from "../say.js";
import { budgetOf } from "./budget.js";

/**
 * @param {string} id
 * @param {() => string} key of the adapter that is turned
 * @param {import("../actions.js").Actions} actions
 */
export function coefficient(id, key, actions) {
  let c = 0;
  /** Whether a finger or a mouse moves the slider; a tap's change may come a little after it. */
  let pointing = false;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let lifted;
  const lift = () => { lifted = setTimeout(() => { pointing = false; }, 300); };
  /** Coefficients that mean something under the present law. */
  let domain = { start: -Infinity, end: Infinity };

  const slider = h("input.dose-slider", {
    type: "range", min: "-2", max: "2", step: "0.05", id: `${id}-slider`,
    onpointerdown: () => {
      clearTimeout(lifted);
      pointing = true;
      // It may end outside, or become a scroll.
      for (const end of ["pointerup", "pointercancel"]) addEventListener(end, lift, { once: true, capture: true });
    },
    onkeydown: () => { pointing = false; },
    oninput: () => {
      const value = Number(slider.value);
      actions.setCoefficient(key(), Math.min(domain.end, Math.max(domain.start, pointing ? rest(value) : value)));
    },
    ondblclick: () => actions.setCoefficient(key(), 0),
  });
  const box = h("input.dose-box", {
    type: "text", inputMode: "decimal", id: `${id}-box`, autocomplete: "off", spellcheck: false,
    onchange: () => {
      const number = typed(box.value);
      if (budget.inNats()) actions.setNats(key(), number);
      else actions.setCoefficient(key(), number);
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
      if (!by || budget.inNats()) return;
      event.preventDefault();
      actions.setCoefficient(key(), step(c, by));
    },
  });
  const showC = shownIn(box);
  const budget = budgetOf(key, actions);
  const poles = h("p.poles");
  const ticks = [-2, -1, 0, 1, 2].map((at) => ({ at, text: written(at), element: h("span") }));
  return {
    track: h("div.track", {}, slider, budget.strip, h("div.ticks", { "aria-hidden": "true" }, ...ticks.map(({ element }) => element))),
    box, poles, budget: budget.line,
    /** @param {import("../state/store.js").Adapter} adapter @param {import("../state/store.js").State} state */
    update(adapter, state) {
      const range = rangeOf(adapter);
      c = adapter.coefficient;
      domain = { start: range?.start ?? -Infinity, end: range?.end ?? Infinity };
      budget.update(adapter, state);
      for (const { at, text, element } of ticks) element.textContent = budget.tick(at, text);
      // A recording has steps of a half; a c between them has its place all the same.
      slider.step = state.recording.shown && Number.isInteger(2 * c) ? "0.5" : "0.05";
      slider.value = String(Math.min(2, Math.max(-2, c)));
      slider.setAttribute("aria-label", say("adapters.coefficient", { title: adapter.title }));
      slider.setAttribute("aria-valuetext", c === 0 ? say("adapters.at-zero") : budget.spoken(c, String(c)));
      slider.style.setProperty("--f", String((Number(slider.value) + 2) / 4));
      showC(written(budget.inNats() ? budget.shown(c) : c));
      box.setAttribute("aria-label", say(budget.inNats() ? "dose.units.box" : "adapters.coefficient-box", { title: adapter.title }));
      const { positive, negative } = adapter.card?.behaviour ?? {};
      poles.hidden = !positive;
      poles.replaceChildren(h("span", {}, negative ?? ""), h("span", {}, positive ?? ""));
    },
    /** Blue is minus, orange is plus, grey is zero. @param {import("../state/store.js").Adapter} adapter */
    sign: ({ enabled, coefficient: now }) => (!enabled || now === 0 ? "zero" : now < 0 ? "minus" : "plus"),
  };
}

/** The coefficients that mean something under an adapter's law. @param {import("../state/store.js").Adapter} adapter @returns {{start: number, end: number}|undefined} */
export const rangeOf = ({ entry, law }) =>
  entry?.laws.find((offer) => offer.law === (law ?? entry.law))?.domain?.range;
