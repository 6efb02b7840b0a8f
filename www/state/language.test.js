// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { languageOf } from "./language.js";

test("the link comes first, then what was chosen here, then the reader's own; of what there are words for", () => {
  const preferred = ["fr-CH", "de-CH", "en"];
  assert.equal(languageOf({ preferred }), "de");
  assert.equal(languageOf({ preferred, remembered: "en" }), "en");
  assert.equal(languageOf({ preferred, remembered: "en", hash: "#p=Hi&lang=de" }), "de");
  assert.equal(languageOf({ preferred, hash: "#lang=tlh" }), "de");
  assert.equal(languageOf({ preferred: ["DE-at"] }), "de");
  assert.equal(languageOf({ preferred: ["fr", "constructor"] }), "en");
  assert.equal(languageOf({}), "en");
});
