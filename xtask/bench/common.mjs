// What the benchmarks share: the browser, one run of an engine in it, and what runs are like.
// `cargo xtask bench-web` starts them and says in the environment where things are.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

export const say = (step, what) => console.error(`${step.padStart(14)}  ${what}`);
export const need = (name) => process.env[name] ?? (() => { throw new Error(`${name} is not set; run \`cargo xtask bench-web\``); })();
const { chromium } = await import(pathToFileURL(need("PLAYWRIGHT_CORE")).href);

export const SOFTWARE_TOKENS = Number(need("BENCH_SOFTWARE_TOKENS"));
/** A run that takes longer is given up. */
const PATIENCE = 600_000;
/** How many words must be the reference's for a speed to count. */
const WORDS = 3;

const { prompts } = JSON.parse(readFileSync(need("BENCH_REFERENCE")));
const named = (name) => prompts.find((prompt) => prompt.name === name);
const [long, short] = [named("long128"), named("capital")];
export const prompt = { ids: long.prompt_ids, text: long.prompt_text };
export const warmUp = { ids: short.prompt_ids, text: short.prompt_text };

/** The module of the package in `folder`, which is served below `mount`. */
export function entry(mount, folder) {
  const { main, module = main } = JSON.parse(readFileSync(join(folder, "package.json")));
  return `${mount}/${module}`;
}

const firstWords = (text) => text.trim().split(/\s+/).slice(0, WORDS).join(" ");
const expected = firstWords(long.greedy_text);

/** Why the output of a run cannot be trusted, if so. */
export function distrust({ promptTokens, texts }) {
  const text = texts.join("");
  if (promptTokens !== prompt.ids.length) return `read ${promptTokens} prompt tokens instead of ${prompt.ids.length}`;
  if (texts.length < 2) return `said ${texts.length} tokens`;
  if (/[^\P{C}\n]|\ufffd/u.test(text)) return `said unprintable text: ${JSON.stringify(text)}`;
  return firstWords(text) === expected ? null : `begins with "${firstWords(text)}", the reference with "${expected}"`;
}

// Peers need f16, which Chromium hides on NVIDIA's cards under Vulkan.
const ANY_GPU = ["--enable-unsafe-webgpu", "--enable-features=Vulkan", "--enable-dawn-features=vulkan_enable_f16_on_nvidia"];
const SOFTWARE_GPU = [...ANY_GPU, "--use-webgpu-adapter=swiftshader"];

/** The browser, and the GPU it offers: a real one, else an imitated one, else none. */
export async function launch() {
  for (const flags of [ANY_GPU, SOFTWARE_GPU]) {
    const browser = await chromium.launch({
      executablePath: need("CHROMIUM"),
      args: ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update", ...flags],
    });
    const page = await browser.newPage();
    await page.goto(new URL("bench/page.html", need("PLAYGROUND_URL")).href);
    const gpu = await page.evaluate(async () => {
      const info = (await navigator.gpu?.requestAdapter())?.info;
      return info && { name: `${info.vendor} ${info.architecture}`.trim(), software: info.isFallbackAdapter || /swiftshader|llvmpipe/i.test(`${info.architecture} ${info.description}`) };
    });
    if (gpu || flags === SOFTWARE_GPU) {
      await page.close();
      return { browser, gpu };
    }
    await browser.close();
  }
}

/** One run of an engine in a fresh profile, so that nothing is loaded or compiled yet. */
export async function measure(browser, task) {
  const context = await browser.newContext();
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
      const worker = new Worker("./engines.js", { type: "module" });
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
    await context.close();
  }
}

/** Tokens of the prompt by the second, up to the first token said. */
export const prefill = ({ times, start }) => (1000 * prompt.ids.length) / (times[0] - start);
/** Tokens by the second, from the first to the last. */
export const decode = ({ times }) => (1000 * (times.length - 1)) / (times.at(-1) - times[0]);

/** Writes the numbers where the caller wants them besides the table. */
export function keep(numbers) {
  if (!process.env.BENCH_JSON) return;
  writeFileSync(process.env.BENCH_JSON, `${JSON.stringify({ model: need("BENCH_MODEL"), ...numbers }, null, 2)}\n`);
  say("numbers", process.env.BENCH_JSON);
}
