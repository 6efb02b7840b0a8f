// node --test www
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { MOST, atEqualDose, picking } from "./compare.js";
import { equalDoses, summary } from "./equal.js";
import { behaviourOf, cAt, choices, chosenOf, curveOf, gridOf, isListed, natsOn, pointsOf, richestOf, rivalsOf, titled, turnFor } from "./methods.js";
import { defaults } from "./store.js";

const item = (folder, method = folder.split("/")[1]) => ({ folder, method, behaviour: folder.split("/")[0], parameters: 1000, bytes: 4, sha256: "" });
const method = (name, family, more = {}) => ({ name, title: name.toUpperCase(), family, law: "linear", hypothesis: `${name} believes.`, trainsNot: null, ...more });
/** `dose` nats at c = 1, growing with its square. */
const row = (folder, dose, more = {}) => ({
  folder, method: folder.split("/")[1].split("-")[0], behaviour: folder.split("/")[0], parameters: 1000, trainsReverse: true, law: "linear", d: [-1, 0.5, 2],
  c: [-2, -1, 0, 1, 2], nats: [4, 1, 0, 1, 4].map((nats) => nats * dose), dose: { nats: 1, c: [-0.9, 1.1], d: [-0.8, 0.5, 2.2], note: null }, ...more,
});
const LISTED = {
  model: "Tiny",
  methods: [method("lora", "low-rank"), method("xlora", "low-rank", { trainsNot: "a gate" }), method("ia3", "scale", { law: "power" }), method("hra", "rotate")],
  rows: [row("tone/lora", 1), row("tone/lora-r16", 2), row("tone/ia3", 0.25), { folder: "tone/hra", method: "hra", behaviour: "tone", parameters: null, failed: "its loss was not finite" },
    row("register/ia3", 1)],
};
const ZOO = [item("tone/ia3"), item("tone/lora"), item("tone/lora-r16", "lora"), item("register/ia3"), item("tone/strange")];
const adapter = (name, more = {}) => ({ key: `zoo:${name}`, name, title: name, files: { config: null, weights: new Uint8Array() }, id: null, error: null, coefficient: 1, enabled: true, ...more });
const page = (more = {}, methods = {}) => {
  const state = { ...defaults(), zoo: ZOO, ...more };
  return { ...state, methods: { ...state.methods, listed: LISTED, ...methods } };
};
const shown = (families) => families.map(({ family, lines }) => [family, ...lines.map(({ title, cells }) => `${title}: ${cells.map(({ state }) => state).join(" ")}`)]);

test("every method has a line in its family, with variants, and each behaviour a cell in it", () => {
  assert.deepEqual(shown(gridOf(page({ adapters: [adapter("tone/ia3"), adapter("register/ia3", { enabled: false })] }))), [
    ["low-rank", "LORA: there missing", "LORA (r16): there missing", "XLORA: missing missing"],
    ["scale", "IA3: on off"],
    ["rotate", "HRA: missing missing"],
    [null, "strange: there missing"],
  ]);
  assert.equal(richestOf(page()), "tone");
  assert.equal(richestOf(page({ zoo: [] }, { listed: null })), "");
  assert.equal(titled(method("control_vector", "vector"), "mean-vector"), "CONTROL_VECTOR (mean-vector)");
});

test("before its list is there the engine's methods are, and before that the names", () => {
  const none = page({}, { listed: null });
  assert.deepEqual(shown(gridOf(none)), [[null, "ia3: there there", "lora: there missing", "lora-r16: there missing", "strange: there missing"]]);
  none.engine = { ...none.engine, methods: LISTED.methods };
  assert.deepEqual(shown(gridOf(none))[1], ["scale", "IA3: there there"]);
});

test("one for several behaviours is in the column of each: with tasks, it acts in that of the one it runs", () => {
  const both = { ...item("several/xlora"), behaviour: "tone, register", behaviours: ["tone", "register"] };
  const listed = { ...LISTED, rows: [...LISTED.rows, row("tone/xlora", 1), row("register/xlora", 2)] };
  const cells = (adapters) => gridOf(page({ zoo: [...ZOO, both], adapters }, { listed })).flatMap(({ lines }) => lines).find(({ name }) => name === "xlora")
    .cells.map(({ behaviour, state, effect, item: { folder } }) => [behaviour, state, effect, folder]);
  assert.deepEqual(cells([]), [["tone", "there", 3, "several/xlora"], ["register", "there", 3, "several/xlora"]]);
  assert.deepEqual(cells([adapter("several/xlora")]).map(([, state]) => state), ["on", "there"]);
  const second = adapter("several/xlora", { task: 1 });
  assert.deepEqual(cells([second]).map(([, state]) => state), ["there", "on"]);
  const state = page({ zoo: [...ZOO, both], adapters: [second] }, { listed });
  assert.equal(behaviourOf(state, both), "register");
  assert.deepEqual(["tone/lora", "register/ia3"].map((folder) => rivalsOf(state, ZOO.find((one) => one.folder === folder)).length), [0, 1]);
  assert.equal(natsOn(curveOf(state, second), 1), 2, "the nats of the behaviour that its task is");
  assert.deepEqual(choices(state, "register"), ["several/xlora", "register/ia3"]);
  Object.assign(both, { experts: 2 });
  assert.deepEqual(cells([second]).map(([, state]) => state), ["on", "on"], "a gate has no task");
});

