// Points by their numbers of parameters, in decades, and something that goes up; names where there is room. Pure.
import { range, scale, ticks } from "./scale.js";

/**
 * @typedef {{parameters: number|null, value: number|null, name: string}} Given a null value has a place below the axis
 * @typedef {{left: number, right: number, top: number, bottom: number, below: number}} Box in pixels; `below` is where those without a value are
 * @typedef {{x: number, y: number}} Place
 */

const place = (/** @type {number} */ pixels) => Number(pixels.toFixed(1));
/** Between a mark's middle and its name, and the height of a line. */
const [AWAY, LINE] = [8, 11];
/** About how wide a name is. @param {string} name */
const wide = (name) => [...name].reduce((sum, letter) => sum + (/[A-Z+]/.test(letter) ? 8 : 6), 0);

/**
 * @param {Given[]} points @param {Box} box
 * @returns {{places: Place[], across: {value: number, x: number}[], up: {value: number, y: number}[], names: {text: string, x: number, y: number, anchor: "start"|"end"|"middle"}[]}}
 *   `places` are in the order of the points; of names those that find room
 */
export function scatter(points, box) {
  const { left, right, top, bottom, below } = box;
  const sizes = points.map(({ parameters }) => parameters).filter((size) => size !== null && size > 0).map((size) => Math.log10(Number(size)));
  const least = Math.floor(Math.min(...sizes, Infinity) + 1e-9);
  const decades = sizes.length ? [least, Math.max(least + 1, Math.ceil(Math.max(...sizes) - 1e-9))] : [3, 6];
  const x = scale([decades[0], decades[1]], [left, right]);
  const values = range(points.map(({ value }) => value), [0, 0.5]);
  const room = (values[1] - values[0]) * 0.06;
  const y = scale([values[0] < 0 ? values[0] - room : 0, values[1] + room], [bottom, top]);
  // Of what is not there its size may be unknown too.
  const at = (/** @type {number|null} */ parameters) => (parameters !== null && parameters > 0 ? x.held(Math.log10(parameters)) : left);
  const places = points.map(({ parameters, value }) => ({ x: place(at(parameters)), y: place(value === null ? below : y.at(value)) }));
  return {
    places,
    across: Array.from({ length: decades[1] - decades[0] + 1 }, (_, step) => ({ value: 10 ** (decades[0] + step), x: place(x.at(decades[0] + step)) })),
    up: ticks([values[0], values[1] + room], 4).map((value) => ({ value, y: place(y.at(value)) })),
    names: named(points, places, box),
  };
}

/** @param {Given[]} points @param {Place[]} places @param {Box} box */
function named(points, places, { left, right, top, below }) {
  /** Left, top, right, bottom. @type {[number, number, number, number][]} */
  const taken = places.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
  return points.flatMap(({ name }, index) => {
    const [{ x, y }, width] = [places[index], wide(name)];
    const ways = /** @type {const} */ ([["start", x + AWAY, y + 4], ["end", x - AWAY, y + 4], ["middle", x, y - AWAY], ["middle", x, y + AWAY + LINE - 3]]);
    for (const [anchor, at, base] of ways) {
      const from = at - { start: 0, middle: width / 2, end: width }[anchor];
      const [l, t, r, b] = [from, base - LINE + 2, from + width, base + 2];
      if (l < left || r > right || t < top || b > below + LINE || !taken.every((one) => r < one[0] || l > one[2] || b < one[1] || t > one[3])) continue;
      taken.push([l, t, r, b]);
      return [{ text: name, x: place(at), y: place(base), anchor }];
    }
    return [];
  });
}
