// node --test www
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { EN } from "../words/en.js";
import { check, readLesson, translated, unknownAdapters } from "./lesson-file.js";
import { COLUMNS, FACTS, HIDEABLE, LOCKABLE, MOST_CHARACTERS, PARTS, SCHEMA, TITLES } from "./lesson-schema.js";

const LESSONS = new URL("../lessons/", import.meta.url);
const ADAPTERS = new URL("../adapters/", import.meta.url);
const json = (/** @type {URL} */ url) => JSON.parse(readFileSync(url, "utf8"));
const index = json(new URL("index.json", LESSONS)).lessons;
/** @type {Map<string, import("./lesson-file.js").Lesson>} */
const shipped = new Map(index.map((/** @type {any} */ { name }) => {
  const { lesson, complaints } = readLesson(readFileSync(new URL(`${name}.json`, LESSONS), "utf8"));
  assert.deepEqual(complaints, [], name);
  return [name, lesson];
}));

const GOOD = () => ({
  format: "steering-lesson", version: 1, title: "Mine", minutes: 5, hide: ["train"], lock: ["prompt"],
  state: { prompt: "Say.", adapters: { "tone-lora": 0, "tone/hra": { c: -1, layers: "8-14" } }, seed: 9 },
  steps: [
    { say: ["Look."], point: ["strips"], figure: { kind: "table", adapters: ["tone/lora"], columns: ["d-plus"] } },
    { title: "Two", say: ["Guess."], predict: { question: "What?", choices: ["a", "b"], answer: 1, reveal: ["b."], state: { look: "split" } },
      try: "Turn it.", done: { all: [{ fact: "c", of: "tone-lora", is: 0 }, { any: [{ fact: "same", is: true }] }] }, demo: [{ look: 3 }], keep: "So." },
  ],
});

/** What is wrong with a lesson after a change. @param {(lesson: any) => void} change */
const complaints = (change) => {
  const lesson = GOOD();
  change(lesson);
  return readLesson(JSON.stringify(lesson)).complaints.map(({ key, why }) => `${key}: ${why}`);
};

test("a lesson is read; everything that is wrong in another is told by its key", () => {
  assert.deepEqual(complaints(() => {}), []);
  /** @type {[(lesson: any) => void, RegExp][]} */
  const cases = [
    [(l) => { l.format = "other"; }, /^format: has to be "steering-lesson"/],
    [(l) => { l.version = 2; }, /^version: has to be 1/],
    [(l) => { delete l.title; }, /^title: is missing/],
    [(l) => { l.steps = []; }, /^steps: needs at least 1/],
    [(l) => { l.steps[1].guess = {}; }, /^steps\[1\]\.guess: is no key .*predict/],
    [(l) => { l.steps[0].say = "Look."; }, /^steps\[0\]\.say: "Look\." is not a list/],
    [(l) => { l.steps[0].say[0] = ""; }, /^steps\[0\]\.say\[0\]: is empty/],
    [(l) => { l.steps[0].say[0] = "x".repeat(701); }, /^steps\[0\]\.say\[0\]: has 701 characters; 700/],
    [(l) => { l.hide = ["texts"]; }, /^hide\[0\]: "texts" is not one of: .*adapters/],
    [(l) => { l.steps[0].point = ["body *"]; }, /^steps\[0\]\.point\[0\]: "body \*" is not one of/],
    [(l) => { l.steps[1].predict.answer = 2; }, /^steps\[1\]\.predict\.answer: is beyond the choices, of which there are 2/],
    [(l) => { delete l.steps[1].predict.choices; }, /^steps\[1\]\.predict\.answer: is for a question with choices/],
    [(l) => { l.state.adapters["tone-lora"] = "1"; }, /^state\.adapters\.tone-lora: /],
    [(l) => { l.state.adapters["tone-lora"] = 9; }, /^state\.adapters\.tone-lora: 9 is not from -8 to 8/],
    [(l) => { l.state.adapters["../x"] = 1; }, /^state\.adapters\.\.\.\/x: "\.\.\/x" is not written like/],
    [(l) => { l.state.adapters["tone/hra"].layers = "a"; }, /^state\.adapters\.tone\/hra\.layers: "a" is not written like/],
    [(l) => { l.state.seed = 1.5; }, /^state\.seed: 1\.5 is not a whole number/],
    [(l) => { l.steps[1].done = { fact: "weather" }; }, /^steps\[1\]\.done\.fact: "weather" is not one of: c, /],
    [(l) => { l.steps[1].done = { all: [] }; }, /^steps\[1\]\.done\.all: needs at least 1/],
    [(l) => { l.steps[1].done.all[1].any[0].is = null; }, /^steps\[1\]\.done\.all\[1\]\.any\[0\]\.is: /],
    [(l) => { l.recording = "../../secret"; }, /^recording: /],
    [(l) => { l.steps[0].figure.columns = ["speed"]; }, /^steps\[0\]\.figure\.columns\[0\]: "speed" is not one of/],
    [(l) => { l.steps[0] = null; }, /^steps\[0\]: null is not an object/],
  ];
  for (const [change, expected] of cases) {
    const said = complaints(change);
    assert.equal(said.length, 1, said.join("\n"));
    assert.match(said[0], expected);
  }
});

