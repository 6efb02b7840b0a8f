// node --test www
import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** A worker that answers as told: `answers[call]` gives a value, throws, or gives a promise; a call that is aborted ends with that error. */
const worker = { asked: [], answers: {}, aborted: new Set() };
globalThis.Worker = class {
  terminate() { this.gone = true; }
  async postMessage({ id, call, args, abort }) {
    if (abort !== undefined) return worker.aborted.add(abort);
    worker.asked.push([call, ...args]);
    const step = (value) => { if (!this.gone) this.onmessage({ data: { id, step: value } }); };
    let data;
    try {
      data = { id, value: await worker.answers[call]?.(...args, step, () => worker.aborted.has(id)) };
    } catch (error) {
      data = { id, error };
    }
    if (!this.gone) this.onmessage({ data });
  }
};
/** The browser's storage. */
const kept = new Map();
globalThis.localStorage = { getItem: (name) => kept.get(name) ?? null, setItem(name, value) { if (worker.full) throw new Error("full"); kept.set(name, value); } };
globalThis.history = { state: null, replaceState(state) { this.state = state; } };

const { createActions } = await import("../actions.js");
const { createStore, defaults } = await import("../state/store.js");

const settled = (ms = 0) => new Promise((resolve) => setTimeout(resolve, ms));
async function until(holds) {
  for (let tries = 0; tries < 200 && !holds(); tries += 1) await settled(5);
  assert.ok(holds());
}
/** At the very moment. */
const when = (store, holds) => new Promise((resolve) => { store.watch(["runs"], ({ runs }) => { if (holds(runs)) resolve(); }); });
const adapter = (name, more = {}) => ({ key: name, name, title: name, files: { config: null, weights: new Uint8Array([1]) }, coefficient: 0, enabled: true, ...more });
const asked = (call) => worker.asked.filter(([name]) => name === call).map(([, ...args]) => args);

/** What the engine was set to, by the adapter's id. */
let c;
/** The base says "a b c", the steered model what it is turned to; each step waits. */
async function generate(request, step, aborted) {
  const turned = [...c].filter(([, value]) => value !== 0);
  for (let at = 0; at < Math.min(3, request.maxTokens); at += 1) {
    await settled(2);
    if (aborted()) throw { code: "aborted", message: "stopped" };
    const lane = (id, text) => ({ id, text, probability: 0.5, finish: at === 2 ? "length" : null });
    const same = turned.length === 0 || at === 0;
    step({
      kind: "token", index: at, base: lane(at, " abc"[at + 1]), steered: same ? lane(at, " abc"[at + 1]) : lane(90 + at, String(turned[0][1])), klNats: same ? 0 : 1, coefficients: turned, cache: "current",
      top: [{ id: 7, text: " x", base: 0.25, steered: 0.5, differenceNats: 0.7 }],
    });
  }
}

let next;
beforeEach(() => {
  [next, c] = [1, new Map()];
  Object.assign(worker, { asked: [], aborted: new Set(), full: false });
  kept.clear();
  globalThis.history.state = null;
  worker.answers = {
    create: () => ({ device: {}, methods: [] }), cachedModels: () => [], memory: () => null, promptIds: () => [40, 41],
    loadModel: () => ({ hasTokenizer: true, hasChatTemplate: true, takesSystem: true, name: "m", sha256: "ff", templateVariables: [], device: { kind: "cpu" }, arithmetic: "f32" }), inspectAdapter: () => ({ tasks: null }),
    loadAdapter: () => ({ id: next++, method: "lora", law: "linear", laws: [{ law: "linear", words: "", domain: null }, { law: "power", words: "", domain: null }] }),
    setCoefficient: (id, value) => { if (Math.abs(value) > 10) throw { code: "bad-coefficient", message: "too far" }; c.set(id, value); }, generate,
  };
});

async function page(...adapters) {
  const store = createStore({ ...defaults(), prompt: "Hi", maxTokens: 3 });
  const actions = createActions(store);
  actions.recallRuns();
  for (const one of adapters) actions.addAdapter(one);
  await actions.start();
  await actions.loadModel({ kind: "url", url: "x/m.gguf", name: "m" });
  worker.asked = [];
  return { store, actions };
}
const texts = (group) => group.rows.map(({ run }) => run?.tokens.map(({ steered }) => steered?.text).join(""));

