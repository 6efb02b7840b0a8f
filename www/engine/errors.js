// What an error is for the page, and which one leaves the module of no use.

/** @param {any} error @returns {import("./protocol.js").ErrorShape} */
export const shape = (error) => ({
  code: typeof error?.code === "string" ? error.code : "internal",
  message: String(error?.message ?? error),
});

/** Whether the module stopped in the middle of something: no call of it can be trusted any more. @param {any} error */
export const trapped = (error) => error instanceof WebAssembly.RuntimeError || error instanceof RangeError;
