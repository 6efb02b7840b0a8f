// Behind "Lessons": the list of them, a lesson of one's own, a link for a class; and what is to be said
// of a link or a file that asks for something else.
import { h } from "../dom.js";
import { listed, parts, say } from "../say.js";
import { HIDEABLE, LOCKABLE, MOST_CHARACTERS } from "../state/lesson-schema.js";
import { OWN, entryOf, lessonForLink, partTitle, withLesson } from "../state/lesson.js";

/**
 * @typedef {import("../state/store.js").Store} Store
 * @typedef {import("../actions/lessons.js").LessonActions} LessonActions
 */

/** What the button of each lesson says, and of which. */
const WORDS = {
  begin: ["lesson.begin", "lesson.begin-named"], "go-on": ["lesson.go-on", "lesson.go-on-named"], again: ["lesson.again", "lesson.again-named"],
};

/**
 * @param {HTMLDialogElement} dialog
 * @param {HTMLElement} opener
 * @param {HTMLElement} notice beside the page, for what a link asks
 * @param {Store} store
 * @param {LessonActions} lessons
 */
export function lessonList(dialog, opener, notice, store, lessons) {
  const list = h("ol.lesson-list");
  const complaints = h("ul.lesson-complaints", { role: "alert", hidden: true });
  const file = h("input.sr", { type: "file", id: "lesson-file", accept: ".json,application/json", onchange: () => { take(file.files?.[0]); file.value = ""; } });
  const teacher = teacherPart(store);
  const head = h("div.dialog-head", {}, h("h2", { id: "lessons-title", tabIndex: -1, autofocus: true }, say("lesson.title")),
    h("form", { method: "dialog" }, h("button", {}, say("page.close"))));
  // What is folded out at the foot is brought into sight, below the head, which stays.
  const fold = h("details", { id: "teacher", ontoggle: () => { if (fold.open) dialog.scrollTop = fold.offsetTop - head.offsetHeight; } },
    h("summary", {}, say("lesson.teacher")), teacher.element);
  const guide = h("a", { href: "guide/lessons.html#writing-one" }, say("lesson.own.guide"));
  const example = h("a", { href: lessons.addressOf("too-much"), download: "lesson.json" }, say("lesson.own.example"));
  dialog.append(
    head, h("p.hint", {}, say("lesson.about")), list,
    h("section", {}, h("h3", {}, say("lesson.own")), h("p.hint", {}, ...parts("lesson.own.hint", { example, guide })),
      h("p", {}, file, h("label.button", { htmlFor: "lesson-file" }, say("lesson.own.open"))), h("p.hint", {}, say("lesson.own.address")), complaints),
    fold);

  async function take(/** @type {File|undefined} */ chosen) {
    if (!chosen) return;
    // A large file is not read as a whole: it is no lesson.
    await lessons.openOwn(await chosen.slice(0, MOST_CHARACTERS * 4 + 4).text());
    if (store.state.lesson.status === "on" && !store.state.lesson.complaints.length) close();
  }
  /** Goes on where the lesson is: a dialog that closes gives the focus back to what opened it. */
  function close() {
    dialog.close();
    document.getElementById("lesson-title")?.focus({ preventScroll: true });
  }
  dialog.addEventListener("dragover", (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); });
  dialog.addEventListener("drop", (event) => {
    if (!event.dataTransfer?.files.length) return;
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });

  async function begin(/** @type {string} */ name, /** @type {{step?: number}} */ at) {
    await lessons.begin(name, at);
    if (!store.state.lesson.complaints.length) close();
  }

  function showList() {
    const kept = lessons.progress();
    list.replaceChildren(...store.state.lesson.list.map(({ name, title, about, minutes, steps }) => {
      const progress = kept[name];
      const how = entryOf(progress, steps);
      const [words, named] = WORDS[how];
      const facts = [say("lesson.minutes", { n: minutes }), progress?.over && say("lesson.finished")].filter(Boolean).join(" · ");
      const at = { step: (progress?.step ?? 0) + 1, title };
      return h("li", {}, h("div", {}, h("h3", {}, title), h("p.hint", {}, about, " ", h("span.facts", {}, facts))),
        h("button", {
          type: "button", dataset: { lesson: name }, "aria-label": say(named, at), onclick: () => begin(name, how === "go-on" ? {} : { step: 0 }),
        }, say(words, at)));
    }));
    teacher.update();
  }

  opener.addEventListener("click", async () => {
    dialog.showModal();
    if (!store.state.lesson.list.length) await lessons.listLessons();
    showList();
  });

  store.watch(["lesson"], ({ lesson }) => {
    const { complaints: wrong, ignored, hide, lock, status } = lesson;
    complaints.hidden = !wrong.length;
    const said = JSON.stringify([wrong, ignored, hide, lock, status, dialog.open]);
    if (said === notice.dataset.said) return;
    notice.dataset.said = said;
    complaints.replaceChildren(...wrong.map(complaint));
    // What a link asked is told where the reader is.
    const told = [
      wrong.length > 0 && !dialog.open && h("div", {}, h("p", {}, say("lesson.not-begun")), h("ul.lesson-complaints", {}, ...wrong.map(complaint))),
      ignored.length > 0 && h("p", {}, say("lesson.ignored", { names: listed(ignored, "unit") })),
    ].filter((part) => part instanceof Node);
    const linked = hide.length + lock.length > 0
      && h("p.hint", {}, say("lesson.linked"), " ", h("button.quiet", { type: "button", id: "lesson-show-all", onclick: () => lessons.setLinked({ hide: [], lock: [], ignored: [] }) }, say("lesson.show-all")));
    notice.hidden = !told.length && !linked;
    notice.className = told.length ? "notice" : "lesson-linked";
    notice.replaceChildren(...told, ...(told.length ? [h("button.quiet", { type: "button", onclick: () => lessons.dismiss() }, say("lesson.dismiss"))] : []), ...(linked ? [linked] : []));
  });
}

