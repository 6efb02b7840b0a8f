// A bar for each block. Pure.
import { scale } from "./scale.js";

/**
 * From the zero line up, or down below it; where there is no number there is no bar.
 * @param {{layer: number, value: number|null}[]} layers
 * @param {[number, number]} range of the values, 0 in it
 * @param {{left: number, right: number, top: number, bottom: number}} box in pixels
 * @returns {{zero: number, bars: {layer: number, value: number|null, x: number, y: number, width: number, height: number, middle: number}[]}}
 */
export function bars(layers, range, { left, right, top, bottom }) {
  const up = scale(range, [bottom, top]);
  const zero = up.at(0);
  const step = (right - left) / Math.max(1, layers.length);
  return {
    zero,
    bars: layers.map(({ layer, value }, at) => {
      const end = up.held(value ?? 0);
      return {
        layer, value, x: left + at * step + step * 0.12, width: step * 0.76, middle: left + (at + 0.5) * step,
        y: Math.min(zero, end), height: Math.abs(end - zero),
      };
    }),
  };
}
