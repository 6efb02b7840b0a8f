// From numbers to places on a drawing. Pure: a scale is a pair of numbers and a pair of places.

/**
 * @typedef {object} Scale
 * @property {(value: number) => number} at    the place of a number, in pixels
 * @property {(place: number) => number} of    the number at a place
 * @property {(value: number) => number} held  the place of the nearest number that is on the drawing
 */

/** @param {[number, number]} numbers @param {[number, number]} places @returns {Scale} */
export function scale([low, high], [from, to]) {
  const at = (/** @type {number} */ value) => from + ((value - low) / (high - low)) * (to - from);
  return {
    at,
    of: (place) => low + ((place - from) / (to - from)) * (high - low),
    held: (value) => at(Math.min(high, Math.max(low, value))),
  };
}

/**
 * The least range that holds some numbers and a range that is always shown; what lies beyond the most is drawn at its edge.
 * @param {(number|null)[]} values @param {[number, number]} always @param {[number, number]} [most] @returns {[number, number]}
 */
export function range(values, always, most = [-Infinity, Infinity]) {
  const there = values.filter((value) => value !== null);
  return [Math.max(most[0], Math.min(always[0], ...there)), Math.min(most[1], Math.max(always[1], ...there))];
}

/** Round numbers in a range, about so many. @param {[number, number]} range @param {number} about */
export function ticks([low, high], about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((times) => times * power >= rough * 0.999) ?? 10);
  const list = [];
  for (let at = Math.ceil(low / step - 1e-9); at * step <= high + 1e-9 * step; at += 1) list.push(Number((at * step).toFixed(10)) + 0);
  return list;
}
