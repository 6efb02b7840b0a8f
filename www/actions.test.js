// node --test www
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** A worker that answers as told: `answers[call]` gives a value, throws, or gives a promise. */
const worker = { asked: [], answers: {} };
globalThis.Worker = class {
  terminate() { this.gone = true; }
  async postMessage({ id, call, args, abort }) {
    if (abort !== undefined) return;
    worker.asked.push([call, ...args]);
    const step = (value) => { if (!this.gone) this.onmessage({ data: { id, step: value } }); };
    let data;
    try {
      data = { id, value: await worker.answers[call]?.(...args, step) };
    } catch (error) {
      data = { id, error };
    }
    if (!this.gone) this.onmessage({ data });
  }
};
const { createActions } = await import("./actions.js");
const { createStore, defaults } = await import("./state/store.js");

const refusal = (code) => { throw { code, message: `not so: ${code}` }; };
/** A promise and its two ends. */
function held() {
  const ends = {};
  const promise = new Promise((resolve, reject) => Object.assign(ends, { resolve, reject }));
  return { promise, ...ends };
}
const settled = () => new Promise((resolve) => setTimeout(resolve));
const adapter = (name, more = {}) => ({ key: name, name, title: name, files: { config: null, weights: new Uint8Array(1) }, coefficient: 0, enabled: true, ...more });
const LAWS = ["linear", "power"].map((law) => ({ law, words: `${law}ly`, domain: null }));

let next;
beforeEach(() => {
  next = 1;
  worker.asked = [];
  worker.answers = {
    create: () => ({ device: {}, methods: [] }), cachedModels: () => [], memory: () => null,
    loadModel: () => ({ hasTokenizer: true, hasChatTemplate: true }), inspectAdapter: () => ({ tasks: null }),
    loadAdapter: () => ({ id: next++, law: "linear", laws: LAWS }),
    setCoefficient: (_id, c) => (Math.abs(c) > 10 ? refusal("bad-coefficient") : undefined),
    setMask: (_id, layers) => (/[a-z]/.test(layers) ? refusal("bad-option") : undefined),
  };
});

/** A page with these adapters in it, and a model. */
async function page(...adapters) {
  const store = createStore(defaults());
  const actions = createActions(store);
  for (const one of adapters) actions.addAdapter(one);
  await actions.start();
  await actions.loadModel({ kind: "url", url: "x.gguf", name: "x" });
  assert.equal(store.state.model.status, "ready");
  worker.asked = [];
  const get = (key) => store.state.adapters.find((item) => item.key === key);
  return { store, actions, get };
}
const asked = (call) => worker.asked.filter(([name]) => name === call).map(([, ...args]) => args);

test("a value refused while another is on its way: the other stays", async () => {
  for (const bad of [99, NaN, Infinity]) {
    const { actions, get } = await page(adapter("a", { coefficient: 0.25 }));
    const way = held();
    worker.answers.setCoefficient = (_id, c) => (c === 1 ? way.promise : Math.abs(c) > 10 ? refusal("bad-coefficient") : undefined);
    actions.setCoefficient("a", 1);
    actions.setCoefficient("a", bad);
    way.resolve();
    await settled();
    assert.equal(get("a").coefficient, 1, `${bad}`);
    assert.equal(get("a").refused.code, "bad-coefficient");
  }
});

test("a value accepted while a refused one is on its way is what stays", async () => {
  const { actions, get } = await page(adapter("a", { coefficient: 0.25 }));
  const way = held();
  worker.answers.setCoefficient = (_id, c) => (c === 99 ? way.promise : undefined);
  actions.setCoefficient("a", 99);
  actions.setCoefficient("a", 2);
  actions.setCoefficient("a", 3);
  way.reject({ code: "bad-coefficient", message: "too much" });
  await settled();
  assert.equal(get("a").coefficient, 3);
  assert.equal(get("a").refused, null, "what is shown now was not refused");
  assert.deepEqual(asked("setCoefficient"), [[1, 99], [1, 3]], "of several only the last is asked");
});

