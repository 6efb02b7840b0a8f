// The picture of a weight: the change as squares, singular values before and after, the change's own; each with a table
// and a sentence.
import { h, shareText, signed } from "../dom.js";
import { axes, LEFT, RIGHT } from "../plots/axes.js";
import { curve } from "../plots/curve.js";
import { range, scale } from "../plots/scale.js";
import { picture, s } from "../plots/svg.js";
import { cells } from "../plots/weight.js";
import { numbers, say } from "../say.js";
import { placeName } from "../state/picture.js";

const HEIGHT = 170;
const digits = numbers({ maximumSignificantDigits: 3 });
/** Below it nothing moved that an f32 can tell. */
const STAYS = 1e-4;

/** @typedef {ReturnType<typeof picture>} Drawing @typedef {import("../pkg/steering_playground.js").PictureOfWeight} PictureOfWeight @typedef {import("../state/picture.js").WeightPicture} WeightPicture */

/** @param {import("../actions.js").Actions} actions */
export function weightPlots(actions) {
  const sentence = h("p.says", { role: "status" });
  const masked = h("p.hint", { hidden: true }, say("method.picture.masked"));
  const small = s("svg", { class: "small-weight", role: "img" });
  const show = (/** @type {"means"|"sizes"} */ which) => h("label", {}, h("input", {
    type: "radio", name: "weight-values", value: which, onchange: () => actions.setPicture({ values: which }),
  }), say(`method.picture.${which}`));
  const radios = h("fieldset.segmented", {}, h("legend", {}, say("method.picture.values")), show("means"), show("sizes"));
  const swatch = (/** @type {string} */ sign) => h("li", {}, s("svg", { class: ["small-weight", "swatch"].join(" "), width: 12, height: 12, "aria-hidden": "true" },
    s("path", { class: sign, "data-level": "8", d: "M0,0h12v12h-12z" })), say(`method.picture.${sign}`));
  const legend = h("ul.plot-legend", {}, swatch("minus"), swatch("plus"));
  const spectrum = picture("plot", HEIGHT);
  const after = h("span");
  const sample = (/** @type {string} */ name) => s("svg", { class: "swatch", width: 34, height: 10, "aria-hidden": "true" }, s("path", { class: ["curve", name].join(" "), d: "M1,5L33,5" }));
  const change = picture("plot", HEIGHT);
  const rows = h("tbody");
  const every = say("method.picture.every");
  const table = h("details.table", {}, h("summary", {}, say("dose.table")), h("div.scroll", { tabIndex: 0, role: "region", "aria-label": every },
    h("table", {}, h("caption.sr", {}, every), h("thead", {}, h("tr", {}, ...["number", "before"].map((name) => h("th", { scope: "col" }, say(`method.picture.${name}`))),
      h("th", { scope: "col" }, after), h("th", { scope: "col" }, say("method.picture.of-change")))), rows)));
  const afterToo = h("span");
  const drawings = h("div.weight-plots", {},
    h("figure", {}, h("figcaption", {}, say("method.picture.small")), small, radios, legend),
    h("div", {}, h("h5", {}, say("method.picture.spectrum")), spectrum.drawing,
      h("ul.plot-legend", {}, h("li", {}, sample("before"), say("method.picture.before")), h("li", {}, sample("after"), afterToo)),
      h("h5", {}, say("method.picture.change")), change.drawing));
  const element = h("section.weight-room", { hidden: true }, h("h4", {}, say("method.picture")), sentence, masked, drawings, table);

  return {
    element,
    /** @param {import("../state/store.js").Adapter} adapter @param {WeightPicture|null} found @param {import("../state/picture.js").Picture} state */
    update(adapter, found, { values }) {
      element.hidden = !found;
      if (!found) return;
      const { what } = found;
      const says = what.kind === "weight" ? weightWords(adapter.title, found, what) : otherWords(what);
      sentence.textContent = says;
      masked.hidden = !found.isMasked;
      drawings.hidden = table.hidden = what.kind !== "weight";
      if (what.kind !== "weight") return;
      const [down, across] = what.small;
      small.setAttribute("viewBox", `0 0 ${across} ${down}`);
      small.setAttribute("aria-label", says);
      small.replaceChildren(...cells(what[values], what.small).map(({ sign, level, d }) => s("path", { class: sign, "data-level": level, d })));
      for (const radio of radios.querySelectorAll("input")) radio.checked = radio.value === values;
      legend.hidden = values === "sizes";
      after.textContent = afterToo.textContent = say("method.picture.after", { c: signed(found.c) });
      draw(spectrum, [["before", what.base], ["after", what.steered]], says);
      draw(change, [["change", what.change]], says);
      const value = (/** @type {number|undefined} */ number) => (number === undefined ? "" : digits(number));
      rows.replaceChildren(...Array.from({ length: Math.max(what.base.length, what.steered.length, what.change.length) }, (_, at) => h("tr", {},
        h("th", { scope: "row" }, String(at + 1)), h("td", {}, value(what.base[at])), h("td", {}, value(what.steered[at])), h("td", {}, value(what.change[at])))));
    },
  };
}

