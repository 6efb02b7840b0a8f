// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { freeOf, grouped, isShort, nameOf } from "./storage.js";

test("a download is short of room only where that is sure", () => {
  assert.equal(isShort(98e6, 0, 50e6), true);
  assert.equal(isShort(98e6, 60e6, 50e6), false, "a part is there already");
  assert.equal(isShort(98e6, 0, 98e6), false);
  assert.equal(isShort(undefined, 0, 1), false, "nobody knows how large it is");
  assert.equal(isShort(98e6, 0, null), false, "nobody knows how much is free");
});

test("what is free is what the browser says", () => {
  assert.equal(freeOf({ usage: 10, quota: 100 }), 90);
  assert.equal(freeOf({ usage: 110, quota: 100 }), 0);
  assert.equal(freeOf({ quota: 100 }), 100);
  assert.equal(freeOf({}), null);
  assert.equal(freeOf({ usage: 0, quota: 0 }), null);
});

test("small things are told by what they are, and whatever is new is a setting", () => {
  const list = ["playground.theme", "playground.lesson.before", "playground.lessons", "playground.something", "playground.pairs"].map((name) => ({ name, bytes: 10 }));
  assert.deepEqual(grouped(list).map(({ group, names, bytes }) => [group, names.length, bytes]), [["lessons", 2, 20], ["written", 1, 10], ["settings", 2, 20]]);
  assert.deepEqual(grouped([]), []);
});

test("a download has the name of its file", () => {
  assert.equal(nameOf("https://a.example/x/My%20model.gguf?download=true"), "My model.gguf");
  assert.equal(nameOf("https://a.example/100%/50%.gguf"), "https://a.example/100%/50%.gguf");
});
