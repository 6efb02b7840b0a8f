// What the browser keeps once, and which tab has it: a lock of that name, which ends with the tab that holds it.

/** How long a tab that is about to end, as one that is loaded again, may take to let go, in ms. */
const PATIENCE_MS = 500;

/** @param {string} name */
export function claim(name) {
  /** What lets go of it. @type {(() => void)|null} */
  let leaving = null;
  /** @type {Promise<boolean>|null} */
  let taking = null;

  /** @returns {Promise<boolean>} */
  const ask = () => new Promise((resolve) => {
    const held = () => new Promise((leave) => {
      leaving = () => { leaving = null; leave(undefined); };
      resolve(true);
    });
    // A browser without locks, or one that denies them, knows of no other tab.
    const without = () => { leaving = () => { leaving = null; }; resolve(true); };
    // The time runs only once another tab is known to have it: a busy browser is slow to answer.
    const wait = () => {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      navigator.locks.request(name, { signal }, held).catch(() => (signal.aborted ? resolve(false) : without()));
    };
    try {
      navigator.locks.request(name, { ifAvailable: true }, (lock) => (lock ? held() : wait())).catch(without);
    } catch {
      without();
    }
  });

  return {
    /** Whether this tab has it. */
    isMine: () => leaving !== null,
    /** Takes it, until it is left. @returns {Promise<boolean>} false where another tab has it */
    async take() {
      if (leaving) return true;
      taking ??= ask().finally(() => { taking = null; });
      return taking;
    },
    leave: () => leaving?.(),
  };
}
