// The method card of the adapter used last: its formula, plain and with the numbers of one place; what stays as it is,
// and whether that holds there; what becomes of the weight; what the method believes, reaches and is compared with.
import { errorParts, h, shareText, signed } from "../dom.js";
import { formulaLines } from "../plots/mathml.js";
import { symbolsOf } from "../plots/formula.js";
import { numbers, say } from "../say.js";
import { current } from "../state/acting.js";
import { placeName, placeOf } from "../state/picture.js";
import { isWriting } from "../state/store.js";
import { explained } from "./glossary.js";
import { weightPlots } from "./weight.js";
import { choose, field } from "./work.js";

/**
 * @typedef {import("../state/store.js").State} State
 * @typedef {import("../state/store.js").Adapter} Adapter
 * @typedef {import("../engine/protocol.js").MethodCard} MethodCard
 * @typedef {import("../state/picture.js").WeightPicture} WeightPicture
 */

const ratio = numbers({ minimumFractionDigits: 4, maximumFractionDigits: 4 });
const digits = numbers({ maximumSignificantDigits: 3 });
const tiny = numbers({ notation: "scientific", maximumSignificantDigits: 2 });
/** Below a ten-thousandth a share is rounding, and how small it is matters. @param {number} share */
const shareOf = (share) => (share !== 0 && share < 1e-4 ? tiny(share).replace("E", "e").replace("-", "−") : shareText(share));

const REFERENCE = new URL("../reference.json", import.meta.url);