/** Falling values, one after the other. @param {Drawing} plot @param {[kind: string, values: number[]][]} lines @param {string} text */
function draw(plot, lines, text) {
  const most = Math.max(2, ...lines.map(([, values]) => values.length));
  const up = range(lines.flatMap(([, values]) => values), [0, 1e-6]);
  plot.show((width) => {
    /** @type {[number, number]} */
    const ends = [1, most];
    const [x, y] = [scale(ends, [LEFT, width - RIGHT]), scale(up, [HEIGHT - 24, 24])];
    return [...axes(x, y, ends, up, width, HEIGHT, say("method.picture.axis"), true),
      ...lines.map(([kind, values]) => {
        const { path, points } = curve(values.map((_, at) => at + 1), values, x, y);
        return s("g", {}, s("path", { class: ["curve", kind].join(" "), d: path }),
          ...points.map((point) => s("circle", { class: ["point", kind].join(" "), cx: point.x, cy: point.y, r: kind === "before" ? 3 : 2 },
            s("title", {}, say("method.picture.value", { index: String(point.c), value: digits(point.value) })))));
      })];
  }, text);
}

/** @param {string} title @param {WeightPicture} found @param {PictureOfWeight} what */
function weightWords(title, { module, layer, c }, { shape, change, isWhole, relative, constant, moved }) {
  const place = placeName(module, layer);
  if (c === 0) return say("method.says.zero", { title, place });
  if (!change.length && constant > 0) return say("method.says.nothing", { title, place, c: signed(c) });
  const most = String(Math.min(...shape));
  const rank = say(isWhole ? "method.says.rank" : "method.says.rank-least", { rank: String(change.length), most });
  const values = moved < STAYS ? say("method.says.values-stay") : say("method.says.values", { share: shareText(moved) });
  return say("method.says", { title, place, c: signed(c), share: shareText(relative), rank, values });
}

/** @param {import("../pkg/steering_playground.js").OtherPicture} what */
function otherWords(what) {
  switch (what.kind) {
    case "mixture": return say("method.other.mixture");
    case "tooLarge": return say("method.other.tooLarge", { rows: what.shape[0], columns: what.shape[1], largest: what.largest });
    case "rows": return say("method.other.rows", { rows: what.shape[0], columns: what.shape[1] });
    case "gain": return say("method.other.gain", { width: what.width, share: shareText(what.change) });
    case "tokens": return say("method.other.tokens", { n: what.tokens, heads: what.heads, width: what.headWidth });
    case "step": {
      const length = digits(what.length);
      const said = what.removed === 0 ? say("method.other.step", { length, width: what.width }) : say("method.other.step-removed", { length, share: shareText(what.removed) });
      return what.keepsLength ? `${said} ${say("method.other.step-keeps")}` : said;
    }
  }
}
