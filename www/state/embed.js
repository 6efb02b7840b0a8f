// What this page and the one around it tell each other, as values: docs/embedding.md. Nothing is sent here.
import { textOf } from "./runs.js";
import { isOver } from "./store.js";

/** The version of the messages; of another nothing is understood. */
export const VERSION = 1;

/** No text of a message is longer. */
const LONGEST = 100_000;

/**
 * What a message asks, of which nothing is believed; null for what is none of ours.
 * @param {any} data
 * @returns {{type: "hello"|"run"|"stop"|"load"}|{type: "set", prompt?: string, c?: number, adapter?: string}|null}
 */
export function askedBy(data) {
  if (typeof data !== "object" || data === null || data.steering !== VERSION) return null;
  const { type, prompt, c, adapter } = data;
  if (["hello", "run", "stop", "load"].includes(type)) return { type };
  if (type !== "set") return null;
  const text = (/** @type {unknown} */ value) => typeof value === "string" && value.length <= LONGEST;
  return {
    type, ...(text(prompt) ? { prompt } : {}),
    ...(typeof c === "number" && Number.isFinite(c) ? { c } : {}), ...(text(adapter) ? { adapter } : {}),
  };
}

/** What is turned and asked now. @param {import("./store.js").State} state @param {string} link */
export const changeOf = ({ prompt, adapters, model }, link) => ({
  prompt, link, model: model.status === "ready" ? model.name : null,
  adapters: adapters.map(({ name, title, coefficient, enabled }) => ({ name, title, c: coefficient, on: enabled })),
});

/** One token of both texts. @param {import("./store.js").Token} token */
export const stepOf = ({ index, base, steered, klNats }) => ({ index, base: base?.text ?? null, steered: steered?.text ?? null, klNats });

/** Both texts as they are, once a run is over; null before. @param {import("./store.js").Run} run */
export function endOf(run) {
  if (!isOver(run) && run.status !== "played") return null;
  const { status, split, recorded, error } = run;
  const tokens = run.tokens ?? [];
  return { status: status === "played" ? "done" : status, recorded: recorded !== null, base: textOf({ tokens }, "base"), steered: textOf({ tokens }, "steered"), split, error };
}
