// A recorded run: what the engine wrote, step by step, for some prompts, adapters and coefficients,
// made by `cargo xtask record`. Its format is described in docs/RECORDING.md; here it becomes the
// steps that a live run gives.

const FORMAT = "steering-recording";
const VERSION = 1;

/**
 * @typedef {object} Lane
 * @property {number[]} tokens       places in `tokens`
 * @property {number[]} probability  in thousandths
 * @property {import("./state/store.js").LaneStep["finish"]} finish
 *
 * @typedef {{tokens: import("./state/store.js").Token[], split: number|null}} Steps
 *
 * `layers`: the blocks that it was held to. `from`: the step at which it was turned, from 0, and what of the
 * cache was kept then.
 * @typedef {{name: string, title: string, sha256?: string, layers?: string, from?: number, cache?: "keep"|"recompute"}} RecordedAdapter
 *
 * @typedef {object} Recording
 * @property {string} format
 * @property {number} version
 * @property {{name: string, file: string, sha256: string, bytes: number}} model
 * @property {import("./state/store.js").Sampling} sampling
 * @property {boolean} chat
 * @property {number} maxTokens
 * @property {number[]} coefficients  rising, 0 among them
 * @property {RecordedAdapter[]} adapters
 * @property {string} by
 * @property {boolean} klAfterSplit
 * @property {[number, string][]} tokens  id and text
 * @property {{text: string, base: Lane}[]} prompts
 * @property {{prompt: number, adapter: number, coefficient: number, steered: Lane, kl: (number|null)[], top: (number|null)[][]}[]} runs
 */

/** @param {any} json @returns {Recording} */
export function readRecording(json) {
  if (json?.format !== FORMAT) throw new Error(`not a recording: its format is ${JSON.stringify(json?.format)}, not "${FORMAT}"`);
  if (json.version !== VERSION) throw new Error(`a recording of version ${json.version}; this page plays version ${VERSION}`);
  return json;
}

/** The recorded coefficient next to c; of two equally near the one nearer 0. @param {Recording} recording @param {number} c */
export const nearest = ({ coefficients }, c) => coefficients.reduce((best, one) => {
  const [d, least] = [Math.abs(one - c), Math.abs(best - c)];
  return d < least || (d === least && Math.abs(one) < Math.abs(best)) ? one : best;
});

/**
 * The steps of one recorded run, as the engine reports them.
 * @param {Recording} recording
 * @param {number} prompt its place
 * @param {number} adapter its place
 * @param {number} coefficient one of those recorded
 * @param {{key: string, title: string}} turned what is turned on this page
 * @returns {Steps|null} null where there is no such run
 */
export function stepsOf(recording, prompt, adapter, coefficient, turned) {
  const run = recording.runs.find((one) => one.prompt === prompt && one.adapter === adapter && one.coefficient === coefficient);
  if (!run) return null;
  const { base } = recording.prompts[prompt];
  const { from = 0, cache } = recording.adapters[adapter];
  const doses = coefficient === 0 ? [] : [{ key: turned.key, title: turned.title, c: coefficient }];
  const tokens = run.top.map((top, index) => {
    const steered = laneStep(recording, run.steered, index);
    const acts = Boolean(steered) && index >= from && coefficient !== 0;
    return /** @type {const} */ ({
      kind: "token", index, base: laneStep(recording, base, index), steered,
      klNats: run.kl[index] === null ? null : Number(run.kl[index]) / 1000,
      top: rows(recording, top), doses: acts ? doses : [], cache: acts ? used(cache, index - from) : "current",
    });
  });
  const split = tokens.findIndex((token) => token.base?.id !== token.steered?.id);
  return { tokens, split: split < 0 ? null : split };
}

/** What was done with the cache, so many steps after a turn. @param {RecordedAdapter["cache"]} cache @param {number} steps */
const used = (cache, steps) => (cache === "keep" ? "kept" : cache === "recompute" && steps === 0 ? "recomputed" : "current");

/**
 * Which of the recorded adapters one of the page's is, as it acts now: one that comes with the page by its name, one of the
 * zoo, which a recording names by its folder alone, by its weights. -1 if it is none of them.
 * @param {Recording} recording
 * @param {import("./state/store.js").Adapter} adapter
 * @param {{zoo: import("./state/zoo.js").ZooItem[], cache: "keep"|"recompute"}} state
 */
export function placeOf({ adapters }, { key, name, layers = "", modules, positions }, { zoo, cache }) {
  if (modules || positions) return -1;
  const sha256 = key.startsWith("zoo:") ? zoo.find(({ folder }) => folder === name)?.sha256 : undefined;
  const known = (/** @type {RecordedAdapter} */ one) => (key.startsWith("shipped:") ? one.name === name : sha256 !== undefined && one.sha256 === sha256);
  return adapters.findIndex((one) => known(one) && (one.layers ?? "") === layers && (one.cache ?? cache) === cache);
}

/** The step of a lane. @param {Recording} recording @param {Lane} lane @param {number} index */
function laneStep({ tokens }, lane, index) {
  if (index >= lane.tokens.length) return null;
  const [id, text] = tokens[lane.tokens[index]];
  return { id, text, probability: lane.probability[index] / 1000, finish: index === lane.tokens.length - 1 ? lane.finish : null };
}

/** The likeliest tokens of a step: place, base, steered, in one flat list. @param {Recording} recording @param {(number|null)[]} flat */
function rows({ tokens }, flat) {
  const list = [];
  for (let at = 0; at < flat.length; at += 3) {
    const [id, text] = tokens[Number(flat[at])];
    const [base, steered] = [flat[at + 1], flat[at + 2]].map((thousandths) => (thousandths === null ? null : thousandths / 1000));
    list.push({ id, text, base, steered });
  }
  return list;
}
