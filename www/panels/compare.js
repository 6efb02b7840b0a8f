// A comparison: up to four settings, adapters or system prompts, answer one prompt beside each other.
import { h, typed } from "../dom.js";
import { say } from "../say.js";
import { contrastText } from "../shipped.js";
import { current, doses, present } from "../state/acting.js";
import { COLUMNS, promptOf, systemOf, turnedWords } from "../state/runs.js";
import { isAsked } from "../state/store.js";
import { exports } from "./export.js";
import { choose, field, workRow } from "./work.js";
import { outcome, told, written } from "./written.js";

/** What is no adapter's key among what can act. */
const [NOW, SYSTEM] = ["now", "system"];

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function comparePanel(store, actions) {
  const list = h("ol.settings-list");
  const add = h("button", { type: "button", id: "compare-add", onclick: () => { more(NOW); fields.at(-1)?.focus(); } }, say("runs.compare.add"));
  const go = h("button", { type: "button", id: "compare-go", onclick: ask }, say("runs.compare.go"));
  const wrong = h("p.error", { role: "alert", hidden: true });
  const work = workRow(["compare"], actions, { told });
  const base = written("base");
  const baseRow = h("div.base-row", {}, h("h4", {}, say("runs.compare.base")), base.element);
  const columns = h("div.compare-columns");
  const result = h("div.result.compared", { hidden: true }, baseRow, columns);
  const out = exports(() => {
    const there = (store.state.runs.groups.compare?.rows ?? []).filter(({ run }) => run);
    return { kind: "compare", runs: there.flatMap(({ run }) => run ?? []), titles: there.map(({ title }) => title) };
  });
  /** @type {ReturnType<typeof setting>[]} */
  let fields = [];
  /** What to ask for, by behaviour and way. @type {[name: string, text: string][]} */
  let presets = [];
  let usual = "";
  let made = 0;
  /** @type {ReturnType<typeof column>[]} */
  let shown = [];

  /** @param {string} what */
  function more(what) {
    const one = setting(what, store, () => {
      fields = fields.filter((other) => other !== one);
      draw();
      add.focus();
    });
    one.offer(presets, usual);
    fields.push(one);
    draw();
  }
  function draw() {
    list.replaceChildren(...fields.map(({ element }) => element));
    for (const [at, one] of fields.entries()) one.number(at + 1, fields.length > 1);
    add.disabled = fields.length >= COLUMNS;
  }

  function ask() {
    const items = fields.map((one) => one.item());
    const bad = fields.map((one) => one.complaint()).find(Boolean) ?? "";
    wrong.textContent = bad;
    wrong.hidden = !bad;
    if (!bad) actions.compareRuns(items);
  }

  store.watch(["runs", "adapters", "work", "bench", "active", "run"], (state, changed) => {
    const writing = isAsked(state.run);
    if (changed.size === 1 && changed.has("run") && go.disabled === writing) return;
    for (const one of fields) one.update(state);
    go.disabled = writing || state.work !== null;
    work.update(state);
    const group = state.runs.groups.compare;
    const there = group?.rows.some(({ run, error }) => run || error);
    result.hidden = out.element.hidden = !there;
    if (!group) return;
    if (group.at !== made) {
      made = group.at;
      shown = group.rows.map((_one, at) => column(() => store.state.runs.groups.compare?.rows[at]?.run ?? null, actions));
      columns.replaceChildren(...shown.map(({ element }) => element));
    }
    const runs = group.rows.flatMap(({ run }) => run ?? []);
    const prompts = new Set(runs.map(promptOf));
    // One base for all, where all answer the same; pinned runs may not.
    const first = runs.find((one) => one.tokens.some((token) => token.base) && !(systemOf(one) && !one.turned.length));
    const common = new Set(runs.filter((one) => one.turned.length).map((one) => JSON.stringify([one.request.chat, one.request.prompt, one.request.sampling]))).size <= 1;
    baseRow.hidden = !first || !common;
    // Each parts from it elsewhere.
    base.show(common && first ? { ...first, split: null } : null);
    for (const [at, one] of group.rows.entries()) shown[at]?.update(one, prompts.size > 1, !common);
    if (state.work?.kind !== "compare") out.update();
  });
  more(NOW);
  more(SYSTEM);
  return {
    element: h("div.runs-body", {}, h("p.hint", {}, say("runs.compare.hint", { n: COLUMNS })), list, h("div.row", {}, add, go), wrong, work.element, result, out.element),
    /** When it is seen for the first time. */
    async open() {
      if (presets.length) return;
      try {
        const { prompting } = JSON.parse(await contrastText());
        const list = Object.entries(prompting ?? {});
        presets = list.flatMap(([behaviour, { positive, negative }]) => [positive, negative].map((text) =>
          /** @type {[string, string]} */ ([say("runs.compare.preset.of", { behaviour, text: cut(String(text)) }), String(text)])));
        // Asked first for what the adapter that is turned leads to.
        const { name = "", coefficient = 1 } = current(store.state) ?? {};
        const at = Math.max(0, list.findIndex(([behaviour]) => name.startsWith(behaviour)));
        usual = presets[2 * at + (coefficient < 0 ? 1 : 0)]?.[1] ?? "";
        for (const one of fields) one.offer(presets, usual);
      } catch {
        // One's own words do without.
      }
    },
  };
}

