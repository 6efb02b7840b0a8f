// The model: loaded, stopped on the way, kept in this browser, forgotten.
import { plain } from "../engine/client.js";
import { say } from "../say.js";

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./adapters.js").AdapterActions} adapters
 * @param {import("./run.js").RunActions} run
 */
export function modelActions(store, { client, started, refreshMemory }, adapters, run) {
  const { state } = store;
  /** @type {AbortController|null} */
  let loading = null;

  /** @param {Partial<import("../state/store.js").Model>} patch */
  const setModel = (patch) => store.set({ model: { ...state.model, ...patch } });

  /**
   * @param {import("../state/store.js").ModelSource} source
   * @param {{cache?: boolean}} [options]
   */
  async function loadModel(source, { cache = true } = {}) {
    run.stop();
    loading?.abort();
    adapters.nextGeneration();
    const control = new AbortController();
    loading = control;
    const totalBytes = source.kind === "url" ? source.bytes ?? 0
      : source.kind === "file" ? source.file.size
        : source.files.reduce((sum, file) => sum + file.size, 0);
    setModel({ status: "starting", source, name: source.name, bytes: 0, totalBytes, since: Date.now(), from: 0, info: null, error: null, kept: null, deleted: false });
    await started; // a file may be chosen before the engine is there
    const options = {
      signal: control.signal,
      onProgress: (/** @type {import("../engine/protocol.js").LoadProgress} */ progress) => {
        // Ready is when the adapters are there too; below.
        if (loading !== control || progress.state === "ready") return;
        const since = progress.state === state.model.status ? state.model.since : Date.now();
        const from = progress.state === state.model.status ? state.model.from : progress.bytes;
        setModel({ status: progress.state, bytes: progress.bytes, totalBytes: progress.totalBytes, since, from });
      },
    };
    try {
      const info = source.kind === "url"
        ? await client.call("loadModel", [source.url, { sha256: source.sha256, cache }], options)
        : source.kind === "file"
          ? await client.call("loadModel", [source.file, {}], options)
          : await client.call("loadModelFolder", [source.files], options);
      if (loading !== control) return;
      await adapters.attachAll(() => loading === control);
      if (loading !== control) return;
      setModel({ status: "ready", info, error: null });
      await refreshMemory();
    } catch (error) {
      if (loading !== control) return;
      const { code, message } = plain(error);
      // A copy that cannot be used must not be in the way for ever.
      const kept = source.kind === "url" ? await findKept(source.url).catch(() => null) : null;
      if (loading !== control) return;
      setModel(code === "aborted" ? { status: "paused", kept } : { status: "failed", kept, error: { code, message } });
    } finally {
      if (loading === control) loading = null;
    }
  }

  function cancelLoad() {
    loading?.abort();
  }

  async function findKept(/** @type {string} */ url) {
    const models = await client.call("cachedModels", []);
    return models.find((model) => model.url === url) ?? null;
  }

  /** What is kept of a model in this browser, whole or in part, before it is loaded. @param {string} url */
  async function lookForKept(url) {
    const kept = await findKept(url).catch(() => null);
    if (state.model.status === "none") setModel({ kept });
    return kept;
  }

  async function forgetModel(/** @type {string} */ url) {
    await client.call("deleteCachedModel", [url]);
    const { info } = state.model;
    setModel({
      kept: null, deleted: true, info: info && { ...info, cached: false, note: say("model.copy-deleted") },
    });
  }

  return { loadModel, cancelLoad, lookForKept, forgetModel };
}
