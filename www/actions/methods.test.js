// node --test www
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { beforeEach, test } from "node:test";

/** A worker that answers as told, and files as a server has them. */
const worker = { asked: [], answers: {} };
globalThis.Worker = class {
  terminate() {}
  async postMessage({ id, call, args, abort }) {
    if (abort !== undefined) return;
    worker.asked.push([call, ...args.map((one) => one?.name ?? one)]);
    let data;
    try {
      data = { id, value: await worker.answers[call]?.(...args) };
    } catch (error) {
      data = { id, error };
    }
    this.onmessage({ data });
  }
};
const WEIGHTS = new Uint8Array([1, 2, 3]);
const sha256 = createHash("sha256").update(WEIGHTS).digest("hex");
let held = {};
let missing = "";
globalThis.fetch = async (url) => {
  const path = String(url).split("/adapters/")[1];
  await held[path];
  if (path === missing) return { ok: false, status: 404 };
  const list = { model: "x", methods: METHODS, rows: NAMES.map((name) => ({ folder: `tone/${name}`, method: name, behaviour: "tone", c: [-1, 0, 1], nats: name === "ia3" ? [0.5, 0, 0.5] : [2, 0, 2] })) };
  return { ok: true, status: 200, json: async () => (path === "zoo.json" ? list : {}), arrayBuffer: async () => WEIGHTS.slice().buffer };
};
const { createActions } = await import("../actions.js");
const { createStore, defaults } = await import("../state/store.js");

const NAMES = ["lora", "ia3", "hra"];
const METHODS = NAMES.map((name) => ({ name, title: name.toUpperCase(), family: "scale" }));
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

let next;
beforeEach(() => {
  [next, held, missing, worker.asked] = [1, {}, "", []];
  worker.answers = {
    create: () => ({ device: {}, methods: METHODS }), cachedModels: () => [], memory: () => null,
    loadModel: () => ({ name: "x", hasTokenizer: true }), inspectAdapter: () => ({ tasks: null }), loadAdapter: () => ({ id: next++, law: "linear", laws: [] }),
  };
});

/** A page with a zoo, and with a model. */
async function page(withModel = true) {
  const store = createStore(defaults());
  const actions = createActions(store);
  store.set({ zoo: NAMES.map((name) => ({ folder: `tone/${name}`, method: name, behaviour: "tone", parameters: 3, bytes: 3, sha256 })) });
  await actions.start();
  if (withModel) await actions.loadModel({ kind: "url", url: "x.gguf", name: "x" });
  worker.asked = [];
  const acting = () => store.state.adapters.filter(({ enabled, coefficient }) => enabled && coefficient !== 0).map(({ name, coefficient }) => [name, coefficient]);
  return { store, actions, acting };
}
const calls = (...names) => worker.asked.filter(([call]) => names.includes(call));

test("one takes another's place at once, in the engine too, and what was chosen last is what acts", async () => {
  const { store, actions, acting } = await page();
  await actions.takeMethod("tone/lora");
  assert.deepEqual(acting(), [["tone/lora", 1]]);
  await actions.setCoefficient("zoo:tone/lora", -0.5);
  worker.asked = [];
  await actions.takeMethod("tone/ia3");
  assert.deepEqual(acting(), [["tone/ia3", -0.5]], "c stays");
  // The one that comes is read before the other ceases, and nothing comes between the two.
  assert.deepEqual(worker.asked.filter(([call]) => !["inspectAdapter", "memory"].includes(call)),
    [["loadAdapter", "tone/ia3"], ["setEnabled", 1, false], ["setCoefficient", 2, -0.5], ["removeAdapter", 1]]);
  assert.equal(store.state.adapters.length, 1);
  assert.match(store.state.methods.said, /^IA3 acts at −0\.50, in the place of LORA\.$/);
  let come = () => {};
  held["tone/hra/adapter_model.safetensors"] = new Promise((resolve) => { come = resolve; });
  const first = actions.takeMethod("tone/hra");
  await settled();
  actions.takeMethod("tone/lora");
  come();
  await first;
  assert.deepEqual(acting(), [["tone/lora", -0.5]]);
  assert.equal(store.state.methods.taking, null);
});

