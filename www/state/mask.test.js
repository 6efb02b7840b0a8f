// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { cellOf, cellsOf, gridOf, maskOf, rangeOf } from "./mask.js";

const ALL = [0, 1, 2, 3, 4, 5];
/** @type {import("./mask.js").Places} */
const PLACES = [["q_proj", ALL], ["v_proj", ALL], ["down_proj", [4, 5]], ["lm_head", []]];
const grid = gridOf(PLACES);

test("a grid has the blocks and modules where the adapter acts, and no cell for what is in no block", () => {
  assert.deepEqual([grid.rows, grid.columns], [ALL, ["q_proj", "v_proj", "down_proj"]]);
  assert.deepEqual([grid.has(3, "down_proj"), grid.has(4, "down_proj"), grid.has(0, "lm_head")], [false, true, false]);
  assert.equal(cellsOf(grid, "", "all").size, 14);
});

/** What is written, and what it says. @type {[layers: string, modules: string, cells: number, back?: [string, string]][]} */
const MASKS = [
  ["", "", 14],
  ["all", "all", 14, ["", ""]],
  ["1-3", "", 6],
  ["4", "", 3],
  ["", "v_proj", 6],
  ["2-4", "q_proj", 3],
  ["0-1:q_proj;3:v_proj", "", 3],
  ["0;3-4", "", 7],
  // The same in fewer words.
  ["0:q_proj;1-5:q_proj", "", 6, ["", "q_proj"]],
  ["0-9", "", 14, ["", ""]],
  ["1-3:q_proj,v_proj", "", 6, ["1-3", ""]],
];

test("masks become cells and cells masks, as short as they can be", () => {
  for (const [layers, modules, count, back = [layers, modules]] of MASKS) {
    const cells = cellsOf(grid, layers, modules);
    assert.equal(cells.size, count, `${layers} ${modules}`);
    const mask = maskOf(grid, cells);
    assert.deepEqual([mask.layers, mask.modules], back);
    assert.deepEqual(cellsOf(grid, mask.layers, mask.modules), cells, `${layers} ${modules}: the same cells`);
  }
});

test("every set of cells has a mask that says it", () => {
  let state = 7;
  const draw = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  for (let n = 0; n < 200; n += 1) {
    const all = [...cellsOf(grid, "", "")];
    const cells = new Set(all.filter(() => draw() < 0.5));
    if (!cells.size) continue;
    const { layers, modules } = maskOf(grid, cells);
    assert.deepEqual(cellsOf(grid, layers, modules), cells, `${layers} | ${modules}`);
  }
});

test("a range of blocks is told from other masks", () => {
  assert.deepEqual(["5-20", "7", "", "0;3", "1:q_proj"].map(rangeOf), [[5, 20], [7, 7], null, null, null]);
  assert.equal(cellOf(3, "q_proj"), "3:q_proj");
});
