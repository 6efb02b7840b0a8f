// All methods beside each other: a row for each, a column for each behaviour, and in each cell an adapter
// of the zoo or why there is none. And what adapters/zoo.json says of the nats at each c, read between
// its points. No elements here.
import { say } from "../say.js";
import { tableOf } from "./measured.js";
import { behavioursOf, nameOf, trainedFor } from "./zoo.js";

/**
 * @typedef {import("./store.js").Adapter} Adapter
 * @typedef {import("./store.js").State} State
 * @typedef {import("./zoo.js").ZooItem} ZooItem
 *
 * What adapters/zoo.json says of a method, and what the engine's cards say too.
 * @typedef {Pick<import("../engine/protocol.js").MethodCard, "name"|"title"|"family"|"law"|"hypothesis"> & {trainsNot?: string|null}} Method
 *
 * What it says of an adapter; `c` and `nats` are its measured points, a null has no number.
 * @typedef {object} Row
 * @property {string} folder
 * @property {string} method
 * @property {string} behaviour
 * @property {number|null} [parameters]
 * @property {string|null} [failed]         why there is no adapter
 * @property {boolean|null} [trainsReverse] whether −1 was trained too
 * @property {string|null} [law]
 * @property {(number|null)[]|null} [d]     at −1, 0 and 1
 * @property {number[]|null} [c]
 * @property {(number|null)[]|null} [nats]
 * @property {{nats: number, c: (number|null)[], d: (number|null)[]|null, note: string|null}|null} [dose] c and d where the nats are these, below 0 and above; d at 0 between them
 *
 * @typedef {{model: string|null, methods: Method[], rows: Row[]}} Listed
 *
 * @typedef {object} Methods
 * @property {"none"|"coming"|"here"|"failed"} status of adapters/zoo.json
 * @property {Listed|null} listed
 * @property {import("./store.js").ErrorShape|null} error of that, or of the last choice
 * @property {boolean} sameDose  a switch keeps the nats and not c
 * @property {boolean} beside    a choice takes no other's place
 * @property {string|null} taking the folder that is on its way
 * @property {string} said       what came of the last choice
 * @property {string[]} picked   folders to compare
 *
 * @typedef {object} Cell
 * @property {string} behaviour
 * @property {ZooItem|null} item     what can be fetched
 * @property {Row|null} row
 * @property {"on"|"off"|"there"|"missing"} state on: it is listed and turned; off: listed, and does not act
 * @property {number|null} effect    d(1) − d(−1)
 * @property {number|null} nats      at c = 1
 * @property {string} why            where it is missing
 *
 * @typedef {{name: string, title: string, method: Method|null, law: string|null, parameters: number|null, cells: Cell[]}} Line
 * @typedef {{family: Method["family"]|null, lines: Line[]}} Family
 */

/** @type {Methods} */
export const NO_METHODS = { status: "none", listed: null, error: null, sameDose: false, beside: false, taking: null, said: "", picked: [] };

/** @param {any} value @returns {value is Listed} */
export const isListed = (value) => ["methods", "rows"].every((field) => Array.isArray(value?.[field]));

/** Key of one of the zoo in the list of adapters. @param {string} folder */
export const keyOf = (folder) => `zoo:${folder}`;

/** The methods: the list's, or as long as it is not there the engine's. @param {State} state @returns {Method[]} */
export const methodsOf = ({ methods, engine }) => methods.listed?.methods ?? engine.methods;

/** @param {State} state @param {string} folder @returns {Row|null} */
export const rowOf = ({ methods }, folder) => methods.listed?.rows.find((row) => row.folder === folder) ?? null;

/** The row of one of the zoo, of which behaviour it acts for: one for several has a row of each. @param {State} state @param {ZooItem} item @param {string} behaviour */
const rowFor = (state, item, behaviour) => rowOf(state, item.behaviours ? `${behaviour}/${nameOf(item.folder)}` : item.folder);

