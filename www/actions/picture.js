// The picture of a weight, which follows what is turned: never two at once, and not while a text is being written, for
// the engine does one thing at a time.
import { plain } from "../engine/client.js";
import { wished } from "../state/picture.js";
import { isWriting } from "../state/store.js";

/** A slider that moves asks once it rests so long. */
const REST_MS = 180;

/** @param {import("../state/store.js").Store} store @param {import("./engine.js").EngineActions} engine */
export function pictureActions(store, { client }) {
  const { state } = store;
  /** What was asked last, answered or not. */
  let asked = "";
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;

  const set = (/** @type {Partial<import("../state/picture.js").Picture>} */ patch) => store.set({ picture: { ...state.picture, ...patch } });

  /** Asks for what is wished now, until the answer is of that. */
  async function look() {
    for (let now = wished(state); now && now.wish !== asked && !isBusy(); now = wished(state)) {
      const { key, id, place, c } = now;
      asked = now.wish;
      set({ asking: true, error: null });
      try {
        const picture = await client.call("weightPicture", [id, { ...place, c }]);
        set({ found: { key, picture } });
      } catch (error) {
        set({ found: null, error: plain(error) });
      }
      set({ asking: false });
    }
  }

  /** Whether the engine has something better to do. A recording that plays is none of its business. */
  const isBusy = () => state.picture.asking || state.work !== null || (isWriting(state.run) && state.run.status !== "playing");

  store.watch(["adapters", "active", "model", "picture", "run", "work"], () => {
    const now = wished(state);
    if (!now) {
      clearTimeout(timer);
      timer = undefined;
      asked = "";
    } else if (now.wish !== asked && !timer && !isBusy()) {
      timer = setTimeout(() => {
        timer = undefined;
        look();
      }, REST_MS);
    }
  });

  return {
    /** Unfolds the card of an adapter's method: the panel looks where it is. @param {string} key */
    openMethod(key) {
      store.set({ active: key });
      set({ open: true, called: state.picture.called + 1 });
    },
    /** @param {Partial<Pick<import("../state/picture.js").Picture, "open"|"module"|"layer"|"values">>} patch */
    setPicture: (patch) => set(patch),
    /** How far each method is from the reference; without the file that is not told. @param {() => Promise<Record<string, import("../state/picture.js").Reference>>} fetching */
    async loadReference(fetching) {
      if (state.picture.reference) return;
      const reference = await fetching().catch(() => null);
      if (reference) set({ reference });
    },
  };
}
