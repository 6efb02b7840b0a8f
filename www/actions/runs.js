// Runs that are kept and opened again, and several texts that are asked for together: a fan of
// coefficients, a comparison of settings, a batch of prompts.
import { EngineError, plain } from "../engine/client.js";
import { recall, remember } from "../remember.js";
import { listed, say } from "../say.js";
import { hashOf } from "../hashes.js";
import { manner } from "../state/acting.js";
import { isChat, messages, takesSystem } from "../state/conversation.js";
import { COLUMNS, MOST, PROMPTS, RIBS, lastDoses, mayPin, packed, parting, promptOf, ribs, systemOf, turnedOf, unpacked, wishesNow, withKept, writesAside, writtenBy } from "../state/runs.js";
import { NO_RUN, isAsked, isOver } from "../state/store.js";
import { VERSION } from "../version.js";
import { tokenOf } from "./run.js";

/**
 * @typedef {import("../state/runs.js").Kept} Kept
 * @typedef {import("../state/runs.js").Group} Group
 * @typedef {import("../state/runs.js").GroupKind} GroupKind
 * @typedef {import("../state/runs.js").Wish} Wish
 * @typedef {import("../state/store.js").GenerateRequest} GenerateRequest
 *
 * A recorded text, if there is one. @typedef {(prompt: string, key: string, c: number) => Kept|null} Recorded
 * One of several texts: what it is called, what acts, and what is asked.
 * @typedef {{title: string, c?: number, wishes: Wish[], request: GenerateRequest, seen?: Kept}} Job
 */

const HISTORY = "playground.history";
const GROUPS = "playground.groups";

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./adapters.js").AdapterActions} adapters
 * @param {import("./settings.js").SettingsActions} settings
 * @param {import("./run.js").RunActions} runs
 * @param {import("./work.js").WorkActions} works
 */
