// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { defaults } from "./store.js";
import { MOST, parse, serialise, wanted, wished } from "./url.js";

const state = (patch = {}) => ({ ...defaults(), ...patch });

test("a state goes into the hash and comes back", () => {
  const one = state({
    prompt: "Say “hi”, 100 % & more: #1\nnow?", chat: false, maxTokens: 12, stop: ["\n\n", "END"], cache: "recompute", klAfterSplit: false, device: "cpu",
    sampling: { temperature: 0, topK: 40, topP: 0.85, minP: 0.05, repetitionPenalty: 1.2, seed: 123 },
    adapters: [
      { name: "sunny", coefficient: -0.75, enabled: true },
      { name: "odd:name,with/all", coefficient: 2.5, enabled: false },
      { name: "part", coefficient: 1, enabled: false, law: "power", layers: "5-20", modules: "q_proj,v_proj" },
      { name: "late", coefficient: 1, enabled: true, positions: "from:12" },
      { name: "for-many", coefficient: 1, enabled: true, task: 0 },
      { name: "mixture", coefficient: 1, enabled: true, experts: [0.5, -1.25, 0, 1e-7] },
    ],
  });
  const { patch, adapters } = parse(serialise(one, defaults(), "https://a.example/m.gguf?x=1"));
  assert.equal(patch.prompt, one.prompt);
  assert.equal(patch.chat, false);
  assert.equal(patch.maxTokens, 12);
  assert.deepEqual(patch.stop, one.stop);
  assert.equal(patch.cache, "recompute");
  assert.equal(patch.klAfterSplit, false);
  assert.equal(patch.device, "cpu");
  assert.deepEqual(patch.sampling, one.sampling);
  assert.equal(patch.modelUrl, "https://a.example/m.gguf?x=1");
  assert.deepEqual(adapters, one.adapters);
});

test("a conversation goes into the hash and comes back, and a long one says where it is", () => {
  const talk = { system: "Be “brief” & kind.\n", turns: [{ user: "Hi, a=b?", answer: "Hello!\n", turned: "" }, { user: "And", answer: "", turned: "" }] };
  const variables = { enable_thinking: false, date_string: 'the "5th": May' };
  const { patch } = parse(serialise(state({ ...talk, variables }), defaults(), null));
  assert.deepEqual([patch.system, patch.turns, patch.variables], [talk.system, talk.turns, variables]);
  const hash = serialise(state({ turns: [{ user: "x".repeat(2000), answer: "", turned: "" }] }), defaults(), null);
  assert.doesNotMatch(hash, /xxx/);
  assert.deepEqual([parse(hash).talk, parse(hash).patch.turns], [true, undefined]);
  assert.deepEqual(parse("#said=Hi&var=a:1&var=b c:true&var=messages:[1]&var=%25&talk=yes").patch, {});
});

test("what is as usual is not said, but the seed", () => {
  assert.equal(serialise(state({ prompt: "Hello" }), defaults(), null), "#v=2&p=Hello&seed=9");
});

test("a link of an earlier version means what it meant", () => {
  assert.deepEqual(parse("#v=1&p=Hi&t=0.5").patch.sampling, { temperature: 0.5, topP: 0.95, seed: 7 });
  assert.equal(parse("#v=2&p=Hi").patch.sampling, undefined);
});

test("one of the zoo has its folder as its name, as it is", () => {
  const hash = serialise(state({ adapters: [{ name: "tone/lora-r1", coefficient: -0.5, enabled: true }] }), defaults(), null);
  assert.match(hash, /a=tone\/lora-r1:-0\.5&/);
  assert.deepEqual(parse(hash).adapters, [{ name: "tone/lora-r1", coefficient: -0.5, enabled: true }]);
});

test("wrong values and unknown keys are passed over", () => {
  const { patch, adapters } = parse("#v=9&t=hot&seed=-1&n=1.5&tp=7&cache=maybe&device=toaster&zzz=1&a=x:NaN,:1,y:,z:1e2:task=-1:experts=1_x:law=,%25:1&m=javascript:alert(1)");
  assert.deepEqual(patch, {});
  assert.deepEqual(adapters, [{ name: "z", coefficient: 100, enabled: true }]);
});

test("an adapter becomes what the link asks of its name", () => {
  const adapter = { name: "poly", coefficient: 1, title: "Poly" };
  assert.deepEqual(wished(adapter, parse("#a=poly:-0.5:off:task=2").adapters), { ...adapter, coefficient: -0.5, enabled: false, task: 2 });
  assert.deepEqual(wished(adapter, parse("#a=other:3").adapters), adapter);
  assert.deepEqual(wished(adapter, null), adapter);
});

test("an empty hash asks for nothing", () => {
  assert.deepEqual(parse(""), { patch: {}, adapters: null, talk: false });
  assert.deepEqual(parse("#a=").adapters, []);
});

test("adapters that were removed stay so, and an empty list stays empty", () => {
  const shelf = { status: "here", error: null };
  const one = { name: "mine", coefficient: 1, enabled: true };
  const some = serialise(state({ prompt: "", shelf, gone: ["tone, lora"], adapters: [one] }), defaults(), null);
  assert.deepEqual([parse(some).patch.gone, parse(some).adapters], [["tone, lora"], [one]]);
  const none = serialise(state({ prompt: "", shelf, gone: ["tone"], adapters: [] }), defaults(), null);
  assert.match(none, /&a=&/);
  assert.deepEqual(parse(none).adapters, []);
  assert.deepEqual(parse("#gone=%25E0,ok").patch.gone, ["ok"]);
});

