// Owns the WebAssembly module: messages in, messages out. See protocol.js.
import init, { Playground } from "../pkg/steering_playground.js";
import { shape, trapped } from "./errors.js";
import { trained } from "./training.js";

/** @type {Playground} */
let playground;
/** Calls that can be stopped. @type {Map<number, AbortController>} */
const running = new Map();

/** @param {any} error */
const fatal = (error) => send({ fatal: shape(error) });

/** For what is no error of the engine's: the console has it at length, and the page has words for it. @param {any} error */
function broken(error) {
  console.error(error);
  // A lost GPU may be the reason, and is told by itself.
  setTimeout(() => send({ fatal: null }), 500);
}

/** @param {import("./protocol.js").ToPage} message */
const send = (message) => postMessage(message);

/**
 * What each call does.
 * @type {{[C in import("./protocol.js").Call]: (call: {id: number, signal: AbortSignal}, ...args: Parameters<import("./protocol.js").Calls[C]>)
 *   => ReturnType<import("./protocol.js").Calls[C]>|Promise<ReturnType<import("./protocol.js").Calls[C]>>}}
 */
const calls = {
  async create(_call, options) {
    await init();
    playground = await Playground.create(options);
    playground.lost.then(fatal);
    return { device: playground.device, methods: playground.methods() };
  },
  loadModel: ({ id, signal }, source, options) =>
    playground.loadModel(source, { ...options, signal, onProgress: progress(id) }),
  loadModelFolder: ({ id, signal }, files) =>
    playground.loadModelFolder(files, { signal, onProgress: progress(id) }),
  listHub: ({ signal }, source, options) => Playground.listHub(source, { ...options, signal }),
  fetchAdapter: ({ id, signal }, source, options) =>
    Playground.fetchAdapter(source, { ...options, signal, onProgress: progress(id) }),
  cachedModels: () => Playground.cachedModels(),
  deleteCachedModel: (_call, url) => Playground.deleteCachedModel(url),
  loadAdapter: (_call, files) => playground.loadAdapter(files),
  reloadAdapter: (_call, adapter, files) => playground.reloadAdapter(adapter, files),
  inspectAdapter: (_call, files) => playground.inspectAdapter(files),
  removeAdapter: (_call, adapter) => playground.removeAdapter(adapter),
  setCoefficient: (_call, adapter, c) => playground.setCoefficient(adapter, c),
  setLaw: (_call, adapter, law) => playground.setLaw(adapter, law),
  setMask: (_call, adapter, layers, modules, positions) => playground.setMask(adapter, layers, modules, positions),
  setEnabled: (_call, adapter, on) => playground.setEnabled(adapter, on),
  setCachePolicy: (_call, policy) => playground.setCachePolicy(policy),
  memory: () => playground.memory(),
  promptIds: (_call, request) => playground.promptIds(request),
  measure: ({ id, signal }, options) => playground.measure({ ...options, signal, onProgress: progress(id) }),
  calibrateSide: ({ id, signal }, options, side) => playground.calibrateSide({ ...options, signal, onProgress: progress(id) }, side),
  layerMap: ({ id, signal }, options) => playground.layerMap({ ...options, signal, onProgress: progress(id) }),
  weightPicture: (_call, adapter, options) => playground.weightPicture(adapter, options),
  makeVector: ({ id, signal }, options) => playground.makeVector({ ...options, signal, onProgress: progress(id) }),
  async train({ id, signal }, options) {
    const training = await playground.train({ ...options, signal });
    try {
      return await trained(training, progress(id), () => playground.memory());
    } finally {
      training.free();
    }
  },
  behaviours: (_call, text) => playground.behaviours(text),
  async generate({ id, signal }, request) {
    for await (const step of playground.generate({ ...request, signal })) send({ id, step });
  },
};

/** @param {number} id */
const progress = (id) => (/** @type {import("./protocol.js").Progress} */ state) => send({ id, progress: state });

onmessage = async (/** @type {MessageEvent<import("./protocol.js").ToWorker>} */ { data }) => {
  if ("ping" in data) return send({ pong: data.ping });
  if ("abort" in data) {
    running.get(data.abort)?.abort();
    return;
  }
  const { id, call, args } = data;
  /** @type {(call: {id: number, signal: AbortSignal}, ...args: any[]) => any} */
  const answer = calls[call];
  const control = new AbortController();
  running.set(id, control);
  try {
    send({ id, value: await answer({ id, signal: control.signal }, ...args) });
  } catch (error) {
    if (trapped(error)) broken(error);
    else send({ id, error: shape(error) });
  } finally {
    running.delete(id);
  }
};

// What escapes every call leaves the module in an unknown state.
addEventListener("unhandledrejection", ({ reason }) => {
  if (typeof reason?.code === "string") fatal(reason);
  else broken(reason);
});

// A worker may end without a word. This lock ends with it, for the page that waits for it; where
// there are no locks the page asks now and then.
try {
  navigator.locks.request(self.name, () => {
    send({ life: "lock" });
    return new Promise(() => {});
  }).catch(() => send({ life: "ping" }));
} catch {
  send({ life: "ping" });
}
