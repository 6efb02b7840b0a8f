// What the user can do, and what it does to the engine and to the state. No elements here.
import { Engine, EngineError } from "./engine/client.js";
import { say } from "./say.js";
import { manner } from "./state/acting.js";

/** Automatic restarts before the page asks; a device that keeps failing must not loop. */
const RESTARTS = 2;

/** Whether two wishes ask for the same reading of an adapter's files. @typedef {{task?: number, experts?: number[]}} Wish @param {Wish} a @param {Wish|undefined} b */
const same = (a, b) => b !== undefined && a.task === b.task && a.experts === b.experts;

/** @param {any} error @returns {{code: string, message: string}} */
export const plain = (error) => ({
  code: typeof error?.code === "string" ? error.code : "internal", message: String(error?.message ?? error),
});

/** What the engine is told of an adapter: the call, and the fields of the state that it takes, "" where nothing was chosen. */
const SETTINGS = /** @type {const} */ ({
  enabled: { call: "setEnabled", fields: ["enabled"] },
  law: { call: "setLaw", fields: ["law"] },
  mask: { call: "setMask", fields: ["layers", "modules"] },
  coefficient: { call: "setCoefficient", fields: ["coefficient"] },
});

/** Whether the engine's instructions are known here: a function that makes a vector of zeros and counts its bits. */
const SIMD = typeof WebAssembly === "object" && WebAssembly.validate(new Uint8Array([
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
]));

