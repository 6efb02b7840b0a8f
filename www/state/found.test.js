// What the tests of measurements share.

/** A measurement with the numbers of the small model's first adapter, as far as it matters here. @returns {import("./measured.js").Measurement} */
export const found = (more = {}) => ({
  model: { name: "SmolLM2-135M-Instruct", sha256: "aa", arithmetic: "4-bit", device: "cpu" },
  adapters: [{ name: "tone-lora", method: "lora", law: "linear", sha256: "bb", scale: 1, layers: "all", modules: "all", positions: "all" }],
  behaviour: "tone", split: "test", pairs_sha256: "cc", prompt_form: "chat", prompts: ["Hi?", "A \"day\", then"],
  coefficients: [-2, -1, 0, 1, 2], coefficients_left_out: [], d_nats: [-2.2, -1.3, 0.21, 1.72, 2.1],
  per_prompt: [[-2, -1, 0.2, 1, 2], [-1, 0.5, 0.2, 1, 2]], slope: { mean: 1.1, low: 1, high: 1.2 }, kendall_tau: 1, ordered_share: 0.5, wrong_way_share: 0,
  symmetry: 0.99, inverse_error: null, kl_nats: { mean: [1, 0.3, 0, 0.4, 1.5], p95: [3, 0.9, 0, 1.1, null] }, nll_shift_nats: [0.4, 0.02, 0, 0.05, null],
  repetition: null, base_identity: true, prompting: null, seconds: 30, version: "0.4.0", seed: 0, ...more,
});
