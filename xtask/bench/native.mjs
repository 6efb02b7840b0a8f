// One job with native llama.cpp, in a program of its own, as worker.js does it with the others. It is told the task on
// standard input and answers on standard output.
import { readFileSync } from "node:fs";

const { job, library, model, warmUp, prompt, maxTokens, rounds, adapters } = JSON.parse(readFileSync(0));

async function load() {
  const { getLlama } = await import(library);
  // Its log is of no use to a table.
  const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1, progressLogs: false, logger() {} });
  return llama.loadModel({ modelPath: model });
}

const open = (loaded, given = {}) => loaded.createContext({ contextSize: 2048, threads: { ideal: 1, min: 1 }, ...given });

/** Greedily, from an empty cache, and past an end. */
async function generate(sequence, ids, tokens, said) {
  await sequence.clearHistory();
  let left = tokens;
  for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
    said(token);
    if (--left === 0) break;
  }
}

const jobs = {
  async speed() {
    const begin = performance.now();
    const loaded = await load();
    const context = await open(loaded);
    const loadMs = performance.now() - begin;
    const sequence = context.getSequence();
    await generate(sequence, warmUp.ids, 2, () => {});
    const [times, said] = [[], []];
    const start = performance.now();
    await generate(sequence, prompt.ids, maxTokens, (token) => {
      times.push(performance.now());
      said.push(token);
    });
    if (context.currentThreads !== 1) throw new Error(`it took ${context.currentThreads} threads`);
    return { loadMs, start, times, texts: [loaded.detokenize(said, true), ""], tokens: said.map((_, at) => at + 1), promptTokens: prompt.ids.length, memory: null };
  },

  async ways() {
    const loaded = await load();
    const found = { base: [], LoRA: [] };
    const sequences = {};
    const left = {};
    for (const [way, given] of [["base", {}], ["LoRA", { lora: adapters.lora }]]) {
      await open(loaded, given).then((context) => (sequences[way] = context.getSequence()), (error) => (left[way] = String(error?.message ?? error)));
    }
    for (let round = 0; round <= rounds; round++) {
      for (const [way, sequence] of Object.entries(sequences)) {
        const times = [];
        await generate(sequence, round ? prompt.ids : warmUp.ids, round ? maxTokens : 2, () => times.push(performance.now()));
        if (round) found[way].push((times.at(-1) - times[0]) / (times.length - 1));
      }
    }
    return { found, left };
  },
};

const answer = await jobs[job]().catch((error) => ({ error: String(error?.message ?? error).split("\n")[0] }));
process.stdout.write(JSON.stringify(answer), () => process.exit());
