// All methods beside each other, folded away until somebody wants them: a line for each, a column for each
// behaviour. A press lets one of the zoo act, in the place of another of its behaviour.
import { errorParts, h, megabytes, textOf, typed } from "../dom.js";
import { COURSE, STRUCTURE } from "../plots/marks.js";
import { s } from "../plots/svg.js";
import { listed, numbers, parts, say } from "../say.js";
import { MOST } from "../state/compare.js";
import { columnsOf, fitsZoo, gridOf, keyOf, richestOf, titleIn } from "../state/methods.js";
import { DEFAULT_MODEL } from "../state/models.js";
import { term } from "./glossary.js";
import { leave } from "./places.js";
import { choose, field } from "./work.js";

/**
 * @typedef {import("../state/methods.js").Cell} Cell
 * @typedef {import("../state/methods.js").Line} Line
 * @typedef {import("../state/store.js").State} State
 * @typedef {{element: HTMLElement, more: HTMLTableRowElement, title: HTMLButtonElement, cells: HTMLButtonElement[], pick: HTMLInputElement}} Drawn
 */

/** The page that compares them. */
export const zooLink = () => h("a", { href: "zoo.html" }, say("zoo.compared"));

const figure = (/** @type {number} */ value) => value.toFixed(2).replace("-", "−");
const short = numbers({ notation: "compact", maximumSignificantDigits: 3 });

