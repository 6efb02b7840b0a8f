// A conversation: an answer is kept as a turn, a turn taken back, all of it begun anew. It acts from
// the next run on.
import { reply } from "../state/conversation.js";

/** @param {import("../state/store.js").Store} store */
export function conversationActions(store) {
  const { state } = store;
  return {
    /** Keeps the steered answer, and makes room for the next message. */
    keepAnswer() {
      const turn = reply(state);
      if (turn) store.set({ turns: [...state.turns, turn], prompt: "" });
    },
    /** The last message becomes the prompt again. */
    takeBack() {
      const last = state.turns.at(-1);
      if (last) store.set({ turns: state.turns.slice(0, -1), prompt: last.user });
    },
    newConversation() {
      store.set({ turns: [] });
    },
    /** @param {string} name @param {boolean|string|undefined} value undefined leaves it to the template */
    setVariable(name, value) {
      const { [name]: _old, ...rest } = state.variables;
      store.set({ variables: value === undefined ? rest : { ...rest, [name]: value } });
    },
  };
}
