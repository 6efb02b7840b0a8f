// From the files that somebody chose or dropped to adapters: which belong together, and which to none.

const BASES = "0_svd_bases.safetensors";
const CONFIG = /^adapter_config.*\.json$/;
const WEIGHTS = /\.(safetensors|gguf)$/;

/**
 * A file and where it lay: "poly/adapter_config.json", or its name alone.
 * @typedef {{path: string, file: File}} Given
 *
 * @typedef {object} Found
 * @property {string} name       of its folder, else of its weights
 * @property {File|null} config
 * @property {File} weights
 * @property {File|null} bases
 * @property {Found[]} experts   what its subfolders 0, 1, … hold, where its config names experts
 */

/**
 * Sorts files into adapters, a folder each; without a config every file of weights is one.
 * @param {Given[]} given
 * @returns {Promise<{found: Found[], unused: string[]}>} `unused` are the paths that belong to none
 */
export async function adaptersIn(given) {
  /** @type {Map<string, Map<string, File>>} */
  const folders = new Map();
  for (const { path, file } of given) {
    const cut = path.lastIndexOf("/");
    const folder = path.slice(0, Math.max(cut, 0));
    folders.set(folder, (folders.get(folder) ?? new Map()).set(path.slice(cut + 1), file));
  }
  const unused = new Set(given.map(({ path }) => path));
  /** Adapters of each folder, whole folders above their subfolders. @type {Map<string, Found[]>} */
  const all = new Map();
  for (const folder of [...folders.keys()].sort()) all.set(folder, inFolder(folder, folders.get(folder) ?? new Map(), unused));
  for (const [folder, found] of all) {
    const numbered = all.has(within(folder, "0"));
    if (found.length !== 1 || !numbered || !(await namesExperts(found[0].config))) continue;
    const expert = (/** @type {number} */ number) => all.get(within(folder, String(number))) ?? [];
    for (let number = 0; expert(number).length === 1; number += 1) {
      found[0].experts.push(...expert(number).splice(0));
    }
  }
  return { found: [...all.values()].flat(), unused: [...unused] };
}

/** Whether a config lists adapters that it mixes. @param {File|null} config @returns {Promise<boolean>} */
async function namesExperts(config) {
  try {
    return Object.keys(JSON.parse(await config?.text() ?? "").adapters).length > 0;
  } catch {
    return false; // The engine says what is wrong with it.
  }
}

const within = (/** @type {string} */ folder, /** @type {string} */ name) => (folder ? `${folder}/${name}` : name);

/**
 * @param {string} folder
 * @param {Map<string, File>} files by name
 * @param {Set<string>} unused loses the paths of what is used
 * @returns {Found[]}
 */
function inFolder(folder, files, unused) {
  const use = (/** @type {string|undefined} */ name) => {
    if (name === undefined) return null;
    unused.delete(within(folder, name));
    return files.get(name) ?? null;
  };
  const names = [...files.keys()];
  const configs = names.filter((name) => CONFIG.test(name));
  let weights = names.filter((name) => WEIGHTS.test(name) && name !== BASES);
  // PEFT's name, or mlx-lm's; beside it lie states of optimisers and earlier checkpoints.
  if (configs.length === 1 && weights.length > 1) {
    const named = weights.filter((name) => name.startsWith("adapter_model"));
    weights = named.length ? named : weights.filter((name) => name === "adapters.safetensors");
  }
  const one = weights.length === 1 && configs.length <= 1;
  if (!one && configs.length) return []; // which belongs to which?
  return weights.map((name) => {
    const stem = name.replace(WEIGHTS, "");
    return {
      name: (one && ["adapter_model", "adapters"].includes(stem) && folder.split("/").pop()) || stem,
      config: one ? use(configs[0]) : null,
      weights: /** @type {File} */ (use(name)),
      bases: one && files.has(BASES) ? use(BASES) : null,
      experts: [],
    };
  });
}

/**
 * The files of a drop, with what lies in dropped folders. Hidden files are left out.
 * @param {DataTransfer} drop
 * @returns {Promise<Given[]>}
 */
export async function dropped(drop) {
  // The list is empty as soon as this function has waited once.
  const items = [...drop.items].filter((item) => item.kind === "file")
    .map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  /** @type {Given[]} */
  const given = [];
  const walk = async (/** @type {FileSystemEntry} */ entry, /** @type {string} */ path) => {
    if (entry.name.startsWith(".")) return;
    if (entry.isFile) {
      const one = /** @type {FileSystemFileEntry} */ (entry);
      given.push({ path, file: await new Promise((resolve, reject) => { one.file(resolve, reject); }) });
      return;
    }
    const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
    /** @returns {Promise<FileSystemEntry[]>} */
    const some = () => new Promise((resolve, reject) => { reader.readEntries(resolve, reject); });
    // A folder is read in pieces; the last one is empty.
    for (let inside = await some(); inside.length; inside = await some()) {
      for (const child of inside) await walk(child, `${path}/${child.name}`);
    }
  };
  for (const { entry, file } of items) {
    if (entry) await walk(entry, entry.name);
    else if (file) given.push({ path: file.name, file });
  }
  return given;
}

/** The files of a picker, of single files or of a folder. @param {FileList|null} list @returns {Given[]} */
export const chosen = (list) => [...list ?? []]
  .map((file) => ({ path: file.webkitRelativePath || file.name, file }))
  .filter(({ path }) => !path.split("/").some((part) => part.startsWith(".")));
