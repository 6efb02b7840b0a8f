// Wires the state, the engine and the panels together.
import { createActions } from "./actions.js";
import { byId, megabytes } from "./dom.js";
import { adaptersPanel } from "./panels/adapters.js";
import { offline } from "./offline.js";
import { keys } from "./panels/keys.js";
import { modelPanel } from "./panels/model.js";
import { outputPanel } from "./panels/output.js";
import { promptPanel } from "./panels/prompt.js";
import { stripsPanel } from "./panels/strips.js";
import { tokenPanel } from "./panels/token.js";
import { DEFAULT_MODEL } from "./state/models.js";
import { createStore, defaults } from "./state/store.js";
import { parse, serialise } from "./state/url.js";
import { shippedAdapters } from "./shipped.js";

const asked = parse(location.hash);
const { modelUrl, sampling, ...rest } = asked.patch;
const initial = defaults();
Object.assign(initial, rest, { sampling: { ...initial.sampling, ...sampling } });
const store = createStore(initial);
const actions = createActions(store);

/** The model behind the Load button: the link's, else ours. */
const offered = modelUrl
  ? { kind: /** @type {const} */ ("url"), url: new URL(modelUrl, document.baseURI).href, name: modelUrl.split("/").pop() ?? modelUrl }
  : Object.assign(DEFAULT_MODEL, { kind: /** @type {const} */ ("url") });

modelPanel(byId("model"), store, actions, offered);
promptPanel(byId("prompt-form"), store, actions);
adaptersPanel({ list: byId("adapter-list"), add: byId("adapter-add") }, store, actions, asked.adapters);
outputPanel({
  base: byId("base-text"), steered: byId("steered-text"), dose: byId("steered-dose"),
  stats: byId("stats"), status: byId("status"), notice: byId("notice"),
}, store, actions);
stripsPanel(byId("strips"), store, actions);
tokenPanel(byId("token"), store);
keys(byId("keys"), byId("keys-on"), store, actions, { share });

// ---- link ---------------------------------------------------------------------------------------

let writing = 0;
function link() {
  const { source } = store.state.model;
  const other = source?.kind === "url" && source.url !== DEFAULT_MODEL.url ? source.url : null;
  return serialise(store.state, defaults(), other ?? modelUrl ?? null);
}
store.watch(["prompt", "chat", "sampling", "maxTokens", "stop", "cache", "klAfterSplit", "adapters", "model", "device"], () => {
  clearTimeout(writing);
  writing = setTimeout(() => history.replaceState(null, "", link()), 300);
});
addEventListener("hashchange", () => location.reload());

async function share() {
  history.replaceState(null, "", link());
  const button = byId("share");
  try {
    await navigator.clipboard.writeText(location.href);
    button.textContent = "Copied";
  } catch {
    button.textContent = "The link is in the address bar";
  }
  setTimeout(() => { button.textContent = "Copy link"; }, 2000);
}
byId("share").addEventListener("click", share);
byId("help").addEventListener("click", () => byId("keys").showModal());

// ---- theme, memory ------------------------------------------------------------------------------

const themes = ["auto", "light", "dark"];
function theme(/** @type {string} */ name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = `Theme: ${name}`;
  localStorage.setItem("playground.theme", name);
}
theme(localStorage.getItem("playground.theme") ?? "auto");
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  theme(themes[(themes.indexOf(now) + 1) % themes.length]);
});
store.watch(["memory", "model"], (/** @type {any} */ { memory, model }) => {
  byId("memory").textContent = memory && model.status === "ready"
    ? `Memory: WebAssembly ${megabytes(memory.wasmHeapBytes)} (peak ${megabytes(memory.wasmHeapPeakBytes)}), GPU ${memory.gpuPeakBytes ? `${megabytes(memory.gpuBytes)} (peak ${megabytes(memory.gpuPeakBytes)})` : "none"}`
    : "";
});

// ---- begin --------------------------------------------------------------------------------------

// The worker and the adapters are fetched once somebody keeps what is fetched.
await offline();
const adapters = shippedAdapters(asked.adapters).then((list) => store.set({ adapters: list, active: list[0]?.key ?? null }));
if (await actions.start()) {
  // A model kept in this browser costs no download: no click is asked for.
  const kept = offered.kind === "url" ? await actions.isCached(offered.url).catch(() => null) : null;
  await adapters;
  if (kept?.complete) await actions.loadModel(offered);
  actions.refreshMemory();
}
