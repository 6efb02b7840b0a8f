// How far llama.cpp's logits are from those of expected.json, which q4_k_m.py writes, and whether it says the same.
//
//     node tests/golden/llama_cpp.mjs MODEL.gguf EXPECTED.json node_modules/node-llama-cpp/dist/index.js
//
// llama.cpp rounds activations to 8 bits and keys and values to 16: some hundredths of the largest logit are expected.
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [model, expectation, library] = process.argv.slice(2).map((path) => resolve(path));
const expected = JSON.parse(readFileSync(expectation));
const { getLlama } = await import(pathToFileURL(library).href);
const llama = await getLlama({ gpu: false, build: "never", maxThreads: 1 });
const context = await (await llama.loadModel({ modelPath: model })).createContext({ contextSize: 128 });
const sequence = context.getSequence();

async function after(tokens) {
  const input = tokens.map((token, at) => (at < tokens.length - 1 ? token : [token, { generateNext: { token: true, logits: true, options: { temperature: 0 } } }]));
  return (await sequence.controlledEvaluate(input)).at(-1).next;
}

function compare(what, found, wanted) {
  const largest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const size = largest(wanted);
  const far = largest(wanted.map((logit, id) => logit - found.get(id)));
  console.log(`${what}: ${(far / size).toExponential(1)} of the largest logit, ${size.toFixed(2)}; ${found.size} logits`);
}

let next = await after(expected.tokens);
compare("after the prompt", next.logits, expected.logits_last);
const greedy = [];
for (const id of expected.greedy) {
  greedy.push(next.token);
  next = await after([id]);
}
compare(`after ${greedy.length} more`, next.logits, expected.logits_after_greedy);
console.log(`along the expected tokens its own choice is ${greedy.every((id, at) => id === expected.greedy[at]) ? "the same" : `${greedy}, not ${expected.greedy}`}`);
process.exit();
