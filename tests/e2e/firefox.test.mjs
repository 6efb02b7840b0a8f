// The page in Firefox.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { LONG, greedy, launchFirefox, startProxy, until } from "./support.mjs";

let browser;
let proxy;
before(async () => {
  browser = await launchFirefox();
  proxy = await startProxy();
});
after(async () => {
  await browser?.close();
  proxy?.close();
});

test("the page opens without a complaint", { timeout: LONG }, async () => {
  const page = await browser.newPage();
  const complaints = [];
  page.on("pageerror", ({ message }) => complaints.push(`page error: ${message}`));
  page.on("console", (message) => {
    if (["error", "warn"].includes(message.type())) complaints.push(`${message.type()}: ${message.text()}`);
  });
  await page.goto(proxy.url + greedy());
  await until(page, () => /CPU/.test(document.querySelector(".device")?.textContent ?? ""));
  assert.deepEqual(complaints, []);
  await page.close();
});
