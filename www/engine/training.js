// A training in the worker: what it will take and each step are told, and however it ends it leaves what it reached.
import { shape, trapped } from "./errors.js";

/**
 * @typedef {import("./protocol.js").Leavings} Leavings
 * @typedef {import("./protocol.js").Memory} Memory
 * @typedef {import("./protocol.js").TrainStep} TrainStep
 * @typedef {import("./protocol.js").Trained} Trained
 * @typedef {import("../pkg/steering_playground.js").Training} Training
 */

/** Steps between two states to go on from. */
const KEPT_EVERY = 10;

/**
 * @param {Training} training
 * @param {(trained: Trained) => void} tell once before the first step, with what all will take, and after each
 * @param {() => Memory} memory
 * @returns {Promise<Leavings>} also of one that was stopped, or failed after a step
 * @throws what failed where there is nothing to leave
 */
export async function trained(training, tell, memory) {
  let begun = performance.now();
  const told = (/** @type {TrainStep|null} */ step, /** @type {Partial<Trained>} */ more = {}) => tell({
    step, parameters: training.parameters, seconds: (performance.now() - begun) / 1e3, memory: memory(), ...more,
  });
  /** @type {any} */
  let why = null;
  try {
    const estimate = await training.estimate();
    begun = performance.now();
    told(null, { estimate });
    for await (const step of training) {
      told(step, step.step % KEPT_EVERY === 0 ? { state: await training.state() } : {});
    }
  } catch (error) {
    if (trapped(error) || training.steps === 0) throw error;
    why = error;
  }
  const stopped = why?.code === "aborted";
  try {
    return {
      ...await training.files(), steps: training.steps,
      ...(stopped ? { state: await training.state() } : {}), ...(why && !stopped ? { error: shape(why) } : {}),
    };
  } catch (error) {
    // A device that is lost gives back nothing.
    throw why && !stopped ? why : error;
  }
}
