// Runs this project, wllama and transformers.js in one browser, and llama.cpp beside it, in turns, and compares them.
// Prefill is the prompt's tokens over the time to the first token; decode is the tokens after it over their time.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { MODEL, SOFTWARE_TOKENS, agreement, decode, distrust, entry, inWorker, keep, launch, need, prefill, say, subject, table } from "./common.mjs";
import { summary } from "./compare.mjs";
import { lora, vector } from "./gguf.mjs";
import { texts } from "./texts.mjs";

const US = "playground";
const NATIVE = "llama.cpp, native";
const CPU_TOKENS = 32;
/** Of the LoRA that steering is timed with. */
const RANK = 8;
const MODULE = entry("pkg", need("BENCH_PKG"));

/** The exports for transformers.js, one for each precision and graph that is there. */
const onnx = need("BENCH_ONNX");
const NO_ONNX = `it reads no GGUF: needs an ONNX export of the model (config.json, tokenizer.json, onnx/model_q4.onnx) in ${onnx}`;
const DTYPES = { fp32: "model.onnx", q8: "model_quantized.onnx", q4: "model_q4.onnx" };
const folders = existsSync(dirname(onnx)) ? readdirSync(dirname(onnx)).filter((name) => name.startsWith(basename(onnx))).sort() : [];
const exports = folders.flatMap((folder) => Object.entries(DTYPES)
  .filter(([, file]) => existsSync(join(dirname(onnx), folder, "onnx", file)))
  .map(([dtype]) => ({ name: `transformers.js ${dtype}${folder.slice(basename(onnx).length)}`, engine: "transformers.js", onnx: folder, dtype })));
const CPU_Q8 = "onnxruntime-web has no WebGPU kernel for dynamic int8 products: it reads them back (over 100 times a token) and computes on the CPU";
const library = process.env.BENCH_NATIVE;
/** What is compared, best known settings of each. */
const contenders = [{ name: US, engine: US }, { name: "wllama", engine: "wllama" },
  ...(exports.length ? exports : [{ name: "transformers.js", engine: "transformers.js", skipped: NO_ONNX }]),
  { name: NATIVE, engine: NATIVE, only: "cpu", skipped: library ? null : need("BENCH_NO_NATIVE") }];

/** A job of native llama.cpp. */
const natively = (task) => new Promise((resolve) => {
  const child = spawn(process.execPath, [fileURLToPath(new URL("native.mjs", import.meta.url))], { stdio: ["pipe", "pipe", "ignore"] });
  let answer = "";
  child.stdout.on("data", (piece) => (answer += piece));
  child.on("close", (code, signal) => {
    try {
      resolve(JSON.parse(answer));
    } catch {
      resolve({ error: `node-llama-cpp ended with ${signal ?? code}` });
    }
  });
  child.stdin.end(JSON.stringify({ ...task, library, model: need("BENCH_MODEL_PATH") }));
});

const { flags, gpu } = await launch();
const asked = await subject(flags, MODULE);
const { prompt, warmUp } = asked;
const family = asked.header.metadata["general.architecture"];
const blocks = asked.header.metadata[`${family}.block_count`];

const rows = ["cpu", "webgpu"].filter((device) => (process.env.BENCH_DEVICE ?? device) === device).flatMap((device) =>
  contenders.filter(({ only = device }) => only === device).map((contender) => ({
    ...contender, device, runs: [],
    gpu: device === "webgpu" ? gpu : null,
    maxTokens: device === "webgpu" && gpu?.software ? SOFTWARE_TOKENS : CPU_TOKENS,
    skipped: contender.skipped || (device === "webgpu" && contender.dtype === "q8" && CPU_Q8) || (device === "webgpu" && !gpu && "this browser has no WebGPU adapter") || null,
  })));

/** Runs a job of the row's engine. */
const work = ({ engine, device, onnx, dtype, maxTokens }, task) => (engine === NATIVE
  ? natively({ warmUp, prompt, maxTokens, ...task, adapters: { lora: join(need("BENCH_MADE"), "lora.gguf") } })
  : inWorker(flags, { engine, device, model: MODEL, module: MODULE, onnx, dtype, warmUp, prompt, maxTokens, ...task }));

/** What a row says, of its runs. */
function summarise(row) {
  const { name, device, skipped, runs } = row;
  const about = { name, device, ...(row.gpu && { gpu: row.gpu.name, software: row.gpu.software }), threads: 1 };
  if (skipped) return { ...about, skipped };
  const spoke = runs.every(({ times }) => times.length > 1);
  const problem = runs.map((run) => distrust(run, asked)).find(Boolean) ?? null;
  return {
    ...about,
    repetitions: runs.length,
    load_ms: summary(runs.map(({ loadMs }) => loadMs)),
    prefill_tok_s: spoke ? summary(runs.map(prefill)) : null,
    decode_tok_s: spoke ? summary(runs.map(decode)) : null,
    decode_tokens: runs[0].tokens.at(-1) ?? 0,
    ...(device === "webgpu" && { per_token: runs.at(-1).asked, launches_per_block: runs.at(-1).asked.launches / blocks }),
    bytes_transferred: name === NATIVE ? null : Math.max(...runs.map(({ bytes }) => bytes)),
    peak_memory_bytes: runs[0].memory === null ? null : Math.max(...runs.map(({ memory }) => memory.heap + memory.gpu)),
    first_text: runs[0].texts.join("").slice(0, 40),
    as_reference: agreement(runs[0], asked),
    not_counted: problem,
  };
}

