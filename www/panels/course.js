// How a training goes: the loss and d over its steps, a sentence, and a table.
import { h, signed } from "../dom.js";
import { LEFT, RIGHT, axes } from "../plots/axes.js";
import { curve } from "../plots/curve.js";
import { range, scale } from "../plots/scale.js";
import { picture, s } from "../plots/svg.js";
import { trainingLines } from "../plots/training.js";
import { say } from "../say.js";
import { ROUND, foretold, summary } from "../state/training.js";

/**
 * @typedef {import("../plots/scale.js").Scale} Scale
 * @typedef {import("../state/training.js").Course} Course
 * @typedef {"minus"|"base"|"plus"} Side
 */

const HEIGHT = 150;
/** @type {Side[]} */
const SIDES = ["minus", "base", "plus"];
const COLUMNS = ["step", "sign", "loss", "gradient", "d", "order", "nll", "best"];

export function courseView() {
  const [plotLoss, plotD] = [picture("plot", HEIGHT), picture("plot", HEIGHT)];
  const of = h("p.hint");
  const sentence = h("p.says");
  const rows = h("tbody");
  const swatch = (/** @type {string} */ name) => s("svg", { class: "swatch", width: 34, height: 10, "aria-hidden": "true" },
    ...(name === "step" ? [dot("minus", 11, 5), dot("plus", 23, 5)] : [s("path", { class: ["curve", name].join(" "), d: "M1,5L33,5" })]));
  const legend = h("ul.plot-legend", {},
    h("li", {}, swatch("step"), say("train.plot.single")), h("li", {}, swatch("mean"), say("train.plot.mean", { n: ROUND })),
    ...SIDES.map((side) => h("li", {}, swatch(side), say(`train.plot.${side}`))));
  const element = h("div.result", { hidden: true }, of, sentence, plotLoss.drawing, plotD.drawing, legend,
    h("details.table", {}, h("summary", {}, say("train.table")),
      h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("train.table") }, h("table", {},
        h("thead", {}, h("tr", {}, ...COLUMNS.map((name) => h("th", { scope: "col" }, say(`train.column.${name}`))))), rows))));
  /** @type {Course|null} */
  let drawn = null;

  return {
    element,
    /** @param {Course|null} course @param {import("../engine/protocol.js").MethodCard[]} methods */
    update(course, methods) {
      element.hidden = !course;
      if (!course || course === drawn) return;
      const grows = drawn?.wish === course.wish && course.steps.length >= drawn.steps.length;
      const from = grows && drawn ? drawn.steps.length : 0;
      drawn = course;
      const { wish } = course;
      const method = methods.find((one) => one.name === wish.method)?.title ?? wish.method;
      const what = say("train.of", { name: course.name, method, n: course.parameters, behaviour: wish.behaviour });
      of.textContent = [what, foretold(course)].filter(Boolean).join(" ");
      const says = summary(course);
      sentence.textContent = says;
      draw(course, says);
      if (!from) rows.replaceChildren();
      rows.append(...course.steps.slice(from).map(row));
    },
  };

  /** @param {Course} course @param {string} says */
  function draw({ steps, wish }, says) {
    const { losses, means, d } = trainingLines(steps, ROUND);
    /** @type {[number, number]} */
    const ends = [0, wish.steps];
    const [rangeLoss, rangeD] = [range(losses.values, [0, 1]), range(SIDES.flatMap((side) => d[side].values), [-0.5, 0.5])];
    const across = (/** @type {number} */ width) => scale(ends, [LEFT, width - RIGHT]);
    plotLoss.show((width) => {
      const [x, y] = [across(width), scale(rangeLoss, [HEIGHT - 8, 24])];
      return [...axes(x, y, ends, rangeLoss, width, HEIGHT, say("train.plot.loss"), false),
        s("path", { class: ["curve", "mean"].join(" "), d: curve(means.at, means.values, x, y).path }),
        ...points(losses, x, y, (at) => (steps[at].sign < 0 ? "minus" : "plus"))];
    }, says);
    plotD.show((width) => {
      const [x, y] = [across(width), scale(rangeD, [HEIGHT - 24, 24])];
      return [...axes(x, y, ends, rangeD, width, HEIGHT, say("train.plot.d"), true),
        ...SIDES.flatMap((side) => [s("path", { class: ["curve", side].join(" "), d: curve(d[side].at, d[side].values, x, y).path }),
          ...points(d[side], x, y, () => side)])];
    }, says);
  }
}

/** @param {Side} side @param {number} cx @param {number} cy @param {...SVGElement} inside */
const dot = (side, cx, cy, ...inside) => s("circle", { class: "point", "data-sign": side, cx, cy, r: 2.5 }, ...inside);

/** What c is on each side. */
const C = { minus: "−1", base: "0", plus: "+1" };

/** @param {import("../plots/training.js").Line} line @param {Scale} x @param {Scale} y @param {(at: number) => Side} sideOf */
const points = ({ at, values }, x, y, sideOf) => curve(at, values, x, y).points.map((point, place) => {
  const side = sideOf(place);
  return dot(side, point.x, point.y, s("title", {}, say("train.plot.step", { n: point.c, c: C[side], value: point.value.toFixed(3) })));
});

/** @param {import("../engine/protocol.js").TrainStep} step */
const row = ({ step, sign, loss, gradient, check }) => h("tr", {},
  h("th", { scope: "row" }, String(step)), h("td", {}, signed(sign)), h("td", {}, loss.toFixed(3)), h("td", {}, gradient.toFixed(3)),
  ...(check ? [
    h("td", {}, check.dNats.map(signed).join(", ")), h("td", {}, say("page.percent", { p: (check.orderedShare * 100).toFixed(0) })),
    h("td", {}, check.nllShiftNats.map(signed).join(", ")), h("td", {}, check.isBest ? say("train.yes") : ""),
  ] : COLUMNS.slice(4).map(() => h("td"))));
