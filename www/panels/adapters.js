// The adapters: one card each, with a switch, a slider from −2 to 2 and a box for any number, and
// for some a choice of the task or of the weights of what they mix.
import { adaptersIn, chosen, dropped } from "../files.js";
import { DEFAULT_MODEL } from "../state/models.js";
import { wished } from "../state/url.js";
import { h, signed, told } from "../dom.js";

/** The slider rests here when dragged near. */
const DETENTS = [-1, 0, 1];

/** How the engine refuses an adapter that was made for another model. */
const MISFITS = ["no-such-module", "wrong-shape"];

/**
 * @param {{list: HTMLElement, add: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {import("../state/url.js").Asked[]|null} asked what the link asks of adapters by their names
 */
export function adaptersPanel({ list, add }, store, actions, asked) {
  /** @type {Map<string, {element: HTMLElement, update: (adapter: any, state: any) => void}>} */
  const cards = new Map();
  store.watch(["adapters", "engine", "active"], (state) => {
    for (const [key, card] of cards) {
      if (state.adapters.some((adapter) => adapter.key === key)) continue;
      card.element.remove();
      cards.delete(key);
    }
    for (const adapter of state.adapters) {
      let card = cards.get(adapter.key);
      if (!card) {
        card = adapterCard(adapter, actions);
        cards.set(adapter.key, card);
        list.append(card.element);
      }
      card.update(adapter, state);
    }
    list.dataset.empty = String(state.adapters.length === 0);
  });
  addPanel(add, list, actions, asked);
}

