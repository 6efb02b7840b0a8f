// Registers the service worker and lets it know what was fetched before it was there.

/**
 * Resolves once the page opens without a network, or cannot; never waits long, and nothing has to
 * wait for it: what was fetched before comes from the browser's own cache, and with a script what
 * it imports and names.
 */
export async function offline() {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  const ready = (async () => {
    const { serviceWorker } = navigator;
    // Then everything passed it, from the page's own address on.
    const passed = Boolean(serviceWorker.controller);
    await serviceWorker.register(new URL("./sw.js", import.meta.url));
    const { active } = await serviceWorker.ready;
    if (passed) return;
    const fetched = performance.getEntriesByType("resource").map(({ name }) => name);
    active?.postMessage({ urls: [location.href.split("#")[0], ...fetched] });
  })();
  // Without it everything but the opening without a network works.
  await Promise.race([ready.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))]);
}