/** The keys of a lesson's texts. */
const SAID = ["title", "about", "say", "question", "choices", "reveal", "try", "keep", "live"];

/** Its texts alone, nested as the lesson is. @param {any} value @param {string} [key] @returns {any} */
function saidIn(value, key = "") {
  if (Array.isArray(value)) return key === "steps" || SAID.includes(key) ? value.map((one) => saidIn(one, key)) : undefined;
  if (typeof value === "string") return SAID.includes(key) ? "said" : undefined;
  if (typeof value !== "object" || !value || ["state", "demo", "done", "figure"].includes(key)) return undefined;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, saidIn(one, name)]).filter(([, one]) => one !== undefined));
}

test("each lesson is there in each language, whole, with its texts and nothing else", () => {
  for (const language of readdirSync(LESSONS, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== "recorded")) {
    const folder = new URL(`${language.name}/`, LESSONS);
    assert.deepEqual(readdirSync(folder).sort(), [...shipped.keys(), "index"].map((name) => `${name}.json`).sort(), language.name);
    const list = json(new URL("index.json", folder)).lessons;
    assert.deepEqual(list.map((/** @type {any} */ { name }) => name), index.map((/** @type {any} */ { name }) => name));
    for (const [at, [name, lesson]] of [...shipped].entries()) {
      const words = json(new URL(`${name}.json`, folder));
      assert.deepEqual(saidIn(words), saidIn(lesson), `${language.name}/${name}: no text is missing, and none is of nothing`);
      const now = translated(lesson, words);
      assert.deepEqual(readLesson(JSON.stringify(now)).complaints, [], name);
      assert.notEqual(now.steps[0]?.say[0], lesson.steps[0]?.say[0]);
      assert.deepEqual([now.steps[0]?.state, now.hide, now.minutes], [lesson.steps[0]?.state, lesson.hide, lesson.minutes]);
      assert.deepEqual([list[at].title, list[at].about], [words.title, words.about], `${name}: as the list says it`);
    }
  }
});

