// Figures of a lesson: measured numbers, as the zoo's row.json has them, in a table or as curves.
import { h } from "../dom.js";
import { LEFT, RIGHT, axes, written } from "../plots/axes.js";
import { curve } from "../plots/curve.js";
import { range, scale } from "../plots/scale.js";
import { picture, s } from "../plots/svg.js";
import { numbers, parts, say } from "../say.js";
import { rowOf } from "../shipped.js";
import { nameOf } from "../state/zoo.js";
import { term } from "./glossary.js";

/** @typedef {{name: string, row: any}} Row */

const HEIGHT = 150;
/** Of a curve on paper, which is laid out only when it is printed; lessons.css has it too. */
const PAPER = 300;
const [hundredths, whole] = [numbers({ minimumFractionDigits: 2, maximumFractionDigits: 2 }), numbers({ maximumFractionDigits: 0, useGrouping: true })];
const shown = (/** @type {unknown} */ value, /** @type {(value: number) => string} */ as = hundredths) =>
  (typeof value === "number" && Number.isFinite(value) ? written(as(value)) : say("lesson.figure.no-number"));

/** As it is called on its card. @param {string} folder */
const titled = (folder) => say("zoo.title", { behaviour: folder.split("/")[0], name: nameOf(folder) });

/** A number of a measured curve at one of its c. @param {any} row @param {number[]|undefined} values @param {number} c */
const at = (row, values, c) => values?.[row?.measured?.coefficients?.indexOf(c)];

/** What each column says of a row. @type {Record<string, (row: any) => string>} */
const COLUMNS = {
  parameters: (row) => shown(row?.parameters, whole),
  "d-minus": (row) => shown(at(row, row?.measured?.d_nats, -1)),
  "d-base": (row) => shown(at(row, row?.measured?.d_nats, 0)),
  "d-plus": (row) => shown(at(row, row?.measured?.d_nats, 1)),
  "kl-plus": (row) => shown(at(row, row?.measured?.kl_nats?.p95, 1)),
  "shift-plus": (row) => shown(at(row, row?.measured?.nll_shift_nats, 1)),
  ordered: (row) => {
    const n = row?.measured?.prompts?.length;
    return n ? say("lesson.figure.of", { k: Math.round(row.measured.ordered_share * n), n }) : say("lesson.figure.no-number");
  },
  "c-at-dose": (row) => shown(row?.dose?.cHigh),
  "d-at-dose": (row) => shown(row?.dose?.dNats?.[2]),
  prompting: (row) => shown(row?.measured?.prompting?.positive),
};

/** @typedef {import("../state/lesson-file.js").Figure} Figure */

/** @param {Figure} figure */
export function figureOf(figure) {
  const place = h("div.lesson-figure", { "aria-busy": "true" });
  fill(place, figure);
  return place;
}

/** For paper, with its numbers in it. @param {Figure} figure */
export async function printed(figure) {
  const place = h("div.lesson-figure");
  await fill(place, figure, PAPER);
  return place;
}

/** @param {HTMLElement} place @param {Figure} figure @param {number} [width] of a curve */
async function fill(place, { kind, adapters, columns = ["parameters", "kl-plus", "d-plus"] }, width) {
  const rows = await Promise.all(adapters.map(async (name) => ({ name, row: await rowOf(name).catch(() => null) })));
  place.removeAttribute("aria-busy");
  const here = rows.filter(({ row }) => row);
  const missing = rows.filter(({ row }) => !row).map(({ name }) => h("p.hint", {}, say("lesson.figure.none", { name: titled(name) })));
  const caption = say("lesson.figure.caption", { n: here[0]?.row.measured?.prompts?.length ?? 0 });
  place.replaceChildren(...(here.length ? [kind === "curve" ? curves(here, caption, width) : table(here, columns, caption)] : []), ...missing);
}

/** @param {Row[]} rows @param {string[]} columns @param {string} caption */
function table(rows, columns, caption) {
  const nats = rows.find(({ row }) => row.dose?.nats)?.row.dose.nats;
  return h("div.scroll", { tabIndex: 0, role: "region", "aria-label": caption }, h("table", {}, h("caption.hint", {}, caption),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("lesson.figure.adapter")),
      ...columns.map((column) => h("th", { scope: "col" }, say(`lesson.column.${column}`, { nats: shown(nats, whole), n: nats ?? 0 }))))),
    h("tbody", {}, ...rows.map(({ name, row }) => h("tr", {}, h("th", { scope: "row" }, titled(name)), ...columns.map((column) => h("td", {}, COLUMNS[column](row))))))));
}

/** @param {Row[]} rows @param {string} caption @param {number} [width] */
function curves(rows, caption, width) {
  const drawing = (/** @type {string} */ title, /** @type {(row: any) => (number|null)[]} */ values, /** @type {[number, number]} */ always, /** @type {[number, number]} */ most) => {
    const { drawing: element, show } = picture("plot", HEIGHT, width);
    const ends = range(rows.flatMap(({ row }) => row.measured.coefficients), [-2, 2]);
    const all = range(rows.flatMap(({ row }) => values(row)), always, most);
    show((wide) => {
      const [x, y] = [scale(ends, [LEFT, wide - RIGHT]), scale(all, [HEIGHT - 24, 24])];
      return [...axes(x, y, ends, all, wide, HEIGHT, title, true), ...rows.map(({ row }, place) =>
        s("path", { class: ["curve", place === 0 ? "d" : "other"].join(" "), "data-at": (place - 1) % 4, d: curve(row.measured.coefficients, values(row), x, y).path }))];
    }, `${title}. ${caption}`);
    return element;
  };
  const swatch = (/** @type {number} */ place) => s("svg", { class: "swatch", width: 34, height: 10, "aria-hidden": "true" },
    s("path", { class: ["curve", place === 0 ? "d" : "other"].join(" "), "data-at": (place - 1) % 4, d: "M1,5L33,5" }));
  return h("div.lesson-curves", {},
    drawing(say("lesson.figure.d"), (row) => row.measured.d_nats, [-0.5, 0.5], [-2, 4]), drawing(say("lesson.figure.kl"), (row) => row.measured.kl_nats.p95, [-0.1, 1.2], [-2, 8]),
    h("ul.plot-legend", {}, ...rows.map(({ name }, place) => h("li", {}, swatch(place), titled(name)))), h("p.hint", {}, caption),
    h("p.hint.lesson-words", {}, ...parts("lesson.figure.words", { d: term("d"), kl: term("kl"), nats: term("nats") })));
}
