// The words of the field, each explained one click from where it stands, and all of them together
// in "What is this?".
import { closest, h } from "../dom.js";
import { parts, say } from "../say.js";

/** A row of bars, in percent. @param {string} name @param {number[]} values */
const bars = (name, values) => h("div.bars", {}, h("span", {}, name), ...values.map((value) => {
  const bar = h("i");
  bar.style.setProperty("--p", String(value / 100));
  return bar;
}));

/** A picture or an example for each. @type {Record<string, () => HTMLElement|null>} */
const PICTURES = {
  token: () => h("p.chips", {}, ...say("word.token.example").split("|").map((piece) => h("span", {}, piece))),
  base: () => null,
  adapter: () => h("p.chips.sum", {}, h("span", {}, say("word.adapter.model")), "+", h("span.small", {}, say("word.adapter.file"))),
  c: () => h("div.ruler", {}, ...["−1", "0", "+1"].map((c, at) =>
    h("p", {}, h("b", {}, c), " ", say(/** @type {string} */ (["word.c.minus", "word.c.zero", "word.c.plus"][at]))))),
  kl: () => h("div.compare", {}, bars(say("word.kl.base"), [60, 25, 10, 5]), bars(say("word.kl.steered"), [15, 10, 55, 20])),
  nats: () => h("table", {}, h("tbody", {}, ...["coin", "ten", "hundred"].map((row) =>
    h("tr", {}, h("th", { scope: "row" }, say(`word.nats.${row}`)), h("td", {}, say(`word.nats.${row}.is`)))))),
  dose: () => null,
  d: () => null,
  nll: () => null,
  stream: () => h("p.chips.sum", {}, h("span", {}, say("word.stream.before")), "→", h("span", {}, say("word.stream.layer")), "→",
    h("span.arrow", {}, say("word.stream.arrow")), "→", h("span", {}, say("word.stream.after"))),
};

/** In this order they build on each other. @typedef {"token"|"base"|"adapter"|"c"|"kl"|"nats"|"dose"|"d"|"nll"|"stream"} Word @type {Word[]} */
const WORDS = ["token", "base", "adapter", "c", "kl", "nats", "dose", "d", "nll", "stream"];

/** What explains a word: its name, two sentences, a picture or an example. @param {Word} word @param {string} heading @param {string} [id] @returns {Node[]} */
function entry(word, heading, id) {
  const example = `word.${word}.instance`;
  return [
    h(heading, id ? { id } : {}, say(`word.${word}`)), h("p", {}, say(`word.${word}.is`)),
    PICTURES[word]() ?? h("p.example", {}, say(example)),
  ];
}

/** A word that says what it means when it is pressed. @param {Word} word @param {string} [text] as it stands in its sentence */
export const term = (word, text = say(`word.${word}`)) =>
  h("button.term", { type: "button", dataset: { term: word } }, text);

/** A text of the engine's, with the words in it that are explained. @param {string} text @returns {(string|Node)[]} */
export function explained(text) {
  const found = WORDS.map((word) => ({ word, form: say(`word.${word}.form`) }))
    .map(({ word, form }) => ({ word, form, at: text.search(new RegExp(`\\b${form}\\b`)) }))
    .filter(({ at }) => at >= 0).sort((a, b) => a.at - b.at);
  const [first] = found;
  if (!first) return [text];
  const end = first.at + first.form.length;
  return [text.slice(0, first.at), term(first.word, first.form), ...explained(text.slice(end))];
}

/**
 * @param {HTMLElement} popover
 * @param {HTMLDialogElement} about
 * @param {HTMLElement} opener of `about`
 */
export function glossary(popover, about, opener) {
  /** @type {HTMLElement|null} */
  let from = null;
  document.addEventListener("click", (event) => {
    const button = closest(event, ".term");
    if (!button) return;
    // A term may stand in a label or a summary, whose own work this click is not.
    event.preventDefault();
    const word = /** @type {Word} */ (button.dataset.term);
    if (!(word in PICTURES)) return;
    from = button;
    popover.replaceChildren(...entry(word, "h2", "word-title"),
      h("p.row", {}, h("button.quiet", { type: "button", onclick: () => { popover.hidePopover(); about.showModal(); } }, say("word.all")),
        h("button.quiet", { type: "button", onclick: () => popover.hidePopover() }, say("page.close"))));
    // A dialog lies above everything that is not in it.
    (button.closest("dialog") ?? document.body).append(popover);
    popover.showPopover();
    put(popover, button);
    popover.focus({ preventScroll: true });
  });
  // Past its last button, and before its first, the page goes on where the word stands.
  popover.addEventListener("keydown", (event) => {
    const inside = [...popover.querySelectorAll("button")];
    const leaves = event.shiftKey ? [popover, inside[0]] : inside.slice(-1);
    if (event.key !== "Tab" || !leaves.some((element) => element === document.activeElement)) return;
    popover.hidePopover();
    from?.focus();
    if (event.shiftKey) event.preventDefault();
  });
  popover.addEventListener("toggle", (/** @type {ToggleEvent} */ { newState }) => {
    if (newState === "closed" && popover.contains(document.activeElement)) from?.focus();
  });

  about.append(
    // Whoever opens it starts reading at its head.
    h("div.dialog-head", {}, h("h2", { id: "about-title", tabIndex: -1, autofocus: true }, say("about.title")),
      h("form", { method: "dialog" }, h("button", {}, say("page.close")))),
    h("p", {}, ...parts("about.writes", { token: term("token", say("about.token")) })),
    h("p", {}, ...parts("about.turned", { adapter: term("adapter", say("about.adapter")), c: term("c") })),
    h("p", {}, say("about.try")),
    h("div.words", {}, ...WORDS.map((word) => h("section", {}, ...entry(word, "h3")))));
  opener.addEventListener("click", () => about.showModal());
}

/** Below what it explains, or above, and inside the window. @param {HTMLElement} popover @param {HTMLElement} button */
function put(popover, button) {
  const at = button.getBoundingClientRect();
  const { width, height } = popover.getBoundingClientRect();
  const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
  const below = at.bottom + 6;
  const top = below + height > innerHeight - 8 ? Math.max(8, at.top - height - 6) : below;
  popover.style.left = `${left}px`;
  popover.style.top = `${top}px`;
}
