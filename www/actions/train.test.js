// node --test www
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** A worker that answers as told, tells how far it is, and can be stopped. */
const worker = { asked: [], answers: {}, stop: () => {} };
globalThis.Worker = class {
  terminate() { this.gone = true; }
  async postMessage({ id, call, args, abort }) {
    if (abort !== undefined) return worker.stop();
    worker.asked.push([call, ...args]);
    const say = (message) => { if (!this.gone) this.onmessage({ data: { id, ...message } }); };
    try {
      say({ value: await worker.answers[call]?.(args[0], say) });
    } catch (error) {
      say({ error });
    }
  }
};
/** As much of a database as is asked for. */
const base = new Map();
let denied = false;
const request = (value) => {
  const one = { result: value };
  setTimeout(() => { one.onupgradeneeded?.(); one.onsuccess?.(); });
  return one;
};
globalThis.indexedDB = /** @type {any} */ ({
  open() {
    if (denied) throw Object.assign(new Error("The operation is insecure"), { name: "SecurityError" });
    return request({
      createObjectStore() {}, close() {},
      transaction() {
        const transaction = { objectStore: () => ({
          put: (value, name) => request(base.set(name, structuredClone(value)) && name),
          get: (name) => request(base.get(name)), delete: (name) => request(base.delete(name) && undefined),
        }) };
        setTimeout(() => transaction.oncomplete(), 5);
        return transaction;
      },
    });
  },
});
/** Locks, which end with the tab that holds them: `closed`. */
const tabs = { held: new Set(), closed() { this.held.clear(); } };
Object.defineProperty(globalThis, "navigator", { configurable: true, value: { locks: {
  async request(name, { signal, ifAvailable }, does) {
    if (ifAvailable && tabs.held.has(name)) return does(null);
    while (tabs.held.has(name)) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      signal.throwIfAborted();
    }
    tabs.held.add(name);
    await does({ name });
    tabs.held.delete(name);
  },
} } });
globalThis.localStorage = /** @type {any} */ ({ getItem: () => null, setItem() {} });
globalThis.fetch = /** @type {any} */ (async (url) => ({ ok: String(url).endsWith("contrast.json"), text: async () => '{"tone": []}' }));
const { createActions } = await import("../actions.js");
const { createStore, defaults } = await import("../state/store.js");
const { foretold, isKept, middle, progress, summary, trainable } = await import("../state/training.js");

