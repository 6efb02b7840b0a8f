// Runs that are kept: the history, and texts that were asked for together. No elements here.
import { signed } from "../dom.js";
import { say } from "../say.js";
import { doses as acting, trail, words } from "./acting.js";

/**
 * @typedef {import("./store.js").Adapter} Adapter
 * @typedef {import("./store.js").ErrorShape} ErrorShape
 * @typedef {import("./store.js").GenerateRequest} GenerateRequest
 * @typedef {import("./store.js").State} State
 * @typedef {import("./store.js").Token} Token
 *
 * An adapter as it acted. What is undefined was as its file has it.
 * @typedef {{key: string, name: string, title: string, c: number, method?: string, law?: string, usualLaw?: boolean, layers?: string,
 *   modules?: string, positions?: string, task?: number, experts?: number[], sha256?: string}} Turned
 *
 * Which model wrote, and how it was computed.
 * @typedef {{name: string, file: string, sha256: string|null, context?: number, device: string, arithmetic: string}} Written
 *
 * @typedef {object} Kept
 * @property {string} id
 * @property {number} at            when it ended, in ms since 1970
 * @property {Turned[]} turned      what acted on its last token
 * @property {GenerateRequest} request
 * @property {Token[]} tokens
 * @property {number|null} split
 * @property {number|null} limit
 * @property {"writing"|"done"|"stopped"|"failed"} status
 * @property {ErrorShape|null} error
 * @property {string|null} manners  as a run has them
 * @property {Written} model
 * @property {string} version       of this page
 * @property {boolean} recorded     whether it is the recording's
 * @property {boolean} [pinned]
 *
 * How far adapters shall be turned, and where they shall act if not as they are set.
 * @typedef {{key: string, c: number, law?: string, layers?: string, modules?: string, positions?: string}} Wish
 *
 * What a comparison is asked for. With `system` it is a prompt's: no adapter has to act.
 * @typedef {{title: string, doses: {key: string, c: number}[], system?: string}} Item
 *
 * One text of several: what it is called and, once it is begun, how it is.
 * @typedef {{title: string, c?: number, run: Kept|null, error: ErrorShape|null}} Row
 * @typedef {"fan"|"compare"|"batch"} GroupKind
 * @typedef {{kind: GroupKind, at: number, key?: string, rows: Row[]}} Group
 *
 * @typedef {object} Runs
 * @property {Kept[]} history       the newest first
 * @property {string|null} opened   id of the one in the columns, where it was opened again
 * @property {string} told          what came of the last click, in words
 * @property {"history"|GroupKind} tab
 * @property {{[kind in GroupKind]?: Group}} groups the newest of each kind
 * @property {boolean} unkept       whether this browser does not keep them
 */

/** So many are kept. */
export const MOST = 20;
/** So many of them can be held against falling out, and be compared. */
export const PINS = 3;
/** So many settings are compared. */
export const COLUMNS = 4;
/** So many coefficients a fan has at most. */
export const RIBS = 17;
/** So many prompts are answered in one batch. */
export const PROMPTS = 50;

/** @type {Runs} */
export const NO_RUNS = { history: [], opened: null, told: "", tab: "history", groups: {}, unkept: false };

/** Whether several texts are being written, for which the engine's adapters are set otherwise. @param {import("./measured.js").Work|null} work */
export const writesAside = (work) => work !== null && ["fan", "compare", "batch"].includes(work.kind);

// ---- a run ------------------------------------------------------------------------------------

/** An adapter as it acts now, turned so far. @param {Adapter|undefined} adapter @param {import("./acting.js").Dose} dose @param {State["engine"]["methods"]} methods @returns {Turned} */
export function turnedOf(adapter, { key, title, c }, methods) {
  if (!adapter) return { key, name: title, title, c };
  const { name, law, entry, layers, modules, positions, task, experts, card } = adapter;
  const method = entry?.method ?? methods.find((one) => [one.title, one.name].includes(card?.method ?? ""))?.name;
  const acts = law ?? entry?.law;
  const where = (/** @type {string|undefined} */ mask) => (mask?.trim() && mask.trim() !== "all" ? mask.trim() : undefined);
  return dropUndefined({
    // The engine has 32 bits of it: as it was typed.
    key, name, title, c: Number(c.toPrecision(7)), method, law: acts, usualLaw: acts === undefined || !entry?.laws ? undefined : entry.laws[0]?.law === acts,
    layers: where(layers), modules: where(modules), positions: where(positions), task, experts,
  });
}

/** @template {object} T @param {T} fields @returns {T} */
const dropUndefined = (fields) => /** @type {T} */ (Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)));

