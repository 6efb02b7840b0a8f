// The model: load, watch it load, cancel, resume, choose another; and the device in words.
import { h, megabytes, told } from "../dom.js";
import { parts, say } from "../say.js";
import { DEFAULT_MODEL } from "../state/models.js";

/** What each state says while it lasts, in the order in which they come. */
const PHASES = /** @type {const} */ ([
  ["downloading", say("model.downloading")],
  ["verifying", say("model.verifying")],
  ["uploading", say("model.uploading")],
  ["warming-up", say("model.warming-up")],
]);
const BUSY = new Set(["starting", ...PHASES.map(([status]) => status)]);

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {any} offered the model behind the Load button
 */
export function modelPanel(root, store, actions, offered) {
  const body = h("div.model-body");
  const device = h("p.device");
  root.append(body, device);
  const other = otherModel(actions);
  let shown = "";
  let chip = "";
  /** @type {any} */
  let bar = null;

  store.watch(["model", "engine"], ({ model, engine }) => {
    root.dataset.state = model.status;
    const [{ device: found, status, error }, { device: wish }] = [engine, store.state];
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
      body.replaceChildren(...view(model, engine, actions, offered, other));
      bar = body.querySelector(".loading");
      if (hadFocus) body.querySelector("button")?.focus();
    }
    if (bar) showProgress(bar, model);
  });
}