/** What a family changes of a layer, as a small picture. @param {string|null|undefined} family */
const glyph = (family) => s("svg", { class: "glyph", viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" },
  ...(STRUCTURE[/** @type {keyof typeof STRUCTURE} */ (family)] ?? []).map(({ d, filled }) => s("path", { d, class: filled ? "filled" : "drawn" })));

/** How a law comes with c, as a small curve. @param {string} law */
const course = (law) => s("svg", { class: "glyph", viewBox: "0 0 20 12", width: 17, height: 10, "aria-hidden": "true" },
  s("path", { class: "drawn", d: COURSE[/** @type {keyof typeof COURSE} */ (law)] ?? "" }));

/** Opens the fold, and lets its filter be typed into. */
export function openFilter() {
  const box = document.getElementById("grid-filter");
  const fold = box?.closest("details");
  if (!box || !fold || fold.hidden) return;
  const sheet = box.closest("dialog");
  if (sheet && !sheet.open) sheet.showModal();
  fold.open = true;
  box.focus();
}

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function zooGrid(root, store, actions) {
  const filter = h("input", {
    type: "search", id: "grid-filter", placeholder: say("methods.filter.example"), autocomplete: "off", spellcheck: false,
    oninput: () => update(store.state),
  });
  const found = h("span.hint", { role: "status" });
  const switchOf = (/** @type {"sameDose"|"beside"} */ what, /** @type {string} */ text) => {
    const box = h("input", { type: "checkbox", id: `methods-${what}`, onchange: () => actions.setMethods({ [what]: box.checked }) });
    return h("label.check", {}, box, text);
  };
  const table = h("table.all-methods", { role: "grid", "aria-label": say("methods.table"), onkeydown: move, onfocusin: entered });
  const why = h("p.error", { hidden: true });
  const again = h("button", { type: "button", hidden: true, onclick: () => actions.listMethods() }, say("methods.again"));
  const unlike = h("p.hint", { hidden: true });
  const comparing = compareRow(store, actions, () => update(store.state));
  const body = h("div.methods-body", {},
    h("p.hint", {}, say("methods.how", { model: DEFAULT_MODEL.name }), " ", zooLink()),
    h("p.hint", {}, ...parts("methods.number", { d: term("d"), nats: term("nats"), kl: term("kl") })),
    unlike, why, again,
    h("div.methods-filter", {}, h("label", { htmlFor: filter.id }, say("methods.filter")), filter, found),
    switchOf("sameDose", say("dose.methods.same-dose")), switchOf("beside", say("methods.beside")),
    h("div.scroll.methods-scroll", {}, table), comparing.element);
  const fold = h("details.methods", {
    hidden: true, ontoggle: () => { if (fold.open) { actions.listMethods(); update(store.state); } },
  }, h("summary", {}, say("methods"), h("span.hint", {}, say("methods.what"))), body);
  const status = h("p.hint.methods-said", { role: "status" });
  const error = h("p.error", { role: "alert", hidden: true });
  root.append(fold, status, error);

  /** By the name of a line. @type {Map<string, Drawn>} */
  let drawn = new Map();
  let [structure, told] = ["", ""];
  /** Names of the lines that tell more. @type {Set<string>} */
  const open = new Set();
  /** Where the keyboard is in the grid: the name of a line, and which of its controls. @type {{name: string, at: number}} */
  let place = { name: "", at: 0 };
  let behaviour = "";

  /** @param {string} text */
  const tell = (text) => { status.textContent = text; };

  /** @param {Line} line @param {Cell} cell */
  async function press({ title }, { item, behaviour: column, state, why: missing }) {
    if (!item) return tell(`${say("methods.add", { title, behaviour: column })}: ${missing}.`);
    if (state !== "on") {
      await actions.takeMethod(item.folder, column);
      const { taking, error: failed, beside } = store.state.methods;
      // It is chosen. One of several, and what went wrong, is told where it was pressed.
      if (!taking && !failed && !beside) leave(root);
      return;
    }
    actions.removeAdapter(keyOf(item.folder));
    tell(say("methods.removed", { title }));
  }

  /** @param {State} state */
  function update(state) {
    fold.hidden = !state.zoo.length;
    const { methods } = state;
    const going = methods.taking ? say("methods.taking", { title: titleIn(state, methods.taking, state.zoo.find(({ folder }) => folder === methods.taking)?.method ?? "") }) : methods.said;
    if (going !== told) {
      told = going;
      tell(going);
    }
    const refused = methods.status === "failed" ? null : methods.error;
    error.hidden = !refused;
    const said = refused ? errorParts(refused) : [];
    if (error.textContent !== textOf(said)) error.replaceChildren(...said);
    if (fold.hidden || !fold.open) return;

    const failed = methods.status === "failed" ? methods.error : null;
    why.hidden = again.hidden = !failed;
    if (failed) why.replaceChildren(...parts("methods.failed", { why: failed.message, code: h("code", {}, failed.code) }));
    unlike.hidden = fitsZoo(state);
    unlike.textContent = say("methods.unlike", { model: methods.listed?.model ?? "" });
    const columns = columnsOf(state);
    behaviour = comparing.update(state, columns);
    const families = gridOf(state, filter.value);
    const lines = families.flatMap((family) => family.lines);
    const now = JSON.stringify([columns, families.map(({ family, lines: all }) => [family, all.map(({ name, title }) => [name, title])]), methods.status]);
    if (now !== structure) {
      structure = now;
      build(families, columns);
      const total = filter.value.trim() ? gridOf(state).reduce((sum, { lines: all }) => sum + all.length, 0) : lines.length;
      found.textContent = !filter.value.trim() ? "" : lines.length ? say("methods.found", { n: lines.length, total }) : say("methods.found.none");
    }
    for (const line of lines) show(line, state);
  }

  /** @param {import("../state/methods.js").Family[]} families @param {string[]} columns */
  function build(families, columns) {
    const hadFocus = table.contains(document.activeElement);
    drawn = new Map();
    const wide = 2 + columns.length;
    table.replaceChildren(
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("methods.method")), ...columns.map((column) => h("th", { scope: "col" }, column)),
        h("th", { scope: "col" }, say("methods.compare")))),
      ...families.map(({ family, lines }) => h("tbody", {},
        h("tr.family", {}, h("th", { scope: "rowgroup", colSpan: wide }, glyph(family), " ", family ? say(`train.family.${family}`) : say("zoo.other"))),
        ...lines.flatMap((line) => {
          const one = draw(line, wide);
          drawn.set(line.name, one);
          return [one.element, one.more];
        }))));
    const names = [...drawn.keys()];
    if (!drawn.has(place.name)) place = { name: names[0] ?? "", at: 0 };
    rove();
    const one = drawn.get(place.name);
    if (hadFocus && one) controls(one)[place.at]?.focus();
  }

  /** @param {Line} line @param {number} wide @returns {Drawn} */
  function draw(line, wide) {
    const { name, title: text, law, parameters } = line;
    const more = h("tr.more", { hidden: !open.has(name), id: `method-${name}` }, h("td", { colSpan: wide }));
    const title = h("button.method-title", {
      type: "button", "aria-expanded": String(open.has(name)), "aria-controls": more.id, "aria-label": say("methods.more", { title: text }),
      onclick: () => {
        more.hidden = !more.hidden;
        title.setAttribute("aria-expanded", String(!more.hidden));
        if (more.hidden) open.delete(name);
        else open.add(name);
        update(store.state);
      },
    }, text);
    const cells = line.cells.map((_, at) => h("button.cell", { type: "button", onclick: () => {
      const now = gridOf(store.state).flatMap(({ lines }) => lines).find((one) => one.name === name);
      if (now) press(now, now.cells[at]);
    } }));
    const pick = h("input", { type: "checkbox", "aria-label": say("dose.compare.pick", { title: text }), onchange: () => actions.pick(name) });
    return {
      more, title, cells, pick,
      element: h("tr.method", {}, h("th", { scope: "row" }, title, h("span.method-facts", {},
        parameters === null ? null : h("span", { title: say("methods.size", { n: parameters }) }, short(parameters)),
        law && h("span.badge", { title: say("methods.law", { law }) }, course(law), law))),
      ...cells.map((cell) => h("td", {}, cell)), h("td", {}, h("label.pick", {}, pick))),
    };
  }

  /** @param {Line} line @param {State} state */
  function show(line, state) {
    const one = drawn.get(line.name);
    if (!one) return;
    for (const [at, cell] of line.cells.entries()) {
      const button = one.cells[at];
      const is = say(`methods.is.${cell.state}`, { why: cell.why });
      // Two figures for the eye; for whoever hears them, with their words.
      const text = [
        say("methods.add", { title: line.title, behaviour: cell.behaviour }), ", ",
        ...(cell.effect === null ? [] : [...parts("methods.effect", { effect: h("b", {}, figure(cell.effect)) }), ", "]),
        ...(cell.nats === null ? [] : [...parts("methods.strength", { nats: h("small", {}, figure(cell.nats)) }), ", "]), is,
      ];
      const said = textOf(text);
      if (button.dataset.said === said) continue;
      Object.assign(button.dataset, { said, state: cell.state, cell: `${cell.behaviour}/${line.name}` });
      button.title = is;
      button.setAttribute("aria-disabled", String(cell.state === "missing"));
      if (cell.state === "missing") button.removeAttribute("aria-pressed");
      else button.setAttribute("aria-pressed", String(cell.state === "on"));
      button.replaceChildren(...text.map((piece) => (typeof piece === "string" ? h("span.sr", {}, piece) : piece)),
        ...(cell.effect === null ? [h("span", { "aria-hidden": "true" }, say(cell.state === "missing" ? "methods.none-there" : "methods.unmeasured"))] : []));
    }
    one.pick.checked = state.methods.picked.includes(line.name);
    // A comparison sets coefficients, not tasks.
    one.pick.disabled = !line.cells.some(({ behaviour: column, item }) => column === behaviour && item && !item.behaviours);
    if (!one.more.hidden) one.more.cells[0].replaceChildren(...details(line));
  }

  // ---- one stop for the keyboard: arrows go from cell to cell ---------------------------------------

  /** @param {Drawn} one @returns {HTMLElement[]} */
  const controls = ({ title, cells, pick }) => [title, ...cells, pick];

  function rove() {
    for (const [name, one] of drawn) for (const [at, control] of controls(one).entries()) control.tabIndex = name === place.name && at === place.at ? 0 : -1;
  }

  /** @param {FocusEvent} event */
  function entered({ target }) {
    for (const [name, one] of drawn) {
      const at = controls(one).indexOf(/** @type {HTMLElement} */ (target));
      if (at < 0) continue;
      place = { name, at };
      return rove();
    }
  }

  /** @param {KeyboardEvent} event */
  function move(event) {
    const names = [...drawn.keys()];
    const [down, right] = [names.indexOf(place.name), place.at];
    /** @type {Record<string, [number, number]>} */
    const to = {
      ArrowDown: [down + 1, right], ArrowUp: [down - 1, right], ArrowRight: [down, right + 1], ArrowLeft: [down, right - 1],
      PageDown: [down + 8, right], PageUp: [down - 8, right], Home: [down, 0], End: [down, 99],
    };
    const next = to[event.key];
    if (!next || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const one = drawn.get(names[Math.min(names.length - 1, Math.max(0, next[0]))]);
    const all = one ? controls(one) : [];
    const control = all[Math.min(all.length - 1, Math.max(0, next[1]))];
    control?.focus();
    control?.scrollIntoView({ block: "nearest" });
  }

  store.watch(["methods", "zoo", "engine", "adapters", "model"], update);
}

