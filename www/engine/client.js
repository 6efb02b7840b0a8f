// The page's side of the worker: promises by id, steps as an async iterator, and a worker that
// can be thrown away and started again.
import { say } from "../say.js";

/** An error that came from the engine, with its stable code. */
export class EngineError extends Error {
  /** @param {import("./protocol.js").ErrorShape} shape */
  constructor({ code, message }) {
    super(message);
    this.name = "EngineError";
    this.code = code;
  }
}

/** An error of any kind as its code and message. @param {any} error @returns {import("./protocol.js").ErrorShape} */
export const plain = (error) => ({
  code: typeof error?.code === "string" ? error.code : "internal", message: String(error?.message ?? error),
});

/** Codes after which the worker cannot be used any more. */
const FATAL = new Set(["device-lost", "panic"]);

/** How often a worker without a lock is asked for a sign of life, and how many times in vain: it may be computing. */
const PING_MS = 5000;
const PINGS = 24;

/** How long word of the reason may take after a worker has failed. */
const GRACE_MS = 1000;

const failed = () => new EngineError({ code: "panic", message: say("engine.failed") });
const ended = () => new EngineError({ code: "panic", message: say("engine.ended") });

/**
 * @typedef {import("./protocol.js").Step} Step
 * @typedef {{resolve: (value: any) => void, reject: (error: EngineError) => void, onProgress?: (progress: any) => void, onStep?: (step: Step) => void}} Pending
 */

/**
 * What a call tells while it goes on.
 * @template {import("./protocol.js").Call} C
 * @typedef {C extends `loadModel${string}`|"fetchAdapter" ? import("./protocol.js").LoadProgress
 *   : C extends "train" ? import("./protocol.js").Trained : import("./protocol.js").Counted} Progress
 */

export class Engine {
  /** @type {Worker|null} */
  #worker = null;
  #next = 1;
  /** @type {Map<number, Pending>} */
  #pending = new Map();
  /** Aborted with the worker: nobody waits for its end any more. */
  #watch = new AbortController();
  /** Pings since it last said something. */
  #silent = 0;

  /** No worker runs before `start`. @param {{onFatal: (error: EngineError) => void}} handlers called once per dead worker */
  constructor({ onFatal }) {
    this.onFatal = onFatal;
  }

  /** Starts a worker; an earlier one is ended and its calls are rejected with `why`. */
  start(why = new EngineError({ code: "aborted", message: say("engine.restarted") })) {
    this.#worker?.terminate();
    this.#watch.abort();
    for (const pending of this.#pending.values()) pending.reject(why);
    this.#pending.clear();
    const name = `engine-${Date.now()}-${Math.random()}`;
    const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name });
    let spoke = false;
    worker.onmessage = ({ data }) => {
      spoke = true;
      if (worker === this.#worker && "life" in data) this.#watchOver(worker, name, data.life);
      this.#receive(worker, data);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      if (!spoke) {
        return this.#die(worker, new EngineError({
          code: "panic", message: event.message ? say("engine.not-loaded-why", { why: event.message }) : say("engine.not-loaded"),
        }));
      }
      console.error(event.message);
      setTimeout(() => this.#die(worker, failed()), GRACE_MS);
    };
    this.#worker = worker;
  }

  /** Learns of the end of a worker that says nothing of it. @param {Worker} worker @param {string} name @param {"lock"|"ping"} life */
  #watchOver(worker, name, life) {
    this.#watch.abort();
    this.#watch = new AbortController();
    const { signal } = this.#watch;
    const gone = () => { if (!signal.aborted) this.#die(worker, ended()); };
    if (life === "lock") {
      // Granted when the worker, which holds it for life, is no more.
      navigator.locks.request(name, { signal }, gone).catch(() => {});
      return;
    }
    this.#silent = 0;
    const timer = setInterval(() => {
      if (this.#pending.size === 0) this.#silent = 0;
      else if (++this.#silent > PINGS) gone();
      else worker.postMessage({ ping: this.#silent });
    }, PING_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** @param {Worker} worker @param {import("./protocol.js").ToPage} data */
  #receive(worker, data) {
    if (worker !== this.#worker) return;
    this.#silent = 0;
    if ("fatal" in data) return this.#die(worker, data.fatal ? new EngineError(data.fatal) : failed());
    if (!("id" in data)) return;
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
    this.#watch.abort();
    this.#worker = null;
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
    this.onFatal(error);
  }

  /**
   * Calls the worker.
   * @template {import("./protocol.js").Call} C
   * @param {C} name
   * @param {Parameters<import("./protocol.js").Calls[C]>} args
   * @param {{signal?: AbortSignal, onProgress?: (progress: Progress<C>) => void, onStep?: (step: Step) => void}} [options]
   * @returns {Promise<ReturnType<import("./protocol.js").Calls[C]>>}
   */
  call(name, args, { signal, onProgress, onStep } = {}) {
    const worker = this.#worker;
    if (!worker) return Promise.reject(new EngineError({ code: "panic", message: say("engine.not-running") }));
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
   * @param {import("./protocol.js").GenerateRequest} request
   * @param {{signal?: AbortSignal}} [options]
   * @returns {AsyncGenerator<Step, void, void>}
   */
  async *generate(request, { signal } = {}) {
    const control = new AbortController();
    const abort = () => control.abort();
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { once: true });
    /** @type {Step[]} */
    const queue = [];
    let wake = () => {};
    let end = /** @type {{error?: unknown}|null} */ (null);
    this.call("generate", [request], {
      signal: control.signal,
      onStep: (step) => { queue.push(step); wake(); },
    }).then(() => { end = {}; wake(); }, (error) => { end = { error }; wake(); });
    try {
      for (;;) {
        for (let step; (step = queue.shift());) yield step;
        const ended = /** @type {{error?: unknown}|null} */ (end);
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
