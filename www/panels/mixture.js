// On the card of an adapter that holds several: which of its tasks runs, or who weighs its parts.
import { h, shownIn, signed } from "../dom.js";
import { say } from "../say.js";

/** @typedef {import("../state/store.js").Adapter} Adapter */

/** Which of its tasks an adapter runs, where it was trained for several. @param {Adapter} first @param {import("../actions.js").Actions} actions */
export function taskRow({ key, title }, actions) {
  const box = h("input.task", {
    type: "number", min: "0", step: "1", inputMode: "numeric", "aria-label": say("adapters.task-of", { title }),
    onchange: () => {
      const { valid } = box.validity;
      wrong = valid ? "" : box.value ? say("adapters.no-task", { value: box.value, now }) : say("adapters.no-number", { now });
      if (valid) actions.setTask(key, Number(box.value));
      else show(now);
      range.textContent = said();
    },
  });
  const show = shownIn(box);
  let [tasks, now, wrong] = [0, 0, ""];
  const range = h("span.hint", { role: "status" });
  const said = () => [" ", wrong, wrong && " ", say("adapters.tasks", { last: tasks - 1, n: tasks })].join("");
  const element = h("p.task-row", { hidden: true }, h("label", {}, say("adapters.task"), " ", box), range);
  return {
    element,
    update(/** @type {Adapter} */ { task, experts, inspection }) {
      tasks = inspection?.tasks ?? 0;
      element.hidden = tasks < 2 || Boolean(experts);
      if (element.hidden) return;
      box.max = String(tasks - 1);
      box.required = true;
      now = task ?? 0;
      if (range.textContent !== said()) range.textContent = said();
      show(now);
    },
  };
}

/** Adapters that mix parts: what is said of these, and the number of the first. */
const MIXTURES = {
  experts: {
    legend: say("adapters.experts-who"), own: say("adapters.experts-own"), free: say("adapters.experts-free"), first: 0,
    part: (/** @type {number} */ number) => say("adapters.expert", { number }),
    weight: (/** @type {number} */ number, /** @type {string} */ title) => say("adapters.expert-weight", { number, title }),
  },
  skills: {
    legend: say("adapters.skills-who"), own: say("adapters.skills-own"), free: say("adapters.skills-free"), first: 1,
    part: (/** @type {number} */ number) => say("adapters.skill", { number }),
    weight: (/** @type {number} */ number, /** @type {string} */ title) => say("adapters.skill-weight", { number, title }),
  },
};

/** Who weighs what an adapter mixes: itself, or one slider for each part. @param {Adapter} first @param {import("../actions.js").Actions} actions */
export function mixtureRows({ key, title }, actions) {
  const id = key.replace(/\W/g, "-");
  /** @type {number[]} */
  let weights = [];
  const legend = h("legend");
  const [ownText, freeText] = [h("span"), h("span")];
  const own = h("input", { type: "radio", name: `${id}-experts`, onchange: () => actions.setExperts(key, undefined) });
  const free = h("input", { type: "radio", name: `${id}-experts`, onchange: () => actions.setExperts(key, [...weights]) });
  /** @type {{row: HTMLElement, slider: HTMLInputElement, value: HTMLElement}[]} */
  let rows = [];
  const list = h("div.weights");
  const element = h("fieldset.experts", { hidden: true }, legend,
    h("label.check", {}, own, ownText), h("label.check", {}, free, freeText), list);
  const row = (/** @type {typeof MIXTURES.experts} */ words, /** @type {number} */ at) => {
    const number = words.first + at;
    const slider = h("input", {
      type: "range", min: "-1", max: "2", step: "0.05", "aria-label": words.weight(number, title),
      oninput: () => actions.setExperts(key, weights.map((weight, other) => (other === at ? Number(slider.value) : weight))),
    });
    const value = h("output.figures");
    return { row: h("label.weight", {}, h("span", {}, words.part(number)), slider, value), slider, value };
  };
  return {
    element,
    update(/** @type {Adapter} */ { experts, inspection }) {
      const count = inspection?.experts ?? inspection?.skills ?? 0;
      element.hidden = count === 0;
      if (element.hidden) return;
      if (rows.length !== count) {
        const words = inspection?.skills ? MIXTURES.skills : MIXTURES.experts;
        legend.textContent = words.legend;
        ownText.textContent = words.own;
        freeText.textContent = words.free;
        rows = Array.from({ length: count }, (_, at) => row(words, at));
        list.replaceChildren(...rows.map((item) => item.row));
        weights = Array(count).fill(1 / count);
      }
      if (experts?.length === count) weights = experts;
      own.checked = !experts;
      free.checked = Boolean(experts);
      list.hidden = !experts;
      for (const [at, { slider, value }] of rows.entries()) {
        slider.value = String(weights[at]);
        value.textContent = signed(weights[at]);
      }
    },
  };
}