/** The method of an adapter: what the engine says once it has it or its files, before that what its card says. @param {State} state @param {Adapter|undefined} adapter @returns {MethodCard|undefined} */
export const methodOf = ({ engine }, adapter) => adapter && engine.methods.find(({ name, title }) =>
  (adapter.entry ?? adapter.inspection?.method ? name === (adapter.entry?.method ?? adapter.inspection?.method?.name) : [title, name].includes(adapter.card?.method ?? "")));

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function methodPanel(store, actions) {
  const title = h("h4.method-title");
  const summary = h("p.hint");
  const module = h("select", { id: "method-module", onchange: () => actions.setPicture({ module: module.value }) });
  const block = h("select", { id: "method-block", onchange: () => actions.setPicture({ layer: Number(block.value) }) });
  const busy = h("span.hint", { role: "status" });
  const where = h("div.row", {}, field(say("method.place"), module), field(say("method.block"), block), busy);
  const plain = h("div.formula", { tabIndex: 0, role: "group", "aria-label": say("method.formula") });
  const liveTitle = h("h5");
  const live = h("div.formula.live", { tabIndex: 0, role: "group" });
  const size = h("p.figures");
  const rows = h("tbody");
  const tensors = h("details.table", {}, h("summary", {}, say("method.tensors")), h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("method.tensors") },
    h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("method.tensors.name")), h("th", { scope: "col" }, say("method.tensors.shape")))), rows)));
  const law = h("p");
  const stays = h("div.formula");
  const checks = h("ul.checks");
  const invariant = h("section.invariant", {}, h("h4", {}, say("method.invariant")), stays, checks);
  const plots = weightPlots(actions);
  const error = h("p.error", { role: "alert", hidden: true });
  const about = h("div.about-method");
  const none = h("p.hint", { role: "status" });
  const card = h("div.method-room", { hidden: true },
    h("div.method-head", {}, title, summary), where,
    h("div.method-formulas", {}, h("section", {}, h("h5", {}, say("method.formula")), plain), h("section", {}, liveTitle, live, size, tensors)),
    law, error, invariant, plots.element, about);
  let [filled, drawn, called] = ["", "", 0];
  /** @type {WeightPicture|null} */
  let shown = null;

  store.watch(["adapters", "active", "engine", "model", "picture", "run", "recording"], (state) => {
    if (!state.picture.open) return;
    if (state.picture.called > called) unfold(state.picture.called);
    const adapter = current(state);
    const method = methodOf(state, adapter);
    none.textContent = !adapter ? say("method.none") : method ? "" : say(state.engine.methods.length ? "method.unreadable" : "method.unknown");
    card.hidden = !adapter || !method;
    if (!adapter || !method) return;
    title.textContent = say("method.for", { title: adapter.title, method: method.title });
    fill(method, adapter, state);
    places(adapter, state);
    const { picture } = state;
    const fresh = picture.found?.key === adapter.key && adapter.id !== null ? picture.found.picture : null;
    const waits = isWriting(state.run) && state.run.status !== "playing" && fresh?.c !== adapter.coefficient;
    busy.textContent = adapter.id === null ? "" : picture.asking ? say("method.picture.asking") : waits ? say("method.picture.waits") : "";
    error.hidden = !picture.error;
    if (picture.error) error.replaceChildren(...errorParts(picture.error));
    const now = JSON.stringify([adapter.key, method.name, adapter.title, fresh && [fresh.module, fresh.layer, fresh.c, fresh.law, fresh.isMasked], picture.values, state.model.info?.parameters]);
    if (now === drawn && (!fresh || shown === fresh)) return;
    drawn = now;
    shown = fresh;
    draw(method, adapter, fresh, state);
  });

  /** A card elsewhere asked for it. @param {number} now */
  function unfold(now) {
    called = now;
    const fold = card.closest("details");
    if (!fold) return;
    fold.open = true;
    fold.querySelector("summary")?.focus({ preventScroll: true });
    fold.scrollIntoView({ block: "start" });
  }

  /** What does not change with c. @param {MethodCard} method @param {Adapter} adapter @param {State} state */
  function fill(method, adapter, { picture }) {
    const { law: acts, lawWords: words } = adapter.entry ?? method;
    const now = JSON.stringify([method.name, Boolean(picture.reference), acts, words]);
    if (now === filled) return;
    filled = now;
    law.replaceChildren(h("strong", {}, say("method.law")), " ", say("method.law.is", { law: acts, words }));
    summary.replaceChildren(...explained(method.summary));
    plain.replaceChildren(...formulaLines(method.formula));
    stays.replaceChildren(...(method.invariant ? formulaLines(method.invariant) : []));
    const told = picture.reference?.[method.name];
    const part = (/** @type {string} */ name, /** @type {(Node|string)[]} */ ...text) => h("section", {}, h("h4", {}, name), h("p", {}, ...text));
    about.replaceChildren(
      part(say("method.hypothesis"), ...explained(method.hypothesis)), part(say("method.intuition"), ...explained(method.intuition)),
      part(say("method.reach"), ...explained(method.limits)), part(say("method.coefficient"), method.coefficient),
      ...(told ? [part(say("method.reference"), told.layer > 0
        ? say("method.reference.layer", { n: told.cases, layer: tenths(told.layer) }) : say("method.reference.logits", { n: told.cases, logits: tenths(told.logits) }))] : []),
      ...(method.trainsNot ? [part(say("method.training"), say("adapters.trains-not", { why: method.trainsNot }))] : []),
      h("section", {}, h("h4", {}, say("adapters.in-file")), h("pre.shapes", { tabIndex: 0, role: "region", "aria-label": say("adapters.shapes") }, method.shapes)),
      h("section", {}, h("h4", {}, say("method.sources")),
        h("p", {}, h("a", { href: method.paper, rel: "noreferrer", target: "_blank" }, say("adapters.paper"))),
        h("p", {}, say("method.source", { path: `src/methods/${method.name}.rs` }))));
  }

  /** @param {Adapter} adapter @param {State} state */
  function places(adapter, { picture }) {
    const place = adapter.entry && adapter.id !== null ? placeOf(adapter.entry, picture) : null;
    where.hidden = !place;
    if (!adapter.entry || !place) return;
    choose(module, adapter.entry.places.map(([name]) => [name, name]), place.module);
    const blocks = adapter.entry.places.find(([name]) => name === place.module)?.[1] ?? [];
    choose(block, blocks.length ? blocks.map((one) => [String(one), String(one)]) : [["", say("method.no-block")]], String(place.layer ?? ""));
    block.disabled = blocks.length < 2;
  }

  /** What c and the place change. @param {MethodCard} method @param {Adapter} adapter @param {WeightPicture|null} found @param {State} state */
  function draw(method, adapter, found, state) {
    liveTitle.textContent = found ? say("method.formula.live", { c: signed(found.c) }) : say("method.formula.live-none");
    for (const part of [live, size, tensors, checks]) part.hidden = !found;
    invariant.hidden = !found && !method.invariant;
    plots.update(adapter, found, state.picture);
    if (!found) return;
    live.setAttribute("aria-label", liveTitle.textContent);
    live.replaceChildren(...formulaLines(method.formula, { c: value(found.c), below: shapes(method, found) }));
    size.textContent = sizeWords(adapter, found, state);
    const all = [...found.tensors.map((tensor) => ({ ...tensor, of: "" })), ...found.shared.map((tensor) => ({ ...tensor, of: say("method.tensors.shared") }))];
    tensors.hidden = !all.length;
    rows.replaceChildren(...all.map(({ name, shape, of }) => h("tr", {},
      h("th", { scope: "row" }, h("code", {}, name)), h("td", {}, shape.map(String).join(" × "), of && ` (${of})`))));
    checks.replaceChildren(...promises(found).map((text) => h("li", {}, text)));
  }

  return {
    element: h("div.bench-body", {}, h("p.hint", {}, say("method.hint")), none, card),
    open: () => {
      actions.setPicture({ open: true });
      actions.loadReference(async () => (await fetch(REFERENCE)).json());
    },
    close: () => actions.setPicture({ open: false }),
  };
}

