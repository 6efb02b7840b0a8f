// The dose curve: what c does, drawn from a measurement, with a cursor that is the slider.
import { h, signed } from "../dom.js";
import { rest } from "../dose.js";
import { LEFT, RIGHT, axes, written } from "../plots/axes.js";
import { curve } from "../plots/curve.js";
import { range, scale } from "../plots/scale.js";
import { picture, s } from "../plots/svg.js";
import { parts, say } from "../say.js";
import { ALL } from "../state/bench.js";
import { current, doses } from "../state/acting.js";
import { budget, fits, holds, nameOf, readOut, shift, summary, turnedTo } from "../state/measured.js";
import { budgetLegend } from "./budget.js";
import { term } from "./glossary.js";
import { pairsChooser } from "./pairs.js";
import { promptRows } from "./prompts.js";
import { choose, field, hindrance, loaded, workRow } from "./work.js";

/**
 * @typedef {import("../state/measured.js").Measured} Measured
 * @typedef {import("../state/store.js").State} State
 */

/** Pixels of the slider's thumb, which ends at the ends of the axes. */
const THUMB = 8;
const [D_HEIGHT, COST_HEIGHT] = [190, 130];
/** More than so many nats are drawn at the edge: beside them nothing else could be seen. */
const MOST_COST = 4;