test("an adapter that is none is told by its key, wherever it is named", () => {
  const told = (/** @type {(lesson: any) => void} */ change) => {
    const lesson = GOOD();
    change(lesson);
    const zoo = ["tone/hra", "tone/lora"];
    return unknownAdapters(/** @type {any} */ (lesson), ["tone-lora", ...zoo], zoo).map(({ key, why }) => `${key}: ${why}`);
  };
  assert.deepEqual(told(() => {}), []);
  const misspelt = told((l) => { l.state.adapters["tone-lroa"] = 1; });
  assert.deepEqual(misspelt, ['state.adapters.tone-lroa: "tone-lroa" is not one of: tone-lora, tone/hra, tone/lora']);
  /** @type {[(lesson: any) => void, string][]} */
  const cases = [
    [(l) => { l.state.active = "x"; }, "state.active"],
    [(l) => { l.steps[0].figure.adapters.push("tone-lora"); }, "steps[0].figure.adapters[1]"],
    [(l) => { l.steps[0].state = { adapters: { x: 1 } }; }, "steps[0].state.adapters.x"],
    [(l) => { l.steps[1].predict.state.adapters = { x: 1 }; }, "steps[1].predict.state.adapters.x"],
    [(l) => { l.steps[1].demo[0].adapters = { x: 1 }; }, "steps[1].demo[0].adapters.x"],
    [(l) => { l.steps[1].done.all[0].of = "x"; }, "steps[1].done.all[0].of"],
    [(l) => { l.steps[1].done.all[1].any[0].of = "x"; }, "steps[1].done.all[1].any[0].of"],
    [(l) => { l.steps[1].done = { fact: "most", of: "x" }; }, "steps[1].done.of"],
  ];
  for (const [change, key] of cases) assert.deepEqual(told(change).map((one) => one.split(": ")[0]), [key]);
});

test("hostile files are refused in words, and soon", () => {
  const said = (/** @type {string} */ text) => readLesson(text).complaints.map(({ why }) => why);
  assert.match(said("{")[0], /not JSON/);
  for (const text of ["null", "[]", "3", '"x"']) assert.match(said(text)[0], /is not an object/, text);
  assert.match(said(" ".repeat(MOST_CHARACTERS + 1))[0], /at most 65,536 characters/);
  const deep = `{"format":"steering-lesson","version":1,"title":"x","steps":[{"say":["x"],"done":${'{"all":['.repeat(3000)}${"]}".repeat(3000)}}]}`;
  assert.ok(said(deep).length > 0);
  // Deeper than what writes such a value again can go.
  const nested = "[".repeat(30_000) + "]".repeat(30_000);
  const lesson = (/** @type {string} */ keys) => `{"format":"steering-lesson","version":1,"title":"x","steps":[{"say":["x"]${keys}}]}`;
  assert.match(said(lesson(`,"title":${nested}`))[0], /^\[…\] is not a text/);
  const predicted = lesson(`,"predict":{"question":"?","choices":["a","b"],"reveal":["x"],"answer":${nested}}`);
  assert.match(said(predicted)[0], /^\[…\] is not a whole number/);
  const many = said(JSON.stringify({ ...GOOD(), ...Object.fromEntries(Array.from({ length: 900 }, (_, at) => [`key${at}`, 1])) }));
  assert.equal(many.length, 20);
  // Names that every object has are keys like any other.
  assert.equal(readLesson(`{"format":"steering-lesson","version":1,"title":"x","steps":[{"say":["x"]}],"__proto__":{"x":1},"constructor":1}`).complaints.length, 2);
});

test("the schema for editors is the one that the page reads by, and says only what it checks", () => {
  const documented = json(new URL("../../docs/lesson.schema.json", import.meta.url));
  assert.deepEqual(documented.title, "A lesson");
  /** Without the words for its reader. @param {any} schema @param {boolean} [names] whether its keys are names of what is described @returns {any} */
  const bare = (schema, names = false) => (Array.isArray(schema) ? schema.map((one) => bare(one)) : typeof schema !== "object" ? schema
    : Object.fromEntries(Object.entries(schema).filter(([key, value]) => names || !(["title", "description"].includes(key) && typeof value === "string"))
      .map(([key, value]) => [key, bare(value, ["properties", "$defs"].includes(key))])));
  assert.deepEqual(bare(documented), SCHEMA);
  const known = new Set(["$schema", "type", "properties", "required", "additionalProperties", "propertyNames", "maxProperties", "items", "minItems",
    "maxItems", "enum", "const", "minLength", "maxLength", "pattern", "minimum", "maximum", "anyOf", "$ref", "$defs"]);
  const visit = (/** @type {any} */ schema) => {
    for (const key of Object.keys(schema)) assert.ok(known.has(key), `${key} is not checked`);
    for (const inside of [...Object.values(schema.properties ?? {}), ...Object.values(schema.$defs ?? {}), ...(schema.anyOf ?? []), schema.items, schema.propertyNames, schema.additionalProperties]) if (inside) visit(inside);
  };
  visit(SCHEMA);
  assert.deepEqual(check(3, { type: "number", minimum: 4, maximum: 5 }, "x").length, 1);
});

