// The model: load, watch it load, cancel, resume, choose another; and the device in words.
import { errorParts, h, megabytes } from "../dom.js";
import { HUB } from "../hub.js";
import { listed, numbers, parts, say } from "../say.js";
import { DEFAULT_MODEL } from "../state/models.js";
import { diagnosticsButton } from "./diagnostics.js";
import { dropZone, otherModel } from "./models.js";

/** What each state says while it lasts, in the order in which they come. */
const PHASES = /** @type {const} */ ([
  ["downloading", say("model.downloading")],
  ["verifying", say("model.verifying")],
  ["uploading", say("model.uploading")],
  ["warming-up", say("model.warming-up")],
]);
/** 134515008 -> "135M" */
const compact = numbers({ notation: "compact", maximumSignificantDigits: 3 });
const BUSY = new Set(["starting", ...PHASES.map(([status]) => status)]);

/**
 * @typedef {import("../actions.js").Actions} Actions
 * @typedef {import("../state/store.js").Engine} Engine
 * @typedef {import("../state/store.js").Model} Model
 * @typedef {import("../state/store.js").ModelAddress} ModelAddress
 */

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {Actions} actions
 * @param {ModelAddress} offered the model that the Load button loads
 */
export function modelPanel(root, store, actions, offered) {
  const body = h("div.model-body");
  const device = h("p.device");
  root.append(body, device);
  // A link may name a mirror: whoever presses a button knows whom it asks.
  if (store.state.hub !== HUB) root.append(h("p.hint", { id: "mirror" }, say("model.mirror", { hub: store.state.hub })));
  dropZone(root, actions);
  const [loading, other, report] = [progressView(actions), otherModel(store, actions), diagnosticsButton(store)];
  let shown = "";
  let chip = "";

  store.watch(["model", "engine"], ({ model, engine }) => {
    root.dataset.state = model.status;
    const [{ status, error }, { device: wish }] = [engine, store.state];
    const found = where(store.state);
    const now = JSON.stringify([found, status, error, wish]);
    if (now !== chip) {
      chip = now;
      const hadFocus = device.contains(document.activeElement);
      showDevice(device, store, actions);
      if (hadFocus) device.querySelector("button")?.focus();
    }
    const key = JSON.stringify([BUSY.has(model.status) ? "busy" : model.status, model.error, model.info?.cached, model.kept, model.deleted, engine.status]);
    if (key !== shown) {
      shown = key;
      const hadFocus = body.contains(document.activeElement);
      body.replaceChildren(...BUSY.has(model.status) ? [loading.element] : view(model, engine, actions, offered, other, report));
      if (hadFocus) body.querySelector("button")?.focus();
    }
    if (BUSY.has(model.status)) loading.update(model);
  });
}

/**
 * @param {Model} model @param {Engine} engine @param {Actions} actions @param {ModelAddress} offered @param {HTMLElement} other
 * @param {HTMLElement} report what whoever mends a fault wants to know
 * @returns {Node[]}
 */
function view(model, engine, actions, offered, other, report) {
  const { info, error } = model;
  const source = model.source ?? offered;
  /** @type {Partial<ModelAddress>} */
  const { url = "", bytes } = source.kind === "url" ? source : {};
  const load = (/** @type {string} */ label, options = {}) => h("button.primary", {
    type: "button", disabled: engine.status !== "ready", onclick: () => actions.loadModel(source, options),
  }, label);
  const { name } = source;
  const loadIt = () => load(bytes ? say("model.load-sized", { name, size: megabytes(bytes) }) : say("model.load", { name }));
  const part = model.kept && !model.kept.complete && model.kept.keptBytes
    ? say("model.kept-part", { size: megabytes(model.kept.keptBytes) }) : "";
  const forget = (/** @type {{complete?: boolean}|null} */ kept) => kept && h("button.quiet", { type: "button", onclick: () => actions.forgetModel(url) },
    say(kept.complete === false ? "model.delete-part" : "model.delete-copy"));
  const deleted = model.deleted && h("p.hint", { role: "status" }, say("model.deleted"));

  if (model.status === "ready" && info) {
    const facts = [
      info.family, say("model.parameters", { n: compact(info.parameters) }), listed(info.formats, "unit"),
      megabytes(info.bytes),
      info.cached ? say("model.kept") : info.note ?? say("model.not-kept"),
    ].join(" · ");
    return [
      h("p.chip", {}, h("strong", {}, model.name), h("span.facts", { id: "model-facts" }, facts)),
      ...info.warnings.map((words) => h("p.hint.warning", { role: "status" }, `${words.charAt(0).toUpperCase()}${words.slice(1)}.`)),
      !info.hasTokenizer && h("p.error.wide", { role: "alert" }, say("model.no-tokenizer")),
      h("details.manage", {}, h("summary", {}, say("model.more")),
        h("p.hint", {}, say("model.shape", { layers: say("model.layers", { n: info.layers }), width: info.width, context: info.context })),
        h("p.hint", {}, `${info.arithmetic}.`),
        info.cached && forget({}),
        other, report),
    ].filter((part) => part instanceof Node);
  }
  if (model.status === "paused") {
    return [
      h("p.lead", {}, model.totalBytes
        ? say("model.stopped-of", { done: megabytes(model.bytes), total: megabytes(model.totalBytes) })
        : say("model.stopped", { done: megabytes(model.bytes) }), " ", part),
      h("div.row", {}, load(say("model.resume")), forget(model.kept), deleted, other),
    ];
  }
  if (model.status === "failed" && error) {
    const { code } = error;
    return [
      h("div.lead.error", { role: "alert" }, h("p", {}, h("strong", {}, say("model.refused", { name: source.name }))), h("p", {}, ...errorParts(error))),
      h("div.row", {},
        ["network", "damaged-copy"].includes(code) ? load(say("model.try-again")) : loadIt(),
        code === "quota-exceeded" && load(say("model.without-keeping"), { cache: false }),
        part && h("span.hint", {}, part), forget(model.kept), deleted, other, report),
    ];
  }
  return [
    h("div.row", {}, loadIt(),
      source !== DEFAULT_MODEL && h("span.hint", {}, url),
      part && h("span.hint", {}, part), part && forget(model.kept), deleted, other, engine.error && report),
  ];
}

