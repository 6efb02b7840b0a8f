// One plain object and its listeners. Panels read `store.state` and write through `store.set`.

import { HUB } from "../hub.js";
import { NO_BENCH } from "./bench.js";
import { NO_LESSON } from "./lesson.js";
import { NO_METHODS } from "./methods.js";
import { EXAMPLES } from "./models.js";
import { NO_PICTURE } from "./picture.js";
import { NO_RUNS } from "./runs.js";
import { NO_STORAGE } from "./storage.js";
import { NO_TRAINING } from "./training.js";

/**
 * @typedef {import("../engine/protocol.js").AdapterEntry} AdapterEntry
 * @typedef {import("../engine/protocol.js").AdapterFiles} AdapterFiles
 * @typedef {import("../engine/protocol.js").CachedModel} CachedModel
 * @typedef {import("../engine/protocol.js").DeviceInfo} DeviceInfo
 * @typedef {import("../engine/protocol.js").ErrorShape} ErrorShape
 * @typedef {import("../engine/protocol.js").GenerateRequest} GenerateRequest
 * @typedef {import("../engine/protocol.js").Inspection} Inspection
 * @typedef {import("../engine/protocol.js").LoadProgress} LoadProgress
 * @typedef {import("../engine/protocol.js").Memory} Memory
 * @typedef {import("../engine/protocol.js").MethodCard} MethodCard
 * @typedef {import("../engine/protocol.js").ModelInfo} ModelInfo
 * @typedef {import("../pkg/steering_playground.js").LaneStep} LaneStep
 * @typedef {import("../pkg/steering_playground.js").PrefillStep} PrefillStep
 *
 * @typedef {Omit<AdapterFiles, "name"|"task"|"expertWeights">} Files
 *
 * A card.json, or what is told of one of the zoo: what it does to the text, measured effects, how it came about.
 * @typedef {{title?: string, sentence?: string, method?: string, behaviour?: {positive?: string, negative?: string},
 *   measured?: {what: string, c: number[], value: (number|undefined)[]}, trained?: import("./zoo.js").Trained}} Card
 *
 * @typedef {object} Adapter
 * @property {string} key           unique in the page: "shipped:cheerful", "zoo:tone/lora" or "file:3"
 * @property {string} name          name in the URL and in sentences
 * @property {string} title
 * @property {string} [sentence]    what it does to the text
 * @property {Card|null} [card]     of one that comes with the page
 * @property {Files|null} files     kept to load again: after a crash, for another task
 * @property {boolean} [wanted]     a link asks for it, and its files are not there
 * @property {number|null} id       the engine's id while loaded
 * @property {number} coefficient
 * @property {boolean} enabled
 * @property {string} [law]         how c acts; the checkpoint's default unless chosen
 * @property {string} [layers]      blocks it may touch, "5-20"; all unless chosen
 * @property {string} [modules]     linear layers it may touch, "q_proj,v_proj"; all unless chosen
 * @property {string} [positions]   tokens it may act on, "prompt", "generated" or "from:12"; all unless chosen
 * @property {number} [task]        which of its tasks, from 0, for a method trained for several
 * @property {number[]} [experts]   weights for its experts or skills; those of its gate or task unless chosen
 * @property {Inspection} [inspection] what the engine tells of its files: how many tasks, skills and experts
 * @property {AdapterEntry} [entry] what the engine tells: method, law, modules, parameters
 * @property {boolean} [loading]    whether the engine is reading it just now
 * @property {{task?: number, experts?: number[]}} [loaded] as which the engine has it
 * @property {boolean} [finding]    whether a c for a number of nats is looked for
 * @property {ErrorShape|null} error why the engine does not have it
 * @property {ErrorShape|null} [refused] why the last choice was not taken
 *
 * An exchange that was kept, and how far the steered answer was turned, in words.
 * @typedef {{user: string, answer: string, turned: string}} Turn
 *
 * @typedef {object} Sampling
 * @property {number} temperature
 * @property {number} topK
 * @property {number} topP
 * @property {number} minP
 * @property {number} repetitionPenalty
 * @property {number} seed
 *
 * @typedef {object} Engine
 * @property {"starting"|"ready"|"failed"|"crashed"} status
 * @property {DeviceInfo|null} device
 * @property {MethodCard[]} methods
 * @property {ErrorShape|null} error
 *
 * @typedef {{kind: "url", url: string, name: string, sha256?: string, bytes?: number}} ModelAddress
 * @typedef {ModelAddress|{kind: "file", file: File, name: string}|{kind: "folder", files: File[], name: string}} ModelSource
 *
 * @typedef {object} Model
 * @property {"none"|"starting"|LoadProgress["state"]|"paused"|"failed"} status
 * @property {ModelSource|null} source
 * @property {string} name
 * @property {number} bytes         that came
 * @property {number} totalBytes
 * @property {number} since         when this status began
 * @property {number} from          how many bytes were there then
 * @property {ModelInfo|null} info
 * @property {ErrorShape|null} error
 * @property {CachedModel|null} kept what is kept of its file in this browser
 * @property {boolean} deleted      whether that was thrown away
 *
 * What both texts say at one place, live or recorded.
 * @typedef {object} Token
 * @property {"token"} kind
 * @property {number} index
 * @property {LaneStep|null} base
 * @property {LaneStep|null} steered
 * @property {number|null} klNats
 * @property {import("./acting.js").Dose[]} doses
 * @property {"current"|"kept"|"recomputed"} cache
 * @property {{id: number, text: string, base: number|null, steered: number|null, differenceNats?: number|null}[]} top
 * @property {"text"|"instead"} [given] it was not written but given: a text's beginning, and what stands instead of what was written
 *
 * A recorded run: the places of its prompt and adapter, and which of the page's that is.
 * @typedef {{prompt: number, at: number, key: string, name: string, title: string, c: number}} Recorded
 *
 * @typedef {object} Run
 * @property {"idle"|"waiting"|"prefill"|"streaming"|"done"|"stopped"|"failed"|"playing"|"played"} status
 * @property {Token[]|null} tokens  the same array while it grows
 * @property {number} kept          how many of them are an earlier run's, which this one continues
 * @property {number|null} split    where the texts part
 * @property {number|null} limit    how many tokens there can be
 * @property {number|null} selected the token that is looked at
 * @property {PrefillStep|null} prefill
 * @property {number} startedAt
 * @property {number|null} firstAt
 * @property {number|null} lastAt
 * @property {ErrorShape|null} error
 * @property {boolean} interrupted  whether the engine died in the middle of it
 * @property {string[]} waitsFor    titles of adapters on their way
 * @property {Recorded|null} recorded which recording plays
 * @property {GenerateRequest|null} request what the engine was asked
 * @property {string|null} manners  how those that acted on the last token did it
 * @property {{name: string, source: ModelSource|null, context: number|undefined, file?: string}|null} model of one that was opened again its file, by its name
 *
 * @typedef {object} State
 * @property {Engine} engine
 * @property {Model} model
 * @property {Adapter[]} adapters
 * @property {string|null} active   key of the adapter that shortcuts act on
 * @property {{status: "coming"|"here"|"failed", error: ErrorShape|null}} shelf the list of adapters that come with the page
 * @property {string[]} gone        names of those of them that were removed
 * @property {import("./zoo.js").ZooItem[]} zoo what comes with the page besides, and is fetched when it is chosen
 * @property {import("./methods.js").Methods} methods what is known of all of it, and how one takes another's place
 * @property {string} prompt
 * @property {boolean} chat
 * @property {string} system        what a chat begins with; "" for nothing
 * @property {Turn[]} turns         what was said before the prompt
 * @property {Record<string, boolean|string>} variables of the chat template, where they are not left to it
 * @property {Sampling} sampling
 * @property {number} maxTokens
 * @property {string[]} stop
 * @property {"keep"|"recompute"} cache
 * @property {boolean} klAfterSplit whether the distance is measured after the first difference
 * @property {string} hub           where the Hub is: its address, or a mirror's
 * @property {"auto"|"webgpu"|"cpu"} device
 * @property {boolean} allowSoftwareGpu
 * @property {Run} run
 * @property {{status: "coming"|"here"|"failed", error: string|null, model: string, prompts: string[], shown: boolean}} recording what plays until something is live, and whether it is in the columns
 * @property {boolean} rerun       whether it writes again by itself after something was turned
 * @property {Memory|null} memory
 * @property {import("./bench.js").Bench} bench what is asked of measurements, and what came of it
 * @property {import("./measured.js").Measured[]} measured the newest of each
 * @property {import("./measured.js").Work|null} work what is measured or made just now
 * @property {import("./training.js").Training} training
 * @property {import("./picture.js").Picture} picture of a weight, and what belongs to it
 * @property {import("./runs.js").Runs} runs
 * @property {import("./storage.js").Storage} storage what this browser keeps
 * @property {string} language of the link, "" where it has none
 * @property {"c"|"nats"} units in which coefficients are shown and typed
 * @property {import("./lesson.js").LessonState} lesson
 */

