// node --test www
import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { Engine } from "./client.js";

/** A worker that does as it is told, and locks as a browser has them. */
function world() {
  /** @type {any[]} */
  const workers = [];
  /** @type {Map<string, {grant: () => void, signal: AbortSignal}>} */
  const waiting = new Map();
  globalThis.Worker = /** @type {any} */ (class {
    constructor(/** @type {any} */ _url, /** @type {any} */ { name }) {
      /** @type {any[]} */
      this.sent = [];
      this.name = name;
      this.terminated = false;
      workers.push(this);
    }
    postMessage(/** @type {any} */ data) { this.sent.push(data); }
    terminate() { this.terminated = true; }
    /** @param {any} data */
    says(data) { /** @type {any} */ (this).onmessage({ data }); }
  });
  const locks = {
    request: (/** @type {string} */ name, /** @type {any} */ { signal }, /** @type {() => void} */ grant) => new Promise((_resolve, reject) => {
      waiting.set(name, { grant, signal });
      signal.addEventListener("abort", () => reject(new Error("AbortError")));
    }),
  };
  Object.defineProperty(globalThis, "navigator", { value: { locks }, configurable: true });
  return { workers, waiting };
}

function engine() {
  /** @type {any[]} */
  const deaths = [];
  const made = new Engine({ onFatal: (error) => deaths.push(error) });
  made.start();
  return { made, deaths };
}

test("the end of a worker that says nothing is told by its lock", async () => {
  const { workers, waiting } = world();
  const { made, deaths } = engine();
  const [worker] = workers;
  worker.says({ life: "lock" });
  const call = made.call("memory", []);
  /** @type {any} */ (waiting.get(worker.name)).grant();
  await assert.rejects(call, (/** @type {any} */ error) => error.code === "panic" && /without an error/.test(error.message));
  assert.equal(deaths.length, 1);
  assert.equal(worker.terminated, true);
});

test("a worker that is ended on purpose is not missed", async () => {
  const { workers, waiting } = world();
  const { made, deaths } = engine();
  workers[0].says({ life: "lock" });
  const first = /** @type {any} */ (waiting.get(workers[0].name));
  made.start();
  assert.equal(first.signal.aborted, true);
  first.grant();
  assert.equal(deaths.length, 0);
});

test("without locks silence is told after two minutes of waiting, and no sooner", async () => {
  mock.timers.enable({ apis: ["setInterval"] });
  try {
    const { workers } = world();
    const { made, deaths } = engine();
    const [worker] = workers;
    worker.says({ life: "ping" });
    mock.timers.tick(3_600_000);
    assert.equal(deaths.length, 0, "nobody waits for anything");
    const call = made.call("memory", []);
    call.catch(() => {});
    mock.timers.tick(115_000);
    assert.equal(deaths.length, 0, "it may be computing");
    assert.ok(worker.sent.some((/** @type {any} */ data) => "ping" in data));
    worker.says({ pong: 1 });
    mock.timers.tick(115_000);
    assert.equal(deaths.length, 0, "it has said something");
    mock.timers.tick(15_000);
    assert.equal(deaths.length, 1);
    await assert.rejects(call, /without an error/);
  } finally {
    mock.timers.reset();
  }
});

test("a worker that failed without an error of the engine's is told in the page's words", async () => {
  const { workers } = world();
  const { made, deaths } = engine();
  const call = made.call("memory", []);
  workers[0].says({ fatal: null });
  await assert.rejects(call, (/** @type {any} */ error) => error.code === "panic" && /the engine failed/.test(error.message));
  assert.equal(deaths.length, 1);
});

test("what an uncaught error says goes to the console, not to the reader", async () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const log = mock.method(console, "error", () => {});
  try {
    const { workers } = world();
    const { deaths } = engine();
    const [worker] = workers;
    worker.says({ life: "lock" });
    const thrown = "Uncaught RuntimeError: unreachable at wasm-function[123]";
    /** @type {any} */ (worker).onerror({ message: thrown, preventDefault: () => {} });
    mock.timers.tick(2000);
    assert.equal(deaths[0].code, "panic");
    assert.doesNotMatch(deaths[0].message, /unreachable|wasm-function/);
    assert.equal(log.mock.calls[0].arguments[0], thrown);
  } finally {
    mock.timers.reset();
    log.mock.restore();
  }
});
