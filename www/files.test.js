// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { adaptersIn } from "./files.js";

/** A stand-in for a file that equals its path, and whose text is a mixture's config where it is one. */
const MIXTURES = ["x/adapter_config.json", "adapter_config.json"];
class Path extends String {
  text() { return JSON.stringify(MIXTURES.includes(String(this)) ? { adapters: { 0: "a", 1: "b" } } : { peft_type: "LORA" }); }
}
const plain = (item) => ({
  ...item, config: item.config && String(item.config), weights: String(item.weights),
  bases: item.bases && String(item.bases), experts: item.experts.map(plain),
});
const sorted = async (...paths) => {
  const { found, unused } = await adaptersIn(paths.map((path) => ({ path, file: new Path(path) })));
  return { found: found.map(plain), unused };
};
const adapter = (name, weights, more = {}) => ({ name, config: null, weights, bases: null, experts: [], ...more });

test("loose files with a config are one adapter", async () => {
  assert.deepEqual(await sorted("adapter_model.safetensors", "adapter_config.json", "0_svd_bases.safetensors"), {
    found: [adapter("adapter_model", "adapter_model.safetensors", { config: "adapter_config.json", bases: "0_svd_bases.safetensors" })],
    unused: [],
  });
});

test("files of weights without a config are an adapter each", async () => {
  const { found } = await sorted("calm.gguf", "loud.gguf", "vector.safetensors");
  assert.deepEqual(found, [adapter("calm", "calm.gguf"), adapter("loud", "loud.gguf"), adapter("vector", "vector.safetensors")]);
});

test("a folder gives its name, and what it does not need is told", async () => {
  assert.deepEqual(await sorted("poly/adapter_config.json", "poly/adapter_model.safetensors", "poly/README.md", "poly/optimizer.safetensors"), {
    found: [adapter("poly", "poly/adapter_model.safetensors", { config: "poly/adapter_config.json" })],
    unused: ["poly/README.md", "poly/optimizer.safetensors"],
  });
});

test("numbered subfolders are the experts, in order; others are adapters of their own", async () => {
  const whole = (folder) => [`${folder}/adapter_config.json`, `${folder}/adapter_model.safetensors`];
  const read = (folder, name, experts = []) => adapter(name, `${folder}/adapter_model.safetensors`, { config: `${folder}/adapter_config.json`, experts });
  const { found, unused } = await sorted(...whole("x/1"), ...whole("x/0"), ...whole("x"), ...whole("x/other"), ...whole("x/3"));
  assert.deepEqual(found, [read("x", "x", [read("x/0", "0"), read("x/1", "1")]), read("x/3", "3"), read("x/other", "other")]);
  assert.deepEqual(unused, []);
});

test("loose files beside dropped folders 0 and 1 are the mixture of these", async () => {
  const { found } = await sorted("adapter_config.json", "adapter_model.safetensors", "0/adapter_config.json", "0/adapter_model.safetensors", "1/adapter_config.json", "1/adapter_model.safetensors");
  assert.deepEqual(found.map(({ name, experts }) => [name, experts.length]), [["adapter_model", 2]]);
});

test("a config with several weights, or none, is no adapter", async () => {
  assert.deepEqual((await sorted("adapter_config.json", "a.safetensors", "b.safetensors")).found, []);
  assert.deepEqual(await sorted("adapter_config.json"), { found: [], unused: ["adapter_config.json"] });
  assert.deepEqual((await sorted("adapter_config.json", "adapter_config (1).json", "adapter_model.safetensors")).found, []);
});

test("numbered subfolders of an adapter that mixes nothing are adapters of their own", async () => {
  const whole = (folder) => [`${folder}/adapter_config.json`, `${folder}/adapter_model.safetensors`];
  const { found, unused } = await sorted(...whole("run"), ...whole("run/0"), ...whole("run/1"));
  assert.deepEqual(found.map(({ name, experts }) => [name, experts.length]), [["run", 0], ["0", 0], ["1", 0]]);
  assert.deepEqual(unused, []);
});
