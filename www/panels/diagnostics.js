// What whoever mends a fault wants to know, copied by a button: the browser, its GPU, the engine, the model. No
// prompt and no text is in it.
import { h } from "../dom.js";
import { hashOf } from "../hashes.js";
import { LANGUAGE, say } from "../say.js";

const WASM = new URL("../pkg/steering_playground_bg.wasm", import.meta.url);

/** The module as it came, by its hash. */
async function wasm() {
  const response = await fetch(WASM, { cache: "force-cache" });
  if (!response.ok) return { status: response.status };
  const bytes = await response.arrayBuffer();
  return { bytes: bytes.byteLength, sha256: await hashOf(bytes) };
}

/** What WebGPU says of itself. */
async function gpu() {
  const { gpu: found } = /** @type {any} */ (navigator);
  if (!found) return null;
  const adapter = await found.requestAdapter();
  if (!adapter) return { adapter: null };
  const { vendor, architecture, device, description } = adapter.info ?? {};
  /** @type {Record<string, number>} */
  const limits = {};
  for (const name in adapter.limits) limits[name] = adapter.limits[name];
  return { vendor, architecture, device, description, fallback: adapter.info?.isFallbackAdapter, features: [...adapter.features].sort(), limits };
}

/** What could not be asked says why. @template T @param {() => Promise<T>} asks */
const tried = (asks) => asks().catch((/** @type {any} */ error) => ({ failed: String(error?.message ?? error) }));

/** @param {import("../state/store.js").State} state */
export async function diagnostics({ engine, model, adapters, memory, device, allowSoftwareGpu, run }) {
  const { source, info } = model;
  const [module, webgpu, storage, serviceWorker] = await Promise.all([tried(wasm), tried(gpu), tried(async () => await navigator.storage?.estimate?.() ?? null),
    // Where it is denied, already looking for it throws.
    tried(async () => Boolean(navigator.serviceWorker?.controller))]);
  return JSON.stringify({
    page: location.href.split(/[?#]/)[0], time: new Date().toISOString(), language: LANGUAGE, frame: window !== window.top,
    browser: navigator.userAgent, cores: navigator.hardwareConcurrency, deviceMemory: /** @type {any} */ (navigator).deviceMemory ?? null,
    secure: isSecureContext, isolated: crossOriginIsolated, serviceWorker,
    wasm: module, webgpu,
    engine: { status: engine.status, device: engine.device, error: engine.error, asked: device, allowSoftwareGpu },
    model: { status: model.status, name: model.name, url: source?.kind === "url" ? source.url : source?.kind ?? null, error: model.error, info },
    adapters: adapters.map(({ name, coefficient, enabled, entry, error }) => ({ name, c: coefficient, on: enabled, method: entry?.method ?? null, law: entry?.law ?? null, error })),
    run: { status: run.status, tokens: run.tokens?.length ?? 0, error: run.error },
    memory, storage,
  }, null, 1);
}

/** @param {import("../state/store.js").Store} store */
export function diagnosticsButton(store) {
  const text = h("textarea", { readOnly: true, hidden: true, rows: 6, "aria-label": say("model.diagnostics") });
  const button = h("button.quiet", { type: "button", title: say("model.diagnostics.are") }, say("model.diagnostics"));
  button.addEventListener("click", async () => {
    const found = await diagnostics(store.state);
    try {
      await navigator.clipboard.writeText(found);
      button.textContent = say("page.copied");
      setTimeout(() => { button.textContent = say("model.diagnostics"); }, 2000);
    } catch {
      // A frame that may not copy shows it.
      [text.value, text.hidden] = [found, false];
      text.select();
    }
  });
  return h("div.diagnostics", {}, button, text);
}
