// node --test www
import assert from "node:assert/strict";
import { test } from "node:test";

import { conversationActions } from "../actions/conversation.js";
import { isKept, messages, reply, variables } from "./conversation.js";
import { changedSince } from "./since.js";
import { createStore, defaults } from "./store.js";

const READY = { hasChatTemplate: true, takesSystem: true, templateVariables: [{ name: "enable_thinking", kind: "switch", default: true }] };
const token = (/** @type {string} */ text, c = 1) => ({ steered: { text }, base: { text: "x" }, doses: [{ key: "a", title: "Mood", c }] });

/** A page with a model, and what it is told to do. @param {any} [patch] @param {any} [info] */
function page(patch = {}, info = {}) {
  const store = createStore({ ...defaults(), ...patch });
  store.set({ model: { ...store.state.model, status: "ready", info: /** @type {any} */ ({ ...READY, ...info }) } });
  return { store, state: store.state, actions: conversationActions(store) };
}
/** A run that is over, asked as the state stands. @param {ReturnType<typeof page>} page @param {any[]} tokens */
function answer({ store, state }, tokens, status = "done") {
  store.set({ run: /** @type {any} */ ({ ...state.run, status, tokens, request: { chat: messages(state) } }) });
}

test("the system prompt comes first, then the turns, then the prompt", () => {
  const { state } = page({ system: "Be brief.", turns: [{ user: "Hi", answer: "Hello.", turned: "" }], prompt: "And?" });
  assert.deepEqual(messages(state), [
    { role: "system", content: "Be brief." }, { role: "user", content: "Hi" },
    { role: "assistant", content: "Hello." }, { role: "user", content: "And?" },
  ]);
});

test("a system prompt is left out where it is blank, or where the template has no place for it", () => {
  for (const [system, info] of [[" \n", {}], ["Be brief.", { takesSystem: false }]]) {
    assert.deepEqual(messages(page({ system, prompt: "Hi" }, info).state), [{ role: "user", content: "Hi" }]);
  }
});

test("only variables that the template reads are asked for", () => {
  const { state, actions } = page();
  actions.setVariable("enable_thinking", false);
  actions.setVariable("other", "x");
  assert.deepEqual(variables(state), { enable_thinking: false });
  actions.setVariable("enable_thinking", undefined);
  assert.deepEqual([variables(state), state.variables], [{}, { other: "x" }]);
});

test("the steered answer becomes the turn, with how far it was turned, and the prompt is free", () => {
  const one = page({ prompt: "Hi" });
  answer(one, [token("Hello"), token(".", -0.5)]);
  one.actions.keepAnswer();
  assert.deepEqual(one.state.turns, [{ user: "Hi", answer: "Hello.", turned: "Mood +1.00 → −0.50" }]);
  assert.equal(one.state.prompt, "");
  assert.equal(isKept(one.state), true);
  assert.equal(changedSince(one.state, /** @type {any} */ ({})), "kept", "that says more than what was set otherwise since");
  one.actions.keepAnswer();
  assert.equal(one.state.turns.length, 1, "once");
  one.actions.takeBack();
  assert.deepEqual([one.state.turns, one.state.prompt, isKept(one.state)], [[], "Hi", false]);
  assert.notEqual(reply(one.state), null);
});

test("the second turn is kept after the first", () => {
  const one = page({ prompt: "Hi" });
  answer(one, [token("Hello.")]);
  one.actions.keepAnswer();
  one.store.set({ prompt: "And?" });
  answer(one, [token("Well.")]);
  one.actions.keepAnswer();
  assert.deepEqual(one.state.turns.map(({ user, answer }) => [user, answer]), [["Hi", "Hello."], ["And?", "Well."]]);
  one.actions.newConversation();
  assert.deepEqual([one.state.turns, reply(one.state)], [[], null], "an answer to what is gone is no reply");
});

test("what is no answer to the conversation cannot be kept", () => {
  const one = page({ prompt: "Hi" });
  assert.equal(reply(one.state), null, "nothing was said");
  answer(one, [token("Hello.")], "streaming");
  assert.equal(reply(one.state), null, "it is still writing");
  answer(one, [token(" \n")]);
  assert.equal(reply(one.state), null, "it said nothing");
  answer(one, [token("Hello.")]);
  assert.notEqual(reply(one.state), null);
  one.store.set({ chat: false });
  assert.equal(reply(one.state), null, "plain text");
  one.store.set({ chat: true, run: /** @type {any} */ ({ ...one.state.run, recorded: {} }) });
  assert.equal(reply(one.state), null, "a recording");
});
