// What is shown of one place of the model under one adapter: what was asked, and what came of it.
import { say } from "../say.js";
import { current } from "./acting.js";

/**
 * @typedef {import("../pkg/steering_playground.js").WeightPicture} WeightPicture
 * @typedef {import("../pkg/steering_playground.js").AdapterEntry} AdapterEntry
 * @typedef {{module: string, layer: number|null}} Place
 * @typedef {{cases: number, layer: number, logits: number}} Reference how far a method's numbers are from the reference
 *
 * @typedef {object} Picture
 * @property {boolean} open      whether somebody looks at it
 * @property {string|null} module the kind of place that was chosen, where the adapter has it
 * @property {number|null} layer the block that was chosen, likewise
 * @property {number} called      how often a card asked for it to be unfolded
 * @property {"means"|"sizes"} values what the small picture shows of each cell
 * @property {boolean} asking    whether the engine is computing it
 * @property {{key: string, picture: WeightPicture}|null} found the newest
 * @property {import("./store.js").ErrorShape|null} error
 * @property {Record<string, Reference>|null} reference by the names of methods
 */

/** @type {Picture} */
export const NO_PICTURE = { open: false, called: 0, module: null, layer: null, values: "means", asking: false, found: null, error: null, reference: null };

/**
 * The place that is shown: the one that was chosen, else a block in the middle of the adapter's first kind of place.
 * @param {AdapterEntry} entry @param {Pick<Picture, "module"|"layer">} chosen @returns {Place|null}
 */
export function placeOf({ places }, { module, layer }) {
  const [name, blocks] = places.find(([own]) => own === module) ?? places[0] ?? [];
  if (name === undefined || blocks === undefined) return null;
  const middle = blocks[Math.floor(blocks.length / 2)] ?? null;
  return { module: name, layer: layer !== null && blocks.includes(layer) ? layer : middle };
}

/**
 * What the engine is asked for, or null where nothing can be.
 * @param {import("./store.js").State} state
 * @returns {{key: string, id: number, place: Place, c: number, wish: string}|null} `wish` is another one for another picture
 */
export function wished(state) {
  const adapter = current(state);
  if (!adapter?.entry || adapter.id === null || state.model.status !== "ready" || !state.picture.open) return null;
  const place = placeOf(adapter.entry, state.picture);
  if (!place) return null;
  const { key, id, coefficient: c, entry, loaded } = adapter;
  return { key, id, place, c, wish: JSON.stringify([id, place, c, entry.law, entry.maskLayers, entry.maskModules, loaded]) };
}

/** "q_proj of block 12: 576 × 576" @param {string} module @param {number|null} layer @param {number[]|null} [shape] */
export function placeName(module, layer, shape = null) {
  if (!shape) return layer === null ? module : say("method.size.place", { module, layer: String(layer) });
  const [rows, columns] = shape.map(String);
  return layer === null ? say("method.size.module", { module, rows, columns }) : say("method.size.weight", { module, layer: String(layer), rows, columns });
}
