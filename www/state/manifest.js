// What it takes to write a text again, and the command for a terminal that does.
import { sameDoses } from "./acting.js";
import { quoted } from "./report.js";
import { promptOf, systemOf, wasMoved } from "./runs.js";

/** @typedef {import("./runs.js").Kept} Kept */

/** Where the coefficients came to be what they are, and from which token on. @param {Kept} kept */
export function moves({ tokens }) {
  /** @type {{token: number, doses: import("./acting.js").Dose[], cache: string}[]} */
  const list = [];
  for (const { index, steered, given, doses, cache } of tokens) {
    if (steered && !given && !sameDoses(doses, list.at(-1)?.doses)) list.push({ token: index + 1, doses, cache });
  }
  return list;
}

/** A number of the engine, which has 32 bits of it: what was set by hand is given back as it was typed. @param {number} c */
const plainly = (c) => Number(c.toPrecision(7));

/** How many tokens it was given. @param {Kept} kept */
export const givenTokens = ({ tokens }) => tokens.filter(({ given }) => given).length;

/** @param {Kept} kept */
export function manifest(kept) {
  const { request, turned, model, version, at, recorded, status } = kept;
  const { sampling, maxTokens, stop, cache, klAfterSplit, chat, templateVariables } = request;
  const given = givenTokens(kept);
  return {
    version, made: new Date(at).toISOString(), ...(recorded ? { recording: true } : {}), status, command: command(kept),
    model: { name: model.name, file: model.file, sha256: model.sha256, device: model.device, arithmetic: model.arithmetic },
    adapters: turned.map(({ name, title, method, sha256, law, layers, modules, positions, task, experts, c }) => ({
      name, title, method: method ?? null, sha256: sha256 ?? null, coefficient: c, law: law ?? null,
      layers: layers ?? "all", modules: modules ?? "all", positions: positions ?? "all", ...(task === undefined ? {} : { task }), ...(experts ? { experts } : {}),
    })),
    ...(wasMoved(kept) ? { moves: moves(kept).map(({ token, doses, cache: used }) => ({ token, cache: used, coefficients: doses.map(({ title, c }) => ({ title, c: plainly(c) })) })) } : {}),
    prompt_form: chat ? "chat" : "plain", ...(chat ? { chat, template_variables: templateVariables ?? {} } : { prompt: request.prompt ?? "" }),
    ...(given ? { given_tokens: kept.tokens.slice(0, given).map(({ steered }) => steered?.id) } : {}),
    sampling, max_tokens: maxTokens, stop, cache_policy: cache, kl_after_split: klAfterSplit,
  };
}

/** The same text in a terminal, but for what a command cannot say; where files lie is for whoever runs it. @param {Kept} kept */
export function command(kept) {
  const { request, turned, model } = kept;
  const { sampling = {}, stop = [], chat, maxTokens = 0, compare } = request;
  const words = ["steer", "generate", "--model", model.file];
  /** An option that stands once for each adapter, or not at all. @param {string} option @param {string[]} values @param {string} usual */
  const each = (option, values, usual) => {
    if (values.some((value) => value !== usual)) words.push(...values.flatMap((value) => [option, value]));
  };
  words.push(...turned.flatMap(({ name }) => ["--adapter", name]));
  each("--coeff", turned.map(({ c }) => String(c)), "1");
  if (turned.every(({ law }) => law)) words.push(...turned.flatMap(({ law }) => ["--law", String(law)]));
  each("--layers", turned.map(({ layers }) => layers ?? "all"), "all");
  each("--modules", turned.map(({ modules }) => modules ?? "all"), "all");
  each("--positions", turned.map(({ positions }) => positions ?? "all"), "all");
  each("--task", turned.map(({ task, experts }) => (experts ? "none" : task?.toString() ?? "none")), "none");
  each("--experts", turned.map(({ experts }) => experts?.join(",") ?? "none"), "none");
  // A text may begin with a hyphen, which is no option then.
  if (chat) {
    if (systemOf(kept)) words.push(`--system=${systemOf(kept)}`);
    words.push(...chat.filter(({ role }) => role !== "system").map(({ content }) => `--chat=${content}`));
    words.push(...Object.entries(request.templateVariables ?? {}).map(([name, value]) => `--var=${name}=${typeof value === "string" ? value : JSON.stringify(value)}`));
  } else words.push(`--prompt=${promptOf(kept)}`);
  words.push("--max-tokens", String(maxTokens));
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = sampling;
  for (const [option, value, usual] of /** @type {const} */ ([
    ["--temperature", temperature, 0], ["--top-k", topK, 0], ["--top-p", topP, 1], ["--min-p", minP, 0], ["--repetition-penalty", repetitionPenalty, 1], ["--seed", seed, 0],
  ])) if (value !== usual) words.push(option, String(value));
  words.push(...stop.map((text) => `--stop=${text}`), ...(compare ? ["--compare"] : []), ...(model.device === "webgpu" ? ["--device", "gpu"] : ["--fast"]));
  return words.map(quoted).join(" ");
}