test("a cell has what was measured, or says why it is empty", () => {
  const cells = (name) => gridOf(page()).flatMap(({ lines }) => lines).find((line) => line.name === name).cells;
  assert.deepEqual(cells("lora").map(({ effect, nats }) => [effect, nats]), [[3, 1], [null, null]]);
  assert.match(cells("lora")[1].why, /nobody has trained it/);
  assert.match(cells("xlora")[0].why, /training takes a gate/);
  assert.match(cells("hra")[0].why, /its loss was not finite/);
  assert.match(cells("hra")[1].why, /nobody has trained it/);
});

test("a filter finds what has all of its words: in the title, the family, the law or the hypothesis", () => {
  const found = (text) => gridOf(page(), text).flatMap(({ lines }) => lines).map(({ name }) => name);
  assert.deepEqual(found("R16"), ["lora-r16"]);
  assert.deepEqual(found("turns"), ["hra"]);
  assert.deepEqual(found("ia3 believes"), ["ia3"]);
  assert.deepEqual(found("low-rank linear"), ["lora", "lora-r16", "xlora"]);
  assert.deepEqual(found("nothing of it"), []);
});

test("keys go on from the one used last, through what can be fetched", () => {
  assert.deepEqual(choices(page(), "tone"), ["tone/lora", "tone/lora-r16", "tone/ia3", "tone/strange"]);
  const [a, b] = [adapter("tone/lora"), adapter("tone/ia3")];
  assert.equal(chosenOf(page({ adapters: [a, b], active: a.key })).folder, "tone/lora");
  assert.equal(chosenOf(page({ adapters: [a, { ...b, coefficient: 0 }], active: null })).folder, "tone/lora");
  assert.equal(chosenOf(page({ adapters: [adapter("own", { key: "file:1" })] })), null);
});

test("rivals are what acts for the same behaviour, and what comes with the page for it", () => {
  const adapters = [adapter("tone-lora", { key: "shipped:tone-lora" }), adapter("register-ia3", { key: "shipped:register-ia3" }), adapter("tone/lora"), adapter("tone/ia3", { coefficient: 0 }),
    adapter("register/ia3"), adapter("tone/mine", { key: "file:1" })];
  assert.deepEqual(rivalsOf(page({ adapters }), ZOO[2]).map(({ key }) => key), ["shipped:tone-lora", "zoo:tone/lora"]);
});

test("between two points nats are on a straight line, and back", () => {
  const points = pointsOf(row("tone/lora", 1));
  assert.deepEqual(points.map(({ c, nats }) => [c, nats]), [[-2, 4], [-1, 1], [-0.9, 1], [0, 0], [1, 1], [1.1, 1], [2, 4]]);
  assert.equal(natsOn(points, 0.5), 0.5);
  assert.ok(Math.abs(natsOn(points, 1.55) - 2.5) < 1e-9);
  assert.deepEqual([natsOn(points, 2), natsOn(points, 2.01), natsOn(points, -3), natsOn([], 1)], [4, null, null, null]);
  assert.deepEqual(cAt(points, 0.5, 1), { c: 0.5, nats: 0.5, reached: true });
  assert.ok(Math.abs(cAt(points, 2.5, -1).c + 1.5) < 1e-9, "on the other side");
  assert.deepEqual(cAt(points, 1, -1), { c: -0.9, nats: 1, reached: true }, "the c nearest to 0");
  assert.deepEqual(cAt(points, 9, 1), { c: 2, nats: 4, reached: false });
  assert.equal(cAt([{ c: 0, nats: 0 }, { c: 1, nats: 1 }], 1, -1), null);
  // What could not be measured is no point.
  assert.deepEqual(pointsOf({ ...row("tone/lora", 1), nats: [null, 1, 0, 1, null], dose: null }).map(({ c }) => c), [-1, 0, 1]);
  assert.deepEqual(pointsOf(null), []);
});

