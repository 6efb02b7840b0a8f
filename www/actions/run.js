// A run: both texts grow token by token, stop, and go on.
import { plain } from "../engine/client.js";
import { say } from "../say.js";
import { manner } from "../state/acting.js";
import { isChat, messages, variables } from "../state/conversation.js";
import { writesAside } from "../state/runs.js";

/**
 * @typedef {import("../state/store.js").Run} Run
 * @typedef {import("../state/store.js").Token} Token
 * @typedef {import("../engine/protocol.js").GenerateRequest} GenerateRequest
 * @typedef {import("../engine/protocol.js").Step} Step
 * @typedef {"base"|"steered"} Lane
 */

/** Tokens that come at least where a text is begun anew in its midst. */
const LEAST_MORE = 16;

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./adapters.js").AdapterActions} adapters
 */
export function runActions(store, { client, refreshMemory, resetRestarts }, adapters) {
  const { state } = store;
  /** @type {AbortController|null} */
  let generating = null;

  /** @param {Partial<Run>} patch */
  const setRun = (patch) => store.set({ run: { ...state.run, ...patch } });

  /** @param {{resume?: boolean, from?: {token: Token, alternative: Token["top"][number]}}} [options] resume continues the texts of the last run; from begins with its steered text up to a token, and another in that place */
  async function run({ resume = false, from } = {}) {
    if (generating || writesAside(state.work)) return;
    if (state.model.info?.hasTokenizer === false) return setRun({ recorded: null, status: "failed", error: { code: "no-tokenizer", message: say("engine.no-tokenizer") } });
    const control = new AbortController();
    generating = control;
    if (!(await everythingIsThere(control.signal))) {
      generating = null;
      return;
    }
    const earlier = resume || from ? state.run : null;
    const tokens = from ? given(earlier?.tokens ?? [], from) : earlier?.tokens ?? [];
    const [split, asked] = [from ? null : earlier?.split ?? null, earlier?.request ?? request()];
    // However late it begins anew, there is something to be seen.
    const limit = Math.max(earlier?.limit ?? state.maxTokens, from ? tokens.length + LEAST_MORE : 0);
    setRun({
      recorded: null, status: "prefill", tokens, kept: tokens.length, split,
      error: null, interrupted: false, selected: null, prefill: null, startedAt: performance.now(), firstAt: null, lastAt: null,
      limit, request: asked, manners: from ? null : earlier?.manners ?? null,
      model: { name: state.model.name, source: state.model.source, context: state.model.info?.context },
    });
    try {
      const { signal } = control;
      const steps = earlier ? continued({ tokens, split, limit, request: asked }, signal) : client.generate(asked, { signal });
      for await (const step of steps) take(step, tokens);
      setRun({ status: "done" });
      resetRestarts();
    } catch (error) {
      const { code, message } = plain(error);
      if (code === "aborted") setRun({ status: "stopped" });
      else if (!state.run.interrupted) setRun({ status: "failed", error: { code, message } });
    } finally {
      if (generating === control) generating = null;
      refreshMemory();
    }
  }

  /**
   * Waits for the adapters that would act and are still on their way.
   * @param {AbortSignal} signal gives up, and all is as it was before
   * @returns {Promise<boolean>} whether to write
   */
  async function everythingIsThere(signal) {
    const [before, generation] = [state.run, adapters.generation()];
    const acting = () => state.adapters.filter((adapter) => adapter.enabled && adapter.coefficient !== 0);
    const stopped = new Promise((resolve) => signal.addEventListener("abort", resolve));
    /** @type {Set<string>} */
    const awaited = new Set();
    for (let late; (late = acting().filter(({ loading }) => loading)).length && !signal.aborted;) {
      setRun({ recorded: null, status: "waiting", waitsFor: late.map(({ title }) => title), error: null });
      for (const { key } of late) awaited.add(key);
      await Promise.race([stopped, Promise.all(late.map(({ key }) => adapters.arrival(key)))]);
    }
    const failed = state.adapters.find(({ key, error, refused }) => awaited.has(key) && (error ?? refused));
    const why = failed?.error ?? failed?.refused;
    const error = failed && why
      ? { ...why, message: say(failed.error ? "engine.not-read" : "engine.not-set", { title: failed.title, why: why.message }) }
      : { code: "aborted", message: say("engine.stopped-early") };
    if (signal.aborted) store.set({ run: before });
    else if (failed || adapters.generation() !== generation) setRun({ status: "failed", error });
    else return true;
    return false;
  }

  /** What a run now would be asked. @returns {GenerateRequest} */
  function request() {
    const { prompt, sampling, maxTokens, stop, cache, klAfterSplit } = state;
    const templateVariables = variables(state);
    const words = isChat(state)
      ? { chat: messages(state), ...(Object.keys(templateVariables).length ? { templateVariables } : {}) } : { prompt };
    return { ...words, maxTokens, sampling, stop, cache, klAfterSplit, compare: true, top: 8 };
  }

  /**
   * Goes on after the texts of an earlier run. While they are the same, one stream does; once
   * they have parted, each goes on from its own ids, and their distance is not measured.
   * @param {{tokens: Token[], split: number|null, limit: number, request: GenerateRequest}} earlier
   * @param {AbortSignal} signal
   * @returns {AsyncGenerator<Step, void, void>}
   */
  async function* continued({ tokens, split, limit, request }, signal) {
    const prompt = await client.call("promptIds", [request]);
    const ids = (/** @type {Lane} */ lane) => [...prompt, ...tokens.flatMap((token) => token[lane]?.id ?? [])];
    const ended = (/** @type {Lane} */ lane) => tokens.some((token) => token[lane]?.finish);
    const from = (/** @type {Lane} */ lane, /** @type {boolean} */ compare) =>
      client.generate({ ...request, cache: state.cache, ids: ids(lane), maxTokens: limit - tokens.length, compare }, { signal });
    if (split === null) {
      yield* from("steered", true);
      return;
    }
    const steered = ended("steered") ? null : from("steered", false);
    const base = ended("base") ? null : from("base", true);
    const token = async (/** @type {AsyncGenerator<Step>|null} */ steps) => {
      for (let item = await steps?.next(); item && !item.done; item = await steps?.next()) {
        if (item.value.kind === "token") return item.value;
      }
      return null;
    };
    for (;;) {
      const left = await token(base);
      const right = await token(steered);
      const either = right ?? left;
      if (!either || (!left?.base && !right?.steered)) return;
      yield { ...either, base: left?.base ?? null, steered: right?.steered ?? null, klNats: null };
    }
  }

  /** @param {Step} step @param {Token[]} tokens of the run, which gets one more */
  function take(step, tokens) {
    const { run } = state;
    if (step.kind === "prefill") return setRun({ prefill: step });
    const now = performance.now();
    const index = tokens.length;
    tokens.push(tokenOf(step, index, state.adapters));
    const split = run.split ?? (step.base?.id === step.steered?.id ? null : index);
    const manners = step.steered ? manner(state.adapters) : run.manners;
    setRun({ status: "streaming", split, manners, firstAt: run.firstAt ?? now, lastAt: now });
    if (index % 16 === 0) refreshMemory();
  }

  /** The engine died in the middle of it. @param {unknown} error @returns {boolean} whether it was running */
  function interrupt(error) {
    const running = state.run.status === "prefill" || state.run.status === "streaming";
    if (running) setRun({ status: "failed", error: plain(error), interrupted: true });
    return running;
  }

  function stop() {
    generating?.abort();
  }

  /** @param {"keep"|"recompute"} cache */
  function setCache(cache) {
    store.set({ cache });
    if (generating) client.call("setCachePolicy", [cache]).catch(() => {});
  }

  /** @param {number|null} index */
  function select(index) {
    const last = (state.run.tokens?.length ?? 0) - 1;
    if (last >= 0) setRun({ selected: index === null ? null : Math.min(Math.max(index, 0), last) });
  }

  return { run, request, interrupt, stop, setCache, select };
}

