// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { columnsOf, escaped, textsPicture, wrapped } from "./picture.js";

const lines = (/** @type {any[]} */ pieces, /** @type {number} */ columns) => wrapped(pieces, columns).map((line) => line.map(({ text }) => text).join(""));

test("words wrap whole, and what is too long is cut", () => {
  assert.deepEqual(lines([{ text: "one two" }, { text: " three" }], 8), ["one two ", "three"]);
  assert.deepEqual(lines([{ text: "abcdefgh ij" }], 5), ["abcde", "fgh ", "ij"]);
  assert.deepEqual(lines([{ text: "a\n\nb\r\nc" }], 9), ["a", "", "b", "c"]);
  assert.deepEqual(lines([], 9), [""]);
});

test("every piece knows its place and its marks, and the bar stands before the first part", () => {
  const [first, second] = wrapped([{ text: "ab" }, { text: " cde fgh", level: 3, sign: "minus", split: true }], 7);
  assert.deepEqual(first.map(({ text, column, columns, level, split }) => [text, column, columns, level ?? 0, Boolean(split)]),
    [["ab", 0, 2, 0, false], [" ", 2, 1, 3, true], ["cde", 3, 3, 3, false], [" ", 6, 1, 3, false]]);
  assert.deepEqual(second.map(({ text, column, sign }) => [text, column, sign]), [["fgh", 0, "minus"]]);
});

test("letters take the room that they have", () => {
  assert.deepEqual(["abc", "日本", "é", "e\u0301", "🪁"].map(columnsOf), [3, 4, 1, 1, 2]);
  assert.deepEqual(lines([{ text: "日本語" }], 4), ["日本", "語"]);
  // Nothing is lost, and it comes to an end.
  assert.equal(wrapped([{ text: "日" }], 1).length < 5, true);
});

test("the file is one that a reader of SVG takes, whatever was written", () => {
  const wild = "</text><script>&\"\u0000\u0008\ud800]]>";
  const palette = { paper: "rgb(1, 2, 3)", ink: "rgb(4, 5, 6)", soft: "rgb(7, 8, 9)", line: "rgb(0, 0, 0)", minus: ["a", "b", "c", "d"], plus: ["e", "f", "g", "h"] };
  const svg = textsPicture([{ title: wild, facts: wild, texts: [{ label: wild, pieces: [{ text: wild, level: 4, sign: "plus", split: true }] }] }], { heading: wild, footer: [wild], palette });
  assert.doesNotMatch(svg, /<script/);
  assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" width="880" height="[\d.]+"/);
  assert.doesNotMatch(svg, /[\u0000-\u0008\ud800-\udfff]/);
  assert.equal(svg.replace(/<[^<>]*>/g, "").match(/[<>]/), null);
  assert.match(svg, /fill="h"/);
  assert.equal(escaped("a<b>&\"c\""), "a&lt;b&gt;&amp;&quot;c&quot;");
});
