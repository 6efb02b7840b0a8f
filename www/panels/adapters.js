// The adapters: one card each, with a switch, a slider from −2 to 2 and a box for any number, and
// for some a choice of the task or of the weights of what they mix.
import { box as shownIn, h, megabytes, signed, told } from "../dom.js";
import { adaptersIn, chosen, dropped } from "../files.js";
import { pickled, sortedOut } from "../offers.js";
import { listed, parts, say } from "../say.js";
import { DEFAULT_MODEL } from "../state/models.js";
import { wished } from "../state/url.js";
import { coefficient, rangeOf } from "./coefficient.js";
import { explained } from "./glossary.js";

/** How the engine refuses an adapter that was made for another model. */
const MISFITS = ["no-such-module", "wrong-shape"];

/**
 * @param {{list: HTMLElement, add: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {Page} page
 */
export function adaptersPanel({ list, add }, store, actions, page) {
  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  /** @type {Map<string, {element: HTMLElement, update: (adapter: any, state: any) => void}>} */
  const cards = new Map();
  const shelf = h("div.shelf");
  list.after(shelf);
  let shelved = "";
  store.watch(["adapters", "engine", "active", "shelf", "gone", "recording"], (state) => {
    const hadFocus = zone.contains(document.activeElement);
    for (const [key, card] of cards) {
      if (state.adapters.some((adapter) => adapter.key === key)) continue;
      card.element.remove();
      cards.delete(key);
    }
    for (const adapter of state.adapters) {
      let card = cards.get(adapter.key);
      if (!card) {
        card = adapter.wanted ? wantedCard(adapter, actions) : adapterCard(adapter, actions, page);
        cards.set(adapter.key, card);
      }
      card.update(adapter, state);
    }
    // In the order in which they act.
    for (const [at, { key }] of state.adapters.entries()) {
      const element = cards.get(key)?.element;
      if (element && list.children[at] !== element) list.insertBefore(element, list.children[at] ?? null);
    }
    list.dataset.empty = String(state.adapters.length === 0);
    const key = JSON.stringify([state.shelf, state.gone, list.dataset.empty]);
    if (key !== shelved) {
      shelved = key;
      shelf.replaceChildren(...shelfNote(state, page));
    }
    // What had it was removed.
    if (hadFocus && !zone.contains(document.activeElement)) list.focus();
  });
  addPanel(add, list, store, actions, page);
}

/**
 * @typedef {object} Page
 * @property {import("../state/url.js").Asked[]|null} asked what the link asks of adapters by their names
 * @property {() => void} fetchShipped fetches those that come with the page
 * @property {() => void} bringBack lists those of them that were removed
 */

/** What is to be said of the list as a whole. @param {import("../state/store.js").State} state @param {Page} page @returns {Node[]} */
function shelfNote({ shelf, gone, adapters }, { fetchShipped, bringBack }) {
  if (shelf.status === "failed") {
    return [
      h("p.error", { role: "alert" }, ...parts("adapters.shelf-failed", { why: shelf.error.message, code: h("code", {}, shelf.error.code) })),
      h("div.row", {}, h("button", { type: "button", onclick: fetchShipped }, say("adapters.try-again")), h("span.hint", {}, say("adapters.meanwhile"))),
    ];
  }
  if (shelf.status !== "here") return [];
  const back = gone.length > 0 && h("button.quiet", { type: "button", onclick: bringBack }, say("adapters.bring-back"));
  return [!adapters.length && h("p.hint", {}, say("adapters.empty")), back].filter((part) => part instanceof Node);
}

/** A place for an adapter that a link asks for. @param {any} first @param {import("../actions.js").Actions} actions */
function wantedCard(first, actions) {
  const { key, name, coefficient, enabled } = first;
  const element = h("article.adapter", { dataset: { adapter: name, wanted: key, sign: "zero" } },
    h("header", {}, h("span.name", {}, name), h("span.tag", {}, say("adapters.not-here"))),
    h("p.sentence", {}, say(enabled ? "adapters.wanted" : "adapters.wanted-off", { c: signed(coefficient) })),
    h("p", {}, h("button.quiet", { type: "button", "aria-label": say("adapters.do-without-named", { name }), onclick: () => actions.removeAdapter(key) }, say("adapters.do-without"))));
  return { element, update() {} };
}

