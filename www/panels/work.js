// What is under way: how far it is, a button that stops it, and why it failed.
import { errorParts, h, textOf } from "../dom.js";
import { say } from "../say.js";

/** @typedef {import("../state/store.js").State} State @typedef {import("../state/measured.js").Kind} Kind */

/** How far it is, where that is counted in texts. @param {import("../state/measured.js").Work} work */
const texts = ({ done, total }) => (total ? say("dose.progress", { done, total }) : say("dose.progress.begins"));

/**
 * @param {Kind[]} kinds which of it belongs here
 * @param {import("../actions.js").Actions} actions
 * @param {{told?: (work: import("../state/measured.js").Work, state: State) => string, label?: string}} [words] how far it is, and what stops it
 */
export function workRow(kinds, actions, { told = texts, label = say("dose.stop") } = {}) {
  const title = h("span", { role: "status" });
  const figures = h("span.hint.figures");
  const bar = h("progress", { max: 1 });
  const stop = h("button", { type: "button", onclick: () => actions.stopWork() }, label);
  const row = h("div.work", { hidden: true }, h("div.work-head", {}, title, figures), bar, stop);
  const error = h("p.error", { role: "alert", hidden: true });
  return {
    element: h("div.work-place", {}, row, error),
    stop,
    update(/** @type {State} */ state, /** @type {Kind[]} */ complaints = kinds) {
      const { work, bench } = state;
      const mine = work && kinds.includes(work.kind) ? work : null;
      row.hidden = !mine;
      if (mine) {
        if (title.textContent !== mine.title) title.textContent = mine.title;
        figures.textContent = told(mine, state);
        bar.setAttribute("aria-label", mine.title);
        if (mine.total) bar.value = mine.done / mine.total;
        else bar.removeAttribute("value");
        stop.disabled = Boolean(mine.stopping);
      } else title.textContent = "";
      const wrong = complaints.map((kind) => bench.complaints[kind]).find(Boolean);
      error.hidden = !wrong;
      const said = wrong ? errorParts(wrong) : [];
      if (error.textContent !== textOf(said)) error.replaceChildren(...said);
    },
  };
}

/** Why nothing can be asked now, in words; "" where it can. @param {State} state */
export const hindrance = ({ model, adapters }) =>
  (model.status !== "ready" ? say("dose.load-first") : adapters.every(({ id }) => id === null) ? say("dose.no-adapter") : "");

/** Adapters that the engine has. @param {State} state */
export const loaded = ({ adapters }) => adapters.filter(({ id }) => id !== null);

/** Fills a choice if what can be chosen has changed. @param {HTMLSelectElement} select @param {[value: string, text: string][]} options @param {string} value */
export function choose(select, options, value) {
  const now = JSON.stringify(options);
  if (select.dataset.options !== now) {
    select.dataset.options = now;
    select.replaceChildren(...options.map(([key, text]) => h("option", { value: key }, text)));
  }
  select.value = value;
}

/** A label with its control. @param {string} text @param {HTMLElement} control @param {Node|null} [hint] */
export const field = (text, control, hint) => h("label.field", {}, h("span", {}, text), control, hint ?? null);

/** Gives somebody a file. @param {string} name @param {BlobPart} content @param {string} type */
export function download(name, content, type) {
  const address = URL.createObjectURL(new Blob([content], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** Buttons for the files of what was made. @param {string} name of it @param {[as: string, content: BlobPart, type: string][]} files */
export const downloads = (name, files) => h("div.row", {}, h("span.hint", {}, say("dose.vector.download")),
  ...files.map(([as, content, type]) => h("button.quiet", {
    type: "button", "aria-label": say("dose.vector.download.of", { file: as, name }), onclick: () => download(as, content, type),
  }, as)));
