// Texts as files, and as what writes them again elsewhere.
import { h } from "../dom.js";
import { textsPicture } from "../plots/picture.js";
import { say } from "../say.js";
import { signOf } from "../state/acting.js";
import { asCsv, asJson, asMarkdown, fileName } from "../state/formats.js";
import { command, givenTokens, manifest } from "../state/manifest.js";
import { python } from "../state/python.js";
import { promptOf, turnedWords, wasMoved } from "../state/runs.js";
import { level } from "./pieces.js";
import { download } from "./work.js";
import { factsOf } from "./written.js";

/** @typedef {import("../state/formats.js").Collection} Collection @typedef {import("../plots/picture.js").Piece} Piece */

/** Buttons and texts, folded away until they are wanted. @param {() => Collection} collection what there is now @param {string} [label] */
export function exports(collection, label = say("runs.export")) {
  const [line, script] = [h("pre", { tabIndex: 0, "aria-label": say("runs.export.command") }), h("pre", { tabIndex: 0, "aria-label": say("runs.export.python") })];
  const remarks = h("p.hint", { hidden: true });
  const told = h("span.hint", { role: "status" });
  const button = (/** @type {string} */ words, /** @type {string} */ ending, /** @type {string} */ type, /** @type {(of: Collection) => string} */ write) =>
    h("button", { type: "button", onclick: () => { const now = collection(); download(`${fileName(now)}.${ending}`, write(now), type); } }, words);
  const copy = (/** @type {HTMLElement} */ from, /** @type {string} */ words) => h("button.quiet", {
    type: "button", "aria-label": words,
    onclick: async () => {
      const copied = await Promise.resolve(navigator.clipboard?.writeText(from.textContent ?? "") ?? Promise.reject(new Error())).then(() => true, () => false);
      told.textContent = say(copied ? "runs.export.copied" : "runs.export.not-copied");
    },
  }, say("runs.export.copy"));
  const fill = () => {
    const { runs } = collection();
    line.textContent = [...new Set(runs.map(command))].join("\n");
    script.textContent = python(runs);
    remarks.textContent = [runs.some(wasMoved) && say("runs.export.moved"), runs.some((kept) => givenTokens(kept)) && say("runs.export.given")].filter(Boolean).join(" ");
    remarks.hidden = !remarks.textContent;
  };
  /** @type {HTMLDetailsElement} */
  const element = h("details.export", { ontoggle: () => { if (element.open) fill(); } }, h("summary", { "aria-label": label }, say("runs.export")),
    h("div.row", {},
      button(say("runs.export.json"), "json", "application/json", asJson), button(say("runs.export.csv"), "csv", "text/csv", asCsv),
      button(say("runs.export.markdown"), "md", "text/markdown", asMarkdown), button(say("runs.export.picture"), "svg", "image/svg+xml", (of) => picture(of, element))),
    h("p.hint", {}, say("runs.export.hint")),
    h("div.code-head", {}, h("h3", {}, say("runs.export.command")), copy(line, say("runs.export.copy.command"))), line, remarks,
    h("div.code-head", {}, h("h3", {}, say("runs.export.python")), copy(script, say("runs.export.copy.python")), told), script);
  return { element, /** When there is something else. */ update: () => { if (element.open) fill(); } };
}

/** @param {import("../state/runs.js").Kept} kept @param {"base"|"steered"} lane @returns {Piece[]} */
const piecesOf = (kept, lane) => kept.tokens.flatMap((token, at) => {
  const step = token[lane];
  return step ? [{ text: step.text, level: lane === "steered" ? level(token.klNats) : 0, sign: signOf(token), split: at === kept.split, given: Boolean(token.given) }] : [];
});

/** @param {Collection} collection @param {HTMLElement} place where the page's colours hold */
function picture({ kind, runs, titles }, place) {
  /** The base is written once where it is one and the same. */
  let base = "";
  let prompt = "";
  const blocks = runs.map((kept, at) => {
    const [own, steered] = [piecesOf(kept, "base"), piecesOf(kept, "steered")];
    const now = JSON.stringify([promptOf(kept), own.map(({ text }) => text)]);
    const known = now === base || !own.length;
    if (!known) base = now;
    const asked = promptOf(kept) === prompt ? "" : promptOf(kept);
    prompt = promptOf(kept);
    return {
      title: titles?.[at] || turnedWords(kept), facts: factsOf(kept), texts: [
        ...(asked ? [{ label: "", pieces: [{ text: `“${asked}”`, given: true }] }] : []),
        ...(known ? [] : [{ label: say("texts.base"), pieces: own }]), { label: say("texts.steered"), pieces: steered },
      ],
    };
  });
  const [first] = runs;
  return textsPicture(blocks, {
    heading: say(`runs.kind.${kind}`), palette: palette(place), metadata: JSON.stringify(runs.map(manifest)), footer: [say("runs.picture.marks"), ...(first ? [say("runs.picture.footer", {
      model: first.model.sha256 ? say("runs.picture.model", { file: first.model.file, hash: first.model.sha256.slice(0, 12) }) : first.model.file, device: first.model.device,
      seed: String(first.request.sampling?.seed ?? 0), version: first.version,
    })] : [])],
  });
}

/** The colours of the page in its present theme. @param {HTMLElement} place @returns {import("../plots/picture.js").Palette} */
function palette(place) {
  const probe = h("span.tok");
  place.append(probe);
  const style = getComputedStyle(probe);
  const ink = style.color;
  const marks = (/** @type {"minus"|"plus"} */ sign) => ["1", "2", "3", "4"].map((kl) => {
    Object.assign(probe.dataset, { sign, kl });
    return getComputedStyle(probe).backgroundColor;
  });
  const [plus, minus] = [marks("plus"), marks("minus")];
  probe.className = "picture-soft";
  const { color: soft, borderTopColor: line, backgroundColor: paper } = getComputedStyle(probe);
  probe.remove();
  return { paper, ink, soft, line, plus, minus };
}
