// What was measured of an adapter, and what it says of a coefficient. No elements here.
import { signed } from "../dom.js";
import { say } from "../say.js";

/**
 * @typedef {import("../engine/protocol.js").Measurement} Measurement
 * @typedef {import("./store.js").Adapter} Adapter
 * @typedef {import("./store.js").State} State
 *
 * One of the adapters that c turned, and its share of it.
 * @typedef {{key: string, scale: number, title: string, manner: string, task?: number, experts?: number[]}} Part
 *
 * @typedef {object} Measured
 * @property {Part[]} parts
 * @property {string} model      name of the model, as the engine gives it
 * @property {string} modelFile  the name of its file
 * @property {string|null} pairs text of the user's own pairs, null for those that come with the page
 * @property {Record<string, boolean|string>} [variables] that the chat template was given
 * @property {Measurement} found
 *
 * What can be asked, and which of them is under way.
 * @typedef {"measure"|"same"|"nats"|"layers"|"vector"|"train"|"pairs"|"fan"|"compare"|"batch"} Kind
 * @typedef {{kind: Kind, title: string, done: number, total: number, stopping?: boolean}} Work
 */

/** A shift of the neutral answers' likelihood up to here leaves the language as it is, in nats per token. */
const WITHIN = 0.2;
/** Beyond here it is broken. */
const BROKEN = 1;

/** @typedef {"within"|"beyond"|"broken"} Budget */

/** @param {number|null|undefined} shift in nats per token; null where it cannot be measured @returns {Budget} */
export const budget = (shift) => (shift === null || shift === undefined || shift > BROKEN ? "broken" : shift > WITHIN ? "beyond" : "within");

/** How an adapter acts, beside its coefficient; measurements that were kept know no tokens, and acted on all. @param {Adapter} adapter */
export const mannerOf = ({ law, entry, layers, modules, positions, task, experts }) =>
  JSON.stringify([law ?? entry?.law ?? null, layers || "", modules || "", task ?? null, experts ?? null, ...(positions ? [positions] : [])]);

/** @param {Adapter} adapter @param {number} [scale] @returns {Part} */
export const part = (adapter, scale = 1) =>
  ({ key: adapter.key, scale, title: adapter.title, manner: mannerOf(adapter), task: adapter.task, experts: adapter.experts });

/** What was measured of one thing takes the place of what was measured of it before. @param {Measured[]} list @param {Measured} fresh */
export const withFresh = (list, fresh) => [fresh, ...list.filter((old) => nameOf(old.parts) !== nameOf(fresh.parts))];

/** @param {{key: string}[]} parts */
export const nameOf = (parts) => parts.map(({ key }) => key).join("+");

/** Whether it was measured on the model that is there; before one is loaded any will do. @param {Measured} measured @param {State} state */
export const fits = (measured, state) => !state.model.info || state.model.info.name === measured.model;

/** Whether all that it turned is listed and acts in the same way now. @param {Measured} measured @param {State} state */
export const holds = (measured, { adapters }) => measured.parts.every(({ key, manner }) => {
  const adapter = adapters.find((one) => one.key === key);
  // Before the engine has it, its law is not known.
  return adapter && (!adapter.entry || mannerOf(adapter) === manner);
});

/** The table of an adapter that was measured alone. @param {State} state @param {string} key @returns {Measurement|null} */
export function tableOf(state, key) {
  const measured = state.measured.find(({ parts }) => parts.length === 1 && parts[0].key === key);
  return measured && fits(measured, state) && holds(measured, state) ? measured.found : null;
}

/** The c of what was measured: that of the adapters over their shares, null while these differ. @param {Measured} measured @param {Adapter[]} adapters @returns {number|null} */
export function turnedTo({ parts }, adapters) {
  const all = parts.map(({ key, scale }) => (adapters.find((one) => one.key === key)?.coefficient ?? NaN) / scale);
  return all.every((c) => Math.abs(c - all[0]) < 1e-6) ? all[0] : null;
}

/**
 * All values of c that were tried, in order, with the shift there; those outside a law's domain have none.
 * @param {Measurement} found @returns {{c: number, shift: number|null}[]}
 */
const tried = ({ coefficients, nll_shift_nats: shifts, coefficients_left_out: left }) => [
  ...coefficients.map((c, at) => ({ c, shift: shifts[at] ?? null })), ...(left ?? []).map((c) => ({ c, shift: null })),
].sort((a, b) => a.c - b.c);

/**
 * Stretches of c, each as its nearest measured point is.
 * @param {Measurement} found @param {number} low @param {number} high
 * @returns {{from: number, to: number, budget: Budget}[]}
 */
export function stretches(found, low, high) {
  /** @type {{from: number, to: number, budget: Budget}[]} */
  const list = [];
  const points = tried(found);
  for (const [at, { c, shift }] of points.entries()) {
    const from = Math.max(low, at === 0 ? c : (points[at - 1].c + c) / 2);
    const to = Math.min(high, at === points.length - 1 ? c : (points[at + 1].c + c) / 2);
    const last = list.at(-1);
    if (to <= from) continue;
    if (last?.budget === budget(shift)) last.to = to;
    else list.push({ from, to, budget: budget(shift) });
  }
  return list;
}

