// What the benchmarks share: the browser, one run of an engine in it, and what runs are like.
// `cargo xtask bench-web` starts them and says in the environment where things are.
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import { bytesPerToken, header, parameters } from "./gguf.mjs";

export const say = (step, what) => console.error(`${step.padStart(14)}  ${what}`);
export const need = (name) => process.env[name] ?? (() => { throw new Error(`${name} is not set; run \`cargo xtask bench-web\``); })();
const { chromium } = await import(pathToFileURL(need("PLAYWRIGHT_CORE")).href);

export const SOFTWARE_TOKENS = Number(need("BENCH_SOFTWARE_TOKENS"));
/** The model's address below the server's. */
export const MODEL = need("BENCH_MODEL").split("/").map(encodeURIComponent).join("/");
/** A run that takes longer is given up. */
const PATIENCE = 600_000;
/** How many words must be the reference's for a speed to count. */
const WORDS = 3;
/** Tokens of a prompt that is made for a model. */
const PROMPT = 128;
/** Tokens that a reference is compared over, where one is computed. */
const ANSWER = 32;
/** Models of more numbers have no reference: in f32 they do not fit into a module's memory. */
const EXACT = 450e6;

const { prompts } = JSON.parse(readFileSync(need("BENCH_PROMPTS")));
const named = (name) => prompts.find((prompt) => prompt.name === name);
const [long, short] = [named("long128"), named("capital")];

/** The module of the package in `folder`, which is served below `mount`. */
export function entry(mount, folder) {
  const { main, module = main } = JSON.parse(readFileSync(join(folder, "package.json")));
  return `${mount}/${module}`;
}

/**
 * What is asked, and what is expected: of the usual model what transformers answered, of another the same text in its own
 * tokens, as a chat or plain, and the answer of our own f32 where it has room.
 */
export async function subject(flags, module) {
  const model = header(need("BENCH_MODEL_PATH"));
  const about = { parameters: parameters(model), token_bytes: bytesPerToken(model), file_bytes: statSync(need("BENCH_MODEL_PATH")).size, header: model };
  if (!process.env.BENCH_OTHER_MODEL) {
    const given = ({ prompt_ids: ids, prompt_text: text }) => ({ ids, text });
    return { ...about, prompt: given(long), warmUp: given(short), answer: long.greedy_text, strict: true, kind: "a chat" };
  }
  const words = ({ messages }) => messages.at(-1).content.split(" ");
  const exact = about.parameters <= EXACT;
  say("subject", exact ? "its answer in f32, for comparison" : "it has no room in f32: no answer to compare with");
  const found = await inWorker(flags, {
    job: "subject", model: MODEL, module, exact, words: [...words(long), ...words(long)], warmUpWords: words(short), wanted: PROMPT,
    maxTokens: ANSWER,
  });
  if (found.error) throw new Error(`this engine cannot read the model: ${found.error}`);
  return { ...about, ...found, strict: false };
}

const firstWords = (text) => text.trim().split(/\s+/).slice(0, WORDS).join(" ");

/** Why the output of a run cannot be trusted, if so. */
export function distrust({ promptTokens, texts, tokens }, { prompt, answer, strict }) {
  const text = texts.join("");
  // Chat templates of other models may be rendered a little differently, which matters to no speed.
  if (Math.abs(promptTokens - prompt.ids.length) > (strict ? 0 : prompt.ids.length / 10)) return `read ${promptTokens} prompt tokens instead of ${prompt.ids.length}`;
  if (texts.length < 2) return `said ${tokens.at(-1) ?? 0} tokens`;
  // A model of random numbers may say anything.
  if (!strict) return null;
  if (/[^\P{C}\n]|\ufffd/u.test(text)) return `said unprintable text: ${JSON.stringify(text)}`;
  const [found, expected] = [firstWords(text), firstWords(answer)];
  return found === expected ? null : `begins with "${found}", the reference with "${expected}"`;
}

/** How many characters of a run are the reference's, and of how many; `null` without a reference. */
export function agreement({ texts }, { answer }) {
  if (answer === null) return null;
  const text = texts.join("");
  const length = Math.min(text.length, answer.length);
  const differs = [...Array(length).keys()].find((at) => text[at] !== answer[at]);
  return { same: differs ?? length, of: length };
}

