// Measuring, equal doses, the layers that carry an effect, and vectors of one's own.
import { EngineError, plain } from "../engine/client.js";
import { hashOf } from "../hashes.js";
import { recall, remember } from "../remember.js";
import { say } from "../say.js";
import { contrastText } from "../shipped.js";
import { behaviourOf } from "../state/bench.js";
import { templateOf } from "../state/conversation.js";
import { isMeasured, part, withFresh } from "../state/measured.js";
import { onePrompt, pairsFrom } from "../state/pairs.js";

/**
 * @typedef {import("../state/bench.js").Bench} Bench
 * @typedef {import("../state/measured.js").Measured} Measured
 * @typedef {import("../engine/protocol.js").VectorOptions} VectorOptions
 */

const OWN_KEY = "playground.pairs";
const MEASURED_KEY = "playground.measured";
/** So many are remembered: a reload is no reason to measure again. */
const REMEMBERED = 6;

/**
 * @param {import("../state/store.js").Store} store
 * @param {import("./engine.js").EngineActions} engine
 * @param {import("./adapters.js").AdapterActions} adapters
 * @param {import("./settings.js").SettingsActions} settings
 * @param {import("./work.js").WorkActions} works
 */
export function doseActions(store, { client, started }, adapters, settings, { work, complain, isWorking }) {
  const { state } = store;
  let made = 0;
  /** Which reading of the user's pairs was asked last. */
  let reading = 0;

  const setBench = (/** @type {Partial<Bench>} */ patch) => store.set({ bench: { ...state.bench, ...patch } });
  const find = (/** @type {string} */ key) => state.adapters.find((adapter) => adapter.key === key);

  // ---- pairs ----------------------------------------------------------------------------------

  /** Fetches the page's pairs, once. */
  async function listBehaviours() {
    if (state.bench.shippedText) return;
    try {
      const text = await contrastText();
      // It may be asked for before the engine is there.
      await started;
      const names = await client.call("behaviours", [text]);
      setBench({ shippedText: text, shipped: names, complaints: { ...state.bench.complaints, pairs: undefined } });
    } catch (error) {
      complain("pairs", plain(error));
    }
  }

  /** Takes the user's pairs, and says what is wrong with them. @param {string} text */
  async function setOwnPairs(text) {
    reading += 1;
    const mine = reading;
    setBench({ ownText: text });
    remember(OWN_KEY, text);
    if (!text.trim()) {
      setBench({ own: [] });
      return complain("pairs", undefined);
    }
    try {
      const own = await client.call("behaviours", [pairsFrom(text)]);
      if (mine !== reading) return;
      setBench({ own });
      complain("pairs", undefined);
    } catch (error) {
      if (mine !== reading) return;
      setBench({ own: [] });
      complain("pairs", plain(error));
    }
  }

  /** The pairs that are chosen, as the engine is asked for them. @param {string} [name] of the adapter @returns {{behaviour: string, pairs?: string}} */
  function asked(name) {
    const { bench } = state;
    const behaviour = behaviourOf(bench, name);
    if (bench.source === "shipped") return { behaviour };
    if (bench.source === "own") return { pairs: pairsFrom(bench.ownText), behaviour };
    const { prompt, positive, negative } = bench.one;
    return { pairs: onePrompt(prompt, positive, negative), behaviour: "mine" };
  }

  const template = () => templateOf(state);

  /** For what reads neutral answers only, the page's. */
  const neutral = () => ({ behaviour: state.bench.shipped[0] ?? "", ...template() });

  /** @param {string} key @returns {number} its id in the engine */
  function idOf(key) {
    const id = find(key)?.id ?? null;
    if (id === null) throw new EngineError({ code: "no-such-adapter", message: say("dose.no-adapter") });
    return id;
  }

  // ---- measuring ------------------------------------------------------------------------------

  /** Measures adapters together, each with its share of c. @param {{key: string, scale: number}[]} turned @param {{repeats?: boolean}} [options] */
  async function measure(turned, { repeats = false } = {}) {
    const parts = turned.flatMap(({ key, scale }) => {
      const adapter = find(key);
      return adapter ? [part(adapter, scale)] : [];
    });
    const title = parts.map((one) => one.title).join(" + ");
    const first = find(turned[0]?.key ?? "");
    const { source, info, name } = state.model;
    const what = { ...asked(first?.name), ...template() };
    const found = await work("measure", say("dose.measuring", { title }), (options) => client.call("measure", [{
      ...what, adapters: parts.map(({ key, scale }) => ({ id: idOf(key), scale })), ...(repeats ? {} : { repetitionTokens: 0 }),
    }], options));
    if (!found) return;
    const modelFile = (source?.kind === "url" ? source.url.split("/").pop() : source?.name) ?? name;
    keep(withFresh(state.measured, { parts, model: info?.name ?? name, modelFile, pairs: what.pairs ?? null, variables: what.templateVariables ?? {}, found }));
  }

  /** @param {Measured[]} measured */
  function keep(measured) {
    store.set({ measured });
    // Another visit has the page's adapters under the same keys; those of files come anew.
    const lasting = measured.filter(({ parts }) => parts.every(({ key }) => /^(shipped|zoo):/.test(key)));
    remember(MEASURED_KEY, JSON.stringify(lasting.slice(0, REMEMBERED)));
  }

  /** What an earlier visit measured and gave. */
  function recallBench() {
    const ownText = recall(OWN_KEY) ?? "";
    setBench({ ownText });
    try {
      /** @type {unknown} */
      const list = JSON.parse(recall(MEASURED_KEY) ?? "[]");
      store.set({ measured: Array.isArray(list) ? list.filter(isMeasured) : [] });
    } catch {
      // Something else wrote there: nothing is remembered.
    }
    /** @type {WeakSet<object>} */
    const seen = new WeakSet();
    store.watch(["adapters"], ({ adapters: now }) => {
      for (const { key, files } of now) {
        if (!files || seen.has(files)) continue;
        seen.add(files);
        dropOthers(key, files.weights);
      }
    });
  }

  /** What was measured of an adapter whose numbers are other ones now is no more than a memory. @param {string} key @param {import("../state/store.js").Files["weights"]} weights */
  async function dropOthers(key, weights) {
    const of = (/** @type {Measured} */ { parts }) => parts.findIndex((one) => one.key === key);
    // Only a secure page can compare; what an earlier visit kept has a hash to compare with.
    if (weights instanceof Blob || !state.measured.some((one) => of(one) >= 0)) return;
    const hash = await hashOf(weights);
    if (!hash) return;
    const same = state.measured.filter((one) => of(one) < 0 || one.found.adapters[of(one)]?.sha256 === hash);
    if (same.length < state.measured.length) keep(same);
  }

  // ---- doses ----------------------------------------------------------------------------------

  /** Where an adapter has a strength, on the side of `sign`. @param {string} key @param {number} nats @param {number} sign @param {import("./work.js").Options} options */
  const sideAt = (key, nats, sign, options) =>
    client.call("calibrateSide", [{ ...neutral(), adapters: [{ id: idOf(key) }], nats }, sign < 0 ? "negative" : "positive"], options);

  /** Turns each adapter to the same strength, on the side where it is. @param {string[]} keys @param {number} nats */
  async function sameDose(keys, nats) {
    if (!(nats > 0 && nats <= 20)) return complain("same", { code: "bad-option", message: say("dose.same.bad") });
    setBench({ doses: [] });
    await work("same", "", async (options, retitle) => {
      for (const [at, key] of keys.entries()) {
        const { title = "", coefficient = 0 } = find(key) ?? {};
        retitle(say("dose.same.finding", { title, at: at + 1, n: keys.length }));
        const side = await sideAt(key, nats, coefficient, options);
        if (side.c !== null) settings.setCoefficient(key, side.c);
        setBench({ doses: [...state.bench.doses, { key, title, side }] });
      }
    });
  }

  /** Turns an adapter to a strength, with the sign of the number. @param {string} key @param {number} nats */
  async function setNats(key, nats) {
    const refuse = (/** @type {string} */ message) => store.setAdapter(key, { refused: { code: "bad-coefficient", message } });
    if (!Number.isFinite(nats)) return refuse(say("dose.units.not-number"));
    if (nats === 0) return settings.setCoefficient(key, 0);
    if (isWorking()) return refuse(say("dose.busy"));
    store.setAdapter(key, { refused: null, finding: true });
    await listBehaviours();
    const side = await work("nats", find(key)?.title ?? "", (options) => sideAt(key, Math.abs(nats), nats, options));
    store.setAdapter(key, { finding: false });
    const failed = state.bench.complaints.nats;
    if (failed) refuse(failed.message);
    if (!side) return;
    if (side.c === null) return refuse(say("dose.units.unreached", { nats: String(nats), why: side.note ?? "" }));
    await settings.setCoefficient(key, side.c);
  }

  // ---- layers ---------------------------------------------------------------------------------

  /** @param {string} key */
  async function mapLayers(key) {
    const adapter = find(key);
    const title = adapter?.title ?? "";
    const map = await work("layers", say("dose.layers.mapping", { title }), (options) =>
      client.call("layerMap", [{ ...asked(adapter?.name), ...template(), adapters: [{ id: idOf(key) }] }], options));
    if (map) setBench({ layers: { key, title, map } });
  }

  /** Lets an adapter act on the suggested layers, as strongly as was suggested. @param {string} key @param {NonNullable<import("../engine/protocol.js").LayerMap["suggestion"]>} suggestion */
  async function useLayers(key, { layers, dose }) {
    await settings.setMask(key, { layers });
    if (dose.c !== null) await settings.setCoefficient(key, dose.c);
  }

  // ---- vectors --------------------------------------------------------------------------------

  /** Makes a vector and lists it. @param {VectorOptions & {name: string}} wish */
  async function makeVector(wish) {
    const vector = await work("vector", say("dose.vector.making", { name: wish.name }), (options) => client.call("makeVector", [wish], options));
    if (!vector) return;
    made += 1;
    const key = `made:${made}`;
    const { name } = wish;
    const { name: _name, task: _task, expertWeights: _weights, ...files } = vector.files;
    setBench({ made: [{ ...vector, key, name }, ...state.bench.made] });
    await adapters.addAdapter({ key, name, title: name, sentence: say("dose.vector.sentence"), files, coefficient: 1, enabled: true });
  }

  return {
    listBehaviours, setOwnPairs, measure, recallBench, sameDose, setNats, mapLayers, useLayers, makeVector,
    /** @param {Partial<Pick<Bench, "subject"|"source"|"behaviour"|"one">>} patch */
    setBench: (patch) => setBench(patch),
    /** @param {"c"|"nats"} units */
    setUnits: (units) => store.set({ units }),
  };
}