export function runsActions(store, { client }, adapters, settings, runs, { work, complain, isWorking }) {
  const { state } = store;
  /** What was in the columns before one was opened there. @type {import("../state/store.js").Run|null} */
  let before = null;
  /** The recording: one of its texts, and how it plays again. @type {{recorded: Recorded, resume: () => void}} */
  let recording = { recorded: () => null, resume: () => {} };
  /** Ids of the runs in the columns that are kept, by their tokens. @type {WeakMap<object, string>} */
  const ids = new WeakMap();
  /** Runs that are over and kept, or were opened. @type {WeakSet<object>} */
  const over = new WeakSet();

  const setRuns = (/** @type {Partial<import("../state/runs.js").Runs>} */ patch) => store.set({ runs: { ...state.runs, ...patch } });
  const find = (/** @type {string} */ id) => state.runs.history.find((one) => one.id === id);
  const adapterOf = (/** @type {string} */ key) => state.adapters.find((adapter) => adapter.key === key);

  // ---- kept -----------------------------------------------------------------------------------

  /** Of what another tab kept meanwhile nothing is lost. @param {(history: Kept[]) => Kept[]} change */
  function changeHistory(change) {
    const history = change(state.runs.unkept ? state.runs.history : readHistory() ?? state.runs.history);
    setRuns({ history, unkept: !writeHistory(history) });
  }

  /** @returns {Kept[]|null} null where nothing is kept, or the browser denies it */
  function readHistory() {
    try {
      const list = JSON.parse(recall(HISTORY) ?? "null");
      // Those that are here already need not be read again.
      return Array.isArray(list) ? list.flatMap((pack) => {
        const here = state.runs.history.find(({ id }) => id === pack?.id);
        const kept = here ? { ...here, pinned: Boolean(pack.pinned) } : unpacked(pack);
        return kept ? [kept] : [];
      }).slice(0, MOST) : null;
    } catch {
      return null; // of somebody else
    }
  }

  /** Where there is little room, the oldest without what could have come, then fewer. @param {Kept[]} history @returns {boolean} whether all are kept */
  function writeHistory(history) {
    for (let whole = history.length; whole >= 0; whole -= whole > 4 ? 4 : 1) {
      if (remember(HISTORY, JSON.stringify(history.map((one, at) => packed(one, at < whole))))) return true;
    }
    return false;
  }

  /** A run as it is kept. @param {Pick<Kept, "request"|"tokens"|"split"|"limit"|"status"|"error"|"manners"|"turned">} run @returns {Kept} */
  const keptOf = (run) => ({
    ...run, id: `${Date.now().toString(36)}-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`, at: Date.now(),
    model: writtenBy(state), version: VERSION, recorded: false,
  });

  /** Adds the hashes of the adapters' files, once they are known. @param {Kept} kept @returns {Promise<Kept>} */
  async function hashed(kept) {
    const turned = await Promise.all(kept.turned.map(async (one) => {
      const weights = adapterOf(one.key)?.files?.weights;
      const sha256 = weights && await hashOf(weights);
      return sha256 ? { ...one, sha256 } : one;
    }));
    return { ...kept, turned };
  }

  /** What an earlier visit kept, and in the columns what they showed: this entry of the browser's history knows. */
  function recallRuns() {
    const history = readHistory() ?? [];
    /** @type {{[kind in GroupKind]?: Group}} */
    const groups = {};
    try {
      for (const group of JSON.parse(recall(GROUPS) ?? "[]")) {
        const rows = group.rows.map((/** @type {any} */ row) => ({ ...row, title: String(row.title), run: row.run && unpacked(row.run) }));
        if (["fan", "compare", "batch"].includes(group.kind)) groups[/** @type {GroupKind} */ (group.kind)] = { kind: group.kind, at: Number(group.at), key: group.key, rows };
      }
    } catch {
      // of somebody else
    }
    setRuns({ history, groups });
    const shown = shownId();
    if (shown && find(shown) && state.run.status === "idle") open(shown);
    store.watch(["run"], ({ run }) => {
      const { tokens, request: asked, status } = run;
      if (!isOver(run)) {
        // The texts go on, or others come: they are no more those that were kept or opened.
        if (tokens) over.delete(tokens);
        if (state.runs.opened && status !== "waiting") setRuns({ opened: null });
        return;
      }
      if (!tokens?.length || !asked || over.has(tokens)) return;
      over.add(tokens);
      const turned = lastDoses(tokens).map((dose) => turnedOf(adapterOf(dose.key), dose, state.engine.methods));
      const { split, limit, error, manners } = run;
      const kept = keptOf({ request: asked, tokens: [...tokens], split, limit, error, manners, turned, status: /** @type {Kept["status"]} */ (status) });
      // A run that was interrupted goes on in the same list of tokens.
      const id = ids.get(tokens) ?? kept.id;
      ids.set(tokens, id);
      hashed({ ...kept, id }).then((whole) => {
        changeHistory((list) => withKept(list, whole));
        if (state.run.tokens === tokens) showsId(id);
      });
    });
    globalThis.addEventListener?.("storage", ({ key }) => { if (key === HISTORY) setRuns({ history: readHistory() ?? [] }); });
  }

  /** Opens one in the columns; what was there is kept, or is the recording, which plays again. @param {string} id */
  function open(id) {
    const kept = find(id);
    if (kept) show(kept);
  }

  /** @param {Kept} kept also one of several texts */
  function show(kept) {
    if (isAsked(state.run)) return;
    if (!state.runs.opened) before = state.run;
    const { request: asked, split, limit, error, manners, model } = kept;
    const tokens = [...kept.tokens];
    over.add(tokens);
    const status = kept.status === "writing" ? "stopped" : kept.status;
    setRuns({ opened: kept.id, told: "" });
    store.set({
      run: {
        ...NO_RUN, status, tokens, kept: tokens.length, split, limit, error: status === "failed" ? error : null, request: asked, manners,
        startedAt: kept.at, model: { name: model.name, source: null, context: model.context, file: model.file },
      },
    });
    showsId(find(kept.id) ? kept.id : null);
  }

  /** What was in the columns before is there again. */
  function back() {
    if (!state.runs.opened || isAsked(state.run)) return;
    const run = before;
    before = null;
    setRuns({ opened: null });
    if (run?.request) store.set({ run });
    else recording.resume();
    showsId(ids.get(run?.tokens ?? {}) ?? null);
  }

  /** Sets the page as it was set for a run. @param {Kept} kept */
  function setLike(kept) {
    const { request, turned } = kept;
    const chat = request.chat?.filter(({ role }) => role !== "system") ?? [];
    const turns = [];
    for (let at = 0; at + 2 < chat.length; at += 2) turns.push({ user: chat[at].content, answer: chat[at + 1].content, turned: "" });
    const { sampling, maxTokens, stop, cache, klAfterSplit } = request;
    store.set({
      prompt: promptOf(kept), chat: Boolean(request.chat), system: systemOf(kept), turns,
      variables: /** @type {Record<string, string|boolean>} */ ({ ...request.templateVariables }),
      sampling: { ...state.sampling, ...sampling }, maxTokens: maxTokens ?? state.maxTokens, stop: [...stop ?? []],
      cache: cache ?? state.cache, klAfterSplit: klAfterSplit ?? state.klAfterSplit,
    });
    const missing = turned.filter(({ key }) => !adapterOf(key)).map(({ title }) => title);
    for (const { key, coefficient } of state.adapters) if (coefficient !== 0 && !turned.some((one) => one.key === key)) settings.setCoefficient(key, 0);
    for (const { key, c, law, usualLaw, layers = "", modules = "", positions = "", task, experts } of turned) {
      const adapter = adapterOf(key);
      if (!adapter) continue;
      if (task !== adapter.task && task !== undefined) adapters.setTask(key, task);
      if (JSON.stringify(experts) !== JSON.stringify(adapter.experts)) adapters.setExperts(key, experts);
      settings.setEnabled(key, true);
      if (law && !(usualLaw && !adapter.law)) settings.setLaw(key, law);
      settings.setMask(key, { layers, modules, positions });
      settings.setCoefficient(key, c);
    }
    setRuns({ told: missing.length ? say("runs.set.missing", { names: listed(missing) }) : say("runs.set.done") });
  }

  // ---- several texts --------------------------------------------------------------------------

  /** What a run now would be asked, for another prompt or with another system prompt. @param {{prompt?: string, system?: string}} [otherwise] @returns {GenerateRequest} */
  function request({ prompt, system } = {}) {
    const asked = runs.request();
    if (!isChat(state)) return prompt === undefined ? asked : { ...asked, prompt };
    const now = { ...state, ...(system === undefined ? {} : { system }), ...(prompt === undefined ? {} : { prompt, turns: [] }) };
    return { ...asked, chat: messages(now) };
  }

  /**
   * Writes one text after the other, each with its own setting; what is in the columns stays as it is.
   * @param {GroupKind} kind @param {string} title @param {Job[]} jobs @param {string} [key] of the adapter that is turned
   */
  async function writeAll(kind, title, jobs, key) {
    if (isAsked(state.run)) return complain(kind, { code: "busy", message: say("runs.busy") });
    if (isWorking()) return complain(kind, { code: "busy", message: say("runs.works") });
    const live = state.model.status === "ready";
    if (!live && jobs.some(({ seen }) => !seen)) return complain(kind, { code: "no-model", message: say("runs.no-model") });
    /** @type {Group} */
    const group = { kind, at: Date.now(), key, rows: jobs.map(({ title: name, c }) => ({ title: name, c, run: null, error: null })) };
    const tell = () => setRuns({ groups: { ...state.runs.groups, [kind]: { ...group } } });
    complain(kind, undefined);
    if (!live) {
      for (const [at, { seen }] of jobs.entries()) group.rows[at].run = seen ?? null;
      return done(group);
    }
    tell();
    await work(kind, title, async ({ signal, onProgress }) => {
      await settings.otherwise(async (set) => {
        for (const [at, job] of jobs.entries()) {
          onProgress({ done: at, total: jobs.length });
          const row = group.rows[at];
          try {
            await set(job.wishes);
            await writeOne(job, signal, (run) => { row.run = run; tell(); });
          } catch (error) {
            const { code, message } = plain(error);
            if (row.run) row.run = { ...row.run, status: code === "aborted" ? "stopped" : "failed", error: code === "aborted" ? null : { code, message } };
            if (["aborted", "device-lost", "panic"].includes(code)) throw error;
            row.error = { code, message };
            tell();
          }
        }
      });
    });
    done(group);
  }

  /** @param {Group} group */
  function done(group) {
    const groups = { ...state.runs.groups, [group.kind]: { ...group } };
    setRuns({ groups });
    remember(GROUPS, JSON.stringify(Object.values(groups).map((one) => ({ ...one, rows: one.rows.map((row) => ({ ...row, run: row.run && packed(row.run, false) })) }))));
  }

  /** @param {Job} job @param {AbortSignal} signal @param {(run: Kept) => void} tell */
  async function writeOne({ wishes, request: asked }, signal, tell) {
    const places = wishes.map(({ key }) => adapterOf(key)?.id ?? null);
    if (places.includes(null)) throw new EngineError({ code: "no-such-adapter", message: say("runs.no-adapter", { names: listed(wishes.map(({ key }) => adapterOf(key)?.title ?? key)) }) });
    /** @type {import("../state/store.js").Token[]} */
    const tokens = [];
    /** @type {number|null} */
    let split = null;
    const acting = wishes.flatMap((wish) => {
      const adapter = adapterOf(wish.key);
      return adapter && wish.c !== 0 ? [{ ...adapter, ...wish, enabled: true, coefficient: wish.c }] : [];
    });
    const turned = acting.map((adapter) => turnedOf(adapter, { key: adapter.key, title: adapter.title, c: adapter.c }, state.engine.methods));
    let kept = await hashed(keptOf({ request: asked, tokens, split, limit: asked.maxTokens ?? null, status: "writing", error: null, manners: manner(acting), turned }));
    for await (const step of client.generate(asked, { signal })) {
      if (step.kind !== "token") continue;
      // Another of its tasks, or a new place in the list: it would not be the same text.
      if (wishes.some(({ key }, at) => adapterOf(key)?.id !== places[at])) throw new EngineError({ code: "no-such-adapter", message: say("runs.adapters-changed") });
      if (split === null && step.base?.id !== step.steered?.id && asked.compare) split = tokens.length;
      tokens.push(tokenOf(step, tokens.length, state.adapters));
      kept = { ...kept, tokens, split };
      tell(kept);
    }
    tell({ ...kept, status: "done" });
  }

  /** One prompt at several coefficients of an adapter; what else acts stays. @param {{key: string, from: number, to: number, step: number}} wish */
  async function fan({ key, from, to, step }) {
    const list = ribs(from, to, step);
    if (!list.length) return complain("fan", { code: "bad-option", message: say("runs.fan.bad", { n: RIBS }) });
    const others = wishesNow(state.adapters).filter((one) => one.key !== key);
    const asked = request();
    await writeAll("fan", say("runs.fan.writing", { title: adapterOf(key)?.title ?? "" }), list.map((c) => ({
      title: "", c, wishes: [...others, { key, c }], request: asked, seen: others.length ? undefined : recording.recorded(state.prompt, key, c) ?? undefined,
    })), key);
  }

  /** Up to four settings beside each other, for the prompt of the page. @param {import("../state/runs.js").Item[]} list */
  async function compareRuns(list) {
    setRuns({ tab: "compare" });
    if (!list.length || list.length > COLUMNS) return complain("compare", { code: "bad-option", message: say("runs.compare.many", { n: COLUMNS }) });
    if (list.some(({ system }) => system?.trim()) && !(isChat(state) && takesSystem(state))) return complain("compare", { code: "bad-option", message: say("runs.compare.no-system") });
    await writeAll("compare", say("runs.compare.writing"), list.map(({ title, doses, system }) => {
      const wishes = doses.filter(({ c }) => c !== 0);
      const [one] = doses;
      const seen = doses.length === 1 && !system ? recording.recorded(state.prompt, one.key, one.c) ?? undefined : undefined;
      return { title, wishes, request: system?.trim() ? { ...request({ system }), compare: wishes.length > 0 } : request(), seen };
    }));
    // A system prompt's text is beside a base that reads none: where they part is found here.
    const group = state.runs.groups.compare;
    const prompting = (/** @type {number} */ at) => Boolean(list[at]?.system?.trim());
    const base = group?.rows.find(({ run }, at) => run && !prompting(at))?.run;
    if (!group || !base) return;
    done({ ...group, rows: group.rows.map((row, at) => (row.run && prompting(at) ? { ...row, run: { ...row.run, split: parting(row.run.tokens, base.tokens) } } : row)) });
  }

  /** Each prompt by itself, with the present settings. @param {string[]} prompts */
  async function batch(prompts) {
    if (!prompts.length || prompts.length > PROMPTS) return complain("batch", { code: "bad-option", message: say("runs.batch.many", { n: PROMPTS }) });
    const wishes = wishesNow(state.adapters);
    await writeAll("batch", say("runs.batch.writing"), prompts.map((prompt) => ({
      title: prompt, wishes, request: request({ prompt }), seen: wishes.length === 1 ? recording.recorded(prompt, wishes[0].key, wishes[0].c) ?? undefined : undefined,
    })));
  }

  return {
    recallRuns, fan, compareRuns, batch, setLike, openRun: open, showRun: show, backToBefore: back,
    /** @param {{recorded: Recorded, resume: () => void}} from */
    useRecording(from) { recording = from; },
    /** @param {import("../state/runs.js").Runs["tab"]} tab */
    setTab: (tab) => setRuns({ tab }),
    /** @param {string} id @param {boolean} on */
    pin(id, on) {
      if (on && !mayPin(state.runs.history, id)) return;
      changeHistory((list) => list.map((one) => (one.id === id ? { ...one, pinned: on } : one)));
    },
    /** @param {string} id */
    forgetRun(id) { changeHistory((list) => list.filter((one) => one.id !== id)); },
    /** All but what is pinned. */
    forgetRuns() { changeHistory((list) => list.filter(({ pinned }) => pinned)); },
    /** The pinned ones beside each other, as they are. */
    comparePinned() {
      if (writesAside(state.work)) return;
      complain("compare", undefined);
      const rows = state.runs.history.filter(({ pinned }) => pinned).map((run) => ({ title: "", run, error: null }));
      setRuns({ tab: "compare" });
      done({ kind: "compare", at: Date.now(), rows });
    },
  };
}

/** The run that this entry of the browser's history shows, which outlives a reload and the way back. @returns {string|null} */
function shownId() {
  try {
    const id = history.state?.run;
    return typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

/** @param {string|null} run */
function showsId(run) {
  try {
    history.replaceState({ ...history.state, run }, "");
  } catch {
    // a frame that may not: the texts are in the list all the same
  }
}

/** @typedef {ReturnType<typeof runsActions>} RunsActions */
