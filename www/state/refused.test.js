// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { isRefused } from "./refused.js";

test("what failed and is not in the engine is refused, unless a recording plays it", () => {
  const adapter = { key: "file:1", name: "mine", title: "mine", files: null, coefficient: 1, enabled: true, id: null, error: { code: "wrong-shape", message: "not so" } };
  const live = { recording: { status: /** @type {const} */ ("here"), error: null, model: "", prompts: [], shown: false } };
  const playing = { recording: { ...live.recording, shown: true } };
  assert.equal(isRefused(adapter, live), true);
  assert.equal(isRefused({ ...adapter, id: 3 }, live), false, "an earlier reading of it acts");
  assert.equal(isRefused({ ...adapter, error: null }, live), false);
  assert.equal(isRefused({ ...adapter, loading: true }, live), false);
  assert.equal(isRefused(adapter, playing), true);
  assert.equal(isRefused({ ...adapter, card: {} }, playing), false);
});
