// One plain object and its listeners. Panels read `store.state` and write through `store.set`.

import { EXAMPLES } from "./models.js";

/**
 * @typedef {{config: Uint8Array|null, weights: Uint8Array, bases?: Uint8Array|null, experts?: ({name: string} & Files)[]}} Files
 *
 * @typedef {object} Adapter
 * @property {string} key           unique in the page: "shipped:cheerful" or "file:3"
 * @property {string} name          name in the URL and in sentences
 * @property {string} title
 * @property {string} [sentence]    what it does to the text
 * @property {any} [card]           the shipped card.json, with measured effects
 * @property {Files|null} files  kept to load again: after a crash, for another task
 * @property {boolean} [wanted]     a link asks for it, and its files are not there
 * @property {number|null} id       the engine's id while loaded
 * @property {number} coefficient
 * @property {boolean} enabled
 * @property {string} [law]         how c acts; the checkpoint's default unless chosen
 * @property {string} [layers]      blocks it may touch, "5-20"; all unless chosen
 * @property {string} [modules]     linear layers it may touch, "q_proj,v_proj"; all unless chosen
 * @property {number} [task]        which of its tasks, from 0, for a method trained for several
 * @property {number[]} [experts]   weights for its experts or skills; those of its gate or task unless chosen
 * @property {any} [inspection]     what the engine tells of its files: how many tasks, skills and experts
 * @property {any} [entry]          what the engine tells: method, law, modules, parameters
 * @property {boolean} [loading]    whether the engine is reading it just now
 * @property {{task?: number, experts?: number[]}} [loaded] as which the engine has it
 * @property {{code: string, message: string}|null} error why the engine does not have it
 * @property {{code: string, message: string}|null} [refused] why the last choice was not taken
 *
 * @typedef {object} Sampling
 * @property {number} temperature
 * @property {number} topK
 * @property {number} topP
 * @property {number} minP
 * @property {number} repetitionPenalty
 * @property {number} seed
 *
 * @typedef {object} State
 * @property {{status: string, device: any, methods: any[], error: any}} engine
 * @property {{status: string, source: any, name: string, bytes: number, totalBytes: number, since: number, from: number, info: any, error: any,
 *   kept: any, deleted: boolean}} model  `kept`: what is kept of its file in this browser, `deleted`: it was thrown away
 * @property {Adapter[]} adapters
 * @property {string|null} active   key of the adapter that shortcuts act on
 * @property {{status: "coming"|"here"|"failed", error: any}} shelf the list of adapters that come with the page
 * @property {string[]} gone        names of those of them that were removed
 * @property {string} prompt
 * @property {boolean} chat
 * @property {Sampling} sampling
 * @property {number} maxTokens
 * @property {string[]} stop
 * @property {"keep"|"recompute"} cache
 * @property {boolean} klAfterSplit whether the distance is measured behind the first difference
 * @property {"auto"|"webgpu"|"cpu"} device
 * @property {boolean} allowSoftwareGpu
 * @property {any} run
 * @property {{status: "coming"|"here"|"failed", error: string|null, model: string, prompts: string[], shown: boolean}} recording what plays until something is live, and whether it is in the columns
 * @property {boolean} rerun       whether it writes again by itself after something was turned
 * @property {{wasmHeapBytes: number, wasmHeapPeakBytes: number, gpuBytes: number, gpuPeakBytes: number}|null} memory
 */

/** @returns {State} */
export function defaults() {
  return {
    engine: { status: "starting", device: null, methods: [], error: null },
    model: {
      status: "none", source: null, name: "", bytes: 0, totalBytes: 0, since: 0, from: 0, info: null, error: null, kept: null, deleted: false,
    },
    adapters: [],
    active: null,
    shelf: { status: "coming", error: null },
    gone: [],
    prompt: EXAMPLES[0],
    chat: true,
    // What was recorded (www/recorded), and reads well: models.test.js compares.
    sampling: { temperature: 0.4, topK: 0, topP: 0.9, minP: 0, repetitionPenalty: 1.1, seed: 9 },
    maxTokens: 96,
    stop: [],
    cache: "keep",
    klAfterSplit: true,
    device: "auto",
    allowSoftwareGpu: false,
    run: { status: "idle" },
    recording: { status: "coming", error: null, model: "", prompts: [], shown: false },
    rerun: false,
    memory: null,
  };
}

/** @param {State} state */
export function createStore(state) {
  /** @type {Set<(state: State, changed: Set<string>) => void>} */
  const listeners = new Set();
  return {
    state,
    /** Replaces top-level keys and tells everyone which. @param {Partial<State>} patch */
    set(patch) {
      Object.assign(state, patch);
      const changed = new Set(Object.keys(patch));
      for (const listener of listeners) listener(state, changed);
    },
    /** Changes one adapter. @param {string} key @param {Partial<Adapter>} patch */
    setAdapter(key, patch) {
      this.set({ adapters: state.adapters.map((a) => (a.key === key ? { ...a, ...patch } : a)) });
    },
    /**
     * @param {string[]} keys which changes to hear of
     * @param {(state: State, changed: Set<string>) => void} listener called now and at each change
     */
    watch(keys, listener) {
      const wanted = (/** @type {State} */ now, /** @type {Set<string>} */ changed) => {
        if (keys.some((key) => changed.has(key))) listener(now, changed);
      };
      listeners.add(wanted);
      listener(state, new Set(keys));
      return () => listeners.delete(wanted);
    },
  };
}

/** @typedef {ReturnType<typeof createStore>} Store */
