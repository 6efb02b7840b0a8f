// The two texts, growing token by token, with the place where they part.
import { h, signed, told } from "../dom.js";
import { doses, manner, sameDoses, trail, trailWords, words } from "../state/acting.js";

/** Why a text ended, in words. @type {Record<string, (run: any) => string>} */
const ENDS = {
  "end-of-text": () => "the model ended it",
  "stop-text": () => "at a stop string",
  length: () => "at the length asked for",
  context: ({ model }) => `the model's context${model?.context ? ` of ${model.context.toLocaleString("en")} tokens` : ""} is full`,
};

/**
 * @param {{base: HTMLElement, steered: HTMLElement, dose: HTMLElement, now: HTMLElement, stats: HTMLElement, status: HTMLElement, notice: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function outputPanel({ base, steered, dose, now, stats, status, notice }, store, actions) {
  const lanes = [
    { root: base, lane: "base", empty: "Here the model writes as it is." },
    { root: steered, lane: "steered", empty: "Here the same model writes with your adapters turned. At 0 both texts are the same." },
  ];
  /** @type {any} */
  let tokens = null;
  let drawn = 0;
  /** @type {number|null} */
  let selected = null;

  for (const { root } of lanes) {
    root.tabIndex = 0;
    root.addEventListener("click", (event) => {
      const token = /** @type {HTMLElement} */ (event.target).closest("[data-at]");
      if (token instanceof HTMLElement) actions.select(Number(token.dataset.at));
    });
    root.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      actions.select((store.state.run.selected ?? -by + (by > 0 ? 0 : drawn)) + by);
    });
  }

  store.watch(["run"], ({ run }) => {
    const busy = run.status === "prefill" || run.status === "streaming";
    if (run.tokens !== tokens || !run.tokens) {
      tokens = run.tokens;
      drawn = 0;
      for (const { root, empty } of lanes) root.replaceChildren(tokens ? "" : h("p.empty", {}, empty));
    }
    for (; tokens && drawn < tokens.length; drawn += 1) {
      const token = tokens[drawn];
      for (const { root, lane } of lanes) {
        if (token[lane]) root.append(tokenSpan(token, lane, drawn === run.split));
      }
    }
    for (const { root, lane } of lanes) {
      const last = tokens?.findLast((/** @type {any} */ token) => token[lane]);
      const ended = last?.[lane].finish;
      root.setAttribute("aria-busy", String(busy && !ended));
      if (run.selected !== selected) {
        root.querySelector("[data-selected]")?.removeAttribute("data-selected");
        if (run.selected !== null) root.querySelector(`[data-at="${run.selected}"]`)?.setAttribute("data-selected", "");
      }
    }
    selected = run.selected;
    if (busy) follow(lanes);
    showStats(stats, run);
    const said = sentence(run);
    if (status.textContent !== said) status.textContent = said;
  });

  store.watch(["run", "engine", "model"], (state) => showNotice(notice, state, actions));
  store.watch(["run", "adapters", "model", "prompt", "chat", "sampling", "maxTokens", "stop", "klAfterSplit"], (state) => {
    const { run, adapters, model } = state;
    const way = trail(run.tokens ?? []);
    const text = way.length ? trailWords(way) : words(doses(adapters));
    if (dose.textContent !== text) dose.textContent = text;
    const over = ["done", "stopped", "failed"].includes(run.status);
    const since = !run.request ? "" : over ? way.length > 0 && changedSince(state, way, actions) : otherwise(run, actions) && "The prompt and its settings act from the next run on.";
    const again = since && over && model.status === "ready" ? "Run again" : "";
    now.hidden = !since;
    if (now.textContent === `${since || ""} ${again}`) return;
    now.replaceChildren(since || "", " ", again && h("button.quiet", { type: "button", onclick: () => actions.run() }, again));
  });
}

/** What is set differently now than when the text was written. @param {import("../state/store.js").State} state @param {import("../state/acting.js").Dose[][]} way @param {import("../actions.js").Actions} actions */
function changedSince({ run, adapters, model }, way, actions) {
  if (run.model && model.source !== run.model.source) return `Written by ${run.model.name}; the model is another now.`;
  const present = doses(adapters);
  const last = way.at(-1) ?? [];
  if (!sameDoses(present, last)) {
    const alone = present.length === 1 && last.length === 1 && present[0].key === last[0].key;
    return `Turned since: now ${alone ? signed(present[0].c) : words(present)}.`;
  }
  // While adapters are on their way their manner is not known.
  if (model.status === "ready" && !adapters.some(({ loading }) => loading) && manner(adapters) !== run.manners) return "How or where it acts was changed since.";
  return otherwise(run, actions) ? "The prompt or its settings were changed since." : "";
}

