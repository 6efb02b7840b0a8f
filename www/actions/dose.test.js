// node --test www
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { found } from "../state/found.test.js";

/** A worker that answers as told, tells how far it is, and can be stopped. */
const worker = { asked: [], answers: {}, stopped: [] };
globalThis.Worker = class {
  terminate() { this.gone = true; }
  async postMessage({ id, call, args, abort }) {
    if (abort !== undefined) return worker.stopped.push(abort);
    worker.asked.push([call, ...args]);
    const say = (message) => { if (!this.gone) this.onmessage({ data: { id, ...message } }); };
    try {
      say({ value: await worker.answers[call]?.(args[0], say, id, args[1]) });
    } catch (error) {
      say({ error });
    }
  }
};
const kept = new Map();
globalThis.localStorage = /** @type {any} */ ({ getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => kept.set(key, value) });
globalThis.fetch = /** @type {any} */ (async (url) => ({ ok: String(url).endsWith("contrast.json"), text: async () => '{"tone": []}' }));
const { createActions } = await import("../actions.js");
const { createStore, defaults } = await import("../state/store.js");

const settled = () => new Promise((resolve) => setTimeout(resolve));
const adapter = (key, more = {}) => ({ key, name: key.replace(/.*:/, ""), title: key, files: { config: null, weights: new Uint8Array(1) }, coefficient: 1, enabled: true, ...more });
const side = (c, note = null) => ({ c, kl_p95_nats: 1, kl_mean_nats: 0.4, nll_shift_nats: 0.05, note });

let next;
beforeEach(() => {
  next = 1;
  kept.clear();
  Object.assign(worker, { asked: [], stopped: [] });
  worker.answers = {
    create: () => ({ device: {}, methods: [] }), cachedModels: () => [], memory: () => null, behaviours: () => ["tone"],
    loadModel: () => ({ name: "SmolLM2", hasTokenizer: true, hasChatTemplate: true }), inspectAdapter: () => ({ tasks: null }),
    loadAdapter: () => ({ id: next++, law: "linear", laws: [] }),
    measure: () => found(),
    calibrateSide: ({ adapters }, _say, _id, where) => where === "negative" ? side(-1.5) : adapters[0].id === 2 ? side(null, "no c up to 64.00 reaches it") : side(0.8),
  };
});

async function page(...adapters) {
  const store = createStore(defaults());
  const actions = createActions(store);
  for (const one of adapters) actions.addAdapter(one);
  await actions.start();
  await actions.loadModel({ kind: "url", url: "https://here/SmolLM2.Q4_1.gguf", name: "SmolLM2" });
  await actions.listBehaviours();
  worker.asked = [];
  const get = (key) => store.state.adapters.find((item) => item.key === key);
  return { store, actions, get };
}
const asked = (call) => worker.asked.filter(([name]) => name === call).map(([, ...args]) => args);

test("a measurement tells how far it is, and is remembered for the page's adapters", async () => {
  const { store, actions } = await page(adapter("shipped:tone-lora"), adapter("file:1"));
  const seen = [];
  store.watch(["work"], ({ work }) => seen.push(work && [work.kind, work.done, work.total]));
  worker.answers.measure = (_options, say) => {
    say({ progress: { done: 3, total: 9 } });
    return found();
  };
  await actions.measure([{ key: "shipped:tone-lora", scale: 1 }]);
  assert.deepEqual(seen, [null, ["measure", 0, 0], ["measure", 3, 9], null]);
  assert.deepEqual(asked("measure"), [[{ behaviour: "tone", adapters: [{ id: 1, scale: 1 }], repetitionTokens: 0 }]]);
  const [measured] = store.state.measured;
  assert.deepEqual([measured.model, measured.modelFile, measured.pairs], ["SmolLM2", "SmolLM2.Q4_1.gguf", null]);
  // The other one's files come anew with another visit, under a key that may be another's then.
  await actions.measure([{ key: "file:1", scale: 1 }], { repeats: true });
  assert.equal("repetitionTokens" in asked("measure")[1][0], false);
  assert.equal(store.state.measured.length, 2);
  const again = createStore(defaults());
  createActions(again).recallBench();
  assert.deepEqual(again.state.measured.map(({ parts }) => parts[0].key), ["shipped:tone-lora"]);
});