const median = (rows, device, name, speed) => rows.find((row) => row.device === device && row.name === name && row[speed] && !row.not_counted)?.[speed].median ?? null;

/** Our median over the best browser engine's, or `null` where one of the two has none; `best` of speeds is the largest. */
function ratio(rows, device, speed, best = Math.max) {
  const us = median(rows, device, US, speed);
  const peers = rows.map(({ name }) => name).filter((name) => name !== US && name !== NATIVE).map((name) => median(rows, device, name, speed)).filter(Boolean);
  return us && peers.length ? us / best(...peers) : null;
}

/** Our median over native llama.cpp's. */
function toNative(rows, speed) {
  const [us, native] = [US, NATIVE].map((name) => median(rows, "cpu", name, speed));
  return us && native ? us / native : null;
}

const spread = (value, digits) => (value ? `${value.median.toFixed(digits)} (${value.min.toFixed(digits)}–${value.max.toFixed(digits)})` : "–");
const seconds = ({ min, median, max }) => ({ min: min / 1000, median: median / 1000, max: max / 1000 });

function speeds(rows) {
  const mega = (bytes) => (bytes === null ? "–" : `${(bytes / 1e6).toFixed(0)}`);
  const lines = [["engine", "device", "load s", "prefill tok/s", "decode tok/s", "MB loaded", "MB memory", "× file", "launches, passes, submits, reads, ms to encode per token", "says"]];
  for (const row of rows) {
    const head = [row.name, row.software ? `${row.device} (software)` : row.device];
    if (row.skipped) lines.push([...head, `skipped: ${row.skipped}`]);
    else {
      const { same, of } = row.as_reference ?? {};
      lines.push([...head, spread(seconds(row.load_ms), 1), spread(row.prefill_tok_s, 2), spread(row.decode_tok_s, 2),
        mega(row.bytes_transferred), mega(row.peak_memory_bytes), row.peak_memory_bytes === null ? "–" : (row.peak_memory_bytes / asked.file_bytes).toFixed(1),
        row.per_token ? Object.values(row.per_token).map((n) => n.toFixed(1)).join(" ") : "–",
        JSON.stringify(row.first_text) + (row.as_reference ? `, ${same === of ? `all ${of}` : `the first ${same} of ${of}`} characters as in f32` : "") + (row.not_counted ? ` – not counted: ${row.not_counted}` : "")]);
    }
  }
  return table(lines);
}

/** Each way's time over the base's in the same round. */
const over = ({ found }) => Object.fromEntries(Object.entries(found).filter(([way, times]) => way !== "base" && times.length)
  .map(([way, times]) => [way, summary(times.map((time, round) => time / found.base[round]))]));

const WAYS = { LoRA: "LoRA", "LoRA and base": "LoRA and base in lockstep", vector: "control vector", "vector and base": "vector and base in lockstep", late: "base after 2048 tokens" };

function steering(rows) {
  const lines = [["engine", "device", "base, ms/token", ...Object.values(WAYS)]];
  const left = [];
  for (const { name, device, ms, over, left: refused, skipped } of rows) {
    if (skipped) lines.push([name, device, `skipped: ${skipped}`]);
    else lines.push([name, device, ms.median.toFixed(2), ...Object.keys(WAYS).map((way) => spread(over[way], 2))]);
    for (const [way, why] of Object.entries(refused ?? {})) left.push(`left out: ${name} on ${device}, ${WAYS[way] ?? way}: ${why}`);
  }
  return [table(lines), ...new Set(left)].join("\n");
}

