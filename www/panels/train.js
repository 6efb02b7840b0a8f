// Training an adapter: what is asked, how it goes, and what came of it.
import { h, memoryWords } from "../dom.js";
import { parts, say } from "../say.js";
import { middle, progress, trainable } from "../state/training.js";
import { term } from "./glossary.js";
import { ownPairs } from "./pairs.js";
import { courseView } from "./course.js";
import { choose, downloads, field, workRow } from "./work.js";

/** @typedef {import("../state/store.js").State} State */

/** A whole number from `least`, NaN where it is none. @param {string} text @param {number} least */
const whole = (text, least) => (/^\d+$/.test(text.trim()) && Number(text) >= least ? Number(text) : NaN);

/** A number from 0, NaN where it is none. @param {string} text */
const weight = (text) => (/^\d*[.,]?\d+$/.test(text.trim()) ? Number(text.trim().replace(",", ".")) : NaN);

/** @typedef {"batch"|"checkEvery"|"beta"|"nll"|"kl"|"seed"} Finer */

/** What is folded away: key, value at the beginning, how it is read. @type {[Finer, string, (text: string) => number][]} */
const MORE = [
  ["batch", "2", (text) => whole(text, 1)], ["checkEvery", "12", (text) => whole(text, 0)], ["beta", "3", weight],
  ["nll", "0.5", weight], ["kl", "0.5", weight], ["seed", "0", (text) => whole(text, 0)],
];

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function trainPanel(store, actions) {
  const box = (/** @type {string} */ id, props = {}) => h("input", { type: "text", id: `train-${id}`, autocomplete: "off", spellcheck: false, ...props });
  const number = (/** @type {string} */ id, /** @type {string} */ value) => box(id, { inputMode: "numeric", value });
  const pairs = h("select", { id: "train-pairs", onchange: () => update(store.state) });
  const own = ownPairs("train-own", actions);
  const method = h("select", { id: "train-method", onchange: () => update(store.state) });
  const name = box("name", { value: say("train.name.usual") });
  const layers = box("layers", { oninput: () => { touched = true; } });
  const modules = box("modules", { placeholder: say("train.modules.usual") });
  const [rank, steps] = [number("rank", "4"), number("steps", "48")];
  const finer = MORE.map(([key, value, read]) => ({ key, read, input: box(key, { inputMode: "decimal", value }) }));
  const more = h("details", { id: "train-more" }, h("summary", {}, say("train.more")),
    h("div.grid", {}, ...finer.map(({ key, input }) => field(say(`train.${key}`), input, h("small", {}, say(`train.${key}.hint`))))));
  const rate = box("rate", { inputMode: "decimal", placeholder: say("train.rate.usual") });
  const wrong = h("p.error", { role: "alert", hidden: true });
  const go = h("button", { type: "button", id: "train-go", onclick: begin }, say("train.go"));
  const why = h("span.hint");
  const work = workRow(["train"], actions, {
    label: say("train.stop"),
    told: ({ stopping }, { training: { course } }) => (stopping ? say("train.stopping") : course?.end === "under-way" ? progress(course) : say("train.begins")),
  });
  const memory = h("p.hint", { hidden: true });
  const unkept = h("p.notice", { role: "status", hidden: true });
  const elsewhere = h("p.notice", { role: "status", hidden: true }, say("train.elsewhere"));
  const offered = h("span");
  const goOn = h("button", { type: "button", id: "train-go-on", onclick: () => { actions.goOn(); work.stop.focus(); } });
  const throwAway = h("button.quiet", { type: "button", onclick: () => { actions.throwAway(); go.focus(); } }, say("train.throw-away"));
  const offer = h("div.notice.offer", { hidden: true, role: "status" }, offered, h("div.row", {}, goOn, throwAway));
  const view = courseView();
  const came = h("ul.came");
  /** Whether blocks were typed. */
  let touched = false;
  let drawn = -1;
  let listed = "";

  function begin() {
    const [whose, behaviour] = pairs.value.split(/:(.*)/);
    const folded = /** @type {Record<Finer, number>} */ (Object.fromEntries(finer.map(({ key, read, input }) => [key, read(input.value)])));
    if (Object.values(folded).some(Number.isNaN)) more.open = true;
    const numbers = { rank: whole(rank.value, 1), steps: whole(steps.value, 1), ...folded };
    const typed = rate.value.trim().replace(",", ".");
    const bad = Object.values(numbers).some(Number.isNaN) || (typed !== "" && !(Number(typed) > 0));
    const called = name.value.trim();
    wrong.textContent = !called ? say("train.no-name") : bad ? say("train.not-number") : "";
    wrong.hidden = !wrong.textContent;
    if (!called) return name.focus();
    if (bad) return;
    actions.train({
      name: called, method: method.value, own: whose === "own", behaviour, ...numbers,
      ...(layers.value.trim() ? { layers: layers.value.trim() } : {}), ...(modules.value.trim() ? { modules: modules.value.trim() } : {}),
      ...(typed ? { rate: Number(typed) } : {}),
    });
  }

  /** @param {State} state */
  function update(state) {
    const { bench, engine, model, training } = state;
    const options = [
      ...bench.shipped.map((behaviour) => /** @type {[string, string]} */ ([`shipped:${behaviour}`, say("dose.vector.preset.shipped", { behaviour })])),
      ...bench.own.map((behaviour) => /** @type {[string, string]} */ ([`own:${behaviour}`, say("dose.vector.preset.own", { behaviour })]))];
    choose(pairs, options, pairs.value);
    if (pairs.selectedIndex < 0) pairs.selectedIndex = 0;
    own.show(bench.ownText);
    listMethods(engine.methods);
    const family = engine.methods.find((one) => one.name === method.value)?.family;
    // What is given to attention acts in all blocks.
    if (!touched) layers.value = family === "prompt" ? "" : middle(model.info?.layers ?? 0);
    why.textContent = model.status !== "ready" ? say("train.load-first") : options.length ? "" : say("train.no-pairs");
    go.disabled = Boolean(why.textContent) || state.work !== null || !method.value;
    work.update(state, ["train", "pairs"]);

    const { course, kept } = training;
    const under = state.work?.kind === "train";
    memory.hidden = !under || !state.memory;
    if (state.memory) memory.textContent = memoryWords(state.memory);
    elsewhere.hidden = !training.elsewhere;
    unkept.hidden = !training.unkept || !kept;
    unkept.textContent = training.unkept ? say("train.unkept", { why: training.unkept }) : "";
    offer.hidden = !kept || under;
    if (kept && !under) show(kept, state);
    view.update(course, engine.methods);
    if (training.made.length !== drawn) {
      drawn = training.made.length;
      came.replaceChildren(...training.made.map((one) => item(one, engine.methods)));
    }
  }

  /** @param {import("../state/training.js").Kept} kept @param {State} state */
  function show(kept, { model, work: busy }) {
    const at = { name: kept.name, n: kept.steps.length, total: kept.wish.steps };
    const other = model.status === "ready" && model.info?.name !== kept.model;
    const says = [say("train.kept", at), other && say("train.kept.other", { model: kept.model })].filter(Boolean).join(" ");
    if (offered.textContent !== says) offered.textContent = says;
    goOn.textContent = say("train.go-on", at);
    goOn.disabled = model.status !== "ready" || other || busy !== null;
    throwAway.setAttribute("aria-label", say("train.throw-away.of", { name: kept.name }));
  }

  /** @param {import("../engine/protocol.js").MethodCard[]} methods */
  function listMethods(methods) {
    const families = trainable(methods);
    const now = JSON.stringify(families.map(([, list]) => list.map((one) => one.name)));
    if (now === listed) return;
    listed = now;
    const before = method.value;
    method.replaceChildren(...families.map(([family, list]) => h("optgroup", { label: say(`train.family.${family}`) },
      ...list.map((one) => h("option", { value: one.name }, one.title)))));
    if (before) method.value = before;
    if (method.selectedIndex < 0) method.selectedIndex = 0;
  }

  store.watch(["bench", "work", "model", "engine", "training"], update);

  return {
    element: h("div.bench-body", {},
      h("p.hint", {}, say("train.hint"), " ", ...parts("train.words", { d: term("d"), nll: term("nll") })),
      offer, elsewhere,
      h("div.lists", {}, field(say("train.pairs"), pairs),
        h("details", {}, h("summary", {}, say("train.own")), own.element, h("p.hint", {}, say("train.own.hint")))),
      h("div.grid", {}, field(say("train.method"), method), field(say("train.name"), name),
        field(say("train.layers"), layers, h("small", {}, say("train.layers.hint"))), field(say("train.modules"), modules, h("small", {}, say("train.modules.hint"))),
        field(say("train.rank"), rank, h("small", {}, say("train.rank.hint"))), field(say("train.steps"), steps), field(say("train.rate"), rate)),
      more, wrong, h("div.row", {}, go, why), work.element, memory, unkept, view.element, h("div", { role: "status" }, came)),
    open: () => actions.listBehaviours(),
  };
}

/** What came of a training, and its files. @param {import("../state/training.js").Training["made"][number]} made @param {import("../engine/protocol.js").MethodCard[]} methods */
function item({ name, config, weights, record, steps }, methods) {
  const method = methods.find((one) => one.name === record.method)?.title ?? record.method;
  return h("li", {}, h("span", {}, record.steps < steps ? say("train.made.best", { name, best: record.steps, total: steps })
    : say("train.made", { name, n: steps, method, behaviour: record.behaviour })),
  downloads(name, [
    ["adapter_config.json", config, "application/json"],
    ["adapter_model.safetensors", /** @type {BlobPart} */ (weights), "application/octet-stream"],
    ["training.json", `${JSON.stringify(record, null, 2)}\n`, "application/json"],
  ]));
}
