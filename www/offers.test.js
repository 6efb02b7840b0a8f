// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { adaptersIn } from "./files.js";
import { pickled, sortedOut } from "./offers.js";

/** Only the one called "mixture" lists experts. */
class Path extends String {
  text() { return this.startsWith("mixture/adapter") ? '{"adapters": {"0": "a", "1": "b"}}' : "{}"; }
}
const given = (...paths) => paths.map((path) => ({ path, file: new Path(path) }));
const whole = (folder) => [`${folder}/adapter_config.json`, `${folder}/adapter_model.safetensors`];
async function sorted(...paths) {
  const all = given(...paths);
  const { meant, offered } = sortedOut(all, (await adaptersIn(all)).found);
  return [meant.map(({ name }) => name), offered.map(({ label }) => label)];
}

test("the adapter at the top of a folder is meant, those below are offered by name", async () => {
  assert.deepEqual(await sorted(...whole("mine"), ...whole("mine/french"), ...whole("mine/checkpoint-10"), ...whole("mine/old/german")),
    [["mine"], ["checkpoint-10", "french", "old/german"]]);
});

test("a folder with one adapter somewhere in it means that one", async () => {
  assert.deepEqual(await sorted(...whole("download/mine"), "download/README.md"), [["mine"], []]);
});

test("a folder with several and none at the top asks which", async () => {
  assert.deepEqual(await sorted(...whole("all/a"), ...whole("all/b"), "all/vectors/x.gguf", "all/vectors/y.gguf"),
    [[], ["a", "b", "vectors/x", "vectors/y"]]);
});

test("several folders and files given together are all meant", async () => {
  assert.deepEqual(await sorted(...whole("a"), ...whole("b"), "x.gguf", "y.gguf"), [["x", "y", "a", "b"], []]);
});

test("experts are parts, not offers", async () => {
  assert.deepEqual(await sorted(...whole("mixture"), ...whole("mixture/0"), ...whole("mixture/1")), [["mixture"], []]);
});

test("mlx-lm's weights are found among its checkpoints", async () => {
  assert.deepEqual(await sorted("m/adapter_config.json", "m/adapters.safetensors", "m/0000100_adapters.safetensors"), [["m"], []]);
});

test("pickled weights are told how to convert, unless there are others beside them", async () => {
  const said = pickled(given("a/adapter_config.json", "a/adapter_model.bin"));
  assert.match(said.sentence, /a\/adapter_model\.bin/);
  assert.match(said.command, /torch\.load\('adapter_model\.bin'.*weights_only=True.*'adapter_model\.safetensors'/);
  assert.match(pickled(given("lora.pt")).command, /'lora\.safetensors'/);
  assert.equal(pickled(given(...whole("a"), "a/optimizer.pt", "a/training_args.bin")), null);
  assert.ok(pickled(given(...whole("a"), "a/old/adapter_model.bin")), "in another folder");
  assert.equal(pickled(given("notes.txt")), null);
});