/**
 * The measured point nearest to c; null outside of what was measured.
 * @param {Measurement} found @param {number} c
 * @returns {{at: number, c: number, exact: boolean}|null}
 */
export function nearest({ coefficients }, c) {
  if (c < Math.min(...coefficients) - 1e-6 || c > Math.max(...coefficients) + 1e-6) return null;
  const away = coefficients.map((point) => Math.abs(point - c));
  const at = away.indexOf(Math.min(...away));
  return { at, c: coefficients[at], exact: away[at] < 1e-6 };
}

const hundredths = (/** @type {number} */ value) => value.toFixed(2);

/** What a coefficient does, by the nearest measured point, in words. @param {Measurement} found @param {number} c */
export function readOut(found, c) {
  const point = nearest(found, c);
  if (!point) return say("dose.read.outside");
  const kl = found.kl_nats.p95[point.at];
  const language = say(`dose.language.${budget(found.nll_shift_nats[point.at])}`);
  if (typeof kl !== "number") return language;
  return say(point.exact ? "dose.read.is" : "dose.read.about", { nats: hundredths(kl), language });
}

/** The same as a slider says it: the dose, and whether it is within budget. @param {Measurement} found @param {number} c @param {string} text c as it is said */
export function spoken(found, c, text) {
  const point = nearest(found, c);
  const kl = point && found.kl_nats.p95[point.at];
  if (!point || typeof kl !== "number") return say("dose.spoken", { c: text, read: readOut(found, c) });
  return say("dose.spoken.slider", { c: text, nats: hundredths(kl), budget: say(`dose.budget.${budget(found.nll_shift_nats[point.at])}`) });
}

/** The strength at c with the sign of c, as the nearest measured point has it. @param {Measurement} found @param {number} c @param {number} [digits] @returns {string|null} */
export function natsAt(found, c, digits = 2) {
  const point = nearest(found, c);
  const kl = point && found.kl_nats.p95[point.at];
  if (typeof kl !== "number") return null;
  const text = kl.toFixed(digits);
  return `${c < 0 ? "−" : ""}${text}`;
}

/** Places of −1, 0 and 1, which are always measured. @param {Measurement} found */
const ends = ({ coefficients }) => [-1, 0, 1].map((c) => coefficients.indexOf(c));

/** Whether d rises from −1 over 0 to 1. @param {Measurement} found @param {(number|null)[]} row of one prompt */
export function ordered(found, row) {
  const [low, zero, high] = ends(found).map((at) => row[at] ?? null);
  return low !== null && zero !== null && high !== null && low < zero && zero < high;
}

/** How many of its prompts a share is. @param {Measurement} found @param {number} share */
export const count = ({ prompts }, share) => Math.round(share * prompts.length);

/** What a measurement shows, in plain words. @param {Measurement} found */
export function summary(found) {
  const d = /** @type {(number|null)[]} */ (found.d_nats);
  const [low, zero, high] = ends(found);
  const shifts = [low, high].map((at) => found.nll_shift_nats[at] ?? null);
  const worst = shifts.includes(null) ? null : Math.max(.../** @type {number[]} */ (shifts));
  /** @param {"plus"|"minus"} side @param {number} at */
  const turned = (side, at) => {
    const [here, base] = [d[at] ?? null, d[zero] ?? null];
    if (here === null || base === null) return say(`dose.says.${side}.none`);
    const by = here - base;
    return say(by >= 0 ? `dose.says.${side}.likelier` : `dose.says.${side}.less`, { nats: hundredths(Math.abs(by)) });
  };
  const n = found.prompts.length;
  return [
    turned("plus", high), turned("minus", low),
    say("dose.says.ordered", { k: count(found, found.ordered_share), n }),
    say(`dose.says.${budget(worst)}`, { minus: shift(shifts[0]), plus: shift(shifts[1]) }),
  ].join(" ");
}

/** A shift as text. @param {number|null|undefined} nats */
export const shift = (nats) => (typeof nats === "number" ? signed(nats) : say("dose.no-number"));

/** Whether something has the shape of a measurement. @param {any} value @returns {value is Measured} */
export const isMeasured = (value) => Array.isArray(value?.parts) && value.parts.length > 0
  && value.parts.every((/** @type {any} */ one) => typeof one?.key === "string" && typeof one.scale === "number")
  && typeof value.model === "string" && typeof value.modelFile === "string" && (value.pairs === null || typeof value.pairs === "string")
  && ["coefficients", "d_nats", "per_prompt", "prompts", "nll_shift_nats", "adapters"].every((field) => Array.isArray(value.found?.[field]))
  && Array.isArray(value.found.kl_nats?.p95) && Array.isArray(value.found.kl_nats?.mean)
  && [-1, 0, 1].every((c) => value.found.coefficients.includes(c));