const fixed = (/** @type {number|null|undefined} */ value, digits = 3) => (typeof value === "number" ? written(value.toFixed(digits)) : say("dose.no-number"));

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function curvePanel(store, actions) {
  const subject = h("select", { id: "dose-subject", onchange: () => actions.setBench({ subject: subject.value }) });
  const pairs = pairsChooser(store, actions);
  const repeats = h("input", { type: "checkbox", id: "dose-repeats" });
  const go = h("button", { type: "button", id: "dose-measure", onclick: () => actions.measure(turned(store.state), { repeats: repeats.checked }) }, say("dose.measure"));
  const why = h("span.hint");
  const work = workRow(["measure"], actions);

  const [plotD, plotCost] = [picture("plot", D_HEIGHT), picture("plot", COST_HEIGHT)];
  const cursor = h("i.plot-cursor", { "aria-hidden": "true" });
  const slider = h("input.curve-slider", { type: "range", step: "0.05", id: "curve-slider", oninput: () => turn(Number(slider.value)) });
  const figure = h("div.figure", {}, plotD.drawing, plotCost.drawing, cursor);
  const sentence = h("p.says", { role: "status" });
  const origin = h("p.hint");
  const stale = h("p.notice", { hidden: true });
  const read = h("p.read.now-read");
  const legend = h("ul.plot-legend");
  const rows = h("tbody");
  const facts = h("ul.figures-list");
  const prompts = promptRows();
  const column = (/** @type {string} */ name) => h("th", { scope: "col" }, name);
  const table = h("details.table", {}, h("summary", {}, say("dose.table")),
    h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("dose.curve") }, h("table", {},
      h("thead", {}, h("tr", {}, column(say("dose.column.c")), column(say("dose.column.d")), column(say("dose.column.kl.mean")), column(say("dose.column.kl.p95")),
        column(say("dose.column.nll")), column(say("dose.column.language")))), rows)), facts);
  const none = h("p.hint", {}, say("dose.none-yet"));
  const result = h("div.result", { hidden: true }, sentence, origin, stale, figure, slider, read, legend, budgetLegend(), table, prompts.element);

  const element = h("div.bench-body", {},
    h("p.hint", {}, say("dose.curve.hint"), " ", ...parts("dose.words", { d: term("d"), kl: term("kl"), nll: term("nll"), nats: term("nats") })),
    h("div.ask-row", {}, field(say("dose.subject"), subject), pairs.element),
    h("label.check", {}, repeats, say("dose.repeats")),
    h("div.row", {}, go, why), work.element, none, result);

  /** @type {Measured|null} */
  let shown = null;
  let drawn = "";
  /** Names of measured others that are not drawn. @type {Set<string>} */
  const hidden = new Set();
  let across = scale([-2, 2], [0, 1]);
  /** Whether each prompt has its line. */
  let every = false;

  /** Turns what was measured to a place on its curve. @param {number} c */
  function turn(c) {
    for (const { key, scale: share } of shown?.parts ?? []) actions.setCoefficient(key, Number((c * share).toFixed(10)));
  }

  const drag = (/** @type {PointerEvent} */ event) => {
    const [low, high] = [Number(slider.min), Number(slider.max)];
    const c = across.of(event.clientX - figure.getBoundingClientRect().left);
    turn(rest(Math.round(Math.min(high, Math.max(low, c)) * 20) / 20));
  };
  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    figure.setPointerCapture(event.pointerId);
    drag(event);
  });
  figure.addEventListener("pointermove", (event) => { if (figure.hasPointerCapture(event.pointerId)) drag(event); });

  function place(/** @type {number|null} */ c) {
    const width = plotD.width();
    if (!shown || !width) return;
    across = scale([Number(slider.min), Number(slider.max)], [LEFT, width - RIGHT]);
    cursor.hidden = c === null;
    cursor.style.setProperty("--x", `${across.held(c ?? 0)}px`);
    slider.style.setProperty("--left", `${LEFT - THUMB}px`);
    slider.style.setProperty("--right", `${RIGHT - THUMB}px`);
  }

  new ResizeObserver(() => place(shown && turnedTo(shown, store.state.adapters))).observe(figure);

  store.watch(["adapters", "active", "bench", "measured", "work", "model", "recording"], (state) => {
    const together = acting(state).length > 1 || Boolean(stackOf(state));
    const here = loaded(state);
    const listed = [...new Set([...here, ...state.measured.filter((one) => fits(one, state)).flatMap(({ parts: all }) =>
      state.adapters.filter(({ key }) => all.length === 1 && all[0].key === key))])];
    const chosen = subjectOf(state);
    choose(subject, [...listed.map(({ key, title }) => /** @type {[string, string]} */ ([key, title])), ...(together ? [/** @type {[string, string]} */ ([ALL, say("dose.together")])] : [])], chosen);
    const name = state.adapters.find(({ key }) => key === chosen)?.name;
    pairs.update(state, name);
    work.update(state, ["measure", "pairs"]);
    why.textContent = hindrance(state);
    go.disabled = Boolean(why.textContent) || state.work !== null || !turned(state).length || !pairs.ready(state, name);

    const wanted = chosen === ALL ? nameOf(acting(state)) : chosen;
    // Turned to 0 together they act no more; what was measured of them stays.
    shown = state.measured.find((one) => nameOf(one.parts) === wanted) ?? (chosen === ALL ? stackOf(state) : undefined) ?? null;
    none.hidden = Boolean(shown) || Boolean(why.textContent) || state.work?.kind === "measure";
    result.hidden = !shown;
    if (!shown) return;
    const others = state.measured.filter((one) => one !== shown && fits(one, state));
    const now = JSON.stringify([state.measured.map((one) => [nameOf(one.parts), one.found.seconds, one.found.pairs_sha256]), nameOf(shown.parts), others.length]);
    if (now !== drawn) {
      drawn = now;
      draw(shown, others);
    }
    const same = fits(shown, state);
    stale.hidden = same && holds(shown, state);
    stale.textContent = same ? say("dose.stale") : say("dose.other-model", { model: shown.model });
    const c = turnedTo(shown, state.adapters);
    slider.value = String(c ?? 0);
    const said = c === null ? say("dose.cursor.apart") : say("dose.spoken", { c: signed(c), read: readOut(shown.found, c) });
    slider.setAttribute("aria-valuetext", said);
    read.textContent = said;
    place(c);
  });

  /** What would be measured: one adapter as it is, or all that act, each with its share. @param {State} state */
  function turned(state) {
    const chosen = subjectOf(state);
    if (chosen === ALL) return acting(state).map(({ key, c }) => ({ key, scale: c }));
    return loaded(state).filter(({ key }) => key === chosen).map(({ key }) => ({ key, scale: 1 }));
  }

  /** @param {Measured} measured @param {Measured[]} others */
  function draw(measured, others) {
    const { found } = measured;
    const title = measured.parts.map((one) => one.title).join(" + ");
    const ends = range(found.coefficients, [-2, 2]);
    [slider.min, slider.max] = ends.map(String);
    slider.setAttribute("aria-label", say("dose.cursor", { title }));
    const says = `${title}. ${summary(found)}`;
    sentence.textContent = says;
    const { behaviour, prompts: list, seconds } = found;
    const told = { title, seconds: fixed(seconds, 0), model: measured.modelFile };
    origin.textContent = list.length === 1 ? say("dose.measured.one", told) : say("dose.measured", { ...told, n: list.length, behaviour });

    const overlaid = others.filter((one) => !hidden.has(nameOf(one.parts)));
    const all = [measured, ...overlaid];
    const singles = every ? found.per_prompt : [];
    const rangeD = range([...all.map((one) => one.found.d_nats), ...singles].flat(), [-0.5, 0.5]);
    const rangeCost = range(all.flatMap((one) => [...one.found.kl_nats.p95, ...(one === measured ? one.found.nll_shift_nats : [])]), [-0.1, 1.2], [-1, MOST_COST]);
    plotD.show((width) => {
      const [x, y] = [scale(ends, [LEFT, width - RIGHT]), scale(rangeD, [D_HEIGHT - 8, 24])];
      return [...axes(x, y, ends, rangeD, width, D_HEIGHT, say("dose.plot.d"), false),
        ...singles.map((single) => line("single", found.coefficients, single, x, y)),
        ...overlaid.map((one) => line("other", one.found.coefficients, one.found.d_nats, x, y, others.indexOf(one))),
        line("d", found.coefficients, found.d_nats, x, y)];
    }, says);
    plotCost.show((width) => {
      const [x, y] = [scale(ends, [LEFT, width - RIGHT]), scale(rangeCost, [COST_HEIGHT - 24, 20])];
      return [...axes(x, y, ends, rangeCost, width, COST_HEIGHT, say("dose.plot.cost"), true),
        s("line", { class: "limit", x1: LEFT, x2: width - RIGHT, y1: y.at(0.2), y2: y.at(0.2) }),
        ...overlaid.map((one) => line("other", one.found.coefficients, one.found.kl_nats.p95, x, y, others.indexOf(one))),
        line("kl", found.coefficients, found.kl_nats.p95, x, y), line("nll", found.coefficients, found.nll_shift_nats, x, y)];
    }, says);

    const swatch = (/** @type {string} */ name, at = 0) => s("svg", { class: "swatch", width: 34, height: 10, "aria-hidden": "true" },
      s("path", { class: ["curve", name].join(" "), "data-at": at % 4, d: "M1,5L33,5" }));
    const eachPrompt = h("input", {
      type: "checkbox", id: "dose-every", checked: every,
      onchange: () => {
        every = eachPrompt.checked;
        draw(measured, others);
        legend.querySelector("input")?.focus();
      },
    });
    legend.replaceChildren(
      ...(list.length > 1 ? [h("li", {}, h("label", {}, eachPrompt, swatch("single"), say("dose.every")))] : []),
      h("li", {}, swatch("d"), say("dose.plot.d")), h("li", {}, swatch("kl"), say("dose.plot.kl")), h("li", {}, swatch("nll"), say("dose.plot.nll")),
      ...(others.length ? [h("li.others", {}, say("dose.others"))] : []),
      ...others.map((one, at) => {
        const [name, title] = [nameOf(one.parts), one.parts.map((part) => part.title).join(" + ")];
        const box = h("input", {
          type: "checkbox", checked: !hidden.has(name),
          onchange: () => {
            if (box.checked) hidden.delete(name);
            else hidden.add(name);
            draw(measured, others);
            [...legend.querySelectorAll("input")].at(at - others.length)?.focus();
          },
        });
        return h("li", {}, h("label", {}, box, swatch("other", at),
          one.found.behaviour === behaviour ? title : say("dose.other-behaviour", { title, behaviour: one.found.behaviour })));
      }));

    rows.replaceChildren(...found.coefficients.map((c, at) => h("tr", {},
      h("th", { scope: "row" }, signed(c)), h("td", {}, fixed(found.d_nats[at])), h("td", {}, fixed(found.kl_nats.mean[at])), h("td", {}, fixed(found.kl_nats.p95[at])),
      h("td", {}, shift(found.nll_shift_nats[at])), h("td", {}, say(`dose.language.${budget(found.nll_shift_nats[at])}`)))));
    const percent = (/** @type {number} */ share) => say("page.percent", { p: (share * 100).toFixed(0) });
    const { slope, symmetry, prompting, repetition, base_identity: base } = found;
    facts.replaceChildren(...[
      say("dose.slope", { mean: fixed(slope.mean), low: fixed(slope.low), high: fixed(slope.high) }),
      typeof symmetry === "number" && say("dose.symmetry", { value: fixed(symmetry, 2) }),
      prompting && say("dose.prompting", { positive: fixed(prompting.positive), negative: fixed(prompting.negative) }),
      repetition && say("dose.repeated", { minus: percent(repetition["-1"]), zero: percent(repetition["0"]), plus: percent(repetition["1"]) }),
      base !== true && say("dose.base-differs", { value: String(base) }),
    ].filter((text) => typeof text === "string").map((text) => h("li", {}, text)));
    prompts.show(measured);
  }

  return { element, /** When it is opened. */ open: () => actions.listBehaviours() };
}

