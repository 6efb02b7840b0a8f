// node --test www
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { answersOf, forTraining, linesOf, onePrompt, pairsFrom } from "./pairs.js";

test("lines are those with something on them", () => {
  assert.deepEqual(linesOf("  a \r\n\n b\n   \n"), ["a", "b"]);
  assert.deepEqual(linesOf(""), []);
});

test("a file stays as it is, a list of rows gets a name, and a table becomes rows", () => {
  const file = '{ "tone":\n [] }';
  assert.equal(pairsFrom(file), file, "its hash is that of the text");
  assert.deepEqual(JSON.parse(pairsFrom(' [{"prompt": "a"}] ')), { mine: [{ prompt: "a" }] });
  assert.deepEqual(JSON.parse(pairsFrom("p\tgood, \"so\"\tbad\nq\tyes\tno\n")), {
    mine: [{ prompt: "p", positive: "good, \"so\"", negative: "bad" }, { prompt: "q", positive: "yes", negative: "no" }],
  });
  // For the engine to say what is wrong.
  for (const text of ["p\tgood", "hello", "{", "p\ta\tb\nq\ta"]) assert.equal(pairsFrom(text), text);
  assert.throws(() => JSON.parse(pairsFrom("[{")));
});

test("one prompt is a file with one row", () => {
  assert.deepEqual(JSON.parse(onePrompt("a\n\"b\"", "c", "d")), { mine: [{ prompt: "a\n\"b\"", positive: "c", negative: "d" }] });
});

test("directions are made of training rows, and of all where none is marked", () => {
  const row = (/** @type {object} */ more, /** @type {string} */ name) => ({ prompt: "p", positive: `${name} +`, negative: `${name}\n-`, ...more });
  const text = JSON.stringify({ free: [row({}, "a"), row({}, "b")], marked: [row({ split: "test" }, "a"), row({ held_out: false }, "b"), row({}, "c"), row({ held_out: true }, "d"), row({ split: "stop" }, "e")] });
  assert.deepEqual(answersOf(text, "free"), { positive: ["a +", "b +"], negative: ["a -", "b -"] });
  assert.deepEqual(answersOf(text, "marked")?.positive, ["b +", "c +"]);
  assert.equal(answersOf(text, "none"), null);
  assert.equal(answersOf("{", "free"), null);
});

test("the page's own behaviours have texts for both sides, and none that is measured on", () => {
  const shipped = readFileSync(new URL("../adapters/contrast.json", import.meta.url), "utf8");
  const all = JSON.parse(shipped);
  for (const behaviour of ["tone", "register"]) {
    const answers = answersOf(shipped, behaviour);
    assert.ok(answers && answers.positive.length >= 16 && answers.positive.length === answers.negative.length, behaviour);
    const tests = all[behaviour].filter((/** @type {any} */ row) => (row.split ?? (row.held_out ? "test" : "train")) === "test");
    assert.ok(tests.length >= 8);
    for (const { positive } of tests) assert.ok(!answers.positive.includes(positive));
  }
});

test("training has rows to train on and to stop by, as they are marked or where none is", () => {
  const rows = Array.from({ length: 9 }, (_, at) => ({ prompt: String(at), positive: "a", negative: "b" }));
  const splits = (/** @type {string} */ text, name = "mine") => JSON.parse(text)[name].map((/** @type {any} */ row) => row.split);
  assert.deepEqual(splits(forTraining(pairsFrom(JSON.stringify(rows)), "mine")), ["train", "train", "train", "stop", "train", "train", "train", "stop", "train"]);
  const marked = JSON.stringify({ mine: [{ ...rows[0], held_out: true }, rows[1]], other: rows });
  assert.equal(forTraining(marked, "mine"), marked);
  assert.deepEqual(splits(forTraining(marked, "other"), "other").filter((/** @type {string} */ split) => split === "stop").length, 2);
  for (const wrong of ["{", "[]", '{"mine": 3}']) assert.equal(forTraining(wrong, "mine"), wrong);
});
