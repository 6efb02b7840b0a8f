// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { factOf, holds, note, nothingSeen } from "./lesson-facts.js";
import {
  NO_LESSON, OWN, asCsv, asText, askedOf, entryOf, fitting, isOpen, lessonForLink, partTitle, partsNow, progressIn, sameOrigin, settingAt, withLesson,
} from "./lesson.js";
import { NO_RUN, defaults } from "./store.js";

/** @type {import("./lesson-file.js").Lesson} */
const LESSON = {
  title: "Mine", hide: ["train"], lock: ["prompt"], state: { prompt: "Say.", adapters: { mood: 0 } },
  steps: [
    { say: ["One."], state: { adapters: { mood: 1 }, look: 3 }, point: ["token"] },
    { say: ["Two."], hide: ["strips"], predict: { question: "What?", choices: ["a", "b"], answer: 1, reveal: ["b."], state: { adapters: { tone: 1 }, open: ["curve"] } } },
    { say: ["Three."], try: "Turn it.", lock: ["seed"] },
  ],
};
const on = (/** @type {any} */ more = {}) => ({ ...NO_LESSON, status: /** @type {const} */ ("on"), name: "mine", lesson: LESSON, ...more });

test("a link's lesson is read; what is unknown is left out and told", () => {
  assert.deepEqual(askedOf("#p=Hi"), { lesson: null, step: null, hide: [], lock: [], auto: false, ignored: [] });
  assert.deepEqual(askedOf("#lesson=dose&step=3&hide=seed,nonsense,train&lock=prompt,texts&auto=1"),
    { lesson: "dose", step: 2, hide: ["seed", "train"], lock: ["prompt"], auto: true, ignored: ["hide=nonsense", "lock=texts"] });
  for (const step of ["0", "-1", "x", "1.5", "1e9999"]) {
    const asked = askedOf(`#lesson=dose&step=${step}`);
    assert.deepEqual([asked.step, asked.ignored.length], [null, 1], step);
  }
  assert.equal(askedOf(`#hide=${"x".repeat(1e5)}`).ignored[0].length, 45);
  assert.equal(askedOf(`#hide=${"x,".repeat(1e5)}`).ignored.length, 40);
});

test("a lesson's link has the lesson in place of what it sets; teachers' wishes stand in any link", () => {
  const link = "#v=2&m=https://x/y.gguf&device=cpu&a=mood:1&p=Hi&seed=9";
  assert.equal(withLesson(link, on({ step: 2, hide: ["seed"] })), "#m=https://x/y.gguf&device=cpu&lesson=mine&step=3&hide=seed");
  assert.equal(withLesson(link, NO_LESSON), link);
  assert.equal(withLesson("#p=Hi", { ...NO_LESSON, hide: ["seed", "train"], lock: ["prompt"] }), "#p=Hi&hide=seed,train&lock=prompt");
  const again = askedOf(withLesson("#", on({ step: 1, lock: ["run"], auto: true })));
  assert.deepEqual([again.lesson, again.step, again.lock, again.auto], ["mine", 1, ["run"], true]);
});

test("a link of the first step says none, and goes on where it was left; what runs by itself begins", () => {
  assert.equal(withLesson("#", on({ step: 0, hide: ["seed"] })), "#lesson=mine&hide=seed");
  assert.equal(askedOf(withLesson("#", on({ step: 0 }))).step, null);
  assert.equal(askedOf("#lesson=mine&step=1").step, 0);
  assert.equal(askedOf(withLesson("#", on({ step: 0, auto: true }))).step, 0);
});

test("the list goes on where a lesson was left, and opens again what is over", () => {
  const at = (/** @type {number} */ step, over = false) => entryOf({ step, answers: {}, done: [], over }, 6);
  assert.deepEqual([entryOf(undefined, 6), at(0), at(2), at(5), at(7)], ["begin", "begin", "go-on", "go-on", "begin"]);
  assert.deepEqual([at(5, true), at(0, true), at(2, true), at(7, true)], ["again", "again", "go-on", "again"]);
});

test("a teacher's link is for the lesson that is on, else for the first", () => {
  const list = ["zero", "mine"].map((name) => ({ name, title: name, about: "", minutes: 5, steps: 6 }));
  assert.deepEqual([on({ list }), on({ list, name: OWN }), { ...NO_LESSON, list }, NO_LESSON].map(lessonForLink), ["mine", "zero", "zero", ""]);
});

test("parts are called as on the page", () => {
  assert.deepEqual(["same", "curve", "equal", "coefficient"].map(partTitle), ["Same dose", "Dose curve", "Methods at equal dose", "Coefficients"]);
});

test("a lesson comes from the page's own server, or from nowhere", () => {
  const base = "https://school.example/play/index.html";
  assert.equal(sameOrigin("class/mine.json", base), "https://school.example/play/class/mine.json");
  assert.equal(sameOrigin("/mine.json", base), "https://school.example/mine.json");
  for (const address of ["https://evil.example/x.json", "//evil.example/x.json", "javascript:alert(1)", "data:application/json,{}", "file:///etc/passwd", "http://school.example/x.json", "https://[", "blob:https://school.example/1"]) {
    assert.equal(sameOrigin(address, base), null, address);
  }
});

