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
 * @typedef {object} Recording
 * @property {string} format
 * @property {number} version
 * @property {{name: string, file: string, sha256: string, bytes: number}} model
 * @property {import("./state/store.js").Sampling} sampling
 * @property {boolean} chat
 * @property {number} maxTokens
 * @property {number[]} coefficients  rising, 0 among them
 * @property {{name: string, title: string}[]} adapters
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
 * @param {string} adapter its name
 * @param {number} coefficient one of those recorded
 * @returns {Steps|null} null where there is no such run
 */
export function stepsOf(recording, prompt, adapter, coefficient) {
  const at = recording.adapters.findIndex(({ name }) => name === adapter);
  const run = recording.runs.find((one) => one.prompt === prompt && one.adapter === at && one.coefficient === coefficient);
  if (!run) return null;
  const { base } = recording.prompts[prompt];
  const doses = coefficient === 0 ? [] : [{ key: `shipped:${adapter}`, title: recording.adapters[at].title, c: coefficient }];
  const tokens = run.top.map((top, index) => {
    const steered = laneStep(recording, run.steered, index);
    return /** @type {const} */ ({
      kind: "token", index, base: laneStep(recording, base, index), steered,
      klNats: run.kl[index] === null ? null : Number(run.kl[index]) / 1000,
      top: rows(recording, top), doses: steered ? doses : [], cache: "current",
    });
  });
  const split = tokens.findIndex((token) => token.base?.id !== token.steered?.id);
  return { tokens, split: split < 0 ? null : split };
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
