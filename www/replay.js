// Plays a recording in the place of live runs, until there is one: the text of the coefficient
// that is turned to, in the columns, the strip and under the glass that a live run uses.
import { signed } from "./dom.js";
import { plain } from "./engine/client.js";
import { nearest, readRecording, stepsOf } from "./recording.js";
import { say } from "./say.js";
import { NO_RUN } from "./state/store.js";

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
  /** @type {ReturnType<typeof setInterval>|undefined} */
  let timer;
  /** Of what is shown: prompt, adapter, coefficient. */
  let shown = "";
  /** How far each adapter was turned when it was last looked at. @type {Map<string, number>} */
  let turned = new Map();
  /** What went back to 0 for what is turned now. */
  let reset = "";

  async function begin() {
    try {
      const response = await fetching(url);
      if (!response.ok) throw new Error(`the server says ${response.status}`);
      recording = readRecording(await response.json());
      store.set({ recording: { ...state.recording, status: "here", error: null, model: recording.model.name, prompts: recording.prompts.map(({ text }) => text) } });
    } catch (error) {
      store.set({ recording: { ...state.recording, status: "failed", error: plain(error).message } });
    }
  }

  /** Whether the columns are the recording's: until something live is in them. */
  const mine = () => recording !== null && (state.run.status === "idle" || Boolean(state.run.recorded));

  /** The adapters that are turned, of those that could act here. */
  const acting = () => state.adapters.filter(({ enabled, coefficient, wanted }) => enabled && coefficient !== 0 && !wanted);

  const isRecorded = (/** @type {{key: string, name: string}} */ { key, name }) =>
    key.startsWith("shipped:") && Boolean(recording?.adapters.some((one) => one.name === name));

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

  /** What to show for the state as it is. @returns {{prompt: number, name: string, c: number}|null} */
  function wish() {
    if (!recording || !mine()) return null;
    const now = acting();
    const one = now[0] ?? state.adapters.find(({ key }) => key === state.active) ?? state.adapters[0];
    const at = recording.prompts.findIndex(({ text }) => text === state.prompt.trim());
    // While another prompt is being written, the last one stays.
    const prompt = at >= 0 ? at : state.run.recorded?.prompt ?? 0;
    if (now.length > 1 || !one || !isRecorded(one)) return null;
    return { prompt, name: one.name, c: now.length ? nearest(recording, one.coefficient) : 0 };
  }

  /** Shows what the state wishes, if it is another than is shown. */
  function show() {
    oneAtATime();
    const what = wish();
    const now = JSON.stringify(what);
    if (now === shown || !what || !recording) return;
    const steps = stepsOf(recording, what.prompt, what.name, what.c);
    if (!steps) return;
    const another = state.run.recorded?.prompt !== what.prompt;
    shown = now;
    // Turned: the text changes under the hand, as long as it is. Another prompt: from its start.
    play(steps, what, another ? 0 : state.run.tokens?.length ?? 0);
  }

  /** Goes on from so many tokens. @param {import("./recording.js").Steps} steps @param {{prompt: number, name: string, c: number}} what @param {number} from */
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
    const steps = what && recording && stepsOf(recording, what.prompt, what.name, what.c);
    if (steps) play(steps, what, 0);
  }

  /** What of the page's settings the recording in the columns does not honour, in words; "" if nothing. */
  function unlike() {
    const { recorded } = state.run;
    if (!recording || !mine() || (!recorded && state.model.status === "ready")) return "";
    const now = acting();
    const [one] = now;
    if (now.length > 1) return say("recorded.stack");
    if (one && !isRecorded(one)) return say("recorded.own", { title: one.title });
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
    if (Boolean(run.recorded) !== before) store.set({ recording: { ...state.recording, shown: !before } });
  });
  store.watch(["recording", "adapters", "prompt", "active", "model"], show);
  return { begin, again, unlike };
}
