// What takes long: one at a time, told as it goes on, and stopped when somebody or another model wants it.
import { plain } from "../engine/client.js";

/**
 * @typedef {import("../engine/protocol.js").Counted} Counted
 * @typedef {import("../state/measured.js").Kind} Kind
 * @typedef {{signal: AbortSignal, onProgress: (progress: Counted) => void}} Options
 */

/** @param {import("../state/store.js").Store} store */
export function workActions(store) {
  const { state } = store;
  /** @type {AbortController|null} */
  let working = null;

  const complain = (/** @type {Kind} */ kind, /** @type {import("../state/store.js").ErrorShape|undefined} */ error) =>
    store.set({ bench: { ...state.bench, complaints: { ...state.bench.complaints, [kind]: error } } });

  function stopWork() {
    if (!working || working.signal.aborted) return;
    working.abort();
    if (state.work) store.set({ work: { ...state.work, stopping: true } });
  }

  // What is measured is of the model that was there at the beginning.
  store.watch(["model"], ({ model }) => { if (model.status !== "ready") stopWork(); });

  /**
   * @template T
   * @param {Kind} kind @param {string} title @param {(options: Options, retitle: (title: string) => void) => Promise<T>} does
   * @returns {Promise<T|null>} null where it was stopped or failed
   */
  async function work(kind, title, does) {
    if (working) return null;
    const control = new AbortController();
    working = control;
    complain(kind, undefined);
    const show = (/** @type {Counted} */ { done, total }) => {
      if (working === control) store.set({ work: { kind, title, done, total, stopping: control.signal.aborted } });
    };
    const retitle = (/** @type {string} */ other) => { title = other; show({ done: 0, total: 0 }); };
    show({ done: 0, total: 0 });
    try {
      return await does({ signal: control.signal, onProgress: show }, retitle);
    } catch (error) {
      const { code, message } = plain(error);
      if (code !== "aborted") complain(kind, { code, message });
      return null;
    } finally {
      working = null;
      store.set({ work: null });
    }
  }

  return { work, stopWork, complain, isWorking: () => working !== null };
}

/** @typedef {ReturnType<typeof workActions>} WorkActions */
