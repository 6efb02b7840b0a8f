// Plays a recording in the place of live runs, until there is one: the text of the coefficient
// that is turned to, in the columns, the strip and under the glass that a live run uses.
import { signed } from "./dom.js";
import { plain } from "./engine/client.js";
import { nearest, placeOf, readRecording, stepsOf } from "./recording.js";
import { say } from "./say.js";
import { turnedOf } from "./state/runs.js";
import { NO_RUN } from "./state/store.js";

/** @typedef {import("./state/store.js").Recorded} Recorded */

/** Tokens a second: about what the model does on a laptop. */
const PACE = 16;

/**
 * @param {import("./state/store.js").Store} store
 * @param {{url: URL|string, still: boolean, fetching?: typeof fetch}} options `still`: all at once, for those who want less motion
 */
export function createReplay(store, { url, still, fetching = fetch }) {
  const { state } = store;
  /** @type {import("./recording.js").Recording|null} */
  let recording = null;
  /** Which one was asked for last. */
  let asked = "";
  /** @type {ReturnType<typeof setInterval>|undefined} */
  let timer;
  /** Of what is shown: prompt, adapter, coefficient. */
  let shown = "";
  /** How far each adapter was turned when it was last looked at. @type {Map<string, number>} */
  let turned = new Map();
  /** What went back to 0 for what is turned now. */
  let reset = "";

  /** What was fetched, by its address. @type {Map<string, import("./recording.js").Recording>} */
  const fetched = new Map();

  const begin = () => use(null);

  /** Plays another recording, or the page's own again. @param {URL|null} other @returns {Promise<import("./recording.js").Recording|null>} null where it cannot be had */
  async function use(other) {
    const from = String(other ?? url);
    asked = from;
    let error = null;
    try {
      const known = fetched.get(from) ?? await get(from);
      fetched.set(from, known);
    } catch (why) {
      error = plain(why).message;
    }
    // Meanwhile another may have been asked for.
    if (asked !== from) return fetched.get(from) ?? null;
    recording = fetched.get(from) ?? null;
    shown = "";
    const here = recording && { model: recording.model.name, prompts: recording.prompts.map(({ text }) => text) };
    store.set({ recording: { ...state.recording, status: here ? "here" : "failed", error, ...here } });
    return recording;
  }

  /** @param {string} from */
  async function get(from) {
    const response = await fetching(from);
    if (!response.ok) throw new Error(`the server says ${response.status}`);
    return readRecording(await response.json());
  }

  /** Whether the columns are the recording's: until something live is in them. */
  const mine = () => recording !== null && (state.run.status === "idle" || Boolean(state.run.recorded));

  /** The adapters that are turned, of those that could act here. */
  const acting = () => state.adapters.filter(({ enabled, coefficient, wanted }) => enabled && coefficient !== 0 && !wanted);

  /** Which of the recorded adapters one is as it acts now, -1 if none. @param {import("./state/store.js").Adapter} adapter */
  const place = (adapter) => (recording ? placeOf(recording, adapter, state) : -1);
  /** Whether it is recorded, wherever it acts. @param {import("./state/store.js").Adapter} adapter */
  const isRecorded = (adapter) => Boolean(recording?.adapters.some(({ layers, cache }) =>
    recording && placeOf(recording, { ...adapter, layers, modules: "", positions: "" }, { zoo: state.zoo, cache: cache ?? state.cache }) >= 0));

  /**
   * One adapter at a time is recorded: whichever is turned now is the one, and the others go back
   * to 0, where everyone sees it. With a live model they are left: it can have several.
   */
  function oneAtATime() {
    const before = turned;
    turned = new Map(state.adapters.map(({ key, coefficient, enabled }) => [key, enabled ? coefficient : 0]));
    if (!mine() || state.model.status === "ready") return;
    const now = acting();
    const [mover] = now.filter(({ key, coefficient }) => before.has(key) && before.get(key) !== coefficient);
    if (!mover) return;
    reset = now.filter(({ key }) => key !== mover.key).map(({ title }) => title).join(", ");
    if (reset) store.set({
      adapters: state.adapters.map((adapter) => (adapter.key !== mover.key && now.includes(adapter) ? { ...adapter, coefficient: 0 } : adapter)),
    });
  }

  /** What to show for the state as it is. @returns {Recorded|null} */
  function wish() {
    if (!recording || !mine()) return null;
    const now = acting();
    const one = now[0] ?? state.adapters.find(({ key }) => key === state.active) ?? state.adapters[0];
    const known = recording.prompts.findIndex(({ text }) => text === state.prompt.trim());
    // While another prompt is being written, the last one stays.
    const prompt = known >= 0 ? known : Math.min(state.run.recorded?.prompt ?? 0, recording.prompts.length - 1);
    // At 0 all are the base.
    const at = one ? Math.max(place(one), now.length ? -1 : 0) : -1;
    if (now.length > 1 || !one || at < 0) return null;
    return { prompt, at, key: one.key, name: one.name, title: one.title, c: now.length ? nearest(recording, one.coefficient) : 0 };
  }

  /** Shows what the state wishes, if it is another than is shown. */
  function show() {
    oneAtATime();
    const what = wish();
    const now = JSON.stringify(what);
    if (now === shown || !what || !recording) return;
    const steps = stepsOf(recording, what.prompt, what.at, what.c, what);
    if (!steps) return;
    const another = state.run.recorded?.prompt !== what.prompt;
    shown = now;
    // Turned: the text changes under the hand, as long as it is. Another prompt: from its start.
    play(steps, what, another ? 0 : state.run.tokens?.length ?? 0);
  }

  /** Goes on from so many tokens. @param {import("./recording.js").Steps} steps @param {Recorded} what @param {number} from */
  function play({ tokens: all, split }, what, from) {
    const long = still ? all.length : Math.min(from, all.length);
    const tokens = all.slice(0, long);
    const { selected } = state.run;
    store.set({
      run: {
        ...NO_RUN, status: "playing", recorded: what, tokens, split, limit: all.length,
        selected: selected === null || long === 0 ? null : Math.min(selected, long - 1), startedAt: performance.now(),
      },
    });
    clearInterval(timer);
    const step = () => {
      const { run } = state;
      if (!run.recorded) return clearInterval(timer);
      const next = all[tokens.length];
      if (next) tokens.push(next);
      const done = tokens.length >= all.length;
      store.set({ run: { ...run, status: done ? "played" : "playing" } });
      if (done) clearInterval(timer);
    };
    timer = setInterval(step, 1000 / PACE);
    step();
  }

  /** From the start, once more. */
  function again() {
    const what = state.run.recorded;
    const steps = what && recording && stepsOf(recording, what.prompt, what.at, what.c, what);
    if (steps) play(steps, what, 0);
  }

  /** Plays for the page as it is, whatever was in the columns. */
  function resume() {
    shown = "";
    store.set({ run: NO_RUN });
    show();
  }

  /** One of the recorded texts as a run that is kept; null where there is none. @param {string} text of the prompt @param {string} key @param {number} c @returns {import("./state/runs.js").Kept|null} */
  function recorded(text, key, c) {
    const prompt = recording?.prompts.findIndex((one) => one.text === text.trim()) ?? -1;
    const adapter = state.adapters.find((one) => one.key === key);
    const at = adapter ? place(adapter) : -1;
    if (!recording || prompt < 0 || !adapter || at < 0) return null;
    const steps = stepsOf(recording, prompt, at, c, adapter);
    const { model, sampling, maxTokens, chat, by, klAfterSplit } = recording;
    const content = recording.prompts[prompt].text;
    const { sha256 } = recording.adapters[at];
    return steps && {
      ...steps, id: ["recorded", prompt, adapter.name, c].join("-"), at: Date.now(), status: "done", error: null, manners: null, limit: maxTokens,
      turned: c === 0 ? [] : [{ ...turnedOf({ ...adapter, entry: undefined }, { key, title: adapter.title, c }, state.engine.methods), sha256 }],
      request: { ...(chat ? { chat: [{ role: "user", content }] } : { prompt: content }), maxTokens, sampling, stop: [], cache: "keep", klAfterSplit, compare: true, top: 8 },
      model: { name: model.name, file: model.file, sha256: model.sha256, device: "cpu", arithmetic: "" }, version: by, recorded: true,
    };
  }

  /** What of the page's settings the recording in the columns does not honour, in words; "" if nothing. */
  function unlike() {
    const { recorded } = state.run;
    if (!recording || !mine() || (!recorded && state.model.status === "ready")) return "";
    const now = acting();
    const [one] = now;
    if (now.length > 1) return say("recorded.stack");
    if (one && place(one) < 0) return isRecorded(one) ? say("recorded.where") : say("recorded.own", { title: one.title });
    if (!recorded) return "";
    const { text } = recording.prompts[recorded.prompt];
    if (text !== state.prompt.trim()) return say("recorded.prompt", { prompt: text });
    if (one && one.coefficient !== recorded.c) return say("recorded.between", { c: signed(recorded.c) });
    if (reset) return say("recorded.one", { title: reset });
    const { chat, sampling } = recording;
    const alone = !state.turns.length && !state.system.trim();
    return alone && chat === state.chat && JSON.stringify(sampling) === JSON.stringify(state.sampling) ? "" : say("recorded.sampling");
  }

  store.watch(["run"], ({ run, recording: { shown: before } }) => {
    // Emptied columns are filled again by what is turned next, be it what was in them.
    if (run.status === "idle") shown = "";
    if (Boolean(run.recorded) !== before) store.set({ recording: { ...state.recording, shown: !before } });
  });
  store.watch(["recording", "adapters", "prompt", "active", "model", "cache", "zoo"], show);
  return { begin, use, again, unlike, resume, recorded };
}
