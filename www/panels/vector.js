// A vector of one's own: two lists of texts, or personas in a template; it joins the adapters.
import { h } from "../dom.js";
import { parts, say } from "../say.js";
import { answersOf, linesOf, pairsFrom } from "../state/pairs.js";
import { term } from "./glossary.js";
import { choose, downloads, field, hindrance, workRow } from "./work.js";

/** @typedef {import("../engine/protocol.js").VectorOptions} VectorOptions */

/** @type {NonNullable<VectorOptions["method"]>[]} */
const METHODS = ["mean", "pca-diff", "pca-center", "probe"];
/** Where a persona and what it says go in a template. */
const HOLES = { persona: "{persona}", suffix: "{suffix}" };

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function vectorPanel(store, actions) {
  const name = h("input", { type: "text", id: "vector-name", autocomplete: "off", value: "my-vector" });
  const [byLists, byForm] = ["lists", "form"].map((value) =>
    h("input", { type: "radio", name: "vector-from", value, checked: value === "lists", onchange: () => update(store.state) }));
  const preset = h("select", { id: "vector-preset", onchange: fill });
  const [positive, negative] = [lines("vector-positive", say("dose.vector.positive"), say("dose.vector.positive.file")),
    lines("vector-negative", say("dose.vector.negative"), say("dose.vector.negative.file"))];
  const template = h("textarea", { id: "vector-template", rows: 2, value: say("dose.vector.template.usual", HOLES) });
  const [likes, unlikes] = [lines("vector-personas-positive", say("dose.vector.personas.positive")), lines("vector-personas-negative", say("dose.vector.personas.negative"))];
  const suffixes = lines("vector-suffixes", say("dose.vector.suffixes"), undefined, say("dose.vector.suffixes.hint"));
  const usual = (/** @type {string} */ list) => list.split("|");
  likes.show(usual(say("dose.vector.personas.positive.usual")));
  unlikes.show(usual(say("dose.vector.personas.negative.usual")));
  suffixes.show(usual(say("dose.vector.suffixes.usual")));
  const layers = h("input", { type: "text", id: "vector-layers", autocomplete: "off", placeholder: say("dose.vector.layers.usual") });
  const method = h("select", { id: "vector-method" }, ...METHODS.map((value) => h("option", { value }, say(`dose.vector.method.${value}`))));
  const at = h("select", { id: "vector-at" }, ...["mean", "last"].map((value) => h("option", { value }, say(`dose.vector.at.${value}`))));
  const nats = h("input", { type: "text", inputMode: "decimal", id: "vector-nats", value: "1", autocomplete: "off" });
  const wrong = h("p.error", { role: "alert", hidden: true });
  const go = h("button", { type: "button", id: "vector-go", onclick: make }, say("dose.vector.go"));
  const why = h("span.hint");
  const work = workRow(["vector"], actions);
  const came = h("ul.came");
  const lists = h("div.lists", {}, field(say("dose.vector.preset"), preset), h("div.two", {}, positive.element, negative.element));
  const form = h("div.form", {}, field(say("dose.vector.template"), template, h("small", {}, say("dose.vector.template.hint", HOLES))),
    h("div.two", {}, likes.element, unlikes.element), suffixes.element);
  let drawn = -1;

  function make() {
    const called = name.value.trim();
    wrong.hidden = Boolean(called);
    wrong.textContent = called ? "" : say("dose.vector.no-name");
    if (!called) return name.focus();
    const wish = {
      name: called, method: METHODS[method.selectedIndex], at: /** @type {"mean"|"last"} */ (at.value), nats: Number(nats.value.trim().replace(",", ".")),
      ...(layers.value.trim() ? { layers: layers.value.trim() } : {}),
    };
    actions.makeVector(byForm.checked
      ? { ...wish, template: template.value, personas: { positive: likes.value(), negative: unlikes.value() }, suffixes: suffixes.value() }
      : { ...wish, positive: positive.value(), negative: negative.value() });
  }

  function fill() {
    const { bench } = store.state;
    const [whose, behaviour] = preset.value.split(/:(.*)/);
    const answers = whose === "shipped" ? answersOf(bench.shippedText, behaviour) : whose === "own" ? answersOf(pairsFrom(bench.ownText), behaviour) : null;
    if (!answers) return;
    positive.show(answers.positive);
    negative.show(answers.negative);
  }

  /** @param {import("../state/store.js").State} state */
  function update(state) {
    const { shipped, own, made } = state.bench;
    lists.hidden = byForm.checked;
    form.hidden = !byForm.checked;
    choose(preset, [["", say("dose.vector.preset.none")],
      ...shipped.map((behaviour) => /** @type {[string, string]} */ ([`shipped:${behaviour}`, say("dose.vector.preset.shipped", { behaviour })])),
      ...own.map((behaviour) => /** @type {[string, string]} */ ([`own:${behaviour}`, say("dose.vector.preset.own", { behaviour })]))], preset.value);
    if (preset.selectedIndex < 0) preset.selectedIndex = 0;
    why.textContent = state.model.status === "ready" ? "" : hindrance(state);
    go.disabled = Boolean(why.textContent) || state.work !== null;
    work.update(state);
    if (made.length !== drawn) {
      drawn = made.length;
      came.replaceChildren(...made.map(item));
    }
  }
  store.watch(["bench", "work", "model", "adapters"], update);

  return {
    element: h("div.bench-body", {}, h("p.hint", {}, ...parts("dose.vector.hint", { stream: term("stream") })),
      h("fieldset", {}, h("legend.sr", {}, say("dose.vector.from")),
        h("div.segmented", {}, h("label", {}, byLists, say("dose.vector.lists")), h("label", {}, byForm, say("dose.vector.form")))),
      lists, form,
      h("div.grid", {}, field(say("dose.vector.name"), name), field(say("dose.vector.layers"), layers), field(say("dose.vector.method"), method),
        field(say("dose.vector.at"), at), field(say("dose.vector.nats"), nats)),
      wrong, h("div.row", {}, go, why), work.element, h("div", { role: "status" }, came)),
    open: () => actions.listBehaviours(),
  };
}

