// Measuring, dose and training, folded below the texts until somebody wants them.
import { h } from "../dom.js";
import { say } from "../say.js";
import { curvePanel } from "./curve.js";
import { equalPanel } from "./equal.js";
import { layersPanel } from "./layers.js";
import { methodPanel } from "./method.js";
import { runsPanel } from "./runs.js";
import { samePanel } from "./same.js";
import { trainPanel } from "./train.js";
import { vectorPanel } from "./vector.js";

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {Parameters<import("../actions.js").Actions["useRecording"]>[0]} replay
 */
export function bench(root, store, actions, replay) {
  actions.useRecording(replay);
  actions.recallRuns();
  actions.recallBench();
  let asked = false;
  const fold = (/** @type {string} */ id, /** @type {string} */ title, /** @type {{element: HTMLElement, open: () => void, close?: () => void}} */ { element, open, close }) =>
    h("details.bench-fold", {
      id,
      ontoggle: (/** @type {Event} */ { target }) => { if (/** @type {HTMLDetailsElement} */ (target).open) open(); else close?.(); },
    }, h("summary", {}, h("h3", {}, title)), element);
  const train = fold("train", say("train"), trainPanel(store, actions));
  const runs = fold("runs", say("runs"), runsPanel(store, actions));
  root.append(
    runs, fold("curve", say("dose.curve"), curvePanel(store, actions)), fold("same", say("dose.same"), samePanel(store, actions)),
    fold("equal", say("dose.equal"), equalPanel(store, actions)), fold("layers", say("dose.layers"), layersPanel(store, actions)),
    fold("method", say("method"), methodPanel(store, actions)), fold("vector", say("dose.vector"), vectorPanel(store, actions)), train);
  // What can be gone on with shall be seen.
  actions.recallTraining().then((found) => { if (found) train.open = true; });
  // What is folded out before the engine is there asks once more; so do the user's own pairs.
  store.watch(["engine"], ({ engine, bench: { ownText } }) => {
    if (engine.status !== "ready" || asked) return;
    asked = true;
    if (ownText.trim()) actions.setOwnPairs(ownText);
    if (root.querySelector("details[open]")) actions.listBehaviours();
  });
}
