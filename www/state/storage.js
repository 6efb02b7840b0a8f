// What this browser keeps of the page, as values, and whether a download has room.

/**
 * @typedef {object} Storage
 * @property {"unasked"|"here"|"denied"} status denied: this frame or window keeps nothing
 * @property {number|null} used      bytes of this site, as the browser estimates them
 * @property {number|null} quota     bytes that it may have
 * @property {boolean|null} persisted whether the browser clears it only when it is told to; null where it does not say
 * @property {import("../engine/protocol.js").CachedModel[]} models of models and adapters, what was downloaded
 * @property {number} files          of the page itself, to open without a network
 * @property {string[]} things       kept by name: a training that is not finished
 * @property {{name: string, bytes: number}[]} remembered small things
 * @property {string} said           what was done last, in words
 */

/** @type {Storage} */
export const NO_STORAGE = { status: "unasked", used: null, quota: null, persisted: null, models: [], files: 0, things: [], remembered: [], said: "" };

/** Small things that belong together for the reader, by how their names begin; all others are settings. @type {[group: string, starts: string[]][]} */
const GROUPS = [
  ["runs", ["history", "groups"]], ["lessons", ["lesson"]], ["measured", ["measured"]], ["written", ["pairs", "batch", "turns"]], ["settings", [""]],
];

/** The group that a small thing belongs to. @param {string} name */
export function groupOf(name) {
  const short = name.replace(/^playground\./, "");
  return /** @type {[string, string[]]} */ (GROUPS.find(([, starts]) => starts.some((start) => short.startsWith(start))))[0];
}

/** @param {Storage["remembered"]} list @returns {{group: string, names: string[], bytes: number}[]} only what there is */
export function grouped(list) {
  const found = new Map(GROUPS.map(([group]) => [group, { group, names: /** @type {string[]} */ ([]), bytes: 0 }]));
  for (const { name, bytes } of list) {
    const place = /** @type {{names: string[], bytes: number}} */ (found.get(groupOf(name)));
    place.names.push(name);
    place.bytes += bytes;
  }
  return [...found.values()].filter(({ names }) => names.length);
}

/** What a browser can still take; null where it does not say. @param {{usage?: number, quota?: number}} estimate */
export const freeOf = ({ usage, quota }) => (typeof quota === "number" && quota > 0 ? Math.max(0, quota - (usage ?? 0)) : null);

/**
 * Whether what is still to come surely has no room.
 * @param {number|undefined} bytes of the whole, where it is known @param {number} kept of it already @param {number|null} free
 */
export const isShort = (bytes, kept, free) => Boolean(bytes) && free !== null && Number(bytes) - kept > free;

/** The name of what was downloaded, without its address. @param {string} url */
export function nameOf(url) {
  const path = url.split(/[?#]/)[0].split("/").filter(Boolean);
  try {
    return decodeURIComponent(path.at(-1) ?? url);
  } catch {
    return url; // a stray % in it
  }
}
