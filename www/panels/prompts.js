// A measurement prompt by prompt, and as files that anybody can measure again from.
import { h, signed } from "../dom.js";
import { say } from "../say.js";
import { count, ordered } from "../state/measured.js";
import { pairsFrom } from "../state/pairs.js";
import { asCsv, asJson, command } from "../state/report.js";
import { download } from "./work.js";

/** @typedef {import("../state/measured.js").Measured} Measured */

export function promptRows() {
  const counts = h("p.hint");
  const head = h("tr");
  const rows = h("tbody");
  const line = h("pre", { tabIndex: 0, "aria-label": say("dose.export.command") });
  /** @type {Measured|null} */
  let shown = null;
  const button = (/** @type {string} */ label, /** @type {(measured: Measured) => void} */ does) =>
    h("button", { type: "button", onclick: () => { if (shown) does(shown); } }, label);
  const name = (/** @type {Measured} */ { parts, found }) => [...parts.map(({ title }) => title), found.behaviour].join("-").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-");
  const pairs = button(say("dose.export.pairs"), (measured) => download("pairs.json", pairsFrom(measured.pairs ?? ""), "application/json"));
  return {
    element: h("div.prompt-rows", {},
      h("details.table", {}, h("summary", {}, say("dose.prompts")), counts,
        h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("dose.prompts") }, h("table", {}, h("thead", {}, head), rows))),
      h("details.export", {}, h("summary", {}, say("dose.export")),
        h("div.row", {},
          button(say("dose.export.json"), (measured) => download(`${name(measured)}.json`, asJson(measured), "application/json")),
          button(say("dose.export.csv"), (measured) => download(`${name(measured)}.csv`, asCsv(measured), "text/csv")), pairs),
        h("p.hint", {}, say("dose.export.hint")), h("h3", {}, say("dose.export.command")), line)),
    /** @param {Measured} measured */
    show(measured) {
      shown = measured;
      const { found } = measured;
      counts.textContent = say("dose.prompts.counts", {
        n: found.prompts.length, ordered: count(found, found.ordered_share), wrong: count(found, found.wrong_way_share),
      });
      const ends = [-1, 0, 1].map((c) => found.coefficients.indexOf(c));
      head.replaceChildren(h("th", { scope: "col" }, say("dose.prompts.prompt")),
        ...[-1, 0, 1].map((c) => h("th", { scope: "col" }, say("dose.prompts.at", { c: signed(c) }))), h("th", { scope: "col" }, say("dose.prompts.ordered")));
      rows.replaceChildren(...found.prompts.map((prompt, at) => h("tr", {}, h("th", { scope: "row" }, prompt),
        ...ends.map((end) => h("td", {}, typeof found.per_prompt[at][end] === "number" ? signed(found.per_prompt[at][end]) : say("dose.no-number"))),
        h("td", {}, say(ordered(found, found.per_prompt[at]) ? "dose.prompts.yes" : "dose.prompts.no")))));
      line.textContent = command(measured);
      pairs.hidden = measured.pairs === null;
    },
  };
}
