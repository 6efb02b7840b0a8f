// The zoo: adapters that come with the page, one for each method and behaviour, and are fetched only
// once they are chosen. What the list says of them, whether what came is what it says, and what is told
// of how one came about. No elements here.
import { say } from "../say.js";

/**
 * What adapters/index.json says of one.
 * @typedef {object} ZooItem
 * @property {string} folder     below adapters/, "tone/lora-r1"; its name in a link too
 * @property {string} method     the name of its method, as in `MethodCard.name`
 * @property {string} behaviour   of several the names with commas between them
 * @property {string[]} [behaviours] all of them, where it was trained for several
 * @property {number} [experts]  how many it mixes, in its subfolders 0, 1, …
 * @property {number} parameters
 * @property {number} bytes      of its weights
 * @property {string} sha256     of its weights, in hexadecimal digits
 *
 * How one came about; what is not known is left out. `seconds` are those of its training.
 * @typedef {{[fact in "behaviour"|"rate"|"steps"|"seconds"|"seed"|"parameters"]?: string|number}} Trained
 */

/** Whether an entry of the list is of the zoo; the page loads the others at its start. @param {any} entry @returns {entry is ZooItem} */
export const isOfZoo = (entry) => typeof entry?.method === "string";

/** What one was trained for. @param {ZooItem} item */
export const trainedFor = ({ behaviour, behaviours }) => behaviours ?? [behaviour];

/** Behaviours, in the order of the list. @param {ZooItem[]} zoo */
export const behavioursOf = (zoo) => [...new Set(zoo.flatMap(trainedFor))];

/** What tells an adapter from others of its behaviour: "lora-r1". @param {string} folder */
export const nameOf = (folder) => folder.split("/").pop() ?? folder;

/** "tone · lora-r1" @param {ZooItem} item */
export const titleOf = (item) => say("zoo.title", { behaviour: item.behaviour, name: nameOf(item.folder) });

/** Refuses weights that are not those of the list. @param {Uint8Array<ArrayBuffer>} weights @param {ZooItem} item @param {string} file as it is called in a sentence */
export async function verify(weights, { bytes, sha256 }, file) {
  const refuse = (/** @type {string} */ message) => { throw Object.assign(new Error(message), { code: "hash-mismatch" }); };
  if (weights.length !== bytes) refuse(say("zoo.wrong-size", { file, expected: bytes, found: weights.length }));
  // Only a page from https or from this machine has it; what another page gets, list and weights alike,
  // anybody on the way could have changed.
  if (!globalThis.crypto?.subtle) return;
  const found = [...new Uint8Array(await crypto.subtle.digest("SHA-256", weights))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== sha256) refuse(say("zoo.wrong-hash", { file, expected: sha256, found }));
}

/**
 * Its card, of what the zoo wrote of it.
 * @param {ZooItem} item
 * @param {any} row     row.json, or null where it did not come
 * @param {any} record  training.json, where that has to do instead
 * @returns {import("./store.js").Card}
 */
export function zooCard(item, row, record) {
  const number = (/** @type {unknown} */ value) => (typeof value === "number" && Number.isFinite(value) ? value : undefined);
  const fact = (/** @type {string} */ name) => number(row?.[name]) ?? number(record?.[name]);
  const { coefficients, d_nats } = row?.measured ?? {};
  const d = [-1, 0, 1].map((c) => number(d_nats?.[Array.isArray(coefficients) ? coefficients.indexOf(c) : -1]));
  return {
    method: item.method,
    trained: {
      behaviour: item.behaviour, rate: fact("rate"), steps: fact("steps"), seconds: fact("seconds"),
      seed: fact("seed") ?? number(record?.options?.seed), parameters: number(item.parameters),
    },
    measured: d.every((value) => value !== undefined) ? { what: say("zoo.measured"), c: [-1, 0, 1], value: d } : undefined,
  };
}
