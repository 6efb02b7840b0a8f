import assert from "node:assert/strict";
import { test } from "node:test";

import { compare, spread, summary } from "./compare.mjs";

/** Fourteen numbers around one, by up to `by` of it. */
const around = (one, by) => Array.from({ length: 14 }, (_, at) => one * (1 + by * Math.sin(7 * at)));

test("a median is between the halves", () => {
  assert.deepEqual(summary([3, 1, 2]), { min: 1, median: 2, max: 3 });
  assert.equal(summary([4, 1, 2, 3]).median, 2.5);
});

test("the spread grows with the noise, and has none of its own", () => {
  assert.equal(spread(around(100, 0)), 0);
  const [little, much] = [spread(around(100, 0.01)), spread(around(100, 0.1))];
  assert.ok(little > 0.001 && little < 0.02, `${little}`);
  assert.ok(much > 5 * little && much < 0.2, `${much}`);
  assert.equal(spread(around(100, 0.1)), much, "the same numbers have the same spread");
});

test("a difference counts beyond the noise only, and in its direction", () => {
  const old = around(100, 0.05);
  assert.equal(compare(old, around(101, 0.05).slice(7), true).verdict, "within");
  assert.equal(compare(old, around(130, 0.05).slice(7), true).verdict, "better");
  assert.equal(compare(old, around(130, 0.05).slice(7), false).verdict, "worse");
  assert.equal(compare(old, around(70, 0.05).slice(7), true).verdict, "worse");
});

test("what has no noise differs from half a percent on, and zero equals zero", () => {
  const flat = (value) => Array(7).fill(value);
  assert.equal(compare(flat(1000), flat(1004), false).verdict, "within");
  assert.equal(compare(flat(1000), flat(1010), false).verdict, "worse");
  assert.equal(compare(flat(0), flat(0), false).ratio, 1);
});
