// What the model reads before the prompt: a system prompt, earlier turns, and what its chat template
// asks for besides. Of the two answers to a prompt the steered one can be kept as a turn.
import { trail, trailWords } from "./acting.js";
import { isOver } from "./store.js";

/** @typedef {import("./store.js").State} State @typedef {import("./store.js").Turn} Turn */
/** @typedef {{role: string, content: string}} Message */

/** Whether the prompt is a turn of a chat: plain text is read alone. @param {State} state */
export const isChat = ({ chat, model }) => chat && model.info?.hasChatTemplate !== false;

/** Whether the model's template has a place for a system prompt; before there is a model, that is not known. @param {State} state */
export const takesSystem = ({ model }) => model.info?.takesSystem !== false;

/** @param {Turn[]} turns @returns {Message[]} */
const said = (turns) => turns.flatMap(({ user, answer }) => [{ role: "user", content: user }, { role: "assistant", content: answer }]);

/** All that is read of a chat, the prompt last. @param {State} state @returns {Message[]} */
export function messages(state) {
  const { system, turns, prompt } = state;
  const first = system.trim() && takesSystem(state) ? [{ role: "system", content: system }] : [];
  return [...first, ...said(turns), { role: "user", content: prompt }];
}

/** What is set of the variables that the model's template reads. @param {State} state @returns {Record<string, boolean|string>} */
export function variables({ variables: set, model }) {
  const names = (model.info?.templateVariables ?? []).map(({ name }) => name);
  return Object.fromEntries(Object.entries(set).filter(([name]) => names.includes(name)));
}

/** The same as an option of what reads texts, if anything is set. @param {State} state @returns {{templateVariables?: Record<string, boolean|string>}} */
export function templateOf(state) {
  const set = variables(state);
  return Object.keys(set).length ? { templateVariables: set } : {};
}

/** The turns among the messages of a chat, without its last one. @param {Message[]} chat */
const before = (chat) => JSON.stringify(chat.filter(({ role }) => role !== "system").slice(0, -1).map(({ content }) => content));

/** The last exchange of a live run as a turn: what was asked and what the steered model answered; null where there is none. @param {State} state @returns {Turn|null} */
function exchange({ run }) {
  const { request, tokens, recorded } = run;
  const last = request?.chat?.at(-1);
  if (!last || recorded || !isOver(run) || !tokens?.length) return null;
  const answer = tokens.map(({ steered }) => steered?.text ?? "").join("");
  return { user: last.content, answer, turned: trailWords(trail(tokens)) };
}

/** What can be kept as the next turn: an answer to the conversation as it stands. @param {State} state @returns {Turn|null} */
export function reply(state) {
  const turn = exchange(state);
  const read = turn && before(state.run.request?.chat ?? []);
  return turn?.answer.trim() && isChat(state) && read === before(messages(state)) ? turn : null;
}

/** Whether the texts in the columns are the conversation's last turn. @param {State} state */
export function isKept(state) {
  const [turn, last] = [exchange(state), state.turns.at(-1)];
  return Boolean(turn && last && turn.user === last.user && turn.answer === last.answer
    && before(state.run.request?.chat ?? []) === before(messages({ ...state, turns: state.turns.slice(0, -1) })));
}
