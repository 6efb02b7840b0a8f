// What the steps of a training said, as lines over the steps. Pure.

/**
 * @typedef {import("../engine/protocol.js").TrainStep} TrainStep
 * @typedef {{at: number[], values: (number|null)[]}} Line
 */

/**
 * @param {TrainStep[]} steps
 * @param {number} round losses that are averaged up to each step; before there are so many there is no mean
 * @returns {{losses: Line, means: Line, d: {minus: Line, base: Line, plus: Line}}}
 */
export function trainingLines(steps, round) {
  const at = steps.map(({ step }) => step);
  const values = steps.map(({ loss }) => loss);
  const means = values.map((_, last) => (last + 1 < round ? null
    : values.slice(last + 1 - round, last + 1).reduce((sum, loss) => sum + loss, 0) / round));
  const looks = steps.flatMap(({ step, check }) => (check ? [{ step, d: check.dNats }] : []));
  const d = (/** @type {number} */ place) => ({ at: looks.map(({ step }) => step), values: looks.map((look) => look.d[place]) });
  return { losses: { at, values }, means: { at, values: means }, d: { minus: d(0), base: d(1), plus: d(2) } };
}
