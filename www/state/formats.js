// Runs as files: JSON, CSV, Markdown. Each has the manifest of every text.
import { say } from "../say.js";
import { command, givenTokens, manifest } from "./manifest.js";
import { cell } from "./report.js";
import { counts, meanKl, promptOf, systemOf, textOf, turnedWords, writtenTokens } from "./runs.js";

/**
 * @typedef {import("./runs.js").Kept} Kept
 *
 * What is exported together: a run, texts that were asked for together, the history.
 * @typedef {{kind: "run"|"history"|import("./runs.js").GroupKind, runs: Kept[], titles?: string[], word?: string}} Collection
 */

/** What is told of each text besides its manifest. @param {Kept} kept */
const result = (kept) => ({
  base: kept.tokens.some(({ base }) => base) ? textOf(kept, "base") : null, steered: textOf(kept, "steered"), parts_at_token: kept.split === null ? null : kept.split + 1,
  kl_mean_nats: meanKl(kept.tokens), tokens: writtenTokens(kept.tokens), given_tokens: givenTokens(kept),
});

/** @param {Collection} collection */
const counted = ({ kind, runs, word = "" }) => {
  if (kind !== "batch") return {};
  const { n, differ, klNats, base, steered } = counts(runs, word);
  return { counts: { prompts: n, differ, kl_mean_nats: klNats, ...(word.trim() ? { word: word.trim(), with_word: { base, steered } } : {}) } };
};

/** Nothing is left out. @param {Collection} collection */
export function asJson(collection) {
  const { kind, runs, titles } = collection;
  const texts = runs.map((kept, at) => ({
    ...(titles?.[at] ? { title: titles[at] } : {}), manifest: manifest(kept), result: result(kept), ...(kept.error ? { error: kept.error } : {}),
    tokens: kept.tokens.map(({ base, steered, klNats, doses, cache, top, given }) => ({
      base, steered, kl_nats: klNats, coefficients: doses.map(({ title, c }) => ({ title, c })), cache, ...(given ? { given: true } : {}), top,
    })),
  }));
  return `${JSON.stringify({ format: "steering-runs", version: 1, kind, ...counted(collection), texts }, null, 1)}\n`;
}

/** A row for each text. @param {Collection} collection */
export function asCsv({ runs, titles, word = "" }) {
  const words = word.trim();
  const columns = [
    "title", "prompt", "system", "turned", "c", "seed", "temperature", "base", "steered", "parts_at_token", "kl_mean_nats", "tokens", "given_tokens", "status",
    ...(words ? ["word", "base_has_word", "steered_has_word"] : []), "model", "model_sha256", "device", "version", "made", "command", "manifest",
  ];
  const rows = runs.map((kept, at) => {
    const { base, steered, parts_at_token, kl_mean_nats, tokens, given_tokens } = result(kept);
    const { model, version, made, command: line, sampling } = manifest(kept);
    const one = counts([kept], words);
    return [
      titles?.[at] ?? "", promptOf(kept), systemOf(kept), turnedWords(kept), kept.turned.length === 1 ? kept.turned[0].c : kept.turned.length ? null : 0,
      sampling?.seed, sampling?.temperature, base, steered, parts_at_token, kl_mean_nats, tokens, given_tokens, kept.status,
      ...(words ? [words, one.base, one.steered] : []), model.name, model.sha256, model.device, version, made, line, JSON.stringify(manifest(kept)),
    ];
  });
  return `${[columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** Text that a reader of Markdown sees as it is. @param {string} text */
const plain = (text) => text.replace(/[\\`*_[\]<>&|~]/g, "\\$&").replace(/^(\s*)([#+=-])/gm, "$1\\$2").replace(/^(\s*\d+)([.)])/gm, "$1\\$2");

/** The same as a quotation, line by line. @param {string} text */
const quote = (text) => text.split(/\r\n?|\n/).map((line) => (line.trim() ? `> ${line}` : ">")).join("\n");

/** With a fence that is longer than any inside. @param {string} text @param {string} language */
function fenced(text, language) {
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([marks]) => marks.length));
  const fence = "`".repeat(longest + 1);
  return [fence + language, text, fence].join("\n");
}

/** A text with what was given in brackets, and in others from where it parts. @param {Kept} kept @param {"base"|"steered"} lane */
function marked(kept, lane) {
  const piece = (/** @type {import("./store.js").Token[]} */ tokens) => plain(textOf({ tokens }, lane));
  const given = givenTokens(kept);
  const [start, before, after] = [kept.tokens.slice(0, given), kept.tokens.slice(given, kept.split ?? Infinity), kept.split === null ? [] : kept.tokens.slice(kept.split)];
  return quote([given ? `[${piece(start)}]` : "", piece(before), after.length ? `⟦${piece(after)}⟧` : ""].join(""));
}

/** For a reader. @param {Collection} collection */
export function asMarkdown(collection) {
  const { kind, runs, titles, word = "" } = collection;
  const lines = [`# ${say(`runs.kind.${kind}`)}`, "", say("runs.markdown.marks"), ""];
  if (kind === "batch") lines.push(...countWords(runs, word).map((text) => `* ${plain(text)}`), "");
  for (const [at, kept] of runs.entries()) {
    const kl = meanKl(kept.tokens);
    lines.push(
      `## ${plain(titles?.[at] || turnedWords(kept))}`, "",
      quote(plain(promptOf(kept))), "", ...(systemOf(kept) ? [`${say("runs.markdown.system")} ${plain(systemOf(kept))}`, ""] : []),
      plain([turnedWords(kept), say("runs.seed", { seed: String(kept.request.sampling?.seed ?? 0) }), say("runs.tokens", { n: writtenTokens(kept.tokens) }),
        ...(kl === null ? [] : [say("runs.kl", { nats: kl.toFixed(2) })]), kept.split === null ? say("runs.never-parts") : say("runs.parts", { token: kept.split + 1 })].join(" · ")), "",
      ...(kept.tokens.some(({ base }) => base) ? [`### ${say("texts.base")}`, "", marked(kept, "base"), ""] : []), `### ${say("texts.steered")}`, "", marked(kept, "steered"), "",
      fenced(command(kept), "sh"), "", fenced(JSON.stringify(manifest(kept), null, 1), "json"), "");
  }
  return lines.join("\n");
}

/** What a batch came to, in sentences. @param {Kept[]} runs @param {string} word */
export function countWords(runs, word) {
  const { n, differ, klNats, base, steered } = counts(runs, word);
  if (!n) return [];
  return [
    say("runs.batch.differ", { n, differ }), ...(klNats === null ? [] : [say("runs.batch.kl", { nats: klNats.toFixed(2) })]),
    ...(word.trim() ? [say("runs.batch.has", { word: word.trim(), base, steered, total: n })] : []),
  ];
}

/** The name of a file. @param {Collection} collection */
export function fileName({ kind, runs }) {
  const name = [kind, ...new Set(runs.slice(0, 1).map((kept) => `${turnedWords(kept)} ${promptOf(kept)}`))].join(" ").toLowerCase().replace(/−/g, "-").replace(/[^\p{L}\p{N}.+-]+/gu, "-");
  return name.slice(0, 60).replace(/^[-.]+|[-.]+$/g, "") || kind;
}
