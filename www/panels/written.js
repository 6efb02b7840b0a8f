// A kept text as it stands in rows: its pieces with their marks, and what is told of it.
import { h } from "../dom.js";
import { moment, say } from "../say.js";
import { meanKl, systemOf, wasMoved, writtenTokens } from "../state/runs.js";
import { givenTokens } from "../state/manifest.js";
import { pieces } from "./pieces.js";

/** @typedef {import("../state/runs.js").Kept} Kept */

/** A text that may grow; it is only added to while it does. @param {"base"|"steered"} lane */
export function written(lane) {
  const element = h("p.wrote", { lang: "en" });
  /** @type {string} */
  let id = "";
  let drawn = 0;
  let split = /** @type {number|null} */ (null);
  return {
    element,
    /** @param {Kept|null} kept */
    show(kept) {
      const now = kept?.id ?? "";
      if (now !== id || kept?.split !== split && (kept?.split ?? drawn) < drawn) {
        element.replaceChildren();
        drawn = 0;
      }
      id = now;
      split = kept?.split ?? null;
      if (!kept) return;
      for (; drawn < kept.tokens.length; drawn += 1) element.append(...pieces(kept.tokens[drawn], lane, drawn === split, { model: { ...kept.model, source: null, context: kept.model.context }, limit: kept.limit }));
    },
  };
}

/** How it is beside the base. @param {Kept} kept */
export function beside(kept) {
  const kl = meanKl(kept.tokens);
  // A text that is begun anew, or a prompt's, may have no base of its own.
  const parts = kept.split === null ? (kept.turned.length || !systemOf(kept) ? say("runs.never-parts") : "") : say("runs.parts", { token: kept.split + 1 });
  return [
    parts, kl !== null && kept.turned.length > 0 && say("runs.kl", { nats: kl.toFixed(2) }), wasMoved(kept) && say("runs.moved"), kept.recorded && say("runs.from-recording"),
    kept.status === "stopped" && say("runs.stopped"), kept.status === "failed" && say("runs.failed"),
  ].filter(Boolean).join(" · ");
}

/**
 * What stands by a text in rows: its facts and the way into the columns once it is over, and why there is none.
 * @param {HTMLElement} facts @param {() => Kept|null|undefined} kept @param {import("../actions.js").Actions} actions
 */
export function outcome(facts, kept, actions) {
  const error = h("p.error", { hidden: true });
  const open = h("button.quiet", { type: "button", hidden: true, onclick: () => { const run = kept(); if (run) actions.showRun(run); } }, say("runs.open"));
  return {
    facts, error, open,
    /** @param {import("../state/runs.js").Row} row @param {string} title of it */
    show({ run, error: wrong }, title) {
      open.setAttribute("aria-label", say("runs.open.of", { title }));
      const over = run && run.status !== "writing";
      const said = over ? beside(run) : "";
      if (facts.textContent !== said) facts.textContent = said;
      open.hidden = !over;
      error.hidden = !wrong;
      error.textContent = wrong?.message ?? "";
    },
  };
}

/** All that is told of it in a line. @param {Kept} kept */
export const factsOf = (kept) => [
  ...new Set(kept.turned.flatMap(({ method }) => method ?? [])),
  say("runs.seed", { seed: String(kept.request.sampling?.seed ?? 0) }), say("runs.tokens", { n: writtenTokens(kept.tokens) }),
  givenTokens(kept) > 0 && say("runs.given", { n: givenTokens(kept) }), beside(kept), moment(kept.at), kept.model.name,
].filter(Boolean).join(" · ");

/** How far several texts are. @param {import("../state/measured.js").Work} work */
export const told = ({ done, total }) => (total ? say("runs.progress", { n: Math.min(done + 1, total), total }) : "");
