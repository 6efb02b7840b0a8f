// What is measured on: the page's pairs, the user's own, or one prompt.
import { h, shownIn } from "../dom.js";
import { parts, say } from "../say.js";
import { behaviourOf } from "../state/bench.js";
import { choose, field } from "./work.js";

/** @typedef {import("../state/bench.js").Source} Source @type {Source[]} */
const SOURCES = ["shipped", "own", "one"];

/** The user's own pairs: typed, pasted or from a file. @param {string} id @param {import("../actions.js").Actions} actions */
export function ownPairs(id, actions) {
  const guide = h("a", { href: "guide/measuring.html#your-own-pairs" }, say("dose.own.guide"));
  const text = h("textarea", { id, rows: 5, spellcheck: false, autocomplete: "off", onchange: () => actions.setOwnPairs(text.value) });
  const file = h("input.sr", {
    type: "file", id: `${id}-file`, accept: ".json,.tsv,.txt",
    onchange: async () => {
      const given = file.files?.[0];
      file.value = "";
      if (given) actions.setOwnPairs(await given.text());
    },
  });
  return {
    element: h("div.own", {}, field(say("dose.own"), text), h("p.hint", {}, ...parts("dose.own.hint", { guide })),
      h("div.row", {}, file, h("label.button", { htmlFor: file.id }, say("dose.own.file")))),
    show: shownIn(text),
  };
}

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function pairsChooser(store, actions) {
  const radios = SOURCES.map((source) => h("input", {
    type: "radio", name: "dose-pairs", value: source, onchange: () => actions.setBench({ source }),
  }));
  const behaviour = h("select", {
    id: "dose-behaviour",
    onchange: () => {
      const { bench } = store.state;
      actions.setBench({ behaviour: { ...bench.behaviour, [bench.source === "own" ? "own" : "shipped"]: behaviour.value } });
    },
  });
  const given = ownPairs("dose-own", actions);
  const one = (/** @type {"prompt"|"positive"|"negative"} */ what, /** @type {string} */ label) => {
    const input = h("textarea", { rows: 2, id: `dose-one-${what}`, onchange: () => actions.setBench({ one: { ...store.state.bench.one, [what]: input.value } }) });
    return { input, element: field(label, input), show: shownIn(input), what };
  };
  const ones = [one("prompt", say("dose.one.prompt")), one("positive", say("dose.one.positive")), one("negative", say("dose.one.negative"))];
  const behaviourField = field(say("dose.behaviour"), behaviour);
  const own = given.element;
  const single = h("div.single", {}, ...ones.map(({ element }) => element));
  return {
    element: h("fieldset.pairs-choice", {}, h("legend", {}, say("dose.pairs")),
      h("div.segmented", {}, ...radios.map((radio, at) => h("label", {}, radio, say(`dose.pairs.${SOURCES[at]}`)))), own, behaviourField, single),
    /** Whether there is something to measure on. @param {import("../state/store.js").State} state @param {string} [name] of the adapter */
    ready: ({ bench }, name) => (bench.source === "one" ? Object.values(bench.one).every((part) => part.trim()) : behaviourOf(bench, name) !== ""),
    /** @param {import("../state/store.js").State} state @param {string} [name] of the adapter */
    update({ bench }, name) {
      for (const radio of radios) radio.checked = radio.value === bench.source;
      own.hidden = bench.source !== "own";
      single.hidden = bench.source !== "one";
      const names = bench.source === "own" ? bench.own : bench.shipped;
      behaviourField.hidden = bench.source === "one" || !names.length;
      choose(behaviour, names.map((key) => [key, key]), behaviourOf(bench, name));
      given.show(bench.ownText);
      for (const { show, what } of ones) show(bench.one[what]);
    },
  };
}
