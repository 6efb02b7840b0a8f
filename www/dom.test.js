// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { megabytes, percent, signed } from "./dom.js";

/** @param {(value: number) => string} write @param {[number, string][]} cases */
const all = (write, cases) => {
  for (const [value, text] of cases) assert.equal(write(value), text);
};

test("sizes, coefficients and probabilities as English has them", () => {
  all(megabytes, [[0, "1 kB"], [999_499, "999 kB"], [1e6, "1.0 MB"], [98_362_432, "98.4 MB"], [1e8, "100 MB"], [1_234_567_890, "1235 MB"]]);
  all(signed, [[0, "0"], [-0, "0"], [1, "+1.00"], [-0.5, "−0.50"], [0.001, "+0.00"], [-0.001, "−0.00"], [12345.678, "+12345.68"]]);
  all(percent, [[1, "100 %"], [0.0995, "10 %"], [0.0994, "9.9 %"], [0.05, "5.0 %"], [0.001, "0.10 %"], [0.0009, "<0.1 %"]]);
});
