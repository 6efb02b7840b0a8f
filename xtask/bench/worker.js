// A worker that does one job with one engine and answers once: how fast it is, what steering costs, what a prompt is in
// its model's tokens.
import { engines } from "./engines.js";
import { readMemory } from "./memory.js";
import { fit } from "./prompt.js";

/**
 * What the engine asks of WebGPU, counted where it asks: the same for every engine. Encoding is the time from
 * the first pass or launch after a submission to the end of the next one.
 */
const asked = { launches: 0, passes: 0, submits: 0, reads: 0, encode_ms: 0 };
let encodingSince = null;
for (const [type, method, count] of [
  ["GPUComputePassEncoder", "dispatchWorkgroups", "launches"], ["GPUComputePassEncoder", "dispatchWorkgroupsIndirect", "launches"],
  ["GPUCommandEncoder", "beginComputePass", "passes"], ["GPUQueue", "submit", "submits"], ["GPUBuffer", "mapAsync", "reads"],
]) {
  const owner = globalThis[type]?.prototype;
  const real = owner?.[method];
  if (real) owner[method] = function (...given) {
    asked[count] += 1;
    if (count === "launches" || count === "passes") encodingSince ??= performance.now();
    const result = real.apply(this, given);
    if (count === "submits" && encodingSince !== null) {
      asked.encode_ms += performance.now() - encodingSince;
      encodingSince = null;
    }
    return result;
  };
}

const jobs = {
  /** Loading, reading the prompt, and each token's time. */
  async speed({ engine, warmUp, prompt, maxTokens, ...task }) {
    const begin = performance.now();
    const loaded = await engines[engine](task);
    const loadMs = performance.now() - begin;
    // Compilers and caches get warm on another prompt.
    await loaded.generate(warmUp, 2, () => {});
    const [times, texts, tokens, counts] = [[], [], [], []];
    const start = performance.now();
    const promptTokens = await loaded.generate(prompt, maxTokens, (text, said) => {
      times.push(performance.now());
      texts.push(text);
      tokens.push(said);
      counts.push({ ...asked });
    });
    const perToken = ([name]) => [name, (counts.at(-1)[name] - counts[0][name]) / (tokens.at(-1) - tokens[0])];
    return { loadMs, start, times, texts, tokens, promptTokens, asked: Object.fromEntries(Object.entries(asked).map(perToken)), memory: loaded.memory() };
  },

  /** Milliseconds a token in each way of decoding, in turns; or why one is left out. */
  async ways({ engine, warmUp, prompt, maxTokens, rounds, without = [], ...task }) {
    const loaded = await engines[engine](task);
    const found = Object.fromEntries(loaded.ways.filter((way) => !without.includes(way)).map((way) => [way, []]));
    const left = {};
    for (let round = 0; round <= rounds; round++) {
      for (const way of Object.keys(found).filter((way) => !left[way])) {
        let [first, last] = [null, null];
        try {
          // The first round warms up.
          await loaded.generate(round ? prompt : warmUp, round ? maxTokens : 2, (_, said) => {
            last = [performance.now(), said];
            first ??= last;
          }, way);
          if (round) found[way].push((last[0] - first[0]) / (last[1] - first[1]));
        } catch (error) {
          left[way] = String(error?.message ?? error);
        }
      }
    }
    return { found, left };
  },

  /** Seconds for a vector from sixteen pairs, and for each step of training; or why not. */
  async making({ texts, steps, ...task }) {
    const { playground } = await engines.playground(task);
    const told = (error) => ({ left: String(error?.message ?? error) });
    const extract = async () => {
      const begin = performance.now();
      const total = 2 * texts.positive.length;
      let extracted = null;
      await playground.makeVector({ ...texts, method: "pca-diff", onProgress(progress) {
        if (progress.done === total && progress.total === total) extracted ??= performance.now() - begin;
      } });
      return { directions_s: extracted === null ? null : extracted / 1000, whole_s: (performance.now() - begin) / 1000 };
    };
    const train = async () => {
      const training = await playground.train({ method: "lora", behaviour: "tone", rank: 4, modules: "v_proj,o_proj,down_proj", steps: steps + 1, checkEvery: 0 });
      const times = [];
      let begin = performance.now();
      for await (const _ of training) {
        times.push((performance.now() - begin) / 1000);
        begin = performance.now();
      }
      return { step_s: times.slice(1), parameters: training.parameters };
    };
    return { extraction: await extract().catch(told), training: await train().catch(told) };
  },

  /** The prompt in the model's tokens, and what the engine answers in f32 where that is asked for. */
  async subject({ words, warmUpWords, wanted, maxTokens, ...task }) {
    const { info, playground, generate } = await engines.playground({ ...task, device: "cpu" });
    const asked = (text) => (info.hasChatTemplate ? { chat: [{ role: "user", content: text }] } : { text });
    const ids = ({ text, ...request }) => [...playground.promptIds(text === undefined ? request : { prompt: text })];
    const prompts = [words, warmUpWords].map((words) => {
      const request = asked(fit(words, wanted, (text) => ids(asked(text)).length));
      return { ids: ids(request), ...request };
    });
    const [prompt, warmUp] = prompts;
    let answer = null;
    if (task.exact) {
      answer = "";
      await generate(prompt, maxTokens, (text) => (answer += text));
    }
    return { prompt, warmUp, answer, kind: info.hasChatTemplate ? "a chat" : "plain text" };
  },

  memory: async () => ({ gigabytes_s: await readMemory() }),
};

onmessage = async ({ data: { job, ...task } }) => {
  try {
    postMessage(await jobs[job](task));
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};
