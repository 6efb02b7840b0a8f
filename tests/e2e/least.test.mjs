// The least WebGPU that the standard allows: without timestamps, without subgroups, without any feature, within the
// smallest limits. The same texts come from it. The software adapter, which has more, is made to offer less.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LONG, golden, launch, open, start } from "./support.mjs";

const reference = JSON.parse(readFileSync(new URL("../fixtures/smollm2_greedy.json", import.meta.url)));

/** What every WebGPU offers to a kernel: https://gpuweb.github.io/gpuweb/#limits. */
const LEAST = {
  maxBindGroups: 4,
  maxBindingsPerBindGroup: 1000,
  maxStorageBuffersPerShaderStage: 8,
  maxUniformBuffersPerShaderStage: 12,
  maxUniformBufferBindingSize: 65_536,
  maxStorageBufferBindingSize: 134_217_728,
  maxBufferSize: 268_435_456,
  minUniformBufferOffsetAlignment: 256,
  minStorageBufferOffsetAlignment: 256,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65_535,
};

/** The ways to have less: `without` lists features (`"all"` of them), `least` are limits. */
const GPUS = {
  "as it is": { without: [], least: {} },
  "no timestamps": { without: ["timestamp-query"], least: {} },
  "no subgroups": { without: ["subgroups"], least: {} },
  "nothing but the standard's least": { without: "all", least: LEAST },
};

/** Adapters for the tiny model: one that rides along in the kernels' launches, one that runs through burn's own. */
const ADAPTERS = ["quantised_lora", "quantised_oft"];

/**
 * In a worker: what the adapter tells is made less before the package asks, so that the device is asked for with less,
 * and whatever exceeds that is an error of the browser's.
 */
const WORKER = `
  import init, { Playground } from "./pkg/steering_playground.js";

  const errors = [];
  let device;
  function lessen({ without, least }) {
    const ask = GPU.prototype.requestAdapter;
    GPU.prototype.requestAdapter = async function requestAdapter(...options) {
      const adapter = await ask.apply(this, options);
      if (!adapter) return adapter;
      const limits = {};
      for (const name in adapter.limits) {
        const worse = name.startsWith("min") ? Math.max : Math.min;
        limits[name] = worse(adapter.limits[name], least[name] ?? adapter.limits[name]);
      }
      const features = new Set([...adapter.features].filter((name) => without !== "all" && !without.includes(name)));
      for (const [name, value] of Object.entries({ limits, features })) {
        Object.defineProperty(adapter, name, { value, configurable: true });
      }
      return adapter;
    };
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function requestDevice(descriptor) {
      device = await request.call(this, descriptor);
      device.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
      return device;
    };
  }

  async function written(playground, request) {
    const lanes = { base: [], steered: [], nats: [] };
    for await (const step of playground.generate({ sampling: { temperature: 0 }, ...request })) {
      if (step.kind !== "token") continue;
      for (const lane of ["base", "steered"]) if (step[lane]) lanes[lane].push(step[lane].id);
      if (step.klNats !== null) lanes.nats.push(step.klNats);
    }
    return lanes;
  }

  const bytes = async (path) => (await fetch("./golden/" + path)).arrayBuffer();

  onmessage = async ({ data: { gpu, adapters, real } }) => {
    const found = { errors, texts: {} };
    try {
      lessen(gpu);
      await init();
      const playground = await Playground.create({ device: "webgpu", allowSoftwareGpu: true });
      found.why = playground.device.why;
      found.features = [...device.features];
      found.limits = Object.fromEntries(Object.keys(${JSON.stringify(LEAST)}).map((name) => [name, device.limits[name]]));
      if (real) {
        await playground.loadModel("./models/SmolLM2-135M-Instruct.Q4_1.gguf");
        found.texts.real = await written(playground, real);
      }
      const info = await playground.loadModel(new File([await bytes("base_quantised/model.gguf")], "model.gguf"));
      found.computes = info.device.kind;
      const ids = [5, 17, 3, 42, 9, 60, 11, 28, 33, 2, 51, 7, 19, 24, 38, 46, 13, 1, 55, 30];
      for (const name of adapters) {
        const config = new TextDecoder().decode(await bytes(name + "/adapter_config.json"));
        const weights = await bytes(name + "/adapter_model.safetensors");
        const { id } = await playground.loadAdapter({ name, config, weights });
        playground.setCoefficient(id, 1);
        found.texts[name] = await written(playground, { ids, maxTokens: 8, compare: true, klAfterSplit: true });
        playground.removeAdapter(id);
      }
    } catch (error) {
      found.failed = (error.code ?? "thrown") + ": " + error.message;
    }
    postMessage(found);
  };
`;

