// State <-> #hash, readable and tolerant: unknown keys are ignored, wrong values fall back.
//
// lang=de is the language of the page, for whoever opens the link.
// A model is an address or a place on the Hub, m=hub:owner/name/file; hub=https://… names a mirror of the Hub.
//
//   #v=2&sys=Be+brief.&said=Hi&heard=Hello!&var=enable_thinking:false&p=Tell+me…&chat=1&a=cheerful:0.75,formal:-1:off:law=power:on=5-20:of=q_proj.v_proj:at=from.12:task=2&seed=7&t=0.8&n=96&m=https://…/model.gguf
//
// `said` and `heard` are the turns before the prompt; `talk=here` says that they are too long for a link.
// What comes with the page and is not in `a` is at 0, unless it is in `gone`; an empty `a` is an empty list.
import { isLong } from "../turns.js";
import { LANGUAGES } from "./language.js";

/** A link is anybody's: no text of it is longer, no name, and no list has more. */
export const MOST = { text: 100_000, name: 300, adapters: 64, turns: 64, stop: 32, variables: 32, experts: 64, choices: 16 };
/** The engine computes in 32 bits, where a number beyond these is none. */
const LARGEST = 3.4e38;

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

/** What links of an earlier version leave out means what it meant then. @type {Record<string, Record<string, string>>} */
const THEN = { 1: { t: "0.8", tp: "0.95", seed: "7" } };

/**
 * An adapter as a link names it; what follows the switch only where it is not the default.
 * @typedef {{name: string, coefficient: number, enabled: boolean, law?: string, layers?: string, modules?: string, positions?: string, task?: number, experts?: number[]}} Asked
 */

/** Ways to write a choice: into the link, and back; undefined for what is none. */
const WORDS = {
  write: (/** @type {string} */ text) => text.replaceAll(",", "."),
  read: (/** @type {string} */ text) => text.replaceAll(".", ",") || undefined,
};
/** For what has a colon, which stands between the choices of a link. */
const PLACES = {
  write: (/** @type {string} */ text) => text.replaceAll(":", "."),
  read: (/** @type {string} */ text) => text.replaceAll(".", ":") || undefined,
};
/** For blocks, which may have modules of their own: "5-20:q_proj,v_proj;3:v_proj" is 5-20~q_proj.v_proj;3~v_proj. */
const CELLS = {
  write: (/** @type {string} */ text) => text.replaceAll(",", ".").replaceAll(":", "~"),
  read: (/** @type {string} */ text) => text.replaceAll(".", ",").replaceAll("~", ":") || undefined,
};
const WHOLE = { write: String, read: (/** @type {string} */ text) => (/^\d+$/.test(text) ? Number(text) : undefined) };
const NUMBERS = {
  write: (/** @type {number[]} */ list) => list.join("_"),
  read(/** @type {string} */ text) {
    const list = text.split("_", MOST.experts + 1).map((item) => number(item, -LARGEST, LARGEST));
    return list.length <= MOST.experts && list.every((item) => item !== undefined) ? list : undefined;
  },
};

/** What may follow an adapter's coefficient: link key, state key, how it is written. @type {[string, Exclude<keyof Asked, "name"|"coefficient"|"enabled">, {write: (value: any) => string, read: (text: string) => unknown}][]} */
const CHOICES = [
  ["law", "law", WORDS], ["on", "layers", CELLS], ["of", "modules", WORDS], ["at", "positions", PLACES],
  ["task", "task", WHOLE], ["experts", "experts", NUMBERS],
];

/**
 * @param {string} hash with or without "#"
 * @returns {{patch: Omit<Partial<import("./store.js").State>, "sampling">
 *   & {sampling?: Partial<import("./store.js").Sampling>, modelUrl?: string}, adapters: Asked[]|null, talk: boolean}}
 */
