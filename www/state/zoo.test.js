// node --test www
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";

import { behavioursOf, verify, zooCard } from "./zoo.js";

const WEIGHTS = new Uint8Array([1, 2, 3, 4]);
const SHA256 = createHash("sha256").update(WEIGHTS).digest("hex");
const item = (folder, method, more = {}) => ({ folder, method, behaviour: folder.split("/")[0], parameters: 1234, bytes: 4, sha256: SHA256, ...more });
const ZOO = [item("tone/lora", "lora"), item("tone/lora-r1", "lora"), item("register/ia3", "ia3"), item("tone/hra", "hra")];

test("weights that are not those of the list are refused, with both of what differs", async () => {
  await verify(WEIGHTS, ZOO[0], "a.safetensors");
  const other = new Uint8Array([1, 2, 3, 5]);
  const found = createHash("sha256").update(other).digest("hex");
  for (const [weights, ...says] of [[other, SHA256, found], [WEIGHTS.slice(1), "4 bytes", "found 3"]]) {
    await assert.rejects(verify(weights, ZOO[0], "a.safetensors"), (error) => {
      for (const part of ["a.safetensors", ...says]) assert.ok(error.message.includes(part), `${error.message} without ${part}`);
      return error.code === "hash-mismatch";
    });
  }
});

test("a card says how it came about and what it measured, as far as is known", () => {
  const measured = { coefficients: [-2, -1, -0.5, 0, 0.5, 1, 2], d_nats: [-3, -1.5, 9, 0.25, 9, 1.75, 3] };
  const row = { rate: 0.0007, steps: 40, seconds: 61.2, seed: 0, parameters: 5, measured };
  const { trained, measured: table } = zooCard(ZOO[0], row, null);
  assert.deepEqual(trained, { behaviour: "tone", rate: 0.0007, steps: 40, seconds: 61.2, seed: 0, parameters: 1234 });
  assert.deepEqual([table.c, table.value], [[-1, 0, 1], [-1.5, 0.25, 1.75]]);
  // Without its row, by what was written at its training.
  const less = zooCard(ZOO[0], null, { rate: 0.002, steps: 24, seconds: 310, options: { seed: 3, steps: 40 } });
  assert.deepEqual([less.trained.rate, less.trained.steps, less.trained.seed, less.measured], [0.002, 24, 3, undefined]);
  for (const odd of [null, [], "text", { measured: null, rate: "fast" }, { measured: { coefficients: 1, d_nats: [1] } }, { measured: { ...measured, coefficients: [-1, 1] } }]) {
    const card = zooCard(ZOO[0], odd, null);
    assert.deepEqual([card.measured, card.trained.rate], [undefined, undefined], JSON.stringify(odd));
  }
});

// ---- as it is fetched ---------------------------------------------------------------------------

/** What the server has, by path below adapters/. @type {Map<string, any>} */
const server = new Map();
/** @type {string[]} */
let asked = [];
globalThis.fetch = async (url, { cache } = {}) => {
  const path = String(url).split("/adapters/")[1];
  asked.push(cache ? `${path} ${cache}` : path);
  const body = server.get(path);
  if (body === "gone") throw new TypeError("no network");
  return new Response(body instanceof Uint8Array ? body : JSON.stringify(body), { status: body === undefined ? 404 : 200 });
};
beforeEach(() => {
  asked = [];
  server.clear();
  server.set("index.json", { adapters: [{ folder: "first" }, ...ZOO] });
  for (const folder of ["first", ...ZOO.map((one) => one.folder)]) {
    server.set(`${folder}/adapter_config.json`, {});
    server.set(`${folder}/adapter_model.safetensors`, WEIGHTS);
  }
});
/** A page that has read nothing yet. */
let pages = 0;
const page = () => import(`../shipped.js?${pages += 1}`);
const a = (name, coefficient = 1) => ({ name, coefficient, enabled: true });

test("nothing of the zoo is fetched unasked", async () => {
  const { shippedAdapters } = await page();
  const { list, zoo } = await shippedAdapters(null, []);
  assert.deepEqual(list.map(({ key, coefficient }) => [key, coefficient]), [["shipped:first", 1]]);
  assert.deepEqual(zoo, ZOO);
  assert.deepEqual(asked.filter((path) => path.includes("/")).filter((path) => !path.startsWith("first/")), []);
});

