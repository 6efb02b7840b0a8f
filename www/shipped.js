// The adapters that come with the page: ./adapters/index.json, and a folder each.

import { wished } from "./state/url.js";

const ROOT = new URL("./adapters/", import.meta.url);

/** @param {string} path */
async function get(path) {
  const response = await fetch(new URL(path, ROOT));
  return response.ok ? response : null;
}

/**
 * Lists them, with the coefficients of the link where it names them. Without a link the first
 * one is turned to 1, so that the first run shows a difference.
 * @param {import("./state/url.js").Asked[]|null} asked
 * @returns {Promise<import("./state/store.js").Adapter[]>}
 */
export async function shippedAdapters(asked) {
  const index = await (await get("index.json"))?.json();
  const list = await Promise.all((index?.adapters ?? []).map(load));
  if (asked === null && list.length) list[0].coefficient = 1;
  return list.map((adapter) => wished(adapter, asked));
}

async function load(/** @type {any} */ item) {
  const { folder, weights = "adapter_model.safetensors", config = "adapter_config.json" } = item;
  const [card, configFile, weightsFile] = await Promise.all([
    get(`${folder}/card.json`).then((response) => response?.json() ?? null),
    config ? get(`${folder}/${config}`) : null,
    get(`${folder}/${weights}`),
  ]);
  const bytes = async (/** @type {Response} */ response) => new Uint8Array(await response.arrayBuffer());
  return {
    key: `shipped:${folder}`, name: folder, title: card?.title ?? folder, sentence: card?.sentence ?? "", card,
    files: weightsFile ? { config: configFile ? await bytes(configFile) : null, weights: await bytes(weightsFile) } : null,
    id: null, coefficient: 0, enabled: true,
    error: weightsFile ? null : { code: "network", message: `adapters/${folder}/${weights} could not be fetched` },
  };
}
