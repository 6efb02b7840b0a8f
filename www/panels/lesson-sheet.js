// A lesson on paper: all steps with their questions, and lines to write on.
import { h } from "../dom.js";
import { say } from "../say.js";
import { printed } from "./lesson-figure.js";

/** Boxes to tick, or lines to write on. @param {number} many */
const lines = (many) => h("div.sheet-lines", {}, ...Array.from({ length: many }, () => h("i")));

/** @param {import("../state/lesson.js").LessonState} state */
export async function printSheet({ lesson }) {
  if (!lesson) return;
  const figures = await Promise.all(lesson.steps.map(({ figure }) => figure && printed(figure)));
  document.getElementById("lesson-sheet")?.remove();
  const sheet = h("article", { id: "lesson-sheet", "aria-hidden": "true" },
    h("p.sheet-head", {}, h("span", {}, say("lesson.sheet.where")), h("span", {}, location.href.split(/[?#]/)[0]), h("span", {}, `${say("lesson.sheet.name")}: `, h("i"))),
    h("h1", {}, lesson.title), lesson.about && h("p", {}, lesson.about),
    ...lesson.steps.map((step, at) => h("section", {},
      h("h2", {}, `${at + 1}. ${step.title ?? ""}`), ...step.say.map((text) => h("p", {}, text)), step.code && h("pre", {}, step.code), figures[at],
      step.predict && h("p", {}, h("strong", {}, step.predict.question)),
      step.predict && (step.predict.choices ? h("ul.sheet-choices", {}, ...step.predict.choices.map((choice) => h("li", {}, choice))) : lines(2)),
      step.try && h("p", {}, h("strong", {}, `${say("lesson.try")}: `), step.try), step.try && lines(2),
      step.keep && h("p.sheet-keep", {}, h("strong", {}, `${say("lesson.keep")}: `), step.keep))));
  document.body.append(sheet);
  document.documentElement.dataset.print = "lesson";
  addEventListener("afterprint", () => {
    sheet.remove();
    delete document.documentElement.dataset.print;
  }, { once: true });
  print();
}