/** Adapters that act now, and could be measured together. @param {State} state */
const acting = (state) => doses(loaded(state));

/** What was measured last of several together, while all of them are listed. @param {State} state */
const stackOf = (state) => state.measured.find((one) => one.parts.length > 1 && fits(one, state)
  && one.parts.every((part) => state.adapters.some(({ key }) => key === part.key)));

/** The adapter that is chosen, else the one that is turned; one that was refused has nothing to measure. @param {State} state */
const subjectOf = (state) => {
  const { subject } = state.bench;
  const there = subject === ALL ? acting(state).length > 1 || stackOf(state) : state.adapters.some(({ key }) => key === subject);
  const now = current(state);
  return (there ? subject : now?.error ? loaded(state)[0]?.key : now?.key) ?? "";
};

/**
 * @param {"d"|"kl"|"nll"|"other"|"single"} kind @param {number[]} c @param {(number|null)[]} values
 * @param {import("../plots/scale.js").Scale} x @param {import("../plots/scale.js").Scale} y @param {number} [at] which of the others
 */
function line(kind, c, values, x, y, at = 0) {
  const { path, points } = curve(c, values, x, y);
  return s("g", {}, s("path", { class: ["curve", kind].join(" "), "data-at": at % 4, d: path }),
    ...(["other", "single"].includes(kind) ? [] : points.map((point) => s(point.beyond ? "path" : "circle", {
      class: ["point", kind].join(" "), "data-sign": point.c === 0 ? "zero" : point.c < 0 ? "minus" : "plus",
      ...(point.beyond ? { d: `M${point.x - 5},${point.y + 7}l5,-8l5,8z` } : { cx: point.x, cy: point.y, r: kind === "d" ? 4 : 2.5 }),
    }, s("title", {}, say("dose.plot.point", { c: signed(point.c), nats: fixed(point.value) }))))));
}
