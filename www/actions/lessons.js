// Lessons: begun, gone through, left. A lesson sets what its steps say; what was the user's own before
// comes back when it is left. No elements here.
import { plain } from "../engine/client.js";
import { recall, remember } from "../remember.js";
import { LANGUAGE, say } from "../say.js";
import { loadZoo } from "../shipped.js";
import { readLesson, translated, unknownAdapters } from "../state/lesson-file.js";
import { MOST_CHARACTERS } from "../state/lesson-schema.js";
import { factOf, holds, note, nothingSeen } from "../state/lesson-facts.js";
import { NO_LESSON, NO_PROGRESS, OWN, fitting, isName, isOpen, progressIn, sameOrigin, settingAt } from "../state/lesson.js";
import { NO_RUN, isOver, isWriting } from "../state/store.js";

/**
 * @typedef {import("../state/lesson.js").LessonState} LessonState
 * @typedef {import("../state/lesson-file.js").Setting} Setting
 * @typedef {import("../state/lesson-file.js").Complaint} Complaint
 * @typedef {import("../state/store.js").State} State
 * @typedef {import("../state/store.js").Adapter} Adapter
 */

const ROOT = new URL("../lessons/", import.meta.url);
/** In this browser: how far each lesson is, and the own one. */
const [PROGRESS, FILE] = ["playground.lessons", "playground.lesson.file"];
/** In this tab: the link of what was there before the lesson. */
const BEFORE = "playground.lesson.before";

/** What a lesson may set, and gives back. */
const KEYS = /** @type {const} */ (["prompt", "chat", "system", "turns", "variables", "sampling", "maxTokens", "stop", "cache", "klAfterSplit", "units", "active", "rerun"]);
/** The same, of each adapter. */
const OF_ADAPTER = /** @type {const} */ (["coefficient", "enabled", "layers", "modules", "positions", "law"]);

/** How long one that runs by itself waits, in milliseconds: to read so many words, to think, to look. */
const [A_WORD, TO_THINK, TO_LOOK] = [320, 6000, 5000];

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 * @param {ReturnType<typeof import("../replay.js").createReplay>} replay
 * @param {{base: string, link: () => string, fetching?: typeof fetch}} page `base`: its own address; `link`: the link of what is there now
 */
