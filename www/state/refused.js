/**
 * Whether the engine refused an adapter, or its files did not come: nothing of it can be turned. What a recording plays can be
 * turned all the same.
 * @param {import("./store.js").Adapter} adapter @param {Pick<import("./store.js").State, "recording">} state
 */
export const isRefused = (adapter, { recording }) =>
  adapter.error !== null && adapter.id === null && !adapter.loading && !(adapter.card && recording.shown);
