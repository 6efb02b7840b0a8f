// The prompt, Run and Stop, how tokens are drawn, and what a turned slider means for the cache.
import { box as shownIn, h } from "../dom.js";
import { EXAMPLES } from "../state/models.js";

/** Sampling controls: state key, label, step, least, greatest, hint; a step of 1 is for whole numbers. */
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
  const plainOnly = h("span.hint", { hidden: true }, "This model has no chat template: it goes on with your text.");
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
  const showStops = shownIn(stops);
  const distance = h("input", { type: "checkbox", onchange: () => store.set({ klAfterSplit: distance.checked }) });
  const cache = segmented("A turned slider acts", "cache",
    [["keep", "from here on"], ["recompute", "as if from the start"]],
    (value) => actions.setCache(/** @type {any} */ (value)));

  form.noValidate = true; // `step` is for the arrows; any number between is as good
  form.append(
    text,
    h("div.examples", {}, h("span.hint", {}, "Try"), ...EXAMPLES.map((example) =>
      h("button.quiet", { type: "button", onclick: () => { store.set({ prompt: example }); text.focus(); } }, example))),
    h("div.row.controls", {}, run, stop, mode.element, plainOnly,
      h("div.pair", {}, seed.element,
        h("button.quiet", { type: "button", id: "reseed", "aria-label": "Another seed", title: "Another seed", onclick: () => reseed(store) }, "⟳"))),
    h("details.sampling", {}, h("summary", {}, "Sampling"),
      h("div.grid", {}, ...boxes.map(([, box]) => box.element), length.element,
        h("label.field.wide", { htmlFor: "stops" }, h("span", {}, "Stop strings"), stops, h("small", {}, "one a line; the text ends before any of them")),
        h("label.check.wide", {}, distance, "Measure the distance also after the texts part (a third pass for each token)"))),
    h("div.row.cache", {}, cache.element,
      h("span.hint", {}, "keep or recompute what the model has in memory of earlier tokens")));

  form.addEventListener("submit", (event) => { event.preventDefault(); actions.run(); });

  store.watch(["prompt", "chat", "sampling", "maxTokens", "stop", "cache", "klAfterSplit", "model"], (state) => {
    if (text.value !== state.prompt) text.value = state.prompt;
    // What a model has no template for is not offered; the wish is kept for the next model.
    const { info } = state.model;
    plainOnly.hidden = !info || info.hasChatTemplate || !info.hasTokenizer;
    const templateless = info?.hasChatTemplate === false;
    mode.set(state.chat && !templateless ? "chat" : "plain", templateless ? ["chat"] : []);
    seed.set(state.sampling.seed);
    length.set(state.maxTokens);
    for (const [key, box] of boxes) box.set(state.sampling[key]);
    showStops(state.stop.join("\n"));
    distance.checked = state.klAfterSplit;
    cache.set(state.cache);
  });
  store.watch(["run", "model", "engine"], ({ run: { status }, model }) => {
    const waiting = status === "waiting";
    const busy = waiting || status === "prefill" || status === "streaming";
    const focus = document.activeElement;
    run.disabled = model.status !== "ready" || busy;
    run.firstChild.data = waiting ? "Waiting … " : "Run ";
    run.title = model.status === "ready" ? "" : "Load the model first";
    stop.disabled = !busy;
    // Whoever pressed the one goes on with the other.
    if (focus === run && run.disabled && busy) stop.focus();
    if (focus === stop && stop.disabled) run.focus();
  });
}

/** @param {import("../state/store.js").Store} store */
export function reseed(store) {
  const [seed] = crypto.getRandomValues(new Uint16Array(1));
  store.set({ sampling: { ...store.state.sampling, seed } });
}

/** A number between two others. What is none of these is refused in words, and the box shows what holds. @param {(value: number) => void} change */
function numberBox(/** @type {string} */ label, /** @type {string} */ step, /** @type {number} */ min, /** @type {number} */ max, /** @type {string} */ hint, change) {
  const whole = step === "1";
  const input = h("input", {
    type: "number", step, min: String(min), max: String(max), inputMode: whole ? "numeric" : "decimal",
    onchange: () => {
      const value = input.value === "" ? NaN : Number(input.value);
      const good = value >= min && value <= max && (!whole || Number.isInteger(value));
      refused.hidden = good;
      if (good) return change(value);
      const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
      refused.textContent = `${input.value || "That"} is not a ${whole ? "whole number" : "number"} ${range}; it stays ${held}.`;
      show(held);
    },
  });
  const show = shownIn(input);
  let held = NaN;
  const refused = h("small.error", { role: "alert", hidden: true });
  return {
    element: h("label.field", {}, h("span", {}, label), input, h("small", {}, hint), refused),
    set(/** @type {number} */ value) {
      if (value !== held) refused.hidden = true;
      held = value;
      show(value);
    },
  };
}

/** Radio buttons that look like one control. @param {(value: string) => void} change */
function segmented(/** @type {string} */ label, /** @type {string} */ name, /** @type {string[][]} */ options, change) {
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, onchange: () => change(value) }));
  return {
    element: h("fieldset.segmented", {}, h("legend", {}, label),
      ...options.map(([, words], at) => h("label", {}, inputs[at], h("span", {}, words)))),
    set(/** @type {string} */ value, /** @type {string[]} */ without = []) {
      for (const input of inputs) {
        input.checked = input.value === value;
        input.disabled = without.includes(input.value);
      }
    },
  };
}
