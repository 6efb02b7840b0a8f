// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { rest, step } from "./dose.js";

test("the slider rests within a tenth of −1, 0 and 1, at both sides alike", () => {
  for (const detent of [-1, 0, 1]) {
    for (const off of [-0.1, -0.05, 0, 0.05, 0.1]) assert.equal(rest(Number((detent + off).toFixed(2))), detent, `${detent} ${off}`);
    // As the slider may say it.
    for (const off of [-0.1, 0.1]) assert.equal(rest(detent + off), detent, `${detent + off}`);
    for (const off of [-0.15, 0.15]) assert.notEqual(rest(detent + off), detent);
  }
  assert.equal(rest(1.15), 1.15);
  assert.equal(rest(-2), -2);
});

test("steps add up, and come back to zero and to what was typed", () => {
  let c = 0;
  for (let presses = 0; presses < 20; presses += 1) c = step(c, 0.05);
  assert.equal(c, 1);
  for (let presses = 0; presses < 60; presses += 1) c = step(c, -0.05);
  assert.equal(c, -2);
  assert.ok(Object.is(step(0.05, -0.05), 0) && Object.is(step(-0.05, 0.05), 0), "not −0");
  assert.equal(step(0.3333, 0.05), 0.3833);
  assert.equal(step(1e20, 0.05), 1e20);
  assert.ok(Number.isFinite(step(1e308, 0.25)));
});
