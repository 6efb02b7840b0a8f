// A lesson under way: which step, what was answered, what of it is done; and how a link says it. No
// elements here.
//
//   #lesson=dose&step=3&hide=seed,settings&lock=prompt&auto=1
//
// `lesson` is the name of one that comes with the page, or the address of a file on the same server.
// hide= and lock= do without a lesson, too.
import { say } from "../say.js";
import { HIDEABLE, LOCKABLE, TITLES } from "./lesson-schema.js";
import { inert } from "./report.js";
import { readable } from "./url.js";

/**
 * @typedef {import("./lesson-file.js").Lesson} Lesson
 * @typedef {import("./lesson-file.js").Setting} Setting
 * @typedef {import("./lesson-file.js").Complaint} Complaint
 *
 * What lessons/index.json says of each.
 * @typedef {{name: string, title: string, about: string, minutes: number, steps: number}} Listed
 * What is kept of a lesson in this browser. `done`: steps whose task is done; `answers` by step.
 * @typedef {{step: number, answers: Record<string, string>, done: number[], over: boolean}} Progress
 *
 * @typedef {object} LessonState
 * @property {Listed[]} list         what comes with the page
 * @property {"none"|"coming"|"on"|"failed"} status
 * @property {string} name           "dose", "own", or an address
 * @property {Lesson|null} lesson
 * @property {boolean} foreign       whether it is not there in the page's language, if that is not English
 * @property {number} step           from 0
 * @property {Record<string, string>} answers
 * @property {number[]} done
 * @property {boolean} over          whether its last step was reached
 * @property {boolean} auto          whether it runs by itself
 * @property {boolean} paused
 * @property {boolean} noRecording   whether the recording that it plays could not be fetched
 * @property {string[]} hide         what a link hides
 * @property {string[]} lock         what a link locks
 * @property {Complaint[]} complaints why a lesson could not be begun
 * @property {string[]} ignored      what a link asks for that the page does not know
 */

/** @type {LessonState} */
export const NO_LESSON = {
  list: [], status: "none", name: "", lesson: null, foreign: true, step: 0, answers: {}, done: [], over: false, auto: false, paused: false, noRecording: false,
  hide: [], lock: [], complaints: [], ignored: [],
};

/** There are fewer parts than this to hide or to lock: what a link names beyond it is not even told. */
const MOST_NAMES = 40;

/**
 * `step`: from 0; null is where it was left.
 * @typedef {{lesson: string|null, step: number|null, hide: string[], lock: string[], auto: boolean, ignored: string[]}} Asked
 */