/** What there is to see while a model loads. @param {Actions} actions */
function progressView(actions) {
  const [name, figures] = [h("strong"), h("span.facts.figures")];
  const progress = h("progress", { "aria-label": say("model.loading") });
  const phases = [...PHASES.map(([status, words]) => h("li", { dataset: { phase: status } }, words)), h("li", { dataset: { phase: "ready" } }, say("model.ready"))];
  return {
    element: h("div.loading", {}, h("p.chip", {}, name, figures), progress, h("ol.phases", {}, ...phases),
      h("button", { type: "button", onclick: actions.cancelLoad }, say("model.cancel"))),
    update(/** @type {Model} */ model) {
      name.textContent = model.name;
      const at = PHASES.findIndex(([status]) => status === model.status);
      for (const [place, item] of phases.entries()) {
        item.dataset.at = place === at ? "now" : place < at ? "past" : "next";
        if (place === at) item.setAttribute("aria-current", "step");
        else item.removeAttribute("aria-current");
      }
      if (model.totalBytes > 0 && model.status !== "warming-up") {
        progress.max = model.totalBytes;
        progress.value = model.bytes;
      } else progress.removeAttribute("value");
      figures.textContent = model.status === "warming-up" ? say("model.one-token")
        : model.status === "starting" ? say("model.asking") : transfer(model);
    },
  };
}

/** How much came, how fast, and how long the rest takes. @param {Model} model */
function transfer({ status, bytes, totalBytes, since, from }) {
  const seconds = (Date.now() - since) / 1000;
  const rate = (bytes - from) / seconds;
  const done = megabytes(bytes);
  const figures = [totalBytes ? say("model.done-of", { done, total: megabytes(totalBytes) }) : done];
  if (status === "downloading" && seconds > 0.5 && rate > 0) {
    figures.push(say("model.rate", { size: megabytes(rate) }));
    if (totalBytes) figures.push(say("model.seconds-left", { n: Math.ceil((totalBytes - bytes) / rate) }));
  }
  return figures.join(" · ");
}

/** Where the model is, or will be: a GPU may have no room for one that is loaded. @param {import("../state/store.js").State} state */
const where = ({ model, engine }) => (model.status === "ready" ? model.info?.device : null) ?? engine.device;

/** @param {HTMLElement} root @param {import("../state/store.js").Store} store @param {Actions} actions */
function showDevice(root, store, actions) {
  const { engine, device: wish, allowSoftwareGpu } = store.state;
  const device = where(store.state);
  const button = (/** @type {string} */ words, /** @type {"auto"|"cpu"|"webgpu"} */ kind, software = false) =>
    h("button.quiet", { type: "button", onclick: () => actions.setDevice(kind, software) }, words);
  if (engine.error) {
    root.replaceChildren(
      h("span.error", {}, say("model.engine-stopped"), " ", ...errorParts(engine.error)),
      " ", h("button.quiet", { type: "button", onclick: actions.restart }, say("model.start-again")),
      wish === "auto" ? "" : button(say("model.device-auto"), "auto"));
    return;
  }
  // The one before is gone.
  if (!device || engine.status === "starting") {
    root.replaceChildren(say("model.device-none"));
    return;
  }
  root.replaceChildren(...parts("model.device", { name: h("strong", {}, device.name), why: device.why }), " ");
  if (wish !== "auto") root.append(button(say("model.device-auto"), "auto"));
  else if (device.kind === "webgpu") root.append(button(say("model.device-cpu"), "cpu"));
  else if (engine.device?.kind === "webgpu") root.append(button(say("model.device-gpu"), "webgpu", allowSoftwareGpu));
}