test("both refused, one after the other: what the engine had", async () => {
  const { actions, get } = await page(adapter("a", { coefficient: 0.25 }));
  actions.setCoefficient("a", 98);
  actions.setCoefficient("a", 99);
  await settled();
  assert.equal(get("a").coefficient, 0.25);
  assert.equal(get("a").refused.code, "bad-coefficient");
});

test("refused layers go back alone, and the modules stay what acts", async () => {
  const { actions, get } = await page(adapter("a"));
  await actions.setMask("a", { modules: "v_proj" });
  await actions.setMask("a", { layers: "abc" });
  assert.deepEqual([get("a").layers ?? "", get("a").modules], ["", "v_proj"]);
  assert.equal(get("a").refused.code, "bad-option");
  await actions.setMask("a", { modules: "" });
  assert.deepEqual([get("a").layers ?? "", get("a").modules, get("a").refused], ["", "", null]);
  assert.deepEqual(asked("setMask").at(-1), [1, "", "", ""], "the engine is told what the boxes show");
});

test("modules cleared while refused layers are on their way are cleared", async () => {
  const { actions, get } = await page(adapter("a", { modules: "v_proj" }));
  const way = held();
  worker.answers.setMask = (_id, layers) => (layers === "abc" ? way.promise : undefined);
  actions.setMask("a", { layers: "abc" });
  actions.setMask("a", { modules: "" });
  way.reject({ code: "bad-option", message: "no" });
  await settled();
  assert.deepEqual([get("a").layers ?? "", get("a").modules, get("a").refused?.code], ["", "", "bad-option"]);
  assert.deepEqual(asked("setMask").at(-1), [1, "", "", ""]);
});

test("tokens go with layers and modules, and refused ones go back alone", async () => {
  const { actions, get } = await page(adapter("a", { layers: "3", positions: "generated" }));
  assert.deepEqual([get("a").positions, get("a").refused ?? null], ["generated", null]);
  worker.answers.setMask = (_id, _layers, _modules, positions) => (positions === "answer" ? refusal("bad-option") : undefined);
  await actions.setMask("a", { positions: "answer" });
  assert.deepEqual(asked("setMask"), [[1, "3", "", "answer"]]);
  assert.deepEqual([get("a").layers, get("a").positions, get("a").refused.code], ["3", "generated", "bad-option"]);
});

test("a refused law and a refused switch go back too", async () => {
  const { actions, get } = await page(adapter("a"));
  worker.answers.setLaw = () => refusal("bad-law");
  worker.answers.setEnabled = () => refusal("no-such-adapter");
  await actions.setLaw("a", "power");
  assert.deepEqual([get("a").law, get("a").refused.code], [undefined, "bad-law"]);
  await actions.setEnabled("a", false);
  assert.deepEqual([get("a").enabled, get("a").refused.code], [true, "no-such-adapter"]);
});

test("what a link asks and the engine refuses is not shown as if it acted", async () => {
  const { get } = await page(adapter("a", { coefficient: 99, layers: "abc", modules: "v_proj" }), adapter("b", { coefficient: 2 }));
  assert.deepEqual([get("a").coefficient, get("a").layers, get("a").modules], [0, undefined, undefined]);
  assert.equal(get("a").id, 1, "it is there all the same");
  assert.ok(get("a").refused);
  assert.equal(get("b").coefficient, 2);
});

test("turning an adapter that could not be loaded does not hide why", async () => {
  worker.answers.loadAdapter = () => refusal("wrong-shape");
  const { actions, get } = await page(adapter("a"));
  await actions.setCoefficient("a", 1);
  assert.equal(get("a").error.code, "wrong-shape");
});

test("an adapter is called as its owner says, and by the name before where that is nothing", async () => {
  const { actions, get } = await page(adapter("a", { title: "Your adapter 1" }));
  actions.rename("a", " seed 2 ");
  assert.equal(get("a").title, "seed 2");
  actions.rename("a", "  ");
  assert.equal(get("a").title, "seed 2");
  assert.equal(worker.asked.length, 0, "the engine knows no titles");
});

