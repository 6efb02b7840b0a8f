// The model: load, watch it load, cancel, resume, choose another; and the device in words.
import { h, megabytes, told } from "../dom.js";
import { DEFAULT_MODEL } from "../state/models.js";

/** What each state says while it lasts, in the order in which they come. */
const PHASES = /** @type {const} */ ([
  ["downloading", "Downloading"],
  ["verifying", "Verifying"],
  ["uploading", "Uploading"],
  ["warming-up", "Warming up"],
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
  const size = source.bytes ? ` (${megabytes(source.bytes)})` : "";
  const part = model.kept && !model.kept.complete && model.kept.keptBytes
    ? `${megabytes(model.kept.keptBytes)} are kept in this browser; loading goes on from there.` : "";
  const forget = (/** @type {any} */ kept) => kept && h("button.quiet", { type: "button", onclick: () => actions.forgetModel(source.url) },
    kept.complete === false ? "Delete what is kept" : "Delete the kept copy");
  const deleted = model.deleted && h("p.hint", { role: "status" }, "The kept copy was deleted.");

  if (BUSY.has(model.status)) return [progressView(model, actions)];
  if (model.status === "ready") {
    const { info } = model;
    const facts = [
      `${info.layers} layers`,
      megabytes(info.bytes),
      info.cached ? "kept in this browser" : info.note ?? "not kept",
    ].join(" · ");
    return [
      h("p.chip", {}, h("strong", {}, model.name), h("span.facts", { id: "model-facts" }, facts)),
      ...info.warnings.map((/** @type {string} */ words) => h("p.hint.warning", { role: "status" }, `${words.charAt(0).toUpperCase()}${words.slice(1)}.`)),
      !info.hasTokenizer && h("p.error.wide", { role: "alert" },
        "No tokenizer came with this model, so it cannot read a prompt. Choose its files again, tokenizer.json among them."),
      h("details.manage", {}, h("summary", {}, "Model"),
        h("p.hint", {}, `${info.arithmetic}.`),
        info.cached && forget({}),
        other),
    ].filter((part) => part instanceof Node);
  }
  if (model.status === "paused") {
    return [
      h("p.lead", {}, `Stopped at ${megabytes(model.bytes)}${model.totalBytes ? ` of ${megabytes(model.totalBytes)}` : ""}. ${part}`),
      h("div.row", {}, load("Resume"), forget(model.kept), deleted, other),
    ];
  }
  if (model.status === "failed") {
    const { code } = model.error;
    return [
      h("p.lead.error", { role: "alert" }, ...told(model.error)),
      h("div.row", {},
        load(["network", "damaged-copy"].includes(code) ? "Try again" : `Load ${source.name}${size}`),
        code === "quota-exceeded" && load("Continue without keeping it", { cache: false }),
        part && h("span.hint", {}, part), forget(model.kept), deleted, other),
    ];
  }
  return [
    h("p.lead", {}, "A language model writes one word-piece at a time. Load a small one, press Run, and drag a slider while it writes: on the left it writes as it is, on the right with the adapter turned."),
    h("div.row", {}, load(`Load ${source.name}${size}`),
      h("span.hint", {}, source === DEFAULT_MODEL ? `${DEFAULT_MODEL.detail}; downloaded once, then kept in this browser` : source.url ?? ""),
      part && h("span.hint", {}, part), part && forget(model.kept), deleted, other),
  ];
}

function progressView(/** @type {any} */ model, /** @type {any} */ actions) {
  return h("div.loading", {},
    h("p.chip", {}, h("strong", {}, model.name), h("span.facts.figures")),
    h("progress", { "aria-label": "Loading the model" }),
    h("ol.phases", {}, ...PHASES.map(([status, words]) => h("li", { dataset: { phase: status } }, words)), h("li", { dataset: { phase: "ready" } }, "Ready")),
    h("button", { type: "button", onclick: actions.cancelLoad }, "Cancel"));
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
  const parts = [model.totalBytes ? `${megabytes(model.bytes)} of ${megabytes(model.totalBytes)}` : megabytes(model.bytes)];
  if (model.status === "downloading" && seconds > 0.5 && rate > 0) {
    parts.push(`${megabytes(rate)}/s`);
    if (model.totalBytes) parts.push(`${Math.ceil((model.totalBytes - model.bytes) / rate)} s left`);
  }
  root.querySelector(".figures").textContent =
    model.status === "warming-up" ? "running one token, so that the first of yours is not slow"
      : model.status === "starting" ? "asking" : parts.join(" · ");
}

/** Any other model: by address, by file, by folder. */
function otherModel(/** @type {any} */ actions) {
  const address = h("input", { type: "url", placeholder: "https://…/model.gguf", "aria-label": "Address of a GGUF file", required: true });
  const files = h("input.sr", {
    type: "file", multiple: true, accept: ".gguf,.safetensors,.json,.jinja", id: "model-files",
    onchange: () => {
      const picked = [...files.files];
      // Several may be the parts of one; which files count is the engine's to say.
      const [gguf] = picked;
      if (picked.length === 1 && gguf?.name.endsWith(".gguf")) actions.loadModel({ kind: "file", file: gguf, name: gguf.name });
      else if (picked.length) actions.loadModel({ kind: "folder", files: picked, name: "your folder" });
      files.value = "";
    },
  });
  return h("details.other", {}, h("summary", {}, "another model"),
    h("form.row", {
      onsubmit: (/** @type {Event} */ event) => {
        event.preventDefault();
        const url = new URL(address.value, document.baseURI).href;
        actions.loadModel({ kind: "url", url, name: url.split("/").pop()?.split("?")[0] || url });
      },
    }, address, h("button", {}, "Load")),
    h("div.row", {}, files, h("label.button", { htmlFor: "model-files" }, "Choose files"),
      h("span.hint", {}, "one .gguf, all parts of a split one, or config.json, tokenizer.json and .safetensors together")));
}

function showDevice(/** @type {HTMLElement} */ root, /** @type {any} */ store, /** @type {any} */ actions) {
  const { engine, device: wish } = store.state;
  const { device } = engine;
  const button = (/** @type {string} */ words, /** @type {"auto"|"cpu"} */ kind) =>
    h("button.quiet", { type: "button", onclick: () => actions.setDevice(kind, false) }, words);
  if (engine.status === "failed" || engine.status === "crashed") {
    root.replaceChildren(
      h("span.error", {}, "The engine stopped. ", ...told(engine.error)),
      " ", h("button.quiet", { type: "button", onclick: actions.restart }, "Start again"),
      wish === "auto" ? "" : button("choose for me", "auto"));
    return;
  }
  // The one before is gone.
  if (!device || engine.status === "starting") {
    root.replaceChildren("Looking for a device …");
    return;
  }
  root.replaceChildren(h("strong", {}, device.name), `: ${device.why}. `);
  if (wish !== "auto") root.append(button("choose for me", "auto"));
  else if (device.kind === "webgpu") root.append(button("use the CPU", "cpu"));
}