test("the list has the lessons that are there, as they are", () => {
  const files = readdirSync(LESSONS).filter((name) => name.endsWith(".json") && name !== "index.json").map((name) => name.slice(0, -5));
  assert.deepEqual([...shipped.keys()].sort(), files.sort());
  for (const { name, title, about, minutes, steps } of index) {
    const lesson = shipped.get(name);
    assert.deepEqual([title, about, minutes, steps], [lesson?.title, lesson?.about, lesson?.minutes, lesson?.steps.length], name);
  }
});

test("each lesson asks, lets break and leaves a sentence; each of its tasks can be shown by itself", () => {
  for (const [name, { steps, minutes }] of shipped) {
    assert.ok(steps.some(({ predict }) => predict), `${name} predicts nothing`);
    assert.ok(steps.some(({ title }) => /break it/i.test(title ?? "")), `${name} breaks nothing`);
    assert.ok(steps.at(-1)?.keep, `${name} keeps nothing`);
    assert.ok(Number(minutes) >= 5 && Number(minutes) <= 8, name);
    for (const { try: task, done, demo, say } of steps) {
      assert.ok(!task || done, `${name}: ${task}`);
      assert.ok(!done || demo || task?.startsWith("With the live model"), `${name}: ${task}`);
      assert.ok(say.join(" ").split(/\s+/).length <= 110, `${name}: too long: ${say[0]}`);
    }
  }
});

test("what a lesson plays is there: its recording has its prompts, adapters, coefficients and what it quotes", () => {
  const zoo = json(new URL("index.json", ADAPTERS)).adapters;
  for (const [name, lesson] of shipped) {
    const recording = json(lesson.recording ? new URL(`recorded/${lesson.recording}.json`, LESSONS) : new URL("../recorded/smollm2-135m.json", import.meta.url));
    const settings = [lesson.state, ...lesson.steps.flatMap(({ state, predict, demo = [] }) => [state, predict?.state, ...demo])].filter((one) => one !== undefined);
    for (const { prompt, adapters = {}, cache } of settings) {
      assert.ok(prompt === undefined || recording.prompts.some((/** @type {any} */ { text }) => text === prompt), `${name}: ${prompt}`);
      for (const [adapter, wish] of Object.entries(adapters)) {
        const { c, layers = "" } = typeof wish === "number" ? { c: wish } : wish;
        const sha = zoo.find((/** @type {any} */ { folder }) => folder === adapter)?.sha256;
        const place = recording.adapters.findIndex((/** @type {any} */ one) => (sha ? one.sha256 === sha : one.name === adapter) && (one.layers ?? "") === layers && (!cache || !one.cache || one.cache === cache));
        assert.ok(place >= 0 && recording.coefficients.includes(c), `${name}: ${adapter} ${layers} at ${c} is not recorded`);
      }
    }
    const texts = recording.runs.map((/** @type {any} */ { steered }) => steered).concat(recording.prompts.map((/** @type {any} */ { base }) => base))
      .map((/** @type {any} */ { tokens }) => tokens.map((/** @type {number} */ at) => recording.tokens[at][1]).join(""));
    const said = [...texts, ...recording.prompts.map((/** @type {any} */ { text }) => text), ...Object.values(EN).map((message) => (typeof message === "string" ? message : message.other))];
    for (const [, quote] of JSON.stringify(lesson).matchAll(/“([^”]+)”/g)) {
      const words = quote.replace(/ …$/, "").replace(/\.$/, "");
      assert.ok(said.some((text) => text.toLowerCase().includes(words.toLowerCase())), `${name} quotes “${quote}”, which nothing says`);
    }
  }
});

