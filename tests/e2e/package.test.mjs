// The package without our page: the example of docs/package.md, run as it stands.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { LONG, open, start } from "./support.mjs";

const { browser, proxy } = await start();

/** The first `js` block. */
function example() {
  const text = readFileSync(new URL("../../docs/package.md", import.meta.url), "utf8");
  return text.match(/```js\n([\s\S]*?)```/)?.[1] ?? "";
}

test("the package's example streams, in at most 30 lines", { timeout: 2 * LONG }, async () => {
  const code = example();
  assert.ok(code.includes("loadModel") && code.includes("for await"), "docs/package.md has no example");
  assert.ok(code.trimEnd().split("\n").length <= 30, "the example is longer than 30 lines");
  proxy.files.set("/example.html", { type: "text/html", body: "<!doctype html><title>example</title>" });
  proxy.files.set("/example.js", { type: "text/javascript", body: code });
  const { page, context } = await open(browser, `${proxy.url}example.html`);
  const messages = await page.evaluate(() => new Promise((resolve, reject) => {
    const worker = new Worker("./example.js", { type: "module" });
    const messages = [];
    worker.onmessage = ({ data }) => {
      messages.push(data);
      if (data.code || data.done) resolve(messages);
    };
    worker.onerror = ({ message }) => reject(new Error(message));
  }));
  const last = messages.at(-1);
  assert.equal(last.code, undefined, `${last.code}: ${last.message}`);
  assert.ok(messages.some(({ state }) => state === "downloading"), "no progress was told");
  const text = (lane) => messages.map((message) => message[lane] ?? "").join("");
  assert.ok(text("base").length > 20, "the base says nothing");
  assert.notEqual(text("base"), text("steered"), "the adapter changes nothing");
  await context.close();
});
