// The zoo's adapters of a behaviour, each where it moves the model as far as the others. No elements here.
import { say } from "../say.js";
import { methodsOf, titleIn } from "./methods.js";

/**
 * @typedef {object} Equal
 * @property {string} folder
 * @property {string} title
 * @property {import("./methods.js").Method["family"]|null} family
 * @property {string|null} law
 * @property {number|null} parameters
 * @property {number|null} gain  d above 0 minus d below; null where one of them is not reached
 * @property {number[]} c        below 0 and above
 * @property {number[]} d        below 0, at 0 and above
 * @property {string} why        where there is no gain
 * @property {boolean} there     whether it can be fetched
 */

/** The furthest first; what has no equal dose last, with the reason. @param {import("./store.js").State} state @param {string} behaviour @returns {Equal[]} */
export function equalDoses(state, behaviour) {
  const methods = methodsOf(state);
  const rows = (state.methods.listed?.rows ?? []).filter((row) => row.behaviour === behaviour);
  return rows.map((row) => {
    const { folder, method, dose } = row;
    const [c, d] = [whole(dose?.c), whole(dose?.d)];
    const known = methods.find(({ name }) => name === method);
    return {
      folder, title: titleIn(state, folder, method), family: known?.family ?? null, law: row.law ?? known?.law ?? null, parameters: row.parameters ?? null,
      gain: c && d ? d[2] - d[0] : null, c: c ?? [], d: d ?? [],
      why: c && d ? "" : row.failed ?? dose?.note ?? say("dose.equal.cross"),
      there: state.zoo.some((item) => item.folder === folder),
    };
  }).sort((a, b) => (b.gain ?? -Infinity) - (a.gain ?? -Infinity) || a.title.localeCompare(b.title));
}

/** All of them, or null where one is missing. @param {(number|null)[]|null|undefined} values @returns {number[]|null} */
const whole = (values) => (values && values.every((value) => value !== null) ? /** @type {number[]} */ (values) : null);

/** What the drawing shows, in words. @param {Equal[]} list as `equalDoses` gives it @param {string} behaviour */
export function summary(list, behaviour) {
  const reached = list.filter(({ gain }) => gain !== null);
  const without = list.length - reached.length;
  const [best] = reached;
  const of = best && { best: best.title, behaviour, most: Number(best.gain).toFixed(2), numbers: say("methods.size", { n: best.parameters ?? 0 }) };
  const middle = reached[Math.ceil(reached.length / 2) - 1];
  return [
    !of ? say("dose.equal.says.none", { behaviour }) : reached.length < 3 ? say("dose.equal.says.one", of)
      : say("dose.equal.says", { ...of, half: Number(middle.gain).toFixed(2) }),
    without > 0 && say("dose.equal.says.without", { n: without }),
  ].filter(Boolean).join(" ");
}
