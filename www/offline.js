// Registers the service worker and lets it know what was fetched before it was there.

/**
 * Resolves once the page opens without a network, or cannot; never waits long. Nothing else has to
 * wait for it. Without `urls` it waits until what is fetched from then on passes the service worker.
 * @param {string[]} [urls] what the page's own list of what it fetched has not, such as what a worker
 *   fetched; what a script imports, and files that it addresses relative to itself, need not be told
 */
export async function offline(urls) {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  const ready = (async () => {
    const { serviceWorker } = navigator;
    // Then everything passed it, from the page's own address on.
    const passed = Boolean(serviceWorker.controller);
    await serviceWorker.register(new URL("./sw.js", import.meta.url));
    const { active } = await serviceWorker.ready;
    if (passed) return;
    if (!urls && !serviceWorker.controller) {
      await new Promise((resolve) => serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
    }
    const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
    active?.postMessage({ urls: [...new Set([location.href.split("#")[0], ...fetched, ...urls ?? []])] });
  })();
  // Without it everything but the opening without a network works.
  await Promise.race([ready.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))]);
}