/** What there is to say of a line, besides its numbers. @param {Line} line @returns {Node[]} */
function details({ method, cells }) {
  const facts = cells.map(({ behaviour, item, row, why }) => {
    if (!item) return say("methods.facts", { behaviour, facts: why });
    const [low, high] = row?.dose?.d ? [row.dose.d[0], row.dose.d[2]] : [null, null];
    const [from, to] = row?.dose?.c ?? [];
    const dosed = typeof low === "number" && typeof high === "number" && typeof from === "number" && typeof to === "number"
      ? say("dose.methods.at", { nats: String(row?.dose?.nats), low: figure(low), high: figure(high), from: figure(from), to: figure(to) })
      : row?.dose && say("dose.methods.at.none", { why: row.dose.note ?? say("dose.no-number") });
    return say("methods.facts", {
      behaviour, facts: [say("methods.size", { n: item.parameters }), say("methods.download", { size: megabytes(item.bytes) }),
        row?.trainsReverse === false && say("methods.one-way"), dosed].filter(Boolean).join("; "),
    });
  });
  return [method && h("p", {}, h("strong", {}, say("methods.believes")), " ", method.hypothesis), h("ul", {}, ...facts.map((text) => h("li", {}, text)))]
    .filter((part) => part instanceof Node);
}

