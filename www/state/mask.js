// Where an adapter acts, as text and as cells of a grid of blocks and modules. No elements here.

/**
 * The kinds of places of an adapter, each with its blocks, as the engine's entry has them.
 * @typedef {[module: string, blocks: number[]][]} Places
 * @typedef {{rows: number[], columns: string[], has: (layer: number, module: string) => boolean}} Grid
 */

/** What a cell is called in a set. @param {number} layer @param {string} module */
export const cellOf = (layer, module) => `${layer}:${module}`;

/** The blocks and modules of an adapter; what is in no block has no cell. @param {Places} places @returns {Grid} */
export function gridOf(places) {
  const inside = places.filter(([, blocks]) => blocks.length);
  const rows = [...new Set(inside.flatMap(([, blocks]) => blocks))].sort((a, b) => a - b);
  const of = new Map(inside.map(([module, blocks]) => [module, new Set(blocks)]));
  return { rows, columns: [...of.keys()], has: (layer, module) => of.get(module)?.has(layer) ?? false };
}

const isAll = (/** @type {string} */ text) => ["", "all"].includes(text.trim());

/** @param {string} text "5-20" or "7" @returns {(layer: number) => boolean} */
function inside(text) {
  if (isAll(text)) return () => true;
  const [first, last = first] = text.split("-").map((part) => Number.parseInt(part, 10));
  return (layer) => layer >= first && layer <= last;
}

/** @param {string} text "q_proj,v_proj" @returns {(module: string) => boolean} */
function among(text) {
  const names = text.split(",").map((name) => name.trim());
  return (module) => isAll(text) || names.includes(module);
}

/**
 * The parts of a mask, each with its blocks and its modules.
 * @param {string} layers "5-20", or with modules of their own "5-20:q_proj,v_proj;3:v_proj" @param {string} modules of all where a part has none of its own
 * @returns {[blocks: string, modules: string][]}
 */
export const partsOf = (layers, modules) => (/[:;]/.test(layers) ? layers.split(";").map((part) => part.split(":")) : [[layers, modules]])
  .map(([blocks, names = ""]) => [blocks, isAll(names) ? "" : names]);

/**
 * The cells at which a mask lets an adapter act.
 * @param {Grid} grid @param {string} layers @param {string} modules
 * @returns {Set<string>}
 */
export function cellsOf({ rows, columns, has }, layers, modules) {
  const tests = partsOf(layers, modules).map(([blocks, names]) => ({ layer: inside(blocks), module: among(names) }));
  const acts = (/** @type {number} */ layer, /** @type {string} */ module) => has(layer, module) && tests.some((test) => test.layer(layer) && test.module(module));
  return new Set(rows.flatMap((layer) => columns.filter((module) => acts(layer, module)).map((module) => cellOf(layer, module))));
}

/** @param {number} first @param {number} last */
const blocks = (first, last) => (first === last ? String(first) : `${first}-${last}`);

/**
 * A mask for these cells, as short as it can be: blocks and modules where that says it, else block by block.
 * @param {Grid} grid @param {Set<string>} cells not empty @returns {{layers: string, modules: string}}
 */
export function maskOf({ rows, columns, has }, cells) {
  const own = (/** @type {number} */ layer) => columns.filter((module) => has(layer, module));
  const chosen = (/** @type {number} */ layer) => own(layer).filter((module) => cells.has(cellOf(layer, module)));
  if (rows.every((layer) => chosen(layer).length === own(layer).length)) return { layers: "", modules: "" };
  /** Neighbouring blocks with the same modules; "" for all. @type {{first: number, last: number, names: string}[]} */
  const runs = [];
  for (const layer of rows) {
    const names = chosen(layer);
    if (!names.length) continue;
    const text = names.length === own(layer).length ? "" : names.join(",");
    const run = runs.at(-1);
    if (run && run.last === layer - 1 && run.names === text) run.last = layer;
    else runs.push({ first: layer, last: layer, names: text });
  }
  const [only] = runs;
  if (runs.length === 1 && only) {
    const whole = only.first === rows[0] && only.last === rows.at(-1);
    return { layers: whole ? "" : blocks(only.first, only.last), modules: only.names };
  }
  return { layers: runs.map(({ first, last, names }) => blocks(first, last) + (names && `:${names}`)).join(";"), modules: "" };
}

/** The first and the last block of a mask of blocks alone; null for another mask. @param {string} layers @returns {[first: number, last: number]|null} */
export function rangeOf(layers) {
  const [, first, last = first] = /^(\d+)\s*(?:-\s*(\d+))?$/.exec(layers.trim()) ?? [];
  return first === undefined ? null : [Number(first), Number(last)];
}
