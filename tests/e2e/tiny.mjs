// Tiny models of the families with what makes them speak: a tokenizer of single characters, chat templates
// of our own in the manner of each family, and adapters.
import { existsSync, readFileSync } from "node:fs";

import { golden } from "./support.mjs";

/** A turn between two marks, as most families write it. @param {string} begin @param {string} end @param {string} [roles] @param {string} [more] */
const turns = (begin, end, roles = "{{ m.role }}", more = "") =>
  `{% for m in messages %}${begin.replace("ROLE", roles)}{{ m.content }}${end}{% endfor %}`
  + `{% if add_generation_prompt %}${begin.replace("ROLE", "assistant")}${more}{% endif %}`;
const CHATML = turns("<|im_start|>ROLE\n", "<|im_end|>\n");
const THINKS = turns("<|im_start|>ROLE\n", "<|im_end|>\n", undefined, "{% if enable_thinking is defined and enable_thinking is false %}<think></think>{% endif %}");
/** Without a place for a system prompt, and the model's own word for the assistant. */
const GEMMA = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
  + turns("<start_of_turn>ROLE\n", "<end_of_turn>\n", "{{ 'model' if m.role == 'assistant' else m.role }}").replaceAll("assistant\n", "model\n");
/** The system prompt as the beginning of the first turn. */
const GEMMA3 = "{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n' %}{% set messages = messages[1:] %}{% endif %}"
  + "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ first if loop.first }}{{ m.content }}<end_of_turn>\n{% endfor %}<start_of_turn>model\n";
const LLAMA3 = "{{ bos_token }}{% if not date_string is defined %}{% set date_string = '26 Jul' %}{% endif %}[{{ date_string }}]"
  + turns("<|start_header_id|>ROLE<|end_header_id|>\n", "<|eot_id|>");
const MISTRAL = "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}";
const GRANITE = `{% if thinking %}[think]{% endif %}${turns("<|start_of_role|>ROLE<|end_of_role|>", "<|end_of_text|>\n")}`;
const OLMO2 = turns("<|ROLE|>\n", "\n");

/** The families: the folder of the model, what the page calls it, its template. */
export const FAMILIES = [
  { folder: "gemma", family: "gemma", template: GEMMA },
  { folder: "gemma2", family: "gemma2", template: GEMMA },
  { folder: "gemma3", family: "gemma3", template: GEMMA3 },
  { folder: "granite4", family: "granite", template: GRANITE },
  { folder: "llama_rope_llama3", family: "llama", template: LLAMA3 },
  { folder: "mistral_window8", family: "mistral", template: MISTRAL },
  { folder: "olmo2", family: "olmo2", template: OLMO2 },
  { folder: "qwen2", family: "qwen2", template: CHATML },
  { folder: "qwen3", family: "qwen3", template: THINKS },
  { folder: "smollm3", family: "smollm3", template: THINKS },
];

const SPECIAL = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<start_of_turn>", "<end_of_turn>"];
const file = (name, content) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.from(content) });

/** A byte-level tokenizer of printable characters, space and line end; ids above are pairs of letters. @param {number} size */
function tokenizer(size) {
  const vocab = new Map(SPECIAL.map((token, id) => [token, id]));
  const add = (token) => { if (vocab.size < size && !vocab.has(token)) vocab.set(token, vocab.size); };
  for (let code = 33; code < 127; code += 1) add(String.fromCharCode(code));
  for (const token of ["Ġ", "Ċ"]) add(token);
  for (const a of "aeiou") for (const b of "bcdfghklmnprst") add(a + b);
  return JSON.stringify({
    version: "1.0", truncation: null, padding: null,
    added_tokens: SPECIAL.map((content, id) => ({ id, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true })),
    normalizer: null, pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null, decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false, vocab: Object.fromEntries(vocab), merges: [] },
  });
}

