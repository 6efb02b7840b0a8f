// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { kept, token } from "./kept.test.js";
import { MOST, counts, fanSentence, firstLine, has, lines, mayPin, meanKl, packed, parting, promptOf, ribs, systemOf, textOf, turnedOf, turnedWords, unpacked, withKept, writtenTokens } from "./runs.js";

const named = (/** @type {string} */ id, /** @type {any} */ more = {}) => kept({ id, ...more });

test("the last twenty are kept, the newest first, and what is pinned does not fall out", () => {
  /** @type {import("./runs.js").Kept[]} */
  let list = [];
  for (let at = 0; at < 25; at += 1) list = withKept(list, named(String(at), { pinned: at === 2 }));
  assert.equal(list.length, MOST);
  assert.deepEqual([list[0].id, list[1].id, list[MOST - 1].id, list[MOST - 2].id], ["24", "23", "2", "6"]);
  // The same run again takes its own place.
  assert.deepEqual(withKept(list, named("23")).map(({ id }) => id).slice(0, 3), ["23", "24", "22"]);
  const three = ["a", "b", "c"].map((id) => named(id, { pinned: true }));
  assert.deepEqual([mayPin([...three, named("d")], "d"), mayPin(three, "a")], [false, true]);
});

test("what a run was asked and wrote", () => {
  const one = kept();
  assert.deepEqual([systemOf(one), promptOf(one), textOf(one, "base"), textOf(one, "steered"), firstLine(one)], ["Be brief.", "How's it?", "It was fine", "It is", "It is"]);
  assert.equal(turnedWords(one), "Cheerful +0.50");
  assert.equal(meanKl(one.tokens), 0.5);
  assert.equal(meanKl([token(0, null, null, { klNats: null })]), null);
  assert.equal(turnedWords(kept({ turned: [] })), "no adapter: the base, asked in words");
  assert.equal(turnedWords(kept({ turned: [], request: { ...kept().request, chat: undefined, prompt: "a" } })), "no adapter: the base");
  assert.equal(writtenTokens([token(0, [1, "a"], [1, "a"], { given: "text" }), token(1, [1, "a"], [1, "a"])]), 1);
  assert.equal(firstLine(kept({ tokens: [token(0, null, [1, `\n ${"long ".repeat(40)}`])] })).length, 89);
});

test("an adapter is told as it acted, without the dust of 32 bits and without what is usual", () => {
  const adapter = /** @type {any} */ ({ key: "k", name: "n", title: "T", layers: "all", modules: "", positions: " prompt ", entry: { method: "dora", law: "linear", laws: [{ law: "linear" }, { law: "power" }] } });
  assert.deepEqual(turnedOf(adapter, { key: "k", title: "T", c: Math.fround(0.3) }, []), {
    key: "k", name: "n", title: "T", c: 0.3, method: "dora", law: "linear", usualLaw: true, positions: "prompt",
  });
  assert.equal(turnedOf({ ...adapter, law: "power" }, { key: "k", title: "T", c: 1 }, []).usualLaw, false);
  assert.deepEqual(turnedOf(undefined, { key: "k", title: "T", c: 1 }, []), { key: "k", name: "T", title: "T", c: 1 });
});

test("texts part where their tokens differ, or where one of them ends", () => {
  const base = [token(0, [1, "a"], [1, "a"]), token(1, [2, "b"], [2, "b"])];
  assert.equal(parting(base, base), null);
  assert.equal(parting([token(0, null, [1, "a"]), token(1, null, [7, "c"])], base), 1);
  assert.equal(parting([token(0, null, [1, "a"])], base), 1);
  assert.equal(parting([token(0, null, [1, "a"]), token(1, null, [2, "b"]), token(2, null, [3, "c"])], base), 2);
});