test("a fan is written one after the other; what is turned meanwhile acts afterwards, and the columns stay", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 0.5 }), adapter("b", { coefficient: 0.25 }));
  await actions.run();
  const { tokens } = store.state.run;
  const fan = actions.fan({ key: "a", from: -1, to: 1, step: 1 });
  await when(store, ({ groups }) => groups.fan?.rows[0].run);
  assert.deepEqual([store.state.work.kind, c.get(1), c.get(2)], ["fan", -1, 0.25], "what else acts stays");
  actions.setCoefficient("a", 2);
  await actions.run();
  assert.equal(asked("generate").length, 2, "no run while it is written");
  assert.equal(c.get(1), -1, "the slider waits");
  await fan;
  await until(() => c.get(1) === 2 && c.get(2) === 0.25);
  const { fan: group } = store.state.runs.groups;
  assert.deepEqual(group.rows.map((row) => row.c), [-1, 0, 1]);
  assert.deepEqual(texts(group), ["a-1-1", "a0.250.25", "a11"]);
  assert.deepEqual(group.rows.map(({ run }) => run.split), [1, 1, 1]);
  assert.deepEqual(group.rows[0].run.turned.map(({ title, c: turned, method }) => [title, turned, method]), [["b", 0.25, "lora"], ["a", -1, "lora"]]);
  assert.equal(store.state.run.tokens, tokens);
  assert.equal(store.state.runs.history.length, 1, "only the run in the columns is in the history");
});

test("a fan that is stopped keeps what is there, and the sliders hold again", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 0.5 }));
  const fan = actions.fan({ key: "a", from: -2, to: 2, step: 1 });
  await when(store, ({ groups }) => groups.fan?.rows[1].run?.tokens.length === 1);
  actions.stopWork();
  await fan;
  const { rows } = store.state.runs.groups.fan;
  assert.deepEqual(rows.map(({ run }) => run?.status), ["done", "stopped", undefined, undefined, undefined]);
  assert.equal(rows[1].run.turned[0].c, -1);
  await until(() => c.get(1) === 0.5);
  assert.deepEqual([store.state.work, store.state.bench.complaints.fan], [null, undefined]);
});

test("a c that is refused is told in its row, and the others are written", async () => {
  const { store, actions } = await page(adapter("a"));
  await actions.fan({ key: "a", from: 0, to: 20, step: 10 });
  const { rows } = store.state.runs.groups.fan;
  assert.deepEqual(rows.map(({ error }) => error?.code), [undefined, undefined, "bad-coefficient"]);
  await actions.fan({ key: "a", from: 0, to: 20, step: 0.1 });
  assert.equal(store.state.bench.complaints.fan.code, "bad-option");
  assert.equal(store.state.runs.groups.fan.rows.length, 3, "what was there stays");
});

test("settings are compared, an adapter's beside a prompt's; laws and places are those of the page afterwards", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 0.5, enabled: false }), adapter("b"));
  await actions.compareRuns([{ title: "A", doses: [{ key: "a", c: 1 }] }, { title: "Ask", doses: [], system: "Be glad." }, { title: "none", doses: [{ key: "gone", c: 1 }] }]);
  const [first, second] = asked("generate").map(([request]) => request);
  assert.deepEqual([first.compare, first.chat.map(({ role }) => role)], [true, ["user"]]);
  assert.deepEqual([second.compare, second.chat[0]], [false, { role: "system", content: "Be glad." }]);
  const { compare } = store.state.runs.groups;
  assert.deepEqual(compare.rows.map(({ title, error }) => [title, error?.code]), [["A", undefined], ["Ask", undefined], ["none", "no-such-adapter"]]);
  assert.equal(compare.rows[1].run.split, null, "the prompt's text is the base's here");
  assert.deepEqual([store.state.runs.tab, asked("setEnabled").at(-1)], ["compare", [1, false]]);
  await actions.compareRuns(Array.from({ length: 5 }, (_, at) => ({ title: String(at), doses: [] })));
  assert.equal(store.state.bench.complaints.compare.code, "bad-option");
});

test("every prompt of a batch is asked by itself", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1 }));
  store.set({ turns: [{ user: "x", answer: "y", turned: "" }], system: "S" });
  await actions.batch(["one", "two"]);
  assert.deepEqual(asked("generate").map(([{ chat }]) => chat.map(({ content }) => content)), [["S", "one"], ["S", "two"]]);
  assert.deepEqual(texts(store.state.runs.groups.batch), ["a11", "a11"]);
  // They outlive a reload, without what could have come.
  const again = await page();
  assert.deepEqual(texts(again.store.state.runs.groups.batch), ["a11", "a11"]);
});

