// What the end-to-end tests share: the browser, a proxy that can fail on purpose, and the page's
// parts by their roles. The environment says where things are; `cargo xtask test --e2e` sets it.
import { readFileSync } from "node:fs";
import http from "node:http";
import { PassThrough, Transform } from "node:stream";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";

const need = (name) => process.env[name] ?? (() => { throw new Error(`${name} is not set; run \`cargo xtask test --e2e\``); })();
const { chromium } = await import(pathToFileURL(need("PLAYWRIGHT_CORE")).href);
export const UPSTREAM = need("PLAYGROUND_URL");
/** The page as `cargo xtask dist` writes it, without the model. */
export const dist = () => need("PLAYGROUND_DIST_URL");

/** Loading 98 MB and computing on two busy cores takes its time. */
export const LONG = 240_000;

/** WebGPU without a GPU. */
const SOFTWARE_GPU = [
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan",
];

/** @param {{gpu?: boolean}} [options] */
export function launch({ gpu = false } = {}) {
  return chromium.launch({
    executablePath: need("CHROMIUM"),
    args: [
      "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", ...(gpu ? SOFTWARE_GPU : []),
    ],
  });
}

/** Firefox, through another driver: Playwright's has a Firefox of its own. */
export async function launchFirefox() {
  const { default: puppeteer } = await import(pathToFileURL(need("PUPPETEER_CORE")).href);
  return puppeteer.launch({ browser: "firefox", executablePath: need("FIREFOX"), headless: true, protocolTimeout: LONG,
    // Its own word for a size is not known to every Firefox.
    defaultViewport: null, args: ["--width=1280", "--height=860"] });
}

/**
 * Waits for what `does` answers in the page once it is true-ish. Of the two drivers' own waiting,
 * Firefox's compiles text in the page, which its policy forbids.
 */
export async function until(page, does, ...args) {
  for (;;) {
    const value = await page.evaluate(does, ...args);
    if (value) return value;
    await sleep(100);
  }
}

/**
 * What axe-core finds wrong with a page of either driver. Its source goes in as an expression, since
 * the page's policy admits no other scripts.
 * @param {any} page @param {any} [options] of `axe.run`
 * @returns {Promise<{id: string, impact: string, help: string, nodes: string[]}[]>}
 */
export async function axe(page, options = {}) {
  await page.evaluate(`${readFileSync(need("AXE_CORE"), "utf8")}; undefined`);
  return page.evaluate(async (options) => {
    const { violations } = await window.axe.run(document, options);
    return violations.map(({ id, impact, help, nodes }) => ({ id, impact, help, nodes: nodes.map(({ target }) => target.join(" ")) }));
  }, options);
}

const PIECE = 8192;
/** Makes streams that share a line of so many bits per second. @param {number} bitsPerSecond */
function line(bitsPerSecond) {
  let free = 0;
  return () => new Transform({
    async transform(chunk, _encoding, done) {
      for (let at = 0; at < chunk.length; at += PIECE) {
        const piece = chunk.subarray(at, at + PIECE);
        free = Math.max(free, performance.now()) + piece.length * 8000 / bitsPerSecond;
        await sleep(free - performance.now());
        this.push(piece);
      }
      done();
    },
  });
}

/**
 * Stands between the browser and the server, and fails as told.
 * `cut`: ends the next model download after so many bytes. `gone`: answers nothing at all.
 * `prelude`: code to run in the page's worker before anything else. `log`: what was asked, and what
 * came: `bytes` and `encoding` as they travelled.
 * @param {{upstream?: string, bitsPerSecond?: number, latencyMs?: number}} [options] as slow as wished:
 *   all answers share one line, each begins so much later
 */