/**
 * Up to four of them at the same dose, one run each.
 * @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions
 * @param {() => void} changed another behaviour was chosen
 */
function compareRow(store, actions, changed) {
  const behaviour = h("select", { id: "compare-behaviour", onchange: changed });
  const nats = h("input", { type: "text", inputMode: "decimal", id: "compare-nats", value: "1", autocomplete: "off" });
  const wrong = h("p.error", { role: "alert", hidden: true });
  const hint = h("p.hint");
  const go = h("button", { type: "button", id: "methods-compare", onclick: begin }, say("dose.compare.go"));
  const element = h("div.compare-methods", {}, hint, h("div.row", {}, field(say("dose.compare.behaviour"), behaviour), field(say("dose.compare.nats"), nats)), h("p", {}, go), wrong);

  async function begin() {
    const { state } = store;
    const asked = typed(nats.value);
    const text = state.model.status !== "ready" ? say("dose.compare.load-first") : !Number.isFinite(asked) || asked === 0 ? say("dose.compare.bad") : "";
    wrong.textContent = text;
    wrong.hidden = !text;
    if (text) return;
    const list = await actions.comparison(state.methods.picked.map((name) => `${behaviour.value}/${name}`), Math.abs(asked), asked < 0 ? -1 : 1);
    if (list.length) actions.compareRuns(list);
  }

  return {
    element,
    /** @param {State} state @param {string[]} columns @returns {string} the behaviour that is compared */
    update(state, columns) {
      choose(behaviour, columns.map((name) => [name, name]), behaviour.value);
      if (behaviour.selectedIndex < 0) behaviour.value = richestOf(state);
      const { picked } = state.methods;
      const titles = picked.map((name) => titleIn(state, `${behaviour.value}/${name}`, state.zoo.find(({ folder }) => folder === `${behaviour.value}/${name}`)?.method ?? name));
      go.disabled = picked.length < 2 || picked.length > MOST;
      hint.textContent = picked.length ? say("dose.compare.picked", { titles: listed(titles) }) : say("dose.compare.few");
      return behaviour.value;
    },
  };
}
