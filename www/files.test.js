// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { adaptersIn } from "./files.js";

const sorted = (...paths) => {
  const { found, unused } = adaptersIn(paths.map((path) => ({ path, file: path })));
  return { found, unused };
};
const adapter = (name, weights, more = {}) => ({ name, config: null, weights, bases: null, experts: [], ...more });

test("loose files with a config are one adapter", () => {
  assert.deepEqual(sorted("adapter_model.safetensors", "adapter_config.json", "0_svd_bases.safetensors"), {
    found: [adapter("adapter_model", "adapter_model.safetensors", { config: "adapter_config.json", bases: "0_svd_bases.safetensors" })],
    unused: [],
  });
});

test("files of weights without a config are an adapter each", () => {
  const { found } = sorted("calm.gguf", "loud.gguf", "vector.safetensors");
  assert.deepEqual(found, [adapter("calm", "calm.gguf"), adapter("loud", "loud.gguf"), adapter("vector", "vector.safetensors")]);
});

test("a folder gives its name, and what it does not need is told", () => {
  assert.deepEqual(sorted("poly/adapter_config.json", "poly/adapter_model.safetensors", "poly/README.md", "poly/optimizer.safetensors"), {
    found: [adapter("poly", "poly/adapter_model.safetensors", { config: "poly/adapter_config.json" })],
    unused: ["poly/README.md", "poly/optimizer.safetensors"],
  });
});

test("numbered subfolders are the experts, in order; others are adapters of their own", () => {
  const whole = (folder) => [`${folder}/adapter_config.json`, `${folder}/adapter_model.safetensors`];
  const read = (folder, name, experts = []) => adapter(name, `${folder}/adapter_model.safetensors`, { config: `${folder}/adapter_config.json`, experts });
  const { found, unused } = sorted(...whole("x/1"), ...whole("x/0"), ...whole("x"), ...whole("x/other"), ...whole("x/3"));
  assert.deepEqual(found, [read("x", "x", [read("x/0", "0"), read("x/1", "1")]), read("x/3", "3"), read("x/other", "other")]);
  assert.deepEqual(unused, []);
});

test("loose files beside dropped folders 0 and 1 are the mixture of these", () => {
  const { found } = sorted("adapter_config.json", "adapter_model.safetensors", "0/adapter_config.json", "0/adapter_model.safetensors", "1/adapter_config.json", "1/adapter_model.safetensors");
  assert.deepEqual(found.map(({ name, experts }) => [name, experts.length]), [["adapter_model", 2]]);
});

test("a config with several weights, or none, is no adapter", () => {
  assert.deepEqual(sorted("adapter_config.json", "a.safetensors", "b.safetensors").found, []);
  assert.deepEqual(sorted("adapter_config.json"), { found: [], unused: ["adapter_config.json"] });
  assert.deepEqual(sorted("adapter_config.json", "adapter_config (1).json", "adapter_model.safetensors").found, []);
});
