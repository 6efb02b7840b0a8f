// What a GGUF file says of itself, and adapters of random numbers for the model in it: speed does not depend on numbers.
import { closeSync, openSync, readSync } from "node:fs";

/** Bytes of a header that are read at first; a tokenizer takes some millions. */
const FIRST = 1 << 24;
const MAGIC = 0x46554747;
/** Sizes of the scalar types by number, and how a DataView reads them. */
const SCALARS = {
  0: [1, "getUint8"], 1: [1, "getInt8"], 2: [2, "getUint16"], 3: [2, "getInt16"], 4: [4, "getUint32"], 5: [4, "getInt32"],
  6: [4, "getFloat32"], 7: [1, "getUint8"], 10: [8, "getBigUint64"], 11: [8, "getBigInt64"], 12: [8, "getFloat64"],
};
const [TEXT, ARRAY] = [8, 9];
/** Numbers in a block of each tensor kind, and its bytes. */
const KINDS = {
  0: [1, 4], 1: [1, 2], 2: [32, 18], 3: [32, 20], 6: [32, 22], 7: [32, 24], 8: [32, 34], 10: [256, 84], 11: [256, 110], 12: [256, 144],
  13: [256, 176], 14: [256, 210], 20: [32, 18], 28: [1, 8], 30: [1, 2],
};
const F32 = 0;
const ALIGNMENT = 32;

/** Metadata (arrays are left out) and tensors: `dims` begin with the width of a row. */
function parse(view) {
  let at = 0;
  const take = ([size, get]) => Number(view[get]((at += size) - size, true));
  const count = () => take(SCALARS[10]);
  const text = () => {
    const length = count();
    at += length;
    return new TextDecoder().decode(new Uint8Array(view.buffer, at - length, length));
  };
  const value = (type) => {
    if (type === TEXT) return text();
    if (type !== ARRAY) return take(SCALARS[type]);
    const of = take(SCALARS[4]);
    for (let left = count(); left > 0; left--) value(of);
    return null;
  };
  if (take(SCALARS[4]) !== MAGIC) throw new Error("this is no GGUF file");
  take(SCALARS[4]);
  const [tensors, fields] = [count(), count()];
  const metadata = {};
  for (let field = 0; field < fields; field++) {
    const key = text();
    metadata[key] = value(take(SCALARS[4]));
  }
  return {
    metadata,
    tensors: Array.from({ length: tensors }, () => {
      const name = text();
      const dims = Array.from({ length: take(SCALARS[4]) }, count);
      const kind = take(SCALARS[4]);
      count();
      return { name, dims, kind };
    }),
  };
}

/** The header of the file at `path`, of which no more is read than it takes. */
export function header(path) {
  const file = openSync(path);
  try {
    for (let size = FIRST; ; size *= 2) {
      const bytes = new Uint8Array(size);
      const read = readSync(file, bytes, 0, size, 0);
      try {
        return parse(new DataView(bytes.buffer, 0, read));
      } catch (error) {
        if (!(error instanceof RangeError) || read < size) throw error;
      }
    }
  } finally {
    closeSync(file);
  }
}

const numbers = ({ dims }) => dims.reduce((product, dim) => product * dim, 1);

/** How many numbers the tensors hold. */
export const parameters = ({ tensors }) => tensors.reduce((sum, tensor) => sum + numbers(tensor), 0);

/** Bytes of all weights that a token is multiplied with: of an embedding that is not the head too, one row is read. */
export function bytesPerToken({ tensors }) {
  const untied = tensors.some(({ name }) => name === "output.weight");
  const multiplied = tensors.filter(({ name }) => !(untied && name === "token_embd.weight"));
  return multiplied.reduce((sum, tensor) => {
    const [block, bytes] = KINDS[tensor.kind] ?? [1, 0];
    return sum + (numbers(tensor) / block) * bytes;
  }, 0);
}

/** Numbers around 0 whose standard deviation is `size`, the same in every run. */
function random(count, size, seed) {
  let state = seed >>> 0;
  const scale = (size * Math.sqrt(12)) / 2 ** 32;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state - 2 ** 31) * scale;
  });
}

/** A GGUF file: texts and f32 numbers as metadata, f32 tensors. */
function write(metadata, tensors) {
  const parts = [];
  let length = 0;
  const put = (bytes) => {
    parts.push(bytes);
    length += bytes.length;
  };
  const integer = (bits, value) => put(new Uint8Array((bits === 64 ? BigUint64Array : Uint32Array).of(bits === 64 ? BigInt(value) : value).buffer));
  const text = (value) => {
    const bytes = new TextEncoder().encode(value);
    integer(64, bytes.length);
    put(bytes);
  };
  const pad = () => put(new Uint8Array((ALIGNMENT - (length % ALIGNMENT)) % ALIGNMENT));
  for (const [bits, value] of [[32, MAGIC], [32, 3], [64, tensors.length], [64, Object.keys(metadata).length]]) integer(bits, value);
  for (const [key, value] of Object.entries(metadata)) {
    text(key);
    if (typeof value === "string") {
      integer(32, TEXT);
      text(value);
    } else {
      integer(32, 6);
      put(new Uint8Array(Float32Array.of(value).buffer));
    }
  }
  let offset = 0;
  for (const { name, dims, values } of tensors) {
    text(name);
    integer(32, dims.length);
    for (const dim of dims) integer(64, dim);
    integer(32, F32);
    integer(64, offset);
    offset += Math.ceil(values.byteLength / ALIGNMENT) * ALIGNMENT;
  }
  pad();
  for (const { values } of tensors) {
    put(new Uint8Array(values.buffer));
    pad();
  }
  return Buffer.concat(parts);
}

const LINEARS = /^blk\.\d+\.(attn_q|attn_k|attn_v|attn_qkv|attn_output|ffn_gate|ffn_up|ffn_down)\.weight$/;

/** A LoRA on every linear layer of every block, as llama.cpp keeps it. */
export function lora(model, rank) {
  const sites = model.tensors.filter(({ name }) => LINEARS.test(name));
  const tensors = sites.flatMap(({ name, dims: [input, output] }, at) => [
    { name: `${name}.lora_a`, dims: [input, rank], values: random(input * rank, 1 / Math.sqrt(input), 2 * at + 1) },
    { name: `${name}.lora_b`, dims: [rank, output], values: random(rank * output, 0.01, 2 * at + 2) },
  ]);
  const architecture = model.metadata["general.architecture"];
  return write({ "general.architecture": architecture, "general.type": "adapter", "general.name": "random", "adapter.type": "lora", "adapter.lora.alpha": 2 * rank }, tensors);
}

/** A step in the stream after every block but the first, as llama.cpp keeps it. */
export function vector(model) {
  const architecture = model.metadata["general.architecture"];
  const [blocks, width] = ["block_count", "embedding_length"].map((key) => model.metadata[`${architecture}.${key}`]);
  const tensors = Array.from({ length: blocks - 1 }, (_, at) => ({ name: `direction.${at + 1}`, dims: [width], values: random(width, 0.01, at + 1) }));
  return write({ "general.architecture": "controlvector", "controlvector.model_hint": architecture }, tensors);
}
