// Under the texts, one column per token: how far steered is from base, and where the sliders were.
import { closest, h, signed } from "../dom.js";
import { parts, say } from "../say.js";
import { signOf } from "../state/acting.js";
import { term } from "./glossary.js";

/** The scale reaches at least so many nats: a small distance looks small. */
const LEAST = 1.5;

/**
 * @param {HTMLElement} root
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function stripsPanel(root, store, actions) {
  const kl = h("div.strip.kl", { role: "img" });
  const scale = h("span.scale");
  const says = h("p.hint.strip-says");
  const traces = h("div.traces");
  const log = h("ol.changes", { "aria-label": say("strips.changes") });
  const rows = h("tbody");
  const table = h("details.table", {}, h("summary", {}, say("strips.table")),
    h("div.scroll", { tabIndex: 0, role: "region", "aria-label": say("strips.every") }, h("table", {},
      h("thead", {}, h("tr", {}, ...["token", "base", "steered", "kl", "coefficients", "cache"].map((name) => h("th", { scope: "col" }, say(`strips.column.${name}`))))),
      rows)));
  root.append(
    h("div.strip-row", {}, h("div.strip-head", {}, h("h3", {}, say("strips.distance")), h("p.hint", {}, ...parts("strips.distance.is", { kl: term("kl"), nats: term("nats") }))), kl, scale), says,
    traces, log, table);
  for (const strip of [kl, traces]) {
    strip.addEventListener("click", (event) => {
      const bar = closest(event, "[data-at]");
      if (bar) actions.select(Number(bar.dataset.at));
    });
  }

  /** @type {import("../state/store.js").Token[]|null} */
  let tokens = null;
  let drawn = 0;
  let most = 0;
  let mostC = 1;
  let last = "";
  /** @type {Map<string, {line: HTMLElement, title: string}>} */
  let lines = new Map();

  store.watch(["run"], ({ run }) => {
    root.hidden = !run.tokens?.length;
    if (run.tokens !== tokens) {
      tokens = run.tokens;
      [drawn, most, mostC, last] = [0, 0, 1, ""];
      lines = new Map();
      for (const part of [kl, traces, log, rows]) part.replaceChildren();
    }
    for (; tokens && drawn < tokens.length; drawn += 1) draw(tokens[drawn]);
    kl.style.setProperty("--most", String(Math.max(most, LEAST)));
    traces.style.setProperty("--most", String(mostC));
    scale.textContent = run.tokens?.some((token) => token.klNats !== null) ? say("strips.most", { value: most.toFixed(2) }) : "";
    if (tokens?.length) {
      says.textContent = summary(tokens, run.split);
      kl.setAttribute("aria-label", says.textContent);
    }
    for (const strip of [kl, ...[...lines.values()].map(({ line }) => line)]) {
      strip.querySelector("[data-selected]")?.removeAttribute("data-selected");
      if (run.selected !== null) strip.querySelector(`[data-at="${run.selected}"]`)?.setAttribute("data-selected", "");
    }
  });

  function draw(/** @type {import("../state/store.js").Token} */ token) {
    most = Math.max(most, token.klNats ?? 0);
    const bar = h("i", { dataset: { at: String(token.index), sign: signOf(token) } });
    if (token.klNats === null) bar.dataset.none = "";
    else bar.style.setProperty("--v", String(token.klNats));
    kl.append(bar);

    for (const { key, title } of token.doses) {
      if (lines.has(key)) continue;
      const line = h("div.strip.trace", { role: "img" });
      // An adapter turned later starts with the zeros that it had.
      for (let at = 0; at < token.index; at += 1) line.append(h("i", { dataset: { at: String(at) } }));
      lines.set(key, { line, title });
      traces.append(h("div.strip-row", {}, h("div.strip-head", {}, h("h3", {}, title), h("p.hint", {}, term("c"))), line));
    }
    for (const [key, { line, title }] of lines) {
      const c = token.doses.find((dose) => dose.key === key)?.c ?? 0;
      if (!token.steered) {
        line.append(h("i", { dataset: { at: String(token.index) } }));
        continue;
      }
      mostC = Math.max(mostC, Math.abs(c));
      const mark = h("i", { dataset: { at: String(token.index), sign: c < 0 ? "minus" : "plus" } });
      mark.style.setProperty("--v", String(Math.abs(c)));
      line.append(mark);
      line.setAttribute("aria-label", say("strips.trace", { title, c: signed(c) }));
    }
    // The base goes on alone: nothing that is turned acts on anything.
    const acts = Boolean(token.steered) && !token.given;
    const now = token.doses.map(({ title, c }) => `${title} ${signed(c)}`).join(", ") || say("strips.nothing");
    if (acts && now !== last) {
      log.append(h("li", {}, ...parts(`strips.change.${token.cache}`, { token: h("b", {}, say("strips.at", { token: token.index + 1 })), turned: now })));
      last = now;
    }
    rows.append(h("tr", {},
      h("th", { scope: "row" }, String(token.index + 1)), h("td.tok", {}, token.base?.text ?? ""), h("td.tok", {}, token.steered?.text ?? ""),
      h("td", {}, token.klNats?.toFixed(3) ?? ""), h("td", {}, token.given ? say("strips.given") : acts ? now : ""), h("td", {}, token.cache === "current" ? "" : say(`strips.cache.${token.cache}`))));
  }
}

/** @param {import("../state/store.js").Token[]} tokens @param {number|null} split */
function summary(tokens, split) {
  const values = tokens.map(({ klNats }) => klNats).filter((value) => value !== null);
  if (!values.length) return say("strips.unmeasured");
  const most = Math.max(...values);
  const parts = split === null || split >= tokens.length ? say("strips.split.not") : say("strips.split", { token: split + 1 });
  if (most === 0) return say("strips.none", { n: values.length, split: parts });
  return say("strips.summary", { n: values.length, most: most.toFixed(2), at: tokens.findIndex(({ klNats }) => klNats === most) + 1, split: parts });
}
