// What is set on an adapter that the engine has: its switch, coefficient, law and mask.
import { plain } from "../engine/client.js";
import { say } from "../say.js";

/** The engine's call for each setting, and the fields of the state that it takes, "" where nothing was chosen. */
const SETTINGS = /** @type {const} */ ({
  enabled: { call: "setEnabled", fields: ["enabled"] },
  law: { call: "setLaw", fields: ["law"] },
  mask: { call: "setMask", fields: ["layers", "modules", "positions"] },
  coefficient: { call: "setCoefficient", fields: ["coefficient"] },
});

/**
 * @typedef {import("../state/store.js").Adapter} Adapter
 * @typedef {import("../state/runs.js").Wish} Wish
 * @typedef {keyof typeof SETTINGS} Setting
 * @typedef {Partial<Pick<Adapter, typeof SETTINGS[Setting]["fields"][number]>>} Values
 */

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 */
export function settingsActions(store, { client }) {
  const { state } = store;
  /** What the engine has of each adapter, by its id there, and which settings are on their way to it. @type {Map<number, {values: Values, sending: Set<Setting>}>} */
  const applied = new Map();
  /** Whether the engine's adapters are set otherwise than the page shows for a while. */
  let aside = false;

  /** Takes effect at the next token. @param {string} key @param {number} coefficient */
  async function setCoefficient(key, coefficient) {
    if (Number.isFinite(coefficient)) return choose(key, "coefficient", { coefficient });
    store.setAdapter(key, { refused: { code: "bad-coefficient", message: say("adapters.not-finite") } });
    store.set({ active: key });
  }

  /** How c acts, from the next token on. @param {string} key @param {string} law */
  const setLaw = (key, law) => choose(key, "law", { law });

  /** Where it acts, from the next token on; what is not named stays. @param {string} key @param {{layers?: string, modules?: string, positions?: string}} where */
  const setMask = (key, where) => choose(key, "mask", where);

  /** @param {string} key @param {boolean} enabled */
  const setEnabled = (key, enabled) => choose(key, "enabled", { enabled });

  /** What the page calls it; an empty name leaves the one before. @param {string} key @param {string} title */
  const rename = (key, title) => store.setAdapter(key, title.trim() ? { title: title.trim() } : {});

  /**
   * Shows a choice at once, and asks the engine for it.
   * @param {string} key @param {Setting} setting @param {Values} patch
   */
  async function choose(key, setting, patch) {
    store.setAdapter(key, { ...patch, refused: null });
    store.set({ active: key });
    await commit(key, setting);
  }

  /**
   * Sends the engine a setting until it has what the page shows. What it refuses goes back to what
   * it has, but for what was changed meanwhile: that is asked next. So what is shown is, once
   * nothing is on its way, what acts.
   * @param {string} key @param {Setting} setting
   */
  async function commit(key, setting) {
    const id = state.adapters.find((adapter) => adapter.key === key)?.id ?? null;
    const has = id === null ? undefined : applied.get(id);
    // Whoever is sending looks again; of several changes meanwhile only the last counts.
    if (aside || id === null || !has || has.sending.has(setting)) return;
    const { values, sending } = has;
    const { call } = SETTINGS[setting];
    const fields = /** @type {readonly (keyof Values)[]} */ (SETTINGS[setting].fields);
    /** Nothing once another engine or model has come. */
    const listed = () => (applied.get(id) === has ? state.adapters.find((adapter) => adapter.key === key && adapter.id === id) : undefined);
    const differs = (/** @type {Adapter} */ adapter) => fields.some((field) => (adapter[field] ?? "") !== (values[field] ?? ""));
    sending.add(setting);
    for (let now = listed(); now && differs(now) && !aside; now = listed()) {
      const wish = pick(now, fields);
      try {
        const args = /** @type {any} */ ([id, ...fields.map((field) => wish[field] ?? "")]);
        await client.call(call, args);
        Object.assign(values, wish);
        const then = listed();
        if (then?.entry) store.setAdapter(key, { entry: updated(then.entry, setting, wish) });
      } catch (error) {
        const then = listed();
        const back = fields.filter((field) => then && then[field] === wish[field]);
        if (back.length) store.setAdapter(key, { ...pick(values, back), refused: plain(error) });
      }
    }
    sending.delete(setting);
  }

  /** Sends a fresh adapter everything that it was set to before it came. @param {string} key @param {number} id */
  async function configure(key, id) {
    // So it comes.
    applied.set(id, { values: { enabled: true, coefficient: 0 }, sending: new Set() });
    for (const setting of /** @type {Setting[]} */ (Object.keys(SETTINGS))) await commit(key, setting);
  }

  /**
   * Sets the engine's adapters otherwise for a while. What is turned on the page meanwhile is shown, and acts afterwards.
   * @template T
   * @param {(set: (wishes: Wish[]) => Promise<void>) => Promise<T>} does `set` turns the adapters that are named, and all others to 0
   * @returns {Promise<T>}
   */
  async function otherwise(does) {
    aside = true;
    try {
      // What is on its way is there first.
      while ([...applied.values()].some(({ sending }) => sending.size)) await new Promise((resolve) => setTimeout(resolve, 5));
      return await does(async (wishes) => {
        for (const { key, id } of state.adapters) if (id !== null) await impose(id, wishes.find((one) => one.key === key), state.adapters.find((one) => one.key === key));
      });
    } finally {
      // Under no law is 0 refused; from there all that is shown can be set.
      for (const { id } of state.adapters) if (id !== null) await impose(id, undefined, undefined).catch(() => {});
      aside = false;
      for (const { key } of state.adapters) for (const setting of /** @type {Setting[]} */ (Object.keys(SETTINGS))) commit(key, setting);
    }
  }

  /** @param {number} id @param {Wish|undefined} wish @param {Adapter|undefined} adapter whose settings hold where nothing is wished */
  async function impose(id, wish, adapter) {
    const has = applied.get(id);
    if (!has) return;
    const send = async (/** @type {Setting} */ setting, /** @type {Values} */ values) => {
      const { call } = SETTINGS[setting];
      const fields = /** @type {readonly (keyof Values)[]} */ (SETTINGS[setting].fields);
      if (fields.every((field) => (values[field] ?? "") === (has.values[field] ?? ""))) return;
      await client.call(call, /** @type {any} */ ([id, ...fields.map((field) => values[field] ?? "")]));
      Object.assign(has.values, pick(values, fields));
    };
    if (!wish) return send("coefficient", { coefficient: 0 });
    const { c, law = adapter?.law ?? adapter?.entry?.law, layers = adapter?.layers, modules = adapter?.modules, positions = adapter?.positions } = wish;
    // A coefficient that is there need not be in the other law's domain.
    if (law && law !== (has.values.law ?? adapter?.entry?.law)) {
      await send("coefficient", { coefficient: 0 });
      await send("law", { law });
    }
    await send("enabled", { enabled: true });
    await send("mask", { layers, modules, positions });
    await send("coefficient", { coefficient: c });
  }

  return { otherwise, rename, setCoefficient, setLaw, setMask, setEnabled, configure, /** The engine has none of them any more. */ clear: () => applied.clear() };
}

/** @param {Values} values @param {readonly (keyof Values)[]} fields @returns {Values} */
const pick = (values, fields) => Object.fromEntries(fields.map((field) => [field, values[field]]));

/** An entry as the engine would give it after a change. @param {import("../engine/protocol.js").AdapterEntry} entry @param {Setting} setting @param {Values} wish @returns {import("../engine/protocol.js").AdapterEntry} */
function updated(entry, setting, { law, layers, modules, positions }) {
  if (setting === "law") return { ...entry, law: /** @type {import("../engine/protocol.js").Law} */ (law), lawWords: entry.laws.find((offer) => offer.law === law)?.words ?? "" };
  if (setting === "mask") return { ...entry, maskLayers: layers || "all", maskModules: modules || "all", maskPositions: positions || "all" };
  return entry;
}

/** @typedef {ReturnType<typeof settingsActions>} SettingsActions */
