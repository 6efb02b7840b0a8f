// The adapters: one card each, with a switch, a slider from −2 to 2 and a box for any number.
import { h, signed, told } from "../dom.js";

/** The slider rests here when dragged near. */
const DETENTS = [-1, 0, 1];

/**
 * @param {{list: HTMLElement, add: HTMLElement}} roots
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function adaptersPanel({ list, add }, store, actions) {
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
  addPanel(add, list, store, actions);
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
  const error = h("p.error", { role: "alert", hidden: true });
  const card = h("div.method-card");
  const element = h("article.adapter", { dataset: { adapter: first.name } },
    h("header", {}, h("label.switch", {}, on, title), tag),
    sentence,
    h("div.dose-row", {},
      h("div.track", {}, slider, h("div.ticks", { "aria-hidden": "true" },
        ...["−2", "−1", "0", "1", "2"].map((text) => h("span", {}, text)))),
      box),
    poles, error, lawRow, law,
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
      error.hidden = !adapter.error;
      error.replaceChildren(...(adapter.error ? told(adapter.error) : []));
      const method = state.engine.methods.find((/** @type {any} */ item) =>
        (adapter.entry ? item.name === adapter.entry.method : item.title === adapter.card?.method));
      tag.textContent = adapter.entry?.title ?? method?.title ?? "";
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

/** Load your own: by picker or by drop. */
function addPanel(/** @type {HTMLElement} */ root, /** @type {HTMLElement} */ list, /** @type {any} */ store, /** @type {any} */ actions) {
  let count = 0;
  const error = h("p.error", { role: "alert", hidden: true });
  const input = h("input.sr", {
    type: "file", multiple: true, accept: ".json,.safetensors,.gguf", id: "adapter-files",
    onchange: () => { take([...input.files]); input.value = ""; },
  });
  root.append(
    h("div.row", {}, input, h("label.button", { htmlFor: "adapter-files" }, "Load your own"),
      h("span.hint", {}, "adapter_config.json with its .safetensors, or one control vector (.gguf); dropping works too")),
    error);

  async function take(/** @type {File[]} */ files) {
    const config = files.find((file) => file.name.endsWith(".json"));
    const bases = files.find((file) => file.name === "0_svd_bases.safetensors");
    const weights = files.find((file) => file !== bases && /\.(safetensors|gguf)$/.test(file.name));
    error.hidden = Boolean(weights);
    if (!weights) {
      error.textContent = "Among these files is no .safetensors and no .gguf; choose the adapter's weights too.";
      return;
    }
    const bytes = async (/** @type {File} */ file) => new Uint8Array(await file.arrayBuffer());
    const name = weights.name.replace(/\.(safetensors|gguf)$/, "");
    await actions.addAdapter({
      key: `file:${++count}`, name, title: name === "adapter_model" ? `Your adapter ${count}` : name,
      sentence: "", files: {
        config: config ? await bytes(config) : null, weights: await bytes(weights), bases: bases ? await bytes(bases) : null,
      },
      coefficient: 1, enabled: true,
    });
  }

  const zone = /** @type {HTMLElement} */ (list.closest("section"));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.dataset.drop = "true";
  });
  zone.addEventListener("dragleave", () => { delete zone.dataset.drop; });
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    delete zone.dataset.drop;
    take([...(event.dataTransfer?.files ?? [])]);
  });
}

