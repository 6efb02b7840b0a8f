// The room that the browser has for a download, before it is begun.
import { megabytes } from "./dom.js";
import { numbers, say } from "./say.js";
import { freeOf, isShort } from "./state/storage.js";

const giga = numbers({ style: "unit", unit: "gigabyte", maximumFractionDigits: 1 });

/** How much room: 5369000000 -> "5.4 GB". @param {number} bytes */
export const roomWords = (bytes) => (bytes < 2e9 ? megabytes(bytes) : giga(bytes / 1e9));

/** @returns {Promise<number|null>} bytes that are free, null where the browser does not say */
export async function free() {
  const estimate = await globalThis.navigator?.storage?.estimate?.().catch(() => null);
  return estimate ? freeOf(estimate) : null;
}

/**
 * A sentence, where a download surely has no room; "" where it has, or nobody knows.
 * @param {number|undefined} bytes @param {() => Promise<number>} kept of it already
 */
export async function lacking(bytes, kept) {
  const left = await free();
  if (!isShort(bytes, 0, left) || !isShort(bytes, await kept(), left)) return "";
  return say("storage.short", { needed: megabytes(Number(bytes)), free: roomWords(Number(left)) });
}
