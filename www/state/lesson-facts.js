// What a lesson's step asks the student to do, and whether it is done. No elements here.
import { trail } from "./acting.js";
import { meanKl } from "./runs.js";
import { isOver } from "./store.js";

/**
 * @typedef {import("./lesson-file.js").Condition} Condition
 * @typedef {import("./lesson-file.js").Value} Value
 * @typedef {import("./store.js").State} State
 */

/** What was seen since a step began. @typedef {{c: Record<string, number[]>, looked: Set<number>, ran: number, measured: number}} Seen */
/** @returns {Seen} */
export const nothingSeen = () => ({ c: {}, looked: new Set(), ran: 0, measured: 0 });

/** Notes what there is to see now. @param {Seen} seen @param {State} state @param {boolean} ended whether a live run has just ended */
export function note(seen, { adapters, run }, ended) {
  for (const { name, coefficient, enabled } of adapters) {
    const list = (seen.c[name] ??= []);
    const c = enabled ? coefficient : 0;
    if (!list.includes(c)) list.push(c);
  }
  if (run.selected !== null) seen.looked.add(run.selected);
  if (ended) seen.ran += 1;
}

/**
 * What a condition asks about.
 * @param {State} state @param {Seen} seen @param {string} fact @param {string} [of] the adapter's name @returns {Value|null}
 */
export function factOf({ adapters, run, prompt, system, cache, model }, seen, fact, of) {
  const adapter = adapters.find(({ name }) => name === of);
  const all = seen.c[of ?? ""] ?? [];
  const tokens = run.tokens ?? [];
  const over = isOver(run) || run.status === "played";
  switch (fact) {
    case "c": return adapter ? (adapter.enabled ? adapter.coefficient : 0) : null;
    case "most": return all.length ? Math.max(...all) : null;
    case "least": return all.length ? Math.min(...all) : null;
    case "tried": return all.length;
    case "layers": return adapter?.layers ?? "";
    case "dose": return meanKl(tokens);
    case "tokens": return tokens.length;
    case "split": return run.split === null ? 0 : run.split + 1;
    case "same": return over && tokens.length > 0 && run.split === null;
    case "looked": return seen.looked.size;
    case "prompt": return prompt.trim();
    case "system": return system.trim();
    case "cache": return cache;
    case "live": return model.status === "ready";
    case "ran": return seen.ran;
    case "turned": return trail(tokens).length;
    case "measured": return seen.measured;
    default: return null;
  }
}

/** @param {Condition} condition @param {(fact: string, of?: string) => Value|null} factIs @returns {boolean} */
export function holds(condition, factIs) {
  if ("all" in condition) return condition.all.every((one) => holds(one, factIs));
  if ("any" in condition) return condition.any.some((one) => holds(one, factIs));
  const { fact, of, is, isNot, atLeast, atMost } = condition;
  const value = factIs(fact, of);
  if (value === null) return false;
  const near = (/** @type {Value} */ other) => (typeof value === "number" && typeof other === "number" ? Math.abs(value - other) < 1e-6 : value === other);
  return (is === undefined || near(is)) && (isNot === undefined || !near(isNot))
    && (atLeast === undefined || Number(value) >= atLeast - 1e-6) && (atMost === undefined || Number(value) <= atMost + 1e-6);
}
