// How a coefficient is set by hand: where the slider rests, and what a key adds.

/** The slider rests here when dragged near. */
const DETENTS = [-1, 0, 1];
/** That near, in steps of the slider, which are hundredths: in these nothing is rounded. */
const NEAR = 10;

/** Where a dragged slider comes to rest. @param {number} value */
export function rest(value) {
  const near = DETENTS.find((detent) => Math.abs(Math.round(value * 100) - detent * 100) <= NEAR);
  return near ?? value;
}

/** A coefficient and what a key adds: no dust of binary fractions, and every digit that was typed. @param {number} c @param {number} by */
export function step(c, by) {
  const sum = c + by;
  // Not −0; and where a step is less than the last digit, what is there.
  return Math.abs(sum) < 1e9 ? Number(sum.toFixed(10)) + 0 : sum;
}
