// Wires the state, the engine and the panels together.
import { createActions } from "./actions.js";
import { lessonActions } from "./actions/lessons.js";
import { arrived, follow } from "./address.js";
import { byId, memoryWords } from "./dom.js";
import { adaptersPanel } from "./panels/adapters.js";
import { sourceOf } from "./hub.js";
import { embed } from "./embed.js";
import { bench } from "./panels/bench.js";
import { doseBar } from "./panels/dosebar.js";
import { glossary } from "./panels/glossary.js";
import { keys } from "./panels/keys.js";
import { lessonList } from "./panels/lesson-list.js";
import { lessonPanel } from "./panels/lessons.js";
import { modelPanel } from "./panels/model.js";
import { outputPanel } from "./panels/output.js";
import { promptPanel } from "./panels/prompt.js";
import { storagePanel } from "./panels/storage.js";
import { stripsPanel } from "./panels/strips.js";
import { tokenPanel } from "./panels/token.js";
import { recall, remember } from "./remember.js";
import { createReplay } from "./replay.js";
import { LANGUAGE, say, speak, spoken, translate } from "./say.js";
import { askedOf, withLesson } from "./state/lesson.js";
import { DEFAULT_MODEL } from "./state/models.js";
import { rerunByItself } from "./state/since.js";
import { createStore, defaults } from "./state/store.js";
import { parse, serialise } from "./state/url.js";
import { shippedAdapters } from "./shipped.js";
import { recallTurns, rememberTurns } from "./turns.js";
import { ONE_COLUMN } from "./widths.js";

translate(document);

const hash = arrived(location.hash);
const asked = parse(hash);
const { modelUrl, sampling, ...rest } = asked.patch;
const initial = defaults();
Object.assign(initial, rest, { sampling: { ...initial.sampling, ...sampling } });
initial.turns = recallTurns(rest.turns, asked.talk);
initial.rerun = recall("playground.rerun") === "on";
const store = createStore(initial);
const actions = createActions(store);
const replay = createReplay(store, {
  url: new URL("./recorded/smollm2-135m.json", import.meta.url), still: matchMedia("(prefers-reduced-motion: reduce)").matches,
});
// Before anything else: it is what moves first.
const recorded = replay.begin();

/** A model as a link writes it: what has no `hub:` before it is an address, of which the page's own have no host. @param {string} text */
const linked = (text) => sourceOf(text.startsWith("hub:") ? text : new URL(text, document.baseURI).href, initial.hub, document.baseURI);

/** The model that the Load button loads: the link's, else ours. @type {import("./state/store.js").ModelAddress} */
const offered = modelUrl ? linked(modelUrl) : DEFAULT_MODEL;

modelPanel(byId("model"), store, actions, offered);
promptPanel(byId("prompt-form", HTMLFormElement), store, actions, offered);
/** What comes with the page: its words at once, its numbers with the engine; after a failure, or once it is wanted back, again. */
const fetchShipped = (weights = true) => actions.listShipped(() => shippedAdapters(asked.adapters, store.state.gone, weights));
const restoreShipped = () => actions.listShipped(async () => {
  const { list, zoo } = await shippedAdapters(null, []);
  return { list: list.map((adapter) => ({ ...adapter, coefficient: 0 })), gone: [], zoo };
});
adaptersPanel({ list: byId("adapter-list"), add: byId("adapter-add") }, store, actions, { asked: asked.adapters, fetchShipped, restoreShipped });
outputPanel({
  columns: byId("columns"), base: byId("base-text"), steered: byId("steered-text"), difference: byId("difference-text"),
  dose: byId("steered-dose"), doseBeside: byId("difference-dose"), below: byId("below"), status: byId("status"), notice: byId("notice"),
}, store, actions, replay);
stripsPanel(byId("strips"), store, actions);
tokenPanel(byId("token"), store, actions);
const sheet = byId("adapters-sheet", HTMLDialogElement);
doseBar(byId("dosebar"), sheet, store, actions);
const lessons = lessonActions(store, actions, replay, { base: document.baseURI, link });
const turnStep = lessonPanel(byId("lesson"), store, lessons, {
  load: () => actions.loadModel(offered),
  left: (before) => {
    if (before !== null) location.hash = before;
    byId("lessons-open").focus();
  },
});
lessonList(byId("lessons", HTMLDialogElement), byId("lessons-open"), byId("lesson-notice"), store, lessons);
bench(byId("measure"), store, actions, replay);
glossary(byId("word"), byId("about", HTMLDialogElement), byId("about-open"));
keys(byId("keys", HTMLDialogElement), byId("keys-on", HTMLInputElement), store, actions, { share, columns: byId("columns"), lesson: turnStep });
storagePanel({ dialog: byId("storage", HTMLDialogElement), opener: byId("storage-open"), note: byId("nothing-kept") }, store, actions);
rerunByItself(store, actions);
embed({ title: byId("title"), told: byId("told") }, store, actions, { link, replay, offered });

