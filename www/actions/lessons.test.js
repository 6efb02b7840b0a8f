// node --test www
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";

import { createStore, NO_RUN, defaults } from "../state/store.js";
import { lessonActions } from "./lessons.js";

/** A browser's storage. */
function storage() {
  /** @type {Map<string, string>} */
  const map = new Map();
  return { getItem: (/** @type {string} */ key) => map.get(key) ?? null, setItem: (/** @type {string} */ key, /** @type {string} */ value) => map.set(key, value), removeItem: (/** @type {string} */ key) => map.delete(key) };
}

const LESSON = {
  format: "steering-lesson", version: 1, title: "Mine", state: { prompt: "Say." },
  steps: [
    { say: ["One."], state: { adapters: { mood: 1 } } },
    { say: ["Two."], predict: { question: "What?", choices: ["a", "b"], reveal: ["b."], state: { adapters: { mood: -1 } } } },
    { say: ["Three."], try: "Turn it.", done: { fact: "c", of: "mood", atLeast: 2 }, demo: [{ adapters: { mood: 2 } }] },
  ],
};

/** @type {Record<string, any>} */
let files = {};
beforeEach(() => {
  mock.timers.reset();
  Object.assign(globalThis, { localStorage: storage(), sessionStorage: storage() });
  files = { "mine.json": LESSON, "index.json": { lessons: [] } };
});

/** A page with two adapters and somebody's own settings. */
function page() {
  const adapter = (/** @type {string} */ name, /** @type {any} */ more = {}) => ({ key: `shipped:${name}`, name, title: name, files: null, id: null, coefficient: 0, enabled: true, error: null, ...more });
  const store = createStore({
    ...defaults(), prompt: "My own.", seed: 7, shelf: { status: "here", error: null }, active: "shipped:tone",
    adapters: [adapter("mood", { coefficient: 0.3 }), adapter("tone", { coefficient: -2, layers: "3-4", enabled: false })],
    run: { ...NO_RUN, status: "done", tokens: [] },
  });
  /** @type {string[]} */
  const played = [];
  const replay = { use: async (/** @type {URL|null} */ url) => { played.push(url ? String(url).split("/").pop() ?? "" : "own"); return null; } };
  const actions = {
    stop() {}, setCache: (/** @type {any} */ cache) => store.set({ cache }), select() {}, setEnabled() {}, setMask() {}, setCoefficient() {},
    removeAdapter: async (/** @type {string} */ key) => store.set({ adapters: store.state.adapters.filter((one) => one.key !== key) }),
  };
  /** @type {[string, any][]} */
  const asked = [];
  const fetching = async (/** @type {any} */ url, /** @type {any} */ how) => {
    asked.push([String(url), how]);
    const name = String(url).split("/").pop() ?? "";
    return { ok: name in files, status: name in files ? 200 : 404, json: async () => files[name], text: async () => (typeof files[name] === "string" ? files[name] : JSON.stringify(files[name])) };
  };
  const lessons = lessonActions(store, /** @type {any} */ (actions), /** @type {any} */ (replay), { base: "https://x.example/p/", link: () => "#p=My+own.", fetching: /** @type {any} */ (fetching) });
  const c = () => store.state.adapters.map(({ coefficient }) => coefficient);
  return { store, lessons, played, c, asked };
}

