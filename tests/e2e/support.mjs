// What the end-to-end tests share: the browser, a proxy that can fail on purpose, and the page's
// parts by their roles. The environment says where things are; `cargo xtask test --e2e` sets it.
import { readFileSync } from "node:fs";
import http from "node:http";
import { pathToFileURL } from "node:url";

const need = (name) => process.env[name] ?? (() => { throw new Error(`${name} is not set; run \`cargo xtask test --e2e\``); })();
const { chromium } = await import(pathToFileURL(need("PLAYWRIGHT_CORE")).href);
export const UPSTREAM = need("PLAYGROUND_URL");

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

/**
 * Stands between the browser and the server, and fails as told.
 * `cut`: ends the next model download after so many bytes. `gone`: answers nothing at all.
 * `prelude`: code to run in the page's worker before anything else. `log`: what was asked.
 */
export async function startProxy() {
  const proxy = { cut: null, gone: false, prelude: "", log: [], url: "", files: new Map(), close: () => {} };
  const server = http.createServer((request, response) => {
    if (proxy.gone) return request.socket.destroy();
    const path = new URL(request.url, UPSTREAM).pathname;
    const { range, "if-range": ifRange } = request.headers;
    const entry = { path, range, status: 0 };
    proxy.log.push(entry);
    const own = proxy.files.get(path);
    if (own) {
      entry.status = 200;
      response.writeHead(200, { "content-type": own.type });
      return response.end(own.body);
    }
    const headers = { ...(range && { range }), ...(ifRange && { "if-range": ifRange }) };
    const upstream = http.get(new URL(request.url, UPSTREAM), { headers }, (answer) => {
      entry.status = answer.statusCode;
      if (path.endsWith("engine/worker.js") && proxy.prelude) {
        const { "content-length": _length, etag: _etag, ...rest } = answer.headers;
        response.writeHead(answer.statusCode, rest);
        response.write(`${proxy.prelude}\n`);
        return answer.pipe(response);
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
            setTimeout(() => request.socket.destroy(), 300);
          }
        });
        return;
      }
      answer.pipe(response);
    });
    upstream.on("error", () => request.socket.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  proxy.url = `http://127.0.0.1:${server.address().port}/`;
  proxy.close = () => { server.closeAllConnections(); server.close(); };
  return proxy;
}

/** A fresh browser profile with the page open, and everything that it complains of. */
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(Number(process.env.E2E_MS ?? LONG));
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
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
export const openSettings = (page) => page.locator(".settings").evaluate((settings) => { settings.open = true; });

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
