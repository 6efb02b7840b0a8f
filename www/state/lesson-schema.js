// What a lesson's file may hold, as JSON Schema. lesson-file.js reads a file by it, and docs/lesson.schema.json
// is the same with descriptions, for editors; a test compares both.

/** Parts of the page that a lesson may name, and where they are. Nothing else of a lesson ever becomes a selector. @type {Record<string, string>} */
export const PARTS = {
  model: "#model",
  adapters: "#adapters, #adapters-open",
  coefficient: ".dose-row, #dosebar .track, #dosebar .dose-box",
  "adapter-switch": ".adapter .switch",
  "adapter-card": ".adapter .more",
  "adapter-where": ".adapter .where",
  "adapter-add": "#adapter-add",
  prompt: "#prompt",
  run: "#run, #load-run, #stop",
  examples: ".examples",
  seed: "#reseed",
  settings: ".settings:not(.conversation)",
  conversation: ".conversation",
  texts: "#columns",
  base: ".column.base",
  steered: ".column.steered",
  figures: "#stats",
  strips: "#strips",
  token: "#token",
  measure: "#measure",
  runs: "#runs",
  curve: "#curve",
  same: "#same",
  equal: "#equal",
  layers: "#layers",
  method: "#method",
  vector: "#vector",
  train: "#train",
};

/** Of what every adapter has, a frame is around that of the one that is turned, and in one column around what opens it. @type {Record<string, string>} */
export const POINTS = {
  coefficient: '.adapter[data-active="true"] .dose-row, #dosebar .track',
  "adapter-switch": '.adapter[data-active="true"] .switch, #adapters-open',
  "adapter-card": '.adapter[data-active="true"] .more, #adapters-open',
  "adapter-where": '.adapter[data-active="true"] .where, #adapters-open',
  "adapter-add": "#adapter-add, #adapters-open",
};

/** What is hidden with a part: nobody is offered a download of what is not shown. @type {Record<string, string>} */
export const HIDES = { model: "#model, #load-run" };

/** What the page itself calls a part, as keys of its messages; the others are called `lesson.part.NAME`. @type {Record<string, string>} */
export const TITLES = {
  model: "model.title", adapters: "adapters.title", "adapter-card": "adapters.how", "adapter-where": "adapters.where", prompt: "prompt.title",
  examples: "prompt.try", seed: "sampling.seed", settings: "prompt.settings", conversation: "talk.title", figures: "stats.label", strips: "strips.distance",
  token: "next.title", runs: "runs", curve: "dose.curve", same: "dose.same", equal: "dose.equal", layers: "dose.layers", method: "method",
  vector: "dose.vector", train: "train",
};

/** What can be hidden: the texts stay, as a lesson is about them. */
export const HIDEABLE = Object.keys(PARTS).filter((part) => !["texts", "base", "steered"].includes(part));
/** What has something that can be locked. */
export const LOCKABLE = [
  "model", "coefficient", "adapter-switch", "adapter-where", "adapter-add", "prompt", "run", "examples", "seed", "settings", "conversation", "measure",
];

/** A lesson's file is not larger, in characters. */
export const MOST_CHARACTERS = 65_536;

/** What `done` may ask of the page, and what a figure may show of adapters. */
export const FACTS = ["c", "most", "least", "tried", "layers", "dose", "tokens", "split", "same", "looked", "prompt", "system", "cache", "live", "ran", "turned", "measured"];
export const COLUMNS = ["parameters", "d-minus", "d-base", "d-plus", "kl-plus", "shift-plus", "ordered", "c-at-dose", "d-at-dose", "prompting"];

const text = (/** @type {number} */ most) => ({ type: "string", minLength: 1, maxLength: most });
const list = (/** @type {object} */ items, /** @type {number} */ most, least = 0) => ({ type: "array", ...(least && { minItems: least }), maxItems: most, items });
const parts = (/** @type {string[]} */ names) => list({ enum: names }, 32);
const whole = (/** @type {number} */ minimum, /** @type {number} */ maximum) => ({ type: "integer", minimum, maximum });
const number = (/** @type {number} */ minimum, /** @type {number} */ maximum) => ({ type: "number", minimum, maximum });
const ref = (/** @type {string} */ name) => ({ $ref: `#/$defs/${name}` });
const object = (/** @type {object} */ properties, /** @type {string[]} */ required = []) =>
  ({ type: "object", properties, ...(required.length && { required }), additionalProperties: false });

const ADAPTER = { type: "string", pattern: "^[A-Za-z0-9][A-Za-z0-9._/-]{0,79}$" };

export const SCHEMA = {
  $schema: "https://json-schema.org/draft/2020-12/schema",
  ...object({
    $schema: { type: "string", maxLength: 200 },
    format: { const: "steering-lesson" },
    version: { const: 1 },
    title: text(80),
    about: text(300),
    minutes: whole(1, 90),
    recording: { type: "string", pattern: "^[a-z0-9][a-z0-9-]{0,39}$" },
    state: ref("state"),
    hide: parts(HIDEABLE),
    lock: parts(LOCKABLE),
    steps: list(ref("step"), 20, 1),
  }, ["format", "version", "title", "steps"]),
  $defs: {
    step: object({
      title: text(80),
      say: list(text(700), 6, 1),
      state: ref("state"),
      hide: parts(HIDEABLE),
      lock: parts(LOCKABLE),
      point: parts(Object.keys(PARTS)),
      figure: ref("figure"),
      code: text(600),
      predict: ref("predict"),
      try: text(400),
      done: ref("condition"),
      demo: list(ref("state"), 6),
      live: text(300),
      keep: text(300),
    }, ["say"]),
    state: object({
      adapters: { type: "object", propertyNames: ADAPTER, additionalProperties: { anyOf: [number(-8, 8), ref("turned")] }, maxProperties: 8 },
      active: ADAPTER,
      prompt: text(2000),
      system: { type: "string", maxLength: 2000 },
      chat: { type: "boolean" },
      seed: whole(0, 9_007_199_254_740_991),
      temperature: number(0, 100),
      maxTokens: whole(1, 4096),
      cache: { enum: ["keep", "recompute"] },
      units: { enum: ["c", "nats"] },
      look: { anyOf: [whole(1, 4096), { enum: ["split"] }] },
      open: parts(["adapter-card", "adapter-where", "settings", "conversation", "runs", "curve", "same", "equal", "layers", "method", "vector", "train"]),
    }),
    turned: object({
      c: number(-8, 8), on: { type: "boolean" },
      layers: { type: "string", pattern: "^(\\d{1,3}(-\\d{1,3})?)?$" }, modules: { type: "string", pattern: "^[a-z_,]{0,200}$" },
    }, ["c"]),
    predict: object({ question: text(400), choices: list(text(160), 6, 2), answer: whole(0, 5), reveal: list(text(700), 6, 1), state: ref("state") }, ["question", "reveal"]),
    figure: object({ kind: { enum: ["table", "curve"] }, adapters: list(ADAPTER, 8, 1), columns: list({ enum: COLUMNS }, 5) }, ["kind", "adapters"]),
    condition: {
      anyOf: [
        object({ all: list(ref("condition"), 6, 1) }, ["all"]),
        object({ any: list(ref("condition"), 6, 1) }, ["any"]),
        object({ fact: { enum: FACTS }, of: ADAPTER, is: ref("value"), isNot: ref("value"), atLeast: { type: "number" }, atMost: { type: "number" } }, ["fact"]),
      ],
    },
    value: { anyOf: [{ type: "number" }, { type: "string", maxLength: 2000 }, { type: "boolean" }] },
  },
};
