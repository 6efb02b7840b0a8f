// A training of an adapter: what was asked, what its steps said, and what it takes to go on. No elements here.
import { megabytes, signed } from "../dom.js";
import { say } from "../say.js";

/**
 * @typedef {import("../engine/protocol.js").MethodCard} MethodCard
 * @typedef {import("../engine/protocol.js").TrainStep} TrainStep
 *
 * What the engine is asked, all but where to go on from.
 * @typedef {Omit<import("../engine/protocol.js").TrainOptions, "state"|"signal"> & {steps: number}} Wish
 *
 * @typedef {object} Course
 * @property {string} name        of the adapter that comes of it
 * @property {Wish} wish
 * @property {string} model       name of the model
 * @property {TrainStep[]} steps  made so far
 * @property {number} parameters  how many numbers are trained, 0 while unknown
 * @property {number} seconds     that its steps took
 * @property {import("../engine/protocol.js").TrainEstimate} [estimate] of the steps that were to come when it began
 * @property {"under-way"|"done"|"early"|"stopped"|"failed"} [end]
 *
 * @typedef {Course & {state: Uint8Array}} Kept
 *
 * @typedef {object} Training
 * @property {Course|null} course under way, or the last one
 * @property {Kept|null} kept     what can be gone on with
 * @property {boolean} elsewhere  whether another tab had what the browser keeps when this one opened
 * @property {string} unkept      why a reload would lose it, "" where it would not
 * @property {(import("../engine/protocol.js").Leavings & {key: string, name: string})[]} made
 */

/** @type {Training} */
export const NO_TRAINING = { course: null, kept: null, elsewhere: false, unkept: "", made: [] };

/** Whether it is what an earlier visit kept. @param {any} value @returns {value is Kept} */
export const isKept = (value) => typeof value?.name === "string" && typeof value.model === "string" && value.state instanceof Uint8Array
  && typeof value.wish?.method === "string" && typeof value.wish.behaviour === "string" && value.wish.steps > 0
  && Array.isArray(value.steps) && value.steps.every((/** @type {any} */ step) => typeof step?.loss === "number")
  && typeof value.parameters === "number" && typeof value.seconds === "number";

/** The middle 30 to 70 % of a model's blocks, "9-20" of 30; "" before there is one. @param {number} layers */
export const middle = (layers) => (layers > 0 ? `${Math.round(layers * 0.3)}-${Math.max(Math.round(layers * 0.3), Math.round(layers * 0.7) - 1)}` : "");

/** Methods that can be trained, by what they do; LoRA, of which most is known, is the first. @param {MethodCard[]} methods @returns {[MethodCard["family"], MethodCard[]][]} */
export function trainable(methods) {
  /** @type {Map<MethodCard["family"], MethodCard[]>} */
  const families = new Map();
  const lora = methods.filter(({ name }) => name === "lora");
  for (const method of [...lora, ...methods.filter((one) => !lora.includes(one))]) {
    if (method.trains) families.set(method.family, [...families.get(method.family) ?? [], method]);
  }
  return [...families];
}

/** Seconds for each step, looks at the stop rows included; null before the first. @param {Course} course */
const pace = ({ steps, seconds }) => (steps.length ? seconds / steps.length : null);

/** @param {number} seconds */
const timeLeft = (seconds) => (seconds >= 90 ? say("train.minutes-left", { n: Math.round(seconds / 60) }) : say("train.seconds-left", { n: Math.ceil(seconds) }));

/** What it takes, as its first step said before it was made; "" before that. @param {Course} course */
export function foretold({ estimate }) {
  if (!estimate) return "";
  const { seconds, steps, memory: { wasmHeapPeakBytes, gpuPeakBytes } } = estimate;
  const time = seconds >= 90 ? say("train.minutes", { n: Math.round(seconds / 60) }) : say("train.seconds", { n: Math.ceil(seconds) });
  return say("train.foretold", { n: steps, time, memory: megabytes(wasmHeapPeakBytes + gpuPeakBytes) });
}

/** How far it is, in words. @param {Course} course */
export function progress(course) {
  const { steps, wish, estimate } = course;
  const each = pace(course);
  if (each === null) return estimate ? say("train.first", { total: wish.steps, time: timeLeft(estimate.seconds) }) : say("train.begins");
  const time = timeLeft(each * (wish.steps - steps.length));
  return say("train.progress", { n: steps.length, total: wish.steps, seconds: each.toFixed(1), time });
}

/** Steps over which a loss is averaged: a single one is of two pairs only. */
export const ROUND = 6;

const mean = (/** @type {number[]} */ values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What it shows so far, in plain words. @param {Course} course */
export function summary({ steps, wish, end }) {
  if (!steps.length) return say("train.says.none");
  const losses = steps.map(({ loss }) => loss);
  const some = { n: steps.length, total: wish.steps };
  const looks = steps.filter(({ check }) => check);
  const best = looks.filter(({ check }) => check?.isBest).at(-1);
  const last = looks.at(-1);
  return [
    steps.length < 2 * ROUND ? say("train.says.few", { ...some, loss: mean(losses).toFixed(2) })
      : say("train.says.loss", { ...some, first: mean(losses.slice(0, ROUND)).toFixed(2), last: mean(losses.slice(-ROUND)).toFixed(2), round: ROUND }),
    last?.check && say("train.says.d", {
      step: last.step, minus: signed(last.check.dNats[0]), zero: signed(last.check.dNats[1]), plus: signed(last.check.dNats[2]),
      share: say("page.percent", { p: (last.check.orderedShare * 100).toFixed(0) }),
    }),
    looks.length > 0 && (best ? say("train.says.best", { step: best.step }) : say("train.says.no-best")),
    end === "early" && say("train.says.early"),
  ].filter(Boolean).join(" ");
}