test("until the list is there the link keeps what it asked for", () => {
  const asked = parse("#a=tone:-1:off,mine:2").adapters;
  for (const status of ["coming", "failed"]) {
    const again = serialise(state({ shelf: { status, error: null }, adapters: [{ name: "mine", coefficient: 3, enabled: true }] }), defaults(), null, asked);
    assert.deepEqual(parse(again).adapters, [{ name: "mine", coefficient: 3, enabled: true }, asked[0]]);
    assert.deepEqual(parse(serialise(state({ shelf: { status, error: null } }), defaults(), null, [])).adapters, []);
    assert.equal(parse(serialise(state({ shelf: { status, error: null } }), defaults(), null, null)).adapters, null);
  }
});

test("what the link wants and the page does not have gets a place that remembers", () => {
  const asked = parse("#a=tone:-1,mine:2:off:law=power:task=1").adapters;
  const [place, ...more] = wanted(asked, ["tone"]);
  assert.deepEqual(more, []);
  assert.deepEqual([place.wanted, place.name, place.coefficient, place.enabled, place.law, place.task], [true, "mine", 2, false, "power", 1]);
  assert.deepEqual(wanted(null, []), []);
});

test("a link names a model of the Hub, and a mirror of it", () => {
  const { patch } = parse("#v=2&m=hub:o/n/m.gguf@v1&hub=http://mirror:8/");
  assert.deepEqual([patch.modelUrl, patch.hub], ["hub:o/n/m.gguf@v1", "http://mirror:8"]);
  const again = serialise(state({ hub: "http://mirror:8" }), defaults(), "hub:o/n/m.gguf@v1");
  assert.deepEqual(parse(again).patch.hub, "http://mirror:8");
  assert.doesNotMatch(serialise(state({}), defaults(), null), /hub/);
  for (const bad of ["javascript:x", "mirror", "https:///"]) assert.equal(parse(`#hub=${bad}`).patch.hub, undefined, bad);
});

test("places one by one go into a link and come back", () => {
  const layers = "5-20:q_proj,v_proj;3:v_proj";
  const hash = serialise(state({ adapters: [{ name: "mine", coefficient: 1, enabled: true, layers }] }), defaults(), null);
  assert.match(hash, /a=mine:1:on=5-20~q_proj\.v_proj;3~v_proj&/);
  assert.deepEqual(parse(hash).adapters, [{ name: "mine", coefficient: 1, enabled: true, layers }]);
});

test("no list of a link is longer, and no text, than anybody needs", () => {
  const many = (/** @type {number} */ n, /** @type {(at: number) => string} */ one, between = ",") => Array.from({ length: n }, (_, at) => one(at)).join(between);
  assert.equal(parse(`#a=${many(5000, (at) => `x${at}:1`)}`).adapters?.length, MOST.adapters);
  assert.equal(parse(`#gone=${many(5000, (at) => `x${at}`)}`).patch.gone?.length, MOST.adapters);
  assert.equal(parse(`#${many(5000, () => "stop=a", "&")}`).patch.stop?.length, MOST.stop);
  assert.equal(parse(`#${many(5000, () => "said=a&heard=b", "&")}`).patch.turns?.length, MOST.turns);
  assert.equal(Object.keys(parse(`#${many(5000, (at) => `var=v${at}:1e${at}`, "&")}&${many(5000, (at) => `var=w${at}:true`, "&")}`).patch.variables ?? {}).length, 0);
  assert.equal(Object.keys(parse(`#${many(5000, (at) => `var=w${at}:true`, "&")}`).patch.variables ?? {}).length, MOST.variables);
  const long = "x".repeat(MOST.text + 1);
  const { patch } = parse(`#p=${long}&sys=${long}&stop=${long}&said=${long}&heard=${long}&var=a:"${long}"&m=https://${long}&hub=https://${long}`);
  assert.deepEqual(patch, { stop: [] });
  assert.equal(parse(`#p=${"x".repeat(MOST.text)}`).patch.prompt?.length, MOST.text);
  assert.deepEqual(parse(`#a=${"x".repeat(MOST.name + 1)}:1,${"%C3%A9".repeat(MOST.name)}:1`).adapters?.map(({ name }) => name), ["é".repeat(MOST.name)]);
  assert.deepEqual(parse(`#a=x:1:experts=${many(5000, () => "1", "_")}`).adapters, [{ name: "x", coefficient: 1, enabled: true }]);
  // Long enough to tell a slow reader: a list of many items, and an item of many choices.
  const began = performance.now();
  parse(`#a=${",".repeat(1e6)}&gone=${"%".repeat(1e6)}&p=${"+".repeat(1e6)}`);
  parse(`#a=x:1${":a=b".repeat(3e5)}&m=${"a/".repeat(3e5)}`);
  assert.ok(performance.now() - began < 5000);
});

test("a coefficient that 32 bits do not hold is passed over", () => {
  for (const c of ["Infinity", "-Infinity", "NaN", "1e39", "-1e999", "0x", ""]) assert.deepEqual(parse(`#a=x:${c}`).adapters, [], c);
  assert.deepEqual(parse("#a=x:1e38:experts=1_1e39").adapters, [{ name: "x", coefficient: 1e38, enabled: true }]);
});

test("names that every object has are names like any other", () => {
  const { patch, adapters } = parse("#v=__proto__&var=__proto__:true&var=constructor:\"x\"&a=__proto__:1,constructor:2");
  assert.deepEqual(Object.entries(patch.variables ?? {}), [["__proto__", true], ["constructor", "x"]]);
  assert.deepEqual(adapters?.map(({ name }) => name), ["__proto__", "constructor"]);
  assert.equal(parse("#v=constructor").patch.sampling, undefined);
});