/** Whether each of the behaviours that it was trained for is one of its tasks; a gate weighs its experts for all. @param {ZooItem} item */
export const hasTasks = ({ behaviours, experts }) => behaviours !== undefined && !experts;

/** The behaviours that an adapter of the zoo acts for as it is set. @param {ZooItem} item @param {Adapter|undefined} adapter @returns {string[]} */
function actsFor(item, adapter) {
  const all = trainedFor(item);
  const task = adapter && hasTasks(item) ? all[adapter.task ?? 0] : undefined;
  return task === undefined ? all : [task];
}

/** Behaviours that something was trained for, in the order of the list. @param {State} state */
export const columnsOf = ({ zoo, methods }) => [...new Set([...behavioursOf(zoo), ...(methods.listed?.rows ?? []).map(({ behaviour }) => behaviour)])];

/** The behaviour that most were trained for: where a comparison begins. @param {State} state */
export function richestOf(state) {
  const many = (/** @type {string} */ column) => state.zoo.filter(({ behaviour }) => behaviour === column).length;
  return columnsOf(state).reduce((most, column) => (many(column) > many(most) ? column : most), "");
}

/** Whether it acts, or will once there is a model. @param {Adapter} adapter */
const acts = ({ enabled, coefficient }) => enabled && coefficient !== 0;

/** Its method's title, with its own name where that says more: "LoRA (r16)". @param {Method|null} method @param {string} name */
export function titled(method, name) {
  if (!method || method.name === name) return method?.title ?? name;
  const own = name.startsWith(`${method.name}-`) ? name.slice(method.name.length + 1) : name;
  return say("zoo.variant", { title: method.title, name: own });
}

/** The title of one of the zoo's adapters. @param {State} state @param {string} folder of it @param {string} method its method's name */
export const titleIn = (state, folder, method) => titled(methodsOf(state).find(({ name }) => name === method) ?? null, nameOf(folder));

/**
 * Families in the methods' order; what is of no method that is known comes last, without a family.
 * @param {State} state @param {string} [filter] words that all have to be in a line's title, family, law, name or hypothesis
 * @returns {Family[]}
 */
export function gridOf(state, filter = "") {
  const { zoo, adapters, methods: { listed } } = state;
  const methods = methodsOf(state);
  const columns = columnsOf(state);
  const rows = listed?.rows ?? [];
  /** @type {{folder: string, method: string}[]} */
  const there = [...zoo, ...rows];
  const words = filter.toLowerCase().split(/\s+/).filter(Boolean);
  const line = (/** @type {string} */ name, /** @type {Method|null} */ method) => {
    const cells = columns.map((behaviour) => {
      const item = zoo.find((one) => trainedFor(one).includes(behaviour) && nameOf(one.folder) === name) ?? null;
      const row = rows.find((one) => one.behaviour === behaviour && nameOf(one.folder) === name) ?? null;
      const folder = (item ?? row)?.folder;
      return cellOf(behaviour, method, item, row, adapters.find(({ key }) => folder !== undefined && key === keyOf(folder)));
    });
    const parameters = cells.map(({ item, row }) => item?.parameters ?? row?.parameters ?? null).find((n) => n !== null) ?? null;
    return { name, title: titled(method, name), method, law: cells.map(({ row }) => row?.law).find(Boolean) ?? method?.law ?? null, parameters, cells };
  };
  const namesOf = (/** @type {string} */ method) => [...new Set(there.filter((one) => one.method === method).map(({ folder }) => nameOf(folder)))]
    .sort((a, b) => Number(b === method) - Number(a === method) || a.localeCompare(b, undefined, { numeric: true }));
  const known = methods.map((method) => ({ family: method.family, lines: (namesOf(method.name).length ? namesOf(method.name) : [method.name]).map((name) => line(name, method)) }));
  const others = [...new Set(there.map(({ method }) => method))].filter((name) => !methods.some((method) => method.name === name))
    .flatMap((method) => namesOf(method).map((name) => line(name, null)));
  const families = [...new Set(methods.map(({ family }) => family)), null];
  return families.map((family) => ({
    family,
    lines: (family === null ? others : known.filter((one) => one.family === family).flatMap(({ lines }) => lines))
      .filter((one) => words.every((word) => searched(one).includes(word))),
  })).filter(({ lines }) => lines.length);
}

