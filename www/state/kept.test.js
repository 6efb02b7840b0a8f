// A kept run for the tests beside this file; it has none of its own.

/** A token. @param {number} index @param {[number, string]|null} base @param {[number, string]|null} steered @param {any} [more] @returns {import("./store.js").Token} */
export const token = (index, base, steered, more = {}) => {
  const lane = (/** @type {[number, string]|null} */ one) => one && { id: one[0], text: one[1], probability: 0.25, finish: null };
  return {
    kind: "token", index, base: lane(base), steered: lane(steered), klNats: 0.5, doses: [{ key: "shipped:tone-lora", title: "Cheerful", c: 0.5 }], cache: "current",
    top: [{ id: 5, text: " a", base: 0.5, steered: 0.25, differenceNats: -0.69315 }, { id: 6, text: " b", base: null, steered: 0.125, differenceNats: null }], ...more,
  };
};

/** A run of three tokens whose texts part at the second. @param {any} [more] @returns {import("./runs.js").Kept} */
export const kept = (more = {}) => ({
  id: "one", at: Date.UTC(2026, 10, 30, 9, 30), status: "done", error: null, split: 1, limit: 12, manners: "[]", version: "0.1.0", recorded: false,
  turned: [{ key: "shipped:tone-lora", name: "tone-lora", title: "Cheerful", c: 0.5, method: "lora", law: "linear", usualLaw: true, sha256: "ab".repeat(32) }],
  request: {
    chat: [{ role: "system", content: "Be brief." }, { role: "user", content: "How's it?" }], maxTokens: 12, stop: ["\n\n"], cache: "keep", klAfterSplit: true, compare: true, top: 8,
    sampling: { temperature: 0.4, topK: 0, topP: 0.9, minP: 0, repetitionPenalty: 1.1, seed: 9 },
  },
  model: { name: "SmolLM2", file: "SmolLM2.Q4_1.gguf", sha256: "cd".repeat(32), device: "cpu", arithmetic: "Q4_1", context: 2048 },
  tokens: [token(0, [1, "It"], [1, "It"]), token(1, [2, " was"], [3, " is"]), token(2, [4, " fine"], null, { klNats: null, doses: [] })], ...more,
});
