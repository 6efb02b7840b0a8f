// An adapter's card: a switch, a slider from −2 to 2 and a box for any number, where it acts, and
// what its method is and does.
import { errorParts, h, megabytes, shownIn, signed, textOf } from "../dom.js";
import { numbers, say } from "../say.js";
import { DEFAULT_MODEL } from "../state/models.js";
import { isRefused } from "../state/refused.js";
import { coefficient, rangeOf } from "./coefficient.js";
import { explained } from "./glossary.js";
import { maskGrid } from "./grid.js";
import { methodOf } from "./method.js";
import { mixtureRows, taskRow } from "./mixture.js";
import { leave } from "./places.js";
import { zooLink } from "./zoo.js";

/** How the engine refuses an adapter that was made for another model. */
const MISFITS = ["no-such-module", "wrong-shape"];

/**
 * @typedef {import("../state/store.js").Adapter} Adapter
 * @typedef {import("../actions.js").Actions} Actions
 * @typedef {import("../pkg/steering_playground.js").MethodCard} MethodCard
 */

/** A place for an adapter that a link asks for. @param {Adapter} first @param {Actions} actions */
export function wantedCard(first, actions) {
  const { key, name, coefficient, enabled } = first;
  const element = h("article.adapter", { dataset: { adapter: name, wanted: key, sign: "zero" } },
    h("header", {}, h("span.name", {}, name), h("span.tag", {}, say("adapters.not-here"))),
    h("p.sentence", {}, say(enabled ? "adapters.wanted" : "adapters.wanted-off", { c: signed(coefficient) })),
    h("p", {}, h("button.quiet", { type: "button", "aria-label": say("adapters.do-without-named", { name }), onclick: () => actions.removeAdapter(key) }, say("adapters.do-without"))));
  return { element, update() {} };
}

/**
 * @param {Adapter} first @param {Actions} actions
 * @param {() => void} fetchShipped fetches those that come with the page, once more
 * @param {() => void} chosen it is the one that the bar beside the texts turns
 */
