// Where an adapter acts, painted on a grid: blocks down, modules across. The same as the texts beside it say.
import { closest, h } from "../dom.js";
import { say } from "../say.js";
import { cellOf, cellsOf, gridOf, maskOf } from "../state/mask.js";

/** @typedef {import("../state/store.js").Adapter} Adapter */

/** What the head of a column has room for: "q_proj" is "q". @param {string} module */
const short = (module) => module.replace(/_proj$/, "").replaceAll("_layernorm", "").replaceAll("_", " ");

/** @param {string} key of the adapter @param {import("../actions.js").Actions} actions */
export function maskGrid(key, actions) {
  const body = h("tbody");
  const head = h("tr", { role: "row" });
  const table = h("table.mask-grid", { role: "grid", "aria-multiselectable": "true" }, h("thead", {}, head), body);
  const says = h("p.hint", { role: "status" });
  const all = h("button.quiet", { type: "button", onclick: () => actions.setMask(key, { layers: "", modules: "" }) }, say("grid.all"));
  const element = h("div.mask", {}, h("p.hint", {}, say("grid.hint")), h("div.mask-scroll", {}, table), h("div.row", {}, says, all));
  /** @type {import("../state/mask.js").Grid} */
  let grid = { rows: [], columns: [], has: () => false };
  /** What acts, and while somebody paints, what will. @type {Set<string>} */
  let cells = new Set();
  /** @type {Set<string>|null} */
  let draft = null;
  /** What a drag makes of the cells that it touches. @type {boolean|null} */
  let painting = null;
  let built = "";
  /** Row and column that the keys are at; −1 are the names. */
  let at = { row: 0, column: 0 };

  const of = (/** @type {HTMLElement} */ cell) => ({ row: Number(cell.dataset.row), column: Number(cell.dataset.column) });
  const find = (/** @type {number} */ row, /** @type {number} */ column) =>
    /** @type {HTMLElement|null} */ (table.querySelector(`[data-row="${row}"][data-column="${column}"]`));
  /** The cells that stand for a place of the table: a name stands for its row or column. @param {number} row @param {number} column */
  function under(row, column) {
    const rows = row < 0 ? grid.rows : [grid.rows[row] ?? -1];
    const columns = column < 0 ? grid.columns : [grid.columns[column] ?? ""];
    return rows.flatMap((layer) => columns.filter((module) => grid.has(layer, module)).map((module) => cellOf(layer, module)));
  }
  const now = () => draft ?? cells;

  /** @param {string[]} list @param {boolean} on */
  function paint(list, on) {
    draft ??= new Set(cells);
    for (const cell of list) {
      if (on) draft.add(cell);
      else draft.delete(cell);
    }
    show();
  }
  /** Gives the mask to the engine, unless nothing would be left. */
  function commit() {
    const wish = draft;
    draft = painting = null;
    if (!wish) return;
    if (!wish.size) {
      show();
      says.textContent = say("grid.last");
      return;
    }
    cells = wish;
    actions.setMask(key, maskOf(grid, wish));
  }
  const turn = (/** @type {number} */ row, /** @type {number} */ column) => {
    const list = under(row, column);
    paint(list, !list.every((cell) => now().has(cell)));
  };

  function show() {
    for (const cell of table.querySelectorAll("td[data-row]")) {
      const { row, column } = of(/** @type {HTMLElement} */ (cell));
      const [layer, module] = [grid.rows[row] ?? -1, grid.columns[column] ?? ""];
      if (!grid.has(layer, module)) continue;
      const on = now().has(cellOf(layer, module));
      cell.setAttribute("aria-selected", String(on));
      cell.setAttribute("aria-label", say(on ? "grid.cell.on" : "grid.cell.off", { layer: String(layer), module }));
    }
    says.textContent = say("grid.says", { n: now().size, all: under(-1, -1).length });
  }
  /** One of its places is in the order of the tab key: the one that the keys are at. @param {number} row @param {number} column @param {boolean} [focus] */
  function go(row, column, focus = true) {
    at = { row: Math.min(grid.rows.length - 1, Math.max(-1, row)), column: Math.min(grid.columns.length - 1, Math.max(-1, column)) };
    if (at.row < 0 && at.column < 0) at = { row: -1, column: 0 };
    for (const cell of table.querySelectorAll("[tabindex='0']")) cell.setAttribute("tabindex", "-1");
    const cell = find(at.row, at.column);
    cell?.setAttribute("tabindex", "0");
    if (focus) cell?.focus();
  }

  // Other ways lead to a cell too.
  table.addEventListener("focusin", (event) => {
    const cell = closest(event, "[data-row]");
    if (!cell) return;
    const { row, column } = of(cell);
    if (row !== at.row || column !== at.column) go(row, column, false);
  });
  table.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowDown: [1, 0], ArrowUp: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] }[event.key];
    const { row, column } = at;
    if (step && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const list = under(row, column);
      go(row + (step[0] ?? 0), column + (step[1] ?? 0));
      // What is painted is what the keys came from.
      if (event.shiftKey && row >= 0 && column >= 0 && list.length) paint(under(at.row, at.column), list.every((cell) => now().has(cell)));
    } else if (event.key === "Home") go(event.ctrlKey ? 0 : row, 0);
    else if (event.key === "End") go(event.ctrlKey ? grid.rows.length - 1 : row, grid.columns.length - 1);
    else if (event.key === " " || event.key === "Enter") {
      turn(row, column);
      commit();
    } else return;
    event.preventDefault();
    // The page's own keys are other ones.
    event.stopPropagation();
  });
  table.addEventListener("keyup", ({ key: released }) => { if (released === "Shift") commit(); });
  table.addEventListener("focusout", () => { if (painting === null) commit(); });
  table.addEventListener("pointerdown", (event) => {
    const cell = closest(event, "[data-row]");
    if (!cell || event.button !== 0) return;
    const { row, column } = of(cell);
    const list = under(row, column);
    if (!list.length) return;
    go(row, column, false);
    // A finger that moves scrolls; a tap is a click.
    if (event.pointerType === "touch") return;
    painting = !list.every((one) => now().has(one));
    paint(list, painting);
    addEventListener("pointerup", commit, { once: true });
  });
  table.addEventListener("pointerover", (event) => {
    const cell = closest(event, "td[data-row]");
    if (painting === null || !cell) return;
    const { row, column } = of(cell);
    paint(under(row, column), painting);
  });
  table.addEventListener("click", (event) => {
    const cell = closest(event, "[data-row]");
    if (!cell || /** @type {PointerEvent} */ (event).pointerType !== "touch") return;
    const { row, column } = of(cell);
    turn(row, column);
    commit();
  });

  function build() {
    head.replaceChildren(h("td"), ...grid.columns.map((module, column) =>
      h("th", { scope: "col", role: "columnheader", tabIndex: -1, "aria-label": say("grid.column", { module }), title: module, dataset: { row: "-1", column: String(column) } }, h("span", {}, short(module)))));
    body.replaceChildren(...grid.rows.map((layer, row) => h("tr", { role: "row" },
      h("th", { scope: "row", role: "rowheader", tabIndex: -1, "aria-label": say("grid.row", { layer: String(layer) }), dataset: { row: String(row), column: "-1" } }, String(layer)),
      ...grid.columns.map((module, column) => (grid.has(layer, module)
        ? h("td", { role: "gridcell", tabIndex: -1, dataset: { row: String(row), column: String(column) } }) : h("td", { role: "gridcell", "aria-disabled": "true" }))))));
    go(0, 0, false);
  }

  return {
    element,
    /** @param {Adapter} adapter */
    update(adapter) {
      const { entry, title } = adapter;
      element.hidden = !entry || adapter.id === null;
      if (!entry || element.hidden) return;
      table.setAttribute("aria-label", say("grid.label", { title }));
      const version = JSON.stringify(entry.places);
      if (version !== built) {
        built = version;
        grid = gridOf(entry.places);
        element.hidden = !grid.rows.length;
        build();
      }
      element.hidden = !grid.rows.length;
      if (draft) return;
      cells = cellsOf(grid, adapter.layers ?? "", adapter.modules ?? "");
      all.hidden = !adapter.layers && !adapter.modules;
      show();
    },
  };
}
