// Places on the Hub as the page writes them, and the copies of models that lie beside the page. What a
// place holds and which files are taken is the engine's to say.

/** Where the Hub is, unless a link names a mirror of it. */
export const HUB = "https://huggingface.co";

const ID = /^(?:hub:)?([\w.-]+\/[\w.-]+)(?:\/([^@]*?))?\/?(?:@([^@]+))?$/;
const PAGE = /^([\w.-]+\/[\w.-]+)(?:\/(?:tree|blob|resolve)\/([^/]+)(?:\/(.*))?)?\/?$/;

/**
 * A repository, or a file or folder of it: `owner/name/file@revision`, with or without `hub:` before it, or
 * the address of its page. Null for everything else.
 * @param {string} text @param {string} [hub]
 * @returns {{repository: string, revision: string, path: string}|null}
 */
export function placeOf(text, hub = HUB) {
  const start = `${hub.replace(/\/$/, "")}/`;
  if (text.startsWith(start)) {
    const [, repository, revision = "main", path = ""] = PAGE.exec(text.slice(start.length).split(/[?#]/)[0]) ?? [];
    return repository ? { repository, revision: decodeURIComponent(revision), path: decodeURIComponent(path) } : null;
  }
  const [, repository, path = "", revision = "main"] = ID.exec(text) ?? [];
  return repository ? { repository, revision, path } : null;
}

/** What the engine calls it. @param {NonNullable<ReturnType<typeof placeOf>>} place */
export const idOf = ({ repository, revision, path }) => `hub:${repository}${path && `/${path}`}${revision === "main" ? "" : `@${revision}`}`;

/**
 * A model as somebody typed it: of the Hub, or by its address.
 * @param {string} text @param {string} hub @param {string} base of addresses without a host
 * @returns {import("./state/store.js").ModelAddress}
 */
export function sourceOf(text, hub, base) {
  const place = placeOf(text, hub);
  if (place) return { kind: "url", url: idOf(place), name: place.path.split("/").pop() || place.repository };
  const { href } = new URL(text, base);
  return { kind: "url", url: href, name: href.split("/").pop()?.split("?")[0] || href };
}

/**
 * What is kept in this browser of a model. Of what is no single file nobody knows whether it is whole.
 * @param {import("./engine/protocol.js").CachedModel[]} models all that is kept
 * @param {string} url of the model @param {string} hub
 * @returns {{kept: import("./engine/protocol.js").CachedModel, urls: string[]}|null}
 */
export function keptOf(models, url, hub) {
  const place = placeOf(url, hub);
  if (!place) {
    const kept = models.find((model) => model.url === url);
    return kept ? { kept, urls: [url] } : null;
  }
  const path = place.path.split("/").map(encodeURIComponent).join("/");
  const start = `${hub}/${place.repository}/resolve/${encodeURIComponent(place.revision)}/${path}`;
  const found = models.filter((model) => model.url.startsWith(start));
  const [first] = found;
  if (!first) return null;
  const keptBytes = found.reduce((sum, model) => sum + model.keptBytes, 0);
  const whole = found.length === 1 && first.url === start && first.complete;
  return { kept: { ...first, url, keptBytes, complete: whole }, urls: found.map((model) => model.url) };
}

// ---- lists of models --------------------------------------------------------------------------------

/**
 * A model in a list: on the Hub, where it has an `id` and no `file`, or a copy of one beside the page.
 * @typedef {{id?: string, file?: string, name: string, bytes?: number, sha256?: string, license?: string}} Item
 */

/** @param {URL} list @returns {() => Promise<Item[]>} asks for it once; without one there is nothing in it */
const reader = (list, /** @type {Promise<Item[]>|null} */ reading = null) => () => (reading ??= fetch(list)
  .then((response) => response.json())
  .then((items) => (Array.isArray(items) ? items.filter(({ id, file, name }) => typeof (file ?? id) === "string" && typeof name === "string") : []))
  .catch(() => []));

const BESIDE = new URL("./models.json", import.meta.url);
/** The copies that lie beside the page: those of a class, so that nobody fetches from outside. */
export const copies = reader(BESIDE);
/** Small models of the Hub that run here, as their repositories have them. */
export const known = reader(new URL("./known.json", import.meta.url));

/** A model of a list, to load. @param {Item} item @returns {import("./state/store.js").ModelAddress} */
export const itemSource = ({ id, file, name, bytes, sha256 }) =>
  ({ kind: "url", url: file === undefined ? `hub:${id}` : new URL(file, BESIDE).href, name, bytes, sha256 });

/** The copy of a model of the Hub, if one lies beside the page. @param {Item[]} list @param {string} url @param {string} hub */
export function copyOf(list, url, hub) {
  const place = placeOf(url, hub);
  const found = place && list.find(({ id }) => {
    const other = id === undefined ? null : placeOf(id, hub);
    return other !== null && idOf(other) === idOf(place);
  });
  return found ? itemSource(found) : null;
}