export function adapterCard(first, actions, fetchShipped, chosen) {
  const { key } = first;
  const id = key.replace(/\W/g, "-");
  const turned = coefficient(id, () => key, actions);
  const on = h("input", { type: "checkbox", role: "switch", onchange: () => actions.setEnabled(key, on.checked) });
  const title = h("span.name");
  const tag = h("span.tag");
  const sentence = h("p.sentence");
  const law = h("p.law");
  const lawChoice = h("select", { id: `${id}-law`, onchange: () => actions.setLaw(key, lawChoice.value) });
  const lawRow = h("p.law-row", { hidden: true }, h("label", { htmlFor: lawChoice.id }, say("adapters.law"), " "), lawChoice);
  const where = (/** @type {"layers"|"modules"|"positions"} */ what) => {
    const input = h("input", {
      type: "text", id: `${id}-${what}`, placeholder: say("adapters.all"), autocomplete: "off", spellcheck: false,
      onchange: () => actions.setMask(key, { [what]: input.value.trim() }),
    });
    return { input, show: shownIn(input) };
  };
  const [layers, modules, positions] = [where("layers"), where("modules"), where("positions")];
  const grid = maskGrid(key, actions);
  const task = taskRow(first, actions);
  const mixture = mixtureRows(first, actions);
  const name = h("input", {
    type: "text", id: `${id}-name`, autocomplete: "off", spellcheck: false, onchange: () => actions.rename(key, name.value),
  });
  const showName = shownIn(name);
  const nameRow = h("p", {}, h("label", { htmlFor: name.id }, say("adapters.name"), " "), name);
  const error = h("p.error", { role: "alert", hidden: true });
  const again = h("button", { type: "button", hidden: true, onclick: fetchShipped }, say("adapters.try-again"));
  const origin = h("p.hint.origin", { hidden: true });
  const warnings = h("ul.warnings", { hidden: true, "aria-label": say("adapters.warnings") });
  const misfit = h("p.hint", { hidden: true }, say("adapters.misfit", { model: DEFAULT_MODEL.name }));
  const card = h("div.method-card");
  const dose = h("div.dose-row", {}, turned.track, turned.box);
  const choose = h("button.choose", { type: "button", onclick: chosen }, say("adapters.choose"));
  const refused = h("div.refused", { hidden: true }, h("p", {}), h("p.hint", {}),
    h("button", { type: "button", onclick: () => actions.removeAdapter(key) }, say("refused.remove", { title: first.title })));
  const [isOut, whatToDo] = refused.children;
  const element = h("article.adapter", { dataset: { adapter: first.name } },
    h("header", {}, h("label.switch", {}, on, title), tag, choose),
    origin,
    dose, turned.budget, turned.poles, error, again, refused, warnings, misfit, mixture.element, task.element,
    h("div.folds", {},
      h("details.more", {}, h("summary", {}, say("adapters.how")), nameRow, sentence, card),
      h("details.where", {}, h("summary", {}, say("adapters.where")),
        lawRow, law, grid.element,
        h("p", {}, h("label", { htmlFor: layers.input.id }, say("adapters.layers"), " "), layers.input),
        h("p", {}, h("label", { htmlFor: modules.input.id }, say("adapters.modules"), " "), modules.input),
        h("p", {}, h("label", { htmlFor: positions.input.id }, say("adapters.positions"), " "), positions.input))));

  let filled = "";
  return {
    element,
    update(/** @type {Adapter} */ adapter, /** @type {import("../state/store.js").State} */ state) {
      title.textContent = adapter.title;
      showName(adapter.title);
      // Those that come with the page have their names.
      nameRow.hidden = Boolean(adapter.card);
      on.checked = adapter.enabled;
      on.setAttribute("aria-label", say("adapters.on", { title: adapter.title }));
      choose.setAttribute("aria-label", say("adapters.choose-named", { title: adapter.title }));
      sentence.textContent = adapter.sentence ?? "";
      sentence.hidden = !adapter.sentence;
      turned.update(adapter, state);
      element.dataset.sign = turned.sign(adapter);
      element.dataset.beyond = String(Math.abs(adapter.coefficient) > 2);
      element.dataset.off = String(!adapter.enabled);
      element.dataset.active = String(state.active === adapter.key);
      // Those that come with the page need not alarm whoever loads another model.
      misfit.hidden = !adapter.card || adapter.id !== null || !MISFITS.includes(adapter.error?.code ?? "");
      const wrong = (misfit.hidden && adapter.error) || adapter.refused;
      error.hidden = !wrong;
      const said = wrong ? errorParts(wrong) : [];
      // Said once, not at every change of something else.
      if (error.textContent !== textOf(said)) error.replaceChildren(...said);
      again.hidden = !adapter.error || adapter.files !== null;
      // What the engine does not have does not look as if it could be turned.
      const out = isRefused(adapter, state);
      element.dataset.refused = String(out);
      on.hidden = dose.hidden = choose.hidden = out;
      refused.hidden = !out;
      if (out) {
        for (const part of [turned.budget, turned.poles]) part.hidden = true;
        isOut.textContent = say("refused.title");
        whatToDo.textContent = adapter.files === null ? "" : say(MISFITS.includes(adapter.error?.code ?? "") ? "refused.misfit" : "refused.files");
      }
      const warned = adapter.entry?.warnings ?? adapter.inspection?.warnings ?? [];
      // Of those that come with the page it is known.
      const { baseModel, layersReached } = adapter.entry ?? {};
      origin.textContent = [baseModel && say("adapters.made-for", { model: baseModel }), layersReached && say("adapters.reaches", { layers: layersReached })].filter(Boolean).join(" · ");
      origin.hidden = Boolean(adapter.card) || adapter.id === null || !origin.textContent;
      warnings.hidden = !warned.length || adapter.id === null;
      if (warnings.dataset.all !== warned.join("\n")) {
        warnings.dataset.all = warned.join("\n");
        warnings.replaceChildren(...warned.map((text) => h("li", {}, text)));
      }
      const method = methodOf(state, adapter);
      tag.textContent = adapter.loading ? say("adapters.loading") : adapter.entry?.title ?? method?.title ?? "";
      element.setAttribute("aria-busy", String(Boolean(adapter.loading)));
      task.update(adapter);
      mixture.update(adapter);
      const laws = adapter.entry?.laws ?? [];
      lawRow.hidden = laws.length < 2;
      const names = laws.map((offer) => offer.law);
      if (lawChoice.dataset.laws !== names.join()) {
        lawChoice.dataset.laws = names.join();
        lawChoice.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
      }
      const acting = adapter.law ?? adapter.entry?.law;
      const range = rangeOf(adapter);
      lawChoice.value = acting ?? "";
      grid.update(adapter);
      layers.show(adapter.layers ?? "");
      modules.show(adapter.modules ?? "");
      positions.show(adapter.positions ?? "");
      const lawName = acting ?? method?.law;
      const words = laws.find((offer) => offer.law === lawName)?.words ?? adapter.entry?.lawWords ?? method?.lawWords;
      law.textContent = !words || !lawName ? "" : range
        ? say("adapters.law-words-between", { law: lawName, words, start: signed(range.start), end: signed(range.end) })
        : say("adapters.law-words", { law: lawName, words });
      const version = `${method?.name}|${adapter.id}`;
      if (version !== filled) {
        filled = version;
        fillCard(card, adapter, method, actions);
      }
    },
  };
}