test("a lesson sets what its steps say, and leaving gives everything back", async () => {
  const { store, lessons, c } = page();
  const plainly = () => JSON.parse(JSON.stringify({ ...store.state, lesson: null }));
  const before = plainly();
  await lessons.begin("mine");
  assert.deepEqual([store.state.lesson.status, store.state.prompt, c(), store.state.active, store.state.run.status], ["on", "Say.", [1, 0], "shipped:mood", "idle"]);
  assert.deepEqual(store.state.adapters[1].layers, "");
  await lessons.go(1);
  assert.deepEqual(c(), [1, 0], "the question is open");
  await lessons.answer("a");
  assert.deepEqual([c(), store.state.lesson.answers], [[-1, 0], { 1: "a" }]);
  await lessons.answer("b");
  assert.deepEqual(store.state.lesson.answers, { 1: "a" }, "an answer is given once");
  await lessons.go(0);
  assert.deepEqual(c(), [1, 0]);
  await lessons.go(1);
  assert.deepEqual(c(), [-1, 0], "what it comes to is said again, and is set again");
  await lessons.go(2);
  assert.deepEqual(store.state.lesson.done, []);
  store.setAdapter("shipped:mood", { coefficient: 2 });
  assert.deepEqual(store.state.lesson.done, [2]);
  await lessons.go(9);
  assert.equal(store.state.lesson.step, 2, "there is no such step");
  assert.equal(await lessons.leave(), null);
  assert.deepEqual(plainly(), before);
  assert.equal(store.state.lesson.status, "none");
});

test("what a step sets itself is no try", async () => {
  const { store, lessons } = page();
  files["mine.json"] = { ...LESSON, steps: [{ say: ["One."], state: { adapters: { mood: 2 }, cache: "keep" } }, { say: ["Two."], state: { adapters: { mood: 0 }, cache: "recompute" }, try: "Back.", done: { fact: "cache", is: "keep" } }] };
  await lessons.begin("mine");
  await lessons.go(1);
  assert.deepEqual([store.state.cache, store.state.lesson.done], ["recompute", []]);
  store.set({ cache: "keep" });
  assert.deepEqual(store.state.lesson.done, [1]);
});

test("where it was left it goes on, with the answers; another visit comes back to its own link", async () => {
  const first = page();
  await first.lessons.begin("mine");
  await first.lessons.go(1);
  await first.lessons.answer("b");
  const { store, lessons, c } = page();
  await lessons.resume("mine", {});
  assert.deepEqual([store.state.lesson.step, store.state.lesson.answers, c()], [1, { 1: "b" }, [-1, 0]]);
  assert.equal(await lessons.leave(), "#p=My+own.");
  await lessons.begin("mine", { step: 0 });
  await lessons.restart();
  assert.deepEqual([store.state.lesson.step, store.state.lesson.answers], [0, {}]);
});

test("what cannot be begun is told, and nothing is changed", async () => {
  const { store, lessons } = page();
  files["bad.json"] = { ...LESSON, steps: [{ say: [] }] };
  files["huge.json"] = `"${"x".repeat(1e6)}"`;
  for (const [name, why] of /** @type {const} */ ([["none", /server says 404/], ["bad", /at least 1/], ["https://evil.example/x.json", /is elsewhere/], ["class/huge.json", /at most/], ["own", /on another computer/]])) {
    await lessons.begin(name);
    assert.equal(store.state.lesson.status, "failed", name);
    assert.match(store.state.lesson.complaints[0].why, why);
    assert.deepEqual([store.state.prompt, store.state.adapters[0].coefficient], ["My own.", 0.3]);
  }
  lessons.dismiss();
  assert.deepEqual([store.state.lesson.status, store.state.lesson.complaints], ["none", []]);
  await lessons.begin("mine");
  await lessons.openOwn("{");
  assert.deepEqual([store.state.lesson.status, store.state.lesson.name, store.state.lesson.complaints.length], ["on", "mine", 1], "a lesson that runs stays");
});

test("an own lesson is kept in this browser; another file begins anew", async () => {
  const { store, lessons } = page();
  await lessons.openOwn(JSON.stringify(LESSON));
  await lessons.go(1);
  await lessons.answer("b");
  const again = page();
  await again.lessons.resume("own", { step: 1 });
  assert.deepEqual([again.store.state.lesson.lesson?.title, again.store.state.lesson.answers], ["Mine", { 1: "b" }]);
  await lessons.openOwn(JSON.stringify({ ...LESSON, title: "Other" }));
  assert.deepEqual([store.state.lesson.lesson?.title, store.state.lesson.step, store.state.lesson.answers], ["Other", 0, {}]);
});