test("one that takes another's place is turned as it was, or as far in nats, and it is said", () => {
  const goes = adapter("tone/lora", { title: "LORA", coefficient: -1 });
  const comes = (folder, methods, going = goes, more = {}) => turnFor(page({ adapters: [going].filter(Boolean), ...more }, methods), { item: item(folder), title: "NEW" }, going);
  assert.deepEqual(comes("tone/ia3", {}, null), { c: 1, said: "NEW acts at 1.00." });
  assert.deepEqual(comes("tone/ia3", {}).c, -1);
  const same = comes("tone/ia3", { sameDose: true });
  assert.equal(same.c, -0.9, "where its dose was found");
  assert.match(same.said, /as far as LORA at −1\.00, by 1\.00 nats/);
  const least = comes("tone/ia3", { sameDose: true }, { ...goes, coefficient: 2 });
  assert.equal(least.c, 1.1, "as far as it gets");
  assert.match(least.said, /by 1\.00 nats.*LORA moved it by 4\.00/);
  // Without a curve, or with another model, c stays and it is said why.
  for (const unknown of [comes("tone/strange", { sameDose: true }), comes("tone/ia3", { sameDose: true }, { ...goes, layers: "5-9" }),
    comes("tone/ia3", { sameDose: true }, goes, { model: { ...defaults().model, info: { name: "Other" } } })]) {
    assert.equal(unknown.c, -1);
    assert.match(unknown.said, /could not be kept/);
  }
  // What was measured here counts before what the zoo says.
  const found = { adapters: [], coefficients: [-1, 0, 1], kl_nats: { p95: [0.5, 0, 0.5], mean: [] }, nll_shift_nats: [], d_nats: [], per_prompt: [], prompts: [] };
  const measured = [{ parts: [{ key: goes.key, scale: 1, title: "", manner: "" }], model: "Tiny", modelFile: "", pairs: null, found }];
  assert.equal(natsOn(curveOf(page({ adapters: [goes], measured }), goes), -1), 0.5);
});

test("a comparison has a setting for each that reaches the dose, and says what it leaves out", () => {
  const { settings, left } = atEqualDose(page(), ["tone/lora", "tone/ia3", "tone/hra"], 1, 1);
  assert.deepEqual(settings, [
    { title: "LORA at 1.00, 1 nat, d 2.20", doses: [{ key: "zoo:tone/lora", c: 1 }] }, { title: "IA3 at 1.10, 1 nat, d 2.20", doses: [{ key: "zoo:tone/ia3", c: 1.1 }] },
  ]);
  assert.equal(left.length, 1);
  assert.match(left[0], /HRA has no measured curve/);
  const far = atEqualDose(page(), ["tone/lora", "tone/ia3"], 2.5, -1);
  assert.deepEqual(far.settings, [{ title: "LORA at −1.50, 2.5 nat", doses: [{ key: "zoo:tone/lora", c: -1.5 }] }]);
  assert.match(far.left[0], /1\.00 nats at most/);
  assert.deepEqual(["a", "b", "c", "d", "e", "b"].reduce(picking, []), ["c", "d", "e"]);
  assert.equal(MOST, 4);
});

test("at equal dose the furthest comes first, and a failure last with its reason", () => {
  const state = page();
  const list = equalDoses(state, "tone");
  assert.deepEqual(list.map(({ title, gain, there }) => [title, gain, there]), [["IA3", 3, true], ["LORA", 3, true], ["LORA (r16)", 3, true], ["HRA", null, false]]);
  assert.equal(list[3].why, "its loss was not finite");
  assert.match(summary(list, "tone"), /^At the same dose IA3 moves tone furthest, by 3\.00 nats a token with 1,000 trained numbers; half of them reach 3\.00 or more\. 1 has no equal dose/);
  assert.match(summary([], "tone"), /None of them/);
});

test("the list that comes with the page is one, and says the same as that of what can be fetched", () => {
  const read = (name) => JSON.parse(readFileSync(new URL(`../adapters/${name}`, import.meta.url), "utf8"));
  const listed = read("zoo.json");
  assert.ok(isListed(listed) && !isListed({ rows: [] }) && !isListed(null));
  const zoo = read("index.json").adapters.filter(({ method: name }) => name);
  // That it has every row `cargo xtask test --habits` finds out.
  const both = zoo.filter(({ folder }) => listed.rows.some((one) => one.folder === folder));
  assert.ok(both.length > 4);
  for (const { folder, method: name, parameters } of both) {
    const known = listed.rows.find((one) => one.folder === folder);
    assert.deepEqual([known?.method, known?.parameters], [name, parameters], folder);
    assert.ok(listed.methods.some((one) => one.name === name), name);
    assert.ok(pointsOf(known).length > 2, folder);
  }
  const state = { ...defaults(), zoo, methods: { ...defaults().methods, listed } };
  assert.equal(gridOf(state).at(-1).family !== null, true, "no method is without a family");
  assert.ok(gridOf(state).flatMap(({ lines }) => lines).length >= listed.methods.length);
});
