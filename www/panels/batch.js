// A batch: many prompts, the base and the steered text of each, and what can be counted in them.
import { h } from "../dom.js";
import { recall, remember } from "../remember.js";
import { say } from "../say.js";
import { countWords } from "../state/formats.js";
import { PROMPTS, has, lines, textOf } from "../state/runs.js";
import { isAsked } from "../state/store.js";
import { exports } from "./export.js";
import { field, workRow } from "./work.js";
import { outcome, told as progress, written } from "./written.js";

const [KEPT, KEPT_WORD] = ["playground.batch", "playground.batch-word"];

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function batchPanel(store, actions) {
  const count = h("small");
  const prompts = h("textarea", {
    id: "batch-prompts", rows: 5, spellcheck: false, value: recall(KEPT) ?? "",
    oninput: () => { told(); remember(KEPT, prompts.value); update(store.state); },
  });
  const told = () => { count.textContent = say("runs.batch.lines", { n: lines(prompts.value).length }); };
  const word = h("input", {
    type: "text", id: "batch-word", autocomplete: "off", spellcheck: false, placeholder: say("runs.batch.word.usual"), value: recall(KEPT_WORD) ?? "",
    oninput: () => { remember(KEPT_WORD, word.value); update(store.state); },
  });
  const go = h("button", { type: "button", id: "batch-go", onclick: () => actions.batch(lines(prompts.value)) }, say("runs.batch.go"));
  const work = workRow(["batch"], actions, { told: progress });
  const came = h("ul.came", { role: "status" });
  const body = h("tbody");
  const table = h("table.fan.batch", { hidden: true }, h("caption.sr", {}, say("runs.batch.table")),
    h("thead", {}, h("tr", {}, ...["prompt", "base", "steered"].map((name) => h("th", { scope: "col" }, say(`runs.column.${name}`))))), body);
  const runsNow = () => (store.state.runs.groups.batch?.rows ?? []).flatMap(({ run }) => run ?? []);
  const out = exports(() => ({ kind: "batch", runs: runsNow(), word: word.value }));
  let made = 0;
  /** @type {ReturnType<typeof row>[]} */
  let rows = [];

  store.watch(["runs", "work", "bench", "run", "adapters"], (state, changed) => { if (!(changed.size === 1 && changed.has("run")) || isAsked(state.run) !== go.disabled) update(state); });

  function update(/** @type {import("../state/store.js").State} */ state) {
    const many = lines(prompts.value).length;
    go.disabled = isAsked(state.run) || state.work !== null || many < 1;
    work.update(state);
    const group = state.runs.groups.batch;
    table.hidden = out.element.hidden = !group?.rows.some(({ run }) => run);
    if (!group) return;
    if (group.at !== made) {
      made = group.at;
      rows = group.rows.map(({ title }, at) => row(title, () => store.state.runs.groups.batch?.rows[at]?.run ?? null, actions));
      body.replaceChildren(...rows.map(({ element }) => element));
    }
    for (const [at, one] of group.rows.entries()) rows[at]?.update(one, word.value);
    const over = runsNow().filter(({ status }) => status !== "writing");
    const said = state.work?.kind === "batch" ? [] : countWords(over, word.value);
    if (came.dataset.said !== said.join("\n")) {
      came.dataset.said = said.join("\n");
      came.replaceChildren(...said.map((text) => h("li", {}, text)));
    }
    if (state.work?.kind !== "batch") out.update();
  }
  told();
  return h("div.runs-body", {}, h("p.hint", {}, say("runs.batch.hint")),
    h("label.field.wide", { htmlFor: "batch-prompts" }, h("span", {}, say("runs.batch.prompts", { n: PROMPTS })), prompts, count),
    h("div.row", {}, field(say("runs.batch.word"), word), go), work.element, came, table, out.element);
}

/** @param {string} prompt @param {() => import("../state/runs.js").Kept|null} kept @param {import("../actions.js").Actions} actions */
function row(prompt, kept, actions) {
  const [base, steered] = [written("base"), written("steered")];
  const { facts, error, open, show } = outcome(h("span.hint"), kept, actions);
  const marks = { base: h("p.has", { hidden: true }), steered: h("p.has", { hidden: true }) };
  const element = h("tr", {}, h("th", { scope: "row" }, prompt), h("td", {}, base.element, marks.base), h("td", {}, steered.element, marks.steered, error, facts, " ", open));
  return {
    element,
    /** @param {import("../state/runs.js").Row} one @param {string} word that is counted */
    update(one, word) {
      const { run } = one;
      element.hidden = !run && !one.error;
      base.show(run);
      steered.show(run);
      show(one, prompt);
      for (const lane of /** @type {const} */ (["base", "steered"])) {
        const there = Boolean(run) && has(textOf(/** @type {import("../state/runs.js").Kept} */ (run), lane), word);
        marks[lane].hidden = !there;
        marks[lane].textContent = there ? say("runs.batch.there", { word: word.trim() }) : "";
      }
    },
  };
}
