// The address follows the page a little late, as browsers refuse too many changes at once. What it has not said yet when
// the page goes is not lost: this tab keeps it for whoever comes back or loads the page again.
import { writeAddress } from "./remember.js";

const LATE_MS = 300;
const LEFT = "playground.left";

/**
 * @param {() => string} link what the address shall say
 * @param {Pick<Window, "addEventListener"|"document"|"location">} page
 */
export function follow(link, page = window) {
  /** @type {ReturnType<typeof setTimeout>|undefined} */
  let late;
  const settled = () => {
    const was = late !== undefined;
    clearTimeout(late);
    late = undefined;
    return was;
  };
  const write = () => {
    settled();
    return writeAddress(link());
  };
  // Too late for the address itself: what comes next has been asked for already.
  page.addEventListener("pagehide", () => { if (settled()) keepLeft(page.location.hash, link()); });
  // A tab that nobody sees may be ended without a word.
  page.document.addEventListener("visibilitychange", () => { if (page.document.hidden && late !== undefined) write(); });
  page.addEventListener("hashchange", () => {
    // Another link, which what the page was about to say must not take the place of.
    settled();
    page.location.reload();
  });
  return {
    soon() {
      clearTimeout(late);
      late = setTimeout(write, LATE_MS);
    },
    /** @returns {boolean} whether it is there */
    now: write,
  };
}

/** @param {string} from the address as it stood @param {string} to what it was about to say */
function keepLeft(from, to) {
  try {
    if (from !== to) sessionStorage.setItem(LEFT, JSON.stringify([from, to]));
  } catch {
    // denied, or full: the address stays as it was
  }
}

/**
 * What the page begins with: its address, or what that was about to say when the page went, if it is loaded again or
 * come back to. A link that is followed says what it says.
 * @param {string} hash
 * @param {string|undefined} kind how it came here, as the browser calls it
 * @returns {string}
 */
export function arrived(hash, kind = /** @type {PerformanceNavigationTiming|undefined} */ (performance.getEntriesByType("navigation")[0])?.type) {
  try {
    const [from, to] = JSON.parse(sessionStorage.getItem(LEFT) ?? "[]");
    sessionStorage.removeItem(LEFT);
    if (from !== hash || typeof to !== "string" || !["reload", "back_forward"].includes(kind ?? "")) return hash;
    writeAddress(to);
    return to;
  } catch {
    return hash; // denied, or somebody else's
  }
}
