// Keeps a copy of the page's own files, so that it opens without a network once it was open with
// one. The network comes first, so nobody sees an old page while the server is there. Models are
// not kept here: the engine keeps them, verified, in the browser's storage.

const SHELL = "shell";
const scope = new URL(self.registration.scope);

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

/** Whether a request is for a file of the page. @param {Request} request */
function ours({ method, url, headers }) {
  const { origin, pathname } = new URL(url);
  return method === "GET" && origin === scope.origin && pathname.startsWith(scope.pathname)
    && !pathname.startsWith(`${scope.pathname}models/`) && !headers.has("range");
}

/** @param {Request} request */
async function networkFirst(request) {
  const shell = await caches.open(SHELL);
  const kept = () => shell.match(request, { ignoreSearch: true });
  try {
    const response = await fetch(request);
    if (response.ok) {
      const tag = response.headers.get("etag");
      const had = await kept();
      if (!had || !tag || had.headers.get("etag") !== tag) await shell.put(request, response.clone());
    }
    return response;
  } catch (error) {
    const response = await kept();
    if (response) return response;
    throw error;
  }
}

self.addEventListener("fetch", (event) => {
  if (ours(event.request)) event.respondWith(networkFirst(event.request));
});

// What the page fetched before this worker was there.
self.addEventListener("message", (event) => {
  event.waitUntil(Promise.all(event.data.urls.map(async (/** @type {string} */ url) => {
    const request = new Request(url);
    if (ours(request)) await networkFirst(request).catch(() => {});
  })));
});
