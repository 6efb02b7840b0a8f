// The lesson beside the page: one step at a time, its question, what to try, what to keep; and what the
// lesson hides, locks and frames. All that a lesson says is put in as text.
import { h } from "../dom.js";
import { LANGUAGE, listed, say } from "../say.js";
import { HIDES, PARTS, POINTS } from "../state/lesson-schema.js";
import { OWN, asCsv, asText, castOf, isName, isOpen, partTitle, partsNow } from "../state/lesson.js";
import { ONE_COLUMN } from "../widths.js";
import { figureOf } from "./lesson-figure.js";
import { printSheet } from "./lesson-sheet.js";

/**
 * @typedef {import("../state/store.js").State} State
 * @typedef {import("../state/lesson-file.js").Step} Step
 * @typedef {import("../actions/lessons.js").LessonActions} LessonActions
 */

/** What single keys do to locked parts. @type {Record<string, string[]>} */
const KEYS = { coefficient: ["[", "]", "{", "}", "0", "-"], seed: ["r"] };

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {LessonActions} lessons
 * @param {{load: () => void, left: (link: string|null) => void}} page `load`: the live model; `left`: with the link of what was there before, where the page has to be opened anew
 * @returns {(by: number) => void} goes to the next step or back, within the lesson
 */
export function lessonPanel(root, store, lessons, page) {
  const title = h("h2", { id: "lesson-title", tabIndex: -1 });
  const place = h("span.lesson-place");
  const dots = h("ol.lesson-dots", { "aria-hidden": "true" });
  const fold = h("button.quiet", { type: "button", id: "lesson-fold", onclick: () => folded(root.dataset.folded !== "true") });
  const paper = h("button.quiet", { type: "button", id: "lesson-print", onclick: () => printSheet(store.state.lesson) }, say("lesson.print"));
  const leave = h("button.quiet", { type: "button", id: "lesson-leave", onclick: goAway }, say("lesson.leave"));
  const body = h("div.lesson-body");
  const back = h("button", { type: "button", id: "lesson-back", onclick: () => step(-1) }, say("lesson.back"));
  const next = h("button.primary", { type: "button", id: "lesson-next", onclick: () => step(1) });
  const told = h("p.sr", { role: "status" });
  const pause = h("button.quiet", { type: "button", onclick: () => lessons.pause() });
  root.append(
    h("header.lesson-head", {}, h("p.lesson-name", {}), h("div.lesson-at", {}, place, dots), h("div.row", {}, pause, paper, fold, leave)),
    body, h("div.lesson-foot", {}, back, next), told);
  const name = /** @type {HTMLElement} */ (root.querySelector(".lesson-name"));

  function folded(/** @type {boolean} */ now) {
    root.dataset.folded = String(now);
    fold.textContent = say(now ? "lesson.unfold" : "lesson.fold");
    fold.setAttribute("aria-expanded", String(!now));
  }
  folded(false);

  async function goAway() {
    page.left(await lessons.leave());
  }

  async function step(/** @type {number} */ by) {
    const { lesson, step: at } = store.state.lesson;
    if (by > 0 && at === (lesson?.steps.length ?? 0) - 1) return goAway();
    folded(false);
    await lessons.go(at + by);
    // Whoever listens hears what the step says.
    title.focus({ preventScroll: true });
    body.scrollTop = 0;
  }

  let shown = "";
  let wasOn = false;
  store.watch(["lesson", "model"], (state) => {
    const { status, lesson, step: at, answers, done, auto, paused, name: which, noRecording } = state.lesson;
    root.hidden = status !== "on" || !lesson;
    document.documentElement.dataset.lesson = String(!root.hidden);
    if (!lesson || root.hidden) {
      shown = "";
      wasOn = false;
      return;
    }
    const now = lesson.steps[at];
    const last = at === lesson.steps.length - 1;
    name.textContent = lesson.title;
    title.textContent = now.title ?? lesson.title;
    place.textContent = say("lesson.step", { step: at + 1, n: lesson.steps.length });
    dots.replaceChildren(...lesson.steps.map((_, one) => h("li", { dataset: { at: one < at ? "past" : one === at ? "now" : "next" } })));
    back.disabled = at === 0;
    const skips = isOpen(state.lesson) || (now.done && !done.includes(at));
    next.textContent = say(last ? "lesson.finish" : skips ? "lesson.skip" : "lesson.next");
    // What is asked comes first.
    next.className = skips && !last ? "quiet" : "primary";
    pause.hidden = !auto;
    pause.textContent = say(paused ? "lesson.continue" : "lesson.pause");
    const key = JSON.stringify([which, at, answers[at], done.includes(at), state.model.status === "ready", state.model.status === "none", noRecording, auto, lesson.title,
      partsNow(state.lesson, "lock"), isHidden(state, "model")]);
    if (key !== shown) {
      const inside = body.contains(document.activeElement);
      const stepChanged = !shown.startsWith(JSON.stringify([which, at]).slice(0, -1));
      shown = key;
      body.replaceChildren(...parts(state, now, at));
      if (stepChanged) told.textContent = "";
      else if (done.includes(at)) told.textContent = say("lesson.done");
      // What was answered with is gone: its place is what comes of it.
      if (inside && !stepChanged) /** @type {HTMLElement|null} */ (body.querySelector(".lesson-reveal") ?? title)?.focus({ preventScroll: true });
    }
    if (!wasOn) {
      wasOn = true;
      folded(false);
      title.focus({ preventScroll: true });
    }
  });

  /** @param {State} state @param {Step} now @param {number} at @returns {Node[]} */
  function parts(state, now, at) {
    const { lesson, name: which, noRecording } = state.lesson;
    const done = state.lesson.done.includes(at);
    const locked = partsNow(state.lesson, "lock");
    const tasks = [
      now.predict && predictPart(state.lesson, now.predict, at),
      now.try && h("section.lesson-try", { dataset: { done: String(done) } }, h("h3", {}, say("lesson.try")), h("p", {}, now.try),
        done && h("p.lesson-done", {}, say("lesson.done"))),
      (now.live ?? (noRecording && say("lesson.no-recording"))) && livePart(state, now.live ?? say("lesson.no-recording")),
      now.keep && h("section.lesson-keep", {}, h("h3", {}, say("lesson.keep")), h("p", {}, now.keep)),
      locked.length > 0 && h("p.hint", {}, say("lesson.locked", { names: listed(locked.map(partTitle), "unit") })),
      lesson && at === lesson.steps.length - 1 && overPart(state),
    ].filter((part) => part instanceof Node);
    return [
      h("div.lesson-say", {}, title, at === 0 && introOf(lesson), ...now.say.map((text) => h("p", {}, text)),
        LANGUAGE !== "en" && state.lesson.foreign && isName(which) && which !== OWN && h("p.hint", {}, say("lesson.english"))),
      h("div.lesson-tasks", {}, now.code && h("pre", { tabIndex: 0 }, now.code), now.figure && figureOf(now.figure), ...tasks),
    ];
  }

  /** @param {import("../state/lesson.js").LessonState} lesson @param {import("../state/lesson-file.js").Predict} predict @param {number} at */
  function predictPart({ answers }, { question, choices, answer, reveal }, at) {
    const given = answers[at];
    const heading = h("h3", {}, say(choices ? "lesson.predict" : "lesson.free"));
    if (given === undefined) {
      const form = h("form.lesson-predict", { onsubmit: (/** @type {Event} */ event) => event.preventDefault() });
      if (choices) {
        form.append(h("fieldset", {}, h("legend", {}, question), ...choices.map((choice, one) =>
          h("button", { type: "button", id: `lesson-choice-${one}`, onclick: () => lessons.answer(choice) }, choice))));
      } else {
        const line = h("input", { type: "text", id: "lesson-line", maxLength: 300, autocomplete: "off" });
        form.addEventListener("submit", () => { if (line.value.trim()) lessons.answer(line.value.trim()); });
        form.append(h("label", { htmlFor: "lesson-line" }, question), h("div.row", {}, line, h("button", {}, say("lesson.answer"))));
      }
      return h("section", {}, heading, form);
    }
    const right = choices && answer !== undefined && given ? given === choices[answer] : null;
    return h("section.lesson-reveal", { tabIndex: -1 }, heading, h("p.lesson-question", {}, question),
      h("p.lesson-said", {}, given ? say("lesson.answered", { answer: given }) : say("lesson.unanswered")),
      right !== null && h("p", {}, h("strong", {}, say(right ? "lesson.right" : "lesson.other"))),
      ...reveal.map((text) => h("p", {}, text)));
  }

  /** What the lesson is about and how long it takes, as far as it says so. @param {import("../state/lesson-file.js").Lesson|null} lesson */
  function introOf(lesson) {
    const words = [lesson?.about, lesson?.minutes && say("lesson.minutes", { n: lesson.minutes })].filter(Boolean);
    return words.length > 0 && h("div.hint", {}, words.join(" · "));
  }

  /** Where the model is hidden nobody is offered it. @param {State} state @param {string} why */
  const livePart = (state, why) => h("section.lesson-live", {}, h("h3", {}, say("lesson.live")), h("p", {}, why),
    state.model.status === "ready" ? h("p.hint", {}, say("lesson.live-here"))
      : !isHidden(state, "model")
        && h("p", {}, h("button", { type: "button", disabled: state.model.status !== "none", onclick: page.load }, say("lesson.live-load"))));

  /** @param {State} state */
  function overPart({ lesson: { list, name: which } }) {
    const following = list[list.findIndex((one) => one.name === which) + 1];
    const message = h("p.hint", { role: "status" });
    const hand = (/** @type {string} */ label, /** @type {(state: import("../state/lesson.js").LessonState) => string} */ words) =>
      h("button", { type: "button", onclick: () => copy(words(store.state.lesson), message) }, say(label));
    return h("section.lesson-over", {}, h("h3", {}, say("lesson.over")),
      h("p.hint", {}, say("lesson.answers-here")),
      h("div.row", {}, hand("lesson.copy-text", asText), hand("lesson.copy-csv", asCsv),
        h("button.quiet", { type: "button", onclick: () => lessons.restart() }, say("lesson.restart"))),
      message,
      following && list.some((one) => one.name === which)
        && h("p", {}, h("button", { type: "button", id: "lesson-following", onclick: () => lessons.begin(following.name, { step: 0 }) }, say("lesson.next-lesson", { title: following.title }))));
  }

  partsOfPage(root, store);
  sheetPlace(root);
  return (by) => {
    const { status, lesson, step: at } = store.state.lesson;
    if (status === "on" && lesson?.steps[at + by]) step(by);
  };
}