test("stopping is no failure, one thing is done at a time, and another model ends it", async () => {
  const { store, actions } = await page(adapter("a"));
  let end = () => {};
  worker.answers.measure = () => new Promise((_resolve, reject) => { end = () => reject({ code: "aborted", message: "aborted" }); });
  const under = actions.measure([{ key: "a", scale: 1 }]);
  await actions.mapLayers("a");
  assert.equal(asked("layerMap").length, 0);
  actions.stopWork();
  assert.equal(worker.stopped.length, 1);
  end();
  await under;
  assert.deepEqual([store.state.work, store.state.measured.length, store.state.bench.complaints.measure], [null, 0, undefined]);
  const second = actions.measure([{ key: "a", scale: 1 }]);
  const loading = actions.loadModel({ kind: "url", url: "y.gguf", name: "y" });
  assert.equal(worker.stopped.length, 2);
  end();
  await Promise.all([second, loading]);
});

test("what the engine says against the pairs is told, and goes once they are mended", async () => {
  const { store, actions } = await page(adapter("a"));
  worker.answers.behaviours = (text) => {
    if (text.includes("kind")) return ["kind"];
    throw { code: "bad-config", message: "pairs: mine[0].negative is missing" };
  };
  await actions.setOwnPairs("[{}]");
  assert.match(store.state.bench.complaints.pairs?.message ?? "", /mine\[0\]\.negative/);
  assert.deepEqual(store.state.bench.own, []);
  await actions.setOwnPairs('{"kind": []}');
  assert.deepEqual([store.state.bench.complaints.pairs, store.state.bench.own, kept.get("playground.pairs")], [undefined, ["kind"], '{"kind": []}']);
  actions.setBench({ source: "own" });
  await actions.measure([{ key: "a", scale: 1 }]);
  assert.deepEqual([asked("measure")[0][0].pairs, asked("measure")[0][0].behaviour], ['{"kind": []}', "kind"]);
  assert.equal(store.state.measured[0].pairs, '{"kind": []}');
  actions.setBench({ source: "one", one: { prompt: "p", positive: "a", negative: "b" } });
  await actions.measure([{ key: "a", scale: 1 }]);
  assert.deepEqual(JSON.parse(asked("measure")[1][0].pairs), { mine: [{ prompt: "p", positive: "a", negative: "b" }] });
});

test("the same dose for all: each on its side, and what cannot reach it stays", async () => {
  const { store, actions, get } = await page(adapter("a", { coefficient: -0.2 }), adapter("b", { coefficient: 2 }), adapter("c", { coefficient: 0 }));
  await actions.sameDose(["a", "b", "c"], 0.5);
  assert.deepEqual(["a", "b", "c"].map((key) => get(key).coefficient), [-1.5, 2, 0.8]);
  assert.deepEqual(asked("calibrateSide").map(([{ nats, adapters }]) => [nats, adapters]), [[0.5, [{ id: 1 }]], [0.5, [{ id: 2 }]], [0.5, [{ id: 3 }]]]);
  assert.deepEqual(store.state.bench.doses.map(({ side: { c } }) => c), [-1.5, null, 0.8]);
  for (const wrong of [0, -1, NaN, 21]) {
    await actions.sameDose(["a"], wrong);
    assert.equal(store.state.bench.complaints.same?.code, "bad-option");
  }
  assert.equal(asked("calibrateSide").length, 3);
});