test("a run is kept over a reload and in the columns, opened again, and nothing is lost by it", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1 }));
  await actions.run();
  await until(() => store.state.runs.history.length === 1);
  actions.setCoefficient("a", -1);
  await settled();
  await actions.run();
  await until(() => store.state.runs.history.length === 2);
  const [second, first] = store.state.runs.history;
  assert.deepEqual([second.turned[0].c, first.turned[0].c, second.model.sha256, second.version], [-1, 1, "ff", "0.1.0"]);
  assert.match(second.turned[0].sha256, /^[0-9a-f]{64}$/);
  const now = store.state.run;
  actions.openRun(first.id);
  assert.deepEqual([store.state.run.tokens.map(({ steered }) => steered.text).join(""), store.state.run.tokens[0].top.length, store.state.runs.opened], ["a11", 1, first.id]);
  assert.equal(store.state.runs.history.length, 2);
  assert.equal(globalThis.history.state.run, first.id);

  const again = await page(adapter("a"));
  assert.deepEqual([again.store.state.runs.opened, again.store.state.run.tokens.length, again.store.state.runs.history.length], [first.id, 3, 2], "this entry of the history shows it");

  actions.backToBefore();
  assert.deepEqual([store.state.run, store.state.runs.opened, globalThis.history.state.run], [now, null, second.id]);
  assert.equal(store.state.runs.history.length, 2, "what was there is not kept twice");
});

test("the page is set like a run", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1, layers: "1-2" }), adapter("b"));
  store.set({ system: "S", turns: [{ user: "x", answer: "y", turned: "" }], sampling: { ...store.state.sampling, seed: 5 } });
  await actions.run();
  await until(() => store.state.runs.history.length === 1);
  store.set({ prompt: "other", system: "", turns: [], sampling: { ...store.state.sampling, seed: 6 } });
  await actions.setMask("a", { layers: "" });
  await actions.setCoefficient("a", 0);
  await actions.setCoefficient("b", 1);
  actions.setLike(store.state.runs.history[0]);
  const { prompt, system, turns, sampling, adapters } = store.state;
  assert.deepEqual([prompt, system, turns.length, sampling.seed], ["Hi", "S", 1, 5]);
  assert.deepEqual(adapters.map(({ coefficient, layers }) => [coefficient, layers ?? ""]), [[1, "1-2"], [0, ""]]);
  await actions.removeAdapter("a");
  actions.setLike(store.state.runs.history[0]);
  assert.match(store.state.runs.told, /but a is not in the list/);
});

test("three are pinned at most, they are put beside each other, and deleting is for good", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1 }));
  for (let at = 0; at < 4; at += 1) {
    await actions.run();
    await until(() => store.state.runs.history.length === at + 1);
  }
  for (const { id } of store.state.runs.history) actions.pin(id, true);
  assert.deepEqual(store.state.runs.history.map(({ pinned }) => Boolean(pinned)), [true, true, true, false]);
  actions.comparePinned();
  assert.deepEqual([texts(store.state.runs.groups.compare), store.state.runs.tab], [["a11", "a11", "a11"], "compare"]);
  actions.forgetRuns();
  assert.equal(store.state.runs.history.length, 3);
  actions.forgetRun(store.state.runs.history[0].id);
  assert.equal((await page()).store.state.runs.history.length, 2);
});

test("where the browser keeps nothing, the history is there all the same, and says so", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1 }));
  worker.full = true;
  for (let at = 0; at < 2; at += 1) {
    await actions.run();
    await until(() => store.state.runs.history.length === at + 1);
  }
  assert.equal(store.state.runs.unkept, true);
  actions.openRun(store.state.runs.history[1].id);
  assert.equal(store.state.run.tokens.length, 3);
});

test("from another word both models go on, and what they were given is no text of theirs", async () => {
  const { store, actions } = await page(adapter("a", { coefficient: 1 }));
  await actions.run();
  await until(() => store.state.runs.history.length === 1);
  const token = store.state.run.tokens[1];
  await actions.run({ from: { token, alternative: token.top[0] } });
  const [, [request]] = asked("generate");
  assert.deepEqual([request.ids, request.compare, request.maxTokens, request.chat.at(-1).content], [[40, 41, 0, 7], true, 16, "Hi"]);
  const { tokens, split, request: kept2, limit } = store.state.run;
  assert.deepEqual(tokens.map(({ given }) => given), ["text", "instead", undefined, undefined, undefined]);
  assert.deepEqual(tokens.slice(0, 2).map(({ base, steered, klNats }) => [base.text, steered.text, klNats]), [["a", "a", null], [" x", " x", null]]);
  assert.deepEqual([split, limit, "ids" in kept2, tokens[2].index], [3, 18, false, 2]);
  await until(() => store.state.runs.history.length === 2);
  assert.equal(store.state.runs.history[1].tokens.length, 3, "the run that it came from is kept as it was");
});