/** @param {any} first @param {import("../actions.js").Actions} actions */
function adapterCard(first, actions) {
  const { key } = first;
  const id = key.replace(/\W/g, "-");
  let c = first.coefficient;
  let dragging = false;
  /** Coefficients that mean something under the present law. */
  let domain = { start: -Infinity, end: Infinity };

  const slider = h("input.dose-slider", {
    type: "range", min: "-2", max: "2", step: "0.05", id: `${id}-slider`,
    onpointerdown: () => { dragging = true; },
    onpointerup: () => { dragging = false; },
    oninput: () => {
      let value = Number(slider.value);
      const near = DETENTS.find((detent) => Math.abs(detent - value) <= 0.1);
      if (dragging && near !== undefined) value = near;
      actions.setCoefficient(key, Math.min(domain.end, Math.max(domain.start, value)));
    },
    ondblclick: () => actions.setCoefficient(key, 0),
  });
  const box = h("input.dose-box", {
    type: "text", inputMode: "decimal", id: `${id}-box`, autocomplete: "off", spellcheck: false,
    onchange: () => {
      const text = box.value.trim().replace("−", "-").replace(",", ".");
      actions.setCoefficient(key, text === "" ? NaN : Number(text));
    },
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      const by = { ArrowUp: 0.05, ArrowDown: -0.05 }[event.key];
      if (!by) return;
      event.preventDefault();
      actions.setCoefficient(key, Math.round((c + by) * 100) / 100);
    },
    onblur: () => { box.value = String(c); },
  });
  const on = h("input", { type: "checkbox", role: "switch", onchange: () => actions.setEnabled(key, on.checked) });
  const title = h("span.name");
  const tag = h("span.tag");
  const sentence = h("p.sentence");
  const poles = h("p.poles");
  const law = h("p.law");
  const lawChoice = h("select", { id: `${id}-law`, onchange: () => actions.setLaw(key, lawChoice.value) });
  const lawRow = h("p.law-row", { hidden: true }, h("label", { htmlFor: lawChoice.id }, "How c acts "), lawChoice);
  const mask = () => actions.setMask(key, layers.value.trim(), modules.value.trim());
  const layers = h("input", { type: "text", id: `${id}-layers`, placeholder: "all", autocomplete: "off", spellcheck: false, onchange: mask });
  const modules = h("input", { type: "text", id: `${id}-modules`, placeholder: "all", autocomplete: "off", spellcheck: false, onchange: mask });
  const task = taskRow(first, actions);
  const mixture = mixtureRows(first, actions);
  const error = h("p.error", { role: "alert", hidden: true });
  const misfit = h("p.hint", { hidden: true }, `Made for ${DEFAULT_MODEL.name}; it does not fit the model that is loaded.`);
  const card = h("div.method-card");
  const element = h("article.adapter", { dataset: { adapter: first.name } },
    h("header", {}, h("label.switch", {}, on, title), tag),
    sentence,
    h("div.dose-row", {},
      h("div.track", {}, slider, h("div.ticks", { "aria-hidden": "true" },
        ...["−2", "−1", "0", "1", "2"].map((text) => h("span", {}, text)))),
      box),
    poles, error, misfit, mixture.element, task.element, lawRow, law,
    h("details.where", {}, h("summary", {}, "Where it acts"),
      h("p", {}, h("label", { htmlFor: layers.id }, "Layers, as 5-20 "), layers),
      h("p", {}, h("label", { htmlFor: modules.id }, "Modules, as q_proj,v_proj "), modules)),
    h("details.more", {}, h("summary", {}, "How it works"), card));

  let filled = "";
  return {
    element,
    update(/** @type {any} */ adapter, /** @type {any} */ state) {
      c = adapter.coefficient;
      title.textContent = adapter.title;
      on.checked = adapter.enabled;
      on.setAttribute("aria-label", `${adapter.title} on`);
      sentence.textContent = adapter.sentence ?? "";
      sentence.hidden = !adapter.sentence;
      const { positive, negative } = adapter.card?.behaviour ?? {};
      poles.hidden = !positive;
      poles.replaceChildren(h("span", {}, negative ?? ""), h("span", {}, positive ?? ""));
      slider.value = String(Math.min(2, Math.max(-2, c)));
      slider.setAttribute("aria-label", `Coefficient of ${adapter.title}`);
      slider.setAttribute("aria-valuetext", `${c}${c === 0 ? ", the base model" : ""}`);
      slider.style.setProperty("--f", String((Number(slider.value) + 2) / 4));
      if (document.activeElement !== box || Number(box.value) !== c) box.value = String(c);
      box.setAttribute("aria-label", `Coefficient of ${adapter.title}, any number`);
      element.dataset.sign = !adapter.enabled || c === 0 ? "zero" : c < 0 ? "minus" : "plus";
      element.dataset.beyond = String(Math.abs(c) > 2);
      element.dataset.off = String(!adapter.enabled);
      element.dataset.active = String(state.active === adapter.key);
      // Those that come with the page need not alarm whoever loads another model.
      misfit.hidden = !adapter.card || adapter.id !== null || !MISFITS.includes(adapter.error?.code);
      error.hidden = !adapter.error || !misfit.hidden;
      error.replaceChildren(...(adapter.error ? told(adapter.error) : []));
      const method = state.engine.methods.find((/** @type {any} */ item) =>
        (adapter.entry ? item.name === adapter.entry.method : item.title === adapter.card?.method));
      tag.textContent = adapter.loading ? "loading …" : adapter.entry?.title ?? method?.title ?? "";
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
      const range = laws.find((/** @type {any} */ offer) => offer.law === adapter.entry.law)?.domain?.range;
      domain = { start: range?.start ?? -Infinity, end: range?.end ?? Infinity };
      lawChoice.value = adapter.entry?.law ?? "";
      for (const [input, value] of /** @type {[HTMLInputElement, string|undefined][]} */ ([[layers, adapter.layers], [modules, adapter.modules]])) {
        if (document.activeElement !== input) input.value = value ?? "";
      }
      const lawName = adapter.entry?.law ?? method?.law;
      const words = adapter.entry?.lawWords ?? method?.lawWords;
      const limits = range ? `; between ${signed(range.start)} and ${signed(range.end)}` : "";
      law.textContent = words ? `${lawName}: ${words}${limits}` : "";
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
    type: "number", min: "0", step: "1", inputMode: "numeric", "aria-label": `Task of ${title}`,
    onchange: () => { if (box.reportValidity()) actions.setTask(key, Number(box.value)); },
  });
  const range = h("span.hint");
  const element = h("p.task-row", { hidden: true }, h("label", {}, "Task ", box), range);
  return {
    element,
    update({ task, experts, inspection }) {
      const tasks = inspection?.tasks ?? 0;
      element.hidden = tasks < 2 || Boolean(experts);
      if (element.hidden) return;
      box.max = String(tasks - 1);
      box.required = true;
      range.textContent = ` 0 to ${tasks - 1}: it was trained for ${tasks}`;
      if (document.activeElement !== box || box.validity.valid) box.value = String(task);
    },
  };
}

