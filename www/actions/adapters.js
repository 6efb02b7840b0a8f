// The list of adapters, and how each gets into the engine.
import { plain } from "../engine/client.js";

/** @typedef {import("../state/store.js").Adapter} Adapter @typedef {{list: Adapter[], gone: string[], zoo: import("../state/zoo.js").ZooItem[]}} Shipped */

/** Whether two wishes ask for the same reading of an adapter's files. @typedef {{task?: number, experts?: number[]}} Wish @param {Wish} a @param {Wish|undefined} b */
const same = (a, b) => b !== undefined && a.task === b.task && a.experts === b.experts;

/** What the engine is given of one whose files are there: weights for its skills take a task's place, which is kept for later. @param {Adapter} adapter */
const filesOf = ({ name, files, task, experts, inspection }) =>
  ({ name, .../** @type {import("../state/store.js").Files} */ (files), task: experts && inspection?.skills ? undefined : task, expertWeights: experts });

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./settings.js").SettingsActions} settings
 */
export function adapterActions(store, { client, started }, settings) {
  const { state } = store;
  /** Adapters on their way into the engine; none of these promises is ever rejected. @type {Map<string, Promise<void>>} */
  const arriving = new Map();
  /** They come one after the other, so that they act in the order of the list. @type {Promise<void>} */
  let queue = Promise.resolve();
  /** Whether the list of what comes with the page was there once. */
  let placed = false;
  /** Settles when what comes with the page is there or is not. @type {Promise<void>} */
  let shipped = Promise.resolve();
  /** Grows with each engine and each model: what was loaded for an earlier one is gone with it. */
  let generation = 0;

  const find = (/** @type {string} */ key) => state.adapters.find((adapter) => adapter.key === key);

  function nextGeneration() {
    generation += 1;
    settings.clear();
    store.set({
      adapters: state.adapters.map((adapter) => ({
        ...adapter, id: null, entry: undefined, loaded: undefined, refused: null, error: adapter.files ? null : adapter.error,
      })),
    });
  }

  // ---- into the engine ------------------------------------------------------------------------

  /** Gives a listed adapter to the engine as it is wished for now. @param {string} key @returns {Promise<void>} */
  function attach(key) {
    let promise = arriving.get(key);
    if (!promise) {
      const asked = generation;
      store.setAdapter(key, { loading: true, error: null, refused: null });
      promise = queue.then(() => load(key, asked)).finally(() => arriving.delete(key));
      arriving.set(key, promise);
      queue = promise;
    }
    return promise;
  }

  /** Gives the engine those that it does not have, once it is known what comes with the page. @param {() => boolean} wanted whether to go on */
  async function attachAll(wanted) {
    await shipped;
    // Not a fixed list: another may be added meanwhile.
    const next = () => state.adapters.find((adapter) => adapter.files && adapter.id === null && !adapter.error);
    for (let adapter; wanted() && (adapter = next());) await attach(adapter.key);
  }

  /** Loads it, or reads it again in its place, until the engine has the task and the weights that were chosen last. @param {string} key @param {number} asked when */
  async function load(key, asked) {
    try {
      for (let adapter = find(key); generation === asked && adapter && !same(adapter, adapter.loaded); adapter = find(key)) {
        if (!(await loadOnce(adapter, asked))) return;
      }
    } finally {
      store.setAdapter(key, { loading: false });
    }
  }

  /** @param {Adapter} adapter @param {number} asked when @returns {Promise<boolean>} whether to look again */
  async function loadOnce(adapter, asked) {
    const { key, id, task, experts } = adapter;
    try {
      if (!adapter.inspection) {
        const inspection = await client.call("inspectAdapter", [filesOf(adapter)]);
        // Where one task has to be chosen it is the first until the user, who sees it, takes another.
        store.setAdapter(key, { inspection, task: find(key)?.task ?? ((inspection.tasks ?? 0) > 1 ? 0 : undefined) });
        return true;
      }
      const entry = id === null
        ? await client.call("loadAdapter", [filesOf(adapter)])
        : await client.call("reloadAdapter", [id, filesOf(adapter)]);
      if (generation !== asked) return false;
      store.setAdapter(key, { id: entry.id, entry, loaded: { task, experts } });
      return id !== null || enter(key, entry.id);
    } catch (error) {
      // What an earlier engine or model says has no meaning any more.
      if (generation !== asked) return false;
      const now = find(key);
      // Another task was chosen meanwhile: it is for that one to fail or not.
      if (now && !same(now, { task, experts })) return true;
      store.setAdapter(key, id === null ? { error: plain(error) } : { ...now?.loaded, refused: plain(error) });
      return false;
    }
  }

  /** Sets a fresh adapter as it is listed, and lets it act in the order of the list. @param {string} key @param {number} id @returns {Promise<boolean>} whether it is still listed */
  async function enter(key, id) {
    await settings.configure(key, id);
    const at = state.adapters.findIndex((adapter) => adapter.key === key);
    if (at < 0) {
      await client.call("removeAdapter", [id]);
      return false;
    }
    // The engine adds at the end: whatever comes later in the list has to come again.
    for (const later of state.adapters.slice(at + 1)) {
      if (later.id === null) continue;
      client.call("removeAdapter", [later.id]).catch(() => {});
      store.setAdapter(later.key, { id: null, loaded: undefined });
      attach(later.key);
    }
    return true;
  }

  /** Another of its tasks, from the next token on. @param {string} key @param {number} task */
  const setTask = (key, task) => reload(key, { task });

  /** Weights for an adapter's experts or skills, or undefined for those of its gate or task. @param {string} key @param {number[]|undefined} experts */
  const setExperts = (key, experts) => reload(key, { experts });

  /** @param {string} key @param {Wish} patch */
  async function reload(key, patch) {
    store.setAdapter(key, { ...patch, error: null, refused: null });
    store.set({ active: key });
    if (state.model.status === "ready") await attach(key);
  }

  // ---- the list -------------------------------------------------------------------------------

  /** An adapter for the end of the list, or for the place that was kept for it. @param {Omit<Adapter, "id"|"error">} adapter @param {string} [place] key of what it replaces */
  async function addAdapter(adapter, place) {
    /** @type {Adapter} */
    const added = { ...adapter, id: null, error: null };
    const { adapters } = state;
    store.set({
      adapters: place ? adapters.map((item) => (item.key === place ? added : item)) : [...adapters, added], active: adapter.key,
    });
    if (state.model.status === "ready") await attach(adapter.key);
  }

  /** Fetches the files of one of the Hub, or by the address of its weights. @param {string} url @returns {Promise<import("../files.js").Found>} */
  async function fetchAdapter(url) {
    await started;
    // The engine gives what the browser holds.
    return /** @type {any} */ (await client.call("fetchAdapter", [url, { hub: state.hub }]));
  }

  /** Fetches what comes with the page, and lists of it what is not listed yet. @param {() => Promise<Shipped>} fetching */
  const listShipped = (fetching) => (shipped = list(fetching));

  /** @param {() => Promise<Shipped>} fetching */
  async function list(fetching) {
    const before = state.gone;
    store.set({ shelf: { status: "coming", error: null } });
    try {
      const { list, gone, zoo } = await fetching();
      const { adapters } = state;
      // Some may be listed whose files could not be fetched before.
      const known = adapters.map((adapter) => {
        const now = adapter.files ? null : list.find(({ key }) => key === adapter.key);
        return now ? { ...adapter, title: now.title, sentence: now.sentence, card: now.card, files: now.files, error: now.error } : adapter;
      });
      // What a link wants besides what always comes is listed once: it may be filled by now, or done without.
      const fresh = list.filter(({ key, name }) => !adapters.some((adapter) => adapter.key === key) && !(placed && !key.startsWith("shipped:"))
        // Nor is anything brought back that was removed while it was on its way.
        && !(state.gone.includes(name) && !before.includes(name)));
      const all = [...known, ...fresh];
      placed = true;
      store.set({ adapters: all, active: state.active ?? all[0]?.key ?? null, gone: state.gone === before ? gone : state.gone, zoo, shelf: { status: "here", error: null } });
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
    if (adapter && adapter.id !== null) await client.call("removeAdapter", [adapter.id]).catch(() => {});
  }

  return {
    addAdapter, fetchAdapter, listShipped, removeAdapter, setTask, setExperts, attachAll, nextGeneration,
    generation: () => generation,
    /** Settles when the adapter is in the engine or is not. */
    arrival: (/** @type {string} */ key) => arriving.get(key),
  };
}

/** @typedef {ReturnType<typeof adapterActions>} AdapterActions */