const tenths = (/** @type {number} */ share) => tiny(share).replace("E", "e").replace("-", "−");

/** c as it stands in a formula. @param {number} c */
const value = (c) => (c < 0 ? `(−${digits(-c)})` : digits(c));

/** Below each symbol the shape of its tensor here; below W that of the layer. @param {MethodCard} method @param {WeightPicture} found */
function shapes(method, { tensors, shared, what }) {
  /** @type {Record<string, string>} */
  const below = {};
  for (const [end, symbol] of symbolsOf(method.shapes)) {
    const tensor = [...tensors, ...shared].find(({ name }) => name === end || name.endsWith(`.${end}`) || name.endsWith(`.${end}.weight`));
    if (tensor) below[symbol] ??= tensor.shape.join("×");
  }
  if ("shape" in what) below.W = what.shape.join("×");
  return below;
}

/** "q_proj of block 12: 576 × 576 · 9,216 numbers here · 552,960 in the file · 0.41 % of the model" @param {Adapter} adapter @param {WeightPicture} found @param {State} state */
function sizeWords({ entry }, { module, layer, tensors, what }, { model }) {
  const name = placeName(module, layer, "shape" in what ? what.shape : null);
  const here = tensors.reduce((sum, { shape }) => sum + shape.reduce((product, length) => product * length, 1), 0);
  const all = entry?.parameters ?? 0;
  return [name, here > 0 && say("method.size.here", { n: here }), say("method.size.all", { n: all }),
    model.info && say("method.size.share", { share: shareOf(all / model.info.parameters) })].filter(Boolean).join(" · ");
}

/** What was promised, and what was found. @param {WeightPicture} found @returns {string[]} */
function promises({ law, c, what }) {
  if (c === 0) return [say("method.check.none")];
  const promise = { linear: "linear", gate: "gate", geodesic: "undone", power: "undone", "log-polar": "undone", spectral: "spectral", "attention-mix": "attention-mix" }[law];
  const list = [`${say("method.check.law")} ${say(`method.promise.${promise}`)}.`];
  if (what.kind !== "weight") return list;
  const { inputLengths, outputLengths, undone, proportional } = what.checks;
  const lengths = (/** @type {"inputs"|"outputs"} */ side, /** @type {[number, number]|null} */ found) => {
    if (!found) return;
    const [least, most] = found.map(ratio);
    list.push(least === most ? say(`method.check.same-${side}`, { least }) : say(`method.check.${side}`, { least, most }));
  };
  list.push(say("method.check", { c: signed(c) }));
  lengths("inputs", inputLengths);
  lengths("outputs", outputLengths);
  if (undone !== null) list.push(say("method.check.undone", { share: shareOf(undone) }));
  // At 1 it says nothing.
  if (proportional !== null && c !== 1) list.push(say("method.check.proportional", { share: shareOf(proportional) }));
  list.push(say("method.check.values", { share: shareOf(what.moved) }));
  if (what.constant > 0) list.push(say("method.check.constant", { length: digits(what.constant) }));
  return list;
}