test("with the dose kept, c goes where the nats are the same", async () => {
  const { store, actions, acting } = await page();
  await actions.takeMethod("tone/lora");
  await actions.setCoefficient("zoo:tone/lora", 0.25);
  actions.setMethods({ sameDose: true });
  await actions.takeMethod("tone/ia3");
  assert.deepEqual(acting(), [["tone/ia3", 1]]);
  assert.match(store.state.methods.said, /as far as LORA at 0\.25, by 0\.50 nats/);
});

test("beside the others nobody's place is taken, and without a model the list alone changes", async () => {
  const { actions, acting } = await page(false);
  await actions.takeMethod("tone/lora");
  actions.setMethods({ beside: true });
  await actions.takeMethod("tone/ia3");
  assert.deepEqual(acting(), [["tone/lora", 1], ["tone/ia3", 1]]);
  assert.deepEqual(calls("loadAdapter"), []);
});

test("one with tasks runs that of the column in which it was chosen, and the same press elsewhere another", async () => {
  const { store, actions, acting } = await page();
  worker.answers.inspectAdapter = () => ({ tasks: 2 });
  worker.answers.reloadAdapter = (id) => ({ id, law: "linear", laws: [] });
  const several = { folder: "several/poly", method: "poly", behaviour: "tone, register", behaviours: ["tone", "register"], parameters: 3, bytes: 3, sha256 };
  store.set({ zoo: [...store.state.zoo, several] });
  const task = () => store.state.adapters.find(({ name }) => name === "several/poly")?.task ?? 0;
  await actions.takeMethod("tone/lora");
  await actions.takeMethod("several/poly", "register");
  assert.deepEqual([task(), acting()], [1, [["tone/lora", 1], ["several/poly", 1]]], "it stands for another behaviour");
  await actions.takeMethod("several/poly", "tone");
  assert.deepEqual([task(), acting()], [0, [["several/poly", 1]]]);
});

test("what does not come, or is refused, takes nobody's place", async () => {
  const { store, actions, acting } = await page();
  await actions.takeMethod("tone/lora");
  missing = "tone/ia3/adapter_model.safetensors";
  await actions.takeMethod("tone/ia3");
  assert.deepEqual(acting(), [["tone/lora", 1]]);
  assert.match(store.state.methods.error.message, /404/);
  worker.answers.loadAdapter = () => { throw { code: "wrong-shape", message: "not this wide" }; };
  await actions.takeMethod("tone/hra");
  assert.deepEqual(acting(), [["tone/lora", 1]]);
  assert.equal(store.state.methods.error.code, "wrong-shape");
  assert.equal(store.state.adapters.at(-1).error.code, "wrong-shape", "its card is there, and says why");
  worker.answers.loadAdapter = () => ({ id: next++, law: "power", laws: [] });
  worker.answers.setCoefficient = () => { throw { code: "bad-coefficient", message: "outside its domain" }; };
  missing = "";
  await actions.takeMethod("tone/ia3");
  assert.deepEqual(acting(), [["tone/lora", 1]]);
  assert.equal(store.state.methods.said, "");
});

test("keys go through the methods of a behaviour and round", async () => {
  const { actions, acting } = await page();
  const at = async (by) => { await actions.nextMethod(by); return acting()[0][0]; };
  assert.deepEqual([await at(1), await at(1), await at(1), await at(1), await at(-1)], ["tone/lora", "tone/ia3", "tone/hra", "tone/lora", "tone/hra"]);
});

test("a comparison brings what it needs, not turned, and names who is left out", async () => {
  const { store, actions, acting } = await page();
  await actions.listMethods();
  const list = await actions.comparison(["tone/lora", "tone/ia3"], 1, 1);
  assert.deepEqual(list.map(({ doses }) => doses), [[{ key: "zoo:tone/lora", c: 0.5 }]]);
  assert.match(store.state.methods.said, /left out/);
  assert.deepEqual(acting(), []);
  assert.deepEqual(calls("loadAdapter"), [["loadAdapter", "tone/lora"]]);
  actions.pick("lora");
  assert.deepEqual(store.state.methods.picked, ["lora"]);
});