test("a task chosen while a refused one is on its way is read", async () => {
  const { actions, get } = await page(adapter("a", { task: 0 }));
  const way = held();
  worker.answers.reloadAdapter = (id, { task }) => (task === 9 ? way.promise : { id, law: "linear", laws: LAWS });
  actions.setTask("a", 9);
  await settled();
  actions.setTask("a", 1);
  way.reject({ code: "bad-task", message: "no" });
  await settled();
  assert.deepEqual([get("a").task, get("a").loaded.task, get("a").refused], [1, 1, null]);
  worker.answers.reloadAdapter = () => refusal("bad-task");
  await actions.setTask("a", 9);
  assert.deepEqual([get("a").task, get("a").refused.code, get("a").error], [1, "bad-task", null]);
});

test("a place that is filled later acts in the order of the list", async () => {
  const { actions, get, store } = await page(adapter("here"), { ...adapter("there"), key: "wanted:0", files: null, wanted: true, coefficient: 2 }, adapter("last", { coefficient: 3 }));
  assert.equal(get("last").id, 2);
  await actions.addAdapter(adapter("there", { coefficient: 2 }), "wanted:0");
  await settled();
  assert.deepEqual(store.state.adapters.map(({ key, id }) => [key, id]), [["here", 1], ["there", 3], ["last", 4]]);
  assert.deepEqual(asked("removeAdapter"), [[2]]);
  assert.deepEqual(asked("setCoefficient").at(-1), [4, 3], "turned as before");
});

test("an adapter removed while it loads is taken out of the engine", async () => {
  const { actions } = await page();
  const way = held();
  worker.answers.loadAdapter = () => way.promise;
  actions.addAdapter(adapter("a"));
  await settled();
  actions.removeAdapter("a");
  way.resolve({ id: 7, law: "linear", laws: LAWS });
  await settled();
  assert.deepEqual(asked("removeAdapter"), [[7]]);
});

test("a model without a tokenizer: Run says what to do, and asks nothing", async () => {
  worker.answers.loadModel = () => ({ hasTokenizer: false, hasChatTemplate: false });
  const { actions, store } = await page();
  await actions.run();
  assert.equal(store.state.run.error.code, "no-tokenizer");
  assert.match(store.state.run.error.message, /tokenizer\.json/);
  assert.deepEqual(asked("generate"), []);
});

test("a model without a chat template goes on with the text", async () => {
  worker.answers.loadModel = () => ({ hasTokenizer: true, hasChatTemplate: false });
  const { actions } = await page();
  await actions.run();
  assert.equal(asked("generate")[0][0].chat, undefined);
  assert.equal(asked("generate")[0][0].prompt, defaults().prompt);
});

const token = (more) => ({ kind: "token", klNats: 0.5, coefficients: [], cache: "current", top: [], ...more });
const lane = (id, finish = null) => ({ id, text: "x", probability: 1, finish });

test("a run that diverges keeps its text, without a distance that is none", async () => {
  const { actions, store } = await page(adapter("a", { coefficient: 9 }));
  worker.answers.generate = async (_request, step) => {
    step(token({ steered: lane(1), base: lane(1), coefficients: [[1, 9]] }));
    step(token({ steered: lane(2), base: lane(1), klNats: NaN, coefficients: [[1, 9]] }));
    refusal("diverged");
  };
  await actions.run();
  const { run } = store.state;
  assert.deepEqual([run.status, run.error.code, run.tokens.length], ["failed", "diverged", 2]);
  assert.deepEqual(run.tokens.map(({ klNats }) => klNats), [0.5, null]);
  worker.answers.generate = async (_request, step) => step(token({ steered: lane(1, "length"), base: lane(1, "length") }));
  await actions.setCoefficient("a", 1);
  await actions.run();
  assert.deepEqual([store.state.run.status, store.state.run.error], ["done", null]);
});