test("a step has what all before it set, and looks and opens for itself", () => {
  assert.deepEqual(settingAt(LESSON, 0, true), { prompt: "Say.", adapters: { mood: 1 }, look: 3 });
  assert.deepEqual(settingAt(LESSON, 1, false), { prompt: "Say.", adapters: { mood: 1 } });
  assert.deepEqual(settingAt(LESSON, 1, true), { prompt: "Say.", adapters: { tone: 1 }, open: ["curve"] });
  assert.deepEqual(settingAt(LESSON, 2, true), { prompt: "Say.", adapters: { tone: 1 } });
});

test("parts of the link, the lesson and the step are hidden and locked together", () => {
  assert.deepEqual(partsNow(on({ step: 1, hide: ["seed", "train"] }), "hide"), ["seed", "train", "strips"]);
  assert.deepEqual(partsNow(on({ step: 2 }), "lock"), ["prompt", "seed"]);
  assert.deepEqual(partsNow(on({ step: 0 }), "point"), ["token"]);
  assert.deepEqual(partsNow({ ...NO_LESSON, hide: ["seed"] }, "hide"), ["seed"]);
});

test("a question is open until it is answered, be it with nothing", () => {
  assert.deepEqual([isOpen(on({ step: 0 })), isOpen(on({ step: 1 })), isOpen(on({ step: 1, answers: { 1: "" } }))], [false, true, false]);
});

test("an answer in words that the question does not have any more is none", () => {
  const lesson = /** @type {any} */ ({ steps: [{ predict: { choices: ["Ja", "Nein"] } }, { predict: {} }, { predict: { choices: ["a", "b"] } }] });
  assert.deepEqual(fitting({ 0: "Yes", 1: "in my words", 2: "b" }, lesson), { 1: "in my words", 2: "b" });
  assert.deepEqual(fitting({ 0: "" }, lesson), { 0: "" }, "nothing said is nothing in every language");
});

test("what is asked of the page holds once it is so", () => {
  const adapter = (/** @type {string} */ name, /** @type {number} */ coefficient, enabled = true) => ({ key: name, name, title: name, files: null, id: null, coefficient, enabled, error: null });
  const token = (/** @type {number} */ index, /** @type {number|null} */ klNats) => /** @type {any} */ ({ kind: "token", index, klNats, steered: {}, doses: [], base: {} });
  const state = { ...defaults(), prompt: " Say. ", adapters: [adapter("mood", 0), adapter("tone", 2, false)], run: { ...NO_RUN, status: /** @type {const} */ ("played"), tokens: [token(0, 1), token(1, null), token(2, 2)], split: 1, selected: 2 } };
  const seen = nothingSeen();
  note(seen, { ...state, adapters: [adapter("mood", -1.5), adapter("tone", 1)] }, true);
  note(seen, state, false);
  const fact = (/** @type {string} */ name, /** @type {string} */ [...of] = "") => factOf(state, seen, name, of.join("") || undefined);
  assert.deepEqual(["c", "least", "most", "tried"].map((name) => fact(name, "mood")), [0, -1.5, 0, 2]);
  assert.deepEqual(["c", "most"].map((name) => fact(name, "tone")), [0, 1]);
  assert.equal(fact("c", "none"), null);
  assert.deepEqual(["dose", "tokens", "split", "same", "looked", "prompt", "ran", "live"].map((name) => fact(name)), [1.5, 3, 2, false, 1, "Say.", 1, false]);
  const is = (/** @type {import("./lesson-file.js").Condition} */ condition) => holds(condition, (name, of) => factOf(state, seen, name, of));
  assert.ok(is({ all: [{ fact: "c", of: "mood", is: 0 }, { fact: "least", of: "mood", atMost: -1 }, { fact: "prompt", isNot: "Other." }] }));
  assert.ok(is({ any: [{ fact: "live", is: true }, { fact: "dose", atLeast: 1.5, atMost: 1.5 }] }));
  assert.ok(!is({ fact: "c", of: "none", isNot: 7 }), "what is not there is nothing");
  assert.ok(!is({ fact: "dose", atLeast: 1.6 }));
});

test("progress that was kept is read, and what is none is not", () => {
  const kept = { dose: { step: 2, answers: { 1: "b" }, done: [2], over: false } };
  assert.deepEqual(progressIn(JSON.stringify(kept)), kept);
  for (const text of [null, "", "null", "[]", "{", '{"a":1}', '{"a":{"step":-1,"answers":{},"done":[]}}', '{"a":{"step":1,"answers":{"1":2},"done":[]}}']) assert.deepEqual(progressIn(text), {}, String(text));
});

test("answers are handed in as text and as a table that runs nothing", () => {
  const state = on({ name: OWN, answers: { 1: '=HYPERLINK("x")' }, done: [2] });
  assert.equal(asText(state), 'Lesson: Mine\n\n2. What?\n   =HYPERLINK("x") · it comes out differently\n\n3. Turn it.\n   did it');
  assert.equal(asCsv(state).split("\r\n")[1], `"Mine","2","What?","'=HYPERLINK(""x"")","it comes out differently"`);
  assert.match(asText(on()), /\(nothing yet\)/);
});
