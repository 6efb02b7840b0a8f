// The picture of a change of a weight: one square for each of its cells. Pure.

/** Strengths of a colour. */
export const LEVELS = 8;

/**
 * The squares of one sign and strength as one path, one unit wide each; those of 0 have none. Strength grows with the
 * root of the number, so that what is small is seen beside what is large.
 * @param {number[]} values row by row @param {[rows: number, columns: number]} shape
 * @returns {{sign: "minus"|"plus", level: number, d: string}[]}
 */
export function cells(values, [, columns]) {
  const most = values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  /** @type {Map<string, {sign: "minus"|"plus", level: number, d: string}>} */
  const paths = new Map();
  for (const [at, value] of values.entries()) {
    if (value === 0 || !Number.isFinite(value)) continue;
    const level = Math.max(1, Math.ceil(LEVELS * Math.sqrt(Math.abs(value) / most)));
    const sign = value < 0 ? "minus" : "plus";
    const path = paths.get(`${sign}${level}`) ?? { sign, level, d: "" };
    path.d += `M${at % columns},${Math.floor(at / columns)}h1v1h-1z`;
    paths.set(`${sign}${level}`, path);
  }
  return [...paths.values()];
}
