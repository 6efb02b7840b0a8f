// What this browser keeps of the page: looked at, deleted one by one or all of it, and kept for good if asked.
import { plain } from "../engine/client.js";
import { forget, forgetAll, keptNames } from "../keep.js";
import { forgetRemembered, remembered } from "../remember.js";
import { say } from "../say.js";
import { NO_RUNS } from "../state/runs.js";
import { groupOf } from "../state/storage.js";

/** Where the service worker keeps the page's files, and the engine what it downloads and how repositories were listed last. */
const [SHELL, MODELS, LISTINGS] = ["shell", "models", "listings"];
/** The address of a listing, of the Hub or a mirror. */
const LISTING = /\/api\/models\/[^?#]+\/tree\//;

/** The page's own addresses. */
const ours = (/** @type {string} */ url) => url.startsWith(new URL("./", document.baseURI).href);

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./model.js").ModelActions} models
 */
export function storageActions(store, { client }, models) {
  const { state } = store;
  const set = (/** @type {Partial<import("../state/storage.js").Storage>} */ patch) => store.set({ storage: { ...state.storage, ...patch } });

  /** Whether this frame or window keeps anything at all. */
  async function isDenied() {
    try {
      localStorage.getItem("playground");
      await navigator.storage.getDirectory();
      return false;
    } catch {
      return true;
    }
  }

  async function files() {
    const shell = await caches.open(SHELL);
    return (await shell.keys()).filter(({ url }) => ours(url));
  }

  /** @param {string} [said] */
  async function lookAtStorage(said = "") {
    const [estimate, persisted, cached, shell, things] = await Promise.all([
      Promise.resolve(navigator.storage?.estimate?.()).catch(() => undefined), Promise.resolve(navigator.storage?.persisted?.()).catch(() => undefined),
      client.call("cachedModels", []).catch(() => []), Promise.resolve().then(files).catch(() => []), keptNames().catch(() => /** @type {IDBValidKey[]} */ ([])),
    ]);
    set({
      status: (await isDenied()) ? "denied" : "here", used: estimate?.usage ?? null, quota: estimate?.quota ?? null, persisted: persisted ?? null,
      models: cached, files: shell.length, things: things.map(String), remembered: remembered(), said,
    });
  }

  /** Says so, and whatever went wrong. @param {() => Promise<unknown>} does @param {string} said */
  async function saying(does, said) {
    try {
      await does();
      await lookAtStorage(said);
    } catch (error) {
      await lookAtStorage(say("storage.failed", { why: plain(error).message }));
    }
  }

  /** @param {string} url */
  const deleteDownload = (url) => saying(async () => {
    const { source } = state.model;
    // The model's own place on the page says so too.
    if (source?.kind === "url" && source.url === url) await models.forgetModel(url);
    else await client.call("deleteCachedModel", [url]);
  }, say("storage.deleted"));

  const deleteFiles = () => saying(dropFiles, say("storage.deleted"));
  async function dropFiles() {
    const shell = await caches.open(SHELL);
    await Promise.all((await files()).map((request) => shell.delete(request)));
  }

  /** Their names say what somebody looked at. */
  async function dropListings() {
    const listings = await caches.open(LISTINGS);
    const found = (await listings.keys()).filter(({ url }) => LISTING.test(url));
    await Promise.all(found.map((request) => listings.delete(request)));
  }

  /** @param {string} name */
  const deleteThing = (name) => saying(() => forget(name), say("storage.deleted"));

  /** @param {string[]} names of small things */
  const deleteRemembered = (names) => saying(async () => forgetSmall(names), say("storage.deleted"));
  /** @param {string[]} names */
  function forgetSmall(names) {
    // Else the next run would write them again.
    if (names.some((name) => groupOf(name) === "runs")) store.set({ runs: NO_RUNS });
    forgetRemembered(names);
  }

  const deleteEverything = () => saying(async () => {
    for (const { url } of await client.call("cachedModels", []).catch(() => [])) await client.call("deleteCachedModel", [url]);
    if (state.model.info?.cached && state.model.source?.kind === "url") await models.forgetModel(state.model.source.url);
    // What an engine that does not run has left.
    const root = await navigator.storage?.getDirectory?.().catch(() => null);
    await root?.removeEntry(MODELS, { recursive: true }).catch((/** @type {DOMException} */ error) => {
      if (error.name !== "NotFoundError" && error.name !== "NoModificationAllowedError") throw error;
    });
    for (const registration of await navigator.serviceWorker?.getRegistrations?.() ?? []) if (ours(registration.scope)) await registration.unregister();
    await dropFiles();
    await dropListings();
    await forgetAll();
    forgetSmall(remembered().map(({ name }) => name));
  }, say("storage.deleted-all"));

  /** Only because somebody pressed: a browser may ask them. */
  async function persist() {
    const granted = await navigator.storage?.persist?.().catch(() => false);
    await lookAtStorage(say(granted ? "storage.persisted" : "storage.not-persisted"));
  }

  return { lookAtStorage, deleteDownload, deleteFiles, deleteThing, deleteRemembered, deleteEverything, persist };
}