export function parse(hash) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  for (const [key, value] of Object.entries(THEN[params.get("v") ?? ""] ?? {})) if (!params.has(key)) params.set(key, value);
  /** @type {ReturnType<typeof parse>["patch"]} */
  const patch = {};
  const text = bounded(params.get("p"));
  if (text !== null) patch.prompt = text;
  if (params.has("chat")) patch.chat = params.get("chat") !== "0";
  const system = bounded(params.get("sys"));
  if (system !== null) patch.system = system;
  const heard = params.getAll("heard");
  const turns = params.getAll("said").slice(0, MOST.turns)
    .flatMap((user, at) => (bounded(user) === null || bounded(heard[at] ?? null) === null ? [] : [{ user, answer: heard[at], turned: "" }]));
  if (turns.length) patch.turns = turns;
  const variables = params.getAll("var").slice(0, MOST.variables).flatMap(variable);
  if (variables.length) patch.variables = Object.fromEntries(variables);
  /** @type {Partial<import("./store.js").Sampling>} */
  const sampling = {};
  for (const [key, name, min, max, whole] of SAMPLING) {
    const value = number(params.get(key), min, max);
    if (value !== undefined && (!whole || Number.isInteger(value))) sampling[name] = value;
  }
  if (Object.keys(sampling).length) patch.sampling = sampling;
  const tokens = number(params.get("n"), 1, 1e6);
  if (tokens !== undefined && Number.isInteger(tokens)) patch.maxTokens = tokens;
  if (params.has("stop")) patch.stop = params.getAll("stop").filter((one) => one && bounded(one) !== null).slice(0, MOST.stop);
  const cache = params.get("cache");
  if (cache === "keep" || cache === "recompute") patch.cache = cache;
  if (params.has("kl")) patch.klAfterSplit = params.get("kl") !== "0";
  const device = params.get("device");
  if (device === "cpu" || device === "webgpu" || device === "auto") patch.device = device;
  if (params.get("software") === "1") patch.allowSoftwareGpu = true;
  const language = params.get("lang");
  if (language && LANGUAGES.includes(language)) patch.language = language;
  const model = params.get("m");
  if (model && bounded(model) !== null && /^(https?:\/\/|hub:|\.{0,2}\/|[\w-]+\/)/.test(model)) patch.modelUrl = model;
  const hub = params.get("hub");
  if (hub && bounded(hub) !== null && /^https?:\/\/[^/]/.test(hub)) patch.hub = hub.replace(/\/+$/, "");

  if (params.has("gone")) patch.gone = (params.get("gone") ?? "").split(",", MOST.adapters).flatMap(unescaped);
  const listed = params.get("a");
  const adapters = listed === null ? null : listed.split(",", MOST.adapters).flatMap((item) => {
    const [name, c, ...more] = item.split(":", MOST.choices);
    const coefficient = number(c ?? null, -LARGEST, LARGEST);
    if (!name || coefficient === undefined) return [];
    return unescaped(name).map((known) => {
      /** @type {Asked} */
      const asked = { name: known, coefficient, enabled: !more.includes("off") };
      for (const [key, field, { read }] of CHOICES) {
        const choice = read(more.find((part) => part.startsWith(`${key}=`))?.slice(key.length + 1) ?? "");
        if (choice !== undefined) Object.assign(asked, { [field]: choice });
      }
      return asked;
    });
  });
  return { patch, adapters, talk: params.get("talk") === "here" };
}

/** A text of a link; null where there is none, and for one that is too long: cut, it would say something else. @param {string|null} text */
const bounded = (text) => (text !== null && text.length <= MOST.text ? text : null);

/** A variable of a chat template: `name:false`, `name:"text"`. @param {string} text @returns {[string, boolean|string][]} */
function variable(text) {
  if (bounded(text) === null) return [];
  const [, name, json] = /^([A-Za-z_]\w*):(.*)$/s.exec(text) ?? [];
  try {
    const value = JSON.parse(json ?? "");
    return typeof value === "boolean" || typeof value === "string" ? [[name, value]] : [];
  } catch {
    return []; // a value of none of these kinds
  }
}

