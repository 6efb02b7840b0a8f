// What this browser keeps of the page, in one dialog: how much, what, and ways to delete it.
import { h, megabytes } from "../dom.js";
import { roomWords } from "../room.js";
import { say } from "../say.js";
import { freeOf, grouped, nameOf } from "../state/storage.js";

/** What is kept by name and has a name for the reader. */
const THINGS = ["training"];

/**
 * @param {{dialog: HTMLDialogElement, opener: HTMLElement, note: HTMLElement}} roots `note` says once that nothing is kept
 * @param {import("../state/store.js").Store} store
 * @param {import("../actions.js").Actions} actions
 */
export function storagePanel({ dialog, opener, note }, store, actions) {
  const sum = h("p");
  const bar = h("progress", { "aria-label": say("storage.bar") });
  const list = h("ul.kept");
  const said = h("p", { role: "status" });
  const persist = h("button", { type: "button", onclick: () => actions.persist() }, say("storage.persist"));
  const lasting = h("p.hint");
  const ask = h("button.alarm", { type: "button", onclick: () => confirm(true) }, say("storage.delete-all"));
  const goes = h("ul");
  const sure = h("div.sure", { hidden: true, role: "group", "aria-labelledby": "storage-sure" },
    h("p", { id: "storage-sure", tabIndex: -1 }, h("strong", {}, say("storage.goes"))), goes,
    h("p.hint", {}, say("storage.stays")),
    h("div.row", {}, h("button.alarm", { type: "button", onclick: everything }, say("storage.delete-sure")),
      h("button", { type: "button", onclick: () => confirm(false) }, say("storage.keep"))));
  const confirm = (/** @type {boolean} */ on) => {
    [sure.hidden, ask.hidden] = [!on, on];
    if (on) document.getElementById("storage-sure")?.focus();
    else ask.focus();
  };
  // What the page still has in it is not kept, but it would be again.
  const anew = h("button", { type: "button", hidden: true, onclick: () => location.replace(location.href.split("#")[0]) }, say("storage.anew"));
  async function everything() {
    await actions.deleteEverything();
    confirm(false);
    anew.hidden = false;
    anew.focus();
  }
  dialog.append(
    h("div.dialog-head", {}, h("h2", { id: "storage-title", tabIndex: -1, autofocus: true }, say("storage.title")),
      h("form", { method: "dialog" }, h("button", {}, say("page.close")))),
    h("p.hint", {}, say("storage.what")), sum, bar, list, h("div.row", {}, persist, lasting), said, h("p", {}, anew), h("p", {}, ask), sure);
  opener.addEventListener("click", async () => {
    confirm(false);
    dialog.showModal();
    await actions.lookAtStorage();
  });

  store.watch(["storage"], ({ storage }) => {
    const { status, used, quota, persisted, models, files, things, remembered } = storage;
    const denied = status === "denied";
    note.hidden = !denied;
    for (const part of [bar, persist.parentElement, ask]) if (part) part.hidden = denied;
    if (denied) sure.hidden = true;
    const free = freeOf({ usage: used ?? 0, quota: quota ?? 0 });
    sum.textContent = denied ? say("storage.denied") : used === null || free === null ? say("storage.unsaid")
      : say("storage.sum", { used: roomWords(used), free: roomWords(free) });
    bar.hidden ||= used === null || !quota;
    if (used !== null && quota) [bar.max, bar.value] = [quota, used];
    persist.hidden = persisted !== false;
    lasting.textContent = say(persisted ? "storage.lasts" : "storage.may-go");
    lasting.hidden = persisted === null;
    if (said.textContent !== storage.said) said.textContent = storage.said;
    /** @type {[what: string, facts: string, drop: () => void][]} */
    const rows = [
      ...models.map(({ url, keptBytes, complete }) => /** @type {[string, string, () => void]} */ ([nameOf(url),
        complete ? megabytes(keptBytes) : say("storage.part", { size: megabytes(keptBytes) }), () => actions.deleteDownload(url)])),
      ...things.map((name) => /** @type {[string, string, () => void]} */ ([THINGS.includes(name) ? say(`storage.thing.${name}`) : name, "", () => actions.deleteThing(name)])),
      ...grouped(remembered).map(({ group, names, bytes }) => /** @type {[string, string, () => void]} */ ([say(`storage.small.${group}`), megabytes(bytes), () => actions.deleteRemembered(names)])),
      ...files ? [/** @type {[string, string, () => void]} */ ([say("storage.files"), say("storage.files.are", { n: files }), () => actions.deleteFiles()])] : [],
    ];
    const had = list.contains(document.activeElement);
    list.replaceChildren(...rows.map(([what, facts, drop]) => h("li.row", {}, h("strong", {}, what), h("span.facts", {}, facts),
      h("button.quiet", { type: "button", "aria-label": say("storage.delete-of", { what }), onclick: drop }, say("storage.delete")))));
    goes.replaceChildren(...rows.map(([what, facts]) => h("li", {}, facts ? `${what} · ${facts}` : what)));
    // What was deleted had the focus.
    if (had) /** @type {HTMLElement|null} */ (list.querySelector("button") ?? ask)?.focus();
    ask.hidden = denied || !rows.length || !sure.hidden;
  });
}
