// What is done with the adapters among given files: which are loaded at once and which are offered
// by name, and what is said of weights that cannot be read here.

import { say } from "./say.js";

/** @typedef {import("./files.js").Found} Found @typedef {import("./files.js").Given} Given */

/**
 * Whatever lies at the top of a folder, or alone in it, is meant; what else lies below it (other
 * adapters, checkpoints of a training) is offered.
 * @param {Given[]} given
 * @param {Found[]} found
 * @returns {{meant: Found[], offered: {label: string, item: Found}[]}}
 */
export function sortedOut(given, found) {
  const paths = new Map(given.map(({ path, file }) => [file, path]));
  /** @type {Map<string, {item: Found, folders: string[]}[]>} */
  const tops = new Map();
  for (const item of found) {
    const folders = (paths.get(item.weights) ?? "").split("/").slice(0, -1);
    const [top = ""] = folders;
    tops.set(top, [...(tops.get(top) ?? []), { item, folders }]);
  }
  /** @type {Found[]} */
  const meant = [];
  /** @type {{label: string, item: Found}[]} */
  const offered = [];
  for (const list of tops.values()) {
    const atTop = list.filter(({ folders }) => folders.length <= 1);
    const now = atTop.length || list.length > 1 ? atTop : list;
    meant.push(...now.map(({ item }) => item));
    for (const one of list) {
      if (now.includes(one)) continue;
      const { item, folders } = one;
      const folder = folders.slice(1).join("/");
      offered.push({ item, label: folders.at(-1) === item.name ? folder : `${folder}/${item.name}` });
    }
  }
  return { meant, offered };
}

/** Weights as PyTorch pickles them: PEFT wrote these before it wrote safetensors. */
const PICKLED = /\.(bin|pt|pth|ckpt|pkl)$/;

/**
 * How to convert pickled weights, if there are some and no safetensors beside them.
 * @param {Given[]} given
 * @returns {{sentence: string, command: string}|null}
 */
export function pickled(given) {
  const folder = (/** @type {string} */ path) => path.slice(0, path.lastIndexOf("/") + 1);
  const lonely = given.filter(({ path }) => PICKLED.test(path)
    && !given.some((other) => folder(other.path) === folder(path) && /\.(safetensors|gguf)$/.test(other.path)));
  const one = lonely.find(({ path }) => path.endsWith("adapter_model.bin")) ?? lonely[0];
  if (!one) return null;
  const name = one.path.slice(folder(one.path).length);
  return {
    sentence: say("offers.pickled", { path: one.path }),
    command: `python -c "import torch; from safetensors.torch import save_file; w = torch.load('${name}', map_location='cpu', weights_only=True); `
      + `save_file({k: v.contiguous().clone() for k, v in w.items()}, '${name.replace(PICKLED, "")}.safetensors')"`,
  };
}
