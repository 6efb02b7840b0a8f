// Keeps a copy of the page's own files, so that it opens without a network once it was open with
// one. A file whose name has a hash of its content is never another: the copy comes first. Of all
// others the network comes first, so nobody sees an old page while the server is there. Models are
// not kept here: the engine keeps them, verified, in the browser's storage.

const SHELL = "shell";
/** The hash in the name of a file or folder, as `cargo xtask dist` writes it. */
const HASH = /\.[0-9a-f]{10}(?=[./])/;
const worker = /** @type {ServiceWorkerGlobalScope} */ (/** @type {unknown} */ (self));
const scope = new URL(worker.registration.scope);

worker.addEventListener("install", () => { worker.skipWaiting(); });
worker.addEventListener("activate", (event) => event.waitUntil(worker.clients.claim()));

/** Whether a request is for a file of the page. @param {Request} request */
function ours({ method, url, headers }) {
  const { origin, pathname } = new URL(url);
  return method === "GET" && origin === scope.origin && pathname.startsWith(scope.pathname)
    && !pathname.startsWith(`${scope.pathname}models/`) && !headers.has("range");
}

/** @param {string} url */
const isHashed = (url) => HASH.test(new URL(url).pathname);
/** What all versions of a file have in common. @param {string} url */
const stem = (url) => new URL(url).pathname.replace(HASH, "");

/** Whether the page found that what is kept is not what it should be. @param {Request} request */
const distrusted = ({ cache }) => cache === "reload";

/** @param {ExtendableEvent} event @param {Request} request */
async function networkFirst(event, request) {
  const shell = await caches.open(SHELL);
  const kept = () => shell.match(request, { ignoreSearch: true });
  try {
    const response = await fetch(request);
    if (response.ok) {
      const tag = response.headers.get("etag");
      const had = await kept();
      if (!had || !tag || had.headers.get("etag") !== tag || distrusted(request)) keep(event, shell.put(request, response.clone()));
    }
    return response;
  } catch (error) {
    const response = await kept();
    if (response) return response;
    throw error;
  }
}

/** @param {ExtendableEvent} event @param {Request} request */
async function cacheFirst(event, request) {
  const shell = await caches.open(SHELL);
  const kept = !distrusted(request) && await shell.match(request);
  if (kept) return kept;
  // What the page fetched before this worker was there comes from the browser's own cache.
  const response = await fetch(request, distrusted(request) ? {} : { cache: "force-cache" });
  if (response.ok) keep(event, shell.put(request, response.clone()).then(() => dropOthers(shell, request.url)));
  return response;
}

/** Deletes the other versions of a file. @param {Cache} shell @param {string} url */
async function dropOthers(shell, url) {
  const others = (await shell.keys()).filter((other) => other.url !== url && stem(other.url) === stem(url));
  await Promise.all(others.map((other) => shell.delete(other)));
}

/** Nobody waits until a copy is written; where there is no room for one, the page works without. @param {ExtendableEvent} event @param {Promise<any>} writing */
const keep = (event, writing) => event.waitUntil(writing.catch(() => {}));

/** @param {ExtendableEvent} event @param {Request} request */
const answer = (event, request) => isHashed(request.url) ? cacheFirst(event, request) : networkFirst(event, request);

worker.addEventListener("fetch", (event) => {
  if (ours(event.request)) event.respondWith(answer(event, event.request));
});

/** The files that a script imports, and those that it addresses relative to itself. */
const NAMED = /(?:\b(?:from|import)\s*|\bnew URL\()["']([\w./-]+\.\w+)["']/g;

/**
 * Takes a copy of a file, and of what scripts name: nobody tells which modules a worker has imported.
 * @param {ExtendableEvent} event @param {string} url @param {Set<string>} seen
 */
async function take(event, url, seen) {
  const request = new Request(url);
  if (seen.has(url) || !ours(request)) return;
  seen.add(url);
  const response = await answer(event, request).catch(() => null);
  if (!response?.ok || !/javascript/.test(response.headers.get("content-type") ?? "")) return;
  const named = (await response.text()).matchAll(NAMED);
  await Promise.all(Array.from(named, ([, address]) => take(event, new URL(address, url).href, seen)));
}

// What was fetched before this worker was there.
worker.addEventListener("message", (event) => {
  const seen = new Set();
  event.waitUntil(Promise.all(event.data.urls.map((/** @type {string} */ url) => take(event, url, seen))));
});
