// node --test www
// The service worker in a world of its own: what it answers, what it leaves alone, what it keeps.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

const SCOPE = "https://school.example/play/";

/** @typedef {{url: string, method?: string, headers?: Headers, cache?: string}} Asked */

/** The worker at SCOPE, with a cache, and a server that answers everything. */
function worker() {
  /** @type {Map<string, Response>} */
  const cache = new Map();
  /** @type {Record<string, (event: any) => void>} */
  const heard = {};
  /** @type {string[]} */
  const fetched = [];
  const urlOf = (/** @type {any} */ request) => (typeof request === "string" ? request : request.url);
  const shell = {
    match: async (/** @type {any} */ request) => cache.get(urlOf(request))?.clone(),
    put: async (/** @type {any} */ request, /** @type {Response} */ response) => { cache.set(urlOf(request), response); },
    keys: async () => [...cache.keys()].map((url) => ({ url })), delete: async (/** @type {any} */ request) => cache.delete(urlOf(request)),
  };
  const self = {
    registration: { scope: SCOPE }, clients: { claim: async () => {} }, skipWaiting() {},
    addEventListener: (/** @type {string} */ name, /** @type {any} */ hear) => { heard[name] = hear; },
  };
  runInNewContext(readFileSync(new URL("./sw.js", import.meta.url), "utf8"), {
    self, URL, Set, Promise, Array, caches: { open: async () => shell }, Request: class { constructor(/** @type {string} */ url) { Object.assign(this, { url, method: "GET", headers: new Headers() }); } },
    fetch: async (/** @type {any} */ request) => { fetched.push(urlOf(request)); return new Response(`import "./more.js"; new URL("../../secret.json", x)`, { headers: { "content-type": "text/javascript" } }); },
  });
  /** Whether it answers a request itself. @param {Asked} asked */
  const answers = async ({ url, method = "GET", headers = new Headers(), cache: mode = "default" }) => {
    /** @type {Promise<Response>|null} */
    let answer = null;
    heard.fetch({ request: { url, method, headers, cache: mode }, respondWith(/** @type {any} */ given) { answer = given; }, waitUntil() {} });
    await answer;
    return answer !== null;
  };
  /** @param {any} data */
  const tell = async (data) => {
    /** @type {any} */
    let work;
    heard.message({ data, waitUntil(/** @type {any} */ given) { work = given; } });
    await work;
  };
  return { answers, tell, cache, fetched };
}

test("it answers for the page's own files, and for nothing else of the site or of others", async () => {
  const { answers, cache } = worker();
  for (const own of ["", "index.html", "main.js", "adapters/tone-lora/adapter_config.json"]) assert.equal(await answers({ url: SCOPE + own }), true, own);
  const others = [
    "https://school.example/", "https://school.example/grades/list.json", "https://school.example/player/x.js", "https://evil.example/play/main.js",
    "http://school.example/play/main.js", "https://school.example:8443/play/main.js", `${SCOPE}models/m.gguf`, `${SCOPE}../grades.json`,
  ];
  for (const url of others) assert.equal(await answers({ url }), false, url);
  assert.equal(await answers({ url: `${SCOPE}main.js`, method: "POST" }), false);
  assert.equal(await answers({ url: `${SCOPE}main.js`, headers: new Headers({ range: "bytes=0-" }) }), false);
  await new Promise((resolve) => setTimeout(resolve));
  assert.ok([...cache.keys()].every((url) => url.startsWith(SCOPE)), [...cache.keys()].join());
});

test("what a page tells it to keep, and what a script names, is kept only if it is the page's own", async () => {
  const { tell, cache, fetched } = worker();
  await tell({ urls: [`${SCOPE}main.js`, "https://school.example/grades/list.json", "https://evil.example/x.js", "data:text/javascript,1", `${SCOPE}models/m.gguf`] });
  assert.deepEqual(fetched.sort(), [`${SCOPE}main.js`, `${SCOPE}more.js`]);
  await new Promise((resolve) => setTimeout(resolve));
  assert.deepEqual([...cache.keys()].sort(), [`${SCOPE}main.js`, `${SCOPE}more.js`]);
});
