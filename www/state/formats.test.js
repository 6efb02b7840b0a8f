// node --test www
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { VERSION } from "../version.js";
import { asCsv, asJson, asMarkdown, countWords, fileName } from "./formats.js";
import { kept, token } from "./kept.test.js";
import { command, manifest, moves } from "./manifest.js";
import { FOLDED, WHOLE, cannot, python } from "./python.js";
import { cell } from "./report.js";

const [turned] = kept().turned;
const one = (/** @type {any} */ more) => kept({ turned: [{ ...turned, ...more }] });

/** What a shell makes of a command. @param {string} line */
const argv = (line) => execFileSync("sh", ["-c", `for word in ${line}; do printf '%s\\0' "$word"; done`]).toString().split("\0").slice(0, -1);

/** A reader of RFC 4180. @param {string} text */
function csv(text) {
  /** @type {string[][]} */
  const rows = [];
  const cells = /("(?:[^"]|"")*"|[^",\r\n]*)(,|\r\n)/y;
  /** @type {string[]} */
  let row = [];
  while (cells.lastIndex < text.length) {
    const at = cells.lastIndex;
    const match = cells.exec(text);
    assert.ok(match, `no cell at ${at}: ${text.slice(at, at + 40)}`);
    row.push(match[1].startsWith("\"") ? match[1].slice(1, -1).replaceAll("\"\"", "\"") : match[1]);
    if (match[2] === ",") continue;
    rows.push(row);
    row = [];
  }
  return rows;
}

test("the version is the package's", () => {
  assert.equal(VERSION, /^version = "(.+)"$/m.exec(readFileSync(new URL("../../Cargo.toml", import.meta.url), "utf8"))?.[1]);
});

test("the command asks the terminal for the same, and a shell reads what was meant", () => {
  assert.deepEqual(argv(command(kept())), [
    "steer", "generate", "--model", "SmolLM2.Q4_1.gguf", "--adapter", "tone-lora", "--coeff", "0.5", "--law", "linear", "--system=Be brief.", "--chat=How's it?",
    "--max-tokens", "12", "--temperature", "0.4", "--top-p", "0.9", "--repetition-penalty", "1.1", "--seed", "9", "--stop=\n\n", "--compare", "--fast",
  ]);
  const hostile = "-x $(touch /tmp/never) `id` \"a\" 'b' \\ !! #\n~ *";
  assert.ok(argv(command(kept({ request: { ...kept().request, chat: [{ role: "user", content: hostile }] } }))).includes(`--chat=${hostile}`));
});

test("what is not usual is in the command, once for each adapter", () => {
  const line = command(kept({
    turned: [{ ...turned, c: -1, layers: "8-14", positions: "generated" }, { ...turned, name: "poly", c: 1, task: 2 }], model: { ...kept().model, device: "webgpu" },
    request: { prompt: "Once", maxTokens: 3, sampling: { seed: 0 }, templateVariables: { never: true } },
  }));
  assert.equal(line, "steer generate --model SmolLM2.Q4_1.gguf --adapter tone-lora --adapter poly --coeff -1 --coeff 1 --law linear --law linear --layers 8-14 --layers all "
    + "--positions generated --positions all --task none --task 2 --prompt=Once --max-tokens 3 --device gpu");
  const asked = { ...kept().request, templateVariables: { enable_thinking: false, date: "1 May" } };
  assert.deepEqual(argv(command(kept({ request: asked }))).filter((word) => word.startsWith("--var")), ["--var=enable_thinking=false", "--var=date=1 May"]);
  // Turns are told one after the other.
  const chat = ["user", "assistant", "user"].map((role, at) => ({ role, content: String(at) }));
  assert.match(command(kept({ request: { ...asked, chat } })), /--chat=0 --chat=1 --chat=2/);
});

