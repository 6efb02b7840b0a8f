// State <-> #hash, readable and tolerant: unknown keys are ignored, wrong values fall back.
//
//   #v=1&p=Tell+me…&chat=1&a=cheerful:0.75,formal:-1:off:law=power:on=5-20:of=q_proj.v_proj&seed=7&t=0.8&n=96&m=https://…/model.gguf

/** A number in the text, or undefined. @param {string|null} text */
function number(text, min = -Infinity, max = Infinity) {
  if (text === null || text.trim() === "") return undefined;
  const value = Number(text);
  return Number.isFinite(value) && value >= min && value <= max ? value : undefined;
}

/** The numeric sampling keys: hash key, state key, least, greatest, whole. */
const SAMPLING = /** @type {const} */ ([
  ["t", "temperature", 0, 100, false],
  ["k", "topK", 0, 1e6, true],
  ["tp", "topP", 0, 1, false],
  ["mp", "minP", 0, 1, false],
  ["rp", "repetitionPenalty", 0.01, 100, false],
  ["seed", "seed", 0, Number.MAX_SAFE_INTEGER, true],
]);

/**
 * An adapter as a link names it; law, layers and modules only where they are not the default.
 * @typedef {{name: string, coefficient: number, enabled: boolean, law?: string, layers?: string, modules?: string}} Asked
 */

/** What may follow an adapter's coefficient: link key, state key. */
const CHOICES = /** @type {const} */ ([["law", "law"], ["on", "layers"], ["of", "modules"]]);

/**
 * @param {string} hash with or without "#"
 * @returns {{patch: any, adapters: Asked[]|null}}
 */
export function parse(hash) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {any} */
  const patch = {};
  const text = params.get("p");
  if (text !== null) patch.prompt = text;
  if (params.has("chat")) patch.chat = params.get("chat") !== "0";
  /** @type {any} */
  const sampling = {};
  for (const [key, name, min, max, whole] of SAMPLING) {
    const value = number(params.get(key), min, max);
    if (value !== undefined && (!whole || Number.isInteger(value))) sampling[name] = value;
  }
  if (Object.keys(sampling).length) patch.sampling = sampling;
  const tokens = number(params.get("n"), 1, 1e6);
  if (tokens !== undefined && Number.isInteger(tokens)) patch.maxTokens = tokens;
  if (params.has("stop")) patch.stop = params.getAll("stop").filter(Boolean);
  const cache = params.get("cache");
  if (cache === "keep" || cache === "recompute") patch.cache = cache;
  if (params.has("kl")) patch.klAfterSplit = params.get("kl") !== "0";
  const device = params.get("device");
  if (device === "cpu" || device === "webgpu" || device === "auto") patch.device = device;
  if (params.get("software") === "1") patch.allowSoftwareGpu = true;
  const model = params.get("m");
  if (model && /^(https?:\/\/|\.{0,2}\/|[\w-]+\/)/.test(model)) patch.modelUrl = model;

  const listed = params.get("a");
  const adapters = listed === null ? null : listed.split(",").flatMap((item) => {
    const [name, c, ...more] = item.split(":");
    const coefficient = number(c ?? null);
    if (!name || coefficient === undefined) return [];
    try {
      /** @type {Asked} */
      const asked = { name: decodeURIComponent(name), coefficient, enabled: !more.includes("off") };
      for (const [key, field] of CHOICES) {
        const choice = more.find((part) => part.startsWith(`${key}=`));
        if (choice) asked[field] = choice.slice(key.length + 1).replaceAll(".", ",");
      }
      return [asked];
    } catch {
      return []; // a stray % in a hand-written link
    }
  });
  return { patch, adapters };
}

/**
 * @param {import("./store.js").State} state
 * @param {import("./store.js").State} defaults what need not be said
 * @param {string|null} modelUrl null for the default model or a local file
 */
export function serialise(state, defaults, modelUrl) {
  const params = new URLSearchParams({ v: "1" });
  if (modelUrl) params.set("m", modelUrl);
  if (state.device !== defaults.device) params.set("device", state.device);
  if (state.allowSoftwareGpu) params.set("software", "1");
  if (state.adapters.length) {
    params.set("a", state.adapters.map((adapter) => [
      encodeURIComponent(adapter.name), String(adapter.coefficient), ...(adapter.enabled ? [] : ["off"]),
      ...CHOICES.flatMap(([key, field]) => (adapter[field] ? [`${key}=${adapter[field].replaceAll(",", ".")}`] : [])),
    ].join(":")).join(","));
  }
  params.set("p", state.prompt);
  if (state.chat !== defaults.chat) params.set("chat", state.chat ? "1" : "0");
  for (const [key, name] of SAMPLING) {
    const value = state.sampling[name];
    if (value !== defaults.sampling[name] || key === "seed") params.set(key, String(value));
  }
  if (state.maxTokens !== defaults.maxTokens) params.set("n", String(state.maxTokens));
  for (const text of state.stop) params.append("stop", text);
  if (state.cache !== defaults.cache) params.set("cache", state.cache);
  if (!state.klAfterSplit) params.set("kl", "0");
  return `#${params}`.replaceAll("%3D", "=").replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/");
}
