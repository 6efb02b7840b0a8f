// Where the keys lead: the panels by their numbers, and the base's text in the place of the steered one.

/** The panels of the keys 1, 2, … by their ids. One that is not there, or has nothing to show, is passed over. */
const PANELS = ["curve", "token", "layers", "method", "runs", "train"];

export const PANEL_KEYS = PANELS.map((_, at) => String(at + 1));

/** Opens the panel of a number and puts the focus on its name. @param {string} key */
export function visit(key) {
  const panel = document.getElementById(PANELS[Number(key) - 1]);
  if (!panel || panel.closest("[hidden]")) return;
  for (let fold = panel.closest("details"); fold; fold = fold.parentElement?.closest("details") ?? null) fold.open = true;
  /** @type {HTMLElement} */
  const name = panel.querySelector("summary, h2, h3") ?? panel;
  if (name.tabIndex < 0) name.tabIndex = -1;
  panel.scrollIntoView({ block: "nearest" });
  name.focus();
}

/** Closes the dialog in which something was chosen, where it stands in one: the focus goes back to what opened it. @param {Element} element */
export const leave = (element) => element.closest("dialog")?.close();

/** As long as a key is held the base's text is where the steered one is. @param {HTMLElement} columns */
export function holding(columns) {
  const end = () => { delete columns.dataset.hold; };
  // A key that is let go elsewhere is told to nobody here.
  addEventListener("blur", end);
  return { begin: () => { columns.dataset.hold = ""; }, end };
}
