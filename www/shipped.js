// The adapters that come with the page: ./adapters/index.json, and a folder each.

import { plain } from "./engine/client.js";
import { say } from "./say.js";
import { wanted, wished } from "./state/url.js";

const ROOT = new URL("./adapters/", import.meta.url);

/** @param {string} path @returns {Promise<Response>} */
async function get(path) {
  const response = await fetch(new URL(path, ROOT)).catch(() => null);
  if (response?.ok) return response;
  const file = `adapters/${path}`;
  const why = response ? say("shipped.refused", { file, status: String(response.status) }) : say("shipped.no-answer", { file });
  throw Object.assign(new Error(why), { code: "network" });
}

/** The text of the contrasting answers that come with the page. */
export const contrastText = async () => (await get("contrast.json")).text();

/** What index.json says of one. @typedef {{folder: string, weights?: string, config?: string|null}} Item */

/** What was read of the lists and cards: they are asked for again with the numbers. @type {Map<string, any>} */
const read = new Map();

/** A list or card; null where it is not JSON. @param {string} path @returns {Promise<any>} */
async function words(path) {
  const value = read.get(path) ?? await (await get(path)).json().catch(() => null);
  if (value) read.set(path, value);
  return value;
}

/**
 * Lists them, with the coefficients of the link where it names them, and a place for each that it
 * names and that does not come with the page. Without a link the first one is turned to 1, so that
 * the first run shows a difference.
 * @param {import("./state/url.js").Asked[]|null} asked
 * @param {string[]} gone names of those that were removed
 * @param {boolean} [weights] whether with their numbers, or for now without
 * @returns {Promise<{list: import("./state/store.js").Adapter[], gone: string[]}>}
 */
export async function shippedAdapters(asked, gone, weights = true) {
  const index = await words("index.json");
  if (!Array.isArray(index?.adapters)) {
    throw Object.assign(new Error(say("shipped.no-list", { file: "adapters/index.json" })), { code: "network" });
  }
  /** @type {string[]} */
  const names = index.adapters.map((/** @type {Item} */ { folder }) => folder);
  // An empty list is what somebody left.
  const without = asked?.length === 0 ? names : gone.filter((name) => names.includes(name));
  const list = await Promise.all(index.adapters.filter((/** @type {Item} */ { folder }) => !without.includes(folder))
    .map((/** @type {Item} */ item) => load(item, weights)));
  if (asked === null && list.length && !gone.length) list[0].coefficient = 1;
  return { list: [...list.map((adapter) => wished(adapter, asked)), ...wanted(asked, names)], gone: without };
}

/** @param {Item} item @param {boolean} withWeights @returns {Promise<import("./state/store.js").Adapter>} */
async function load(item, withWeights) {
  const { folder, weights = "adapter_model.safetensors", config = "adapter_config.json" } = item;
  const bytes = async (/** @type {string} */ name) => new Uint8Array(await (await get(`${folder}/${name}`)).arrayBuffer());
  // Its words may be missing; its numbers may not.
  const card = await words(`${folder}/card.json`).catch(() => null);
  /** @type {{files: import("./state/store.js").Files|null, error: import("./state/store.js").ErrorShape|null}} */
  const came = { files: null, error: null };
  if (withWeights) try {
    const [configBytes, weightsBytes] = await Promise.all([config ? bytes(config) : null, bytes(weights)]);
    came.files = { config: configBytes, weights: weightsBytes };
  } catch (why) {
    came.error = { code: "network", message: plain(why).message };
  }
  return {
    key: `shipped:${folder}`, name: folder, title: card?.title ?? folder, sentence: card?.sentence ?? "", card,
    ...came, id: null, coefficient: 0, enabled: true,
  };
}