/** @returns {Node[]} */
function view(/** @type {any} */ model, /** @type {any} */ engine, /** @type {any} */ actions, /** @type {any} */ offered, /** @type {HTMLElement} */ other) {
  const source = model.source ?? offered;
  const load = (/** @type {string} */ label, options = {}) => h("button.primary", {
    type: "button", disabled: engine.status !== "ready", onclick: () => actions.loadModel(source, options),
  }, label);
  const { name } = source;
  const loadIt = () => load(source.bytes ? say("model.load-sized", { name, size: megabytes(source.bytes) }) : say("model.load", { name }));
  const part = model.kept && !model.kept.complete && model.kept.keptBytes
    ? say("model.kept-part", { size: megabytes(model.kept.keptBytes) }) : "";
  const forget = (/** @type {any} */ kept) => kept && h("button.quiet", { type: "button", onclick: () => actions.forgetModel(source.url) },
    say(kept.complete === false ? "model.delete-part" : "model.delete-copy"));
  const deleted = model.deleted && h("p.hint", { role: "status" }, say("model.deleted"));

  if (BUSY.has(model.status)) return [progressView(model, actions)];
  if (model.status === "ready") {
    const { info } = model;
    const facts = [
      say("model.layers", { n: info.layers }),
      megabytes(info.bytes),
      info.cached ? say("model.kept") : info.note ?? say("model.not-kept"),
    ].join(" · ");
    return [
      h("p.chip", {}, h("strong", {}, model.name), h("span.facts", { id: "model-facts" }, facts)),
      ...info.warnings.map((/** @type {string} */ words) => h("p.hint.warning", { role: "status" }, `${words.charAt(0).toUpperCase()}${words.slice(1)}.`)),
      !info.hasTokenizer && h("p.error.wide", { role: "alert" }, say("model.no-tokenizer")),
      h("details.manage", {}, h("summary", {}, say("model.more")),
        h("p.hint", {}, `${info.arithmetic}.`),
        info.cached && forget({}),
        other),
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
  if (model.status === "failed") {
    const { code } = model.error;
    return [
      h("p.lead.error", { role: "alert" }, ...told(model.error)),
      h("div.row", {},
        ["network", "damaged-copy"].includes(code) ? load(say("model.try-again")) : loadIt(),
        code === "quota-exceeded" && load(say("model.without-keeping"), { cache: false }),
        part && h("span.hint", {}, part), forget(model.kept), deleted, other),
    ];
  }
  return [
    h("div.row", {}, loadIt(),
      source !== DEFAULT_MODEL && h("span.hint", {}, source.url ?? ""),
      part && h("span.hint", {}, part), part && forget(model.kept), deleted, other),
  ];
}

function progressView(/** @type {any} */ model, /** @type {any} */ actions) {
  return h("div.loading", {},
    h("p.chip", {}, h("strong", {}, model.name), h("span.facts.figures")),
    h("progress", { "aria-label": say("model.loading") }),
    h("ol.phases", {}, ...PHASES.map(([status, words]) => h("li", { dataset: { phase: status } }, words)), h("li", { dataset: { phase: "ready" } }, say("model.ready"))),
    h("button", { type: "button", onclick: actions.cancelLoad }, say("model.cancel")));
}

function showProgress(/** @type {any} */ root, /** @type {any} */ model) {
  const at = PHASES.findIndex(([status]) => status === model.status);
  for (const item of root.querySelectorAll("li")) {
    const place = PHASES.findIndex(([status]) => status === item.dataset.phase);
    item.dataset.at = place === at ? "now" : place >= 0 && place < at ? "past" : "next";
    if (place === at) item.setAttribute("aria-current", "step");
    else item.removeAttribute("aria-current");
  }
  const progress = root.querySelector("progress");
  if (model.totalBytes > 0 && model.status !== "warming-up") {
    progress.max = model.totalBytes;
    progress.value = model.bytes;
  } else progress.removeAttribute("value");
  const seconds = (Date.now() - model.since) / 1000;
  const rate = (model.bytes - (model.from ?? 0)) / seconds;
  const done = megabytes(model.bytes);
  const figures = [model.totalBytes ? say("model.done-of", { done, total: megabytes(model.totalBytes) }) : done];
  if (model.status === "downloading" && seconds > 0.5 && rate > 0) {
    figures.push(say("model.rate", { size: megabytes(rate) }));
    if (model.totalBytes) figures.push(say("model.seconds-left", { n: Math.ceil((model.totalBytes - model.bytes) / rate) }));
  }
  root.querySelector(".figures").textContent =
    model.status === "warming-up" ? say("model.one-token")
      : model.status === "starting" ? say("model.asking") : figures.join(" · ");
}

/** Any other model: by address, by file, by folder. */
function otherModel(/** @type {any} */ actions) {
  const address = h("input", { type: "url", placeholder: "https://…/model.gguf", "aria-label": say("model.address"), required: true });
  const files = h("input.sr", {
    type: "file", multiple: true, accept: ".gguf,.safetensors,.json,.jinja", id: "model-files",
    onchange: () => {
      const picked = [...files.files];
      // Several may be the parts of one; which files count is the engine's to say.
      const [gguf] = picked;
      if (picked.length === 1 && gguf?.name.endsWith(".gguf")) actions.loadModel({ kind: "file", file: gguf, name: gguf.name });
      else if (picked.length) actions.loadModel({ kind: "folder", files: picked, name: say("model.your-folder") });
      files.value = "";
    },
  });
  return h("details.other", {}, h("summary", {}, say("model.another")),
    h("form.row", {
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        const url = new URL(address.value, document.baseURI).href;
        actions.loadModel({ kind: "url", url, name: url.split("/").pop()?.split("?")[0] || url });
      },
    }, address, h("button", {}, say("model.load-address"))),
    h("div.row", {}, files, h("label.button", { htmlFor: "model-files" }, say("model.choose")),
      h("span.hint", {}, say("model.choose-hint"))));
}

function showDevice(/** @type {HTMLElement} */ root, /** @type {any} */ store, /** @type {any} */ actions) {
  const { engine, device: wish } = store.state;
  const { device } = engine;
  const button = (/** @type {string} */ words, /** @type {"auto"|"cpu"} */ kind) =>
    h("button.quiet", { type: "button", onclick: () => actions.setDevice(kind, false) }, words);
  if (engine.status === "failed" || engine.status === "crashed") {
    root.replaceChildren(
      h("span.error", {}, say("model.engine-stopped"), " ", ...told(engine.error)),
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
}
