// node --test www
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { listing } from "../src/web/hub.js";
import { HUB, copyOf, idOf, itemSource, keptOf, placeOf, sourceOf } from "./hub.js";

test("places on the Hub are told from addresses", () => {
  const table = [
    ["o/n", "hub:o/n"], ["hub:o/n", "hub:o/n"], ["o/n/", "hub:o/n"], ["o.x/n-1_2/sub/a b.gguf@refs/pr/1", "hub:o.x/n-1_2/sub/a b.gguf@refs/pr/1"],
    [`${HUB}/o/n`, "hub:o/n"], [`${HUB}/o/n/tree/dev/sub`, "hub:o/n/sub@dev"], [`${HUB}/o/n/blob/main/a%20b.gguf`, "hub:o/n/a b.gguf"],
    [`${HUB}/o/n/resolve/refs%2Fpr%2F1/m.gguf?download=true`, "hub:o/n/m.gguf@refs/pr/1"],
  ];
  for (const [text, id] of table) {
    const place = placeOf(text);
    assert.equal(place && idOf(place), id, text);
  }
  for (const text of ["https://example.org/o/n", "model.gguf", "", "o/n@", `${HUB}/o`, `${HUB}/o/n/discussions/1`]) {
    assert.equal(placeOf(text), null, text);
  }
  assert.equal(placeOf(`${HUB}/o/n`, "http://mirror"), null);
  assert.deepEqual(placeOf("http://mirror/o/n", "http://mirror/"), { repository: "o/n", revision: "main", path: "" });
});

test("what was typed becomes a model to load", () => {
  const of = (/** @type {string} */ text) => sourceOf(text, HUB, "http://here/page/");
  assert.deepEqual(of("o/n"), { kind: "url", url: "hub:o/n", name: "o/n" });
  assert.deepEqual(of("o/n/sub/m.gguf"), { kind: "url", url: "hub:o/n/sub/m.gguf", name: "m.gguf" });
  assert.deepEqual(of("https://example.org/a/m.gguf?x=1"), { kind: "url", url: "https://example.org/a/m.gguf?x=1", name: "m.gguf" });
  assert.deepEqual(of("m.gguf"), { kind: "url", url: "http://here/page/m.gguf", name: "m.gguf" });
});

test("what is kept of a model is found by its place", () => {
  const file = (/** @type {string} */ url, complete = true, keptBytes = 10) => ({ url, complete, keptBytes, sizeBytes: 10, sha256: null, version: null });
  const models = [
    file(`${HUB}/o/n/resolve/main/m.gguf`), file(`${HUB}/o/m/resolve/main/a.gguf`), file(`${HUB}/o/m/resolve/main/config.json#b1`, false, 5),
    file("https://example.org/m.gguf"), file(`${HUB}/o/n/resolve/dev/m.gguf`, false, 3),
  ];
  const facts = (/** @type {string} */ url) => {
    const found = keptOf(models, url, HUB);
    return found && [found.kept.url, found.kept.complete, found.kept.keptBytes, found.urls.length];
  };
  assert.deepEqual(facts("hub:o/n/m.gguf"), ["hub:o/n/m.gguf", true, 10, 1]);
  assert.deepEqual(facts("hub:o/n/m.gguf@dev"), ["hub:o/n/m.gguf@dev", false, 3, 1]);
  assert.deepEqual(facts("hub:o/m"), ["hub:o/m", false, 15, 2]);
  assert.deepEqual(facts("https://example.org/m.gguf"), ["https://example.org/m.gguf", true, 10, 1]);
  assert.equal(facts("hub:o/x"), null);
  assert.equal(facts("hub:o/n/other.gguf"), null);
});

test("a copy beside the page takes the place of what lies on the Hub", () => {
  const list = [{ file: "models/other.gguf", name: "other" }, { id: "o/n/m.gguf", file: "models/m.gguf", name: "m", bytes: 7, sha256: "ab" }];
  const found = copyOf(list, "hub:o/n/m.gguf", HUB);
  assert.deepEqual({ ...found, url: found?.url.split("/www/")[1] }, { kind: "url", url: "models/m.gguf", name: "m", bytes: 7, sha256: "ab" });
  for (const url of ["hub:o/n", "hub:o/n/m.gguf@dev", "https://example.org/m.gguf"]) assert.equal(copyOf(list, url, HUB), null, url);
});

test("each known model is one file of a repository, with its size and its licence", async () => {
  const list = JSON.parse(await readFile(new URL("./known.json", import.meta.url), "utf8"));
  assert.ok(list.length > 0);
  for (const item of list) {
    const { url, bytes = 0, name } = itemSource(item);
    assert.match(placeOf(url)?.path ?? "", /^[^/]+\.gguf$/, url);
    assert.ok(bytes > 1e8 && bytes < 1e9 && item.license && name, url);
  }
});

test("the list of copies that comes with the page has the form of one", async () => {
  assert.deepEqual(JSON.parse(await readFile(new URL("./models.json", import.meta.url), "utf8")), []);
});

test("a listing whose pages go on for ever is given up after one too many", async () => {
  let asked = 0;
  const before = globalThis.fetch;
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url) => { asked += 1; return new Response("[]", { headers: { Link: `<${url}>; rel="next"` } }); });
  try {
    const { status, pages } = await listing("https://mirror.example/api/models/o/n/tree/main", undefined);
    // One more than src/hub/listing.rs reads, which is how it knows.
    assert.deepEqual([status, pages.length, asked], [200, 201, 201]);
  } finally {
    globalThis.fetch = before;
  }
});

test("what is asked of the Hub carries nothing of the reader", async () => {
  /** @type {any[]} */
  const asked = [];
  const before = globalThis.fetch;
  globalThis.fetch = /** @type {any} */ (async (/** @type {string} */ url, /** @type {any} */ options) => { asked.push([url, options]); return new Response("[]"); });
  try {
    await listing("https://huggingface.co/api/models/o/n/tree/main?recursive=true", undefined);
    assert.deepEqual(asked, [["https://huggingface.co/api/models/o/n/tree/main?recursive=true", { signal: undefined, cache: "no-store" }]]);
  } finally {
    globalThis.fetch = before;
  }
});
