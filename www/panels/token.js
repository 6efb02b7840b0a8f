// One token under the glass: what each model thought could come here, in probability or as a
// difference, and what would have come after another word.
import { h, percent, signed } from "../dom.js";
import { parts, say } from "../say.js";
import { signOf } from "../state/acting.js";
import { writesAside } from "../state/runs.js";
import { isAnother } from "../state/since.js";
import { isOver, isWriting } from "../state/store.js";
import { term } from "./glossary.js";

/** A token's text with its spaces and line ends made visible. @param {string} text */
const shown = (text) => (text === "" ? "∅" : text.replaceAll("\n", "↵").replaceAll(" ", "·"));

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function tokenPanel(root, store, actions) {
  const facts = h("p.facts");
  // Told when a token is picked, and not for each that is written.
  const picked = h("p.sr", { role: "status" });
  const bars = h("div.pairs");
  const hint = h("p.hint");
  const difference = h("input", { type: "checkbox", id: "difference-nats", onchange: () => { key = ""; draw(store.state); } });
  const apart = h("label.check", { title: say("next.difference.is") }, difference, say("next.difference"));
  root.append(facts, picked, bars, h("div.row", {}, apart), hint);
  let key = "";

  store.watch(["run", "model", "work"], draw);

  function draw(/** @type {import("../state/store.js").State} */ state) {
    const { run } = state;
    const { tokens, split } = run;
    root.hidden = !tokens?.length;
    if (!tokens?.length) return;
    const last = tokens.length - 1;
    // While it writes the newest; once it is over where the texts part, if they do.
    const parting = split !== null && split <= last && !isWriting(run);
    const token = tokens[run.selected ?? (parting ? split : last)];
    const free = goesOn(state);
    const now = `${run.startedAt}|${token.index}|${run.selected === null}|${parting}|${free}`;
    if (now === key) return;
    key = now;
    root.dataset.picked = String(run.selected !== null);
    root.dataset.sign = signOf(token);
    // After the split the base that is compared reads what the steered one wrote.
    const parted = split !== null && token.index > split;
    const doses = token.doses.map(({ title, c }) => `${title} ${signed(c)}`).join(", ");
    const which = run.selected !== null ? "picked" : parting ? "split" : "newest";
    facts.replaceChildren(...(token.given
      ? parts(token.given === "instead" ? "next.given.instead" : "next.given", { token: token.index + 1, text: h("q.tok", {}, shown(token.steered?.text ?? "")) })
      : [say(`next.${which}`, { token: token.index + 1 }), ...lane(parted ? "own" : "base", token.base), ...lane("steered", token.steered)]),
    ...(token.klNats !== null ? parts("next.kl", { kl: term("kl"), nats: token.klNats.toFixed(3) }) : []), doses ? say("next.at", { turned: doses }) : "");
    picked.textContent = run.selected === null ? "" : facts.textContent;
    const { top } = token;
    apart.hidden = !top.length;
    const inNats = difference.checked && top.some((row) => typeof row.differenceNats === "number");
    const most = Math.max(0.001, ...top.flatMap((row) => (inNats ? [Math.abs(row.differenceNats ?? 0)] : [row.base ?? 0, row.steered ?? 0])));
    const focused = document.activeElement instanceof HTMLElement && bars.contains(document.activeElement) ? document.activeElement.dataset.id : undefined;
    bars.replaceChildren(...(top.length ? [h("table", { className: inNats ? "apart" : "" },
      h("caption.sr", {}, say("next.table")),
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, say("next.could")), h("th.base", { scope: "col" }, say(parted && !inNats ? "next.base.parted" : "next.base")), h("th.steered", { scope: "col" }, say("next.steered")),
        inNats && h("th", { scope: "col" }, say("next.difference.column")))),
      h("tbody", {}, ...top.map((row) => h("tr", {},
        h("th.tok", { scope: "row", title: say("next.id", { id: String(row.id) }) }, free ? h("button.alternative", {
          type: "button", dataset: { id: String(row.id) }, "aria-label": say("next.continue.of", { text: shown(row.text) }),
          onclick: () => actions.run({ from: { token, alternative: row } }),
        }, shown(row.text)) : shown(row.text)),
        ...(inNats ? [h("td", {}, row.base === null ? "" : percent(row.base)), h("td", {}, row.steered === null ? "" : percent(row.steered)), towards(row.differenceNats, most)]
          : [bar("base", row.base, most), bar("steered", row.steered, most)])))))] : []));
    if (focused) /** @type {HTMLElement|null} */ (bars.querySelector(`[data-id="${focused}"]`))?.focus();
    hint.textContent = [
      difference.checked && top.length > 0 && (inNats ? say("next.difference.is") : say("next.difference.none")),
      top.length > 0 && !isWriting(run) && (free ? say("next.continue") : run.recorded ? say("next.continue.live") : ""),
    ].filter(Boolean).join(" ");
  }
}

/** Whether the texts in the columns can go on from another word: those of the model that is there. @param {import("../state/store.js").State} state */
function goesOn(state) {
  const { run, model, work } = state;
  return isOver(run) && Boolean(run.request) && model.status === "ready" && !writesAside(work) && !(run.model && isAnother(run.model, state));
}

/** @param {"base"|"own"|"steered"} name @param {import("../state/store.js").LaneStep|null} step */
const lane = (name, step) => (step ? parts(`next.wrote.${name}`, { text: h("q.tok", {}, shown(step.text)), p: percent(step.probability) }) : []);

/** @param {"base"|"steered"} name @param {number|null} p @param {number} most */
function bar(name, p, most) {
  const fill = h("i");
  fill.style.setProperty("--p", String((p ?? 0) / most));
  return h(`td.bar.${name}`, {}, fill, h("span", {}, p === null ? "" : percent(p)));
}

/** To the right where steered makes it likelier, to the left where less. @param {number|null|undefined} nats @param {number} most */
function towards(nats, most) {
  const fill = h("i");
  fill.style.setProperty("--p", String(Math.abs(nats ?? 0) / most));
  return h("td.bar.apart", { dataset: { sign: (nats ?? 0) < 0 ? "minus" : "plus" } }, fill, h("span", {}, typeof nats === "number" ? signed(nats) : ""));
}
