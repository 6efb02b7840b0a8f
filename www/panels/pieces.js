// A text's tokens as elements, with what is marked on each.
import { h } from "../dom.js";
import { say } from "../say.js";
import { signOf } from "../state/acting.js";

/** @typedef {import("../state/store.js").Token} Token @typedef {import("../state/store.js").Run} Run */

/** Distances from which on a token is marked stronger, in nats; the legend shows the same. */
export const LEVELS = [0.05, 0.25, 1, 2.5];

/** How strongly a token is marked: 0 to 4. @param {number|null|undefined} klNats */
export const level = (klNats) => LEVELS.filter((from) => (klNats ?? 0) >= from).length;

/** A token as it stands in a text, and what is to be said after it. @param {Token} token @param {"base"|"steered"} lane @param {boolean} split @param {Pick<Run, "model"|"limit">} run @returns {Node[]} */
export function pieces(token, lane, split, run) {
  const step = token[lane];
  if (!step) return [];
  const span = h("span.tok", { dataset: { at: String(token.index) } }, step.text);
  const strength = lane === "steered" ? level(token.klNats) : 0;
  if (strength) span.dataset.kl = String(strength);
  if (signOf(token) === "minus") span.dataset.sign = "minus";
  if (split) span.dataset.split = "";
  if (token.given) span.dataset.given = token.given;
  const { finish } = step;
  return finish ? [span, h("span.end", { title: say(`ends.${finish}`, ends(run)) }, finish === "length" ? " …" : " ∎")] : [span];
}

/** What the words for an end may name. @param {Pick<Run, "model"|"limit">} run */
export const ends = ({ model, limit }) => ({ n: limit ?? 0, context: model?.context ?? 0 });
