// The prompt, Run and Stop, how tokens are drawn, and what a turned slider means for the cache.
import { h, megabytes, shownIn } from "../dom.js";
import { parts, say } from "../say.js";
import { EXAMPLES } from "../state/models.js";
import { writesAside } from "../state/runs.js";
import { isAsked } from "../state/store.js";
import { conversation } from "./conversation.js";
import { term } from "./glossary.js";

/** Sampling controls: state key, step, least, greatest; a step of 1 is for whole numbers. */
const CONTROLS = /** @type {const} */ ([
  ["temperature", "0.05", 0, 100],
  ["topK", "1", 0, 1e6],
  ["topP", "0.01", 0, 1],
  ["minP", "0.01", 0, 1],
  ["repetitionPenalty", "0.05", 0.01, 100],
]);

/**
 * @param {HTMLFormElement} form
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {import("../state/store.js").ModelAddress} offered the model that is loaded where none is
 */
export function promptPanel(form, store, actions, offered) {
  const text = h("textarea", {
    id: "prompt", rows: 1, spellcheck: false, "aria-label": say("prompt.title"),
    oninput: () => store.set({ prompt: text.value }),
  });
  const plainOnly = h("span.hint", { hidden: true }, say("prompt.plain.only"));
  const mode = segmented(say("prompt.as"), "mode", [["chat", say("prompt.chat")], ["plain", say("prompt.plain")]], (value) => store.set({ chat: value === "chat" }));
  const runText = new Text();
  const run = h("button.primary", { id: "run" }, runText, h("kbd", {}, /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘↵" : say("prompt.run.key")));
  const loadAndRun = h("button.primary", {
    id: "load-run", type: "button",
    onclick: async () => {
      run.hidden = false;
      await actions.loadModel(offered);
      if (store.state.model.status === "ready") await actions.run();
    },
  }, say(offered.bytes ? "prompt.load.run.size" : "prompt.load.run", { size: offered.bytes ? megabytes(offered.bytes) : "" }));
  const stop = h("button", { id: "stop", type: "button", onclick: () => actions.stop() }, `${say("prompt.stop")} `, h("kbd", {}, say("prompt.stop.key")));

  const seed = numberBox("seed", "1", 0, Number.MAX_SAFE_INTEGER, (value) =>
    store.set({ sampling: { ...store.state.sampling, seed: value } }));
  const again = h("button.quiet", { type: "button", id: "reseed", onclick: () => reseed(store) });
  const length = numberBox("length", "1", 1, 1e6, (maxTokens) => store.set({ maxTokens }));
  const boxes = CONTROLS.map(([key, step, min, max]) => /** @type {const} */ ([key,
    numberBox(key, step, min, max, (value) => store.set({ sampling: { ...store.state.sampling, [key]: value } }))]));
  const stops = h("textarea", {
    rows: 2, spellcheck: false, id: "stops",
    onchange: () => store.set({ stop: stops.value.split("\n").filter(Boolean) }),
  });
  const showStops = shownIn(stops);
  const distance = h("input", { type: "checkbox", onchange: () => store.set({ klAfterSplit: distance.checked }) });
  const cache = segmented(say("prompt.cache"), "cache",
    [["keep", say("prompt.cache.keep")], ["recompute", say("prompt.cache.recompute")]],
    (value) => actions.setCache(value));

  form.noValidate = true; // `step` is for the arrows; any number between is as good
  form.append(
    h("div.ask", {}, text, h("div.row", {}, run, loadAndRun, stop)),
    h("div.row.options", {},
      h("div.examples", { role: "group", "aria-label": say("prompt.try") }, ...EXAMPLES.map((example) =>
        h("button.quiet", { type: "button", onclick: () => { store.set({ prompt: example }); text.focus(); } }, example))),
      again,
      h("details.settings", {}, h("summary", {}, say("prompt.settings")),
        h("div.row", {}, mode.element, plainOnly),
        h("div.grid", {}, seed.element, ...boxes.map(([, box]) => box.element), length.element,
          h("label.field.wide", { htmlFor: "stops" }, h("span", {}, say("prompt.stops")), stops, h("small", {}, say("prompt.stops.hint"))),
          h("label.check.wide", {}, distance, h("span", {}, ...parts("prompt.distance", { kl: term("kl") })))),
        h("div.row.cache", {}, cache.element, h("span.hint", {}, say("prompt.cache.hint")))),
      conversation(store, actions)));

  form.addEventListener("submit", (event) => { event.preventDefault(); actions.run(); });

  store.watch(["prompt", "chat", "sampling", "maxTokens", "stop", "cache", "klAfterSplit", "model"], (state) => {
    if (text.value !== state.prompt) text.value = state.prompt;
    // As many lines as it has, up to a few.
    text.rows = Math.min(5, Math.max(state.prompt.split("\n").length, Math.ceil(state.prompt.length / 70)));
    // What a model has no template for is not offered; the wish is kept for the next model.
    const { info } = state.model;
    plainOnly.hidden = !info || info.hasChatTemplate || !info.hasTokenizer;
    const templateless = info?.hasChatTemplate === false;
    mode.set(state.chat && !templateless ? "chat" : "plain", templateless ? ["chat"] : []);
    seed.set(state.sampling.seed);
    again.replaceChildren("⟳ ", say("prompt.reseed.now", { seed: String(state.sampling.seed) }));
    length.set(state.maxTokens);
    for (const [key, box] of boxes) box.set(state.sampling[key]);
    showStops(state.stop.join("\n"));
    distance.checked = state.klAfterSplit;
    cache.set(state.cache);
  });
  store.watch(["recording", "model"], (state) => {
    again.disabled = seedIsRecorded(state);
    again.title = say(again.disabled ? "prompt.reseed.recorded" : "prompt.reseed");
  });
  store.watch(["run", "model", "engine", "work"], ({ run: asked, model, engine, work }) => {
    const waiting = asked.status === "waiting";
    const busy = isAsked(asked);
    const focus = document.activeElement;
    const none = model.status === "none";
    run.hidden = none;
    loadAndRun.hidden = !none;
    // While the engine is on its way loading waits for it.
    loadAndRun.disabled = ["failed", "crashed"].includes(engine.status);
    const aside = writesAside(work);
    run.disabled = model.status !== "ready" || busy || aside;
    runText.data = `${say(waiting ? "prompt.waiting" : "prompt.run")} `;
    run.title = aside ? say("runs.aside") : model.status === "ready" ? "" : say("prompt.load.first");
    stop.disabled = !busy;
    // Whoever pressed the one goes on with the other.
    if (focus === run && run.disabled && busy) stop.focus();
    if (focus === stop && stop.disabled) run.focus();
    if (focus === loadAndRun && loadAndRun.hidden) stop.parentElement?.querySelector("button")?.focus();
  });
}

/** Whether a recording answers, which has one seed. @param {import("../state/store.js").State} state */
const seedIsRecorded = ({ recording, model }) => recording.shown && model.status !== "ready";

/** @param {import("../state/store.js").Store} store */
export function reseed(store) {
  if (seedIsRecorded(store.state)) return;
  const [seed] = crypto.getRandomValues(new Uint16Array(1));
  store.set({ sampling: { ...store.state.sampling, seed } });
}

/**
 * A number between two others. What is none of these is refused in words, and the box shows what holds.
 * @param {string} name of its words
 * @param {string} step
 * @param {number} min
 * @param {number} max
 * @param {(value: number) => void} change
 */
function numberBox(name, step, min, max, change) {
  const whole = step === "1";
  const input = h("input", {
    type: "number", step, min: String(min), max: String(max), inputMode: whole ? "numeric" : "decimal",
    onchange: () => {
      const value = input.value === "" ? NaN : Number(input.value);
      const good = value >= min && value <= max && (!whole || Number.isInteger(value));
      refused.hidden = good;
      if (good) return change(value);
      const kind = whole ? max === Number.MAX_SAFE_INTEGER ? "whole.from" : "whole" : "number";
      refused.textContent = say(`prompt.refused.${kind}`, { value: input.value || say("prompt.refused.empty"), min: String(min), max: String(max), held: String(held) });
      show(held);
    },
  });
  const show = shownIn(input);
  let held = NaN;
  const refused = h("small.error", { role: "alert", hidden: true });
  return {
    element: h("label.field", {}, h("span", {}, say(`sampling.${name}`)), input, h("small", {}, say(`sampling.${name}.hint`)), refused),
    set(/** @type {number} */ value) {
      if (value !== held) refused.hidden = true;
      held = value;
      show(value);
    },
  };
}

/**
 * Radio buttons that look like one control.
 * @template {string} Value
 * @param {string} label
 * @param {string} name
 * @param {[value: Value, words: string][]} options
 * @param {(value: Value) => void} change
 */
function segmented(label, name, options, change) {
  const inputs = options.map(([value]) => h("input", { type: "radio", name, value, onchange: () => change(value) }));
  return {
    element: h("fieldset.segmented", {}, h("legend", {}, label),
      ...options.map(([, words], at) => h("label", {}, inputs[at], h("span", {}, words)))),
    set(/** @type {Value} */ value, /** @type {string[]} */ without = []) {
      for (const input of inputs) {
        input.checked = input.value === value;
        input.disabled = without.includes(input.value);
      }
    },
  };
}