/** @param {any} first @param {import("../actions.js").Actions} actions @param {Page} page */
function adapterCard(first, actions, page) {
  const { key } = first;
  const id = key.replace(/\W/g, "-");
  const turned = coefficient(id, () => key, actions);
  const on = h("input", { type: "checkbox", role: "switch", onchange: () => actions.setEnabled(key, on.checked) });
  const title = h("span.name");
  const tag = h("span.tag");
  const sentence = h("p.sentence");
  const law = h("p.law");
  const lawChoice = h("select", { id: `${id}-law`, onchange: () => actions.setLaw(key, lawChoice.value) });
  const lawRow = h("p.law-row", { hidden: true }, h("label", { htmlFor: lawChoice.id }, say("adapters.law"), " "), lawChoice);
  const where = (/** @type {"layers"|"modules"} */ what) => {
    const input = h("input", {
      type: "text", id: `${id}-${what}`, placeholder: say("adapters.all"), autocomplete: "off", spellcheck: false,
      onchange: () => actions.setMask(key, { [what]: input.value.trim() }),
    });
    return { input, show: shownIn(input) };
  };
  const [layers, modules] = [where("layers"), where("modules")];
  const task = taskRow(first, actions);
  const mixture = mixtureRows(first, actions);
  const error = h("p.error", { role: "alert", hidden: true });
  const again = h("button", { type: "button", hidden: true, onclick: page.fetchShipped }, say("adapters.try-again"));
  const origin = h("p.hint.origin", { hidden: true });
  const warnings = h("ul.warnings", { hidden: true, "aria-label": say("adapters.warnings") });
  const misfit = h("p.hint", { hidden: true }, say("adapters.misfit", { model: DEFAULT_MODEL.name }));
  const card = h("div.method-card");
  const element = h("article.adapter", { dataset: { adapter: first.name } },
    h("header", {}, h("label.switch", {}, on, title), tag),
    origin,
    h("div.dose-row", {}, turned.track, turned.box),
    turned.poles, error, again, warnings, misfit, mixture.element, task.element,
    h("div.folds", {},
      h("details.more", {}, h("summary", {}, say("adapters.how")), sentence, card),
      h("details.where", {}, h("summary", {}, say("adapters.where")),
        lawRow, law,
        h("p", {}, h("label", { htmlFor: layers.input.id }, say("adapters.layers"), " "), layers.input),
        h("p", {}, h("label", { htmlFor: modules.input.id }, say("adapters.modules"), " "), modules.input))));

  let filled = "";
  return {
    element,
    update(/** @type {any} */ adapter, /** @type {any} */ state) {
      title.textContent = adapter.title;
      on.checked = adapter.enabled;
      on.setAttribute("aria-label", say("adapters.on", { title: adapter.title }));
      sentence.textContent = adapter.sentence ?? "";
      sentence.hidden = !adapter.sentence;
      turned.update(adapter, state.recording.shown);
      element.dataset.sign = turned.sign(adapter);
      element.dataset.beyond = String(Math.abs(adapter.coefficient) > 2);
      element.dataset.off = String(!adapter.enabled);
      element.dataset.active = String(state.active === adapter.key);
      // Those that come with the page need not alarm whoever loads another model.
      misfit.hidden = !adapter.card || adapter.id !== null || !MISFITS.includes(adapter.error?.code);
      const wrong = (misfit.hidden && adapter.error) || adapter.refused;
      error.hidden = !wrong;
      const said = wrong ? told(wrong) : [];
      // Said once, not at every change of something else.
      if (error.textContent !== said.map((part) => part.textContent ?? part).join("")) error.replaceChildren(...said);
      again.hidden = !adapter.error || adapter.files !== null;
      const warned = adapter.entry?.warnings ?? adapter.inspection?.warnings ?? [];
      // Of those that come with the page it is known.
      const { baseModel, layersReached } = adapter.entry ?? {};
      origin.textContent = [baseModel && say("adapters.made-for", { model: baseModel }), layersReached && say("adapters.reaches", { layers: layersReached })].filter(Boolean).join(" · ");
      origin.hidden = Boolean(adapter.card) || adapter.id === null || !origin.textContent;
      warnings.hidden = !warned.length || adapter.id === null;
      if (warnings.dataset.all !== warned.join("\n")) {
        warnings.dataset.all = warned.join("\n");
        warnings.replaceChildren(...warned.map((/** @type {string} */ text) => h("li", {}, text)));
      }
      const method = state.engine.methods.find((/** @type {any} */ item) =>
        (adapter.entry ? item.name === adapter.entry.method : item.title === adapter.card?.method));
      tag.textContent = adapter.loading ? say("adapters.loading") : adapter.entry?.title ?? method?.title ?? "";
      element.setAttribute("aria-busy", String(Boolean(adapter.loading)));
      task.update(adapter);
      mixture.update(adapter);
      const laws = adapter.entry?.laws ?? [];
      lawRow.hidden = laws.length < 2;
      const names = laws.map((/** @type {any} */ offer) => offer.law);
      if (lawChoice.dataset.laws !== names.join()) {
        lawChoice.dataset.laws = names.join();
        lawChoice.replaceChildren(...names.map((/** @type {string} */ name) => h("option", { value: name }, name)));
      }
      const acting = adapter.law ?? adapter.entry?.law;
      const range = rangeOf(adapter);
      lawChoice.value = acting ?? "";
      layers.show(adapter.layers ?? "");
      modules.show(adapter.modules ?? "");
      const lawName = acting ?? method?.law;
      const words = laws.find((/** @type {any} */ offer) => offer.law === lawName)?.words ?? adapter.entry?.lawWords ?? method?.lawWords;
      law.textContent = !words ? "" : range
        ? say("adapters.law-words-between", { law: lawName, words, start: signed(range.start), end: signed(range.end) })
        : say("adapters.law-words", { law: lawName, words });
      const version = `${method?.name}|${adapter.id}`;
      if (version !== filled) {
        filled = version;
        fillCard(card, adapter, method, actions);
      }
    },
  };
}