export async function startProxy({ upstream: origin = UPSTREAM, bitsPerSecond = Infinity, latencyMs = 0 } = {}) {
  const proxy = { cut: null, gone: false, prelude: "", log: [], url: "", files: new Map(), close: () => {} };
  const slow = bitsPerSecond < Infinity ? line(bitsPerSecond) : () => new PassThrough();
  const server = http.createServer(async (request, response) => {
    if (proxy.gone) return request.socket.destroy();
    const path = new URL(request.url, origin).pathname;
    const entry = { path, range: request.headers.range, status: 0, bytes: 0, encoding: undefined };
    proxy.log.push(entry);
    if (latencyMs) await sleep(latencyMs);
    const send = slow();
    send.on("data", (piece) => { entry.bytes += piece.length; }).pipe(response);
    const own = proxy.files.get(path);
    if (own) {
      entry.status = 200;
      response.writeHead(200, { "content-type": own.type });
      return send.end(own.body);
    }
    const { host: _host, connection: _connection, ...headers } = request.headers;
    const bent = proxy.prelude && /engine\/worker(\.[0-9a-f]{10})?\.js$/.test(path);
    if (bent) for (const name of ["accept-encoding", "if-none-match"]) delete headers[name];
    const upstream = http.get(new URL(request.url, origin), { headers }, (answer) => {
      entry.status = answer.statusCode;
      entry.encoding = answer.headers["content-encoding"];
      if (bent) {
        const { "content-length": _length, etag: _etag, ...rest } = answer.headers;
        response.writeHead(answer.statusCode, rest);
        send.write(`${proxy.prelude}\n`);
        return answer.pipe(send);
      }
      response.writeHead(answer.statusCode, answer.headers);
      if (path.includes("/models/") && proxy.cut !== null) {
        let left = proxy.cut;
        proxy.cut = null;
        answer.on("data", (piece) => {
          left -= piece.length;
          response.write(piece);
          // Give what was sent a moment to arrive, then fall silent for good.
          if (left <= 0 && !answer.destroyed) {
            answer.destroy();
            setTimeout(() => request.socket.destroy(), 2000);
          }
        });
        return;
      }
      answer.pipe(send);
    });
    upstream.on("error", () => request.socket.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = `http://127.0.0.1:${server.address().port}/`;
  proxy.close = () => { server.closeAllConnections(); server.close(); };
  return proxy;
}

/**
 * The browser and the proxy of a file of tests, until its last one is over.
 * @param {{browser?: Promise<any>, proxy?: Parameters<typeof startProxy>[0]}} [options]
 */
export async function start({ browser: launching = launch(), proxy: options } = {}) {
  const browser = await launching;
  after(() => browser.close());
  const proxy = await startProxy(options);
  after(() => proxy.close());
  return { browser, proxy };
}

/** Notes what a page complains of from now on. @param {any} page @param {string[]} [complaints] */
export function listen(page, complaints = []) {
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  return complaints;
}

/** A fresh browser profile with the page open, and everything that it complains of. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LONG);
  const complaints = listen(page);
  await page.goto(url);
  return { context, page, complaints };
}

/** Text of a column as it stands. @param {"base"|"steered"} lane */
export const text = (page, lane) => page.locator(`#${lane}-text .tok`).evaluateAll((spans) => spans.map((span) => span.textContent).join(""));

/** Ids of the tokens that a column shows so far are not shown; their number is. */
export const count = (page, lane = "steered") => page.locator(`#${lane}-text .tok`).count();

export async function loadModel(page) {
  await page.getByRole("button", { name: /^Load SmolLM2/ }).click();
  await ready(page);
}

export const golden = (name) => new URL(`../golden/${name}`, import.meta.url);

/** A two-layer model with a tokenizer of single characters: enough for a page, quick enough here. */
export function tinyModel() {
  const tokenizer = JSON.parse(readFileSync(new URL("../fixtures/tiny_tokenizer.json", import.meta.url)));
  tokenizer.model.vocab = Object.fromEntries(Object.entries(tokenizer.model.vocab).filter(([, id]) => id < 96));
  tokenizer.model.merges = [];
  tokenizer.added_tokens = tokenizer.added_tokens.filter(({ id }) => id < 96);
  const file = (name, buffer) => ({ name, mimeType: "application/octet-stream", buffer });
  return [
    file("config.json", readFileSync(golden("base/config.json"))),
    file("model.safetensors", readFileSync(golden("base/model.safetensors"))),
    file("tokenizer.json", Buffer.from(JSON.stringify(tokenizer))),
  ];
}

export async function loadTinyModel(page) {
  await page.getByText("another model").click();
  await page.locator("#model-files").setInputFiles(tinyModel());
  await ready(page);
}

/** Opens what folds away: the seed and how tokens are drawn. */
export const openSettings = (page) => page.locator(".settings").first().evaluate((settings) => { settings.open = true; });

export const ready = (page) => page.locator("#run:not(:disabled)").waitFor();

/** Waits until the run is over and says how it ended. */
export async function finished(page) {
  const status = page.locator("#status");
  await page.waitForFunction(() => /^(Done|Stopped|Failed)/.test(document.querySelector("#status").textContent));
  return status.textContent();
}

export async function run(page) {
  await page.locator("#run").click();
  return finished(page);
}

/** Waits until a column has at least so many tokens. */
export const tokens = (page, many, lane = "steered") =>
  page.waitForFunction(([id, n]) => document.querySelectorAll(`#${id} .tok`).length >= n, [`${lane}-text`, many]);

/**
 * Runs and, as soon as the steered column has so many tokens, turns the first adapter to `c`, or else stops. It is done in
 * the page: a whole text may be there before word of its first tokens gets out.
 */
export const runAndMeddle = (page, many, c = null) =>
  page.evaluate(([many, c]) => new Promise((done) => {
    const column = document.getElementById("steered-text");
    const box = document.querySelector(".dose-box");
    document.getElementById("run").click();
    const watch = new MutationObserver(() => {
      if (column.querySelectorAll(".tok").length < many) return;
      watch.disconnect();
      if (c === null) document.getElementById("stop").click();
      else {
        box.value = String(c);
        box.dispatchEvent(new Event("change"));
      }
      done();
    });
    watch.observe(column, { childList: true, subtree: true });
  }), [many, c]);

/** In one column the adapters are a sheet: opens it, or closes it again. */
export async function sheet(page, open = true) {
  await (open ? page.locator("#adapters-open") : page.locator("#adapters-sheet").getByRole("button", { name: "Close", exact: true })).click();
  await page.locator(open ? "#adapters-sheet[open]" : "#adapters-sheet:not([open])").waitFor({ state: open ? "visible" : "attached" });
}

/** Types a coefficient into the box of the adapter at a place in the list. */
export async function turn(page, c, at = 0) {
  const box = page.locator(".dose-box").nth(at);
  await box.fill(String(c));
  await box.press("Enter");
}

/** Sampling as the tests want it: greedy, short. The hash is the page's own way in. */
export const greedy = (more = "") => `#v=1&device=cpu&t=0&tp=1&rp=1&seed=1${more}`;

/** For a worker: `hold(call)` holds back what the page asks of it until `release()`. */
export const HOLD = `
  const kept = [];
  let held = "";
  globalThis.hold = (call) => { held = call; };
  globalThis.release = () => { held = ""; for (const data of kept.splice(0)) onmessage({ data }); };
  addEventListener("message", (event) => {
    if (event.data.call !== held) return;
    event.stopImmediatePropagation();
    kept.push(event.data);
  });
`;

/** For a worker: `theDevice` is the GPU device that it holds. */
export const THE_DEVICE = `if (globalThis.GPUAdapter) {
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    return (globalThis.theDevice = await request.apply(this, args));
  };
}`;

/** Does something in each worker of a page; one that ends meanwhile need not answer. */
export const inWorkers = (page, does, argument) => Promise.all(page.workers().map((worker) => worker.evaluate(does, argument).catch(() => {})));
