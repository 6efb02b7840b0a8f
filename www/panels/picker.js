// Adapters of one's own: files or folders, chosen or dropped, become cards of the list.
import { closest, errorParts, h } from "../dom.js";
import { plain } from "../engine/client.js";
import { adaptersIn, chosen, dropped } from "../files.js";
import { sourceOf } from "../hub.js";
import { pickled, sortedOut } from "../offers.js";
import { listed, say } from "../say.js";
import { wished } from "../state/url.js";

/**
 * @param {HTMLElement} root
 * @param {HTMLElement} list of the cards, whose section takes what is dropped
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {import("../state/url.js").Asked[]|null} asked what the link asks of adapters by their names
 */
export function picker(root, list, store, actions, asked) {
  let count = 0;
  const error = h("div.error", { role: "alert", hidden: true });
  const rest = h("p.hint", { role: "status", hidden: true });
  const offers = h("div.offers", { hidden: true, role: "group", "aria-label": say("adapters.more") });
  const chooser = (/** @type {string} */ id, /** @type {{multiple: true, accept: string}|{webkitdirectory: true}} */ options) => {
    const input = h("input.sr", {
      type: "file", id, ...options,
      onchange: () => { take(chosen(input.files)); input.value = ""; },
    });
    return input;
  };
  const address = h("input", {
    type: "text", placeholder: say("adapters.address-example"), "aria-label": say("adapters.address"), required: true, spellcheck: false,
  });
  root.append(
    h("div.row", {},
      chooser("adapter-files", { multiple: true, accept: ".json,.safetensors,.gguf,.bin" }), h("label.button", { htmlFor: "adapter-files" }, say("adapters.load")),
      chooser("adapter-folder", { webkitdirectory: true }), h("label.button", { htmlFor: "adapter-folder" }, say("adapters.load-folder"))),
    h("form.row", { onsubmit: fetchIt }, address, h("button", {}, say("adapters.fetch"))),
    h("p.hint", {}, say("adapters.load-hint")),
    error, offers, rest);

  /** @param {import("../files.js").Given[]} given @param {string} [onto] key of the place on which they were dropped */
  async function take(given, onto) {
    const { found, unused } = await adaptersIn(given);
    const { meant, offered } = sortedOut(given, found);
    const conversion = pickled(given);
    const [few, more] = [unused.slice(0, 4), unused.length - 4];
    const names = listed(more > 0 ? [...few, say("adapters.and-more", { n: more })] : few);
    rest.hidden = !found.length || !unused.length;
    rest.textContent = say("adapters.unused", { names });
    error.hidden = found.length > 0 && !conversion;
    error.replaceChildren(...(conversion
      ? [h("p", {}, conversion.sentence), h("pre", { tabIndex: 0, "aria-label": say("adapters.command") }, conversion.command)]
      : [h("p", {}, given.some(({ path }) => /\.(safetensors|gguf)$/.test(path))
        ? say("adapters.unclear", { names }) : say("adapters.no-weights"))]));
    offer(offered, meant.length > 0);
    for (const item of meant) await load(item, meant.length === 1 ? onto : undefined);
  }

  /** One of the Hub, or by the address of its weights. @param {Event} event */
  async function fetchIt(event) {
    event.preventDefault();
    const { url } = sourceOf(address.value.trim(), store.state.hub, document.baseURI);
    [error.hidden, offers.hidden, rest.hidden] = [true, true, false];
    rest.textContent = say("adapters.fetching", { name: url });
    try {
      await load(await actions.fetchAdapter(url));
      address.value = "";
    } catch (why) {
      error.hidden = false;
      error.replaceChildren(h("p", {}, ...errorParts(plain(why))));
    } finally {
      rest.hidden = true;
    }
  }

  /** Names what was not loaded, a button each. @param {{label: string, item: import("../files.js").Found}[]} offered @param {boolean} more whether something was loaded */
  function offer(offered, more) {
    offers.hidden = !offered.length;
    const button = (/** @type {{label: string, item: import("../files.js").Found}} */ { label, item }) => {
      const element = h("button", {
        type: "button",
        onclick: () => {
          const others = buttons.filter((other) => other.isConnected);
          const at = others.indexOf(element);
          (others[at + 1] ?? others[at - 1] ?? list).focus();
          element.remove();
          offers.hidden = others.length === 1;
          load(item);
        },
      }, label);
      return element;
    };
    const buttons = offered.map(button);
    offers.replaceChildren(h("p.hint", {}, say(more ? "adapters.load-too" : "adapters.load-which")), h("div.row", {}, ...buttons));
  }

  /** @param {import("../files.js").Found} item @param {string} [onto] */
  async function load(item, onto) {
    count += 1;
    const [key, { name }] = [`file:${count}`, item];
    try {
      const files = await read(item);
      // The place that a link keeps for it, by its name or by where it was dropped.
      const place = store.state.adapters.find((adapter) => adapter.wanted && (onto ? adapter.key === onto : adapter.name === name));
      const fresh = wished({ name, coefficient: 1, enabled: true, wanted: false }, asked);
      const { wanted: _wanted, ...kept } = place ?? fresh;
      actions.addAdapter({
        ...kept, key, title: kept.name === "adapter_model" ? say("adapters.yours", { number: count }) : kept.name, sentence: "", files,
      }, place?.key);
    } catch (why) {
      error.hidden = false;
      error.replaceChildren(h("p", {}, say("adapters.unreadable", { name, why: String(why) })));
    }
  }

  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  zone.addEventListener("dragover", () => { zone.dataset.drop = "true"; });
  zone.addEventListener("dragleave", () => { delete zone.dataset.drop; });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete zone.dataset.drop;
    const onto = closest(event, "[data-wanted]")?.dataset.wanted;
    if (event.dataTransfer) take(await dropped(event.dataTransfer), onto);
  });
  // Beside the zone a dropped file would take the page's place.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!zone.contains(/** @type {Node} */ (event.target))) event.dataTransfer.dropEffect = "none";
  });
}

/** Weights up to this size are read here; of larger ones the engine reads the header first, and the rest if they suit. */
const SMALL_BYTES = 8_000_000;

/** An adapter's files for the engine. @param {import("../files.js").Found} found @returns {Promise<import("../state/store.js").Files>} */
async function read({ config, weights, bases, experts }) {
  const bytes = async (/** @type {File} */ file) => new Uint8Array(await file.arrayBuffer());
  return {
    config: config && await bytes(config), bases: bases && await bytes(bases),
    weights: weights.size > SMALL_BYTES ? weights : await bytes(weights),
    experts: await Promise.all(experts.map(async (expert) => ({ name: expert.name, ...(await read(expert)) }))),
  };
}
