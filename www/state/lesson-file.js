// Reads a lesson's file. It may be anybody's: whatever is not as the schema has it is told by its key,
// and nothing of it is used. No elements here.
import { listed, say } from "../say.js";
import { MOST_CHARACTERS, SCHEMA } from "./lesson-schema.js";

/**
 * @typedef {{key: string, why: string}} Complaint `key`: "steps[2].predict.answer"
 *
 * What a step sets; the adapters with their c, or with more.
 * @typedef {{c: number, on?: boolean, layers?: string, modules?: string}} Turned
 * @typedef {object} Setting
 * @property {Record<string, number|Turned>} [adapters]
 * @property {string} [active]
 * @property {string} [prompt]
 * @property {string} [system]
 * @property {boolean} [chat]
 * @property {number} [seed]
 * @property {number} [temperature]
 * @property {number} [maxTokens]
 * @property {"keep"|"recompute"} [cache]
 * @property {"c"|"nats"} [units]
 * @property {number|"split"} [look]
 * @property {string[]} [open]
 *
 * @typedef {string|number|boolean} Value
 * @typedef {{fact: string, of?: string, is?: Value, isNot?: Value, atLeast?: number, atMost?: number}} Asks
 * @typedef {Asks|{all: Condition[]}|{any: Condition[]}} Condition
 * @typedef {{question: string, choices?: string[], answer?: number, reveal: string[], state?: Setting}} Predict
 * @typedef {{kind: "table"|"curve", adapters: string[], columns?: string[]}} Figure
 *
 * @typedef {object} Step
 * @property {string} [title]
 * @property {string[]} say
 * @property {Setting} [state]
 * @property {string[]} [hide]
 * @property {string[]} [lock]
 * @property {string[]} [point]
 * @property {Figure} [figure]
 * @property {string} [code]
 * @property {Predict} [predict]
 * @property {string} [try]
 * @property {Condition} [done]
 * @property {Setting[]} [demo]
 * @property {string} [live]
 * @property {string} [keep]
 *
 * @typedef {object} Lesson
 * @property {string} title
 * @property {string} [about]
 * @property {number} [minutes]
 * @property {string} [recording]
 * @property {Setting} [state]
 * @property {string[]} [hide]
 * @property {string[]} [lock]
 * @property {Step[]} steps
 */

/**
 * A lesson's texts in another language: what `words` has at the same place is said instead, and all else stays.
 * @template T @param {T} said @param {any} words texts alone, nested as the lesson is @returns {T}
 */
export function translated(said, words) {
  if (typeof said === "string") return typeof words === "string" ? /** @type {any} */ (words) : said;
  if (typeof said !== "object" || !said || typeof words !== "object" || !words) return said;
  if (Array.isArray(said)) return /** @type {any} */ (said.map((one, at) => translated(one, words[at])));
  return /** @type {any} */ (Object.fromEntries(Object.entries(said).map(([key, one]) => [key, translated(one, words[key])])));
}

/** Deeper than any lesson that means something. */
const MOST_DEEP = 16;
/** More complaints than anybody reads at once are not told. */
const MOST_COMPLAINTS = 20;

/** @param {string} text @returns {{lesson: Lesson, complaints: []}|{lesson: null, complaints: Complaint[]}} */
export function readLesson(text) {
  if (text.length > MOST_CHARACTERS) return refused("", say("lesson.bad.large", { most: MOST_CHARACTERS, n: text.length }));
  /** @type {any} */
  let json;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return refused("", say("lesson.bad.json", { why: error instanceof Error ? error.message : String(error) }));
  }
  if (json?.format !== "steering-lesson" && !Array.isArray(json) && typeof json === "object" && json) {
    return refused("format", say("lesson.bad.format", { format: "steering-lesson" }));
  }
  const complaints = [...check(json, SCHEMA, ""), ...beyond(json)].slice(0, MOST_COMPLAINTS);
  return complaints.length ? { lesson: null, complaints } : { lesson: json, complaints: [] };
}

/** @param {string} key @param {string} why @returns {{lesson: null, complaints: Complaint[]}} */
const refused = (key, why) => ({ lesson: null, complaints: [{ key, why }] });

/** What a schema cannot say. @param {any} json @returns {Complaint[]} */
function beyond(json) {
  if (!Array.isArray(json?.steps)) return [];
  return json.steps.flatMap((/** @type {any} */ step, /** @type {number} */ at) => {
    const { choices, answer } = step?.predict ?? {};
    const key = `steps[${at}].predict.answer`;
    // What is no number is told by the schema.
    if (typeof answer !== "number") return [];
    if (!Array.isArray(choices)) return [{ key, why: say("lesson.bad.answer-alone") }];
    return answer < choices.length ? [] : [{ key, why: say("lesson.bad.answer", { n: choices.length }) }];
  });
}

/**
 * Names of adapters that are none.
 * @param {Lesson} lesson @param {string[]} known those that a step can turn @param {string[]} measured those that a figure can show
 * @returns {Complaint[]}
 */
