// The engines, each used as its own documentation shows, on one thread, greedily.
export const at = (path) => new URL(`../${path}`, import.meta.url).href;

/**
 * @typedef {{ids: number[], text?: string, chat?: {role: string, content: string}[]}} Prompt  its ids, and the text or chat they are of
 * @typedef {(text: string, tokens: number) => void} Said  with the number of tokens that were said by then
 */

/** How long a prompt is after which `late` decodes. */
const LATE = 2048;

const fetched = async (path) => {
  const answer = await fetch(at(path));
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer;
};

/**
 * Loaders by name: what answers prompts, in which ways besides the base's (with `adapters` only), and the peak of its
 * memory where the engine tells it.
 */
export const engines = {
  async playground({ device, model, module, exact = false, adapters = null }) {
    const { default: init, Playground } = await import(at(module));
    await init();
    const playground = await Playground.create({ device, allowSoftwareGpu: true, exact });
    playground.lost.then(({ message }) => postMessage({ error: message }));
    const info = await playground.loadModel(at(model));
    // An id for each adapter, or why there is none.
    const ids = {};
    for (const [name, path] of Object.entries(adapters ?? {})) {
      const weights = new Uint8Array(await (await fetched(path)).arrayBuffer());
      ids[name] = await playground.loadAdapter({ name: `random-${name}.gguf`, weights }).then(({ id }) => id, ({ message }) => new Error(message));
    }
    const ways = { base: {}, LoRA: { adapter: "lora" }, "LoRA and base": { adapter: "lora", compare: true }, vector: { adapter: "vector" }, "vector and base": { adapter: "vector", compare: true }, late: {} };
    return {
      info, playground,
      ways: Object.keys(ways),
      async generate({ ids: prompt }, maxTokens, said, way = "base") {
        const { adapter, compare = false } = ways[way];
        if (adapter && ids[adapter] instanceof Error) throw ids[adapter];
        for (const [name, id] of Object.entries(ids)) if (typeof id === "number") playground.setCoefficient(id, name === adapter ? 1 : 0);
        if (way === "late" && info.context < LATE + maxTokens) throw new Error(`its context has ${info.context} tokens`);
        const given = way === "late" ? Array.from({ length: LATE }, (_, at) => prompt[at % prompt.length]) : prompt;
        // One more than is timed, as on a GPU it runs one token ahead of what is said.
        let tokens = 0;
        for await (const step of playground.generate({ ids: given, maxTokens: maxTokens + 1, compare, klAfterSplit: false })) {
          if (step.kind !== "token") continue;
          said((step.steered ?? step.base).text, ++tokens);
          if (tokens === maxTokens) break;
        }
        return given.length;
      },
      memory() {
        const { wasmHeapPeakBytes, gpuPeakBytes } = playground.memory();
        return { heap: wasmHeapPeakBytes, gpu: gpuPeakBytes };
      },
    };
  },

  async wllama({ device, model, adapters = null }) {
    const { Wllama } = await import(at("wllama/index.js"));
    // The log tells where the weights are: wllama goes on without a GPU in silence.
    const log = [];
    const keep = (...words) => log.push(words.join(" "));
    const wllama = new Wllama(
      { default: at("wllama/wasm/wllama.wasm") },
      { logger: { debug: keep, log: keep, warn: keep, error: keep } },
    );
    const options = { n_threads: 1, ...(device === "cpu" && { n_gpu_layers: 0 }) };
    if (adapters) {
      // It takes adapters with the parts of the model, and gives all of them names like parts'.
      const blobs = await Promise.all([model, adapters.lora].map(async (path) => (await fetched(path)).blob()));
      await wllama.loadModel(blobs, { ...options, lora_adapters: [{ path: "models/model-00002-of-00002.gguf", scale: 1 }] });
    } else {
      await wllama.loadModelFromUrl(at(model), options);
    }
    if (device === "webgpu" && !log.some((line) => /^load_tensors: +(?!CPU)\S+ model buffer size/.test(line))) {
      const adapter = await navigator.gpu.requestAdapter();
      const lacks = adapter.features.has("shader-f16") ? "" : ": the adapter lacks shader-f16, which it needs";
      throw new Error(`wllama computes on the CPU instead${lacks}`);
    }
    return {
      ways: ["base", "LoRA"],
      async generate({ text, chat }, maxTokens, said, way = "base") {
        let timings;
        let tokens = 0;
        const options = {
          max_tokens: maxTokens, temperature: 0, cache_prompt: false, stream: true, timings_per_token: true, ignore_eos: true, reasoning_format: "none",
          ...(adapters && { lora: [{ id: 0, scale: way === "LoRA" ? 1 : 0 }] }),
          onData({ timings: found = timings, choices: [choice] }) {
            timings = found;
            const text = choice?.text ?? choice?.delta?.content ?? "";
            // A part of a character comes without text.
            const now = timings?.predicted_n ?? tokens + (text ? 1 : 0);
            if (now > tokens) said(text, (tokens = now));
          },
        };
        // It takes no ids.
        if (chat) await wllama.createChatCompletion({ messages: chat, ...options });
        else await wllama.createCompletion({ prompt: text, ...options });
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
      ways: ["base"],
      async generate({ ids }, maxTokens, said) {
        const tensor = (value) => new Tensor("int64", BigInt64Array.from(ids, value), [1, ids.length]);
        let tokens = 0;
        const streamer = new TextStreamer(tokenizer, {
          skip_prompt: true, callback_function() {}, token_callback_function: ([id]) => said(tokenizer.decode([id]), ++tokens),
        });
        const [input_ids, attention_mask] = [tensor(BigInt), tensor(() => 1n)];
        await model.generate({ input_ids, attention_mask, max_new_tokens: maxTokens, do_sample: false, streamer });
        return ids.length;
      },
      memory: () => null,
    };
  },
};
