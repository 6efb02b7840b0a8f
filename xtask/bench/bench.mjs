// Runs this project, wllama and transformers.js in one browser, in turns, and compares them.
// Prefill is 128 tokens over the time to the first token; decode is the tokens after it over
// their time.
import { existsSync, readdirSync } from "node:fs";
import { basename, dirname, join } from "node:path";

import { SOFTWARE_TOKENS, decode, distrust, entry, keep, launch, measure, need, prefill, prompt, say, warmUp } from "./common.mjs";
import { summary } from "./compare.mjs";

const US = "playground";
const CPU_TOKENS = 32;
const MODULE = entry("pkg", need("BENCH_PKG"));

/** The exports for transformers.js, one for each precision and graph that is there. */
const onnx = need("BENCH_ONNX");
const NO_ONNX = `needs an ONNX export of the model (config.json, tokenizer.json, onnx/model_q4.onnx) in ${onnx}`;
const DTYPES = { fp32: "model.onnx", q8: "model_quantized.onnx", q4: "model_q4.onnx" };
const folders = existsSync(dirname(onnx)) ? readdirSync(dirname(onnx)).filter((name) => name.startsWith(basename(onnx))).sort() : [];
const exports = folders.flatMap((folder) => Object.entries(DTYPES)
  .filter(([, file]) => existsSync(join(dirname(onnx), folder, "onnx", file)))
  .map(([dtype]) => ({ name: `transformers.js ${dtype}${folder.slice(basename(onnx).length)}`, engine: "transformers.js", onnx: folder, dtype })));
const CPU_Q8 = "onnxruntime-web has no WebGPU kernel for dynamic int8 products: it reads them back (over 100 times a token) and computes on the CPU";
/** What is compared, best known settings of each. */
const contenders = [{ name: US, engine: US }, { name: "wllama", engine: "wllama" },
  ...(exports.length ? exports : [{ name: "transformers.js", engine: "transformers.js", skipped: NO_ONNX }])];

/** What a row says, of its runs. */
function summarise(row) {
  const { name, device, skipped, runs } = row;
  const about = { name, device, ...(row.gpu && { gpu: row.gpu.name, software: row.gpu.software }), threads: 1 };
  if (skipped) return { ...about, skipped };
  const spoke = runs.every(({ times }) => times.length > 1);
  const problem = runs.map(distrust).find(Boolean) ?? null;
  return {
    ...about,
    repetitions: runs.length,
    load_ms: summary(runs.map(({ loadMs }) => loadMs)),
    prefill128_tok_s: spoke ? summary(runs.map(prefill)) : null,
    decode_tok_s: spoke ? summary(runs.map(decode)) : null,
    decode_tokens: row.maxTokens,
    ...(device === "webgpu" && { per_token: runs.at(-1).asked }),
    bytes_transferred: Math.max(...runs.map(({ bytes }) => bytes)),
    peak_memory_bytes: runs[0].memory === null ? null : Math.max(...runs.map(({ memory }) => memory.heap + memory.gpu)),
    first_text: runs[0].texts.slice(0, 8).join(""),
    not_counted: problem,
  };
}

/** Our median over the best peer's, or `null` where one of the two has none. */
function ratio(rows, device, speed) {
  const of = (ours) => rows.filter((row) => row.device === device && (row.name === US) === ours && row[speed] && !row.not_counted).map((row) => row[speed].median);
  const [us, peers] = [of(true), of(false)];
  return us.length && peers.length ? us[0] / Math.max(...peers) : null;
}

function table(rows) {
  const spread = (value, digits) => (value ? `${value.median.toFixed(digits)} (${value.min.toFixed(digits)}–${value.max.toFixed(digits)})` : "–");
  const seconds = ({ min, median, max }) => ({ min: min / 1000, median: median / 1000, max: max / 1000 });
  const mega = (bytes) => (bytes === null ? "not told" : `${(bytes / 1e6).toFixed(0)}`);
  const lines = [["engine", "device", "load s", "prefill tok/s", "decode tok/s", "MB loaded", "MB memory", "launches, passes, submits, reads, ms to encode per token", "says"]];
  for (const row of rows) {
    const head = [row.name, row.software ? `${row.device} (software)` : row.device];
    if (row.skipped) lines.push([...head, `skipped: ${row.skipped}`]);
    else lines.push([...head, spread(seconds(row.load_ms), 1), spread(row.prefill128_tok_s, 2), spread(row.decode_tok_s, 2),
      mega(row.bytes_transferred), mega(row.peak_memory_bytes), row.per_token ? Object.values(row.per_token).map((n) => n.toFixed(1)).join(" ") : "–",
      JSON.stringify(row.first_text) + (row.not_counted ? ` – not counted: ${row.not_counted}` : "")]);
  }
  const full = lines.filter((line) => line.length > 3);
  const widths = lines[0].map((_, at) => Math.max(...(at < 2 ? lines : full).map((line) => line[at].length)));
  return lines.map((line) => line.map((cell, at) => (at < line.length - 1 ? cell.padEnd(widths[at]) : cell)).join("  ")).join("\n");
}

const { browser, gpu } = await launch();
const rows = ["cpu", "webgpu"].filter((device) => (process.env.BENCH_DEVICE ?? device) === device).flatMap((device) =>
  contenders.map((contender) => ({
    ...contender, device, runs: [],
    gpu: device === "webgpu" ? gpu : null,
    maxTokens: device === "webgpu" && gpu?.software ? SOFTWARE_TOKENS : CPU_TOKENS,
    skipped: contender.skipped || (device === "webgpu" && contender.dtype === "q8" && CPU_Q8) || (device === "webgpu" && !gpu && "this browser has no WebGPU adapter") || null,
  })));

const repeat = Number(need("BENCH_REPEAT"));
try {
  for (let turn = 1; turn <= repeat; turn++) {
    for (const row of rows.filter(({ skipped }) => !skipped)) {
      const run = await measure(browser, {
        engine: row.engine, device: row.device, model: `models/${need("BENCH_MODEL")}`, onnx: row.onnx, dtype: row.dtype,
        module: MODULE, warmUp, prompt, maxTokens: row.maxTokens,
      });
      say("measured", `${row.name} on ${row.device}, ${turn} of ${repeat}${run.error ? `: ${run.error}` : ""}`);
      if (run.error) row.skipped = run.error;
      else row.runs.push(run);
    }
  }
} finally {
  await browser.close();
}

const result = rows.map(summarise);
const ratios = {
  cpu_decode: ratio(result, "cpu", "decode_tok_s"),
  cpu_prefill: ratio(result, "cpu", "prefill128_tok_s"),
  webgpu_decode: ratio(result, "webgpu", "decode_tok_s"),
  webgpu_prefill: ratio(result, "webgpu", "prefill128_tok_s"),
};
console.log(`medians (least–most) of ${repeat} repetitions in turns; one thread; prompt of ${prompt.ids.length} tokens\n`);
console.log(table(result));
console.log("\nours / best peer");
for (const [name, value] of Object.entries(ratios)) console.log(`  ${name.padEnd(15)} ${value === null ? "none: a side did not run or its text does not count" : value.toFixed(2)}`);
console.log("\nllama.cpp has no SIMD kernel for Q4_1 in WebAssembly: with other quantisations wllama may compare better");
keep({ runs: result, ratios });
