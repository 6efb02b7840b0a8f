// What Rust asks of a server that lists what it has, and why a request had no answer.

/** As in `src/hub/listing.rs`, where one more is refused: a server may go on for ever. */
const MOST_PAGES = 200;

/**
 * A listing by its pages: `{status, code, pages}`, of which `code` is what the Hub says of a status that
 * is no success. The last one is kept, for when there is no network. Rejects as `fetch` does.
 */
export async function listing(url, signal) {
  const kept = await globalThis.caches?.open("listings").catch(() => null);
  const pages = [];
  try {
    for (let next = url; next && pages.length <= MOST_PAGES;) {
      const response = await fetch(next, { signal, cache: "no-store" });
      const { ok, status, headers } = response;
      if (!ok) return { status, code: headers.get("X-Error-Code"), pages: [] };
      pages.push(await response.text());
      const more = /<([^>]+)>;\s*rel="next"/.exec(headers.get("Link") ?? "")?.[1];
      next = more && new URL(more, next).href;
    }
  } catch (error) {
    const last = signal?.aborted ? null : await kept?.match(url).catch(() => null);
    if (!last) throw error;
    return { status: 200, code: null, pages: await last.json() };
  }
  if (pages.length <= MOST_PAGES) await kept?.put(url, new Response(JSON.stringify(pages))).catch(() => {});
  return { status: 200, code: null, pages };
}

/** "offline", "unshared" where the server answers but no page may read it, else "". */
export async function unanswered(url) {
  if (navigator.onLine === false) return "offline";
  try {
    await fetch(url, { method: "HEAD", mode: "no-cors", cache: "no-store" });
    return "unshared";
  } catch {
    return "";
  }
}
