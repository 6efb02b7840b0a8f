// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { bars } from "./bars.js";
import { curve } from "./curve.js";
import { COURSE, STRUCTURE, mark } from "./marks.js";
import { range, scale, ticks } from "./scale.js";
import { scatter } from "./scatter.js";
import { trainingLines } from "./training.js";

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

test("a training has a line of losses, their mean once there are enough, and d where the stop rows were read", () => {
  const step = (/** @type {number} */ n, /** @type {number} */ loss, /** @type {[number, number, number]|null} */ d = null) => ({
    step: n, sign: 1, loss, gradient: 1, check: d && { dNats: d, orderedShare: 1, nllShiftNats: /** @type {[number, number]} */ ([0, 0]), isBest: true },
  });
  const { losses, means, d } = trainingLines([step(1, 4), step(2, 2, [-1, 0, 1]), step(3, 3), step(4, 1, [-2, 0, 2])], 2);
  assert.deepEqual(losses, { at: [1, 2, 3, 4], values: [4, 2, 3, 1] });
  assert.deepEqual(means, { at: [1, 2, 3, 4], values: [null, 3, 2.5, 2] });
  assert.deepEqual(d, { minus: { at: [2, 4], values: [-1, -2] }, base: { at: [2, 4], values: [0, 0] }, plus: { at: [2, 4], values: [1, 2] } });
  assert.deepEqual(trainingLines([], 2).losses, { at: [], values: [] });
});

test("families and laws are told apart by their shape alone", () => {
  const families = /** @type {import("./marks.js").Family[]} */ (Object.keys(STRUCTURE));
  assert.equal(new Set([...families, null].map((family) => mark(family, 8, 8))).size, 7);
  assert.equal(new Set(Object.values(STRUCTURE).map((strokes) => JSON.stringify(strokes))).size, 6);
  assert.equal(new Set(Object.values(COURSE)).size, 7);
  for (const path of [...Object.values(COURSE), ...families.map((family) => mark(family, 8, 8))]) assert.match(path, /^M[-\d.]+,[-\d.]+[a-zA-Z]/);
});

test("points lie in decades of their numbers; what has no value lies below, and names do not cover each other", () => {
  const box = { left: 44, right: 600, top: 26, bottom: 280, below: 320 };
  const points = [["a", 1000, 2], ["b", 100_000, 1], ["c", 99_000, 1.01], ["failed", 5000, null], ["unknown", null, null]]
    .map(([name, parameters, value]) => ({ name: String(name), parameters: /** @type {number|null} */ (parameters), value: /** @type {number|null} */ (value) }));
  const { places, across, up, names } = scatter(points, box);
  assert.deepEqual(across.map(({ value, x }) => [value, x]), [[1000, 44], [10_000, 322], [100_000, 600]]);
  assert.deepEqual(places.map(({ x }) => x < 600 && x > 44), [false, false, true, true, false]);
  assert.deepEqual(places.slice(3).map(({ y }) => y), [320, 320]);
  assert.ok(places[0].y < places[1].y, "more is higher");
  assert.equal(up[0].value, 0);
  assert.ok(names.length >= 4);
  const ends = names.map(({ text, x, y, anchor }) => ({ y, from: x - { start: 0, middle: 0.5, end: 1 }[anchor] * text.length * 6, to: x + { start: 1, middle: 0.5, end: 0 }[anchor] * text.length * 6 }));
  for (const one of ends) for (const other of ends) assert.ok(one === other || Math.abs(one.y - other.y) >= 9 || one.to < other.from || other.to < one.from);
  // So many in one place cannot all have their names.
  const crowd = Array.from({ length: 40 }, (_, at) => ({ name: `method ${at}`, parameters: 20_000, value: 1 + at / 1000 }));
  assert.ok(scatter(crowd, box).names.length < 20);
  // Nothing, and one alone, are drawn too.
  assert.deepEqual(scatter([], box).places, []);
  assert.equal(scatter([{ name: "a", parameters: 1000, value: -1 }], box).up.some(({ value }) => value === -1), true);
});