/** The model of the moment. @param {State} state @returns {Written} */
export function writtenBy({ model }) {
  const { source, info, name } = model;
  return {
    name: info?.name ?? name, file: (source?.kind === "url" ? source.url.split("/").pop() : source?.name) ?? name, sha256: info?.sha256 ?? null,
    context: info?.context, device: info?.device?.kind ?? "", arithmetic: info?.arithmetic ?? "",
  };
}

/** What was turned when its last steered token came. @param {Token[]} tokens */
export const lastDoses = (tokens) => tokens.findLast(({ steered, given }) => steered && !given)?.doses ?? [];

/** @param {Kept} kept */
export const systemOf = ({ request }) => request.chat?.find(({ role }) => role === "system")?.content ?? "";

/** The prompt that it answers. @param {Kept} kept */
export const promptOf = ({ request }) => request.chat?.at(-1)?.content ?? request.prompt ?? "";

/** @param {{tokens: Token[]}} kept @param {"base"|"steered"} lane */
export const textOf = ({ tokens }, lane) => tokens.map((token) => token[lane]?.text ?? "").join("");

/** What acted, in words. @param {Kept} kept */
export const turnedWords = (kept) => (kept.turned.length ? words(kept.turned) : say(systemOf(kept) ? "runs.only-system" : "runs.base"));

/** The beginning of the steered text, for a row. @param {Kept} kept */
export function firstLine(kept) {
  const line = textOf(kept, "steered").trim().split("\n")[0];
  return line.length > 90 ? `${line.slice(0, 88)}…` : line;
}