/** Adapters that mix parts: what is said of these, and the number of the first. */
const MIXTURES = {
  experts: { legend: "Who weighs its experts", own: "its gate, anew for every token", free: "I do, the same for every token", part: "Expert", first: 0 },
  skills: { legend: "Who weighs its skills", own: "its task, each layer in its own way", free: "I do, the same in every layer", part: "Skill", first: 1 },
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
  const row = (/** @type {string} */ part, /** @type {number} */ number, /** @type {number} */ at) => {
    const slider = h("input", {
      type: "range", min: "-1", max: "2", step: "0.05", "aria-label": `Weight of ${part.toLowerCase()} ${number} of ${title}`,
      oninput: () => actions.setExperts(key, weights.map((weight, other) => (other === at ? Number(slider.value) : weight))),
    });
    const value = h("output.figures");
    return { row: h("label.weight", {}, h("span", {}, `${part} ${number}`), slider, value), slider, value };
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
        rows = Array.from({ length: count }, (_, at) => row(words.part, words.first + at, at));
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
  const parts = [];
  if (method) {
    parts.push(
      h("p.summary", {}, h("strong", {}, method.title), ` ${method.summary}`),
      h("pre.formula", { tabIndex: 0, "aria-label": "Formula" }, method.formula),
      h("p", {}, method.intuition),
      h("h3", {}, "The coefficient"), h("p", {}, method.coefficient),
      h("h3", {}, "Numbers in its file"), h("pre.shapes", { tabIndex: 0, "aria-label": "Shapes" }, method.shapes));
  }
  if (entry) {
    parts.push(h("p.facts", {}, `${entry.parameters.toLocaleString("en")} numbers at ${entry.modules} places of the model`
      + (entry.denseBytes ? `, ${Math.ceil(entry.denseBytes / 1e6)} MB of memory for whole matrices` : "")));
  }
  const measured = measuredTable(card);
  if (measured) parts.push(h("h3", {}, "Measured on SmolLM2-135M-Instruct"), measured);
  if (method?.paper) {
    parts.push(h("p", {}, h("a", { href: method.paper, rel: "noreferrer", target: "_blank" }, "Read the paper")));
  }
  parts.push(h("button.quiet", { type: "button", onclick: () => actions.removeAdapter(adapter.key) }, "Remove from the list"));
  root.replaceChildren(...parts);
}

/** card.json's measurement: what was measured, at which coefficients, with which result. @param {any} card */
function measuredTable(card) {
  const { what, c, value } = card?.measured ?? {};
  if (!Array.isArray(c) || !Array.isArray(value)) return null;
  return h("table", {},
    h("caption", {}, what),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "c"), h("th", { scope: "col" }, "value"))),
    h("tbody", {}, ...c.map((/** @type {number} */ coefficient, /** @type {number} */ at) => h("tr", {},
      h("th", { scope: "row" }, signed(coefficient)), h("td", {}, signed(Number(value[at])))))));
}

/** Load your own: files or folders, by picker or by drop. */
function addPanel(/** @type {HTMLElement} */ root, /** @type {HTMLElement} */ list, /** @type {import("../actions.js").Actions} */ actions, /** @type {import("../state/url.js").Asked[]|null} */ asked) {
  let count = 0;
  const error = h("p.error", { role: "alert", hidden: true });
  const rest = h("p.hint", { role: "status", hidden: true });
  const picker = (/** @type {string} */ id, /** @type {any} */ options) => {
    const input = h("input.sr", {
      type: "file", id, ...options,
      onchange: () => { take(chosen(input.files)); input.value = ""; },
    });
    return input;
  };
  root.append(
    h("div.row", {},
      picker("adapter-files", { multiple: true, accept: ".json,.safetensors,.gguf" }), h("label.button", { htmlFor: "adapter-files" }, "Load your own"),
      picker("adapter-folder", { webkitdirectory: true }), h("label.button", { htmlFor: "adapter-folder" }, "A folder")),
    h("p.hint", {}, "adapter_config.json with its .safetensors, or a .gguf. A mixture needs its whole folder, with the experts in 0, 1, … Dropping works too."),
    error, rest);

  async function take(/** @type {import("../files.js").Given[]} */ given) {
    const { found, unused } = adaptersIn(given);
    error.hidden = found.length > 0;
    rest.hidden = !found.length || !unused.length;
    const few = unused.slice(0, 4).join(", ") + (unused.length > 4 ? ` and ${unused.length - 4} more` : "");
    rest.textContent = `Not used: ${few}.`;
    if (!found.length) {
      error.textContent = given.some(({ path }) => /\.(safetensors|gguf)$/.test(path))
        ? `It is not clear which of these files belong together: ${few}. Choose one adapter_config.json and one .safetensors, or the folder.`
        : "Among these files is no .safetensors and no .gguf; choose the adapter's weights too.";
    }
    for (const item of found) {
      count += 1;
      const { name } = item;
      try {
        actions.addAdapter(wished({
          key: `file:${count}`, name, title: name === "adapter_model" ? `Your adapter ${count}` : name,
          sentence: "", files: await read(item), coefficient: 1, enabled: true,
        }, asked));
      } catch (why) {
        error.hidden = false;
        error.textContent = `The files of ${name} cannot be read: ${why}`;
      }
    }
  }

  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  zone.addEventListener("dragover", () => { zone.dataset.drop = "true"; });
  zone.addEventListener("dragleave", () => { delete zone.dataset.drop; });
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete zone.dataset.drop;
    if (event.dataTransfer) take(await dropped(event.dataTransfer));
  });
  // Beside the zone a dropped file would take the page's place.
  addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    if (!zone.contains(/** @type {Node} */ (event.target))) event.dataTransfer.dropEffect = "none";
  });
}

/** The bytes of an adapter's files. @param {import("../files.js").Found} found @returns {Promise<any>} */
async function read({ config, weights, bases, experts }) {
  const bytes = async (/** @type {File|null} */ file) => file && new Uint8Array(await file.arrayBuffer());
  return {
    config: await bytes(config), weights: await bytes(weights), bases: await bytes(bases),
    experts: await Promise.all(experts.map(async (expert) => ({ name: expert.name, ...(await read(expert)) }))),
  };
}
