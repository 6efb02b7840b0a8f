// Beside the texts: that they come from the history, and the way back to what was there.
import { h } from "../dom.js";
import { moment, say } from "../say.js";

/** @param {import("../state/store.js").Store} store @param {import("../actions.js").Actions} actions */
export function openedNote(store, actions) {
  const what = h("span", { role: "status" });
  const back = h("button.quiet", {
    type: "button", id: "opened-back",
    onclick: () => {
      actions.backToBefore();
      document.getElementById("steered-text")?.focus();
    },
  }, say("runs.back"));
  const element = h("p.recorded", { id: "opened", hidden: true }, what, " ", back);
  store.watch(["runs", "run"], ({ runs, run }) => {
    element.hidden = !runs.opened;
    if (!runs.opened) {
      what.textContent = "";
      return;
    }
    const kept = runs.history.some(({ id }) => id === runs.opened);
    const said = say(kept ? "runs.opened" : "runs.opened.group", { at: moment(run.startedAt) });
    if (what.textContent !== said) what.textContent = said;
  });
  return element;
}