/** @param {import("../state/lesson-file.js").Complaint} complaint */
const complaint = ({ key, why }) => h("li", {}, key ? say("lesson.complaint", { key, why }) : why);

/** The link for a class. @param {Store} store */
function teacherPart(store) {
  /** What was chosen, null as long as nothing was. @type {string|null} */
  let chosen = null;
  const which = h("select", { id: "teacher-lesson", onchange: () => { chosen = which.value; update(); } });
  const step = h("select", { id: "teacher-step", onchange: link });
  const auto = h("input", { type: "checkbox", id: "teacher-auto", onchange: link });
  const box = (/** @type {string} */ part) => h("input", { type: "checkbox", value: part, onchange: link });
  const [hides, locks] = [HIDEABLE, LOCKABLE].map((names) => names.map(box));
  const boxes = (/** @type {string} */ legend, /** @type {HTMLInputElement[]} */ inputs) => h("fieldset.lesson-parts", {}, h("legend", {}, legend),
    ...inputs.map((input) => h("label.check", {}, input, partTitle(input.value))));
  const address = h("input", { type: "text", id: "teacher-link", readOnly: true });
  const copied = h("span.hint", { role: "status" });
  const copy = h("button", {
    type: "button", id: "teacher-copy",
    onclick: async () => {
      try {
        await navigator.clipboard.writeText(address.value);
        copied.textContent = say("lesson.teacher.copied");
      } catch {
        address.select();
        copied.textContent = say("page.may-not-copy");
      }
    },
  }, say("lesson.teacher.copy"));

  function update() {
    const { list } = store.state.lesson;
    which.replaceChildren(...list.map(({ name, title }) => h("option", { value: name }, title)), h("option", { value: "" }, say("lesson.teacher.none")));
    which.value = chosen ?? lessonForLink(store.state.lesson);
    const steps = list.find(({ name }) => name === which.value)?.steps ?? 0;
    const at = step.value;
    step.replaceChildren(...Array.from({ length: steps }, (_, one) =>
      h("option", { value: String(one) }, one ? String(one + 1) : say("lesson.teacher.first"))));
    if (Number(at) < steps && at) step.value = at;
    step.disabled = auto.disabled = steps === 0;
    link();
  }
  function link() {
    copied.textContent = "";
    const names = (/** @type {HTMLInputElement[]} */ inputs) => inputs.filter(({ checked }) => checked).map(({ value }) => value);
    const on = which.value !== "";
    const hash = withLesson("#", {
      ...store.state.lesson, status: on ? "on" : "none", name: on ? which.value : OWN, step: Number(step.value) || 0,
      hide: names(hides), lock: names(locks), auto: on && auto.checked,
    });
    address.value = new URL(hash, location.href).href;
  }
  return {
    update,
    element: h("div.teacher", {}, h("p.hint", {}, say("lesson.teacher.hint")),
      h("div.row", {}, h("label.field", {}, h("span", {}, say("lesson.teacher.lesson")), which), h("label.field", {}, h("span", {}, say("lesson.teacher.step")), step),
        h("label.check", {}, auto, say("lesson.teacher.auto"))),
      boxes(say("lesson.teacher.hide"), hides), boxes(say("lesson.teacher.lock"), locks),
      h("label.field", {}, h("span", {}, say("lesson.teacher.link")), address), h("div.row", {}, copy, copied)),
  };
}
