// A curve over c as a path and its points. Pure.

/**
 * @typedef {import("./scale.js").Scale} Scale
 * @typedef {{x: number, y: number, c: number, value: number, beyond: boolean}} Point `beyond`: drawn at the edge, since it lies outside
 */

const place = (/** @type {number} */ pixels) => Number(pixels.toFixed(1));

/**
 * What cannot be measured has no point, and the line has a gap there.
 * @param {number[]} c @param {(number|null)[]} values @param {Scale} across @param {Scale} up
 * @returns {{path: string, points: Point[]}}
 */
export function curve(c, values, across, up) {
  /** @type {Point[]} */
  const points = [];
  /** Pieces without a gap. @type {string[][]} */
  const pieces = [];
  let open = false;
  for (const [at, coefficient] of c.entries()) {
    const value = values[at];
    if (value === null || value === undefined || !Number.isFinite(value)) {
      open = false;
      continue;
    }
    const [x, y] = [place(across.at(coefficient)), place(up.held(value))];
    points.push({ x, y, c: coefficient, value, beyond: Math.abs(up.at(value) - up.held(value)) > 0.5 });
    if (!open) pieces.push([]);
    open = true;
    pieces[pieces.length - 1].push(`${x},${y}`);
  }
  return { path: pieces.map((piece) => `M${piece.join("L")}`).join(""), points };
}
