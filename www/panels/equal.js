// Methods at equal dose: how far each moves a behaviour when all move the model equally far, over how many
// numbers were trained for it. A mark lets its adapter act.
import { h } from "../dom.js";
import { written } from "../plots/axes.js";
import { mark } from "../plots/marks.js";
import { scatter } from "../plots/scatter.js";
import { picture, s } from "../plots/svg.js";
import { numbers, parts, say } from "../say.js";
import { equalDoses, summary } from "../state/equal.js";
import { columnsOf, keyOf, methodsOf, richestOf } from "../state/methods.js";
import { term } from "./glossary.js";
import { choose, field } from "./work.js";

/** @typedef {import("../state/equal.js").Equal} Equal */

const HEIGHT = 360;
/** Between the edges of the drawing and its axes; below the axis is the place of what has no equal dose. */
const [LEFT, RIGHT, TOP, BOTTOM, BELOW] = [44, 16, 26, 74, 40];
const figure = (/** @type {number|null|undefined} */ value) => (typeof value === "number" ? written(value.toFixed(2)) : say("dose.no-number"));
const short = numbers({ notation: "compact", maximumSignificantDigits: 3 });

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function equalPanel(store, actions) {
  const behaviour = h("select", { id: "equal-behaviour", onchange: () => update(store.state) });
  const plot = picture("plot", HEIGHT);
  plot.drawing.classList.add("scatter");
  const sentence = h("p.says", { role: "status" });
  const none = h("p.hint", {}, say("dose.equal.none"));
  const legend = h("ul.plot-legend");
  const rows = h("tbody");
  const columns = [say("methods.method"), say("methods.family.name"), say("methods.law.name"), say("dose.equal.numbers"), say("dose.equal.gain"), say("dose.equal.c"), say("dose.equal.d")];
  const result = h("div.result", { hidden: true }, sentence, plot.drawing, legend,
    h("details.table", {}, h("summary", {}, say("dose.table")),
      h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("dose.equal") }, h("table", {},
        h("thead", {}, h("tr", {}, ...columns.map((name) => h("th", { scope: "col" }, name)))), rows))));
  let drawn = "";
  /** Folder of the mark that the keyboard is at. */
  let at = "";

  /** @param {import("../state/store.js").State} state */
  function update(state) {
    const all = columnsOf(state);
    choose(behaviour, all.map((name) => [name, name]), behaviour.value);
    if (behaviour.selectedIndex < 0) behaviour.value = richestOf(state);
    const list = equalDoses(state, behaviour.value);
    none.hidden = list.length > 0;
    result.hidden = !list.length;
    const now = JSON.stringify(list);
    if (now === drawn) return;
    drawn = now;
    const says = summary(list, behaviour.value);
    sentence.textContent = says;
    plot.show((width) => {
      queueMicrotask(() => show(store.state));
      return draw(list, width);
    }, says);
    // Its marks can be pressed: it is more than a picture.
    plot.drawing.setAttribute("role", "group");
    const families = [...new Set(methodsOf(state).map(({ family }) => family))].filter((family) => list.some((one) => one.family === family));
    const swatch = (/** @type {import("../plots/marks.js").Family|null} */ family, /** @type {string} */ filled) =>
      s("svg", { class: "swatch", width: 16, height: 16, "aria-hidden": "true" }, s("path", { class: "spot", "data-filled": filled, d: mark(family, 8, 8) }));
    legend.replaceChildren(...families.map((family) => h("li", {}, swatch(family, "true"), say(`train.family.${family}`))),
      h("li", {}, swatch("low-rank", "true"), say("dose.equal.filled")), h("li", {}, swatch("low-rank", "false"), say("dose.equal.hollow")),
      ...(list.some(({ gain }) => gain === null) ? [h("li", {}, swatch(null, "false"), say("dose.equal.cross"))] : []));
    rows.replaceChildren(...list.map((one) => h("tr", {}, h("th", { scope: "row" }, one.title), h("td", {}, one.family ? say(`train.family.${one.family}`) : say("zoo.other")),
      h("td", {}, one.law ?? ""), h("td", {}, one.parameters === null ? say("dose.no-number") : say("methods.numbers", { n: one.parameters })),
      ...(one.gain === null ? [h("td", { colSpan: 3 }, one.why)]
        : [figure(one.gain), one.c.map(figure).join(" … "), one.d.map(figure).join(" … ")].map((text) => h("td", {}, text))))));
  }

  /** @param {Equal[]} list @param {number} width */
  function draw(list, width) {
    const right = width - RIGHT;
    const { places, across, up, names } = scatter(list.map(({ parameters, gain, title }) => ({ parameters, value: gain, name: title })),
      { left: LEFT, right: right - 10, top: TOP, bottom: HEIGHT - BOTTOM, below: HEIGHT - BELOW });
    if (!list.some(({ folder }) => folder === at)) at = list[0]?.folder ?? "";
    const failed = list.some(({ gain }) => gain === null);
    return [
      ...up.flatMap(({ value, y }) => [s("line", { class: value === 0 ? "zero" : "grid", x1: LEFT, x2: right, y1: y, y2: y }), s("text", { class: "up", x: LEFT - 8, y: y + 4 }, written(value))]),
      ...across.flatMap(({ value, x }) => [s("line", { class: "grid", x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }), s("text", { class: "along", x, y: HEIGHT - 20 }, short(value))]),
      ...(failed ? [s("text", { class: "hintline", x: 4, y: HEIGHT - BOTTOM + 16 }, say("dose.equal.without"))] : []),
      s("text", { class: "name", x: 4, y: 12 }, say("dose.equal.axis")), s("text", { class: ["name", "end"].join(" "), x: right, y: HEIGHT - 4 }, say("dose.equal.numbers")),
      ...names.map(({ text, x, y, anchor }) => s("text", { class: ["label", anchor].join(" "), x, y }, text)),
      ...list.map((one, index) => spot(one, places[index])),
    ];
  }

  /** @param {Equal} one @param {{x: number, y: number}} place */
  function spot({ folder, title, family, law, gain, parameters, why, there }, { x, y }) {
    const what = gain === null ? why : say("dose.equal.value", { d: figure(gain), numbers: say("methods.size", { n: parameters ?? 0 }) });
    const label = say("dose.equal.mark", { title, family: family ? say(`train.family.${family}`) : say("zoo.other"), law: law ?? "", what });
    const element = s("g", { class: "spot-place", role: there ? "button" : "img", tabindex: folder === at ? 0 : -1, "aria-label": label, "data-folder": folder },
      s("circle", { class: "reach", cx: x, cy: y, r: 12 }), s("path", { class: "spot", "data-filled": String(law === "linear"), d: mark(gain === null ? null : family, x, y) }), s("title", {}, label));
    return element;
  }

  const spots = () => /** @type {SVGElement[]} */ ([...plot.drawing.querySelectorAll(".spot-place")]);
  const press = (/** @type {Event} */ { target }) => {
    const chosen = /** @type {Element} */ (target).closest(".spot-place[role='button']");
    if (chosen instanceof SVGElement) actions.takeMethod(chosen.dataset.folder ?? "");
  };
  plot.drawing.addEventListener("click", press);
  plot.drawing.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return press(event);
    }
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const all = spots();
    const next = all[all.findIndex(({ dataset }) => dataset.folder === at) + (by ?? 0)];
    if (!by || !next) return;
    event.preventDefault();
    for (const one of all) one.setAttribute("tabindex", one === next ? "0" : "-1");
    at = next.dataset.folder ?? "";
    next.focus();
  });

  /** Whose adapters act now. @param {import("../state/store.js").State} state */
  function show({ adapters }) {
    for (const one of spots()) {
      const adapter = adapters.find(({ key }) => key === keyOf(one.dataset.folder ?? ""));
      one.toggleAttribute("data-on", adapter !== undefined && adapter.enabled && adapter.coefficient !== 0);
    }
  }

  store.watch(["methods", "zoo", "engine"], update);
  store.watch(["methods", "zoo", "adapters"], show);

  return {
    element: h("div.bench-body", {}, h("p.hint", {}, ...parts("dose.equal.hint", { dose: "1", kl: term("kl"), d: term("d") })),
      h("div.row", {}, field(say("zoo.behaviour"), behaviour)), none, result),
    open: () => { actions.listMethods(); },
  };
}