export function lessonActions(store, actions, replay, { base, link, fetching = (...asked) => fetch(...asked) }) {
  const { state } = store;
  /** What was there before, as long as the page is not left. @type {{state: Partial<State>, adapters: Map<string, Partial<Adapter>>, run: State["run"]}|null} */
  let before = null;
  /** Adapters that the lesson brought. @type {Set<string>} */
  let brought = new Set();
  let seen = nothingSeen();
  /** While a step sets what it wants nobody has tried anything. */
  let setting = 0;
  /** Counts what was begun: what comes late of an earlier one is let go. */
  let turn = 0;
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let timer;

  /** @param {Partial<LessonState>} patch */
  const set = (patch) => store.set({ lesson: { ...state.lesson, ...patch } });

  // ---- what is kept -----------------------------------------------------------------------------

  const progress = () => progressIn(recall(PROGRESS));

  function keepProgress() {
    const { name, step, answers, done, over } = state.lesson;
    remember(PROGRESS, JSON.stringify({ ...progress(), [name]: { step, answers, done, over } }));
  }

  function keepLink() {
    try {
      sessionStorage.setItem(BEFORE, link());
    } catch {
      // denied: after a reload the page has nothing to come back to
    }
  }

  // ---- fetching ---------------------------------------------------------------------------------

  /** The lessons that come with the page. */
  async function listLessons() {
    try {
      const response = await fetching(new URL("index.json", ROOT));
      const list = response.ok ? await response.json() : null;
      if (!Array.isArray(list?.lessons)) throw new Error(String(response.status));
      set({ list: translated(list, await wordsOf("index")).lessons });
    } catch {
      // Within a lesson nobody asked for it.
      if (state.lesson.status !== "on") set({ complaints: [{ key: "", why: say("lesson.no-list") }] });
    }
  }

  /** The texts of a file that comes with the page in the reader's language; null where there are none. @param {string} name */
  async function wordsOf(name) {
    if (LANGUAGE === "en") return null;
    const response = await fetching(new URL(`${LANGUAGE}/${name}.json`, ROOT)).catch(() => null);
    return response?.ok ? response.json().catch(() => null) : null;
  }

  /** The text of a lesson by its name or address. @param {string} name @returns {Promise<string>} */
  async function textOf(name) {
    if (name === OWN) {
      const kept = recall(FILE);
      if (kept === null) throw new Error(say("lesson.own-elsewhere"));
      return kept;
    }
    const address = isName(name) ? new URL(`${name}.json`, ROOT).href : sameOrigin(name, base);
    if (!address) throw new Error(say("lesson.other-origin", { address: name.slice(0, 120) }));
    // Where the server sends it to another one, nothing is asked there.
    const response = await fetching(address, isName(name) ? {} : { mode: "same-origin" }).catch(() => null);
    if (!response?.ok) throw new Error(say(response ? "lesson.refused" : "lesson.no-answer", { name: name.slice(0, 120), ...(response && { status: String(response.status) }) }));
    const text = await response.text();
    // Whoever serves it may send anything.
    return text.slice(0, MOST_CHARACTERS + 1);
  }

  // ---- begin and leave --------------------------------------------------------------------------

  /**
   * @param {string} name of one that comes with the page, OWN, or the address of a file
   * @param {{step?: number|null, auto?: boolean}} [options] `step`: where to begin; else where it was left
   */
  async function begin(name, options = {}) {
    const now = ++turn;
    set({ complaints: [], ...(state.lesson.status === "on" ? {} : { status: "coming" }) });
    try {
      const text = await textOf(name);
      // A file of the class: what its teacher misspelt is told, not left out.
      const { lesson } = isName(name) || name === OWN ? { lesson: null } : readLesson(text);
      const unknown = lesson ? await strangers(lesson) : [];
      if (now !== turn) return;
      if (unknown.length) complain(unknown);
      else await take(name, text, options);
    } catch (error) {
      if (now === turn) complain([{ key: "", why: plain(error).message }]);
    }
  }

  /** A lesson that stands in a file: what is wrong with it, or it begins. @param {string} text */
  async function openOwn(text) {
    const now = turn;
    const { lesson, complaints } = readLesson(text);
    if (!lesson) return complain(complaints);
    const unknown = await strangers(lesson);
    if (now !== turn) return;
    if (unknown.length) return complain(unknown);
    turn += 1;
    remember(FILE, text);
    // Another file has other questions.
    const { [OWN]: _old, ...others } = progress();
    remember(PROGRESS, JSON.stringify(others));
    await take(OWN, text, { step: 0 });
  }

  /** Waits until the page's list of adapters is there, or has failed. @returns {Promise<void>} */
  const listed = () => new Promise((resolve) => {
    if (state.shelf.status !== "coming") return resolve();
    /** @type {() => void} */
    let unwatch = () => {};
    unwatch = store.watch(["shelf"], ({ shelf }) => { if (shelf.status !== "coming") setTimeout(() => { unwatch(); resolve(); }); });
  });

  /** Adapters that a lesson names and nothing here has, where the list of them came. @param {import("../state/lesson-file.js").Lesson} lesson */
  async function strangers(lesson) {
    await listed();
    if (state.shelf.status !== "here") return [];
    const zoo = state.zoo.map(({ folder }) => folder);
    const known = [...new Set([...state.adapters.map(({ name }) => name), ...state.gone, ...zoo])];
    const unknown = unknownAdapters(lesson, known, zoo);
    if (!unknown.length || !lesson.recording) return unknown;
    // What it plays has names of its own.
    const response = await fetching(new URL(`recorded/${lesson.recording}.json`, ROOT)).catch(() => null);
    const recording = response?.ok ? await response.json().catch(() => null) : null;
    const recorded = Array.isArray(recording?.adapters) ? recording.adapters.map((/** @type {any} */ one) => String(one?.name)) : [];
    return unknownAdapters(lesson, [...new Set([...known, ...recorded])], zoo);
  }

  /** A lesson that runs stays as it is. @param {Complaint[]} complaints */
  const complain = (complaints) => set({ complaints, status: state.lesson.lesson ? "on" : "failed" });

  /** @param {string} name @param {string} text @param {{step?: number|null, auto?: boolean}} options */
  async function take(name, text, { step, auto = false }) {
    const now = turn;
    const { lesson: read, complaints } = readLesson(text);
    if (!read) return complain(complaints);
    const words = isName(name) && name !== OWN ? await wordsOf(name) : null;
    const lesson = translated(read, words);
    if (!before) await keepBefore();
    const kept = progress()[name] ?? NO_PROGRESS;
    const answers = fitting(kept.answers, lesson);
    const at = Math.min(step ?? kept.step, lesson.steps.length - 1);
    store.set({ run: NO_RUN });
    const recording = await replay.use(lesson.recording ? new URL(`recorded/${lesson.recording}.json`, ROOT) : null);
    if (now !== turn) return;
    if (recording) store.set({ sampling: recording.sampling, chat: recording.chat, maxTokens: recording.maxTokens });
    store.set({
      turns: [], system: "", stop: [], rerun: false, klAfterSplit: true,
      lesson: { ...state.lesson, status: "on", name, lesson, foreign: !words, step: at, answers, done: kept.done, over: kept.over, auto, paused: false, noRecording: !recording, complaints: [] },
    });
    await enter(now, true);
    // For the lesson that comes after it.
    if (!state.lesson.list.length) await listLessons();
  }

  /** What is the user's own is kept. */
  async function keepBefore() {
    if (isWriting(state.run) && !state.run.recorded) {
      actions.stop();
      await new Promise((resolve) => {
        /** @type {() => void} */
        let unwatch = () => {};
        unwatch = store.watch(["run"], ({ run }) => { if (isOver(run)) setTimeout(() => { unwatch(); resolve(undefined); }); });
      });
    }
    keepLink();
    before = {
      state: Object.fromEntries(KEYS.map((key) => [key, state[key]])), run: state.run,
      adapters: new Map(state.adapters.map((adapter) => [adapter.key, Object.fromEntries(OF_ADAPTER.map((key) => [key, adapter[key]]))])),
    };
  }

  /** Goes on after a reload: what was the user's own is that of its link. @param {string} name @param {{step?: number|null, auto?: boolean}} options */
  async function resume(name, options) {
    if (linkBefore() !== null) before = { state: {}, run: NO_RUN, adapters: new Map() };
    await begin(name, options);
    // Without the lesson it is a visit like any other.
    if (!state.lesson.lesson) before = null;
  }

  /** @returns {Promise<string|null>} the link of what was there before, where the page has to be opened anew for it */
  async function leave() {
    turn += 1;
    clearTimeout(timer);
    actions.stop();
    const linked = before && !before.adapters.size ? linkBefore() : null;
    try {
      sessionStorage.removeItem(BEFORE);
    } catch {
      // denied
    }
    const was = before;
    before = null;
    store.set({ lesson: { ...NO_LESSON, list: state.lesson.list } });
    if (linked !== null) return linked;
    await replay.use(null);
    for (const key of brought) await actions.removeAdapter(key);
    brought = new Set();
    if (!was) return null;
    turnTo(state.adapters.map((adapter) => ({ ...adapter, ...(was.adapters.get(adapter.key) ?? {}) })));
    store.set({ ...was.state, run: was.run.recorded ? NO_RUN : was.run });
    return null;
  }

  function linkBefore() {
    try {
      return sessionStorage.getItem(BEFORE);
    } catch {
      return null;
    }
  }

  // ---- steps ------------------------------------------------------------------------------------

  /** @param {number} step */
  async function go(step) {
    const { lesson } = state.lesson;
    if (!lesson || step < 0 || step >= lesson.steps.length) return;
    const back = step < state.lesson.step;
    set({ step, over: state.lesson.over || step === lesson.steps.length - 1 });
    const { state: own, predict } = lesson.steps[step];
    // What a question comes to is said once it is answered, and is set with it.
    await enter(turn, back || Boolean(own ?? (isOpen(state.lesson) ? undefined : predict?.state)));
  }

  /** @param {number} now which turn @param {boolean} sets whether what the step wants is set; else what is there stays */
  async function enter(now, sets) {
    seen = nothingSeen();
    keepProgress();
    const { lesson, step } = state.lesson;
    if (lesson && sets) await apply(settingAt(lesson, step, !isOpen(state.lesson)), now);
    if (now !== turn) return;
    seen = nothingSeen();
    note(seen, state, false);
    ask();
    runByItself();
  }

  /** @param {string} text what was predicted */
  async function answer(text) {
    const { lesson, step, answers } = state.lesson;
    const predict = lesson?.steps[step]?.predict;
    if (!lesson || !predict || answers[step] !== undefined) return;
    set({ answers: { ...answers, [step]: text.slice(0, 1000) } });
    keepProgress();
    if (predict.state) await apply(settingAt(lesson, step, true), turn);
  }

  /** All that was answered and done is forgotten; from the start. */
  async function restart() {
    set({ step: 0, answers: {}, done: [], over: false });
    await enter(turn, true);
  }

  /** Sets what a step wants. @param {Setting} wish @param {number} now */
  async function apply(wish, now) {
    setting += 1;
    try {
      await put(wish, now);
    } finally {
      setting -= 1;
    }
  }

  /** @param {Setting} wish @param {number} now */
  async function put(wish, now) {
    const { adapters, active, prompt, system, chat, seed, temperature, maxTokens, cache, units } = wish;
    if (adapters) await bring(Object.keys(adapters));
    if (now !== turn) return;
    // What a live run wrote of the step before is not what this one is about.
    if (!state.run.recorded && isOver(state.run) && (adapters || prompt !== undefined)) store.set({ run: NO_RUN });
    const given = Object.entries({ prompt, system, chat, maxTokens, units }).filter(([, value]) => value !== undefined);
    store.set(Object.fromEntries(given));
    const sampling = Object.fromEntries(Object.entries({ seed, temperature }).filter(([, value]) => value !== undefined));
    if (Object.keys(sampling).length) store.set({ sampling: { ...state.sampling, ...sampling } });
    if (cache) actions.setCache(cache);
    if (adapters) {
      const first = state.adapters.find(({ name }) => name === (active ?? Object.keys(adapters)[0]));
      turnTo(state.adapters.map((adapter) => {
        const one = Object.hasOwn(adapters, adapter.name) ? adapters[adapter.name] : 0;
        const { c, on = true, layers = "", modules = "" } = typeof one === "number" ? { c: one } : one;
        return { ...adapter, coefficient: c, enabled: on, layers, modules };
      }), first?.key);
    }
    if (wish.look !== undefined) look(wish.look);
  }

  /** All adapters at once, as a recording plays one at a time; then what the engine has to know. @param {Adapter[]} wished @param {string} [active] */
  function turnTo(wished, active = state.active ?? undefined) {
    const was = new Map(state.adapters.map((adapter) => [adapter.key, adapter]));
    store.set({ adapters: wished, active: active ?? null });
    for (const { key, id, coefficient, enabled, layers, modules, positions, law, entry } of wished) {
      const old = was.get(key);
      if (id === null || !old) continue;
      if (old.enabled !== enabled) actions.setEnabled(key, enabled);
      if (old.layers !== layers || old.modules !== modules || old.positions !== positions) actions.setMask(key, { layers: layers ?? "", modules: modules ?? "", positions: positions ?? "" });
      const acts = law ?? entry?.law;
      if (old.law !== law && acts) actions.setLaw(key, acts);
      actions.setCoefficient(key, coefficient);
    }
    store.set({ active: active ?? null });
  }

  /** Lists the zoo's adapters that a step names; their numbers come once a model does. @param {string[]} names */
  async function bring(names) {
    const missing = names.filter((name) => !state.adapters.some((adapter) => adapter.name === name));
    const items = missing.flatMap((name) => state.zoo.filter(({ folder }) => folder === name));
    const loaded = await Promise.all(items.map((item) => loadZoo(item, false)));
    const fresh = loaded.filter(({ key }) => !state.adapters.some((adapter) => adapter.key === key));
    if (!fresh.length) return;
    for (const { key } of fresh) brought.add(key);
    store.set({ adapters: [...state.adapters, ...fresh] });
    await fetchNumbers();
  }

  async function fetchNumbers() {
    if (state.model.status === "none") return;
    const empty = state.adapters.filter(({ key, files, error, loading }) => brought.has(key) && !files && !error && !loading);
    await Promise.all(empty.map(async ({ key, name }) => {
      const item = state.zoo.find(({ folder }) => folder === name);
      if (!item) return;
      store.setAdapter(key, { loading: true });
      const { files, error } = await loadZoo(item);
      const now = state.adapters.find((adapter) => adapter.key === key);
      const { active } = state;
      if (!now) return;
      // In its place, and to the engine where it has a model.
      const arriving = actions.addAdapter({ ...now, loading: false, files }, key);
      store.set({ active });
      if (error) store.setAdapter(key, { error });
      await arriving;
    }));
  }

  /** The token to look at, once it is there. @param {number|"split"} place */
  function look(place) {
    const now = turn;
    const unwatch = store.watch(["run", "lesson"], ({ run }) => {
      const at = place === "split" ? run.split : place - 1;
      const there = at !== null && (run.tokens?.length ?? 0) > at;
      if (!there && now === turn) return;
      setTimeout(() => {
        unwatch();
        if (now === turn && there) actions.select(at);
      });
    });
  }

  // ---- by itself --------------------------------------------------------------------------------

  /** @param {string|string[]|undefined} text */
  const reading = (text) => 1500 + A_WORD * String(text ?? "").split(/\s+/).length;

  /** What comes next, and when; each sets the clock for the one after. */
  function runByItself() {
    clearTimeout(timer);
    const { auto, paused, lesson, step } = state.lesson;
    if (!auto || paused || !lesson) return;
    const { say: words, predict, demo = [], try: task, keep } = lesson.steps[step];
    /** @type {[number, () => void][]} */
    const acts = [[reading(words), () => {}]];
    if (predict && isOpen(state.lesson)) {
      acts.push([reading(predict.question) + TO_THINK, () => answer("")], [reading(predict.reveal), () => {}]);
    }
    for (const wish of demo) acts.push([TO_LOOK, () => apply(wish, turn).then(() => { note(seen, state, false); ask(); })]);
    acts.push([TO_LOOK + reading([task, keep].join(" ")), () => {
      if (step + 1 < lesson.steps.length) go(step + 1);
      else set({ auto: false });
    }]);
    const next = () => {
      const act = acts.shift();
      if (!act) return;
      timer = setTimeout(() => {
        act[1]();
        next();
      }, act[0]);
    };
    next();
  }

  /** @param {boolean} auto */
  function setAuto(auto) {
    set({ auto, paused: false });
    runByItself();
  }

  function pause() {
    set({ paused: !state.lesson.paused });
    runByItself();
  }

  // ---- what is done -----------------------------------------------------------------------------

  let over = isOver(state.run);
  store.watch(["adapters", "run", "prompt", "system", "cache", "model", "measured"], (now, changed) => {
    const ended = !over && isOver(now.run) && !now.run.recorded;
    over = isOver(now.run);
    if (changed.has("model")) fetchNumbers();
    if (now.lesson.status !== "on" || setting) return;
    note(seen, now, ended);
    if (changed.has("measured") && changed.size === 1) seen.measured += 1;
    ask();
  });

  /** Whether what is to be tried is done. */
  function ask() {
    const { lesson, step, done } = state.lesson;
    const condition = lesson?.steps[step]?.done;
    if (!condition || done.includes(step) || !holds(condition, (fact, of) => factOf(state, seen, fact, of))) return;
    set({ done: [...done, step] });
    keepProgress();
  }

  return {
    /** The file of one that comes with the page. @param {string} name */
    addressOf: (name) => new URL(`${name}.json`, ROOT).href,
    listLessons, begin, resume, openOwn, leave, go, answer, restart, setAuto, pause, progress,
    /** What a link hides and locks. @param {{hide: string[], lock: string[], ignored: string[]}} linked */
    setLinked: ({ hide, lock, ignored }) => set({ hide, lock, ignored }),
    dismiss: () => set({ complaints: [], ignored: [], ...(state.lesson.status === "failed" ? { status: "none" } : {}) }),
  };
}

/** @typedef {ReturnType<typeof lessonActions>} LessonActions */
