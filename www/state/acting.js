// What acts: which adapters, how far turned, and in which manner, in words and for comparison.
import { signed } from "../dom.js";
import { listed, say } from "../say.js";

/** @typedef {{key: string, title: string, c: number}} Dose */

/** Adapters that act, or will once they are loaded. @param {import("./store.js").Adapter[]} adapters @returns {Dose[]} */
export const doses = (adapters) => adapters
  .filter(({ enabled, coefficient, wanted, error, id }) => enabled && coefficient !== 0 && !wanted && !(error && id === null))
  .map(({ key, title, coefficient }) => ({ key, title, c: coefficient }));

/** Those whose files are there: what can be turned. @param {import("./store.js").Adapter[]} adapters */
export const present = (adapters) => adapters.filter(({ wanted }) => !wanted);

/** The one that keys and the bar turn: the one used last, or the first. @param {import("./store.js").State} state */
export function current({ adapters, active }) {
  const here = present(adapters);
  return here.find(({ key }) => key === active) ?? here[0];
}

/** Which way the adapters were turned for a token: the colour of what they changed. @param {{doses: Dose[]}} token @returns {"minus"|"plus"} */
export const signOf = ({ doses: turned }) => (turned.length && turned.every(({ c }) => c < 0) ? "minus" : "plus");

/** @param {Dose[]} list */
export const words = (list) => listed(list.map(({ title, c }) => `${title} ${signed(c)}`), "unit") || say("adapters.none-acts");

/** How those that act do it, beside their coefficients: alike while this is. @param {import("./store.js").Adapter[]} adapters */
export const manner = (adapters) => JSON.stringify(adapters
  .filter(({ enabled, coefficient, id }) => enabled && coefficient !== 0 && id !== null)
  .map(({ key, law, entry, layers, modules, positions, task, experts }) => [key, law ?? entry?.law, layers || "", modules || "", positions || "", task, experts]));

/** The doses under which a text was written, in order; each once for as long as it lasted. @param {import("./store.js").Token[]} tokens @returns {Dose[][]} */
export function trail(tokens) {
  /** @type {Dose[][]} */
  const list = [];
  for (const { steered, given, doses: now } of tokens) if (steered && !given && !sameDoses(now, list.at(-1))) list.push(now);
  return list;
}

/** @param {Dose[]} a @param {Dose[]|undefined} b */
export const sameDoses = (a, b) => b !== undefined && a.length === b.length
  && a.every(({ key, c }) => b.some((other) => other.key === key && Math.abs(other.c - c) <= 1e-6 * Math.abs(c)));

/** "Cheerful +1.00 → −0.50", and only the ends of a long way. @param {Dose[][]} list */
export function trailWords(list) {
  const titles = new Set(list.flatMap((now) => now.map(({ title }) => title)));
  const one = list.length > 1 && titles.size === 1;
  const said = list.map((now) => (one ? signed(now[0]?.c ?? 0) : words(now)));
  const short = said.length > 4 ? [said[0], "…", said[said.length - 1]] : said;
  return (one ? `${[...titles][0]} ` : "") + short.join(" → ");
}