// ---- link ---------------------------------------------------------------------------------------

function link() {
  const { source } = store.state.model;
  const other = source?.kind === "url" && source.url !== DEFAULT_MODEL.url ? source.url : null;
  return withLesson(serialise(store.state, defaults(), other ?? modelUrl ?? null, asked.adapters), store.state.lesson);
}
const address = follow(link);
store.watch(["turns"], ({ turns }) => rememberTurns(turns));
store.watch(["prompt", "chat", "system", "turns", "variables", "sampling", "maxTokens", "stop", "cache", "klAfterSplit", "adapters", "shelf", "gone", "model", "device", "lesson"], address.soon);

async function share() {
  const written = address.now();
  const button = byId("share");
  try {
    await navigator.clipboard.writeText(new URL(link(), location.href.split(/[?#]/)[0]).href);
    button.textContent = say("page.copied");
  } catch {
    button.textContent = say(written && window === window.top ? "page.link-in-address" : "page.may-not-copy");
  }
  setTimeout(() => { button.textContent = say("page.copy-link"); }, 2000);
}
byId("share").addEventListener("click", share);
byId("help").addEventListener("click", () => byId("keys", HTMLDialogElement).showModal());

// ---- narrow ------------------------------------------------------------------------------------

// Where there is one column the adapters are a sheet over the texts.
const narrow = matchMedia(ONE_COLUMN);
const place = () => {
  sheet.close();
  if (narrow.matches) sheet.append(byId("adapters"));
  else byId("composer").before(byId("adapters"));
};
narrow.addEventListener("change", place);
place();

// ---- language ----------------------------------------------------------------------------------

const language = byId("language", HTMLSelectElement);
language.value = LANGUAGE;
byId("in-english").hidden = LANGUAGE === "en";
// Every part of the page holds its words: it is built again.
language.addEventListener("change", () => {
  speak(language.value);
  // Where nothing is remembered the link has to say it; where the link says it, it says the new one.
  if (store.state.language || spoken() !== language.value) store.set({ language: language.value });
  address.now();
  location.reload();
});

// ---- theme, memory ------------------------------------------------------------------------------

const themes = ["auto", "light", "dark"];
function theme(/** @type {string} */ name) {
  document.documentElement.dataset.theme = name;
  byId("theme").textContent = say(`page.theme-${name}`);
  remember("playground.theme", name);
}
const chosen = recall("playground.theme") ?? "";
theme(themes.includes(chosen) ? chosen : "auto");
byId("theme").addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  theme(themes[(themes.indexOf(now) + 1) % themes.length]);
});
store.watch(["memory", "model"], ({ memory, model }) => {
  if (!memory || model.status !== "ready") return byId("memory").replaceChildren();
  byId("memory").textContent = memoryWords(memory);
});

// ---- begin --------------------------------------------------------------------------------------

// The recording and the words of the adapters first, then the engine, and then what only the
// engine needs and what only the next visit needs.
const lesson = askedOf(hash);
lessons.setLinked(lesson);
await Promise.all([recorded, fetchShipped(false)]);
if (lesson.lesson) await lessons.resume(lesson.lesson, lesson);
const started = await actions.start();
const numbers = store.state.shelf.status === "here" ? fetchShipped() : Promise.resolve();
if (started) {
  // A model kept in this browser costs no download: no click is asked for.
  const kept = await actions.lookForKept(offered.url);
  await numbers;
  if (kept?.complete && store.state.model.status === "none") await actions.loadModel(offered);
  actions.refreshMemory();
}
await numbers;
await (await import("./offline.js")).offline();
// Where nothing is kept it says so, once.
await actions.lookAtStorage();