test("the options are those of the program", () => {
  const sources = ["generate", "args"].map((name) => readFileSync(new URL(`../../src/bin/steer/${name}.rs`, import.meta.url), "utf8")).join("\n");
  const full = command(kept({
    turned: [{ ...turned, layers: "1", modules: "v_proj", positions: "prompt", task: 1 }, { ...turned, c: 2, experts: [0.5, 0.5] }],
    request: { ...kept().request, templateVariables: { a: true }, sampling: { temperature: 1, topK: 2, topP: 0.5, minP: 0.1, repetitionPenalty: 2, seed: 3 } },
  }));
  const options = new Set(argv(full).flatMap((word) => /^--([\w-]+)/.exec(word)?.[1] ?? []));
  assert.ok(options.size > 18, `${options.size}`);
  for (const option of options) {
    assert.ok(new RegExp(`long = "${option}"|pub\\(crate\\) ${option.replaceAll("-", "_")}:|^    ${option.replaceAll("-", "_")}:`, "m").test(sources), option);
  }
});

test("a manifest has every hash, the law, the seed, the version and the device", () => {
  const { version, made, model, adapters, sampling, cache_policy, command: line } = manifest(kept());
  assert.deepEqual([version, made, model.sha256, model.device, sampling?.seed, cache_policy], ["0.1.0", "2026-11-30T09:30:00.000Z", "cd".repeat(32), "cpu", 9, "keep"]);
  assert.deepEqual(adapters, [{
    name: "tone-lora", title: "Cheerful", method: "lora", sha256: "ab".repeat(32), coefficient: 0.5, law: "linear", layers: "all", modules: "all", positions: "all",
  }]);
  assert.equal(line, command(kept()));
  assert.equal("moves" in manifest(kept()), false);
  assert.equal("given_tokens" in manifest(kept()), false);
});

test("a manifest says when a slider was moved, and which tokens were given", () => {
  const at = (/** @type {number} */ c) => [{ key: "a", title: "A", c }];
  const tokens = [token(0, [1, "a"], [1, "a"], { given: "instead", doses: [] }), token(1, [2, "b"], [2, "b"], { doses: at(1) }), token(2, [2, "b"], [3, "c"], { doses: at(1) }), token(3, [2, "b"], [3, "c"], { doses: at(-1), cache: "kept" })];
  assert.deepEqual(moves(kept({ tokens })).map(({ token: n, cache }) => [n, cache]), [[2, "current"], [4, "kept"]]);
  assert.deepEqual(manifest(kept({ tokens })).given_tokens, [1]);
  assert.equal(manifest(kept({ tokens })).moves?.length, 2);
});

test("as JSON nothing is lost", () => {
  const read = JSON.parse(asJson({ kind: "fan", runs: [kept(), kept({ split: null })], titles: ["c = 1", ""] }));
  assert.deepEqual([read.format, read.version, read.kind, read.texts.length, read.texts[0].title, "title" in read.texts[1]], ["steering-runs", 1, "fan", 2, "c = 1", false]);
  assert.deepEqual(read.texts[0].result, { base: "It was fine", steered: "It is", parts_at_token: 2, kl_mean_nats: 0.5, tokens: 2, given_tokens: 0 });
  assert.deepEqual(read.texts[0].tokens[0].top, kept().tokens[0].top);
  assert.deepEqual(read.texts[0].manifest, JSON.parse(JSON.stringify(manifest(kept()))));
  assert.deepEqual(JSON.parse(asJson({ kind: "batch", runs: [kept()], word: "is" })).counts, { prompts: 1, differ: 1, kl_mean_nats: 0.5, word: "is", with_word: { base: 0, steered: 1 } });
});

test("as CSV a row is a text, whatever stands in it", () => {
  const nasty = "=1+2\r\n\"quoted\", and\nmore";
  const rows = csv(asCsv({ kind: "history", runs: [kept(), kept({ request: { ...kept().request, chat: [{ role: "user", content: nasty }] } })], word: "is" }));
  assert.deepEqual(rows.map((row) => row.length), [rows[0].length, rows[0].length, rows[0].length]);
  const of = (/** @type {string} */ name) => rows.slice(1).map((row) => row[rows[0].indexOf(name)]);
  assert.deepEqual(of("prompt"), ["How's it?", `'${nasty}`]);
  assert.deepEqual([of("c")[0], of("steered")[0], of("kl_mean_nats")[0], of("steered_has_word")[0], of("base_has_word")[0]], ["0.5", "It is", "0.5", "1", "0"]);
  assert.deepEqual(JSON.parse(of("manifest")[0]), JSON.parse(JSON.stringify(manifest(kept()))));
});

