import assert from "node:assert/strict";
import { test } from "node:test";

import { fit } from "./prompt.js";

const WORDS = ["one", "two", "three", "four"];

test("a prompt has as many words as fit", () => {
  const letters = (text) => text.length;
  assert.equal(fit(WORDS, 12, letters), "one two");
  assert.equal(fit(WORDS, 13, letters), "one two three");
  assert.equal(fit(WORDS, 100, letters), "one two three four");
});

test("a prompt has at least one word, however long the template is", () => {
  assert.equal(fit(WORDS, 2, () => 50), "one");
});