const { browser, proxy } = await start({ browser: launch({ gpu: true }) });
proxy.files.set("/least.html", { type: "text/html", body: "<!doctype html><title>least</title>" });
proxy.files.set("/least.js", { type: "text/javascript", body: WORKER });
for (const path of ["base_quantised/model.gguf", ...ADAPTERS.flatMap((name) => [`${name}/adapter_config.json`, `${name}/adapter_model.safetensors`])]) {
  proxy.files.set(`/golden/${path}`, { type: "application/octet-stream", body: readFileSync(golden(path)) });
}

/** What a worker finds on a GPU, and all that the browser says meanwhile. */
async function onGpu(t, name, real) {
  const { page, context, complaints } = await open(browser, `${proxy.url}least.html`);
  const began = performance.now();
  const found = await page.evaluate((data) => new Promise((resolve) => {
    const worker = new Worker("./least.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => resolve({ failed: `the worker: ${message}`, errors: [], texts: {} });
    worker.postMessage(data);
  }), { gpu: GPUS[name], adapters: ADAPTERS, real });
  t.diagnostic(`${name}, ${Math.round((performance.now() - began) / 1000)} s: ${JSON.stringify(found)}`);
  if (complaints.length) t.diagnostic(`${name}, the console: ${complaints.join("\n").slice(0, 4000)}`);
  await context.close();
  assert.equal(found.failed, undefined, `${name}: ${found.failed}; ${found.errors[0] ?? "no error of the GPU's"}`);
  assert.deepEqual(found.errors, [], `${name}: the GPU's own errors`);
  assert.equal(found.computes, "webgpu", `${name}: ${found.why}`);
  return found;
}

/** As the GPU is: what the others are compared with. */
let whole;

test("a GPU as it is has what is hidden from the others", { timeout: 2 * LONG }, async (t) => {
  whole = await onGpu(t, "as it is");
  for (const feature of ["timestamp-query", "subgroups"]) {
    assert.ok(whole.features.includes(feature), `without ${feature} the next tests hide nothing`);
  }
  for (const name of ADAPTERS) {
    const { base, steered, nats } = whole.texts[name];
    assert.deepEqual([base.length, steered.length], [8, 8], name);
    assert.ok(Math.max(...nats) > 1e-5, `${name} must act for these tests to mean anything: ${nats}`);
  }
});

/** The device really had no more than was told of it, and the texts are the same. */
function assertLess(name, found) {
  const { without, least } = GPUS[name];
  const hidden = without === "all" ? ["timestamp-query", "subgroups", "shader-f16"] : without;
  for (const feature of hidden) assert.ok(!found.features.includes(feature), `${name}: the device has ${feature} all the same`);
  for (const [limit, value] of Object.entries(least)) assert.equal(found.limits[limit], value, `${name}: ${limit}`);
  for (const adapter of ADAPTERS) {
    const [mine, theirs] = [found, whole].map(({ texts }) => texts[adapter]);
    assert.deepEqual([mine.base, mine.steered], [theirs.base, theirs.steered], `${name}: ${adapter}`);
    mine.nats.forEach((nats, at) => {
      assert.ok(Math.abs(nats - theirs.nats[at]) < 1e-3, `${name}: ${adapter}: ${nats} nats at ${at}, not ${theirs.nats[at]}`);
    });
  }
}

for (const name of ["no timestamps", "no subgroups"]) {
  test(`${name}: the same texts`, { timeout: 2 * LONG }, async (t) => {
    assertLess(name, await onGpu(t, name));
  });
}

test("nothing but the standard's least: the same texts, and the real model's ids are the reference's", { timeout: 3 * LONG }, async (t) => {
  const name = "nothing but the standard's least";
  const { prompt_ids: ids, greedy_ids: expected } = reference.prompts.find(({ name }) => name === "capital");
  const found = await onGpu(t, name, { ids, maxTokens: 8 });
  assertLess(name, found);
  assert.deepEqual(found.texts.real.steered, expected.slice(0, 8));
});