/** A step as the page has it. @param {import("../pkg/steering_playground.js").TokenStep} step @param {number} index @param {import("../state/store.js").Adapter[]} adapters @returns {Token} */
export function tokenOf(step, index, adapters) {
  // Once the steered text has ended, nothing that is turned acts on anything.
  const writes = Boolean(step.steered);
  const doses = (writes ? step.coefficients : []).map(([id, c]) => {
    const adapter = adapters.find((item) => item.id === id);
    return { key: adapter?.key ?? String(id), title: adapter?.title ?? say("adapters.nameless", { id: String(id) }), c };
  });
  const klNats = Number.isFinite(step.klNats) ? step.klNats : null;
  return { ...step, index, doses, klNats, cache: writes ? step.cache : "current" };
}

/**
 * The steered text up to a token, and another token in its place: both models are given it, and wrote nothing of it here.
 * What could have come at each place stays with it, but no distance: that was another run's.
 * @param {Token[]} tokens @param {{token: Token, alternative: Token["top"][number]}} from @returns {Token[]}
 */
function given(tokens, { token, alternative }) {
  const both = (/** @type {Token} */ of, /** @type {import("../state/store.js").LaneStep} */ step, /** @type {Token["given"]} */ how) =>
    /** @type {Token} */ ({ ...of, base: { ...step, finish: null }, steered: { ...step, finish: null }, klNats: null, doses: [], cache: "current", given: how });
  const before = tokens.slice(0, token.index).flatMap((one) => (one.steered ? [both(one, one.steered, one.given ?? "text")] : []));
  const { id, text, steered } = alternative;
  return [...before, both(token, { id, text, probability: steered ?? 0, finish: null }, "instead")];
}

/** @typedef {ReturnType<typeof runActions>} RunActions */