/** The mean distance of what was measured, in nats per token; null where nothing was. @param {Token[]} tokens */
export function meanKl(tokens) {
  const values = tokens.map(({ klNats }) => klNats).filter((value) => value !== null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

/** Tokens that the model wrote: not those that it was given. @param {Token[]} tokens */
export const writtenTokens = (tokens) => tokens.filter(({ steered, given }) => steered && !given).length;

/** Whether the coefficients changed while it was written. @param {Kept} kept */
export const wasMoved = ({ tokens }) => trail(tokens.filter(({ given }) => !given)).length > 1;

/** Where the steered text is not the base's, as tokens; null where they are alike. @param {Token[]} steered @param {Token[]} base whose base is compared */
export function parting(steered, base) {
  const at = steered.findIndex((token, index) => token.steered?.id !== base[index]?.base?.id);
  const longer = base.findIndex((token, index) => token.base && !steered[index]?.steered);
  const first = [at, longer].filter((one) => one >= 0);
  return first.length ? Math.min(...first) : null;
}

// ---- the history ------------------------------------------------------------------------------

/** With one more; pinned ones do not fall out. @param {Kept[]} history @param {Kept} fresh */
export function withKept(history, fresh) {
  const list = [fresh, ...history.filter(({ id }) => id !== fresh.id)];
  for (let at = list.length - 1; list.length > MOST && at > 0; at -= 1) if (!list[at].pinned) list.splice(at, 1);
  return list;
}

/** @param {Kept[]} history @param {string} id */
export const mayPin = (history, id) => history.filter((one) => one.pinned && one.id !== id).length < PINS;

// ---- kept as text -----------------------------------------------------------------------------

const short = (/** @type {number|null|undefined} */ value) => (typeof value === "number" ? Number(value.toPrecision(5)) : value ?? null);

/** A run with its tokens in lists, a sixth as long. @param {Kept} kept @param {boolean} [facts] whether with the likeliest next tokens */
export function packed(kept, facts = true) {
  /** @type {Token["doses"][]} */
  const doses = [];
  const place = (/** @type {Token["doses"]} */ now) => {
    const at = doses.findIndex((one) => JSON.stringify(one) === JSON.stringify(now));
    return at >= 0 ? at : doses.push(now) - 1;
  };
  const lane = (/** @type {import("./store.js").LaneStep|null} */ step) => step && [step.id, step.text, short(step.probability), step.finish];
  return {
    ...kept, doses: doses, tokens: kept.tokens.map((token) => [
      lane(token.base), lane(token.steered), short(token.klNats), place(token.doses), token.cache,
      facts ? token.top.flatMap(({ id, text, base, steered, differenceNats }) => [id, text, short(base), short(steered), short(differenceNats)]) : [], token.given ?? 0,
    ]),
  };
}

/** The same run again; null for what is none. @param {any} pack @returns {Kept|null} */
export function unpacked(pack) {
  try {
    const { doses, tokens, ...rest } = pack;
    const fields = /** @type {const} */ ([["id", "string"], ["at", "number"], ["version", "string"], ["request", "object"], ["model", "object"], ["status", "string"]]);
    if (fields.some(([name, type]) => typeof rest[name] !== type || rest[name] === null) || !Array.isArray(rest.turned)) return null;
    if (![undefined, "string"].includes(rest.request.prompt === undefined ? undefined : typeof rest.request.prompt) || typeof rest.request.sampling?.seed !== "number") return null;
    if (rest.request.chat !== undefined && !rest.request.chat.every((/** @type {any} */ one) => typeof one.role === "string" && typeof one.content === "string")) return null;
    if (!rest.turned.every((/** @type {any} */ one) => typeof one.key === "string" && typeof one.title === "string" && typeof one.name === "string" && Number.isFinite(one.c))) return null;
    if (typeof rest.model.name !== "string" || typeof rest.model.file !== "string") return null;
    const lane = (/** @type {any} */ list) => list && { id: Number(list[0]), text: String(list[1]), probability: Number(list[2]), finish: list[3] };
    return {
      ...rest, tokens: tokens.map((/** @type {any[]} */ [base, steered, klNats, at, cache, flat, given], /** @type {number} */ index) => ({
        kind: "token", index, base: lane(base), steered: lane(steered), klNats: klNats === null ? null : Number(klNats),
        doses: doses[at].map((/** @type {any} */ { key, title, c }) => ({ key: String(key), title: String(title), c: Number(c) })), cache, top: rows(flat),
        ...(given ? { given } : {}),
      })),
    };
  } catch {
    return null; // of somebody else
  }
}

/** @param {any[]} flat */
function rows(flat) {
  const list = [];
  for (let at = 0; at < flat.length; at += 5) {
    const [id, text, base, steered, differenceNats] = flat.slice(at, at + 5);
    list.push({ id: Number(id), text: String(text), base, steered, differenceNats });
  }
  return list;
}

// ---- several ----------------------------------------------------------------------------------

/** The coefficients of a fan; empty where there are none, or too many. @param {number} from @param {number} to @param {number} step */
export function ribs(from, to, step) {
  if (![from, to, step].every(Number.isFinite) || step <= 0 || to < from || (to - from) / step > RIBS - 1 + 1e-9) return [];
  const list = [];
  for (let at = 0; from + at * step <= to + 1e-9; at += 1) list.push(Number((from + at * step).toFixed(10)) + 0);
  return list;
}

/** The prompts of a box, one a line. @param {string} text */
export const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** Whether a text has a word, in whatever case; no part of another word. @param {string} text @param {string} word */
export function has(text, word) {
  const wanted = word.trim();
  if (!wanted) return false;
  const edge = (/** @type {string} */ character) => (/[\p{L}\p{N}_]/u.test(character) ? "(?![\\p{L}\\p{N}_])" : "");
  const escaped = wanted.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const before = edge(wanted[0]) && "(?<![\\p{L}\\p{N}_])";
  return new RegExp(before + escaped + edge(wanted[wanted.length - 1]), "iu").test(text);
}

/**
 * What a batch came to: how many differ, the mean of their distances, and how many have a word.
 * @param {Kept[]} runs @param {string} word
 */
export function counts(runs, word) {
  const means = runs.map(({ tokens }) => meanKl(tokens)).filter((value) => value !== null);
  const withWord = (/** @type {"base"|"steered"} */ lane) => runs.filter((one) => has(textOf(one, lane), word)).length;
  return {
    n: runs.length, differ: runs.filter(({ split }) => split !== null).length,
    klNats: means.length ? means.reduce((sum, value) => sum + value, 0) / means.length : null,
    base: withWord("base"), steered: withWord("steered"),
  };
}

/** What a fan shows, in a sentence. @param {Group} group */
export function fanSentence({ rows: all }) {
  const there = all.flatMap(({ c, run }) => (run && run.status !== "writing" && c !== undefined ? [{ c, run, kl: meanKl(run.tokens) }] : []));
  if (!there.length) return "";
  const apart = there.filter(({ run }) => run.split !== null);
  const most = there.reduce((best, one) => ((one.kl ?? -1) > (best.kl ?? -1) ? one : best));
  const texts = say("runs.fan.says", { n: there.length, apart: apart.length });
  return most.kl === null ? texts : `${texts} ${say("runs.fan.says.most", { c: signed(most.c), nats: most.kl.toFixed(2) })}`;
}

/** What acts on the page now, as a wish. @param {Adapter[]} adapters @returns {Wish[]} */
export const wishesNow = (adapters) => acting(adapters).map(({ key, c }) => ({ key, c }));