test("nats that are typed become a c on their side", async () => {
  const { actions, get } = await page(adapter("a"), adapter("b"));
  await actions.setNats("a", -0.7);
  assert.equal(get("a").coefficient, -1.5);
  assert.equal(asked("calibrateSide")[0][0].nats, 0.7);
  await actions.setNats("b", 0.7);
  assert.equal(get("b").coefficient, 1);
  assert.match(get("b").refused.message, /0\.7 nats are not reached: no c up to 64\.00/);
  await actions.setNats("a", 0);
  assert.equal(get("a").coefficient, 0);
  await actions.setNats("a", NaN);
  assert.equal(get("a").refused.code, "bad-coefficient");
  assert.equal(asked("calibrateSide").length, 2);
});

test("what the chat template is told, measurements are told too", async () => {
  worker.answers.loadModel = () => ({ name: "m", hasTokenizer: true, hasChatTemplate: true, templateVariables: [{ name: "enable_thinking" }] });
  const { store, actions } = await page(adapter("a"));
  store.set({ variables: { enable_thinking: false, unknown: true } });
  await actions.measure([{ key: "a", scale: 1 }]);
  await actions.sameDose(["a"], 1);
  for (const call of ["measure", "calibrateSide"]) assert.deepEqual(asked(call)[0][0].templateVariables, { enable_thinking: false });
  assert.deepEqual(store.state.measured[0].variables, { enable_thinking: false });
});

test("suggested layers become the mask, and the suggested c is set", async () => {
  const { actions, get } = await page(adapter("a"));
  await actions.useLayers("a", { layers: "9-14", dose: side(1.3) });
  assert.deepEqual([get("a").layers, get("a").coefficient], ["9-14", 1.3]);
  assert.deepEqual(asked("setMask"), [[1, "9-14", "", ""]]);
  await actions.useLayers("a", { layers: "3", dose: side(null) });
  assert.deepEqual([get("a").layers, get("a").coefficient], ["3", 1.3]);
});

test("a vector joins the list as an adapter, and a refusal is told as the engine says it", async () => {
  const { store, actions, get } = await page(adapter("a"));
  const weights = new Uint8Array(3);
  worker.answers.makeVector = ({ positive, name }) => {
    if (!positive.length) throw { code: "bad-value", message: "no texts" };
    return { files: { name, config: "{}", weights }, gguf: new Uint8Array(2), calibration: { positive: side(1) }, warnings: [] };
  };
  await actions.makeVector({ name: "kind", positive: [], negative: [] });
  assert.equal(store.state.bench.complaints.vector?.message, "no texts");
  await actions.makeVector({ name: "kind", positive: ["a"], negative: ["b"] });
  await settled();
  const made = get("made:1");
  assert.deepEqual([made.title, made.coefficient, made.id, made.files], ["kind", 1, 2, { config: "{}", weights }]);
  assert.deepEqual(asked("loadAdapter"), [[{ name: "kind", config: "{}", weights, task: undefined, expertWeights: undefined }]]);
  assert.equal(store.state.bench.complaints.vector, undefined);
  assert.equal(store.state.bench.made[0].key, "made:1");
});

test("what was measured of numbers that are others now is forgotten", async () => {
  const weights = new Uint8Array([1, 2, 3]);
  const hash = "039058c6f2c0cb492c533b0a4d14ef77cc0f78abccced5287d84a1a2011cfb81";
  const one = (key, sha256) => ({ parts: [{ key, scale: 1, title: key, manner: "" }], model: "m", modelFile: "m", pairs: null, found: found({ adapters: [{ ...found().adapters[0], sha256 }] }) });
  kept.set("playground.measured", JSON.stringify([one("shipped:a", hash), one("shipped:b", "another"), { parts: [] }]));
  const store = createStore(defaults());
  const actions = createActions(store);
  actions.recallBench();
  assert.equal(store.state.measured.length, 2);
  for (const key of ["shipped:a", "shipped:b"]) actions.addAdapter(adapter(key, { files: { config: null, weights } }));
  for (let n = 0; n < 100 && store.state.measured.length > 1; n += 1) await settled();
  assert.deepEqual(store.state.measured.map(({ parts }) => parts[0].key), ["shipped:a"]);
});