const until = async (holds) => { for (let n = 0; n < 200 && !holds(); n += 1) await new Promise((resolve) => setTimeout(resolve, 2)); assert.ok(holds()); };
const check = (isBest = true) => ({ dNats: [-0.4, 0.1, 0.6], orderedShare: 1, nllShiftNats: [0.05, 0.02], isBest });
const step = (n, more = {}) => ({ step: n, sign: n % 2 ? 1 : -1, loss: 2 - n / 50, gradient: 1, check: null, ...more });
const ESTIMATE = { steps: 48, stepSeconds: 2, seconds: 130, memory: { wasmHeapBytes: 3e8, wasmHeapPeakBytes: 3.9e8, gpuBytes: 0, gpuPeakBytes: 0 } };
const told = (n) => ({ step: n ? step(n) : null, parameters: 99, seconds: n * 2, memory: { wasmHeapBytes: 1 }, ...(n ? {} : { estimate: ESTIMATE }), ...(n && n % 10 === 0 ? { state: new Uint8Array([n]) } : {}) });
const left = (steps, more = {}) => ({ config: "{}", weights: new Uint8Array([steps]), record: { method: "lora", behaviour: "tone", steps, seconds: null }, steps, ...more });
/** Trains from `state` on until it is stopped or at its end. */
const trains = (endless = false) => async ({ steps, state }, say) => {
  let stopped = false;
  worker.stop = () => { stopped = true; };
  let n = state?.[0] ?? 0;
  say({ progress: told(0) });
  while (n < steps && !stopped) {
    say({ progress: { ...told(n += 1) } });
    if (endless && n % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return left(n, stopped ? { state: new Uint8Array([n]) } : {});
};

const WISH = { name: "bright", own: false, method: "lora", behaviour: "tone", rank: 1, steps: 24, seed: 0 };
beforeEach(() => {
  base.clear();
  tabs.closed();
  denied = false;
  Object.assign(worker, { asked: [], stop: () => {} });
  let next = 1;
  worker.answers = {
    create: () => ({ device: {}, methods: [] }), cachedModels: () => [], memory: () => null, behaviours: () => ["tone"],
    loadModel: () => ({ name: "SmolLM2", hasTokenizer: true, hasChatTemplate: true }), inspectAdapter: () => ({ tasks: null }),
    loadAdapter: () => ({ id: next++, law: "linear", laws: [] }), train: trains(),
  };
});
async function page() {
  const store = createStore(defaults());
  const actions = createActions(store);
  await actions.start();
  await actions.loadModel({ kind: "url", url: "https://here/SmolLM2.Q4_1.gguf", name: "SmolLM2" });
  worker.asked = [];
  return { store, actions, get: (key) => store.state.adapters.find((item) => item.key === key) };
}
const asked = (call) => worker.asked.filter(([name]) => name === call).map(([, ...args]) => args);

test("a training tells its steps, keeps what it takes to go on, and joins the list at its end", async () => {
  const { store, actions, get } = await page();
  const seen = [];
  store.watch(["work"], ({ work }) => work && seen.push([work.done, work.total]));
  worker.answers.train = async (wish, say) => {
    for (let n = 0; n <= 21; n += 1) say({ progress: told(n) });
    await until(() => base.get("training")?.steps.length === 20);
    assert.deepEqual([store.state.training.kept?.steps.length, [...store.state.training.kept?.state ?? []]], [20, [20]]);
    return left(24, { record: { method: "lora", behaviour: "tone", steps: 12, seconds: null } });
  };
  await actions.train({ ...WISH, steps: 21, layers: "9-20" });
  assert.deepEqual(asked("train"), [[{ method: "lora", behaviour: "tone", rank: 1, steps: 21, seed: 0, layers: "9-20" }]]);
  assert.deepEqual([seen[0], seen.at(-1)], [[0, 0], [21, 21]]);
  const { course, kept, made } = store.state.training;
  assert.deepEqual(course?.estimate, ESTIMATE);
  assert.deepEqual([course?.end, course?.steps.length, course?.parameters, course?.seconds, kept, made[0].record.seconds], ["done", 21, 99, 42, null, 42]);
  const adapter = get("trained:1");
  assert.deepEqual([adapter.title, adapter.coefficient, adapter.id, adapter.files], ["bright", 1, 1, { config: "{}", weights: new Uint8Array([24]) }]);
  await until(() => base.size === 0);
});

test("stopping keeps what was reached, and a reload can go on", async () => {
  const first = await page();
  worker.answers.train = trains(true);
  const under = first.actions.train(WISH);
  await until(() => (first.store.state.training.course?.steps.length ?? 0) >= 12);
  first.actions.stopWork();
  assert.equal(first.store.state.work?.stopping, true);
  await under;
  const at = first.store.state.training.course?.steps.length ?? 0;
  assert.deepEqual([first.store.state.training.course?.end, first.get("trained:1")?.title, first.store.state.bench.complaints.train], ["stopped", "bright", undefined]);
  await until(() => base.get("training")?.steps.length === at);
  tabs.closed();
  const { store, actions } = await page();
  assert.equal(await actions.recallTraining(), true);
  worker.answers.train = trains();
  await actions.goOn();
  const [[wish]] = asked("train");
  assert.deepEqual([wish.method, [...wish.state], "name" in wish], ["lora", [at], false]);
  assert.deepEqual([store.state.training.course?.steps.map((one) => one.step), store.state.training.kept], [Array.from({ length: 24 }, (_, n) => n + 1), null]);
  await until(() => base.size === 0);
  assert.equal(await (await page()).actions.recallTraining(), false);
});

test("what fails on its way joins the list all the same; what fails at once leaves nothing", async () => {
  const { store, actions, get } = await page();
  worker.answers.train = (_wish, say) => {
    for (let n = 0; n <= 11; n += 1) say({ progress: told(n) });
    return left(11, { error: { code: "not-trained", message: "the loss of step 12: it is not finite" } });
  };
  await actions.train(WISH);
  assert.deepEqual([store.state.bench.complaints.train?.code, store.state.training.course?.end, store.state.training.kept, get("trained:1")?.name], ["not-trained", "failed", null, "bright"]);
  worker.answers.train = () => { throw { code: "bad-option", message: "layers" }; };
  await actions.train(WISH);
  assert.deepEqual([store.state.bench.complaints.train?.code, store.state.training.made.length, store.state.adapters.length], ["bad-option", 1, 1]);
});

test("a lost device leaves what was kept; a browser that keeps nothing says so and goes on in this visit", async () => {
  denied = true;
  const { store, actions } = await page();
  worker.answers.train = async (_wish, say) => {
    for (let n = 0; n <= 13; n += 1) say({ progress: told(n) });
    await until(() => store.state.training.unkept !== "");
    throw { code: "device-lost", message: "gone" };
  };
  await actions.train(WISH);
  const { training: { kept, unkept, course }, bench } = store.state;
  assert.deepEqual([kept?.steps.length, unkept, course?.end, bench.complaints.train?.code], [10, "The operation is insecure", "failed", "device-lost"]);
  await until(() => store.state.model.status === "ready");
  worker.answers.train = trains();
  await actions.goOn();
  assert.deepEqual([store.state.training.course?.steps.length, store.state.training.made.length], [24, 1]);
  assert.equal(await actions.recallTraining(), false);
});

test("a second tab leaves alone what the first one keeps, and says so", async () => {
  const stopped = async ({ store, actions }, name) => {
    worker.answers.train = trains(true);
    const under = actions.train({ ...WISH, name });
    await until(() => (store.state.training.course?.steps.length ?? 0) >= 12);
    actions.stopWork();
    await under;
  };
  const first = await page();
  await stopped(first, "first");
  await until(() => base.get("training")?.name === "first");
  const second = await page();
  assert.deepEqual([await second.actions.recallTraining(), second.store.state.training.elsewhere, second.store.state.training.kept], [false, true, null]);
  await stopped(second, "second");
  await new Promise((resolve) => setTimeout(resolve, 700));
  assert.deepEqual([base.get("training").name, second.store.state.training.kept?.name], ["first", "second"]);
  assert.match(second.store.state.training.unkept, /another tab/);
  await second.actions.throwAway();
  assert.equal(base.get("training").name, "first");
  // Once the first one is through, the place is free.
  await first.actions.throwAway();
  await stopped(second, "third");
  await until(() => base.get("training")?.name === "third" && second.store.state.training.unkept === "");
  assert.equal(second.store.state.training.elsewhere, false);
});

test("one's own pairs are trained on as they are marked, and what is kept can be thrown away", async () => {
  const { store, actions } = await page();
  const rows = Array.from({ length: 4 }, (_, at) => ({ prompt: String(at), positive: "a", negative: "b" }));
  await actions.setOwnPairs(JSON.stringify({ tone: rows }));
  worker.answers.train = trains(true);
  const under = actions.train({ ...WISH, own: true });
  await until(() => (store.state.training.course?.steps.length ?? 0) > 1);
  actions.stopWork();
  await under;
  assert.deepEqual(JSON.parse(asked("train")[0][0].pairs).tone.map((row) => row.split), ["train", "train", "train", "stop"]);
  await until(() => base.size === 1);
  await actions.throwAway();
  assert.deepEqual([store.state.training.kept, base.size], [null, 0]);
});

test("how far it is and what it shows, in words", () => {
  const course = (many, looks = {}) => ({
    name: "a", wish: { method: "lora", behaviour: "tone", steps: 48 }, model: "m", parameters: 9, seconds: many * 10,
    steps: Array.from({ length: many }, (_, at) => step(at + 1, looks[at + 1] ? { check: looks[at + 1] } : {})),
  });
  assert.match(progress(course(0)), /^Reading/);
  assert.equal(foretold(course(0)), "");
  assert.equal(progress({ ...course(0), estimate: ESTIMATE }), "step 1 of 48 · about 2 minutes left");
  assert.equal(foretold({ ...course(3), estimate: ESTIMATE }), "Measured before its first step: about 2 minutes and 390 MB for 48 steps.");
  assert.match(foretold({ ...course(3), estimate: { ...ESTIMATE, seconds: 20.2, steps: 1 } }), /about 21 seconds and 390 MB for 1 step\.$/);
  assert.equal(progress(course(20)), "step 20 of 48 · 10.0 s a step · about 5 minutes left");
  assert.equal(progress(course(47)), "step 47 of 48 · 10.0 s a step · about 10 seconds left");
  assert.equal(summary(course(1)), "1 of 48 steps was made, with a loss of 1.98.");
  assert.equal(summary(course(12, { 12: check() })), "12 of 48 steps were made: the loss was 1.93 on average over the first 6 and is 1.81 over the last 6. "
    + "On the stop rows, after step 12: d is −0.40 at −1, +0.10 at 0 and +0.60 at +1, in that order on 100 %. The best numbers are those after step 12.");
  assert.match(summary({ ...course(12, { 12: check(false) }), end: "early" }), /So far no numbers are good: .* It ended before its last step/);
});

test("methods by family, LoRA first, and only those that can be trained; blocks from the middle", () => {
  const card = (name, family, trains = true) => /** @type {any} */ ({ name, family, trains });
  const groups = trainable([card("ia3", "scale"), card("dora", "low-rank"), card("svft", "full-rank", false), card("lora", "low-rank")]);
  assert.deepEqual(groups.map(([family, list]) => [family, list.map(({ name }) => name)]), [["low-rank", ["lora", "dora"]], ["scale", ["ia3"]]]);
  assert.deepEqual([30, 24, 2, 1, 0].map(middle), ["9-20", "7-16", "1-1", "0-0", ""]);
});

test("what is no training is not gone on with", () => {
  const good = { name: "a", model: "m", state: new Uint8Array(1), wish: { method: "lora", behaviour: "tone", steps: 4 }, steps: [], parameters: 1, seconds: 0 };
  assert.equal(isKept(good), true);
  for (const wrong of [undefined, null, {}, { ...good, state: [1] }, { ...good, wish: {} }, { ...good, steps: [{}] }]) assert.equal(isKept(wrong), false);
});
