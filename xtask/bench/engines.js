// A worker that loads one engine and the model, and reports when each token came.
// Every engine is used as its own documentation shows, on one thread, greedily.
const at = (path) => new URL(`../${path}`, import.meta.url).href;

/** @typedef {{ids: number[], text: string}} Prompt */

/** Loaders by name: what answers prompts, and the peak of its memory where the engine tells it. */
const engines = {
  async playground({ device, model, module }) {
    const { default: init, Playground } = await import(at(module));
    await init();
    const playground = await Playground.create({ device, allowSoftwareGpu: true });
    playground.lost.then(({ message }) => postMessage({ error: message }));
    await playground.loadModel(at(model));
    return {
      async generate({ ids }, maxTokens, said) {
        // One more than is timed, as on a GPU it runs one token ahead of what is said.
        let left = maxTokens;
        for await (const step of playground.generate({ ids, maxTokens: maxTokens + 1 })) {
          if (step.kind !== "token") continue;
          said(step.steered.text);
          if (--left === 0) break;
        }
        return ids.length;
      },
      memory() {
        const { wasmHeapPeakBytes, gpuPeakBytes } = playground.memory();
        return { heap: wasmHeapPeakBytes, gpu: gpuPeakBytes };
      },
    };
  },

  async wllama({ device, model }) {
    const { Wllama } = await import(at("wllama/index.js"));
    // The log tells where the weights are: wllama goes on without a GPU in silence.
    const log = [];
    const keep = (...words) => log.push(words.join(" "));
    const wllama = new Wllama(
      { default: at("wllama/wasm/wllama.wasm") },
      { logger: { debug: keep, log: keep, warn: keep, error: keep } },
    );
    const layers = device === "cpu" ? { n_gpu_layers: 0 } : {};
    await wllama.loadModelFromUrl(at(model), { n_threads: 1, ...layers });
    if (device === "webgpu" && !log.some((line) => /^load_tensors: +(?!CPU)\S+ model buffer size/.test(line))) {
      const adapter = await navigator.gpu.requestAdapter();
      const lacks = adapter.features.has("shader-f16") ? "" : ": the adapter lacks shader-f16, which it needs";
      throw new Error(`wllama computes on the CPU instead${lacks}`);
    }
    return {
      async generate({ text }, maxTokens, said) {
        let timings;
        await wllama.createCompletion({
          prompt: text, max_tokens: maxTokens, temperature: 0, cache_prompt: false, stream: true,
          onData(chunk) {
            timings = chunk.timings ?? timings;
            if (chunk.choices[0].text) said(chunk.choices[0].text);
          },
        });
        return timings?.prompt_n;
      },
      memory: () => null,
    };
  },

  async "transformers.js"({ device, onnx, dtype }) {
    const { AutoTokenizer, AutoModelForCausalLM, TextStreamer, Tensor, env } = await import(at("transformers/transformers.min.js"));
    Object.assign(env, { allowRemoteModels: false, allowLocalModels: true, localModelPath: new URL(at("models/onnx/")).pathname });
    Object.assign(env.backends.onnx.wasm, { wasmPaths: at("ort/"), numThreads: 1 });
    const tokenizer = await AutoTokenizer.from_pretrained(onnx);
    const model = await AutoModelForCausalLM.from_pretrained(onnx, { device: device === "cpu" ? "wasm" : device, dtype });
    return {
      async generate({ ids }, maxTokens, said) {
        const tensor = (value) => new Tensor("int64", BigInt64Array.from(ids, value), [1, ids.length]);
        const streamer = new TextStreamer(tokenizer, {
          skip_prompt: true, callback_function() {}, token_callback_function: ([id]) => said(tokenizer.decode([id])),
        });
        const [input_ids, attention_mask] = [tensor(BigInt), tensor(() => 1n)];
        await model.generate({ input_ids, attention_mask, max_new_tokens: maxTokens, do_sample: false, streamer });
        return ids.length;
      },
      memory: () => null,
    };
  },
};

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

onmessage = async ({ data: { engine, warmUp, prompt, maxTokens, ...task } }) => {
  try {
    const begin = performance.now();
    const loaded = await engines[engine](task);
    const loadMs = performance.now() - begin;
    // Compilers and caches get warm on another prompt.
    await loaded.generate(warmUp, 2, () => {});
    const [times, texts, counts] = [[], [], []];
    const start = performance.now();
    const promptTokens = await loaded.generate(prompt, maxTokens, (text) => {
      times.push(performance.now());
      texts.push(text);
      counts.push({ ...asked });
    });
    const perToken = ([name]) => [name, (counts.at(-1)[name] - counts[0][name]) / (counts.length - 1)];
    postMessage({ loadMs, start, times, texts, promptTokens, asked: Object.fromEntries(Object.entries(asked).map(perToken)), memory: loaded.memory() });
  } catch (error) {
    postMessage({ error: String(error?.message ?? error) });
  }
};