/** @param {Line} line */
const searched = ({ name, title, law, method }) => [
  name, title, law, method?.hypothesis, method && `${method.family} ${say(`train.family.${method.family}`)}`,
].filter(Boolean).join(" ").toLowerCase();

/** @param {string} behaviour @param {Method|null} method @param {ZooItem|null} item @param {Row|null} row @param {Adapter|undefined} adapter @returns {Cell} */
function cellOf(behaviour, method, item, row, adapter) {
  const [low, , high] = row?.d ?? [];
  // One with tasks is in the cell of that which it runs.
  const here = adapter && (!item || actsFor(item, adapter).includes(behaviour));
  return {
    behaviour, item, row,
    state: here ? (acts(adapter) ? "on" : "off") : item ? "there" : "missing",
    effect: typeof low === "number" && typeof high === "number" ? high - low : null,
    nats: row?.nats?.[row.c?.indexOf(1) ?? -1] ?? null,
    why: item || adapter ? "" : row?.failed ? say("methods.why.failed", { why: row.failed })
      : method?.trainsNot ? say("methods.why.not", { why: method.trainsNot }) : say("methods.why.untrained"),
  };
}

/** Folders of a behaviour that can be fetched, in the order of the grid. @param {State} state @param {string} behaviour */
export const choices = (state, behaviour) => gridOf(state).flatMap(({ lines }) => lines)
  .flatMap(({ cells }) => cells.filter((cell) => cell.behaviour === behaviour && cell.item)).map(({ item }) => /** @type {ZooItem} */ (item).folder);

/** The zoo's adapter that a key goes on from: the one used last, else the last that acts, else any. @param {State} state @returns {ZooItem|null} */
export function chosenOf({ adapters, active, zoo }) {
  const ours = adapters.filter(({ key }) => zoo.some(({ folder }) => keyOf(folder) === key));
  const one = ours.find(({ key }) => key === active) ?? ours.findLast(acts) ?? ours.at(-1);
  return zoo.find(({ folder }) => folder === one?.name) ?? null;
}

/** The behaviour that one of the zoo stands for among the others: of several its task's. @param {State} state @param {ZooItem} item */
export const behaviourOf = ({ adapters }, item) => actsFor(item, adapters.find(({ key }) => key === keyOf(item.folder)))[0] ?? item.behaviour;

/**
 * Those whose place another of their behaviour takes: what the zoo has for it, and what comes with the
 * page and is named after it.
 * @param {State} state @param {ZooItem} item @param {string} [behaviour] of several that it was trained for
 */
export const rivalsOf = ({ adapters, zoo }, { folder, ...item }, behaviour = item.behaviour) => adapters.filter((adapter) => acts(adapter) && adapter.name !== folder
  && (zoo.some((one) => keyOf(one.folder) === adapter.key && actsFor(one, adapter).includes(behaviour)) || adapter.key.startsWith(`shipped:${behaviour}-`)));

// ---- nats and c ------------------------------------------------------------------------------------

/** @typedef {{c: number, nats: number}} Point */

/** The points of a row: what was measured, and the c that was found for its dose. @param {Row|null} row @returns {Point[]} */
export function pointsOf(row) {
  const found = (row?.c ?? []).map((c, at) => ({ c, nats: row?.nats?.[at] ?? null }));
  const dosed = (row?.dose?.c ?? []).map((c) => ({ c, nats: row?.dose?.nats ?? null }));
  return inOrder([...dosed, ...found]);
}

/** In the order of c, each c once; a coefficient without a number is left out. @param {{c: number|null, nats: number|null}[]} points @returns {Point[]} */
const inOrder = (points) => points.filter((/** @type {any} */ point) => typeof point.c === "number" && typeof point.nats === "number")
  .filter(({ c }, at, all) => all.findIndex((other) => other.c === c) === at)
  .map((point) => /** @type {Point} */ (point)).sort((a, b) => a.c - b.c);

