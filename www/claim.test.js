// node --test www
import assert from "node:assert/strict";
import { after, test } from "node:test";

import { claim } from "./claim.js";

/** Locks as a browser has them, one holder for each name. */
function locks() {
  const queues = new Map();
  let holders = 0;
  return {
    request(name, { signal, ifAvailable }, held) {
      if (ifAvailable && holders > 0) return Promise.resolve(held(null));
      const before = queues.get(name) ?? Promise.resolve();
      const stopped = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      stopped.catch(() => {});
      const hold = () => {
        holders += 1;
        return Promise.resolve(held({ name })).finally(() => { holders -= 1; });
      };
      if (ifAvailable) holders += 1;
      const mine = Promise.race([before, stopped]).then(hold).finally(() => { if (ifAvailable) holders -= 1; });
      queues.set(name, Promise.all([before, mine.catch(() => {})]));
      return mine;
    },
  };
}
// Node does not wait for the time that a signal has.
const alive = setInterval(() => {}, 1000);
after(() => clearInterval(alive));
const given = (value) => Object.defineProperty(globalThis, "navigator", { value, configurable: true });

test("one tab has it until it leaves, and only then another one", async () => {
  given({ locks: locks() });
  const [first, second] = [claim("training"), claim("training")];
  assert.equal(first.isMine(), false);
  assert.deepEqual(await Promise.all([first.take(), first.take()]), [true, true]);
  assert.deepEqual([await first.take(), await second.take(), second.isMine()], [true, false, false]);
  // One that lets go just now, as a page that is loaded again.
  const waiting = second.take();
  first.leave();
  assert.deepEqual([await waiting, first.isMine(), second.isMine()], [true, false, true]);
  second.leave();
  second.leave();
  assert.deepEqual([second.isMine(), await claim("training").take()], [false, true]);
});

test("without locks, or where they are denied, every tab has it", async () => {
  const denied = { locks: { request: async () => { throw Object.assign(new Error("denied"), { name: "SecurityError" }); } } };
  for (const browser of [{}, denied]) {
    given(browser);
    const one = claim("training");
    assert.deepEqual([await one.take(), one.isMine()], [true, true]);
    one.leave();
    assert.equal(one.isMine(), false);
  }
});
