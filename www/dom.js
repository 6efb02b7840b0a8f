// The only way this page makes elements: properties and text, never markup from a string. And how
// it writes its figures.
import { numbers, say } from "./say.js";

/**
 * The element that a tag makes: "input.sr" an HTMLInputElement.
 * @template {string} Tag
 * @typedef {Tag extends `${infer Name}.${string}` ? Named<Name> : Named<Tag>} Tagged
 */
/** @template {string} Name @typedef {Name extends keyof HTMLElementTagNameMap ? HTMLElementTagNameMap[Name] : HTMLElement} Named */

/**
 * @template {string} Tag
 * @param {Tag} tag "div", or "div.class.other"
 * @param {Record<string, any>} [props] attributes, `on…` listeners, `dataset`, or properties
 * @param {...(Node|string|null|undefined|false)} children
 * @returns {Tagged<Tag>} the element
 */
export function h(tag, props = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  /** @type {any} */
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key in element && !key.startsWith("aria")) element[key] = value;
    else element.setAttribute(key, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/**
 * Lets a box show what holds, but for what is just being typed into it.
 * @param {HTMLInputElement|HTMLTextAreaElement} input
 * @returns {(value: string|number) => void} says what holds
 */
export function shownIn(input) {
  let typing = false;
  let holds = input.value;
  const show = () => { if (!typing && input.value !== holds) input.value = holds; };
  input.addEventListener("input", () => { typing = true; });
  // Before the listeners of the box's owner: what these decide is shown at once.
  input.addEventListener("change", () => { typing = false; }, { capture: true });
  input.addEventListener("blur", () => { typing = false; show(); });
  return (value) => { holds = String(value); show(); };
}

/** An error as a sentence and its code. @param {{code: string, message: string}} error @returns {(string|Node)[]} */
export function errorParts({ code, message }) {
  // A plain word may be capitalised; the name of a file or an option may not.
  const start = /^[a-z]+[ ,]/.test(message) ? message.charAt(0).toUpperCase() : message.charAt(0);
  const sentence = start + message.slice(1) + (/[.!?]$/.test(message) ? "" : ".");
  return [`${sentence} `, h("code", {}, code)];
}

/**
 * The element with that id, which index.html promises.
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @param {new () => Kind} [kind]
 * @returns {Kind}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof (kind ?? HTMLElement))) throw new Error(`index.html has no such #${id}`);
  return /** @type {Kind} */ (element);
}

/** The element around an event's own that fits. @param {Event} event @param {string} selector @returns {HTMLElement|null} */
export function closest({ target }, selector) {
  const found = target instanceof Element ? target.closest(selector) : null;
  return found instanceof HTMLElement ? found : null;
}

/** @param {(string|Node)[]} pieces */
export const textOf = (pieces) => pieces.map((piece) => (typeof piece === "string" ? piece : piece.textContent)).join("");

const whole = { maximumFractionDigits: 0 };
const kilo = numbers({ style: "unit", unit: "kilobyte", ...whole });
const mega = numbers({ style: "unit", unit: "megabyte", ...whole });
const tenths = numbers({ style: "unit", unit: "megabyte", minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** 98362432 -> "98.4 MB" @param {number} bytes */
export function megabytes(bytes) {
  if (bytes < 1e6) return kilo(Math.max(1, bytes / 1e3));
  return (bytes < 1e8 ? tenths : mega)(bytes / 1e6);
}

/** What the engine takes now, and took at most. @param {import("./engine/protocol.js").Memory} memory */
export function memoryWords({ wasmHeapBytes, wasmHeapPeakBytes, gpuBytes, gpuPeakBytes }) {
  const wasm = { wasm: megabytes(wasmHeapBytes), wasmPeak: megabytes(wasmHeapPeakBytes) };
  return gpuPeakBytes ? say("page.memory-gpu", { ...wasm, gpu: megabytes(gpuBytes), gpuPeak: megabytes(gpuPeakBytes) }) : say("page.memory", wasm);
}

const hundredths = numbers({ signDisplay: "always", minimumFractionDigits: 2, maximumFractionDigits: 2 });

/** 1 -> "+1.00", with a true minus sign @param {number} coefficient */
export const signed = (coefficient) => (coefficient === 0 ? "0" : hundredths(coefficient).replace("-", "−"));

/** What somebody typed: "−0,5" -> -0.5; NaN for nothing and for what is no number. @param {string} text */
export const typed = (text) => (text.trim() ? Number(text.trim().replace("−", "-").replace(",", ".")) : NaN);

/** A share, however small: 0.00041 -> "0.041 %" @param {number} share */
export const shareText = (share) => say("page.percent", { p: shares(share * 100) });

const percents = numbers(whole);
const shares = numbers({ maximumSignificantDigits: 2 });
const twoDigits = numbers({ minimumSignificantDigits: 2, maximumSignificantDigits: 2 });

/** Small probabilities keep two digits that mean something. @param {number} p */
export function percent(p) {
  if (p >= 0.001) return say("page.percent", { p: (p >= 0.0995 ? percents : twoDigits)(p * 100) });
  return say("page.percent-least");
}
