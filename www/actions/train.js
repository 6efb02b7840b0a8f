// Training an adapter: what its steps say, what is kept to go on after a reload or a lost device, and the
// adapter that comes of it, however it ends.
import { claim } from "../claim.js";
import { forget, keep, kept as lookUp } from "../keep.js";
import { plain } from "../engine/client.js";
import { say } from "../say.js";
import { templateOf } from "../state/conversation.js";
import { forTraining, pairsFrom } from "../state/pairs.js";
import { isKept } from "../state/training.js";

/**
 * @typedef {import("../state/training.js").Course} Course
 * @typedef {import("../state/training.js").Kept} Kept
 * @typedef {import("../state/training.js").Wish} Wish
 */

const KEY = "training";

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./adapters.js").AdapterActions} adapters
 * @param {import("./work.js").WorkActions} works
 */
export function trainActions(store, { client, refreshMemory }, adapters, { work, complain }) {
  const { state } = store;
  let made = 0;

  const set = (/** @type {Partial<import("../state/training.js").Training>} */ patch) => store.set({ training: { ...state.training, ...patch } });

  // ---- what is kept ---------------------------------------------------------------------------

  /** The place for one training is this tab's from when something of its own is in it until that is gone. */
  const place = claim("steering-playground/training");

  /** What is being kept just now. */
  let holding = Promise.resolve();

  /** In this page, and in the browser where it allows that. @param {Kept} kept */
  function hold(kept) {
    set({ kept });
    holding = put(kept);
  }

  /** @param {Kept} kept */
  async function put(kept) {
    if (!(await place.take())) return set({ unkept: say("train.other-tab") });
    try {
      await keep(KEY, kept);
      set({ unkept: "", elsewhere: false });
    } catch (error) {
      set({ unkept: plain(error).message });
    }
  }

  async function throwAway() {
    set({ kept: null });
    await holding;
    // What another tab keeps is not ours.
    if (!place.isMine()) return;
    // What could not be kept need not be thrown away.
    await forget(KEY).catch(() => {});
    place.leave();
  }

  /** What an earlier visit began. @returns {Promise<boolean>} whether there is something */
  async function recallTraining() {
    if (!(await place.take())) {
      set({ elsewhere: true });
      return false;
    }
    // A browser that denies it has kept nothing.
    const kept = await lookUp(KEY).catch(() => null);
    if (state.training.kept) return false;
    if (!isKept(kept)) {
      place.leave();
      return false;
    }
    set({ kept });
    return true;
  }

  // ---- training -------------------------------------------------------------------------------

  /** Begins one, on the page's pairs or on the user's. @param {{name: string, own: boolean} & Omit<Wish, "pairs"|"templateVariables">} asked */
  function train({ name, own, ...wish }) {
    const pairs = own ? { pairs: forTraining(pairsFrom(state.bench.ownText), wish.behaviour) } : {};
    return follow({
      name, wish: { ...wish, ...pairs, ...templateOf(state) }, model: state.model.info?.name ?? state.model.name, steps: [], parameters: 0, seconds: 0,
    });
  }

  /** Goes on with what is kept. */
  async function goOn() {
    const { kept } = state.training;
    if (!kept) return;
    const { state: from, ...course } = kept;
    await follow(course, from);
  }

  /** @param {Course} begun @param {Uint8Array} [from] where it goes on */
  async function follow(begun, from) {
    const { name, wish } = begun;
    /** @type {Course} */
    let course = { ...begun, end: "under-way" };
    // What is kept of another training stays until this one takes its place.
    let mine = from !== undefined;
    /** Whether the engine took it. */
    let took = false;
    const stopping = { now: false };
    const left = await work("train", say("train.training", { name }), ({ signal, onProgress }) => {
      signal.addEventListener("abort", () => { stopping.now = true; });
      return client.call("train", [{ ...wish, ...(from ? { state: from } : {}) }], {
        signal,
        onProgress: ({ step, parameters, seconds, memory, estimate, state: now }) => {
          took = true;
          course = {
            ...course, parameters, seconds: begun.seconds + seconds, ...(estimate ? { estimate } : {}), steps: step ? [...course.steps, step] : course.steps,
          };
          store.set({ memory, training: { ...state.training, course } });
          onProgress({ done: course.steps.length, total: wish.steps });
          if (!now) return;
          mine = true;
          hold({ ...course, state: now });
        },
      });
    });
    if (!left) {
      if (took) set({ course: { ...course, end: stopping.now ? "stopped" : "failed" } });
      return;
    }
    const { error, state: at, ...files } = left;
    const isWhole = course.steps.length >= wish.steps;
    course = { ...course, end: error ? "failed" : at && !isWhole ? "stopped" : isWhole ? "done" : "early" };
    if (error) complain("train", error);
    if (at && !isWhole) hold({ ...course, state: at });
    // It came to its end; or it failed, and would fail again.
    else if (mine) throwAway();
    made += 1;
    const key = `trained:${made}`;
    const { config, weights } = files;
    set({
      course,
      made: [{ ...files, record: { ...files.record, seconds: Number(course.seconds.toFixed(1)) }, key, name }, ...state.training.made],
    });
    refreshMemory();
    await adapters.addAdapter({ key, name, title: name, sentence: say("train.sentence"), files: { config, weights }, coefficient: 1, enabled: true });
  }

  return { train, goOn, throwAway, recallTraining };
}
