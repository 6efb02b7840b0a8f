// The adapters: one card each in the order in which they act, and what is to be said of the list.
import { h } from "../dom.js";
import { parts, say } from "../say.js";
import { adapterCard, wantedCard } from "./card.js";
import { picker } from "./picker.js";
import { leave } from "./places.js";
import { zooGrid } from "./zoo.js";

/**
 * @param {{list: HTMLElement, add: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {Page} page
 */
export function adaptersPanel({ list, add }, store, actions, page) {
  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  /** @type {Map<string, {element: HTMLElement, update: (adapter: import("../state/store.js").Adapter, state: import("../state/store.js").State) => void}>} */
  const cards = new Map();
  const shelf = h("div.shelf");
  list.after(shelf);
  let shelved = "";
  store.watch(["adapters", "engine", "active", "shelf", "gone", "recording", "measured", "units", "model"], (state) => {
    const hadFocus = zone.contains(document.activeElement);
    for (const [key, card] of cards) {
      if (state.adapters.some((adapter) => adapter.key === key)) continue;
      card.element.remove();
      cards.delete(key);
    }
    for (const adapter of state.adapters) {
      let card = cards.get(adapter.key);
      if (!card) {
        card = adapter.wanted ? wantedCard(adapter, actions) : adapterCard(adapter, actions, page.fetchShipped, () => {
          store.set({ active: adapter.key });
          leave(zone);
        });
        cards.set(adapter.key, card);
      }
      card.update(adapter, state);
    }
    // In the order in which they act.
    for (const [at, { key }] of state.adapters.entries()) {
      const element = cards.get(key)?.element;
      if (element && list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    }
    list.dataset.empty = String(state.adapters.length === 0);
    const key = JSON.stringify([state.shelf, state.gone, list.dataset.empty]);
    if (key !== shelved) {
      shelved = key;
      shelf.replaceChildren(...shelfNote(state, page));
    }
    // What had it was removed.
    if (hadFocus && !zone.contains(document.activeElement)) list.focus();
  });
  zooGrid(add, store, actions);
  picker(add, list, store, actions, page.asked);
}

/**
 * @typedef {object} Page
 * @property {import("../state/url.js").Asked[]|null} asked what the link asks of adapters by their names
 * @property {() => void} fetchShipped fetches those that come with the page
 * @property {() => void} restoreShipped lists those of them that were removed
 */

/** What is to be said of the list as a whole. @param {import("../state/store.js").State} state @param {Page} page @returns {Node[]} */
function shelfNote({ shelf, gone, adapters }, { fetchShipped, restoreShipped }) {
  if (shelf.error) {
    return [
      h("p.error", { role: "alert" }, ...parts("adapters.shelf-failed", { why: shelf.error.message, code: h("code", {}, shelf.error.code) })),
      h("div.row", {}, h("button", { type: "button", onclick: fetchShipped }, say("adapters.try-again")), h("span.hint", {}, say("adapters.meanwhile"))),
    ];
  }
  if (shelf.status !== "here") return [];
  const back = gone.length > 0 && h("button.quiet", { type: "button", onclick: restoreShipped }, say("adapters.bring-back"));
  return [!adapters.length && h("p.hint", {}, say("adapters.empty")), back].filter((part) => part instanceof Node);
}