/** Whether a run now would be asked otherwise. @param {any} run @param {import("../actions.js").Actions} actions */
function otherwise(run, actions) {
  const asks = (/** @type {any} */ { prompt, chat, sampling, maxTokens, stop, klAfterSplit }) =>
    JSON.stringify([prompt, chat, sampling, maxTokens, stop, klAfterSplit]);
  return asks(actions.request()) !== asks(run.request);
}

function tokenSpan(/** @type {any} */ token, /** @type {string} */ lane, /** @type {boolean} */ split) {
  const span = h("span.tok", { dataset: { at: String(token.index) } }, token[lane].text);
  if (lane === "steered" && token.klNats) span.style.setProperty("--kl", String(token.klNats));
  if (split) span.dataset.split = "";
  return span;
}

/** Keeps the growing end in sight inside each column, unless the reader has scrolled up. */
function follow(/** @type {{root: HTMLElement}[]} */ lanes) {
  for (const { root } of lanes) {
    if (root.scrollHeight - root.scrollTop - root.clientHeight < 120) root.scrollTop = root.scrollHeight;
  }
}

function showStats(/** @type {HTMLElement} */ root, /** @type {any} */ run) {
  if (run.status === "waiting") {
    return root.replaceChildren(h("span.stat", {}, h("span", {}, "waiting until it is loaded:"), " ", h("b", {}, run.waitsFor.join(", "))));
  }
  if (!run.tokens) return root.replaceChildren();
  const made = run.tokens.length;
  const since = made - (run.kept ?? 0);
  const seconds = (run.lastAt - run.firstAt) / 1000;
  const used = run.tokens.findLast((/** @type {any} */ token) => token.cache !== "current")?.cache;
  const facts = [
    ["tokens", `${made} of ${run.limit}`],
    since > 1 && ["speed", `${((since - 1) / seconds).toFixed(1)} tok/s`],
    run.firstAt && ["first token", `${((run.firstAt - run.startedAt) / 1000).toFixed(2)} s`],
    run.status === "prefill" && run.prefill && ["reading the prompt", `${run.prefill.doneTokens} of ${run.prefill.totalTokens}`],
    made > 0 && ["texts part", run.split === null ? "not yet" : `at token ${run.split + 1}`],
    run.status === "done" && ended(run) && ["ended", ended(run)],
    used && ["cache", used === "kept" ? "kept: from there on" : "recomputed: as if from the start"],
  ].filter(Boolean);
  root.replaceChildren(...facts.map(([name, value]) => h("span.stat", {}, h("span", {}, name), " ", h("b", {}, value))));
}

/** Why the texts ended; of each, where they ended differently. @param {any} run */
function ended(run) {
  const why = (/** @type {string} */ lane) => {
    const finish = run.tokens?.findLast((/** @type {any} */ token) => token[lane])?.[lane].finish;
    return ENDS[finish]?.(run) ?? "";
  };
  const [base, steered] = [why("base"), why("steered")];
  return base === steered || !base ? steered : `base: ${base}; steered: ${steered}`;
}

/** One sentence for those who listen, when it begins and when it is over: quiet while it writes. */
function sentence(/** @type {any} */ run) {
  switch (run.status) {
    case "waiting": return `Waiting until ${run.waitsFor.join(" and ")} is loaded.`;
    case "prefill": case "streaming": return "Reading the prompt and writing.";
    case "done": return `Done, ${run.tokens.length} tokens; ${run.split === null ? "both texts are the same" : `the texts part at token ${run.split + 1}`}${ended(run) ? `; ${ended(run)}` : ""}.`;
    case "stopped": return `Stopped after ${run.tokens.length} tokens.`;
    case "failed": return `Failed: ${run.error.message}`;
    default: return "";
  }
}

function showNotice(/** @type {HTMLElement} */ root, /** @type {any} */ { run, engine, model }, /** @type {any} */ actions) {
  const key = JSON.stringify([run.status === "failed" && run.error, engine.status, model.status === "ready", run.resumedAt]);
  if (root.dataset.key === key) return;
  root.dataset.key = key;
  root.hidden = run.status !== "failed";
  if (root.hidden) return root.replaceChildren();
  const lost = run.error.code === "device-lost" || run.error.code === "panic";
  const made = run.tokens?.length ?? 0;
  const ready = engine.status === "ready" && model.status === "ready";
  root.replaceChildren(
    h("p", {}, ...told(run.error)),
    lost ? h("p", {}, made ? `The ${made} tokens below are kept. ` : "", ready || engine.status === "crashed" ? "" : "A new engine is starting and will go on from there.") : "",
    lost && engine.status === "crashed" ? h("button", { type: "button", onclick: actions.restart }, "Start a new engine") : "",
    lost && ready ? h("button", { type: "button", onclick: () => actions.run({ resume: true }) }, "Go on from here") : "");
}
