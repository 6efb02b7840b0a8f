// The conversation: folded away near the prompt what is read before it, and under the texts the button
// that keeps the steered answer.
import { h, shownIn } from "../dom.js";
import { say } from "../say.js";
import { isChat, isKept, reply, takesSystem, variables } from "../state/conversation.js";
import { isLong } from "../turns.js";

/**
 * @typedef {import("../state/store.js").Store} Store
 * @typedef {import("../actions.js").Actions} Actions
 * @typedef {import("../engine/protocol.js").TemplateVariable} TemplateVariable
 */

/** @param {Store} store @param {Actions} actions @returns {HTMLElement} */
export function conversation(store, actions) {
  const summary = h("summary");
  const system = h("textarea", { id: "system", rows: 2, spellcheck: false, oninput: () => store.set({ system: system.value }) });
  const showSystem = shownIn(system);
  const noSystem = h("small", { hidden: true }, say("talk.system.none"));
  const asked = h("div.grid.asked");
  const list = h("ol.turns", { tabIndex: 0, "aria-label": say("talk.title") });
  const back = h("button", { type: "button", onclick: () => { actions.takeBack(); prompt()?.focus(); } }, say("talk.back"));
  const anew = h("button", { type: "button", id: "new-conversation", onclick: () => { actions.newConversation(); prompt()?.focus(); } }, say("talk.new"));
  const buttons = h("div.row", {}, anew, back);
  const long = h("p.hint", { hidden: true }, say("talk.long"));
  const root = h("details.settings.conversation", { id: "conversation" }, summary,
    h("label.field.wide", {}, h("span", {}, say("talk.system")), system, noSystem),
    asked, h("p.hint", {}, say("talk.which")), list, long, buttons);

  /** What the fields were made for. */
  let made = "";
  /** @type {Map<string, (value: boolean|string|undefined) => void>} */
  let fields = new Map();
  store.watch(["system", "variables", "turns", "chat", "model"], (state) => {
    const { turns, model } = state;
    root.hidden = !isChat(state);
    showSystem(state.system);
    system.disabled = !takesSystem(state);
    noSystem.hidden = !system.disabled;
    const wanted = model.info?.templateVariables ?? [];
    const key = JSON.stringify(wanted);
    if (key !== made) {
      made = key;
      fields = new Map();
      asked.replaceChildren(...wanted.map((one) => field(one, fields, actions)));
      asked.hidden = !wanted.length;
    }
    for (const [name, show] of fields) show(state.variables[name]);
    const count = turns.length;
    const facts = [
      say("talk.title"), system.value.trim() && !system.disabled && say("talk.with-system"),
      Object.keys(variables(state)).length > 0 && say("talk.with-variables"), count > 0 && say("talk.turns", { n: count }),
    ];
    summary.textContent = facts.filter(Boolean).join(" · ");
    if (list.childElementCount !== 2 * count || list.dataset.last !== turns.at(-1)?.answer) {
      list.dataset.last = turns.at(-1)?.answer ?? "";
      list.replaceChildren(...turns.flatMap(({ user, answer, turned }) => [
        h("li.said", {}, h("b", {}, say("talk.you")), h("p", {}, user)),
        h("li.answered", {}, h("b", {}, turned ? say("talk.steered-at", { turned }) : say("talk.steered")), h("p", {}, answer)),
      ]));
      // The first turn that is kept is seen where it went.
      if (count === 1 && isKept(state)) root.open = true;
      list.scrollTop = list.scrollHeight;
    }
    list.hidden = buttons.hidden = !count;
    long.hidden = !isLong(turns);
  });
  return root;
}

/** Keeps the steered answer as a turn. @param {Store} store @param {Actions} actions @returns {HTMLElement} */
export function replyButton(store, actions) {
  const button = h("button", { type: "button", id: "reply", title: say("talk.reply.is"), onclick: () => { actions.keepAnswer(); prompt()?.focus(); } }, say("talk.reply"));
  store.watch(["run", "turns", "chat", "system", "model"], (state) => { button.hidden = state.model.status !== "ready" || !reply(state); });
  return button;
}

const prompt = () => document.getElementById("prompt");

/**
 * A variable of the template. A switch shows what holds; what the template does by itself is not said to it.
 * @param {TemplateVariable} variable
 * @param {Map<string, (value: boolean|string|undefined) => void>} fields
 * @param {Actions} actions
 */
function field({ name, kind, default: usual }, fields, actions) {
  if (kind === "text") {
    const input = h("input", { type: "text", spellcheck: false, placeholder: say("talk.as-template"), onchange: () => actions.setVariable(name, input.value || undefined) });
    const show = shownIn(input);
    fields.set(name, (value) => show(typeof value === "string" ? value : ""));
    return h("label.field", {}, h("span", {}, h("code", {}, name)), input);
  }
  if (usual === null) {
    const options = /** @type {const} */ ([["", say("talk.as-template")], ["on", say("talk.on")], ["off", say("talk.off")]]);
    const select = h("select", { onchange: () => actions.setVariable(name, select.value ? select.value === "on" : undefined) },
      ...options.map(([value, words]) => h("option", { value }, words)));
    fields.set(name, (value) => { select.value = typeof value === "boolean" ? (value ? "on" : "off") : ""; });
    return h("label.field", {}, h("span", {}, h("code", {}, name)), select);
  }
  const box = h("input", { type: "checkbox", onchange: () => actions.setVariable(name, box.checked === usual ? undefined : box.checked) });
  fields.set(name, (value) => { box.checked = typeof value === "boolean" ? value : usual; });
  return h("label.check", {}, box, h("code", {}, name));
}