/**
 * What is known of an adapter's nats as it acts now: measured in this browser, or where nothing of it was
 * changed and the model is the zoo's, what the zoo measured.
 * @param {State} state @param {Adapter} adapter @returns {Point[]}
 */
export function curveOf(state, adapter) {
  const table = tableOf(state, adapter.key);
  if (table) return inOrder(table.coefficients.map((c, at) => ({ c, nats: table.kl_nats.p95[at] ?? null })));
  const { layers, modules, positions, entry, law = entry?.law } = adapter;
  const item = state.zoo.find(({ folder }) => folder === adapter.name);
  const row = item ? rowFor(state, item, actsFor(item, adapter)[0]) : null;
  const changed = layers || modules || positions || (law && row?.law && law !== row.law);
  return changed || !fitsZoo(state) ? [] : pointsOf(row);
}

/** Nats at c, on the straight line between the points around it; null outside of them. @param {Point[]} points @param {number} c */
export function natsOn(points, c) {
  const exact = points.find((point) => point.c === c);
  if (exact) return exact.nats;
  const above = points.findIndex((point) => point.c > c);
  if (above <= 0) return null;
  const [a, b] = [points[above - 1], points[above]];
  return a.nats + ((c - a.c) / (b.c - a.c)) * (b.nats - a.nats);
}

/**
 * The c nearest to 0 on one side at which there are so many nats, on the straight lines between points;
 * where there never are, the c with the most of them.
 * @param {Point[]} points @param {number} nats @param {1|-1} sign
 * @returns {{c: number, nats: number, reached: boolean}|null} null without any point on that side
 */
export function cAt(points, nats, sign) {
  const side = points.filter(({ c }) => c * sign > 0).sort((a, b) => Math.abs(a.c) - Math.abs(b.c));
  let from = { c: 0, nats: 0 };
  for (const to of side) {
    if (to.nats >= nats) return { c: from.c + ((nats - from.nats) / (to.nats - from.nats)) * (to.c - from.c), nats, reached: true };
    from = to;
  }
  if (!side.length) return null;
  return { ...side.reduce((most, one) => (one.nats > most.nats ? one : most)), reached: false };
}

/**
 * Where the one that comes is turned, and what is to be said of it.
 * @param {State} state @param {{item: ZooItem, behaviour?: string, title: string}} comes @param {Adapter|undefined} goes whose place it takes
 * @returns {{c: number, said: string}}
 */
export function turnFor(state, { item, behaviour = item.behaviour, title }, goes) {
  const at = (/** @type {number} */ c) => c.toFixed(2).replace("-", "−");
  if (!goes) return { c: 1, said: say("methods.on", { title, c: at(1) }) };
  const { coefficient: c, title: before } = goes;
  if (!state.methods.sameDose || c === 0) return { c, said: say("methods.swapped", { title, c: at(c), before }) };
  const nats = natsOn(curveOf(state, goes), c);
  const points = fitsZoo(state) ? pointsOf(rowFor(state, item, behaviour)) : [];
  if (nats === null || !points.length) return { c, said: say("dose.methods.no-curve", { title, c: at(c), of: nats === null ? before : title }) };
  const found = cAt(points, nats, c < 0 ? -1 : 1);
  if (!found) return { c, said: say("dose.methods.no-curve", { title, c: at(c), of: title }) };
  const to = Number(found.c.toFixed(2));
  const told = { title, c: at(to), before, nats: nats.toFixed(2) };
  return { c: to, said: found.reached ? say("dose.methods.same", { ...told, was: at(c) }) : say("dose.methods.least", { ...told, most: found.nats.toFixed(2) }) };
}

/** Whether what the zoo measured says something of the model that is there. @param {State} state */
export const fitsZoo = ({ model, methods }) => !model.info || !methods.listed?.model || model.info.name === methods.listed.model;