/** A name as a link writes it, if it can be read. @param {string} text @returns {string[]} */
function unescaped(text) {
  try {
    return text && text.length <= 9 * MOST.name ? [decodeURIComponent(text)].filter((name) => name.length <= MOST.name) : [];
  } catch {
    return []; // a stray % in a hand-written link
  }
}

/**
 * An adapter as the link asks for it, if it names it.
 * @template {{name: string}} T
 * @param {T} adapter
 * @param {Asked[]|null} asked
 * @returns {T}
 */
export const wished = (adapter, asked) => ({ ...adapter, ...asked?.find(({ name }) => name === adapter.name) });

/**
 * Places for adapters that the link asks for and the page does not have: somebody's own files.
 * @param {Asked[]|null} asked
 * @param {string[]} here names of those that come with the page
 * @returns {import("./store.js").Adapter[]}
 */
export const wanted = (asked, here) => (asked ?? []).filter(({ name }) => !here.includes(name))
  .map((one, at) => ({ ...one, key: `wanted:${at}`, title: one.name, wanted: true, files: null, id: null, error: null }));

/**
 * @param {import("./store.js").State} state
 * @param {import("./store.js").State} defaults what need not be said
 * @param {string|null} modelUrl null for the default model or a local file
 * @param {Asked[]|null} [asked] what the link asked of adapters
 */
export function serialise(state, defaults, modelUrl, asked = null) {
  const params = new URLSearchParams({ v: "2" });
  if (modelUrl) params.set("m", modelUrl);
  if (state.hub !== defaults.hub) params.set("hub", state.hub);
  if (state.language) params.set("lang", state.language);
  if (state.device !== defaults.device) params.set("device", state.device);
  if (state.allowSoftwareGpu) params.set("software", "1");
  // Until it is known what comes with the page, what the link asked for still holds.
  const pending = state.shelf.status === "here" ? [] : asked ?? [];
  const listed = [...state.adapters, ...pending.filter(({ name }) => !state.adapters.some((adapter) => adapter.name === name))];
  if (listed.length || state.gone.length || (asked && state.shelf.status !== "here")) {
    params.set("a", listed.map((adapter) => [
      encodeURIComponent(adapter.name).replaceAll("%2F", "/"), String(adapter.coefficient), ...(adapter.enabled ? [] : ["off"]),
      ...CHOICES.flatMap(([key, field, { write }]) => {
        const choice = adapter[field];
        return choice === undefined || choice === "" ? [] : [`${key}=${write(choice)}`];
      }),
    ].join(":")).join(","));
  }
  if (listed.length && state.gone.length) params.set("gone", state.gone.map(encodeURIComponent).join(","));
  params.set("p", state.prompt);
  if (state.chat !== defaults.chat) params.set("chat", state.chat ? "1" : "0");
  if (state.system) params.set("sys", state.system);
  if (isLong(state.turns)) params.set("talk", "here");
  else for (const { user, answer } of state.turns) {
    params.append("said", user);
    params.append("heard", answer);
  }
  for (const [name, value] of Object.entries(state.variables)) params.append("var", `${name}:${JSON.stringify(value)}`);
  for (const [key, name] of SAMPLING) {
    const value = state.sampling[name];
    if (value !== defaults.sampling[name] || key === "seed") params.set(key, String(value));
  }
  if (state.maxTokens !== defaults.maxTokens) params.set("n", String(state.maxTokens));
  for (const text of state.stop) params.append("stop", text);
  if (state.cache !== defaults.cache) params.set("cache", state.cache);
  if (!state.klAfterSplit) params.set("kl", "0");
  return readable(params);
}

/** What a link may hold as it is. @type {[code: string, sign: string][]} */
const PLAIN = [["%3D", "="], ["%3A", ":"], ["%2C", ","], ["%2F", "/"], ["%7E", "~"], ["%3B", ";"]];

/** A link that people can read. @param {URLSearchParams} params */
export const readable = (params) => PLAIN.reduce((text, [code, sign]) => text.replaceAll(code, sign), `#${params}`);