/** A family's tiny model as files to choose. @param {string} folder @param {string} template */
export function tinyFamily(folder, template) {
  const at = (name) => readFileSync(golden(`families/${folder}/${name}`));
  const config = at("config.json");
  return [
    file("config.json", config), file("model.safetensors", at("model.safetensors")),
    file("tokenizer.json", tokenizer(JSON.parse(String(config)).vocab_size)),
    file("tokenizer_config.json", JSON.stringify({ bos_token: "<s>", eos_token: "</s>", chat_template: template })),
  ];
}

/** A Llama of one block, all zeros in BF16, with a table of so many rows of 120 numbers. @param {number} rows */
export function wideLlama(rows) {
  // No whole blocks: no packed kernel reads such rows, on a GPU they are f32.
  const [d, ffn] = [120, 64];
  const shapes = { "model.embed_tokens.weight": [rows, d], "model.norm.weight": [d] };
  for (const norm of ["input_layernorm", "post_attention_layernorm"]) shapes[`model.layers.0.${norm}.weight`] = [d];
  for (const linear of ["q", "k", "v", "o"]) shapes[`model.layers.0.self_attn.${linear}_proj.weight`] = [d, d];
  for (const [linear, shape] of [["gate", [ffn, d]], ["up", [ffn, d]], ["down", [d, ffn]]]) shapes[`model.layers.0.mlp.${linear}_proj.weight`] = shape;
  return [
    file("config.json", JSON.stringify({
      model_type: "llama", architectures: ["LlamaForCausalLM"], vocab_size: rows, hidden_size: d, intermediate_size: ffn, num_hidden_layers: 1,
      num_attention_heads: 4, num_key_value_heads: 4, max_position_embeddings: 64, rms_norm_eps: 1e-5, rope_theta: 10000, hidden_act: "silu", tie_word_embeddings: true,
    })),
    file("model.safetensors", written(shapes, "BF16", 2, (count) => Buffer.alloc(2 * count))),
    file("tokenizer.json", tokenizer(160)),
  ];
}

/** A LoRA for a family's tiny model: PEFT's, where the project has one, else one of the same numbers each time. @param {string} folder */
export function loraFor(folder) {
  const config = golden(`families/adapters/${folder}/lora/adapter_config.json`);
  if (existsSync(config)) {
    return ["adapter_config.json", "adapter_model.safetensors"].map((name) => file(name, readFileSync(golden(`families/adapters/${folder}/lora/${name}`))));
  }
  const model = JSON.parse(String(readFileSync(golden(`families/${folder}/config.json`))));
  const [rank, d] = [2, model.hidden_size];
  const q = model.num_attention_heads * (model.head_dim ?? d / model.num_attention_heads);
  const tensors = {};
  for (let layer = 0; layer < model.num_hidden_layers; layer += 1) {
    const path = `base_model.model.model.layers.${layer}.self_attn`;
    for (const [module, i, o] of [["q_proj", d, q], ["o_proj", q, d]]) {
      tensors[`${path}.${module}.lora_A.weight`] = [rank, i];
      tensors[`${path}.${module}.lora_B.weight`] = [o, rank];
    }
  }
  return [
    file("adapter_config.json", JSON.stringify({ peft_type: "LORA", r: rank, lora_alpha: 4, target_modules: ["q_proj", "o_proj"], bias: "none", fan_in_fan_out: false })),
    file("adapter_model.safetensors", safetensors(tensors)),
  ];
}

/** Tensors of small pseudo-random numbers. @param {Record<string, number[]>} shapes */
function safetensors(shapes) {
  let seed = 12345;
  return written(shapes, "F32", 4, (count) => Buffer.from(Float32Array.from({ length: count }, () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32 - 0.5;
  }).buffer));
}

/** @param {Record<string, number[]>} shapes @param {string} dtype @param {number} each bytes @param {(count: number) => Buffer} bytes of so many numbers */
function written(shapes, dtype, each, bytes) {
  let offset = 0;
  const header = {};
  const parts = Object.entries(shapes).map(([name, shape]) => {
    const count = shape.reduce((product, size) => product * size, 1);
    header[name] = { dtype, shape, data_offsets: [offset, offset += each * count] };
    return bytes(count);
  });
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...parts]);
}
