// Small signs that tell families and laws apart by their shape. Pure: paths.

/**
 * @typedef {import("../engine/protocol.js").MethodCard["family"]} Family
 * @typedef {import("../engine/protocol.js").Law} Law
 * @typedef {{d: string, filled: boolean}} Stroke
 */

const FRAME = { d: "M3.5,3.5h17v17h-17z", filled: false };
const square = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ side) => `M${x},${y}h${side}v${side}h${-side}z`;
const cells = [5, 9, 13, 17].flatMap((y) => [5, 9, 13, 17].map((x) => square(x - 0.5, y - 0.5, 3)));

/** What each family changes of a layer, in a square of 24: the places of a matrix, what stands before a text, an arrow. @type {Record<Family, Stroke[]>} */
export const STRUCTURE = {
  // A tall matrix times a wide one.
  "low-rank": [{ d: "M3.5,3.5h4.5v17h-4.5z", filled: true }, { d: "M11,3.5h9.5v4.5h-9.5z", filled: true }],
  "full-rank": [FRAME, { d: cells.join(""), filled: true }],
  scale: [FRAME, { d: [5, 9, 13, 17].map((at) => square(at - 0.5, at - 0.5, 3)).join(""), filled: true }],
  // A square, and the same one turned.
  rotate: [{ d: square(5.5, 5.5, 13), filled: false }, { d: "M12,2.5L21.5,12L12,21.5L2.5,12z", filled: false }],
  prompt: [{ d: square(2, 9.5, 5) + square(9.5, 9.5, 5), filled: true }, { d: square(17, 9.5, 5), filled: false }],
  vector: [{ d: "M4,20L18,6", filled: false }, { d: "M20.5,3.5l-2,8l-6,-6z", filled: true }],
};

/** How what is trained comes with c, in a box of 20 × 12. @type {Record<Law, string>} */
export const COURSE = {
  linear: "M2,11L18,1",
  // An arc: nothing gets longer.
  geodesic: "M2,10.5A8,8 0 0 1 18,10.5",
  power: "M2,10.5C10,10 15,8 18,1",
  // A spiral: turned and stretched.
  "log-polar": "M10,6.5A1.5,1.5 0 0 1 13,6A3.2,3.2 0 0 1 6.5,6A4.6,4.6 0 0 1 16,5.5",
  // The strengths of a layer's own directions.
  spectral: "M3,11V2M8,11V4.5M13,11V7M18,11V9",
  gate: "M2,10.5H10V1.5H18",
  "attention-mix": "M2,2C9,2 11,10 18,10M2,10C9,10 11,2 18,2",
};

/** A family's mark around a place; a family that is not known has a cross. @param {Family|null} family @param {number} x @param {number} y */
export function mark(family, x, y) {
  const at = (/** @type {number} */ dx, /** @type {number} */ dy) => `M${(x + dx).toFixed(1)},${(y + dy).toFixed(1)}`;
  switch (family) {
    case "low-rank": return `${at(-4.5, 0)}a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z`;
    case "full-rank": return `${at(-4, -4)}h8v8h-8z`;
    case "scale": return `${at(0, -5)}l5,9h-10z`;
    case "rotate": return `${at(0, -5.5)}l5.5,5.5l-5.5,5.5l-5.5,-5.5z`;
    case "prompt": return `${at(0, 5)}l5,-9h-10z`;
    case "vector": return `${at(-1.5, -5.5)}h3v4h4v3h-4v4h-3v-4h-4v-3h4z`;
    default: return `${at(-4, -4)}l8,8${at(4, -4)}l-8,8`;
  }
}
