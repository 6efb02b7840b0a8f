// What is asked of measurements, and what came of it beside the measurements themselves.

/**
 * @typedef {import("../engine/protocol.js").DoseSide} DoseSide
 * @typedef {import("../engine/protocol.js").ErrorShape} ErrorShape
 * @typedef {import("../engine/protocol.js").LayerMap} LayerMap
 * @typedef {import("../engine/protocol.js").MadeVector} MadeVector
 * @typedef {import("./measured.js").Kind} Kind
 * @typedef {"shipped"|"own"|"one"} Source
 *
 * @typedef {object} Bench
 * @property {string|null} subject   key of the adapter that was chosen, or ALL; null follows the one that is turned
 * @property {Source} source         whose pairs
 * @property {string} shippedText    the page's pairs, "" until they are there
 * @property {string[]} shipped      their behaviours
 * @property {string} ownText        the user's pairs, as they were given
 * @property {string[]} own          their behaviours, none where they cannot be read
 * @property {{shipped: string, own: string}} behaviour the chosen ones, "" for the first
 * @property {{prompt: string, positive: string, negative: string}} one
 * @property {{[kind in Kind]?: ErrorShape}} complaints
 * @property {{key: string, title: string, side: DoseSide}[]} doses what made the doses the same
 * @property {{key: string, title: string, map: LayerMap}|null} layers
 * @property {(MadeVector & {key: string, name: string})[]} made
 */

/** All that are switched on, together. */
export const ALL = "*";

/** @type {Bench} */
export const NO_BENCH = {
  subject: null, source: "shipped", shippedText: "", shipped: [], ownText: "", own: [], behaviour: { shipped: "", own: "" },
  one: { prompt: "", positive: "", negative: "" }, complaints: {}, doses: [], layers: null, made: [],
};

/** The behaviour that is measured: the one chosen, else the one that an adapter is named after, else the first. @param {Bench} bench @param {string} [name] of the adapter */
export function behaviourOf({ source, behaviour, shipped, own }, name = "") {
  const [chosen, all] = source === "own" ? [behaviour.own, own] : [behaviour.shipped, shipped];
  if (all.includes(chosen)) return chosen;
  return all.find((one) => name.startsWith(one)) ?? all[0] ?? "";
}
