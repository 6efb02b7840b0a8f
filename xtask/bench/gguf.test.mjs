import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { bytesPerToken, header, lora, parameters, vector } from "./gguf.mjs";

const golden = (name) => fileURLToPath(new URL(`../../tests/golden/${name}`, import.meta.url));
const model = header(golden("q4_k_m/model.gguf"));

/** The header of a file of these bytes. */
function written(bytes) {
  const folder = mkdtempSync(join(tmpdir(), "gguf-"));
  try {
    writeFileSync(join(folder, "a.gguf"), bytes);
    return header(join(folder, "a.gguf"));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a model says its sizes", () => {
  assert.equal(model.metadata["general.architecture"], "llama");
  assert.equal(model.metadata["llama.block_count"], 2);
  assert.equal(parameters(model), 1_189_136);
  // Its head is the embedding; norms and factors are f32.
  const blocks = (numbers, bytes) => (numbers / 256) * bytes;
  const [q6, q4] = [288 * 256 + 64 * 256 + 512 * 256, 2 * (2 * 256 * 256 + 64 * 256 + 2 * 512 * 256) + 64 * 256 + 512 * 256];
  assert.equal(bytesPerToken(model), blocks(q6, 210) + blocks(q4, 144) + 4 * (5 * 256 + 16));
});

test("of an embedding beside a head one row is read", () => {
  const tensors = [{ name: "token_embd.weight", dims: [64, 10], kind: 8 }, { name: "output.weight", dims: [64, 10], kind: 0 }];
  assert.equal(bytesPerToken({ tensors }), 64 * 10 * 4);
});

test("a random LoRA reaches all linear layers of all blocks", () => {
  const { metadata, tensors } = written(lora(model, 4));
  assert.equal(metadata["adapter.type"], "lora");
  assert.equal(metadata["adapter.lora.alpha"], 8);
  assert.equal(tensors.length, 2 * 2 * 7);
  assert.deepEqual(tensors.find(({ name }) => name === "blk.1.ffn_down.weight.lora_b").dims, [4, 256]);
});

test("a random vector has a step for every block but the first", () => {
  const { metadata, tensors } = written(vector(model));
  assert.equal(metadata["controlvector.model_hint"], "llama");
  assert.deepEqual(tensors, [{ name: "direction.1", dims: [256], kind: 0 }]);
});

test("what is no GGUF file is refused", () => {
  assert.throws(() => written(new Uint8Array(100)), /no GGUF file/);
});