export function unknownAdapters({ state, steps }, known, measured) {
  const told = (/** @type {string} */ key, /** @type {string|undefined} */ name, list = known) => (name === undefined || list.includes(name) ? []
    : [{ key, why: say("lesson.bad.enum", { found: short(name), names: listed(list, "unit") }) }]);
  const set = (/** @type {string} */ key, /** @type {Setting|undefined} */ wish) => [
    ...Object.keys(wish?.adapters ?? {}).flatMap((name) => told(`${key}.adapters.${name}`, name)), ...told(`${key}.active`, wish?.active),
  ];
  /** @returns {Complaint[]} */
  const asked = (/** @type {string} */ key, /** @type {Condition} */ done) => ("all" in done ? done.all.flatMap((one, at) => asked(`${key}.all[${at}]`, one))
    : "any" in done ? done.any.flatMap((one, at) => asked(`${key}.any[${at}]`, one)) : told(`${key}.of`, done.of));
  return [...set("state", state), ...steps.flatMap((step, at) => {
    const key = `steps[${at}]`;
    return [
      ...set(`${key}.state`, step.state), ...(step.figure?.adapters ?? []).flatMap((name, one) => told(`${key}.figure.adapters[${one}]`, name, measured)),
      ...set(`${key}.predict.state`, step.predict?.state), ...(step.done ? asked(`${key}.done`, step.done) : []),
      ...(step.demo ?? []).flatMap((wish, one) => set(`${key}.demo[${one}]`, wish)),
    ];
  })].slice(0, MOST_COMPLAINTS);
}

/** The kind of a value, as JSON Schema calls it. @param {any} value */
const kindOf = (value) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value);

/** @param {any} schema */
const resolved = (schema) => (schema.$ref ? { .../** @type {any} */ (SCHEMA.$defs)[schema.$ref.slice("#/$defs/".length)], ...schema, $ref: undefined } : schema);

/**
 * As much of JSON Schema as the schema of lessons uses.
 * @param {any} value @param {any} asked @param {string} key @param {number} [deep] @returns {Complaint[]}
 */
export function check(value, asked, key, deep = 0) {
  const schema = resolved(asked);
  const kind = kindOf(value);
  const complain = (/** @type {string} */ why) => [{ key, why }];
  if (deep > MOST_DEEP) return complain(say("lesson.bad.deep", { most: MOST_DEEP }));
  if (schema.anyOf) return checkAny(value, schema.anyOf, key, deep);
  if ("const" in schema) return value === schema.const ? [] : complain(say("lesson.bad.const", { value: JSON.stringify(schema.const) }));
  if (schema.enum) {
    return schema.enum.includes(value) ? [] : complain(say("lesson.bad.enum", { found: short(value), names: listed(schema.enum, "unit") }));
  }
  const isKind = schema.type === "integer" ? Number.isInteger(value) : schema.type === kind && (kind !== "number" || Number.isFinite(value));
  if (!isKind) return complain(say(`lesson.bad.type.${schema.type}`, { found: short(value) }));
  if (kind === "number" && (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity))) {
    return complain(say("lesson.bad.range", { found: String(value), min: String(schema.minimum), max: String(schema.maximum) }));
  }
  if (kind === "string") {
    if (schema.minLength && !value.length) return complain(say("lesson.bad.empty"));
    if (value.length > (schema.maxLength ?? Infinity)) return complain(say("lesson.bad.long", { n: value.length, most: schema.maxLength }));
    if (schema.pattern && !new RegExp(schema.pattern, "u").test(value)) return complain(say("lesson.bad.pattern", { found: short(value), pattern: schema.pattern }));
  }
  if (kind === "array") {
    if (value.length < (schema.minItems ?? 0)) return complain(say("lesson.bad.few", { least: schema.minItems }));
    if (value.length > schema.maxItems) return complain(say("lesson.bad.many", { n: value.length, most: schema.maxItems }));
    return value.flatMap((/** @type {any} */ item, /** @type {number} */ at) => check(item, schema.items, `${key}[${at}]`, deep + 1));
  }
  return kind === "object" ? checkObject(value, schema, key, deep) : [];
}

/** @param {any} value @param {any} schema @param {string} key @param {number} deep @returns {Complaint[]} */
function checkObject(value, schema, key, deep) {
  const inside = (/** @type {string} */ name) => (key ? `${key}.${name}` : name);
  const names = Object.keys(value);
  const missing = (schema.required ?? []).filter((/** @type {string} */ name) => !Object.hasOwn(value, name));
  if (names.length > (schema.maxProperties ?? Infinity)) return [{ key, why: say("lesson.bad.many", { n: names.length, most: schema.maxProperties }) }];
  return [
    ...missing.map((/** @type {string} */ name) => ({ key: inside(name), why: say("lesson.bad.missing") })),
    ...names.flatMap((name) => {
      if (schema.properties && Object.hasOwn(schema.properties, name)) return check(value[name], schema.properties[name], inside(name), deep + 1);
      if (!schema.additionalProperties) return [{ key: inside(name.slice(0, 40)), why: say("lesson.bad.unknown", { names: listed(Object.keys(schema.properties), "unit") }) }];
      const named = schema.propertyNames ? check(name, schema.propertyNames, inside(name.slice(0, 80))) : [];
      return [...named, ...check(value[name], schema.additionalProperties, inside(name), deep + 1)];
    }),
  ];
}

/** One of several: the complaints of the one that is meant. @param {any} value @param {any[]} schemas @param {string} key @param {number} deep @returns {Complaint[]} */
function checkAny(value, schemas, key, deep) {
  const all = schemas.map((schema) => ({ schema: resolved(schema), complaints: check(value, schema, key, deep) }));
  if (all.some(({ complaints }) => !complaints.length)) return [];
  // What is an object is meant as the one that has its first key.
  const [first] = kindOf(value) === "object" ? Object.keys(value) : [];
  const meant = all.find(({ schema }) => schema.type === kindOf(value) && (!schema.properties || Object.hasOwn(schema.properties, first ?? "")));
  return (meant ?? all[all.length - 1]).complaints;
}

/** A value as it is quoted in a sentence. @param {any} value */
function short(value) {
  let text;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    // Lists in lists can be read deeper than they can be written.
    text = Array.isArray(value) ? "[…]" : "{…}";
  }
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