test("what lessons claim of measured adapters is so", () => {
  const row = (/** @type {string} */ name) => json(new URL(`${name}/row.json`, ADAPTERS));
  const at = (/** @type {any} */ { measured }, /** @type {number[]} */ values, /** @type {number} */ c) => values[measured.coefficients.indexOf(c)];
  const kl = (/** @type {string} */ name) => at(row(name), row(name).measured.kl_nats.p95, 1);
  const d = (/** @type {string} */ name, c = 1) => at(row(name), row(name).measured.d_nats, c);
  const dosed = (/** @type {string} */ name) => row(name).dose.dNats[2];
  assert.ok(kl("tone/road") > 1.5 * kl("tone/delora"), "dose: ROAD pushes much further at c = 1");
  assert.ok(d("tone/ia3", 2) <= d("tone/ia3", 1) && at(row("tone/ia3"), row("tone/ia3").measured.kl_nats.p95, 2) > 4 * kl("tone/ia3"), "too-much: effect levels off, the push does not");
  assert.ok(d("tone/ia3", 0) > 0, "too-much: the base likes cheerful answers");
  assert.ok(Math.abs(dosed("tone/hra") - dosed("tone/lora")) < 0.3 * (dosed("tone/lora") - d("tone/lora", 0)), "turning: about as much");
  assert.ok(["tone/lora", "tone/vera", "tone/road"].every((name) => dosed(name) > dosed("tone/ia3")), "knobs: IA3 reaches less at the same dose");
  assert.ok(["tone/vera", "tone/road"].every((name) => row(name).parameters < row("tone/ia3").parameters), "knobs: VeRA and ROAD have fewer numbers");
  assert.ok(["tone/lora", "tone/road"].every((name) => kl(name) < kl("tone/ia3") && d(name) > d("tone/ia3")), "knobs: the price");
  assert.ok(dosed("tone/vera") >= dosed("tone/lora") && row("tone/vera").parameters < 0.2 * row("tone/lora").parameters, "low-rank: no less effect with far fewer numbers");
  assert.deepEqual([row("tone/lora").rank, row("tone/lora").layers], [4, "9-20"], "low-rank");
  const { measured } = row("tone/lora");
  const each = (/** @type {string} */ prompt) => [-1, 0, 1].map((c) => measured.per_prompt[measured.prompts.indexOf(prompt)][measured.coefficients.indexOf(c)]);
  const [low, base] = each("My sister is learning to ride a bike. She fell off twice this morning.");
  assert.ok(low > base, "fails: the wrong way");
  const [minus, zero, plus] = each("What is friendship?");
  assert.ok(zero > 1 && plus - zero < 0.2 * (zero - minus), "fails: little room above");
  assert.ok(measured.ordered_share < 1 && measured.prompting.positive - d("tone/lora", 0) < 0.3 * (d("tone/lora") - d("tone/lora", 0)), "prompting: moves d far less");
});

test("names of parts, facts and columns have their words", () => {
  for (const part of [...HIDEABLE, ...LOCKABLE]) assert.ok(EN[TITLES[part] ?? `lesson.part.${part}`], part);
  for (const column of COLUMNS) assert.ok(EN[`lesson.column.${column}`], column);
  assert.ok(FACTS.length > 10 && Object.keys(PARTS).length > 20);
});

test("the documentation's lesson is one, and it names all that there is", () => {
  const text = readFileSync(new URL("../../docs/lessons.md", import.meta.url), "utf8");
  const [, example] = /```json\n([^]*?)```/.exec(text) ?? [];
  assert.deepEqual(readLesson(example).complaints, []);
  const defs = /** @type {any} */ (SCHEMA.$defs);
  const names = [...Object.keys(PARTS), ...FACTS, ...COLUMNS, ...Object.keys(SCHEMA.properties), ...["step", "state", "turned", "predict"].flatMap((name) => Object.keys(defs[name].properties))];
  for (const name of names.filter((one) => one !== "$schema")) assert.match(text, new RegExp(`[\`"]${name.replace("$", "\\$")}[\`"]`), name);
});
