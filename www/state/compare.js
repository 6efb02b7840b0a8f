// Several methods at the same nats, each with its c: what a comparison is asked. No elements here.
import { say } from "../say.js";
import { cAt, keyOf, pointsOf, rowOf, titleIn } from "./methods.js";
import { COLUMNS } from "./runs.js";

/** So many can be beside each other. */
export const MOST = COLUMNS;

/** What one run of a comparison sets; whatever it does not name does not act. @typedef {import("./runs.js").Item} Setting */

/**
 * A setting for each adapter, turned to so many nats by its measured curve, in the order in which they were picked;
 * and why some of them cannot be. A title has the c, and where d was measured there, d.
 * @param {import("./store.js").State} state @param {string[]} folders @param {number} nats from 0 @param {1|-1} sign the side of 0
 * @returns {{settings: Setting[], left: string[]}}
 */
export function atEqualDose(state, folders, nats, sign) {
  /** @type {{settings: Setting[], left: string[]}} */
  const found = { settings: [], left: [] };
  for (const folder of folders.slice(0, MOST)) {
    const row = rowOf(state, folder);
    const title = row ? titleIn(state, folder, row.method) : folder;
    const at = cAt(pointsOf(row), nats, sign);
    if (!at) found.left.push(say("dose.compare.no-curve", { title }));
    else if (!at.reached) found.left.push(say("dose.compare.least", { title, nats: String(nats), most: at.nats.toFixed(2) }));
    else {
      const c = Number(at.c.toFixed(2));
      const d = row?.dose?.nats === nats ? row.dose.d?.[sign < 0 ? 0 : 2] : null;
      const told = { title, c: figure(c), nats: String(nats) };
      found.settings.push({
        title: typeof d === "number" ? say("dose.compare.title-d", { ...told, d: figure(d) }) : say("dose.compare.title", told),
        doses: [{ key: keyOf(folder), c }],
      });
    }
  }
  return found;
}

const figure = (/** @type {number} */ value) => value.toFixed(2).replace("-", "−");

/** With this one, or without it where it is among them; one more than fit takes the place of the first. @param {string[]} picked @param {string} folder */
export const picking = (picked, folder) => (picked.includes(folder) ? picked.filter((one) => one !== folder) : [...picked, folder].slice(-MOST));
