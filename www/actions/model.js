// The model: loaded, stopped on the way, kept in this browser, forgotten.
import { plain } from "../engine/client.js";
import { copies, copyOf, keptOf, placeOf } from "../hub.js";
import { lacking } from "../room.js";
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
    const bytesKept = async (/** @type {string} */ url) => (await findKept(url).catch(() => null))?.kept.keptBytes ?? 0;
    const short = cache && source.kind === "url" ? await lacking(source.bytes, () => bytesKept(source.url)) : "";
    if (loading !== control) return;
    if (short) {
      loading = null;
      return setModel({ status: "failed", error: { code: "quota-exceeded", message: short } });
    }
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
      const info = await give(source, cache, options);
      if (loading !== control) return;
      await adapters.attachAll(() => loading === control);
      if (loading !== control) return;
      setModel({ status: "ready", info, error: null });
      await refreshMemory();
    } catch (error) {
      if (loading !== control) return;
      const { code, message } = plain(error);
      // A copy that cannot be used must not be in the way for ever.
      const kept = source.kind === "url" ? (await findKept(source.url).catch(() => null))?.kept ?? null : null;
      if (loading !== control) return;
      setModel(code === "aborted" ? { status: "paused", kept } : { status: "failed", kept, error: { code, message } });
    } finally {
      if (loading === control) loading = null;
    }
  }

  /** @param {import("../state/store.js").ModelSource} source @param {boolean} cache @param {object} options */
  async function give(source, cache, options) {
    if (source.kind === "file") return client.call("loadModel", [source.file, {}], options);
    if (source.kind === "folder") return client.call("loadModelFolder", [source.files], options);
    const { url, sha256 } = await nearest(source);
    return client.call("loadModel", [url, { sha256, cache, hub: state.hub }], options);
  }

  function cancelLoad() {
    loading?.abort();
  }

  async function findKept(/** @type {string} */ url) {
    const near = await nearest({ url });
    return keptOf(await client.call("cachedModels", []), near.url, state.hub);
  }

  /** Of a model of the Hub the copy beside the page, if there is one. @param {{url: string, sha256?: string}} source @returns {Promise<{url: string, sha256?: string}>} */
  async function nearest(source) {
    if (!placeOf(source.url, state.hub)) return source;
    return copyOf(await copies(), source.url, state.hub) ?? source;
  }

  /** The models and adapters of a repository; nothing of them is fetched. @param {string} url */
  async function lookOnHub(url) {
    await started;
    return client.call("listHub", [url, { hub: state.hub }]);
  }

  /** What is kept of a model in this browser, whole or in part, before it is loaded. @param {string} url */
  async function lookForKept(url) {
    const kept = (await findKept(url).catch(() => null))?.kept ?? null;
    if (state.model.status === "none") setModel({ kept });
    return kept;
  }

  async function forgetModel(/** @type {string} */ url) {
    const found = await findKept(url);
    for (const one of found?.urls ?? [url]) await client.call("deleteCachedModel", [one]);
    const { info } = state.model;
    setModel({
      kept: null, deleted: true, info: info && { ...info, cached: false, note: say("model.copy-deleted") },
    });
  }

  return { loadModel, cancelLoad, lookForKept, lookOnHub, forgetModel };
}

/** @typedef {ReturnType<typeof modelActions>} ModelActions */