/** Which of its tasks an adapter runs, where it was trained for several. @param {any} first @param {import("../actions.js").Actions} actions */
function taskRow({ key, title }, actions) {
  const box = h("input.task", {
    type: "number", min: "0", step: "1", inputMode: "numeric", "aria-label": say("adapters.task-of", { title }),
    onchange: () => {
      const { valid } = box.validity;
      wrong = valid ? "" : box.value ? say("adapters.no-task", { value: box.value, now }) : say("adapters.no-number", { now });
      if (valid) actions.setTask(key, Number(box.value));
      else show(now);
      range.textContent = said();
    },
  });
  const show = shownIn(box);
  let [tasks, now, wrong] = [0, 0, ""];
  const range = h("span.hint", { role: "status" });
  const said = () => [" ", wrong, wrong && " ", say("adapters.tasks", { last: tasks - 1, n: tasks })].join("");
  const element = h("p.task-row", { hidden: true }, h("label", {}, say("adapters.task"), " ", box), range);
  return {
    element,
    update({ task, experts, inspection }) {
      tasks = inspection?.tasks ?? 0;
      element.hidden = tasks < 2 || Boolean(experts);
      if (element.hidden) return;
      box.max = String(tasks - 1);
      box.required = true;
      now = task;
      if (range.textContent !== said()) range.textContent = said();
      show(task);
    },
  };
}

/** Adapters that mix parts: what is said of these, and the number of the first. */
const MIXTURES = {
  experts: {
    legend: say("adapters.experts-who"), own: say("adapters.experts-own"), free: say("adapters.experts-free"), first: 0,
    part: (/** @type {number} */ number) => say("adapters.expert", { number }),
    weight: (/** @type {number} */ number, /** @type {string} */ title) => say("adapters.expert-weight", { number, title }),
  },
  skills: {
    legend: say("adapters.skills-who"), own: say("adapters.skills-own"), free: say("adapters.skills-free"), first: 1,
    part: (/** @type {number} */ number) => say("adapters.skill", { number }),
    weight: (/** @type {number} */ number, /** @type {string} */ title) => say("adapters.skill-weight", { number, title }),
  },
};

/** Who weighs what an adapter mixes: itself, or one slider for each part. @param {any} first @param {import("../actions.js").Actions} actions */
function mixtureRows({ key, title }, actions) {
  const id = key.replace(/\W/g, "-");
  /** @type {number[]} */
  let weights = [];
  const legend = h("legend");
  const [ownText, freeText] = [h("span"), h("span")];
  const own = h("input", { type: "radio", name: `${id}-experts`, onchange: () => actions.setExperts(key, undefined) });
  const free = h("input", { type: "radio", name: `${id}-experts`, onchange: () => actions.setExperts(key, [...weights]) });
  /** @type {{row: HTMLElement, slider: any, value: HTMLElement}[]} */
  let rows = [];
  const list = h("div.weights");
  const element = h("fieldset.experts", { hidden: true }, legend,
    h("label.check", {}, own, ownText), h("label.check", {}, free, freeText), list);
  const row = (/** @type {typeof MIXTURES.experts} */ words, /** @type {number} */ at) => {
    const number = words.first + at;
    const slider = h("input", {
      type: "range", min: "-1", max: "2", step: "0.05", "aria-label": words.weight(number, title),
      oninput: () => actions.setExperts(key, weights.map((weight, other) => (other === at ? Number(slider.value) : weight))),
    });
    const value = h("output.figures");
    return { row: h("label.weight", {}, h("span", {}, words.part(number)), slider, value), slider, value };
  };
  return {
    element,
    update({ experts, inspection }) {
      const count = inspection?.experts ?? inspection?.skills ?? 0;
      element.hidden = count === 0;
      if (element.hidden) return;
      if (rows.length !== count) {
        const words = inspection.skills ? MIXTURES.skills : MIXTURES.experts;
        legend.textContent = words.legend;
        ownText.textContent = words.own;
        freeText.textContent = words.free;
        rows = Array.from({ length: count }, (_, at) => row(words, at));
        list.replaceChildren(...rows.map((item) => item.row));
        weights = Array(count).fill(1 / count);
      }
      if (experts?.length === count) weights = experts;
      own.checked = !experts;
      free.checked = Boolean(experts);
      list.hidden = !experts;
      for (const [at, { slider, value }] of rows.entries()) {
        slider.value = String(weights[at]);
        value.textContent = signed(weights[at]);
      }
    },
  };
}

