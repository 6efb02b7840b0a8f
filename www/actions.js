// What the user can do, and what it does to the engine and to the state. No elements here.
import { Engine, EngineError } from "./engine/client.js";

/** Automatic restarts before the page asks; a device that keeps failing must not loop. */
const RESTARTS = 2;

/** Whether two wishes ask for the same reading of an adapter's files. @typedef {{task?: number, experts?: number[]}} Wish @param {Wish} a @param {Wish|undefined} b */
const same = (a, b) => b !== undefined && a.task === b.task && a.experts === b.experts;

/** @param {any} error @returns {{code: string, message: string}} */
const plain = (error) => ({ code: error?.code ?? "internal", message: String(error?.message ?? error) });

/** @param {import("./state/store.js").Store} store */
export function createActions(store) {
  const { state } = store;
  let restarts = 0;
  /** @type {AbortController|null} */
  let loading = null;
  /** @type {AbortController|null} */
  let generating = null;
  /** Latest coefficient per adapter that the engine has not been told yet. @type {Map<string, number>} */
  const waiting = new Map();
  /** Adapters on their way into the engine; none of these promises is ever rejected. @type {Map<string, Promise<void>>} */
  const arriving = new Map();
  /** They come one after the other, so that they act in the order of the list. @type {Promise<void>} */
  let queue = Promise.resolve();
  /** Grows with each engine and each model: what was loaded for an earlier one is gone with it. */
  let era = 0;

  const engine = new Engine({ onFatal: (error) => recover(error) });
  /** @param {any} patch */
  const setModel = (patch) => store.set({ model: { ...state.model, ...patch } });
  /** @param {any} patch */
  const setRun = (patch) => store.set({ run: { ...state.run, ...patch } });

  // ---- engine ---------------------------------------------------------------------------------

  /** Settles when the engine has started or failed to. @type {(value?: any) => void} */
  let begun = () => {};
  /** @type {Promise<any>} */
  const begin = new Promise((resolve) => { begun = resolve; });

  async function start(/** @type {EngineError|undefined} */ why = undefined) {
    engine.start(why);
    store.set({ engine: { ...state.engine, status: "starting", error: null } });
    try {
      const { device, allowSoftwareGpu } = state;
      const made = await engine.call("create", [{ device, allowSoftwareGpu }]);
      store.set({ engine: { status: "ready", ...made, error: null } });
      return true;
    } catch (error) {
      store.set({ engine: { ...state.engine, status: "failed", error: plain(error) } });
      return false;
    } finally {
      begun();
    }
  }

  /** Another device means another engine. @param {"auto"|"webgpu"|"cpu"} device */
  async function setDevice(device, allowSoftwareGpu = state.allowSoftwareGpu) {
    stop();
    store.set({ device, allowSoftwareGpu });
    await restore(state.model.status === "ready");
  }

  /** The worker died: keep every text, start a new one, load again, go on where it stopped. */
  async function recover(/** @type {EngineError} */ error) {
    const hadModel = state.model.status === "ready";
    const wasRunning = state.run.status === "prefill" || state.run.status === "streaming";
    if (wasRunning) setRun({ status: "failed", error: plain(error), interrupted: true });
    store.set({ engine: { ...state.engine, status: "crashed", error: plain(error) } });
    if (state.engine.device === null || ++restarts > RESTARTS) return;
    if ((await restore(hadModel, error)) && wasRunning) await run({ resume: true });
  }

  function newEra() {
    era += 1;
    store.set({
      adapters: state.adapters.map((adapter) => ({
        ...adapter, id: null, loaded: undefined, error: adapter.files ? null : adapter.error,
      })),
    });
  }

  /** A new worker, and in it what the last one had. @param {boolean} withModel @param {EngineError} [why] */
  async function restore(withModel, why) {
    newEra();
    if (!(await start(why))) return false;
    const { source } = state.model;
    if (!withModel || !source) return false;
    await loadModel(source);
    return state.model.status === "ready";
  }

  // ---- model ----------------------------------------------------------------------------------

  /**
   * @param {{kind: "url", url: string, name: string, sha256?: string, bytes?: number}
   *   |{kind: "file", file: File, name: string}|{kind: "folder", files: File[], name: string}} source
   * @param {{cache?: boolean}} [options]
   */
  async function loadModel(source, { cache = true } = {}) {
    stop();
    loading?.abort();
    newEra();
    const control = new AbortController();
    loading = control;
    const totalBytes = source.kind === "url" ? source.bytes ?? 0
      : source.kind === "file" ? source.file.size
        : source.files.reduce((sum, file) => sum + file.size, 0);
    setModel({ status: "starting", source, name: source.name, bytes: 0, totalBytes, since: Date.now(), from: 0, info: null, error: null });
    await begin; // a file may be chosen before the engine is there
    const options = {
      signal: control.signal,
      onProgress: (/** @type {any} */ progress) => {
        // Ready is when the adapters are there too; below.
        if (loading !== control || progress.state === "ready") return;
        const since = progress.state === state.model.status ? state.model.since : Date.now();
        const from = progress.state === state.model.status ? state.model.from : progress.bytes;
        setModel({ status: progress.state, bytes: progress.bytes, totalBytes: progress.totalBytes, since, from });
      },
    };
    try {
      const info = source.kind === "url"
        ? await engine.call("loadModel", [source.url, { sha256: source.sha256, cache }], options)
        : source.kind === "file"
          ? await engine.call("loadModel", [source.file, {}], options)
          : await engine.call("loadModelFolder", [source.files], options);
      if (loading !== control) return;
      // Not a fixed list: another may be added meanwhile.
      const next = () => state.adapters.find((adapter) => adapter.files && adapter.id === null && !adapter.error);
      for (let adapter; (adapter = next());) {
        await attach(adapter.key);
        if (loading !== control) return;
      }
      setModel({ status: "ready", info, error: null });
      await refreshMemory();
    } catch (error) {
      if (loading !== control) return;
      const { code, message } = plain(error);
      setModel(code === "aborted" ? { status: "paused" } : { status: "failed", error: { code, message } });
    } finally {
      if (loading === control) loading = null;
    }
  }

  function cancelLoad() {
    loading?.abort();
  }

  async function isCached(/** @type {string} */ url) {
    const models = await engine.call("cachedModels");
    return models.find((/** @type {any} */ model) => model.url === url) ?? null;
  }

  async function forgetModel(/** @type {string} */ url) {
    await engine.call("deleteCachedModel", [url]);
    if (state.model.info) setModel({ info: { ...state.model.info, cached: false, note: "the copy kept in this browser was deleted" } });
  }

  // ---- adapters -------------------------------------------------------------------------------

  const find = (/** @type {string} */ key) => state.adapters.find((adapter) => adapter.key === key);
  /** What the engine is given of it: weights for its skills take a task's place, which is kept for later. @param {import("./state/store.js").Adapter} adapter */
  const files = ({ name, files, task, experts, inspection }) =>
    ({ name, ...files, task: experts && inspection?.skills ? undefined : task, expertWeights: experts });

  /** Gives a listed adapter to the engine as it is wished for now. @param {string} key @returns {Promise<void>} */
  function attach(key) {
    let promise = arriving.get(key);
    if (!promise) {
      const asked = era;
      store.setAdapter(key, { loading: true, error: null });
      promise = queue.then(() => bring(key, asked)).finally(() => arriving.delete(key));
      arriving.set(key, promise);
      queue = promise;
    }
    return promise;
  }

  /** Loads it, or reads it again in its place, until the engine has the task and the weights that were chosen last. @param {string} key @param {number} asked when */
  async function bring(key, asked) {
    try {
      for (let adapter = find(key); era === asked && adapter && !same(adapter, adapter.loaded); adapter = find(key)) {
        if (!adapter.inspection) {
          const inspection = await engine.call("inspectAdapter", [files(adapter)]);
          // Where one task has to be chosen it is the first until the user, who sees it, takes another.
          store.setAdapter(key, { inspection, task: adapter.task ?? (inspection.tasks > 1 ? 0 : undefined) });
          continue;
        }
        const { id, task, experts } = adapter;
        const entry = id === null
          ? await engine.call("loadAdapter", [files(adapter)])
          : await engine.call("reloadAdapter", [id, files(adapter)]);
        if (era !== asked) return;
        store.setAdapter(key, { id: entry.id, entry, loaded: { task, experts } });
        if (id === null && !(await dress(key, entry.id))) return;
      }
    } catch (error) {
      // What an earlier engine or model says has no meaning any more.
      if (era === asked) store.setAdapter(key, { ...find(key)?.loaded, error: plain(error) });
    } finally {
      store.setAdapter(key, { loading: false });
    }
  }

  /** What a listed adapter was set to before the engine had it. @param {string} key @param {number} id @returns {Promise<boolean>} whether it is still listed */
  async function dress(key, id) {
    const now = find(key);
    if (!now) {
      await engine.call("removeAdapter", [id]);
      return false;
    }
    await engine.call("setEnabled", [id, now.enabled]);
    if (now.law) await setLaw(key, now.law);
    if (now.layers || now.modules) await setMask(key, now.layers ?? "", now.modules ?? "");
    await engine.call("setCoefficient", [id, (find(key) ?? now).coefficient]);
    return true;
  }

  /** Another of its tasks, from the next token on. @param {string} key @param {number} task */
  const setTask = (key, task) => reread(key, { task });

  /** Weights for an adapter's experts or skills, or undefined for those of its gate or task. @param {string} key @param {number[]|undefined} experts */
  const setExperts = (key, experts) => reread(key, { experts });

  /** @param {string} key @param {{task?: number, experts?: number[]}} patch */
  async function reread(key, patch) {
    store.setAdapter(key, { ...patch, error: null });
    store.set({ active: key });
    if (state.model.status === "ready") await attach(key);
  }

  /** Shows a refusal, unless it comes from an engine or a model that is gone. @param {import("./state/store.js").Adapter} adapter @param {any} error */
  function complain({ key, id }, error, patch = {}) {
    if (find(key)?.id === id) store.setAdapter(key, { ...patch, error: plain(error) });
  }

  /** @param {Omit<import("./state/store.js").Adapter, "id"|"error">} adapter */
  async function addAdapter(adapter) {
    store.set({ adapters: [...state.adapters, { ...adapter, id: null, error: null }], active: adapter.key });
    if (state.model.status === "ready") await attach(adapter.key);
  }

  /** @param {string} key */
  async function removeAdapter(key) {
    const adapter = find(key);
    store.set({ adapters: state.adapters.filter((item) => item.key !== key) });
    if (adapter?.id) await engine.call("removeAdapter", [adapter.id]).catch(() => {});
  }

  /** Takes effect at the next token. @param {string} key @param {number} coefficient */
  async function setCoefficient(key, coefficient) {
    const adapter = find(key);
    if (!adapter) return;
    const before = adapter.coefficient;
    // A number that is none is refused by the engine; before it runs, by the same rule here.
    if (Number.isFinite(coefficient)) store.setAdapter(key, { coefficient, error: null });
    else if (adapter.id === null) {
      return store.setAdapter(key, { error: { code: "bad-coefficient", message: "the coefficient is not a finite number; it stays as it was" } });
    }
    store.set({ active: key });
    if (adapter.id === null) return;
    // While one change is on its way, later ones replace each other: only the last counts.
    const busy = waiting.has(key);
    waiting.set(key, coefficient);
    if (busy) return;
    for (let sent; sent !== waiting.get(key);) {
      sent = waiting.get(key);
      try {
        await engine.call("setCoefficient", [adapter.id, sent]);
      } catch (error) {
        complain(adapter, error, { coefficient: before });
      }
      if (Number.isNaN(sent)) break;
    }
    waiting.delete(key);
  }

  /** How c acts, from the next token on. @param {string} key @param {string} law */
  async function setLaw(key, law) {
    await choose(key, { law }, "setLaw", [law], (entry) => ({
      law, lawWords: entry.laws.find((/** @type {any} */ offer) => offer.law === law)?.words,
    }));
  }

  /** Where it acts, from the next token on. @param {string} key @param {string} layers @param {string} modules */
  async function setMask(key, layers, modules) {
    await choose(key, { layers, modules }, "setMask", [layers, modules], () => ({
      maskLayers: layers || "all", maskModules: modules || "all",
    }));
  }

  /**
   * Asks the engine for a choice; a refusal is shown and leaves all as it was.
   * @param {string} key @param {Partial<import("./state/store.js").Adapter>} patch
   * @param {"setLaw"|"setMask"} call @param {any[]} args @param {(entry: any) => any} told
   */
  async function choose(key, patch, call, args, told) {
    const adapter = find(key);
    if (!adapter) return;
    try {
      if (adapter.id !== null) await engine.call(call, [adapter.id, ...args]);
      const entry = adapter.entry && { ...adapter.entry, ...told(adapter.entry) };
      store.setAdapter(key, { ...patch, entry, error: null });
    } catch (error) {
      complain(adapter, error);
    }
    store.set({ active: key });
  }

  /** @param {string} key @param {boolean} enabled */
  async function setEnabled(key, enabled) {
    store.setAdapter(key, { enabled });
    const adapter = find(key);
    if (adapter?.id) await engine.call("setEnabled", [adapter.id, enabled]).catch((error) => complain(adapter, error));
  }

  // ---- running --------------------------------------------------------------------------------

  /** @param {{resume?: boolean}} [options] resume continues the texts of the last run */
  async function run({ resume = false } = {}) {
    if (generating) return;
    const control = new AbortController();
    generating = control;
    if (!(await everythingIsThere(control.signal))) {
      generating = null;
      return;
    }
    const earlier = resume ? state.run : null;
    const tokens = earlier?.tokens ?? [];
    setRun({
      status: "prefill", tokens, kept: tokens.length, split: earlier?.split ?? null,
      error: null, interrupted: false, selected: null, prefill: null, startedAt: performance.now(), firstAt: null, lastAt: null,
      limit: earlier?.limit ?? state.maxTokens, request: earlier?.request ?? request(),
    });
    try {
      const steps = earlier ? continued(earlier, control.signal) : engine.generate(state.run.request, { signal: control.signal });
      for await (const step of steps) take(step);
      setRun({ status: "done" });
      restarts = 0;
    } catch (error) {
      const { code, message } = plain(error);
      if (code === "aborted") setRun({ status: "stopped" });
      else if (!state.run.interrupted) setRun({ status: "failed", error: { code, message } });
    } finally {
      if (generating === control) generating = null;
      refreshMemory();
    }
  }

  /**
   * Waits for the adapters that would act and are still on their way.
   * @param {AbortSignal} signal gives up, and all is as it was before
   * @returns {Promise<boolean>} whether to write
   */
  async function everythingIsThere(signal) {
    const [before, started] = [state.run, era];
    const acting = () => state.adapters.filter((adapter) => adapter.enabled && adapter.coefficient !== 0);
    const stopped = new Promise((resolve) => signal.addEventListener("abort", resolve));
    /** @type {Set<string>} */
    const awaited = new Set();
    for (let late; (late = acting().filter(({ loading }) => loading)).length && !signal.aborted;) {
      setRun({ status: "waiting", waitsFor: late.map(({ title }) => title), error: null });
      for (const { key } of late) awaited.add(key);
      await Promise.race([stopped, Promise.all(late.map(({ key }) => arriving.get(key)))]);
    }
    const failed = acting().find(({ key, error }) => awaited.has(key) && error);
    const error = failed?.error
      ? { ...failed.error, message: `nothing was written, for ${failed.title} could not be read: ${failed.error.message}. Run again to write with what is there` }
      : { code: "aborted", message: "the engine stopped before all adapters were there; run again once it is back" };
    if (signal.aborted) store.set({ run: before });
    else if (failed || era !== started) setRun({ status: "failed", error });
    else return true;
    return false;
  }

  function request() {
    const { prompt, chat, sampling, maxTokens, stop, cache, klAfterSplit } = state;
    const words = chat ? { chat: [{ role: "user", content: prompt }] } : { prompt };
    return { ...words, maxTokens, sampling, stop, cache, klAfterSplit, compare: true, top: 8 };
  }

  /**
   * Goes on behind the texts of an earlier run. While they are the same, one stream does; once
   * they have parted, each goes on from its own ids, and their distance is not measured.
   * @param {any} earlier
   * @param {AbortSignal} signal
   */
  async function* continued({ tokens, split, request, limit }, signal) {
    const prompt = await engine.call("promptIds", [request]);
    const ids = (/** @type {string} */ lane) => [...prompt, ...tokens.filter((/** @type {any} */ t) => t[lane]).map((/** @type {any} */ t) => t[lane].id)];
    const ended = (/** @type {string} */ lane) => tokens.some((/** @type {any} */ t) => t[lane]?.finish);
    const from = (/** @type {string} */ lane, /** @type {boolean} */ compare) =>
      engine.generate({ ...request, cache: state.cache, ids: ids(lane), maxTokens: limit - tokens.length, compare }, { signal });
    if (split === null) {
      yield* from("steered", true);
      return;
    }
    const steered = ended("steered") ? null : from("steered", false);
    const base = ended("base") ? null : from("base", true);
    const token = async (/** @type {AsyncGenerator<any>|null} */ steps) => {
      for (let item = await steps?.next(); item && !item.done; item = await steps?.next()) {
        if (item.value.kind === "token") return item.value;
      }
      return null;
    };
    for (;;) {
      const left = await token(base);
      const right = await token(steered);
      if (!left?.base && !right?.steered) return;
      yield { ...(right ?? left), base: left?.base ?? null, steered: right?.steered ?? null, klNats: null };
    }
  }

  /** @param {any} step */
  function take(step) {
    const { run } = state;
    if (step.kind === "prefill") return setRun({ prefill: step });
    const now = performance.now();
    const index = run.tokens.length;
    const doses = step.coefficients.map((/** @type {[number, number]} */ [id, c]) => {
      const adapter = state.adapters.find((item) => item.id === id);
      return { key: adapter?.key ?? String(id), title: adapter?.title ?? `adapter ${id}`, c };
    });
    run.tokens.push({ ...step, index, doses });
    const split = run.split ?? (step.base?.id === step.steered?.id ? null : index);
    setRun({ status: "streaming", split, firstAt: run.firstAt ?? now, lastAt: now });
    if (index % 16 === 0) refreshMemory();
  }

  function stop() {
    generating?.abort();
  }

  /** @param {"keep"|"recompute"} cache */
  function setCache(cache) {
    store.set({ cache });
    if (generating) engine.call("setCachePolicy", [cache]).catch(() => {});
  }

  /** @param {number|null} index */
  function select(index) {
    const last = (state.run.tokens?.length ?? 0) - 1;
    if (last >= 0) setRun({ selected: index === null ? null : Math.min(Math.max(index, 0), last) });
  }

  async function refreshMemory() {
    if (state.engine.status !== "ready") return;
    try {
      store.set({ memory: await engine.call("memory") });
    } catch {
      // only a read-out; whatever stopped the engine is told elsewhere
    }
  }

  return {
    start, setDevice, loadModel, cancelLoad, isCached, forgetModel,
    addAdapter, removeAdapter, setCoefficient, setLaw, setMask, setEnabled, setTask, setExperts,
    run, stop, setCache, select, refreshMemory,
    restart: () => { restarts = 0; return restore(state.model.source !== null); },
  };
}

/** @typedef {ReturnType<typeof createActions>} Actions */