test("a cell is never a formula, and a number stays one", () => {
  for (const text of ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "＝1"]) assert.equal(csv(`${cell(text)},\r\n`)[0][0], `'${text}`, JSON.stringify(text));
  assert.deepEqual([cell(-0.5), cell(1e-7), cell(""), cell(null), cell("a=1"), cell("−1")], ["-0.5", "1e-7", "", "", "a=1", "−1"]);
});

test("Markdown shows what was written as it is, and its fences hold", () => {
  const wild = "# <script> *a* [b](c) `d` | ```\n- e";
  const text = asMarkdown({ kind: "run", runs: [kept({ tokens: [token(0, [1, wild], [1, wild])], split: null, request: { ...kept().request, chat: [{ role: "user", content: wild }] } })] });
  assert.doesNotMatch(text.replace(/^(`{3,})\w*\n[^]*?\n\1$/gm, ""), /(?<!\\)<script/);
  assert.match(text, /^> \\# \\<script\\> \\\*a\\\* \\\[b\\\]\(c\) \\`d\\` \\\| \\`\\`\\`\n> \\- e$/m);
  const fences = [...text.matchAll(/^(`{3,})(\w*)$/gm)].map(([, marks, language]) => [marks.length, language]);
  assert.deepEqual(fences, [[4, "sh"], [4, ""], [4, "json"], [4, ""]]);
  assert.match(asMarkdown({ kind: "run", runs: [kept()] }), /> It⟦ is⟧/);
  const given = kept({ split: null, tokens: [token(0, [1, "It"], [1, "It"], { given: "text" }), token(1, [2, " is"], [2, " is"])] });
  assert.match(asMarkdown({ kind: "run", runs: [given] }), /> \[It\] is/);
  assert.match(asMarkdown({ kind: "batch", runs: [kept()], word: "is" }), /“is” stands in 0 of 1 base texts and in 1 of 1 steered ones/);
  assert.deepEqual(countWords([], "is"), []);
});

test("a file's name is short and plain", () => {
  assert.equal(fileName({ kind: "run", runs: [kept()] }), "run-cheerful-+0.50-how-s-it");
  assert.equal(fileName({ kind: "fan", runs: [] }), "fan");
  assert.ok(fileName({ kind: "run", runs: [kept({ request: { ...kept().request, chat: [{ role: "user", content: "../../x/".repeat(30) }] } })] }).length <= 60);
  assert.doesNotMatch(fileName({ kind: "run", runs: [kept({ request: { ...kept().request, chat: [{ role: "user", content: "../../x/" }] } })] }), /[/\\]/);
});

test("Python scales a LoRA, exports what has c in its numbers, and says what PEFT cannot do", () => {
  const lora = python([kept()]);
  assert.match(lora, /model = PeftModel\.from_pretrained\(model, "tone-lora"\) {2}# SHA-256 (ab)+\nmodel = scaled\(model, 0\.5\)\n/);
  assert.match(lora, /apply_chat_template\(\[\{"role": "system", "content": "Be brief\."\}, \{"role": "user", "content": "How's it\?"\}\], add_generation_prompt=True/);
  assert.match(lora, /write\(model, asked, seed=9, max_new_tokens=12, do_sample=True, temperature=0\.4, top_k=0, top_p=0\.9, repetition_penalty=1\.1, stop_strings=\["\\n\\n"\], tokenizer=tokenizer\)/);
  assert.match(python([one({ layers: "5-20", modules: "v_proj,o_proj" })]), /scaled\(model, 0\.5, lambda name: 5 <= block\(name\) <= 20 and name\.split\("\."\)\[-1\] in \["v_proj", "o_proj"\]\)/);
  assert.match(python([one({ layers: "5-20:v_proj;3:q_proj,k_proj;25" })]),
    /lambda name: 5 <= block\(name\) <= 20 and name\.split\("\."\)\[-1\] in \["v_proj"\] or 3 <= block\(name\) <= 3 and name\.split\("\."\)\[-1\] in \["q_proj", "k_proj"\] or 25 <= block\(name\) <= 25\)/);
  const ia3 = python([one({ method: "ia3", name: "register-ia3", c: -1 })]);
  assert.match(ia3, /# steer export --model SmolLM2\.Q4_1\.gguf --adapter register-ia3 --coeff -1 --to register-ia3-at--1 {2}# SHA-256 (?:ab)+\nmodel = PeftModel\.from_pretrained\(model, "register-ia3-at--1"\)/);
  assert.doesNotMatch(ia3, /def scaled|LoraLayer/);
  const dora = python([one({ method: "dora" })]);
  assert.match(dora, /# Cheerful: PEFT cannot do c = \+0\.50\./);
  assert.match(dora, /# steer generate .*--coeff 0\.5/);
  assert.doesNotMatch(dora, /PeftModel\.from_pretrained/);
  assert.match(python([one({ method: "dora", c: 1 })]), /PeftModel\.from_pretrained\(model, "tone-lora"\)/);
  assert.match(python([kept({ turned: [] })]), /^model = base\(\)\nasked/m);
  assert.doesNotMatch(python([kept({ turned: [] })]), /peft import/);
  for (const [more, why] of /** @type {[any, RegExp][]} */ ([
    [{ method: "control_vector" }, /PEFT has no control_vector/], [{ method: undefined }, /not known/], [{ law: "power", usualLaw: false }, /no other law/],
    [{ positions: "prompt" }, /all tokens/], [{ experts: [1] }, /no weights/], [{ method: "ia3", layers: "3" }, /wherever the file has numbers/],
  ])) assert.match(cannot({ ...turned, ...more }), why);
});

test("nothing that a text says becomes Python", () => {
  const wild = "\"\"\"\nimport os; os.system('x')\r# \\ \u2028 {0}";
  const script = python([kept({ request: { ...kept().request, chat: [{ role: "user", content: wild }], templateVariables: { a: true, b: null } }, turned: [{ ...turned, title: wild, method: "ether", name: wild }] }),
    kept({ request: { ...kept().request, chat: undefined, prompt: wild } })]);
  for (const line of script.split(/[\n\r]/)) assert.doesNotMatch(line, /^\s*(?:import os|""")/);
  // Where there is a Python, it reads the script.
  try {
    execFileSync("python3", ["-c", "import sys, ast; ast.parse(sys.stdin.read())"], { input: script, stdio: ["pipe", "pipe", "pipe"] });
  } catch (error) {
    if (/** @type {any} */ (error).code !== "ENOENT") throw error;
  }
});

test("which methods PEFT has, and at which c, is what docs/written.md measured", () => {
  const table = readFileSync(new URL("../../docs/written.md", import.meta.url), "utf8");
  /** @type {Record<string, string[]>} */
  const names = { DoRA: ["dora"], "PiSSA, OLoRA": ["pissa"], "`BONE`": [], "llama.cpp's LoRA": [], "mlx-lm's LoRA and DoRA": [] };
  /** @type {Record<string, string[]>} */
  const found = { folded: [], whole: [] };
  for (const [, type, half] of table.matchAll(/^\| ([^|]+) \| \d+ \| [^|]+ \| ([^|]+) \|$/gm)) {
    found[half.startsWith("refused") ? "whole" : "folded"].push(...names[type] ?? [type.replaceAll("`", "").toLowerCase()]);
  }
  assert.deepEqual([found.folded.sort(), found.whole.sort()], [[...FOLDED].sort(), [...WHOLE].sort()]);
});