/** Formula, intuition, shapes, paper, what was measured. */
function fillCard(/** @type {HTMLElement} */ root, /** @type {any} */ adapter, /** @type {any} */ method, /** @type {any} */ actions) {
  const { entry, card } = adapter;
  /** @type {any[]} */
  const lines = [];
  if (method) lines.push(h("p", {}, ...explained(method.intuition)), h("p.summary", {}, h("strong", {}, method.title), " ", ...explained(method.summary)));
  if (entry) {
    const size = { n: entry.parameters, places: say("adapters.places", { n: entry.modules }) };
    lines.push(h("p.facts", {}, entry.denseBytes
      ? say("adapters.size-dense", { ...size, memory: megabytes(entry.denseBytes) }) : say("adapters.size", size)));
    if (entry.layersReached) lines.push(h("p.facts", {}, say("adapters.layers-reached", { layers: entry.layersReached })));
    if (entry.baseModel) lines.push(h("p.facts", {}, say("adapters.made-for-config", { model: entry.baseModel })));
  }
  const measured = measuredTable(card);
  if (measured) lines.push(h("h3", {}, say("adapters.measured", { model: DEFAULT_MODEL.name })), measured);
  if (method) {
    lines.push(h("details.deeper", {}, h("summary", {}, say("adapters.deeper")),
      h("pre.formula", { tabIndex: 0, "aria-label": say("adapters.formula") }, method.formula),
      h("h3", {}, say("adapters.about-c")), h("p", {}, method.coefficient),
      h("h3", {}, say("adapters.in-file")), h("pre.shapes", { tabIndex: 0, "aria-label": say("adapters.shapes") }, method.shapes),
      method.paper && h("p", {}, h("a", { href: method.paper, rel: "noreferrer", target: "_blank" }, say("adapters.paper")))));
  }
  lines.push(h("button.quiet", { type: "button", onclick: () => actions.removeAdapter(adapter.key) }, say("adapters.remove")));
  root.replaceChildren(...lines);
}

/** card.json's measurement: what was measured, at which coefficients, with which result. @param {any} card */
function measuredTable(card) {
  const { what, c, value } = card?.measured ?? {};
  if (!Array.isArray(c) || !Array.isArray(value)) return null;
  return h("table", {},
    h("caption", {}, what),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "c"), h("th", { scope: "col" }, say("adapters.value")))),
    h("tbody", {}, ...c.map((/** @type {number} */ coefficient, /** @type {number} */ at) => h("tr", {},
      h("th", { scope: "row" }, signed(coefficient)), h("td", {}, signed(Number(value[at])))))));
}