test("once the steered text has ended nothing acts on it", async () => {
  const { actions, store } = await page(adapter("a", { coefficient: 1 }));
  worker.answers.generate = async (_request, step) => {
    step(token({ steered: lane(1, "end-of-text"), base: lane(1), coefficients: [[1, 1]] }));
    step(token({ steered: null, base: lane(2, "length"), klNats: null, coefficients: [[1, 5]], cache: "kept" }));
  };
  await actions.run();
  assert.deepEqual(store.state.run.tokens.map(({ doses, cache }) => [doses.map(({ c }) => c), cache]), [[[1], "current"], [[], "current"]]);
});

test("a list that cannot be fetched is told, and comes at the second try without losing what was added", async () => {
  const { actions, store, get } = await page(adapter("mine"));
  await actions.listShipped(async () => refusal("network"));
  assert.deepEqual([store.state.shelf.status, store.state.shelf.error.code], ["failed", "network"]);
  await actions.listShipped(async () => ({ list: [{ ...adapter("shipped:a"), id: null, error: null }], gone: [], zoo: [] }));
  await settled();
  assert.deepEqual(store.state.adapters.map(({ key }) => key), ["mine", "shipped:a"]);
  assert.equal(get("shipped:a").id, 2, "it is loaded");
  await actions.listShipped(async () => ({ list: [{ ...adapter("theirs"), key: "wanted:0", wanted: true, id: null, error: null }], gone: [], zoo: [] }));
  assert.equal(store.state.adapters.length, 2, "a place that a link wants is kept once");
  const zoo = [{ folder: "tone/lora" }];
  await actions.listShipped(async () => ({ list: [{ ...adapter("zoo:tone/lora"), id: null, error: null }], gone: [], zoo }));
  assert.equal(store.state.adapters.length, 2, "one of the zoo that was removed is not brought back");
  assert.equal(store.state.zoo, zoo);
});

test("a model that fails says whether a copy of it is kept, and the copy can be deleted", async () => {
  worker.answers.loadModel = () => refusal("wrong-magic");
  worker.answers.cachedModels = () => [{ url: "x.gguf", complete: true }];
  const store = createStore(defaults());
  const actions = createActions(store);
  await actions.start();
  await actions.loadModel({ kind: "url", url: "x.gguf", name: "x" });
  assert.deepEqual([store.state.model.status, store.state.model.kept?.complete], ["failed", true]);
  await actions.forgetModel("x.gguf");
  assert.deepEqual([store.state.model.kept, store.state.model.deleted], [null, true]);
});

test("a frame that may have no workers is told so", async () => {
  const { Worker } = globalThis;
  globalThis.Worker = class { constructor() { throw new DOMException("not from here", "SecurityError"); } };
  try {
    const store = createStore(defaults());
    assert.equal(await createActions(store).start(), false);
    assert.deepEqual([store.state.engine.status, store.state.engine.error.code], ["failed", "device-unavailable"]);
    assert.match(store.state.engine.error.message, /tab of its own/);
  } finally {
    globalThis.Worker = Worker;
  }
});

test("a model of the Hub is asked for at the link's mirror, found in what is kept, and deleted there", async () => {
  const { store, actions } = await page();
  store.set({ hub: "http://mirror" });
  const kept = ["model.safetensors", "config.json#b1"].map((name) => ({
    url: `http://mirror/o/n/resolve/main/${name}`, complete: true, keptBytes: 5, sizeBytes: 5, sha256: null, version: null,
  }));
  worker.answers.cachedModels = () => kept;
  worker.answers.loadModel = () => refusal("network");
  await actions.loadModel({ kind: "url", url: "hub:o/n", name: "o/n" });
  assert.deepEqual(asked("loadModel").map(([url, { hub }]) => [url, hub]), [["hub:o/n", "http://mirror"]]);
  assert.deepEqual([store.state.model.status, store.state.model.kept.keptBytes], ["failed", 10]);
  await actions.forgetModel("hub:o/n");
  assert.deepEqual(asked("deleteCachedModel"), kept.map(({ url }) => [url]));
});
