// What is set otherwise now than when the texts in the columns were written.
import { doses, manner, sameDoses, trail } from "./acting.js";
import { isKept } from "./conversation.js";
import { writesAside, writtenBy } from "./runs.js";
import { isOver } from "./store.js";

/** @typedef {import("./store.js").GenerateRequest} GenerateRequest */

/** Whether a run now would be asked otherwise. @param {GenerateRequest} asked by the run @param {GenerateRequest} request what a run now would be asked */
export function otherwise(asked, request) {
  const asks = (/** @type {GenerateRequest} */ { prompt, chat, templateVariables, sampling, maxTokens, stop, klAfterSplit }) =>
    JSON.stringify([prompt, chat, templateVariables, sampling, maxTokens, stop, klAfterSplit]);
  return asks(request) !== asks(asked);
}

/** Whether another model is there than wrote; of a run that was opened again only its file's name is known. @param {NonNullable<import("./store.js").Run["model"]>} wrote @param {import("./store.js").State} state */
export const isAnother = ({ source, file }, state) =>
  (file === undefined ? state.model.source !== source : state.model.source !== null && writtenBy(state).file !== file);

/**
 * What was changed since a live run's texts, the first of these that holds; "" if nothing was.
 * @param {import("./store.js").State} state
 * @param {GenerateRequest} request what a run now would be asked
 * @returns {""|"model"|"kept"|"turned"|"manner"|"asked"}
 */
export function changedSince(state, request) {
  const { run, adapters, model } = state;
  const way = trail(run.tokens ?? []);
  if (!run.request || run.recorded) return "";
  if (run.model && isAnother(run.model, state)) return "model";
  if (isKept(state)) return "kept";
  // What was never steered was not steered otherwise.
  if (way.length && !sameDoses(doses(adapters), way.at(-1))) return "turned";
  // While adapters are on their way their manner is not known.
  if (way.length && model.status === "ready" && !adapters.some(({ loading }) => loading) && manner(adapters) !== run.manners) return "manner";
  return otherwise(run.request, request) ? "asked" : "";
}

/**
 * Writes again by itself, a moment after something was turned, where that is wished.
 * @param {import("./store.js").Store} store
 * @param {{request: () => GenerateRequest, run: () => void}} actions
 * @param {number} [ms] how long nothing must be turned before it writes
 */
export function rerunByItself(store, actions, ms = 500) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;
  /** Whether the engine was busy with several texts: what was turned meanwhile is written then. */
  let aside = false;
  store.watch(["adapters", "rerun", "work"], (state, changed) => {
    const before = aside;
    aside = writesAside(state.work);
    if (changed.size === 1 && changed.has("work") && !(before && !aside)) return;
    clearTimeout(timer);
    if (!state.rerun) return;
    timer = setTimeout(() => {
      if (state.rerun && !writesAside(state.work) && isOver(state.run) && state.model.status === "ready" && ["turned", "manner"].includes(changedSince(state, actions.request()))) actions.run();
    }, ms);
  });
}