/** Load your own: files or folders, by picker or by drop. */
function addPanel(/** @type {HTMLElement} */ root, /** @type {HTMLElement} */ list, /** @type {import("../state/store.js").Store} */ store, /** @type {import("../actions.js").Actions} */ actions, /** @type {Page} */ { asked }) {
  let count = 0;
  const error = h("div.error", { role: "alert", hidden: true });
  const rest = h("p.hint", { role: "status", hidden: true });
  const offers = h("div.offers", { hidden: true, role: "group", "aria-label": say("adapters.more") });
  const picker = (/** @type {string} */ id, /** @type {any} */ options) => {
    const input = h("input.sr", {
      type: "file", id, ...options,
      onchange: () => { take(chosen(input.files)); input.value = ""; },
    });
    return input;
  };
  root.append(
    h("div.row", {},
      picker("adapter-files", { multiple: true, accept: ".json,.safetensors,.gguf,.bin" }), h("label.button", { htmlFor: "adapter-files" }, say("adapters.load")),
      picker("adapter-folder", { webkitdirectory: true }), h("label.button", { htmlFor: "adapter-folder" }, say("adapters.load-folder"))),
    h("p.hint", {}, say("adapters.load-hint")),
    error, offers, rest);

  /** @param {import("../files.js").Given[]} given @param {string} [onto] key of the place on which they were dropped */
  async function take(given, onto) {
    const { found, unused } = await adaptersIn(given);
    const { meant, offered } = sortedOut(given, found);
    const conversion = pickled(given);
    const [few, more] = [unused.slice(0, 4), unused.length - 4];
    const names = listed(more > 0 ? [...few, say("adapters.and-more", { n: more })] : few);
    rest.hidden = !found.length || !unused.length;
    rest.textContent = say("adapters.unused", { names });
    error.hidden = found.length > 0 && !conversion;
    error.replaceChildren(...(conversion
      ? [h("p", {}, conversion.sentence), h("pre", { tabIndex: 0, "aria-label": say("adapters.command") }, conversion.command)]
      : [h("p", {}, given.some(({ path }) => /\.(safetensors|gguf)$/.test(path))
        ? say("adapters.unclear", { names }) : say("adapters.no-weights"))]));
    offer(offered, meant.length > 0);
    for (const item of meant) await load(item, meant.length === 1 ? onto : undefined);
  }

  /** Names what was not loaded, a button each. @param {{label: string, item: import("../files.js").Found}[]} offered @param {boolean} more whether something was loaded */
  function offer(offered, more) {
    offers.hidden = !offered.length;
    const button = (/** @type {{label: string, item: import("../files.js").Found}} */ { label, item }) => {
      const element = h("button", {
        type: "button",
        onclick: () => {
          const next = element.nextElementSibling ?? element.previousElementSibling;
          element.remove();
          offers.hidden = !buttons.children.length;
          (offers.hidden ? list : next)?.focus();
          load(item);
        },
      }, label);
      return element;
    };
    const buttons = h("div.row", {}, ...offered.map(button));
    offers.replaceChildren(h("p.hint", {}, say(more ? "adapters.load-too" : "adapters.load-which")), buttons);
  }

  /** @param {import("../files.js").Found} item @param {string} [onto] */
  async function load(item, onto) {
    count += 1;
    const [key, { name }] = [`file:${count}`, item];
    try {
      const files = await read(item);
      // The place that a link keeps for it, by its name or by where it was dropped.
      const place = store.state.adapters.find((adapter) => adapter.wanted && (onto ? adapter.key === onto : adapter.name === name));
      const fresh = wished({ name, coefficient: 1, enabled: true }, asked);
      const { wanted: _wanted, ...kept } = /** @type {any} */ (place ?? fresh);
      actions.addAdapter({
        ...kept, key, title: kept.name === "adapter_model" ? say("adapters.yours", { number: count }) : kept.name, sentence: "", files,
      }, place?.key);
    } catch (why) {
      error.hidden = false;
      error.replaceChildren(h("p", {}, say("adapters.unreadable", { name, why: String(why) })));
    }
  }

  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  zone.addEventListener("dragover", () => { zone.dataset.drop = "true"; });
  zone.addEventListener("dragleave", () => { delete zone.dataset.drop; });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete zone.dataset.drop;
    const place = event.target instanceof Element ? event.target.closest("[data-wanted]") : null;
    const onto = place instanceof HTMLElement ? place.dataset.wanted : undefined;
    if (event.dataTransfer) take(await dropped(event.dataTransfer), onto);
  });
  // Beside the zone a dropped file would take the page's place.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!zone.contains(/** @type {Node} */ (event.target))) event.dataTransfer.dropEffect = "none";
  });
}

/** Weights up to this size are read here; of larger ones the engine reads the header first, and the rest if they suit. */
const SMALL_BYTES = 8_000_000;

/** An adapter's files for the engine. @param {import("../files.js").Found} found @returns {Promise<any>} */
async function read({ config, weights, bases, experts }) {
  const bytes = async (/** @type {File|null} */ file) => file && new Uint8Array(await file.arrayBuffer());
  return {
    config: await bytes(config), bases: await bytes(bases),
    weights: weights.size > SMALL_BYTES ? weights : await bytes(weights),
    experts: await Promise.all(experts.map(async (expert) => ({ name: expert.name, ...(await read(expert)) }))),
  };
}