/**
 * Intuition, hypothesis, what was measured, and the way to all the rest.
 * @param {HTMLElement} root @param {Adapter} adapter @param {MethodCard|undefined} method @param {Actions} actions
 */
function fillCard(root, adapter, method, actions) {
  const { entry, card } = adapter;
  /** @type {HTMLElement[]} */
  const lines = [];
  /** Where a sentence says it plainly what is said to experts is folded. @type {HTMLElement[]} */
  const deeper = adapter.sentence ? [] : lines;
  if (method) {
    deeper.push(h("p", {}, ...explained(method.intuition)),
      h("p.hypothesis", {}, h("strong", {}, say("adapters.hypothesis")), " ", ...explained(method.hypothesis)),
      h("p.summary", {}, h("strong", {}, method.title), " ", ...explained(method.summary)));
  }
  if (entry) {
    const size = { n: entry.parameters, places: say("adapters.places", { n: entry.modules }) };
    deeper.push(h("p.facts", {}, entry.denseBytes
      ? say("adapters.size-dense", { ...size, memory: megabytes(entry.denseBytes) }) : say("adapters.size", size)));
    if (entry.layersReached) deeper.push(h("p.facts", {}, say("adapters.layers-reached", { layers: entry.layersReached })));
    if (entry.baseModel) deeper.push(h("p.facts", {}, say("adapters.made-for-config", { model: entry.baseModel })));
  }
  if (card?.trained) deeper.push(h("h3", {}, say("zoo.trained")), trainedTable(card.trained));
  const measured = measuredTable(card);
  if (measured) deeper.push(h("h3", {}, say("adapters.measured", { model: DEFAULT_MODEL.name })), measured);
  if (card?.trained) deeper.push(h("p", {}, zooLink()));
  if (deeper !== lines && deeper.length) lines.push(h("details", {}, h("summary", {}, say("adapters.deeper")), h("div.deeper", {}, ...deeper)));
  if (method) {
    lines.push(h("button", { type: "button", "aria-label": say("method.open-named", { title: adapter.title }), onclick: () => {
      leave(root);
      actions.openMethod(adapter.key);
    } }, say("method.open")));
  }
  lines.push(h("button.quiet", { type: "button", onclick: () => actions.removeAdapter(adapter.key) }, say("adapters.remove")));
  root.replaceChildren(...lines);
}

const whole = numbers({ useGrouping: true, maximumFractionDigits: 0 });
/** Learning rates span decades. */
const rate = numbers({ maximumSignificantDigits: 3 });

/** How one of the zoo came about, as far as that is known. @param {import("../state/zoo.js").Trained} trained */
const trainedTable = (trained) => h("table.trained", {}, h("tbody", {}, ...Object.entries(trained).flatMap(([name, value]) => {
  if (value === undefined) return [];
  const text = typeof value === "string" ? value : (name === "rate" ? rate : whole)(value);
  return [h("tr", {}, h("th", { scope: "row" }, say(`zoo.trained.${name}`)), h("td", {}, text))];
})));

/** card.json's measurement: what was measured, at which coefficients, with which result. @param {Adapter["card"]} card */
function measuredTable(card) {
  const { what, c, value } = card?.measured ?? {};
  if (!Array.isArray(c) || !Array.isArray(value)) return null;
  return h("table", {},
    h("caption", {}, what),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "c"), h("th", { scope: "col" }, say("adapters.value")))),
    h("tbody", {}, ...c.map((coefficient, at) => h("tr", {},
      h("th", { scope: "row" }, signed(coefficient)), h("td", {}, signed(Number(value[at])))))));
}
