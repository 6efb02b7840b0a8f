// node --test www
// Links and lessons, damaged at random in several places at once: each is read or complained of, never an exception, and soon.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { readLesson } from "./lesson-file.js";
import { defaults } from "./store.js";
import { parse, serialise } from "./url.js";

const LESSONS = new URL("../lessons/", import.meta.url);
/** Damaged copies of each text. */
const DRAWS = { link: 1000, lesson: 100 };
/** Far more than a read takes on a slow machine. */
const MOST_MS = 500;
/** What is put in: signs that mean something here or there, numbers at their ends, and names that every object has. */
const PIECES = ["", "&", "=", "#", "%", "%00", "%ff", "%F0%9F", "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "true", "-1", "0", "1e999", "NaN", "9007199254740993",
  "__proto__", "constructor", "toString", "\u0000", "\ud800", "\u202e", "<script>", "javascript:", "//", "../", "a".repeat(200), "[".repeat(500)];

/** Numbers from 0 up to 1, the same in every run. @param {number} seed */
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A text with one to five damages. @param {string} text @param {() => number} next */
function damaged(text, next) {
  for (let left = 1 + Math.floor(5 * next()); left > 0; left--) {
    const at = Math.floor(next() * (text.length + 1));
    const long = Math.floor(next() ** 3 * 60);
    const taken = text.slice(at, at + long);
    const piece = PIECES[Math.floor(next() * PIECES.length)];
    const put = [piece, "", taken + taken, String.fromCharCode(Math.floor(next() * 128))][Math.floor(4 * next())];
    text = text.slice(0, at) + put + text.slice(at + long);
  }
  return text;
}

/** Reads damaged copies. @param {string} name @param {string} text @param {number} draws @param {(text: string) => void} read */
function survives(name, text, draws, read) {
  const next = random(text.length);
  for (let draw = 0; draw < draws; draw++) {
    const copy = damaged(text, next);
    const begin = performance.now();
    try {
      read(copy);
    } catch (error) {
      assert.fail(`${name}, draw ${draw}: ${/** @type {Error} */ (error).stack}\n${JSON.stringify(copy)}`);
    }
    const took = performance.now() - begin;
    assert.ok(took < MOST_MS, `${name}, draw ${draw}, took ${took} ms: ${JSON.stringify(copy)}`);
  }
}

/** What a link's reader understood, as a link. @param {string} text */
function understood(text) {
  const { patch, adapters } = parse(text);
  const usual = defaults();
  const state = { ...usual, ...patch, sampling: { ...usual.sampling, ...patch.sampling }, adapters: /** @type {any} */ (adapters ?? []) };
  return serialise(state, usual, patch.modelUrl ?? null);
}

test("damaged links are read, and what was understood says the same once more", () => {
  const links = [
    serialise({
      ...defaults(), prompt: "Say “hi”, 100 % & more: #1\nnow?", system: "Be brief.", turns: [{ user: "Hi, a=b?", answer: "Hello!\n", turned: "" }], stop: ["\n\n", "END"],
      variables: { enable_thinking: false, date: "5th" }, sampling: { temperature: 0.5, topK: 40, topP: 0.85, minP: 0.05, repetitionPenalty: 1.2, seed: 123 },
      adapters: [{ name: "tone/lora", coefficient: -0.75, enabled: true, law: "power", layers: "5-20", modules: "q_proj,v_proj" }, { name: "mixture", coefficient: 1, enabled: false, experts: [0.5, -1] }],
    }, defaults(), "https://a.example/m.gguf?x=1"),
    "#hub=owner/name/file.gguf@main&mirror=http://127.0.0.1:8080&lesson=knobs&step=2&hide=plots,export&lock=sampling&auto=1&device=cpu&software=1&lang=de",
  ];
  for (const link of links) {
    survives(link.slice(0, 20), link, DRAWS.link, (text) => {
      const once = understood(text);
      assert.equal(understood(once), once);
    });
  }
});

test("damaged lessons are read or complained of", () => {
  for (const name of readdirSync(LESSONS).filter((name) => name.endsWith(".json") && name !== "index.json")) {
    survives(name, readFileSync(new URL(name, LESSONS), "utf8"), DRAWS.lesson, (text) => {
      const { lesson, complaints } = readLesson(text);
      assert.ok(lesson ? complaints.length === 0 : complaints.length > 0 && complaints.length <= 20);
      assert.ok(complaints.every(({ why }) => why.length < 2000));
    });
  }
});
