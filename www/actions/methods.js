// Methods of the zoo: one takes another's place while the text goes on.
import { plain } from "../engine/client.js";
import { say } from "../say.js";
import { loadZoo, zooList } from "../shipped.js";
import { atEqualDose, picking } from "../state/compare.js";
import { behaviourOf, choices, chosenOf, hasTasks, keyOf, rivalsOf, titleIn, turnFor } from "../state/methods.js";
import { trainedFor } from "../state/zoo.js";

/** @typedef {import("../state/methods.js").Methods} Methods */

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./adapters.js").AdapterActions} adapters
 * @param {import("./settings.js").SettingsActions} settings
 */
export function methodActions(store, adapters, settings) {
  const { state } = store;
  /** @typedef {{folder: string, behaviour?: string}} Wish */
  /** The folder that is wanted next, and for what; of several wishes only the last. @type {Wish|null} */
  let wanted = null;

  const set = (/** @type {Partial<Methods>} */ patch) => store.set({ methods: { ...state.methods, ...patch } });
  const find = (/** @type {string} */ folder) => state.adapters.find(({ key }) => key === keyOf(folder));

  /** Fetches what is known of all methods, until it is there. */
  async function listMethods() {
    if (["coming", "here"].includes(state.methods.status)) return;
    set({ status: "coming", error: null });
    try {
      set({ status: "here", listed: await zooList() });
    } catch (error) {
      set({ status: "failed", error: plain(error) });
    }
  }

  /** Lets one of the zoo act, in the place of others of its behaviour unless they shall stay. @param {string} folder @param {string} [behaviour] of several that it was trained for */
  async function takeMethod(folder, behaviour) {
    wanted = { folder, behaviour };
    if (state.methods.taking) return;
    try {
      while (wanted !== null) {
        /** @type {Wish} */
        const next = wanted;
        set({ taking: next.folder, error: null });
        await take(next);
        if (wanted === next) wanted = null;
      }
    } finally {
      set({ taking: null });
    }
  }

  /** @param {Wish} wish */
  async function take(wish) {
    const { folder } = wish;
    const item = state.zoo.find((one) => one.folder === folder);
    if (!item) return;
    const behaviour = wish.behaviour ?? behaviourOf(state, item);
    await listMethods();
    const there = await bring(folder);
    // Somebody wants another meanwhile, or it failed, or it was removed on its way.
    if (wanted !== wish || !there) return;
    const task = hasTasks(item) ? trainedFor(item).indexOf(behaviour) : -1;
    if (task >= 0 && (find(folder)?.task ?? 0) !== task) await adapters.setTask(keyOf(folder), task);
    if (wanted !== wish) return;
    const rivals = state.methods.beside ? [] : rivalsOf(state, item, behaviour);
    const goes = rivals.find(({ key }) => key === state.active) ?? rivals.at(-1);
    const title = titleIn(state, folder, item.method);
    const { c, said } = turnFor(state, { item, behaviour, title }, goes && { ...goes, title: named(goes) });
    // All at once, before the next token: the one begins to act and the others cease.
    const turned = [
      ...rivals.map(({ key }) => settings.setEnabled(key, false)),
      settings.setCoefficient(keyOf(folder), c), settings.setEnabled(keyOf(folder), true),
    ];
    set({ said });
    await Promise.all(turned);
    // What the engine refused has said so on its card, and is as it was.
    if (find(folder)?.refused) {
      for (const { key } of rivals) settings.setEnabled(key, true);
      return set({ said: "" });
    }
    // What comes with the page stays, switched off; the zoo's can be fetched again.
    for (const { key } of rivals) if (key.startsWith("zoo:")) adapters.removeAdapter(key);
  }

  /** As the grid calls it. @param {import("../state/store.js").Adapter} adapter */
  const named = ({ key, title }) => {
    const item = state.zoo.find(({ folder }) => keyOf(folder) === key);
    return item ? titleIn(state, item.folder, item.method) : title;
  };

  /** Lists one of the zoo, at 0, unless it is listed; false where it does not come or the engine refuses it. @param {string} folder @returns {Promise<boolean>} */
  async function bring(folder) {
    const item = state.zoo.find((one) => one.folder === folder);
    if (!item) return false;
    if (!find(folder)?.files) {
      const adapter = await loadZoo(item);
      if (adapter.error) {
        set({ error: adapter.error, said: "" });
        return false;
      }
      // One that a link wants and that did not come has its place.
      const place = state.adapters.find(({ name }) => name === folder);
      await adapters.addAdapter(place ? { ...place, files: adapter.files, card: adapter.card } : adapter, place?.key);
    }
    const { error } = find(folder) ?? {};
    if (error) set({ error, said: "" });
    return !error && find(folder) !== undefined;
  }

  /** The next method of the same behaviour, or the one before. @param {1|-1} by */
  async function nextMethod(by) {
    if (!state.zoo.length) return;
    await listMethods();
    const now = state.methods.taking ? state.zoo.find(({ folder }) => folder === wanted?.folder) : chosenOf(state);
    const behaviour = (state.methods.taking && wanted?.behaviour) || behaviourOf(state, now ?? state.zoo[0]);
    const all = choices(state, behaviour);
    const at = now ? all.indexOf(now.folder) + by : by > 0 ? 0 : -1;
    const next = all[(at + all.length) % all.length];
    if (next !== undefined && next !== now?.folder) await takeMethod(next, behaviour);
  }

  /** Brings some of the zoo, not turned, and gives what a comparison is asked. @param {string[]} folders @param {number} nats @param {1|-1} sign */
  async function comparison(folders, nats, sign) {
    const { settings: list, left } = atEqualDose(state, folders, nats, sign);
    set({ error: null, said: left.join(" ") });
    for (const { doses } of list) for (const { key } of doses) if (!(await bring(key.slice("zoo:".length)))) return [];
    if (list.length) set({ said: [say("dose.compare.begun"), ...left].join(" ") });
    return list;
  }

  return {
    listMethods, takeMethod, nextMethod, comparison,
    /** @param {Partial<Pick<Methods, "sameDose"|"beside">>} patch */
    setMethods: (patch) => set(patch),
    /** @param {string} folder */
    pick: (folder) => set({ picked: picking(state.methods.picked, folder) }),
  };
}

/** @typedef {ReturnType<typeof methodActions>} MethodActions */
