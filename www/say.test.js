// node --test www
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { EN } from "./words/en.js";
import { listed, parts, say } from "./say.js";

const HERE = new URL("./", import.meta.url);

/** The page's own scripts and its document. */
function sources() {
  const files = readdirSync(HERE, { recursive: true }).map(String)
    .filter((name) => /\.(js|html)$/.test(name) && !/\.test\.js$|^words\/|^pkg\//.test(name));
  return files.map((name) => ({ name, text: readFileSync(new URL(name, HERE), "utf8") }));
}

test("a number chooses its form and is written as the language writes it", () => {
  assert.equal(say("token.count", { n: 1 }), "1 token");
  assert.equal(say("token.count", { n: 1234 }), "1,234 tokens");
  assert.equal(say("token.count", { n: 0 }), "0 tokens");
  assert.equal(listed(["a", "b", "c"]), "a, b, and c");
});

test("what is missing is told, not shown", () => {
  assert.throws(() => say("no.such.key"), /no "no\.such\.key"/);
  assert.throws(() => say("token.count", {}), /wants \{n\}/);
});

test("elements stand where their names do", () => {
  const element = /** @type {any} */ ({});
  assert.deepEqual(parts("token.count", { n: /** @type {any} */ (element) }).includes(element), true);
});

test("every key that is asked for is there, and every one that is there is asked for", () => {
  const all = sources();
  const text = all.map((file) => file.text).join("\n");
  const asked = new Set([...text.matchAll(/(?:\b(?:say|parts|term)\(\s*|data-(?:say|label|title)=)"([\w.-]+)"/g)].map(([, key]) => key));
  const missing = [...asked].filter((key) => !(key in EN));
  assert.deepEqual(missing, []);
  // Keys made of two parts: `say(`run.ended.${why}`)`.
  const stems = [...text.matchAll(/(?:say|parts)\(\s*`([\w.-]+)\$\{/g)].map(([, stem]) => stem);
  const idle = Object.keys(EN).filter((key) => !asked.has(key) && !text.includes(`"${key}"`) && !stems.some((stem) => key.startsWith(stem)));
  assert.deepEqual(idle, []);
});
