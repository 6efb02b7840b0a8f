// One token under the glass: what each model thought could come here.
import { h, percent, signed } from "../dom.js";
import { parts, say } from "../say.js";
import { signOf } from "../state/acting.js";
import { isWriting } from "../state/store.js";
import { term } from "./glossary.js";

/** A token's text with its spaces and line ends made visible. @param {string} text */
const shown = (text) => (text === "" ? "∅" : text.replaceAll("\n", "↵").replaceAll(" ", "·"));

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 */
export function tokenPanel(root, store) {
  const facts = h("p.facts");
  // Told when a token is picked, and not for each that is written.
  const picked = h("p.sr", { role: "status" });
  const bars = h("div.pairs");
  root.append(facts, picked, bars);
  let key = "";

  store.watch(["run"], ({ run }) => {
    const { tokens, split } = run;
    root.hidden = !tokens?.length;
    if (!tokens?.length) return;
    const last = tokens.length - 1;
    // While it writes the newest; once it is over where the texts part, if they do.
    const parting = split !== null && split <= last && !isWriting(run);
    const token = tokens[run.selected ?? (parting ? split : last)];
    const now = `${run.startedAt}|${token.index}|${run.selected === null}|${parting}`;
    if (now === key) return;
    key = now;
    root.dataset.picked = String(run.selected !== null);
    root.dataset.sign = signOf(token);
    // After the split the base that is compared reads what the steered one wrote.
    const parted = split !== null && token.index > split;
    const doses = token.doses.map(({ title, c }) => `${title} ${signed(c)}`).join(", ");
    facts.replaceChildren(
      say(run.selected !== null ? "next.picked" : parting ? "next.split" : "next.newest", { token: token.index + 1 }), ...lane(parted ? "own" : "base", token.base), ...lane("steered", token.steered),
      ...(token.klNats !== null ? parts("next.kl", { kl: term("kl"), nats: token.klNats.toFixed(3) }) : []), doses ? say("next.at", { turned: doses }) : "");
    picked.textContent = run.selected === null ? "" : facts.textContent;
    const { top } = token;
    const most = Math.max(0.001, ...top.flatMap((row) => [row.base ?? 0, row.steered ?? 0]));
    bars.replaceChildren(...(top.length ? [h("table", {},
      h("caption.sr", {}, say("next.table")),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("next.could")), h("th.base", { scope: "col" }, say(parted ? "next.base.parted" : "next.base")), h("th.steered", { scope: "col" }, say("next.steered")))),
      h("tbody", {}, ...top.map((row) => h("tr", {},
        h("th.tok", { scope: "row", title: say("next.id", { id: String(row.id) }) }, shown(row.text)),
        bar("base", row.base, most), bar("steered", row.steered, most)))))] : []));
  });
}

/** @param {"base"|"own"|"steered"} name @param {import("../state/store.js").LaneStep|null} step */
const lane = (name, step) => (step ? parts(`next.wrote.${name}`, { text: h("q.tok", {}, shown(step.text)), p: percent(step.probability) }) : []);

/** @param {"base"|"steered"} name @param {number|null} p @param {number} most */
function bar(name, p, most) {
  const fill = h("i");
  fill.style.setProperty("--p", String((p ?? 0) / most));
  return h(`td.bar.${name}`, {}, fill, h("span", {}, p === null ? "" : percent(p)));
}