test("the coefficients of a fan are round, both ends are among them, and there are not too many", () => {
  assert.deepEqual(ribs(-2, 2, 1), [-2, -1, 0, 1, 2]);
  assert.deepEqual(ribs(0, 0.3, 0.1), [0, 0.1, 0.2, 0.3]);
  assert.deepEqual(ribs(-2, 2, 0.25).length, 17);
  assert.deepEqual(ribs(1, 1, 0.5), [1]);
  assert.ok(Object.is(ribs(-1, 0, 1)[1], 0));
  for (const wrong of /** @type {[number, number, number][]} */ ([[1, -1, 1], [0, 1, 0], [0, 1, -1], [0, 1, 0.01], [NaN, 1, 1], [0, Infinity, 1]])) assert.deepEqual(ribs(...wrong), [], `${wrong}`);
});

test("a word is found whole, in whatever case and script, and means itself", () => {
  for (const [text, word, there] of /** @type {[string, string, boolean][]} */ ([
    ["What a Wonderful day", "wonderful", true], ["wonderfully", "wonderful", false], ["a.b", "a.b", true], ["axb", "a.b", false], ["C++ is", "c++", true],
    ["Größe", "größe", true], ["Straßen", "straße", false], ["so (wonderful)!", " wonderful ", true], ["anything", "", false], ["a [b] c", "[b]", true], ["well-known", "well-known", true],
  ])) assert.equal(has(text, word), there, `${word} in ${text}`);
});

test("a batch is counted: how many differ, how far, and where a word stands", () => {
  const runs = [kept(), kept({ split: null, tokens: [token(0, [1, "It"], [1, "It"], { klNats: 0.1 })] }), kept({ tokens: [token(0, [1, "Is"], [2, "was"], { klNats: null })] })];
  const found = counts(runs, "is");
  assert.deepEqual({ ...found, klNats: found.klNats?.toFixed(6) }, { n: 3, differ: 2, klNats: "0.300000", base: 1, steered: 1 });
  assert.deepEqual(counts([], "is"), { n: 0, differ: 0, klNats: null, base: 0, steered: 0 });
  assert.deepEqual(lines(" a \n\n  \nb\r\n"), ["a", "b"]);
});

test("a fan is told in a sentence, of what is through", () => {
  const row = (/** @type {number} */ c, /** @type {any} */ more) => ({ title: "", c, error: null, run: kept(more) });
  const group = { kind: /** @type {const} */ ("fan"), at: 0, rows: [row(0, { split: null, tokens: [] }), row(-1, {}), row(1, { status: "writing" })] };
  assert.equal(fanSentence(group), "2 texts; 1 of them differ from the base’s. At −1.00 the model is furthest from the base: 0.50 nats a token.");
  assert.equal(fanSentence({ ...group, rows: [] }), "");
});

test("a run that was kept as text is the same run again", () => {
  const one = kept();
  assert.deepEqual(unpacked(JSON.parse(JSON.stringify(packed(one)))), one);
  const given = kept({ tokens: [token(0, [1, "It"], [1, "It"], { given: "text", klNats: null, doses: [] }), token(1, [2, " was"], [2, " was"], { given: "instead" })] });
  assert.deepEqual(unpacked(JSON.parse(JSON.stringify(packed(given)))), given);
  assert.ok(JSON.stringify(packed(one)).length < JSON.stringify(one).length / 1.5);
  // Without what could have come it is smaller still, and all else is there.
  assert.deepEqual(unpacked(packed(one, false)), { ...one, tokens: one.tokens.map((each) => ({ ...each, top: [] })) });
});

test("what is no run is told from one", () => {
  const good = JSON.parse(JSON.stringify(packed(kept())));
  assert.ok(unpacked(good));
  for (const [name, wrong] of /** @type {[string, any][]} */ ([
    ["nothing", null], ["a number", 7], ["an empty thing", {}], ["no tokens", { ...good, tokens: 3 }], ["no request", { ...good, request: null }],
    ["a chat of numbers", { ...good, request: { ...good.request, chat: [1] } }], ["a c that is none", { ...good, turned: [{ ...good.turned[0], c: "1" }] }],
    ["doses that are not there", { ...good, doses: [] }], ["no model", { ...good, model: "m" }], ["no sampling", { ...good, request: { prompt: "a" } }],
  ])) assert.equal(unpacked(wrong), null, name);
});
