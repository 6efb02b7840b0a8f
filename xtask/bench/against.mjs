// Two builds of this engine in one browser, in turns: is the new one faster, slower, or neither?
// The old one runs twice a round, so that its own numbers tell by how much equal builds differ.
import { SHARE, compare } from "./compare.mjs";
import { MODEL, SOFTWARE_TOKENS, decode, distrust, entry, inWorker, keep, launch, need, prefill, say, subject } from "./common.mjs";

const CPU_TOKENS = 96;
const device = need("BENCH_DEVICE");
const repeat = Number(need("BENCH_REPEAT"));
const modules = { old: entry("old", need("BENCH_OLD")), new: entry("pkg", need("BENCH_PKG")) };

/** What is compared, and whether more of it is better. */
const MEASURES = [
  { name: "decode, tok/s", of: decode, more: true },
  { name: "prefill, tok/s", of: prefill, more: true },
  { name: "load, s", of: ({ loadMs }) => loadMs / 1000 },
  { name: "heap of the module, MB", of: ({ memory }) => memory.heap / 1e6 },
  { name: "memory of the GPU, MB", of: ({ memory }) => memory.gpu / 1e6, gpu: true },
  { name: "loaded, MB", of: ({ bytes }) => bytes / 1e6 },
  { name: "launches per token", of: ({ asked }) => asked.launches, gpu: true },
  { name: "passes per token", of: ({ asked }) => asked.passes, gpu: true },
  { name: "submissions per token", of: ({ asked }) => asked.submits, gpu: true },
  { name: "to encode a token, ms", of: ({ asked }) => asked.encode_ms, gpu: true },
];

function table(rows) {
  const lines = [["measure", "old", "new", "new / old", "old / old", "verdict"], ...rows.map((row) => [
    row.measure, row.old.median.toFixed(2), row.new.median.toFixed(2), row.ratio.toFixed(3), `±${row.spread.toFixed(3)}`, row.verdict,
  ])];
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  return lines.map((line) => line.map((cell, at) => (at ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join("  ")).join("\n");
}

const { flags, gpu } = await launch();
const runs = { old: [], new: [] };
if (device === "webgpu" && !gpu) throw new Error("this browser has no WebGPU adapter: compare with --device cpu");
const asked = await subject(flags, modules.new);
const { prompt, warmUp } = asked;
const maxTokens = device === "webgpu" && gpu.software ? SOFTWARE_TOKENS : CPU_TOKENS;
for (let turn = 1; turn <= repeat; turn++) {
  // Each place of a round falls to the new build as often as to the old ones.
  for (const build of [0, 1, 2].map((place) => (place === turn % 3 ? "new" : "old"))) {
    const run = await inWorker(flags, { job: "speed", engine: "playground", device, model: MODEL, module: modules[build], warmUp, prompt, maxTokens });
    const problem = run.error ?? distrust(run, asked);
    if (problem) throw new Error(`the ${build} build ${run.error ? "failed: " : ""}${problem}`);
    say("measured", `${build} on ${device}, ${turn} of ${repeat}: ${decode(run).toFixed(1)} tok/s`);
    runs[build].push(run);
  }
}

const rows = MEASURES.filter((measure) => !measure.gpu || device === "webgpu")
  .map(({ name, of, more = false }) => ({ measure: name, ...compare(runs.old.map(of), runs.new.map(of), more) }));
const texts = new Set([...runs.old, ...runs.new].map((run) => run.texts.join("")));
const where = device === "webgpu" ? `WebGPU${gpu.software ? ", software" : ""} (${gpu.name})` : "the processor, one thread";
console.log(`medians of ${repeat} rounds on ${where}; prompt of ${runs.new[0].promptTokens} tokens, ${runs.new[0].tokens.at(-1)} said\n`);
console.log(table(rows));
console.log(`\nold / old: medians of ${repeat} runs of the old build differ by no more than this in ${100 * SHARE} of 100 deals`);
console.log(texts.size === 1 ? "both say the same text" : `they say ${texts.size} different texts`);
keep({ device, ...(gpu && device === "webgpu" && { gpu: gpu.name, software: gpu.software }), repetitions: repeat, rows, same_text: texts.size === 1 });
