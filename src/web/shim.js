// The little that Rust cannot say of the browser: an error class, an async iterator, a promise
// that ends when the module or the GPU dies, and a look at the GPU before Rust touches it.

/** Every error of this package. `code` is stable, the message is for people. */
export class PlaygroundError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "PlaygroundError";
    this.code = code;
  }
}

// ---- what died, and who waits for it -------------------------------------------------------------

/** Rejections of the calls under way: reject -> whether the call needs the GPU. */
const waiting = new Map();
/** The first fatal errors: of the whole module, of the GPU. */
const dead = { module: null, gpu: null };
let tell;
const lost = new Promise((resolve) => {
  tell = resolve;
});

/** Ends every call that depends on what died. */
function die(what, error) {
  dead[what] ??= error;
  tell(error);
  for (const [reject, gpu] of waiting) {
    if (what !== "module" && !gpu) continue;
    waiting.delete(reject);
    reject(error);
  }
}

/** What people are told of a failure of our own; the console has it at length. */
const FAILED = "the engine failed and has to be started anew; the text is kept (the browser's console says more)";

/** How long the loss of a GPU may take to be told after something has failed for it, in ms. */
const GRACE = 300;

/** Called by the panic hook: after a panic no call of the module can be trusted. A lost GPU may be the reason, which is then told instead. */
export function panicked() {
  const error = new PlaygroundError("panic", FAILED);
  if (watched) setTimeout(() => die("module", dead.gpu ?? error), GRACE);
  else die("module", error);
}

/** For developers. */
export function inTheConsole(details) {
  console.error(details);
}

/** The origin's private files; a browser that denies them may throw or reject. */
export async function storageRoot() {
  return navigator.storage.getDirectory();
}

/** Settles as `promise` does, or rejects as soon as what it needs is dead. */
export function guard(promise, gpu) {
  const error = dead.module ?? (gpu ? dead.gpu : null);
  return new Promise((resolve, reject) => {
    if (error) reject(error);
    else waiting.set(reject, gpu);
    const settle = (end) => (value) => {
      // A trap: whoever waits is told with all others.
      if (value instanceof WebAssembly.RuntimeError) return panicked();
      waiting.delete(reject);
      end(value);
    };
    promise.then(settle(resolve), settle(reject));
  });
}

/** Resolves with the error when the module panics or the GPU is lost; else never. */
export function whenLost() {
  return lost;
}

// ---- the GPU --------------------------------------------------------------------------------------

/** What the browser tells of its GPU; nothing is created. */
export async function probe() {
  const facts = { secure: globalThis.isSecureContext === true, hasApi: Boolean(navigator.gpu) };
  if (!navigator.gpu) return facts;
  try {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return facts;
    const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
    const limits = {};
    for (const name in adapter.limits) limits[name] = Number(adapter.limits[name]);
    facts.adapter = {
      vendor, architecture, description, limits, features: [...adapter.features],
      // Older browsers have it on the adapter itself.
      isFallback: Boolean(isFallbackAdapter ?? adapter.isFallbackAdapter),
    };
  } catch (error) {
    facts.error = String(error?.message ?? error);
  }
  return facts;
}

/** Whether a device's loss would be told. */
let watched = false;

const bytes = { now: 0, peak: 0 };
/** Buffers that are dropped without `destroy()` are freed by the garbage collector. */
const dropped = new FinalizationRegistry((size) => {
  bytes.now -= size;
});

/**
 * Watches the next GPU device that is requested: its loss, and the bytes of its buffers. Asks for
 * `features` too, which wgpu does not know, and keeps the runtime from measuring time itself.
 */
export function watchGpu(features) {
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function requestDevice(descriptor) {
    const device = await request.call(this, {
      ...descriptor, requiredFeatures: [...(descriptor?.requiredFeatures ?? []), ...features],
    });
    GPUAdapter.prototype.requestDevice = request;
    watched = true;
    // Where a GPU takes no time, the runtime would itself, which panics in a browser even if nothing is
    // ever timed, as here. So to the runtime, whose adapter this is, every GPU does; the device was
    // asked for without.
    const own = this.features;
    Object.defineProperty(this, "features", {
      value: { has: (name) => name === "timestamp-query" || own.has(name) },
    });
    device.lost.then(({ reason, message }) => {
      inTheConsole(`the GPU device was lost (${reason}): ${message}`);
      const why = reason === "destroyed"
        ? "the page or the browser closed it"
        : "the system or the browser took it away, as after sleep or a driver's update";
      die("gpu", new PlaygroundError(
        "device-lost", `the device stopped working: ${why}; start a new session, the text is kept`));
    });
    const create = device.createBuffer;
    device.createBuffer = function createBuffer(descriptor) {
      const buffer = create.call(this, descriptor);
      const { size } = buffer;
      bytes.now += size;
      bytes.peak = Math.max(bytes.peak, bytes.now);
      dropped.register(buffer, size, buffer);
      const destroy = buffer.destroy;
      buffer.destroy = function () {
        if (dropped.unregister(buffer)) bytes.now -= size;
        destroy.call(buffer);
      };
      return buffer;
    };
    return device;
  };
}

/** Bytes of GPU buffers: now, and at most so far. */
export function gpuBytes() {
  return [bytes.now, bytes.peak];
}

// ---- relaxed SIMD -----------------------------------------------------------------------------------

/** The functions of the module in relaxed SIMD, by the tokens of a tile. */
let relaxed;

/** Whether the browser takes the module, which works on our memory. */
export async function startRelaxed(module, memory) {
  if (!WebAssembly.validate(module)) return false;
  relaxed = (await WebAssembly.instantiate(module, { host: { memory } })).instance.exports;
  return true;
}

export function relaxedProduct(tile, ...places) {
  relaxed[tile](...places);
}

// ---- steps ------------------------------------------------------------------------------------------

/** Lets messages and clicks in: the promises of a CPU model alone would never. */
export function turn() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

/** A training whose steps can be iterated over. */
export function iterable(training) {
  training[Symbol.asyncIterator] = async function* () {
    for (;;) {
      const step = await training.step();
      if (step === undefined) return;
      yield step;
    }
  };
  return training;
}

/** The steps of a generation. Leaving the loop, or the signal, frees it. */
export async function* steps(generation, signal) {
  let stop;
  // What a GPU computes just now need not be waited for.
  const stopped = new Promise((_resolve, reject) => {
    stop = () => reject(new PlaygroundError("aborted", "stopped"));
  });
  stopped.catch(() => {});
  signal?.addEventListener("abort", stop);
  try {
    for (;;) {
      await turn();
      if (signal?.aborted) throw new PlaygroundError("aborted", "stopped");
      const step = await Promise.race([stopped, generation.next()]);
      if (step === undefined) return;
      yield step;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    generation.free();
  }
}