/** @param {State} state @param {string} part */
const isHidden = ({ lesson }, part) => partsNow(lesson, "hide").includes(part);

/** Copies, or shows what could not be copied. @param {string} text @param {HTMLElement} message */
export async function copy(text, message) {
  try {
    await navigator.clipboard.writeText(text);
    message.textContent = say("lesson.copied");
  } catch {
    message.replaceChildren(say("lesson.copy-here"), h("textarea", { rows: 5, readOnly: true, value: text, "aria-label": say("lesson.copy-here") }));
    message.querySelector("textarea")?.select();
  }
}

/** Hides, locks and frames parts of the page; what comes into it later too. @param {HTMLElement} root @param {import("../state/store.js").Store} store */
function partsOfPage(root, store) {
  const opened = { at: "" };
  let pointed = "";
  const narrow = matchMedia(ONE_COLUMN);
  const each = (/** @type {string} */ part, /** @type {(element: HTMLElement) => void} */ does, /** @type {Record<string, string>} */ where = PARTS) => {
    for (const element of document.querySelectorAll(where[part])) if (element instanceof HTMLElement && !root.contains(element)) does(element);
  };
  const apply = () => {
    const { lesson } = store.state;
    for (const element of document.querySelectorAll("[data-lesson-hidden], [data-lesson-locked], [data-lesson-point]")) {
      if (!(element instanceof HTMLElement)) continue;
      delete element.dataset.lessonHidden;
      delete element.dataset.lessonPoint;
      if (element.dataset.lessonLocked !== undefined) lock(element, false);
    }
    for (const part of partsNow(lesson, "hide")) each(part, (element) => { element.dataset.lessonHidden = ""; }, { ...PARTS, ...HIDES });
    // Beside those that the lesson is about nobody looks for others that come with the page.
    const cast = lesson.status === "on" && lesson.lesson ? castOf(lesson.lesson) : new Set();
    for (const { key, name } of cast.size ? store.state.adapters : []) {
      if (key.startsWith("file:") || cast.has(name)) continue;
      for (const card of document.querySelectorAll(".adapter")) if (card instanceof HTMLElement && card.dataset.adapter === name) card.dataset.lessonHidden = "";
    }
    for (const part of partsNow(lesson, "lock")) each(part, (element) => lock(element, true));
    const points = partsNow(lesson, "point");
    for (const part of points) each(part, (element) => { element.dataset.lessonPoint = ""; }, { ...PARTS, ...POINTS });
    // While there is nothing to load it only takes room; what is wrong with the engine is told there.
    const { engine, model } = store.state;
    document.documentElement.dataset.lessonModel = String(lesson.status !== "on" || model.status !== "none" || ["failed", "crashed"].includes(engine.status));
    const now = `${lesson.name}|${lesson.step}|${points}`;
    if (now !== pointed) {
      pointed = now;
      if (lesson.status === "on") show(points);
    }
    // Opened once, when the step begins: whoever closes it has closed it.
    const { status, step } = lesson;
    const at = `${lesson.name}|${step}|${lesson.answers[step] !== undefined}`;
    if (status !== "on" || at === opened.at) return;
    opened.at = at;
    for (const setting of [lesson.lesson?.steps[step]?.state, lesson.answers[step] === undefined ? undefined : lesson.lesson?.steps[step]?.predict?.state]) {
      for (const part of setting?.open ?? []) each(part, (element) => { if (element instanceof HTMLDetailsElement) element.open = true; });
    }
  };
  /** Brings what a step is about into sight. @param {string[]} points */
  function show(points) {
    // On a phone what turns and what opens the adapters is always in sight, and the rest of the screen is for the texts
    // and what is near them. The chances of a token are looked up by touching it, so the texts come first.
    const looked = narrow.matches ? points.filter((part) => !/^(adapter.*|coefficient|figures|texts|base|steered|token)$/.test(part)) : points;
    const target = looked.length ? document.querySelector(looked.map((part) => ({ ...PARTS, ...POINTS })[part]).join()) : narrow.matches ? document.getElementById("columns") : null;
    target?.scrollIntoView({ block: narrow.matches ? "start" : "nearest" });
  }
  store.watch(["lesson", "adapters", "active", "run", "model", "engine", "recording"], (_, changed) => {
    // While tokens come nothing new comes into the page.
    if (changed.size === 1 && changed.has("run") && (store.state.run.tokens?.length ?? 0) > 1) return;
    const { lesson } = store.state;
    if (changed.has("lesson") || lesson.status === "on" || lesson.hide.length || lesson.lock.length) apply();
  });
  addEventListener("keydown", (event) => {
    const locked = partsNow(store.state.lesson, "lock");
    const runs = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (!(runs && locked.includes("run")) && !Object.entries(KEYS).some(([part, keys]) => locked.includes(part) && keys.includes(event.key) && !typing(event.target))) return;
    event.stopImmediatePropagation();
    if (runs) event.preventDefault();
  }, { capture: true });
}

/** @param {EventTarget|null} target */
const typing = (target) => target instanceof HTMLElement && target.matches("textarea, select, input:not([type=range], [type=checkbox], [type=radio])");

/** What is written in stays readable for everybody; what is pressed or dragged is out of reach. @param {HTMLElement} element @param {boolean} now */
function lock(element, now) {
  if (now) element.dataset.lessonLocked = "";
  else delete element.dataset.lessonLocked;
  if (element instanceof HTMLTextAreaElement) element.readOnly = now;
  else element.inert = now;
}

/** On a phone the lesson is a sheet above the bar that turns; the page ends above both. @param {HTMLElement} root */
function sheetPlace(root) {
  const bar = document.getElementById("dosebar");
  const narrow = matchMedia(ONE_COLUMN);
  const place = () => {
    const below = narrow.matches && bar && !bar.hidden ? bar.getBoundingClientRect().height : 0;
    root.style.setProperty("--below", `${below}px`);
    document.documentElement.style.setProperty("--lesson-height", root.hidden ? "0px" : `${root.getBoundingClientRect().height}px`);
  };
  const observer = new ResizeObserver(place);
  observer.observe(root);
  if (bar) observer.observe(bar);
  narrow.addEventListener("change", place);
}