test("a list without a zoo is a list without a zoo", async () => {
  server.set("index.json", { adapters: [{ folder: "first" }] });
  const { shippedAdapters } = await page();
  assert.deepEqual((await shippedAdapters(null, [])).zoo, []);
});

test("a link brings those of the zoo that it names back, in its order, turned as it says", async () => {
  const { shippedAdapters } = await page();
  const link = [a("tone/hra", -0.5), a("mine"), a("tone/lora", 2), a("tone/hra")];
  const words = await shippedAdapters(link, [], false);
  assert.deepEqual(words.list.map(({ key, files }) => [key, files]), [["shipped:first", null], ["zoo:tone/hra", null], ["wanted:1", null], ["zoo:tone/lora", null]]);
  assert.ok(!asked.some((path) => path.endsWith(".safetensors")), "words first");
  const { list } = await shippedAdapters(link, []);
  assert.deepEqual(list.map(({ coefficient }) => coefficient), [0, -0.5, 1, 2]);
  assert.deepEqual(list[1].files.weights, WEIGHTS);
  assert.equal(list[1].wanted, undefined);
});

test("what does not come, or is another file, is told of its file; at another try no copy is believed", async () => {
  const { loadZoo } = await page();
  const path = "tone/lora/adapter_model.safetensors";
  const cases = [[undefined, /adapters\/tone\/lora\/adapter_model\.safetensors.*404/, "network"], ["gone", /no answer/, "network"],
    [new Uint8Array([9, 9, 9, 9]), /adapter_model\.safetensors.*SHA-256/, "hash-mismatch"]];
  for (const [body, says, code] of cases) {
    server.set(path, body);
    const { files, error } = await loadZoo(ZOO[0]);
    assert.equal(files, null);
    assert.match(error.message, says);
    assert.equal(error.code, code);
  }
  asked = [];
  server.set(path, WEIGHTS);
  const { files, error } = await loadZoo(ZOO[0]);
  assert.deepEqual([files.weights, error], [WEIGHTS, null]);
  assert.ok(asked.includes(`${path} reload`), String(asked));
  asked = [];
  await loadZoo(ZOO[0]);
  assert.ok(asked.includes(path), "which was it");
});

test("one without a row is described by its training", async () => {
  const { loadZoo } = await page();
  server.set("tone/lora/training.json", { rate: 0.5, steps: 7, seconds: 3, options: { seed: 1 } });
  assert.equal((await loadZoo(ZOO[0])).card.trained.steps, 7);
  server.set("tone/hra/row.json", { rate: 0.25 });
  asked = [];
  assert.equal((await loadZoo(ZOO[3])).card.trained.rate, 0.25);
  assert.ok(!asked.some((one) => one.includes("training.json")), "and is asked for no more than is needed");
});

test("one for several behaviours brings its experts, and is no behaviour of its own", async () => {
  const { loadZoo } = await page();
  const both = item("several/xlora", "xlora", { behaviour: "tone, register", behaviours: ["tone", "register"], experts: 2 });
  assert.deepEqual(behavioursOf([...ZOO, both]), ["tone", "register"]);
  for (const folder of ["several/xlora", "several/xlora/0", "several/xlora/1"]) {
    server.set(`${folder}/adapter_config.json`, {});
    server.set(`${folder}/adapter_model.safetensors`, WEIGHTS);
  }
  server.set("several/xlora/training.json", { steps: 80 });
  const { files, card } = await loadZoo(both);
  assert.deepEqual(files.experts.map(({ name, weights }) => [name, weights]), [["several/xlora/0", WEIGHTS], ["several/xlora/1", WEIGHTS]]);
  assert.deepEqual([card.trained.steps, card.trained.behaviour], [80, "tone, register"]);
  assert.ok(!asked.some((path) => path.endsWith("row.json")), "it has none");
  server.delete("several/xlora/1/adapter_model.safetensors");
  const { error } = await loadZoo(both);
  assert.match(error.message, /several\/xlora\/1\/adapter_model/);
  assert.equal((await loadZoo(ZOO[0])).files.experts, undefined);
});