const repeat = Number(need("BENCH_REPEAT"));
const reads = [];
const steered = [];
let making = null;
for (let turn = 1; turn <= repeat; turn++) {
  const { gigabytes_s: read, error } = await inWorker(flags, { job: "memory" });
  if (error) say("memory", error);
  else reads.push(read);
  for (const row of rows.filter(({ skipped }) => !skipped)) {
    const run = await work(row, { job: "speed" });
    say("measured", `${row.name} on ${row.device}, ${turn} of ${repeat}${run.error ? `: ${run.error}` : `: ${decode(run).toFixed(1)} tok/s`}`);
    if (run.error) row.skipped = run.error;
    else row.runs.push(run);
  }
}
if (!process.env.BENCH_ONLY_SPEED) {
  for (const [name, bytes] of [["lora.gguf", lora(asked.header, RANK)], ["vector.gguf", vector(asked.header)]]) writeFileSync(join(need("BENCH_MADE"), name), bytes);
  const adapters = { lora: "made/lora.gguf", vector: "made/vector.gguf" };
  for (const row of rows.filter(({ engine, skipped }) => engine !== "transformers.js" && !skipped)) {
    const without = row.gpu?.software ? ["late"] : [];
    const run = await work(row, { job: "ways", adapters, rounds: repeat, without });
    say("steered", `${row.name} on ${row.device}${run.error ? `: ${run.error}` : ""}`);
    const { name, device } = row;
    steered.push(run.error ? { name, device, skipped: run.error } : { name, device, ms: summary(run.found.base), over: over(run), left: run.left });
  }
  // On a GPU that the processor imitates they would take an hour.
  const device = rows.some((row) => row.device === "cpu") ? "cpu" : gpu?.software ? null : "webgpu";
  if (device) {
    making = { device, ...await inWorker(flags, { job: "making", device, model: MODEL, module: MODULE, texts, steps: repeat }) };
    say("made", `a vector and ${repeat} steps of training${making.error ? `: ${making.error}` : ""}`);
  }
}

const result = rows.map(summarise);
const ratios = {
  cpu_decode: ratio(result, "cpu", "decode_tok_s"),
  cpu_prefill: ratio(result, "cpu", "prefill_tok_s"),
  cpu_load_time: ratio(result, "cpu", "load_ms", Math.min),
  webgpu_decode: ratio(result, "webgpu", "decode_tok_s"),
  webgpu_prefill: ratio(result, "webgpu", "prefill_tok_s"),
  native_decode: toNative(result, "decode_tok_s"),
  native_prefill: toNative(result, "prefill_tok_s"),
};
console.log(`${basename(need("BENCH_MODEL_PATH"))}: ${(asked.file_bytes / 1e6).toFixed(1)} MB, ${(asked.parameters / 1e6).toFixed(0)} million numbers; ${family}, ${blocks} blocks; asked as ${asked.kind}`);
console.log(`medians (least–most) of ${repeat} repetitions in turns; one thread; prompt of ${prompt.ids.length} tokens, ${gpu?.software ? `${CPU_TOKENS} said, on the software GPU ${SOFTWARE_TOKENS}` : `${CPU_TOKENS} said`}\n`);
console.log(speeds(result));
console.log("\nours / best engine in a browser, and / native llama.cpp");
const measured = (name) => rows.some(({ device }) => name.startsWith(device) || (device === "cpu" && name.startsWith("native")));
for (const [name, value] of Object.entries(ratios).filter(([name]) => measured(name))) console.log(`  ${name.padEnd(15)} ${value === null ? "none: a side did not run or its text does not count" : value.toFixed(2)}`);

for (const { name, launches_per_block } of result.filter(({ launches_per_block }) => launches_per_block)) {
  console.log(`\n${name}: ${launches_per_block.toFixed(1)} launches for each of ${family}'s ${blocks} blocks, with those before and after all blocks`);
}

const memory = reads.length ? summary(reads) : null;
const shares = Object.fromEntries(result.filter(({ device, decode_tok_s }) => device === "cpu" && decode_tok_s)
  .map(({ name, decode_tok_s }) => [name, memory && (decode_tok_s.median * asked.token_bytes) / 1e9 / memory.median]));
if (memory) {
  console.log(`\none core reads ${spread(memory, 1)} GB/s, tested ${reads.length} times in the same run; the file's weights for a token are ${(asked.token_bytes / 1e6).toFixed(1)} MB`);
  for (const [name, share] of Object.entries(shares)) if (!name.startsWith("transformers")) console.log(`  ${name} decodes at ${(100 * share).toFixed(0)} % of that`);
}
if (steered.length) {
  console.log(`\nwhat steering costs: time per token over the base's (the LoRA: rank ${RANK}, every linear layer, random)\n`);
  console.log(steering(steered));
  console.log("wllama and llama.cpp have no base in lockstep; control vectors are in neither's interface, adapters not in transformers.js's");
}
if (making && !making.error) {
  const { extraction, training, device } = making;
  console.log(`\nmaking, ours on ${device} (no other engine here can)`);
  console.log(extraction.left ? `  left out: a vector: ${extraction.left}` : `  a vector from ${texts.positive.length} pairs, pca-diff, the middle blocks: ${extraction.directions_s === null ? "" : `directions ${extraction.directions_s.toFixed(1)} s, `}with its length calibrated ${extraction.whole_s.toFixed(1)} s`);
  console.log(training.left ? `  left out: training: ${training.left}` : `  a step of training, LoRA of rank 4 on v, o and down: ${spread(summary(training.step_s), 2)} s, ${training.parameters} numbers`);
} else if (making) console.log(`\nleft out: making: ${making.error}`);
keep({ family, blocks, runs: result, ratios, memory_gb_s: memory, bytes_per_token: asked.token_bytes, share_of_memory: shares, steering: steered, making });