// Peers need f16, which Chromium hides on NVIDIA's cards under Vulkan.
const ANY_GPU = ["--enable-unsafe-webgpu", "--enable-features=Vulkan", "--enable-dawn-features=vulkan_enable_f16_on_nvidia"];
const SOFTWARE_GPU = [...ANY_GPU, "--use-webgpu-adapter=swiftshader"];

/** A browser with a profile of its own, as a visitor has it: files that it keeps lie on the disk, not in memory. */
async function fresh(flags) {
  const folder = await mkdtemp(join(tmpdir(), "bench-web-"));
  const context = await chromium.launchPersistentContext(folder, {
    executablePath: need("CHROMIUM"),
    args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", ...flags],
  });
  return { context, async close() {
    await context.close();
    await rm(folder, { recursive: true, force: true });
  } };
}

/** How to start the browser, and the GPU that it offers then: a real one, else an imitated one, else none. */
export async function launch() {
  for (const flags of [ANY_GPU, SOFTWARE_GPU]) {
    const { context, close } = await fresh(flags);
    const page = await context.newPage();
    await page.goto(new URL("bench/page.html", need("PLAYGROUND_URL")).href);
    const gpu = await page.evaluate(async () => {
      const info = (await navigator.gpu?.requestAdapter())?.info;
      return info && { name: `${info.vendor} ${info.architecture}`.trim(), software: info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${info.architecture} ${info.description}`) };
    });
    await close();
    if (gpu || flags === SOFTWARE_GPU) return { flags, gpu };
  }
}

/** A job of `worker.js` in a fresh profile, so that nothing is loaded or compiled yet. */
export async function inWorker(flags, task) {
  const { context, close } = await fresh(flags);
  let bytes = 0;
  const sizes = [];
  context.on("requestfinished", (request) => {
    const counts = request.url().startsWith("http") && !request.url().includes("/bench/");
    // A request that ends after the run is refused its size.
    if (counts) sizes.push(request.sizes().then(({ responseBodySize }) => (bytes += responseBodySize), () => {}));
  });
  try {
    const page = await context.newPage();
    await page.goto(new URL("bench/page.html", need("PLAYGROUND_URL")).href);
    const run = await page.evaluate(([task, patience]) => new Promise((resolve) => {
      const worker = new Worker("./worker.js", { type: "module" });
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => resolve({ error: `the worker failed: ${message}` });
      setTimeout(() => resolve({ error: `gave up after ${patience / 1000} s` }), patience);
      worker.postMessage(task);
    }), [task, PATIENCE]);
    await Promise.allSettled(sizes);
    return { ...run, bytes };
  } catch (error) {
    // A page that runs out of memory takes its row with it, not the others.
    return { error: error.message.split("\n")[0] };
  } finally {
    await close();
  }
}

/** Tokens of the prompt by the second, up to the first token said. */
export const prefill = ({ times, start, promptTokens }) => (1000 * promptTokens) / (times[0] - start);
/** Tokens by the second, from the first to the last. */
export const decode = ({ times, tokens }) => (1000 * (tokens.at(-1) - tokens[0])) / (times.at(-1) - times[0]);

/** Lines of cells as text, the first line's under each other; the last cell of a line may be longer. */
export function table(lines) {
  const full = lines.filter(({ length }) => length === lines[0].length);
  const widths = lines[0].map((_, at) => Math.max(...(at < 2 ? lines : full).map((line) => line[at].length)));
  return lines.map((line) => line.map((cell, at) => (at < line.length - 1 ? cell.padEnd(widths[at]) : cell)).join("  ")).join("\n");
}

/** Writes the numbers where the caller wants them besides the table. */
export function keep(numbers) {
  if (!process.env.BENCH_JSON) return;
  writeFileSync(process.env.BENCH_JSON, `${JSON.stringify({ model: need("BENCH_MODEL"), ...numbers }, null, 2)}\n`);
  say("numbers", process.env.BENCH_JSON);
}
