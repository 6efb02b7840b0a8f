// Measuring and dose, folded below the texts until somebody wants them.
import { h } from "../dom.js";
import { say } from "../say.js";
import { curvePanel } from "./curve.js";
import { layersPanel } from "./layers.js";
import { samePanel } from "./same.js";
import { vectorPanel } from "./vector.js";

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function bench(root, store, actions) {
  actions.recallBench();
  let asked = false;
  const fold = (/** @type {string} */ id, /** @type {string} */ title, /** @type {{element: HTMLElement, open: () => void}} */ { element, open }) =>
    h("details.bench-fold", {
      id,
      ontoggle: (/** @type {Event} */ { target }) => { if (/** @type {HTMLDetailsElement} */ (target).open) open(); },
    }, h("summary", {}, h("h3", {}, title)), element);
  root.append(
    fold("curve", say("dose.curve"), curvePanel(store, actions)), fold("same", say("dose.same"), samePanel(store, actions)),
    fold("layers", say("dose.layers"), layersPanel(store, actions)), fold("vector", say("dose.vector"), vectorPanel(store, actions)));
  // What is folded out before the engine is there asks once more; so do the user's own pairs.
  store.watch(["engine"], ({ engine, bench: { ownText } }) => {
    if (engine.status !== "ready" || asked) return;
    asked = true;
    if (ownText.trim()) actions.setOwnPairs(ownText);
    if (root.querySelector("details[open]")) actions.listBehaviours();
  });
}