/** @param {import("./state/store.js").Store} store */
export function createActions(store) {
  const { state } = store;
  let restarts = 0;
  /** @type {AbortController|null} */
  let loading = null;
  /** @type {AbortController|null} */
  let generating = null;
  /** What the engine has of each adapter's settings, by its id there. @type {Map<number, any>} */
  const acts = new Map();
  /** Settings that are on their way to it. @type {Set<string>} */
  const sending = new Set();
  /** Adapters on their way into the engine; none of these promises is ever rejected. @type {Map<string, Promise<void>>} */
  const arriving = new Map();
  /** They come one after the other, so that they act in the order of the list. @type {Promise<void>} */
  let queue = Promise.resolve();
  /** Whether the list of what comes with the page was there once. */
  let placed = false;
  /** Settles when what comes with the page is there or is not. @type {Promise<any>} */
  let coming = Promise.resolve();
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
    store.set({ engine: { ...state.engine, status: "starting", error: null } });
    try {
      employ(why);
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

  /** A frame may be forbidden to have workers. @param {EngineError|undefined} why */
  function employ(why) {
    if (!SIMD) throw new EngineError({ code: "device-unavailable", message: say("engine.no-simd") });
    try {
      engine.start(why);
    } catch (error) {
      throw new EngineError({
        code: "device-unavailable",
        message: say("engine.no-worker", { why: plain(error).message }),
      });
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
    acts.clear();
    store.set({
      adapters: state.adapters.map((adapter) => ({
        ...adapter, id: null, entry: undefined, loaded: undefined, refused: null, error: adapter.files ? null : adapter.error,
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
    setModel({ status: "starting", source, name: source.name, bytes: 0, totalBytes, since: Date.now(), from: 0, info: null, error: null, kept: null, deleted: false });
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
      await coming;
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
      // A copy that cannot be used must not be in the way for ever.
      const kept = source.kind === "url" ? await isCached(source.url).catch(() => null) : null;
      if (loading !== control) return;
      setModel(code === "aborted" ? { status: "paused", kept } : { status: "failed", kept, error: { code, message } });
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

  /** What is kept of a model in this browser, whole or in part, before it is loaded. @param {string} url */
  async function lookForKept(url) {
    const kept = await isCached(url).catch(() => null);
    if (state.model.status === "none") setModel({ kept });
    return kept;
  }

  async function forgetModel(/** @type {string} */ url) {
    await engine.call("deleteCachedModel", [url]);
    const { info } = state.model;
    setModel({
      kept: null, deleted: true, info: info && { ...info, cached: false, note: say("model.copy-deleted") },
    });
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
      store.setAdapter(key, { loading: true, error: null, refused: null });
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
        if (!(await bringOnce(adapter, asked))) return;
      }
    } finally {
      store.setAdapter(key, { loading: false });
    }
  }

  /** @param {import("./state/store.js").Adapter} adapter @param {number} asked when @returns {Promise<boolean>} whether to look again */
  async function bringOnce(adapter, asked) {
    const { key, id, task, experts } = adapter;
    try {
      if (!adapter.inspection) {
        const inspection = await engine.call("inspectAdapter", [files(adapter)]);
        // Where one task has to be chosen it is the first until the user, who sees it, takes another.
        store.setAdapter(key, { inspection, task: find(key)?.task ?? (inspection.tasks > 1 ? 0 : undefined) });
        return true;
      }
      const entry = id === null
        ? await engine.call("loadAdapter", [files(adapter)])
        : await engine.call("reloadAdapter", [id, files(adapter)]);
      if (era !== asked) return false;
      store.setAdapter(key, { id: entry.id, entry, loaded: { task, experts } });
      return id !== null || dress(key, entry.id);
    } catch (error) {
      // What an earlier engine or model says has no meaning any more.
      if (era !== asked) return false;
      const now = find(key);
      // Another task was chosen meanwhile: it is for that one to fail or not.
      if (now && !same(now, { task, experts })) return true;
      store.setAdapter(key, id === null ? { error: plain(error) } : { ...now?.loaded, refused: plain(error) });
      return false;
    }
  }

  /** Tells the engine what an adapter was set to before it came, and lets it act in the order of the list. @param {string} key @param {number} id @returns {Promise<boolean>} whether it is still listed */
  async function dress(key, id) {
    // So it comes.
    acts.set(id, { enabled: true, coefficient: 0 });
    for (const setting of /** @type {(keyof typeof SETTINGS)[]} */ (Object.keys(SETTINGS))) await send(key, setting);
    const at = state.adapters.findIndex((adapter) => adapter.key === key);
    if (at < 0) {
      await engine.call("removeAdapter", [id]);
      return false;
    }
    // The engine adds at the end: whatever comes later in the list has to come again.
    for (const later of state.adapters.slice(at + 1)) {
      if (later.id === null) continue;
      engine.call("removeAdapter", [later.id]).catch(() => {});
      store.setAdapter(later.key, { id: null, loaded: undefined });
      attach(later.key);
    }
    return true;
  }

  /** Another of its tasks, from the next token on. @param {string} key @param {number} task */
  const setTask = (key, task) => reread(key, { task });

  /** Weights for an adapter's experts or skills, or undefined for those of its gate or task. @param {string} key @param {number[]|undefined} experts */
  const setExperts = (key, experts) => reread(key, { experts });

  /** @param {string} key @param {{task?: number, experts?: number[]}} patch */
  async function reread(key, patch) {
    store.setAdapter(key, { ...patch, error: null, refused: null });
    store.set({ active: key });
    if (state.model.status === "ready") await attach(key);
  }

  /** An adapter for the end of the list, or for the place that was kept for it. @param {Omit<import("./state/store.js").Adapter, "id"|"error">} adapter @param {string} [place] key of what it replaces */
  async function addAdapter(adapter, place) {
    /** @type {import("./state/store.js").Adapter} */
    const added = { ...adapter, id: null, error: null };
    const { adapters } = state;
    store.set({
      adapters: place ? adapters.map((item) => (item.key === place ? added : item)) : [...adapters, added], active: adapter.key,
    });
    if (state.model.status === "ready") await attach(adapter.key);
  }

  /**
   * Fetches what comes with the page, and lists of it what is not listed yet.
   * @param {() => Promise<{list: import("./state/store.js").Adapter[], gone: string[]}>} fetching
   */
  function listShipped(fetching) {
    return (coming = list(fetching));
  }

  /** @param {() => Promise<{list: import("./state/store.js").Adapter[], gone: string[]}>} fetching */
  async function list(fetching) {
    const before = state.gone;
    store.set({ shelf: { status: "coming", error: null } });
    try {
      const { list, gone } = await fetching();
      const { adapters } = state;
      // Some may be listed whose files could not be fetched before.
      const known = adapters.map((adapter) => {
        const now = adapter.files ? null : list.find(({ key }) => key === adapter.key);
        return now ? { ...adapter, title: now.title, sentence: now.sentence, card: now.card, files: now.files, error: now.error } : adapter;
      });
      // A place that a link wants is kept once: it may be filled by now, or done without.
      const fresh = list.filter(({ key, name, wanted }) => !adapters.some((adapter) => adapter.key === key) && !(wanted && placed)
        // Nor is anything brought back that was removed while it was on its way.
        && !(state.gone.includes(name) && !before.includes(name)));
      const all = [...known, ...fresh];
      placed = true;
      store.set({ adapters: all, active: state.active ?? all[0]?.key ?? null, gone: state.gone === before ? gone : state.gone, shelf: { status: "here", error: null } });
    } catch (error) {
      store.set({ shelf: { status: "failed", error: plain(error) } });
    }
    if (state.model.status !== "ready") return;
    for (const { key, files, error, id } of state.adapters) if (files && !error && id === null) attach(key);
  }

  /** @param {string} key */
  async function removeAdapter(key) {
    const adapter = find(key);
    store.set({
      adapters: state.adapters.filter((item) => item.key !== key),
      active: state.active === key ? null : state.active,
      gone: adapter && key.startsWith("shipped:") ? [...state.gone, adapter.name] : state.gone,
    });
    if (adapter && adapter.id !== null) await engine.call("removeAdapter", [adapter.id]).catch(() => {});
  }

  /** Takes effect at the next token. @param {string} key @param {number} coefficient */
  async function setCoefficient(key, coefficient) {
    if (Number.isFinite(coefficient)) return choose(key, "coefficient", { coefficient });
    store.setAdapter(key, { refused: { code: "bad-coefficient", message: say("adapters.not-finite") } });
    store.set({ active: key });
  }

  /** How c acts, from the next token on. @param {string} key @param {string} law */
  const setLaw = (key, law) => choose(key, "law", { law });

  /** Where it acts, from the next token on; what is not named stays. @param {string} key @param {{layers?: string, modules?: string}} where */
  const setMask = (key, where) => choose(key, "mask", where);

  /** @param {string} key @param {boolean} enabled */
  const setEnabled = (key, enabled) => choose(key, "enabled", { enabled });

  /**
   * Shows a choice at once, and asks the engine for it.
   * @param {string} key @param {keyof typeof SETTINGS} setting @param {Partial<import("./state/store.js").Adapter>} patch
   */
  async function choose(key, setting, patch) {
    store.setAdapter(key, { ...patch, refused: null });
    store.set({ active: key });
    await send(key, setting);
  }

  /**
   * Tells the engine a setting until it has what the page shows. What it refuses goes back to what
   * it has, but for what was changed meanwhile: that is asked next. So what is shown is, once
   * nothing is on its way, what acts.
   * @param {string} key @param {keyof typeof SETTINGS} setting
   */
  async function send(key, setting) {
    const id = find(key)?.id ?? null;
    const lane = `${id} ${setting} ${era}`;
    // Whoever is sending looks again; of several changes meanwhile only the last counts.
    if (id === null || sending.has(lane)) return;
    const has = acts.get(id);
    const { call, fields } = SETTINGS[setting];
    /** @returns {any} unless another engine or model has come */
    const listed = () => (acts.get(id) === has ? state.adapters.find((adapter) => adapter.key === key && adapter.id === id) : undefined);
    const differs = (/** @type {any} */ adapter) => fields.some((field) => (adapter[field] ?? "") !== (has[field] ?? ""));
    sending.add(lane);
    for (let now = listed(); now && differs(now); now = listed()) {
      const wish = Object.fromEntries(fields.map((field) => [field, now[field]]));
      try {
        await engine.call(call, [id, ...fields.map((field) => wish[field] ?? "")]);
        Object.assign(has, wish);
        const then = listed();
        if (then?.entry) store.setAdapter(key, { entry: told(then.entry, setting, wish) });
      } catch (error) {
        const then = listed();
        const back = fields.filter((field) => then && then[field] === wish[field]);
        if (back.length) store.setAdapter(key, { ...Object.fromEntries(back.map((field) => [field, has[field]])), refused: plain(error) });
      }
    }
    sending.delete(lane);
  }

  /** An entry of the engine's as it says it after a change. @param {any} entry @param {string} setting @param {any} wish */
  function told(entry, setting, { law, layers, modules }) {
    if (setting === "law") return { ...entry, law, lawWords: entry.laws.find((/** @type {any} */ offer) => offer.law === law)?.words };
    if (setting === "mask") return { ...entry, maskLayers: layers || "all", maskModules: modules || "all" };
    return entry;
  }

  // ---- running --------------------------------------------------------------------------------

  /** @param {{resume?: boolean}} [options] resume continues the texts of the last run */
  async function run({ resume = false } = {}) {
    if (generating) return;
    if (state.model.info?.hasTokenizer === false) return setRun({ recorded: null, status: "failed", error: { code: "no-tokenizer", message: say("engine.no-tokenizer") } });
    const control = new AbortController();
    generating = control;
    if (!(await everythingIsThere(control.signal))) {
      generating = null;
      return;
    }
    const earlier = resume ? state.run : null;
    const tokens = earlier?.tokens ?? [];
    setRun({
      recorded: null, status: "prefill", tokens, kept: tokens.length, split: earlier?.split ?? null,
      error: null, interrupted: false, selected: null, prefill: null, startedAt: performance.now(), firstAt: null, lastAt: null,
      limit: earlier?.limit ?? state.maxTokens, request: earlier?.request ?? request(), manners: earlier?.manners ?? null,
      model: { name: state.model.name, source: state.model.source, context: state.model.info?.context },
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
      setRun({ recorded: null, status: "waiting", waitsFor: late.map(({ title }) => title), error: null });
      for (const { key } of late) awaited.add(key);
      await Promise.race([stopped, Promise.all(late.map(({ key }) => arriving.get(key)))]);
    }
    const failed = state.adapters.find(({ key, error, refused }) => awaited.has(key) && (error ?? refused));
    const why = failed?.error ?? failed?.refused;
    const error = failed && why
      ? { ...why, message: say(failed.error ? "engine.not-read" : "engine.not-set", { title: failed.title, why: why.message }) }
      : { code: "aborted", message: say("engine.stopped-early") };
    if (signal.aborted) store.set({ run: before });
    else if (failed || era !== started) setRun({ status: "failed", error });
    else return true;
    return false;
  }

  function request() {
    const { prompt, chat, sampling, maxTokens, stop, cache, klAfterSplit } = state;
    const words = chat && state.model.info?.hasChatTemplate !== false ? { chat: [{ role: "user", content: prompt }] } : { prompt };
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
    // Once the steered text has ended, nothing that is turned acts on anything.
    const writes = Boolean(step.steered);
    const doses = (writes ? step.coefficients : []).map((/** @type {[number, number]} */ [id, c]) => {
      const adapter = state.adapters.find((item) => item.id === id);
      return { key: adapter?.key ?? String(id), title: adapter?.title ?? say("adapters.nameless", { id: String(id) }), c };
    });
    const [klNats, cache] = [Number.isFinite(step.klNats) ? step.klNats : null, writes ? step.cache : "current"];
    run.tokens.push({ ...step, index, doses, klNats, cache });
    const split = run.split ?? (step.base?.id === step.steered?.id ? null : index);
    const manners = writes ? manner(state.adapters) : run.manners;
    setRun({ status: "streaming", split, manners, firstAt: run.firstAt ?? now, lastAt: now });
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
    start, setDevice, loadModel, cancelLoad, lookForKept, forgetModel,
    addAdapter, listShipped, removeAdapter, setCoefficient, setLaw, setMask, setEnabled, setTask, setExperts,
    run, stop, setCache, select, refreshMemory,
    /** What a run now would be asked, to compare with an earlier one's. */
    request,
    restart: () => { restarts = 0; return restore(state.model.source !== null); },
  };
}

/** @typedef {ReturnType<typeof createActions>} Actions */
