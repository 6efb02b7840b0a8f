// Every message between the page and the worker. Types only; nothing runs here.

/**
 * Page -> worker.
 * @typedef {{id: number, call: Call, args: any[]}} CallMessage  `args` are structured-cloned
 * @typedef {{abort: number}} AbortMessage                       stops the call with that id
 * @typedef {{ping: number}} PingMessage                         asks for a sign of life
 *
 * @typedef {"create"|"loadModel"|"loadModelFolder"|"cachedModels"|"deleteCachedModel"
 *   |"loadAdapter"|"reloadAdapter"|"inspectAdapter"|"removeAdapter"|"setCoefficient"|"setLaw"|"setMask"|"setEnabled"|"adapters"
 *   |"methods"|"setCachePolicy"|"generate"|"promptIds"|"memory"} Call
 *
 * Worker -> page.
 * @typedef {{code: string, message: string}} ErrorShape
 * @typedef {{id: number, value: any}} DoneMessage               the call returned
 * @typedef {{id: number, error: ErrorShape}} FailedMessage      the call threw
 * @typedef {{id: number, progress: any}} ProgressMessage        loading: {state, bytes, totalBytes}
 * @typedef {{id: number, step: any}} StepMessage                generating: one step
 * @typedef {{fatal: ErrorShape|null}} FatalMessage              this worker is of no use any more; null: the console says why
 * @typedef {{life: "lock"|"ping"}} LifeMessage                  first of all: how to learn that it ended
 * @typedef {{pong: number}} PongMessage                         a sign of life
 */

export {};
