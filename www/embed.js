// This page in a frame of another: it is compact where its address says `?embed`, and tells the page around
// what is turned and written, once that has asked for it. docs/embedding.md has the messages.
import { h } from "./dom.js";
import { parts, say } from "./say.js";
import { current } from "./state/acting.js";
import { VERSION, askedBy, changeOf, endOf, stepOf } from "./state/embed.js";

/**
 * @param {{title: HTMLElement, told: HTMLElement}} roots its name, and the line that says what leaves it
 * @param {import("./state/store.js").Store} store
 * @param {import("./actions.js").Actions} actions
 * @param {{link: () => string, replay: {again: () => void}, offered: import("./state/store.js").ModelAddress}} page
 */
export function embed({ title, told }, store, actions, { link, replay, offered }) {
  if (new URLSearchParams(location.search).has("embed")) {
    document.documentElement.dataset.embed = "";
    const whole = h("a", { target: "_blank", rel: "noopener" }, say("page.title"));
    // As it is turned just now.
    const aim = () => { whole.href = new URL(link(), location.href.split(/[?#]/)[0]).href; };
    for (const event of ["pointerdown", "focus"]) whole.addEventListener(event, aim);
    aim();
    title.replaceChildren(whole);
  }
  const around = window.parent;
  if (around === window) return;

  /** Who has asked, and is told: its origin; a page without one, such as a file, is told by its frame alone. @type {string|null} */
  let listener = null;
  const tell = (/** @type {string} */ type, detail = {}) => {
    if (listener !== null) around.postMessage({ ...detail, steering: VERSION, type }, listener === "null" ? "*" : listener);
  };

  addEventListener("message", ({ source, origin, data }) => {
    if (source !== around) return;
    const asked = askedBy(data);
    if (!asked) return;
    if (asked.type === "hello") return begin(origin);
    // Nobody else than who has introduced itself.
    if (origin !== listener) return;
    const { state } = store;
    if (asked.type === "stop") actions.stop();
    else if (asked.type === "load") actions.loadModel(offered);
    else if (asked.type === "run") {
      if (state.model.status === "ready") actions.run();
      else if (state.run.recorded) replay.again();
      else tell("error", { code: "no-model", message: say("prompt.load.first") });
    } else if (asked.type === "set") {
      if (asked.prompt !== undefined && asked.prompt !== state.prompt) store.set({ prompt: asked.prompt });
      const adapter = state.adapters.find(({ name, wanted }) => name === asked.adapter && !wanted) ?? (asked.adapter ? undefined : current(state));
      if (adapter && asked.c !== undefined && asked.c !== adapter.coefficient) actions.setCoefficient(adapter.key, asked.c);
    }
  });

  /** @param {string} origin */
  function begin(origin) {
    if (listener !== null) return;
    listener = origin;
    told.replaceChildren(...parts("embed.told", { origin: origin === "null" ? say("embed.nameless") : origin }));
    let [said, error, change] = [0, "", ""];
    /** @type {import("./state/store.js").Token[]|null} */
    let tokens = null;
    let over = "";
    // The adapters' names come with the page's list.
    store.watch(["shelf", "adapters", "prompt", "model"], (state) => {
      if (state.shelf.status === "coming" && !change) return;
      const detail = changeOf(state, link());
      const now = JSON.stringify(detail);
      if (now === change) return;
      tell(change ? "change" : "ready", detail);
      change = now;
    });
    store.watch(["run"], ({ run }) => {
      if (run.tokens !== tokens) [tokens, said, over] = [run.tokens, 0, ""];
      for (; tokens && said < tokens.length; said += 1) tell("step", stepOf(tokens[said]));
      const end = endOf(run);
      const key = end ? `${end.status} ${said}` : "";
      if (end && key !== over) tell("run-end", end);
      over = key;
    });
    store.watch(["engine", "model", "run", "shelf"], ({ engine, model, run, shelf }) => {
      const found = engine.error ?? model.error ?? run.error ?? shelf.error;
      const now = found ? `${found.code} ${found.message}` : "";
      if (found && now !== error) tell("error", { code: found.code, message: found.message });
      error = now;
    });
  }

  // It says that it is here, and nothing else, to whoever is around.
  around.postMessage({ steering: VERSION, type: "hello" }, "*");
}
