// What the user can do, and what it does to the engine and to the state. No elements here. Each of
// the rooms in actions/ knows those before it; here is what needs all of them: another engine.
import { adapterActions } from "./actions/adapters.js";
import { conversationActions } from "./actions/conversation.js";
import { engineActions } from "./actions/engine.js";
import { doseActions } from "./actions/dose.js";
import { methodActions } from "./actions/methods.js";
import { modelActions } from "./actions/model.js";
import { pictureActions } from "./actions/picture.js";
import { runActions } from "./actions/run.js";
import { runsActions } from "./actions/runs.js";
import { settingsActions } from "./actions/settings.js";
import { storageActions } from "./actions/storage.js";
import { trainActions } from "./actions/train.js";
import { workActions } from "./actions/work.js";
import { plain } from "./engine/client.js";
import { writesAside } from "./state/runs.js";

/** @typedef {import("./engine/client.js").EngineError} EngineError */

/** @param {import("./state/store.js").Store} store */
export function createActions(store) {
  const { state } = store;
  const engine = engineActions(store, recover);
  const settings = settingsActions(store, engine);
  const adapters = adapterActions(store, engine, settings);
  const methods = methodActions(store, adapters, settings);
  const works = workActions(store);
  const doses = doseActions(store, engine, adapters, settings, works);
  const training = trainActions(store, engine, adapters, works);
  const runs = runActions(store, engine, adapters);
  const kept = runsActions(store, engine, adapters, settings, runs, works);
  const models = modelActions(store, engine, adapters, runs);
  const talk = conversationActions(store);
  const pictures = pictureActions(store, engine);
  const storage = storageActions(store, engine, models);

  /** Another device means another engine. @param {"auto"|"webgpu"|"cpu"} device */
  async function setDevice(device, allowSoftwareGpu = state.allowSoftwareGpu) {
    runs.stop();
    store.set({ device, allowSoftwareGpu });
    await restore(state.model.status === "ready");
  }

  /** The worker died: keep every text, start a new one, load again, go on where it stopped. @param {EngineError} error */
  async function recover(error) {
    const hadModel = state.model.status === "ready";
    const wasRunning = runs.interrupt(error);
    store.set({ engine: { ...state.engine, status: "crashed", error: plain(error) } });
    if (state.engine.device === null || !engine.mayRestart()) return;
    if ((await restore(hadModel, error)) && wasRunning) await runs.run({ resume: true });
  }

  /** A new worker, and in it what the last one had. @param {boolean} withModel @param {EngineError} [why] */
  async function restore(withModel, why) {
    adapters.nextGeneration();
    if (!(await engine.start(why))) return false;
    const { source } = state.model;
    if (!withModel || !source) return false;
    await models.loadModel(source);
    return state.model.status === "ready";
  }

  function restart() {
    engine.resetRestarts();
    return restore(state.model.source !== null);
  }

  const { start, refreshMemory } = engine;
  const { rename, setCoefficient, setLaw, setMask, setEnabled } = settings;
  const { addAdapter, fetchAdapter, listShipped, removeAdapter, setTask, setExperts } = adapters;
  const { run, request, setCache, select } = runs;
  /** What is being written, in the columns or beside them. */
  const stop = () => {
    runs.stop();
    if (writesAside(state.work)) works.stopWork();
  };
  return {
    start, restart, setDevice, refreshMemory, ...models, ...methods, ...doses, ...training, ...kept, stopWork: works.stopWork,
    addAdapter, fetchAdapter, listShipped, removeAdapter, rename, setCoefficient, setLaw, setMask, setEnabled, setTask, setExperts,
    run, request, stop, setCache, select, ...talk, ...pictures, ...storage,
  };
}

/** @typedef {ReturnType<typeof createActions>} Actions */
