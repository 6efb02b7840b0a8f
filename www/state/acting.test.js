// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { doses, manner, sameDoses, trail, trailWords, words } from "./acting.js";

const adapter = (key, more = {}) => ({ key, title: key, coefficient: 1, enabled: true, id: 1, error: null, ...more });
const token = (c, steered = {}) => ({ steered, doses: c === 0 ? [] : [{ key: "a", title: "A", c }] });

test("what is off, at zero, refused or not there does not act", () => {
  const list = [
    adapter("acts"), adapter("comes", { id: null }), adapter("off", { enabled: false }), adapter("zero", { coefficient: 0 }),
    adapter("refused", { id: null, error: { code: "x", message: "x" } }), adapter("wanted", { id: null, wanted: true }),
  ];
  assert.deepEqual(doses(list).map(({ key }) => key), ["acts", "comes"]);
  assert.equal(words([]), "no adapter acts: this is the base");
});

test("doses are the same through the engine's single precision", () => {
  const at = (c) => [{ key: "a", title: "A", c }];
  assert.ok(sameDoses(at(0.05), at(Math.fround(0.05))));
  assert.ok(!sameDoses(at(0.05), at(0.1)));
  assert.ok(!sameDoses([], at(1)) && !sameDoses(at(1), undefined));
});

test("a text's doses are those of its tokens, in order", () => {
  assert.equal(trailWords(trail([token(1), token(1)])), "A +1.00");
  assert.equal(trailWords(trail([token(1), token(0), token(-0.5)])), "A +1.00 → 0 → −0.50");
  assert.equal(trailWords(trail([1, 2, 3, 4, 5].map((c) => token(c)))), "A +1.00 → … → +5.00");
  assert.equal(trailWords(trail([token(1), token(5, null)])), "A +1.00", "after the steered text's end nothing counts");
  assert.equal(trailWords(trail([token(0)])), "no adapter acts: this is the base");
});

test("law, mask, task and weights are the manner; a default said and unsaid are the same", () => {
  const one = (more) => manner([adapter("a", { entry: { law: "linear" }, ...more })]);
  assert.equal(one({}), one({ law: "linear", layers: "", modules: "" }));
  for (const more of [{ law: "power" }, { layers: "1" }, { modules: "q_proj" }, { positions: "prompt" }, { task: 1 }, { experts: [1] }]) assert.notEqual(one({}), one(more));
});