test("an own lesson's adapters are those that are here, in the zoo or in its recording", async () => {
  const { store, lessons } = page();
  store.set({ zoo: [/** @type {any} */ ({ folder: "tone/hra" })], gone: ["register-ia3"] });
  const named = (/** @type {string} */ name, more = {}) => lessons.openOwn(JSON.stringify({ ...LESSON, ...more, state: { adapters: { [name]: 1 } } }));
  await named("mod");
  assert.deepEqual([store.state.lesson.status, store.state.lesson.complaints.map(({ key }) => key)], ["failed", ["state.adapters.mod"]]);
  for (const name of ["tone", "register-ia3", "mood"]) {
    await named(name);
    assert.deepEqual([store.state.lesson.status, store.state.lesson.complaints], ["on", []], name);
  }
  files["rank.json"] = { adapters: [{ name: "lora-r1" }] };
  await named("lora-r1", { recording: "rank" });
  assert.deepEqual(store.state.lesson.complaints, []);
  await named("lora-r2", { recording: "rank" });
  assert.deepEqual(store.state.lesson.complaints.map(({ key }) => key), ["state.adapters.lora-r2"]);
  // Where the list did not come nobody knows.
  store.set({ shelf: { status: "failed", error: null } });
  await named("mod");
  assert.deepEqual(store.state.lesson.complaints, []);
});

test("a lesson by its address waits for the list of adapters, and tells those that are in none", async () => {
  const { store, lessons } = page();
  files["class.json"] = { ...LESSON, state: { adapters: { mod: 1 } } };
  store.set({ shelf: { status: "coming", error: null } });
  const begun = lessons.begin("class/class.json");
  await new Promise((resolve) => { setTimeout(resolve, 5); });
  assert.deepEqual([store.state.lesson.status, store.state.lesson.complaints], ["coming", []]);
  store.set({ shelf: { status: "here", error: null } });
  await begun;
  assert.deepEqual([store.state.lesson.status, store.state.lesson.complaints.map(({ key }) => key)], ["failed", ["state.adapters.mod"]]);
});

test("its recording is asked for by name, the page's own comes back, and a missing one is told", async () => {
  const { store, lessons, played } = page();
  files["mine.json"] = { ...LESSON, recording: "toy" };
  await lessons.begin("mine");
  assert.deepEqual([played, store.state.lesson.noRecording], [["toy.json"], true]);
  await lessons.leave();
  assert.deepEqual(played, ["toy.json", "own"]);
});

test("it runs by itself: reads, answers nothing, shows, and stops at its end", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const settle = async () => { for (let at = 0; at < 20; at += 1) await Promise.resolve(); };
  const { store, lessons, c } = page();
  await lessons.begin("mine", { auto: true });
  const seen = new Set();
  for (let seconds = 0; seconds < 120 && store.state.lesson.auto; seconds += 1) {
    mock.timers.tick(1000);
    await settle();
    seen.add(`${store.state.lesson.step}:${c()[0]}:${store.state.lesson.answers[1] ?? "open"}`);
  }
  assert.deepEqual([...seen], ["0:1:open", "1:1:open", "1:-1:", "2:-1:", "2:2:"]);
  assert.equal(store.state.lesson.auto, false);
});

test("a pause holds it, and whoever goes on by hand takes it along", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const { store, lessons } = page();
  await lessons.begin("mine", { auto: true });
  lessons.pause();
  mock.timers.tick(100_000);
  assert.equal(store.state.lesson.step, 0);
  lessons.pause();
  await lessons.go(1);
  assert.equal(store.state.lesson.step, 1);
});

test("a lesson by its address is asked of the page's own server, which may not send on to another one", async () => {
  const { lessons, asked } = page();
  files["list.json"] = LESSON;
  await lessons.begin("class/list.json");
  assert.deepEqual(asked[0], ["https://x.example/p/class/list.json", { mode: "same-origin" }]);
  for (const elsewhere of ["https://evil.example/x.json", "//evil.example/x.json", "data:application/json,{}"]) await lessons.begin(elsewhere);
  assert.deepEqual(asked.filter(([url]) => !url.startsWith("https://x.example/") && !url.startsWith("file:")), []);
});
