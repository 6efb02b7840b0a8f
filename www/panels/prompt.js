// The prompt, Run and Stop, how tokens are drawn, and what a turned slider means for the cache.
import { h } from "../dom.js";
import { EXAMPLES } from "../state/models.js";

/** Sampling controls: state key, label, step, least, greatest, hint. */
const CONTROLS = /** @type {const} */ ([
  ["temperature", "Temperature", "0.05", 0, 100, "0 always takes the likeliest"],
  ["topK", "Top-k", "1", 0, 1e6, "0 is off"],
  ["topP", "Top-p", "0.01", 0, 1, "1 is off"],
  ["minP", "Min-p", "0.01", 0, 1, "0 is off"],
  ["repetitionPenalty", "Repetition penalty", "0.05", 0.01, 100, "1 is off"],
]);

/**
 * @param {HTMLFormElement} form
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function promptPanel(form, store, actions) {
  const text = h("textarea", {
    id: "prompt", rows: 2, spellcheck: false, "aria-label": "Prompt",
    oninput: () => store.set({ prompt: text.value }),
  });
  const mode = segmented("As", "mode", [["chat", "Chat"], ["plain", "Plain text"]], (value) => store.set({ chat: value === "chat" }));
  const run = h("button.primary", { id: "run" }, "Run ", h("kbd", {}, "⌘↵"));
  if (!/Mac|iPhone|iPad/.test(navigator.platform)) run.lastChild.textContent = "Ctrl ↵";
  const stop = h("button", { id: "stop", type: "button", onclick: () => actions.stop() }, "Stop ", h("kbd", {}, "Esc"));

  const seed = numberBox("Seed", "1", 0, Number.MAX_SAFE_INTEGER, "both texts share its dice", (value) =>
    store.set({ sampling: { ...store.state.sampling, seed: value } }));
  const length = numberBox("At most", "1", 1, 1e6, "tokens", (maxTokens) => store.set({ maxTokens }));
  const boxes = CONTROLS.map(([key, label, step, min, max, hint]) => /** @type {const} */ ([key,
    numberBox(label, step, min, max, hint, (value) => store.set({ sampling: { ...store.state.sampling, [key]: value } }))]));
  const stops = h("textarea", {
    rows: 2, spellcheck: false, id: "stops",
    onchange: () => store.set({ stop: stops.value.split("\n").filter(Boolean) }),
  });
  const distance = h("input", { type: "checkbox", onchange: () => store.set({ klAfterSplit: distance.checked }) });
  const cache = segmented("A turned slider acts", "cache",
    [["keep", "from here on"], ["recompute", "as if from the start"]],
    (value) => actions.setCache(/** @type {any} */ (value)));

  form.noValidate = true; // `step` is for the arrows; any number between is as good
  form.append(
    text,
    h("div.examples", {}, h("span.hint", {}, "Try"), ...EXAMPLES.map((example) =>
      h("button.quiet", { type: "button", onclick: () => { store.set({ prompt: example }); text.focus(); } }, example))),
    h("div.row.controls", {}, run, stop, mode.element,
      h("div.pair", {}, seed.element,
        h("button.quiet", { type: "button", id: "reseed", "aria-label": "Another seed", title: "Another seed", onclick: () => reseed(store) }, "⟳"))),
    h("details.sampling", {}, h("summary", {}, "Sampling"),
      h("div.grid", {}, ...boxes.map(([, box]) => box.element), length.element,
        h("label.field.wide", { htmlFor: "stops" }, h("span", {}, "Stop strings"), stops, h("small", {}, "one a line; the text ends before any of them")),
        h("label.check.wide", {}, distance, "Measure the distance also after the texts part (a third pass for each token)"))),
    h("div.row.cache", {}, cache.element,
      h("span.hint", {}, "keep or recompute what the model has in memory of earlier tokens")));

  form.addEventListener("submit", (event) => { event.preventDefault(); actions.run(); });

  store.watch(["prompt", "chat", "sampling", "maxTokens", "stop", "cache", "klAfterSplit"], (state) => {
    if (text.value !== state.prompt) text.value = state.prompt;
    mode.set(state.chat ? "chat" : "plain");
    seed.set(state.sampling.seed);
    length.set(state.maxTokens);
    for (const [key, box] of boxes) box.set(state.sampling[key]);
    if (document.activeElement !== stops) stops.value = state.stop.join("\n");
    distance.checked = state.klAfterSplit;
    cache.set(state.cache);
  });
  store.watch(["run", "model", "engine"], ({ run: { status }, model }) => {
    const waiting = status === "waiting";
    const busy = waiting || status === "prefill" || status === "streaming";
    run.disabled = model.status !== "ready" || busy;
    run.firstChild.data = waiting ? "Waiting … " : "Run ";
    run.title = model.status === "ready" ? "" : "Load the model first";
    stop.disabled = !busy;
  });
}

/** @param {import("../state/store.js").Store} store */
export function reseed(store) {
  const [seed] = crypto.getRandomValues(new Uint16Array(1));
  store.set({ sampling: { ...store.state.sampling, seed } });
}

/** @param {(value: number) => void} change */
function numberBox(/** @type {string} */ label, /** @type {string} */ step, /** @type {number} */ min, /** @type {number} */ max, /** @type {string} */ hint, change) {
  const input = h("input", {
    type: "number", step, min: String(min), max: String(max), inputMode: "decimal",
    onchange: () => { if (input.value === "" || input.validity.rangeUnderflow || input.validity.rangeOverflow) input.reportValidity(); else change(Number(input.value)); },
  });
  return {
    element: h("label.field", {}, h("span", {}, label), input, h("small", {}, hint)),
    set: (/** @type {number} */ value) => { if (document.activeElement !== input || Number(input.value) !== value) input.value = String(value); },
  };
}

/** Radio buttons that look like one control. @param {(value: string) => void} change */
function segmented(/** @type {string} */ label, /** @type {string} */ name, /** @type {string[][]} */ options, change) {
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, onchange: () => change(value) }));
  return {
    element: h("fieldset.segmented", {}, h("legend", {}, label),
      ...options.map(([, words], at) => h("label", {}, inputs[at], h("span", {}, words)))),
    set: (/** @type {string} */ value) => { for (const input of inputs) input.checked = input.value === value; },
  };
}
