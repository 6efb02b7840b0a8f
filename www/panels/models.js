// Another model: one of those that are known to run here, one that lies beside the page, any of the Hub, an
// address, or files of one's own, chosen or dropped.
import { errorParts, h, megabytes } from "../dom.js";
import { plain } from "../engine/client.js";
import { dropped } from "../files.js";
import { copies, itemSource, known, placeOf, sourceOf } from "../hub.js";
import { free, roomWords } from "../room.js";
import { say } from "../say.js";

/** Above it a GPU seldom has room. */
const LARGE_BYTES = 500e6;

/**
 * @typedef {import("../actions.js").Actions} Actions
 * @typedef {import("../engine/protocol.js").HubOffer} HubOffer
 */

/** @param {import("../state/store.js").Store} store @param {Actions} actions */
export function otherModel(store, actions) {
  const list = h("ul.known", { "aria-label": say("model.known") });
  const files = h("input.sr", {
    type: "file", multiple: true, accept: ".gguf,.safetensors,.json,.jinja", id: "model-files",
    onchange: () => {
      take([...files.files ?? []], actions);
      files.value = "";
    },
  });
  // Nothing is asked of anybody before somebody looks here.
  const room = h("p.hint", { hidden: true });
  const fill = async () => {
    const bytes = await free();
    room.hidden = bytes === null;
    room.textContent = say("storage.free", { free: roomWords(bytes ?? 0) });
    list.replaceChildren(...[...await copies(), ...await known()].map((item) => row(item, actions)));
  };
  return h("details.other", { ontoggle: () => { if (!list.firstChild) fill(); } },
    h("summary", {}, say("model.another")), list, room, hubForm(store, actions),
    h("div.row", {}, files, h("label.button", { htmlFor: "model-files" }, say("model.choose")),
      h("span.hint", {}, say("model.choose-hint"))));
}

/** A model of a list: its name, size, licence, and where it runs. @param {import("../hub.js").Item} item @param {Actions} actions */
function row(item, actions) {
  const { name, bytes, license, file } = item;
  const facts = [
    bytes && megabytes(bytes), license, say((bytes ?? 0) > LARGE_BYTES ? "model.runs-large" : "model.runs-anywhere"), file && say("model.beside"),
  ];
  return h("li.row", {}, h("strong", {}, name), h("span.facts", {}, facts.filter(Boolean).join(" · ")),
    h("button", { type: "button", "aria-label": say("model.load-listed", { name }), onclick: () => actions.loadModel(itemSource(item)) }, say("model.load-address")));
}

/** Any model of the Hub or by its address: what a repository has is shown first. @param {import("../state/store.js").Store} store @param {Actions} actions */
function hubForm(store, actions) {
  const address = h("input", { type: "text", placeholder: say("model.address-example"), "aria-label": say("model.address"), required: true, spellcheck: false });
  const found = h("div.offers", { hidden: true, role: "status" });
  const show = (/** @type {Node[]} */ ...nodes) => {
    found.hidden = false;
    found.replaceChildren(...nodes);
  };
  /** @param {Event} event */
  async function submit(event) {
    event.preventDefault();
    const { hub } = store.state;
    const text = address.value.trim();
    const place = placeOf(text, hub);
    const source = sourceOf(text, hub, document.baseURI);
    if (!place || /\.(gguf|safetensors)$/.test(place.path)) {
      found.hidden = true;
      found.replaceChildren();
      await actions.loadModel(source);
      return;
    }
    show(h("p.hint", {}, say("model.looking", { name: source.name })));
    try {
      const offers = (await actions.lookOnHub(source.url)).filter(({ adapter }) => !adapter);
      show(h("p.hint", {}, say(offers.length ? "model.offered" : "model.none-offered", { name: source.name })), ...offers.map(offer));
    } catch (error) {
      show(h("p.error", { role: "alert" }, ...errorParts(plain(error))));
    }
  }
  const offer = (/** @type {HubOffer} */ { id, path, bytes }) => {
    const source = sourceOf(id, store.state.hub, document.baseURI);
    return h("button", { type: "button", onclick: () => actions.loadModel({ ...source, bytes }) },
      say("model.load-sized", { name: path || source.name, size: megabytes(bytes) }));
  };
  return h("div", {}, h("form.row", { onsubmit: submit }, address, h("button", {}, say("model.look"))), found);
}

/** Files of one's own: several may be the parts of one model; which of them count is the engine's to say. @param {File[]} picked @param {Actions} actions */
function take(picked, actions) {
  const [first] = picked;
  if (picked.length === 1 && first?.name.endsWith(".gguf")) actions.loadModel({ kind: "file", file: first, name: first.name });
  else if (picked.length) actions.loadModel({ kind: "folder", files: picked, name: say("model.your-folder") });
}

/** Lets a model be dropped, as from a stick: its file, or its folder. @param {HTMLElement} root @param {Actions} actions */
export function dropZone(root, actions) {
  root.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    // Elsewhere on the page a drop does nothing.
    event.stopPropagation();
    root.dataset.drop = "true";
  });
  root.addEventListener("dragleave", () => { delete root.dataset.drop; });
  root.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete root.dataset.drop;
    if (!event.dataTransfer) return;
    const given = await dropped(event.dataTransfer);
    const depth = ({ path = "" }) => path.split("/").length;
    const top = Math.min(...given.map(depth));
    take(given.filter((one) => depth(one) === top).map(({ file }) => file), actions);
  });
}
