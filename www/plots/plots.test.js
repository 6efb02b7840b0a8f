// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { bars } from "./bars.js";
import { curve } from "./curve.js";
import { range, scale, ticks } from "./scale.js";

test("a scale goes there and back, and holds what lies outside at its ends", () => {
  const x = scale([-2, 2], [44, 244]);
  assert.deepEqual([-2, 0, 2].map(x.at), [44, 144, 244]);
  for (const c of [-2, -0.35, 0, 1.7]) assert.ok(Math.abs(x.of(x.at(c)) - c) < 1e-12);
  assert.equal(x.held(5), 244);
  assert.equal(x.held(-9), 44);
  // Up is less on a screen.
  assert.equal(scale([0, 1], [100, 0]).at(0.25), 75);
});

test("a range holds the numbers and what is always shown, up to the most", () => {
  assert.deepEqual(range([0.1, null, 0.2], [-0.5, 0.5]), [-0.5, 0.5]);
  assert.deepEqual(range([-3, 7], [-0.5, 0.5]), [-3, 7]);
  assert.deepEqual(range([-3, 7], [-0.5, 0.5], [-1, 4]), [-1, 4]);
  assert.deepEqual(range([], [0, 1]), [0, 1]);
});

test("ticks are round, inside, and zero is one", () => {
  assert.deepEqual(ticks([-2, 2], 4), [-2, -1, 0, 1, 2]);
  assert.deepEqual(ticks([-0.5, 0.5], 4), [-0.5, 0, 0.5]);
  assert.deepEqual(ticks([-1.31, 1.72], 4), [-1, 0, 1]);
  assert.deepEqual(ticks([0, 0.1], 3), [0, 0.05, 0.1]);
  assert.ok(ticks([-1e-9, 3e5], 4).length <= 6);
});

test("a curve has a point for each number, a gap where there is none, and its edge where it leaves", () => {
  const [x, y] = [scale([-1, 1], [0, 100]), scale([0, 4], [80, 0])];
  const { path, points } = curve([-1, -0.5, 0, 0.5, 1], [4, null, 0, 2, 9], x, y);
  assert.equal(path, "M0,0M50,80L75,40L100,0");
  assert.deepEqual(points.map(({ c, value, beyond }) => [c, value, beyond]), [[-1, 4, false], [0, 0, false], [0.5, 2, false], [1, 9, true]]);
  assert.deepEqual(curve([0], [NaN], x, y), { path: "", points: [] });
});

test("bars stand on the zero line or hang from it", () => {
  const box = { left: 0, right: 90, top: 0, bottom: 60 };
  const { zero, bars: list } = bars([{ layer: 7, value: 1 }, { layer: 8, value: -0.5 }, { layer: 9, value: null }], [-1, 1], box);
  assert.equal(zero, 30);
  assert.deepEqual(list.map(({ y, height }) => [y, height]), [[0, 30], [30, 15], [30, 0]]);
  assert.deepEqual(list.map(({ middle }) => middle), [15, 45, 75]);
  for (const bar of list) assert.ok(bar.x >= 0 && bar.x + bar.width <= 90);
});
