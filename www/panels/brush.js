// A brush over the layer map: drag over blocks, or shift and arrows, and the adapter acts on these alone.
import { h } from "../dom.js";
import { say } from "../say.js";
import { rangeOf } from "../state/mask.js";

/**
 * @param {ReturnType<typeof import("../plots/svg.js").picture>} plot whose bars stand side by side
 * @param {{left: number, right: number}} margins beside the bars, in pixels
 * @param {{blocks: () => number[], chosen: () => string, choose: (layers: string) => void}} act `chosen` and `choose` as a mask has its layers
 */
export function brush(plot, { left, right }, act) {
  const mark = h("div.brush-mark", { hidden: true });
  const cursor = h("div.brush-cursor", { hidden: true });
  const figure = h("div.figure.brush", { tabIndex: 0, role: "group" }, plot.drawing, mark, cursor);
  const says = h("span", { role: "status" });
  const undo = h("button.quiet", { type: "button", onclick: () => back() }, say("brush.undo"));
  const hint = h("p.hint", {}, say("brush.hint"));
  const element = h("div.brush-place", {}, figure, h("div.row", {}, hint, says, undo));
  /** What was chosen before the brush came. @type {string|null} */
  let before = null;
  /** The ends of what is brushed, as places among the blocks: where it began and where it is. @type {{from: number, to: number}|null} */
  let stroke = null;
  /** The place that the keys are at. */
  let at = 0;
  let title = "";

  const many = () => act.blocks().length;
  const held = (/** @type {number} */ place) => Math.min(many() - 1, Math.max(0, place));
  /** The place of a block under a pointer. @param {PointerEvent} event */
  const under = (event) => {
    const box = figure.getBoundingClientRect();
    return held(Math.floor(((event.clientX - box.left - left) / (box.width - left - right)) * many()));
  };
  /** @param {HTMLElement} part @param {number} first @param {number} last */
  const place = (part, first, last) => {
    part.style.setProperty("--from", String(first / many()));
    part.style.setProperty("--to", String((last + 1) / many()));
  };

  function show() {
    const list = act.blocks();
    const now = rangeOf(act.chosen());
    const ends = stroke ? [Math.min(stroke.from, stroke.to), Math.max(stroke.from, stroke.to)]
      : now ? [list.findIndex((block) => block >= now[0]), list.findLastIndex((block) => block <= now[1])] : null;
    const [first = -1, last = -1] = ends ?? [];
    mark.hidden = first < 0 || last < first;
    if (!mark.hidden) place(mark, first, last);
    if (many()) place(cursor, held(at), held(at));
    undo.hidden = before === null || before === act.chosen();
    const layers = act.chosen();
    const text = !title ? "" : layers ? say("brush.says", { title, layers }) : before === null ? "" : say("brush.all", { title });
    if (says.textContent !== text) says.textContent = text;
  }
  function commit() {
    const list = act.blocks();
    if (!stroke || !list.length) return;
    const [first, last] = [Math.min(stroke.from, stroke.to), Math.max(stroke.from, stroke.to)].map((end) => list[end] ?? 0);
    stroke = null;
    before ??= act.chosen();
    act.choose(first === last ? String(first) : `${first}-${last}`);
    show();
  }
  function back() {
    if (before === null) return;
    act.choose(before);
    before = null;
    show();
    figure.focus();
  }

  figure.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !title || !many()) return;
    at = under(event);
    stroke = { from: at, to: at };
    figure.setPointerCapture(event.pointerId);
    show();
  });
  figure.addEventListener("pointermove", (event) => {
    if (!stroke || !figure.hasPointerCapture(event.pointerId)) return;
    at = stroke.to = under(event);
    show();
  });
  figure.addEventListener("pointerup", commit);
  figure.addEventListener("pointercancel", () => { stroke = null; show(); });
  figure.addEventListener("focus", () => { cursor.hidden = !figure.matches(":focus-visible"); });
  figure.addEventListener("blur", () => { cursor.hidden = true; commit(); });
  figure.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!title || !many() || event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) {
      cursor.hidden = false;
      const from = stroke?.from ?? at;
      at = held(at + step);
      if (event.shiftKey) stroke = { from, to: at };
      else commit();
    } else if (event.key === " " || event.key === "Enter") {
      stroke ??= { from: at, to: at };
      commit();
    } else if (event.key === "Escape" && stroke) stroke = null;
    else return;
    show();
    event.preventDefault();
    event.stopPropagation();
  });
  figure.addEventListener("keyup", ({ key }) => { if (key === "Shift") commit(); });

  return {
    element,
    /** @param {string|null} name of the adapter, null while it cannot be brushed */
    update(name) {
      title = name ?? "";
      hint.hidden = !title;
      figure.setAttribute("aria-label", say("brush.label", { title }));
      show();
    },
  };
}