/** Whether a run has come to its end, or will go on no more. @param {Run} run */
export const isOver = ({ status }) => ["done", "stopped", "failed"].includes(status);

/** Whether tokens come. @param {Run} run */
export const isWriting = ({ status }) => ["prefill", "streaming", "playing"].includes(status);

/** Whether the live model is asked for a text, or will be once its adapters are here. @param {Run} run */
export const isAsked = ({ status }) => ["waiting", "prefill", "streaming"].includes(status);

/** @type {Run} */
export const NO_RUN = {
  status: "idle", tokens: null, kept: 0, split: null, limit: null, selected: null, prefill: null, startedAt: 0, firstAt: null, lastAt: null,
  error: null, interrupted: false, waitsFor: [], recorded: null, request: null, manners: null, model: null,
};

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
    zoo: [],
    methods: NO_METHODS,
    prompt: EXAMPLES[0],
    chat: true,
    system: "",
    turns: [],
    variables: {},
    // What was recorded (www/recorded), and reads well: models.test.js compares.
    sampling: { temperature: 0.4, topK: 0, topP: 0.9, minP: 0, repetitionPenalty: 1.1, seed: 9 },
    maxTokens: 96,
    stop: [],
    cache: "keep",
    klAfterSplit: true,
    hub: HUB,
    device: "auto",
    allowSoftwareGpu: false,
    run: NO_RUN,
    recording: { status: "coming", error: null, model: "", prompts: [], shown: false },
    rerun: false,
    memory: null,
    bench: NO_BENCH,
    measured: [],
    work: null,
    training: NO_TRAINING,
    picture: NO_PICTURE,
    runs: NO_RUNS,
    storage: NO_STORAGE,
    language: "",
    units: "c",
    lesson: NO_LESSON,
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
     * @param {(keyof State)[]} keys which changes to hear of
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
