// node --test www
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { ONE_COLUMN, ONE_TEXT } from "./widths.js";

test("the style sheet changes at the widths of the scripts, and at no others", async () => {
  const css = await readFile(new URL("style.css", import.meta.url), "utf8");
  const widths = [...css.matchAll(/\(max-width: [\d.]+rem\)/g)].map(([width]) => width);
  assert.deepEqual([...new Set(widths)].sort(), [ONE_COLUMN, ONE_TEXT].sort());
});
