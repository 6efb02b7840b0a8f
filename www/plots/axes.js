// The axes of a drawing.
import { ticks } from "./scale.js";
import { s } from "./svg.js";

/** Pixels beside the axes. */
export const [LEFT, RIGHT] = [44, 16];

/**
 * Lines, figures and the name of what goes up.
 * @param {import("./scale.js").Scale} x @param {import("./scale.js").Scale} y @param {[number, number]} ends @param {[number, number]} values
 * @param {number} width @param {number} height @param {string} name @param {boolean} below whether what goes along is written below
 */
export function axes(x, y, ends, values, width, height, name, below) {
  const across = ticks(ends, 4);
  return [
    ...ticks(values, 4).flatMap((value) => [
      s("line", { class: value === 0 ? "zero" : "grid", x1: LEFT, x2: width - RIGHT, y1: y.at(value), y2: y.at(value) }),
      s("text", { class: "up", x: LEFT - 8, y: y.at(value) + 4 }, written(value)),
    ]),
    ...across.map((c) => s("line", { class: c === 0 ? "zero" : "grid", x1: x.at(c), x2: x.at(c), y1: 20, y2: height - (below ? 22 : 4) })),
    ...(below ? across.map((c) => s("text", { class: "along", x: x.at(c), y: height - 6 }, written(c))) : []),
    s("text", { class: "name", x: 4, y: 12 }, name),
  ];
}

/** With a true minus sign. @param {number|string} value */
export const written = (value) => String(value).replace("-", "−");
