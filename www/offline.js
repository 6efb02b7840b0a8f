// Registers the service worker and lets it know what was fetched before it was there.

/** Resolves once the page opens without a network, or cannot; never waits long. */
export async function offline() {
  if (!("serviceWorker" in navigator) || !isSecureContext) return;
  const ready = (async () => {
    await navigator.serviceWorker.register(new URL("./sw.js", import.meta.url));
    const { active } = await navigator.serviceWorker.ready;
    if (navigator.serviceWorker.controller) return;
    await new Promise((resolve) => navigator.serviceWorker.addEventListener("controllerchange", resolve, { once: true }));
    const urls = performance.getEntriesByType("resource").map(({ name }) => name);
    active?.postMessage({ urls: [location.href.split("#")[0], ...urls] });
  })();
  // Without it everything but the opening without a network works.
  await Promise.race([ready.catch(() => {}), new Promise((resolve) => setTimeout(resolve, 2000))]);
}
