// The engine: it starts, or the state says why not.
import { Engine, EngineError, plain } from "../engine/client.js";
import { say } from "../say.js";

/** Automatic restarts before the page asks; a device that keeps failing must not loop. */
const RESTARTS = 2;

/** Whether the engine's instructions are known here: a function that makes a vector of zeros and counts its bits. */
const SIMD = typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]));

/**
 * @param {import("../state/store.js").Store} store
 * @param {(error: EngineError) => void} onFatal when a worker died
 */
export function engineActions(store, onFatal) {
  const { state } = store;
  const client = new Engine({ onFatal });
  let restarts = 0;
  let settle = () => {};
  /** Settles when the engine has started or failed to. @type {Promise<void>} */
  const started = new Promise((resolve) => { settle = resolve; });

  async function start(/** @type {EngineError|undefined} */ why = undefined) {
    store.set({ engine: { ...state.engine, status: "starting", error: null } });
    try {
      startWorker(why);
      const { device, allowSoftwareGpu } = state;
      const made = await client.call("create", [{ device, allowSoftwareGpu }]);
      store.set({ engine: { status: "ready", ...made, error: null } });
      return true;
    } catch (error) {
      store.set({ engine: { ...state.engine, status: "failed", error: plain(error) } });
      return false;
    } finally {
      settle();
    }
  }

  /** A frame may be forbidden to have workers. @param {EngineError|undefined} why */
  function startWorker(why) {
    if (!SIMD) throw new EngineError({ code: "device-unavailable", message: say("engine.no-simd") });
    try {
      client.start(why);
    } catch (error) {
      throw new EngineError({
        code: "device-unavailable",
        message: say("engine.no-worker", { why: plain(error).message }),
      });
    }
  }

  async function refreshMemory() {
    if (state.engine.status !== "ready") return;
    try {
      store.set({ memory: await client.call("memory", []) });
    } catch {
      // only a read-out; whatever stopped the engine is told elsewhere
    }
  }

  return {
    client, started, start, refreshMemory,
    /** Whether it may start once more without being asked. */
    mayRestart: () => ++restarts <= RESTARTS,
    /** It has done what it was asked, or somebody asks for it. */
    resetRestarts() { restarts = 0; },
  };
}

/** @typedef {ReturnType<typeof engineActions>} EngineActions */