/** What a link asks of lessons. @param {string} hash @returns {Asked} */
export function askedOf(hash) {
  const params = new URLSearchParams(hash.replace(/^#/, ""));
  /** @type {string[]} */
  const ignored = [];
  const names = (/** @type {string} */ key, /** @type {string[]} */ known) => (params.get(key) ?? "").split(",", MOST_NAMES).filter(Boolean).filter((name) => {
    if (known.includes(name)) return true;
    ignored.push(`${key}=${name.slice(0, 40)}`);
    return false;
  });
  const [hide, lock] = [names("hide", HIDEABLE), names("lock", LOCKABLE)];
  const step = Number(params.get("step") ?? NaN);
  const isStep = Number.isInteger(step) && step >= 1;
  if (params.has("step") && !isStep) ignored.push(`step=${params.get("step")?.slice(0, 40)}`);
  const auto = params.get("auto") === "1";
  // What runs by itself was not left anywhere.
  return { lesson: params.get("lesson") || null, step: isStep ? step - 1 : auto ? 0 : null, hide, lock, auto, ignored };
}

/** What of a link is about the engine and not about what is done with it: a lesson's link keeps it. */
const BESIDE = ["m", "hub", "device", "software", "lang"];

/**
 * A link with the lesson in it: in place of what the lesson sets, and beside everything else.
 * @param {string} link of the page as it is @param {LessonState} lesson
 */
export function withLesson(link, { status, name, step, hide, lock, auto }) {
  const params = new URLSearchParams(link.replace(/^#/, ""));
  if (status === "on" && name !== OWN) for (const key of [...params.keys()]) if (!BESIDE.includes(key)) params.delete(key);
  if (status === "on") params.set("lesson", name);
  // Whoever opens a class's link again goes on where it was left.
  if (status === "on" && step > 0) params.set("step", String(step + 1));
  if (hide.length) params.set("hide", hide.join(","));
  if (lock.length) params.set("lock", lock.join(","));
  if (status === "on" && auto) params.set("auto", "1");
  return readable(params);
}

/** The name of one that was opened from a file; it is kept in this browser. */
export const OWN = "own";

/** Whether a name is that of one that comes with the page, and not an address. @param {string} name */
export const isName = (name) => /^[a-z0-9][a-z0-9-]*$/.test(name);

/** The address of a lesson's file, if this page may read it. @param {string} address @param {string} base the page's own @returns {string|null} */
export function sameOrigin(address, base) {
  try {
    const url = new URL(address, base);
    return /^https?:$/.test(url.protocol) && url.origin === new URL(base).origin ? url.href : null;
  } catch {
    return null;
  }
}

/** What a lesson has set once a step is reached: later settings over earlier ones. @param {Lesson} lesson @param {number} step @param {boolean} revealed whether that of its answered question too @returns {Setting} */
export function settingAt({ state, steps }, step, revealed) {
  const until = steps.slice(0, step + 1).flatMap(({ state: own, predict }, at) => [own, at < step || revealed ? predict?.state : undefined]);
  const { look, open, ...all } = Object.assign({}, state, ...until);
  // These are of their moment.
  const { look: looks, open: opens } = { ...steps[step]?.state, ...(revealed ? steps[step]?.predict?.state : {}) };
  return { ...all, ...(looks !== undefined && { look: looks }), ...(opens && { open: opens }) };
}

/** What a part is called: as on the page, where it has a title. @param {string} part */
export const partTitle = (part) => (Object.hasOwn(TITLES, part) ? say(TITLES[part]) : say(`lesson.part.${part}`));

/** Parts that are hidden, locked or framed now. @param {LessonState} state @param {"hide"|"lock"|"point"} which */
export function partsNow({ status, lesson, step, hide, lock }, which) {
  const linked = { hide, lock, point: [] }[which];
  if (status !== "on" || !lesson) return linked;
  const now = lesson.steps[step];
  return [...new Set([...linked, ...(which === "point" ? [] : lesson[which] ?? []), ...now?.[which] ?? []])];
}

/** The adapters that a lesson is about: all that it names anywhere. @param {Lesson} lesson */
export const castOf = ({ state, steps }) => new Set([state, ...steps.flatMap(({ state: own, predict, demo = [] }) => [own, predict?.state, ...demo])]
  .flatMap((setting) => Object.keys(setting?.adapters ?? {})));

/** Whether a step's question is still open: then it is not told what comes of it. @param {LessonState} state */
export const isOpen = ({ lesson, step, answers }) => Boolean(lesson?.steps[step]?.predict) && answers[step] === undefined;

// ---- what is kept and handed in -------------------------------------------------------------------

/** @type {Progress} */
export const NO_PROGRESS = { step: 0, answers: {}, done: [], over: false };

/**
 * Of the answers those that are still a choice of their question: another language has other words for it.
 * @param {Record<string, string>} answers @param {Lesson} lesson
 */
export const fitting = (answers, { steps }) => Object.fromEntries(Object.entries(answers).filter(([at, answer]) =>
  answer === "" || (steps[Number(at)]?.predict?.choices?.includes(answer) ?? true)));

/**
 * How a lesson of the list begins: what is over begins again.
 * @param {Progress|undefined} progress @param {number} steps @returns {"begin"|"go-on"|"again"}
 */
export function entryOf(progress, steps) {
  const { step, over } = progress ?? NO_PROGRESS;
  if (over && (step === 0 || step >= steps - 1)) return "again";
  return step > 0 && step < steps ? "go-on" : "begin";
}

/** The lesson that a teacher's link is for, unless another is chosen: the one that is on, else the first. @param {LessonState} state */
export const lessonForLink = ({ list, name, status }) => (status === "on" && list.find((one) => one.name === name) || list[0])?.name ?? "";

/** What was kept of lessons, by their names; what is not as it should be is nothing. @param {string|null} text @returns {Record<string, Progress>} */
export function progressIn(text) {
  try {
    const all = Object.entries(JSON.parse(text ?? "{}") ?? {}).filter(([, one]) => Number.isInteger(one?.step) && one.step >= 0
      && typeof one.answers === "object" && one.answers && Object.values(one.answers).every((answer) => typeof answer === "string") && Array.isArray(one.done));
    return Object.fromEntries(all.map(([name, { step, answers, done, over }]) => [name, { step, answers, done: done.filter(Number.isInteger), over: over === true }]));
  } catch {
    return {};
  }
}

/** What each step asked and was answered. @param {LessonState} state */
export const answered = ({ lesson, answers, done }) => (lesson?.steps ?? []).flatMap((step, at) => [
  ...(step.predict ? [{ at, asked: step.predict.question, answer: answers[at] ?? "", right: verdict(step.predict, answers[at]) }] : []),
  ...(step.try ? [{ at, asked: step.try, answer: done.includes(at) ? say("lesson.hand.did") : "", right: "" }] : []),
]);

/** @param {import("./lesson-file.js").Predict} predict @param {string|undefined} answer */
function verdict({ choices, answer: right }, answer) {
  if (!choices || right === undefined || answer === undefined) return "";
  return say(answer === choices[right] ? "lesson.hand.right" : "lesson.hand.other");
}

/** The answers for a teacher, to read. @param {LessonState} state */
export const asText = (state) => [
  say("lesson.hand.head", { title: state.lesson?.title ?? "" }),
  ...answered(state).map(({ at, asked, answer, right }) => `${at + 1}. ${asked}\n   ${[answer || say("lesson.hand.nothing"), right].filter(Boolean).join(" · ")}`),
].join("\n\n");

/** A field of CSV. @param {string} text */
const field = (text) => `"${inert(text).replaceAll('"', '""')}"`;

/** The answers for a table. @param {LessonState} state */
export const asCsv = (state) => [
  ["lesson", "step", "asked", "answer", "verdict"].map((name) => say(`lesson.csv.${name}`)),
  ...answered(state).map(({ at, asked, answer, right }) => [state.lesson?.title ?? "", String(at + 1), asked, answer, right]),
].map((row) => row.map(field).join(",")).join("\r\n");
