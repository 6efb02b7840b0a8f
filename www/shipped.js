// The adapters that come with the page: ./adapters/index.json, and a folder each.

import { plain } from "./engine/client.js";
import { say } from "./say.js";
import { wanted, wished } from "./state/url.js";
import { isListed } from "./state/methods.js";
import { isOfZoo, titleOf, verify, zooCard } from "./state/zoo.js";

/** @typedef {import("./state/zoo.js").ZooItem} ZooItem */

const ROOT = new URL("./adapters/", import.meta.url);

/** What was not as the list says: whatever keeps a copy of it is passed over. @type {Set<string>} */
const wrong = new Set();

/** @param {string} path @returns {Promise<Response>} */
async function get(path) {
  const response = await fetch(new URL(path, ROOT), wrong.has(path) ? { cache: "reload" } : {}).catch(() => null);
  if (response?.ok) return response;
  const file = `adapters/${path}`;
  const why = response ? say("shipped.refused", { file, status: String(response.status) }) : say("shipped.no-answer", { file });
  throw Object.assign(new Error(why), { code: "network" });
}

/** @param {string} path */
const bytes = async (path) => new Uint8Array(await (await get(path)).arrayBuffer());

/** The text of the contrasting answers that come with the page. */
export const contrastText = async () => (await get("contrast.json")).text();

/** What is known of all methods and all of the zoo's adapters. @returns {Promise<import("./state/methods.js").Listed>} */
export async function zooList() {
  const list = await words("zoo.json");
  if (isListed(list)) return list;
  throw Object.assign(new Error(say("shipped.no-list", { file: "adapters/zoo.json" })), { code: "network" });
}

/** What index.json says of one that is loaded at the start. @typedef {{folder: string, weights?: string, config?: string|null}} Item */

/** What was read of the lists and cards: they are asked for again with the numbers. @type {Map<string, any>} */
const read = new Map();

/** A list or card; null where it is not JSON. @param {string} path @returns {Promise<any>} */
async function words(path) {
  const value = read.get(path) ?? await (await get(path)).json().catch(() => null);
  if (value) read.set(path, value);
  return value;
}

/** What the zoo measured of one, by its folder. @param {string} folder */
export const rowOf = (folder) => words(`${folder}/row.json`);

/**
 * Lists them, with the coefficients of the link where it names them, then what else it names: those of
 * the zoo, and a place for each that does not come with the page. Without a link the first one is
 * turned to 1, so that the first run shows a difference.
 * @param {import("./state/url.js").Asked[]|null} asked
 * @param {string[]} gone names of those that were removed
 * @param {boolean} [weights] whether with their numbers, or for now without
 * @returns {Promise<{list: import("./state/store.js").Adapter[], gone: string[], zoo: ZooItem[]}>}
 */
export async function shippedAdapters(asked, gone, weights = true) {
  const index = await words("index.json");
  if (!Array.isArray(index?.adapters)) {
    throw Object.assign(new Error(say("shipped.no-list", { file: "adapters/index.json" })), { code: "network" });
  }
  /** @type {ZooItem[]} */
  const zoo = index.adapters.filter(isOfZoo);
  /** @type {Item[]} */
  const items = index.adapters.filter((/** @type {any} */ item) => !isOfZoo(item));
  const names = items.map(({ folder }) => folder);
  // An empty list is what somebody left.
  const without = asked?.length === 0 ? names : gone.filter((name) => names.includes(name));
  const list = await Promise.all(items.filter(({ folder }) => !without.includes(folder)).map((item) => load(item, weights)));
  if (asked === null && list.length && !gone.length) list[0].coefficient = 1;
  const others = await Promise.all(wanted(asked, names).map(async (place, at, places) => {
    const item = zoo.find(({ folder }) => folder === place.name);
    if (!item) return place;
    // Named twice it is there once.
    return places.findIndex(({ name }) => name === place.name) === at ? loadZoo(item, weights) : null;
  }));
  return { list: [...list, ...others.filter((one) => one !== null)].map((adapter) => wished(adapter, asked)), gone: without, zoo };
}

/** @param {Item} item @param {boolean} withWeights @returns {Promise<import("./state/store.js").Adapter>} */
async function load({ folder, weights = "adapter_model.safetensors", config = "adapter_config.json" }, withWeights) {
  // Its words may be missing; its numbers may not.
  const card = await words(`${folder}/card.json`).catch(() => null);
  return {
    key: `shipped:${folder}`, name: folder, title: card?.title ?? folder, sentence: card?.sentence ?? "", card,
    ...withWeights ? await numbers(folder, weights, config) : NOT_YET, ...FRESH,
  };
}

/** One of the zoo, whether or not it is in the list; what went wrong is its `error`. @param {ZooItem} item @param {boolean} [withWeights] @returns {Promise<import("./state/store.js").Adapter>} */
export async function loadZoo(item, withWeights = true) {
  const { folder } = item;
  // One for several behaviours has a row of each, elsewhere.
  const row = item.behaviours ? null : await rowOf(folder).catch(() => null);
  const record = row ? null : await words(`${folder}/training.json`).catch(() => null);
  return {
    key: `zoo:${folder}`, name: folder, title: titleOf(item), sentence: "", card: zooCard(item, row, record),
    ...withWeights ? await numbers(folder, "adapter_model.safetensors", "adapter_config.json", item) : NOT_YET, ...FRESH,
  };
}

const NOT_YET = { files: null, error: null };
const FRESH = { id: null, coefficient: 0, enabled: true };

/** One that another mixes. @param {string} folder */
const expert = async (folder) => ({
  name: folder, config: await bytes(`${folder}/adapter_config.json`), weights: await bytes(`${folder}/adapter_model.safetensors`),
});

/**
 * @param {string} folder @param {string} weightsName @param {string|null} configName
 * @param {ZooItem} [item] what the weights have to be, where that is known
 * @returns {Promise<Pick<import("./state/store.js").Adapter, "files"|"error">>}
 */
async function numbers(folder, weightsName, configName, item) {
  const path = `${folder}/${weightsName}`;
  try {
    const [config, weights] = await Promise.all([configName ? bytes(`${folder}/${configName}`) : null, bytes(path)]);
    if (item) {
      wrong.add(path);
      await verify(weights, item, `adapters/${path}`);
      wrong.delete(path);
    }
    const experts = await Promise.all(Array.from({ length: item?.experts ?? 0 }, (_, number) => expert(`${folder}/${number}`)));
    return { files: experts.length ? { config, weights, experts } : { config, weights }, error: null };
  } catch (why) {
    const { code, message } = plain(why);
    // What breaks off is told by the browser.
    return { files: null, error: { code: code === "internal" ? "network" : code, message } };
  }
}