/** A list of texts, one a line, also from a file. @param {string} id @param {string} label @param {string} [fromFile] @param {string} [hint] */
function lines(id, label, fromFile, hint = say("dose.vector.lines")) {
  const text = h("textarea", { id, rows: 5, oninput: () => counted() });
  const count = h("small");
  const value = () => linesOf(text.value);
  const show = (/** @type {string[]} */ list) => {
    text.value = list.join("\n");
    counted();
  };
  function counted() {
    const n = value().length;
    count.textContent = n ? say("dose.vector.count", { n }) : hint;
  }
  counted();
  const file = fromFile ? h("input.sr", {
    type: "file", id: `${id}-file`, accept: ".txt,.md,.csv", "aria-label": fromFile,
    onchange: async () => {
      const given = file?.files?.[0];
      if (file) file.value = "";
      if (given) show(linesOf(await given.text()));
    },
  }) : null;
  return {
    value, show,
    element: h("div.lines", {}, field(label, text, count), file, file && h("label.button.small", { htmlFor: file.id }, say("dose.vector.file"))),
  };
}

/** What was made: what came of it, and its files. @param {import("../state/bench.js").Bench["made"][number]} made */
function item({ name, files, gguf, calibration, warnings }) {
  const { positive, target_nats: nats } = calibration;
  const file = name.replace(/[^\p{L}\p{N}._-]+/gu, "-");
  const says = positive.c === null ? say("dose.vector.made.weak", { name, why: positive.note ?? "" }) : say("dose.vector.made", { name, n: nats });
  return h("li", {}, h("span", {}, says), downloads(name, [
    .../** @type {[string, BlobPart, string][]} */ (files.config ? [["adapter_config.json", files.config, "application/json"]] : []),
    ["adapter_model.safetensors", /** @type {BlobPart} */ (files.weights), "application/octet-stream"],
    [`${file}.gguf`, /** @type {BlobPart} */ (gguf), "application/octet-stream"],
  ]),
  warnings.length > 0 && h("ul.warnings", { "aria-label": say("adapters.warnings") }, ...warnings.map((text) => h("li", {}, text))));
}
