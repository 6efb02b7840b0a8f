// Two builds of this engine in one browser, in turns: is the new one faster, slower, or neither?
// The old one runs twice a round, so that its own numbers tell by how much equal builds differ.
import { SOFTWARE_TOKENS, decode, distrust, entry, keep, launch, measure, need, prefill, prompt, say, summary, warmUp } from "./common.mjs";

const CPU_TOKENS = 96;
/** How often the old build's runs are dealt into two hands. */
const DEALS = 2000;
/** The share of deals whose hands differ by less than the spread. */
const SHARE = 0.95;
/** A difference that is never worth a verdict, also where equal builds have none. */
const SLACK = 0.005;

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

const median = (values) => summary(values).median;

/** Numbers from 0 to 1, the same in every run of this script. */
function* numbers(seed = 1) {
  for (let state = seed; ; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    yield state / 2 ** 32;
  }
}

/**
 * By how much medians of equal builds differ: the runs of one build are dealt into two hands, again and again;
 * in 95 of 100 deals the hands' medians differ by no more than this part of themselves.
 */
function spread(values) {
  const random = numbers();
  const differences = Array.from({ length: DEALS }, () => {
    const cards = [...values];
    for (let at = cards.length - 1; at > 0; at--) {
      const other = Math.floor(random.next().value * (at + 1));
      [cards[at], cards[other]] = [cards[other], cards[at]];
    }
    const half = cards.length >> 1;
    const [one, two] = [median(cards.slice(0, half)), median(cards.slice(half))];
    return one === two ? 0 : Math.abs(one / two - 1);
  });
  return differences.sort((a, b) => a - b)[Math.ceil(SHARE * DEALS) - 1];
}

function compare({ name, of, more = false }, runs) {
  const [old, now] = [runs.old.map(of), runs.new.map(of)];
  const ratio = median(old) === median(now) ? 1 : median(now) / median(old);
  const noise = Math.max(spread(old), SLACK);
  const verdict = Math.abs(ratio - 1) <= noise ? "within" : ratio > 1 === more ? "better" : "worse";
  return { measure: name, old: summary(old), new: summary(now), ratio, spread: noise, verdict };
}

function table(rows) {
  const lines = [["measure", "old", "new", "new / old", "old / old", "verdict"], ...rows.map((row) => [
    row.measure, row.old.median.toFixed(2), row.new.median.toFixed(2), row.ratio.toFixed(3), `±${row.spread.toFixed(3)}`, row.verdict,
  ])];
  const widths = lines[0].map((_, at) => Math.max(...lines.map((line) => line[at].length)));
  return lines.map((line) => line.map((cell, at) => (at ? cell.padStart(widths[at]) : cell.padEnd(widths[at]))).join("  ")).join("\n");
}

const { browser, gpu } = await launch();
const runs = { old: [], new: [] };
try {
  if (device === "webgpu" && !gpu) throw new Error("this browser has no WebGPU adapter: compare with --device cpu");
  const maxTokens = device === "webgpu" && gpu.software ? SOFTWARE_TOKENS : CPU_TOKENS;
  for (let turn = 1; turn <= repeat; turn++) {
    // Each place of a round falls to the new build as often as to the old ones.
    for (const build of [0, 1, 2].map((place) => (place === turn % 3 ? "new" : "old"))) {
      const run = await measure(browser, {
        engine: "playground", device, model: `models/${need("BENCH_MODEL")}`, module: modules[build], warmUp, prompt, maxTokens,
      });
      const problem = run.error ?? distrust(run);
      if (problem) throw new Error(`the ${build} build ${run.error ? "failed: " : ""}${problem}`);
      say("measured", `${build} on ${device}, ${turn} of ${repeat}: ${decode(run).toFixed(1)} tok/s`);
      runs[build].push(run);
    }
  }
} finally {
  await browser.close();
}

const rows = MEASURES.filter((measure) => !measure.gpu || device === "webgpu").map((measure) => compare(measure, runs));
const texts = new Set([...runs.old, ...runs.new].map((run) => run.texts.join("")));
const where = device === "webgpu" ? `WebGPU${gpu.software ? ", software" : ""} (${gpu.name})` : "the processor, one thread";
console.log(`medians of ${repeat} rounds on ${where}; prompt of ${prompt.ids.length} tokens, ${runs.new[0].times.length} said\n`);
console.log(table(rows));
console.log(`\nold / old: medians of ${repeat} runs of the old build differ by no more than this in ${100 * SHARE} of 100 deals`);
console.log(texts.size === 1 ? "both say the same text" : `they say ${texts.size} different texts`);
keep({ device, ...(gpu && device === "webgpu" && { gpu: gpu.name, software: gpu.software }), repetitions: repeat, rows, same_text: texts.size === 1 });