/** The beginning of a prompt. @param {string} text */
const cut = (text) => (text.length > 44 ? `${text.slice(0, 43).replace(/\W*\w*$/, "")} …` : text);

/** One setting of a comparison. @param {string} what @param {import("../state/store.js").Store} store @param {() => void} leave */
function setting(what, store, leave) {
  const legend = h("legend");
  const kind = h("select", { onchange: () => { chosen = kind.value; update(store.state); } });
  const c = h("input", { type: "text", inputMode: "decimal", autocomplete: "off", oninput: () => { isTyped = true; } });
  const system = h("textarea", { rows: 3, spellcheck: false, oninput: () => { preset.value = [...preset.options].some(({ value }) => value === system.value) ? system.value : ""; } });
  const preset = h("select", { onchange: () => { if (preset.value) system.value = preset.value; } });
  const presetField = field(say("runs.compare.preset"), preset);
  const turned = field(say("runs.compare.c"), c);
  const asks = h("div.asks", {}, presetField, h("label.field.wide", {}, h("span", {}, say("runs.compare.system.text")), system));
  const less = h("button.quiet", { type: "button", onclick: leave }, say("runs.compare.less.short"));
  let chosen = what;
  let isTyped = false;
  const element = h("li", {}, h("fieldset.setting", {}, legend, h("div.row", {}, field(say("runs.compare.what"), kind), turned, less), asks));

  function update(/** @type {import("../state/store.js").State} */ state) {
    const here = present(state.adapters);
    /** @type {[string, string][]} */
    const options = [[NOW, say("runs.compare.now")], ...here.map(({ key, title }) => /** @type {[string, string]} */ ([key, say("runs.compare.alone", { title })])), [SYSTEM, say("runs.compare.system")]];
    if (!options.some(([key]) => key === chosen)) chosen = NOW;
    choose(kind, options, chosen);
    turned.hidden = chosen === NOW || chosen === SYSTEM;
    asks.hidden = chosen !== SYSTEM;
    const adapter = here.find(({ key }) => key === chosen);
    if (adapter && !isTyped) c.value = String(adapter.coefficient || 1).replace("-", "−");
  }
  update(store.state);
  return {
    element, update,
    focus: () => kind.focus(),
    /** @param {[string, string][]} presets @param {string} usual where nothing was written yet */
    offer(presets, usual) {
      presetField.hidden = !presets.length;
      system.value ||= usual;
      choose(preset, [["", say("runs.compare.preset.none")], ...presets.map(([name, text]) => /** @type {[string, string]} */ ([text, name]))], presets.some(([, text]) => text === system.value) ? system.value : "");
    },
    /** @param {number} n @param {boolean} mayLeave */
    number(n, mayLeave) {
      legend.textContent = say("runs.compare.setting", { n });
      less.setAttribute("aria-label", say("runs.compare.less", { n }));
      less.hidden = !mayLeave;
    },
    complaint() {
      if (chosen === SYSTEM) return system.value.trim() ? "" : say("runs.compare.nothing");
      if (chosen === NOW) return "";
      return Number.isFinite(typed(c.value)) ? "" : say("runs.compare.not-number");
    },
    /** @returns {import("../state/runs.js").Item} */
    item() {
      const { state } = store;
      if (chosen === SYSTEM) {
        const text = system.value.trim();
        return { title: say("runs.compare.prompting", { text: cut(text) }), doses: [], system: text };
      }
      // What it is called is told by what acts.
      if (chosen === NOW) return { title: "", doses: doses(state.adapters).map(({ key, c: now }) => ({ key, c: now })) };
      return { title: "", doses: [{ key: chosen, c: typed(c.value) }] };
    },
  };
}

/** One text of a comparison. @param {() => import("../state/runs.js").Kept|null} kept @param {import("../actions.js").Actions} actions */
function column(kept, actions) {
  const title = h("h4");
  const asked = h("p.hint");
  const { facts, error, open, show } = outcome(h("p.hint"), kept, actions);
  const [base, steered] = [written("base"), written("steered")];
  const own = h("details.own-base", { hidden: true }, h("summary", {}, say("runs.compare.base")), base.element);
  const element = h("article", {}, title, asked, steered.element, error, facts, own, open);
  return {
    element,
    /** @param {import("../state/runs.js").Row} one @param {boolean} differ whether prompts do @param {boolean} apart whether bases do */
    update(one, differ, apart) {
      const { run } = one;
      const called = one.title || (run ? turnedWords(run) : "");
      if (title.textContent !== called) title.textContent = called;
      asked.hidden = !differ || !run;
      if (run) asked.textContent = say("runs.compare.answers", { prompt: promptOf(run) });
      steered.show(run);
      own.hidden = !apart || !run;
      base.show(apart ? run : null);
      show(one, called);
    },
  };
}
