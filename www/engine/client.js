// The page's side of the worker: promises by id, steps as an async iterator, and a worker that
// can be thrown away and started again.

/** An error that came from the engine, with its stable code. */
export class EngineError extends Error {
  /** @param {import("./protocol.js").ErrorShape} shape */
  constructor({ code, message }) {
    super(message);
    this.name = "EngineError";
    this.code = code;
  }
}

/** Codes after which the worker cannot be used any more. */
const FATAL = new Set(["device-lost", "panic"]);

/** @typedef {{resolve: (value: any) => void, reject: (error: any) => void, onProgress?: (progress: any) => void, onStep?: (step: any) => void}} Pending */

export class Engine {
  /** @type {Worker|null} */
  #worker = null;
  #next = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();

  /** No worker runs before `start`. @param {{onFatal: (error: EngineError) => void}} handlers called once per dead worker */
  constructor({ onFatal }) {
    this.onFatal = onFatal;
  }

  /** Starts a worker; an earlier one is ended and its calls are rejected with `why`. */
  start(why = new EngineError({ code: "aborted", message: "the engine was restarted" })) {
    this.#worker?.terminate();
    for (const pending of this.#pending.values()) pending.reject(why);
    this.#pending.clear();
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "engine" });
    worker.onmessage = ({ data }) => this.#receive(worker, data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#die(worker, new EngineError({
        code: "panic", message: event.message || "the engine could not be loaded; is pkg/ there?",
      }));
    };
    this.#worker = worker;
  }

  /** @param {Worker} worker @param {any} data */
  #receive(worker, data) {
    if (worker !== this.#worker) return;
    if (data.fatal) return this.#die(worker, new EngineError(data.fatal));
    const pending = this.#pending.get(data.id);
    if (!pending) return;
    if ("progress" in data) return pending.onProgress?.(data.progress);
    if ("step" in data) return pending.onStep?.(data.step);
    this.#pending.delete(data.id);
    if (!("error" in data)) return pending.resolve(data.value);
    const error = new EngineError(data.error);
    pending.reject(error);
    if (FATAL.has(error.code)) this.#die(worker, error);
  }

  /** @param {Worker} worker @param {EngineError} error */
  #die(worker, error) {
    if (worker !== this.#worker) return;
    worker.terminate();
    this.#worker = null;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.onFatal(error);
  }

  /**
   * Calls the worker.
   * @param {import("./protocol.js").Call} name
   * @param {any[]} args
   * @param {{signal?: AbortSignal, onProgress?: (p: any) => void, onStep?: (s: any) => void}} [options]
   * @returns {Promise<any>}
   */
  call(name, args = [], { signal, onProgress, onStep } = {}) {
    const worker = this.#worker;
    if (!worker) return Promise.reject(new EngineError({ code: "panic", message: "the engine is not running" }));
    const id = this.#next++;
    const result = new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject, onProgress, onStep });
    });
    worker.postMessage({ id, call: name, args });
    const abort = () => worker.postMessage({ abort: id });
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    return result.finally(() => signal?.removeEventListener("abort", abort));
  }

  /**
   * The steps of one generation, as they come.
   * @param {any} request
   * @param {{signal?: AbortSignal}} [options]
   */
  async *generate(request, { signal } = {}) {
    const control = new AbortController();
    const abort = () => control.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    /** @type {any[]} */
    const queue = [];
    let wake = () => {};
    let end = /** @type {{error?: any}|null} */ (null);
    this.call("generate", [request], {
      signal: control.signal,
      onStep: (step) => { queue.push(step); wake(); },
    }).then(() => { end = {}; wake(); }, (error) => { end = { error }; wake(); });
    try {
      for (;;) {
        while (queue.length) yield queue.shift();
        const ended = /** @type {{error?: any}|null} */ (end);
        if (ended?.error) throw ended.error;
        if (ended) return;
        await new Promise((resolve) => { wake = () => resolve(undefined); });
      }
    } finally {
      // Whoever stops listening stops the work too.
      if (!end) control.abort();
      signal?.removeEventListener("abort", abort);
    }
  }
}
