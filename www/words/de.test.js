// node --test www
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "node:test";

import { DE } from "./de.js";
import { EN } from "./en.js";

/** The names in braces of a message, in all its forms. @param {import("../say.js").Message} message */
const names = (message) => [...new Set(Object.values(typeof message === "string" ? { other: message } : message).flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)))].sort();

test("every message there is in English is there in German, and no other", () => {
  assert.deepEqual(Object.keys(EN).filter((key) => !(key in DE)), [], "not translated");
  assert.deepEqual(Object.keys(DE).filter((key) => !(key in EN)), [], "of nothing");
});

test("both have the same names in braces, and the forms that German has", () => {
  const forms = new Intl.PluralRules("de").resolvedOptions().pluralCategories;
  for (const [key, message] of Object.entries(DE)) {
    if (!(key in EN)) continue;
    assert.deepEqual(names(message), names(EN[key]), key);
    if (typeof EN[key] !== "string") assert.notEqual(typeof message, "string", `${key} has forms in English`);
    if (typeof message !== "string") assert.deepEqual(Object.keys(message).sort(), [...forms].sort(), key);
  }
});

test("who explains is not formal, and quotes as German does", () => {
  for (const [key, message] of Object.entries(DE)) {
    for (const text of Object.values(typeof message === "string" ? { other: message } : message)) {
      assert.doesNotMatch(text, /\b(?:Ihnen|Ihrem?n?|Ihres|klicken Sie|Sie können)\b/, key);
      assert.doesNotMatch(text, /[“][^”]*[”]|\d\.\d/, `${key}: quotes or a decimal point`);
    }
  }
});

test("the page speaks it: numbers, forms, and figures that are written already", async () => {
  Object.assign(globalThis, { location: { hash: "#lang=de" } });
  const { LANGUAGE, listed, say } = await import(`../say.js?${"de"}`);
  assert.equal(LANGUAGE, "de");
  assert.equal(say("status.stopped", { n: 1 }), "Nach 1 Token angehalten.");
  assert.equal(say("status.stopped", { n: 1234 }), "Nach 1.234 Tokens angehalten.");
  assert.equal(say("stats.dose.is", { nats: "0.41" }), "0,41 Nats/Token");
  assert.equal(say("next.id", { id: "0.21.2" }), "ID 0.21.2", "no figure");
  assert.equal(listed(["a", "b", "c"]), "a, b und c");
});

test("each file of words has one beside it in German", () => {
  const here = new URL("./", import.meta.url);
  const files = (/** @type {string} */ folder) => readdirSync(new URL(folder, here)).filter((name) => name.endsWith(".js") && !/^de\.|\.test\.js$/.test(name));
  const there = files("./de/");
  assert.deepEqual(files("./").map((name) => (name === "en.js" ? "page.js" : name)).filter((name) => !there.includes(name)), []);
});
