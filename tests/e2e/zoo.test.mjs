// The zoo: an adapter is fetched when it is chosen, checked against the list, and there again at the next visit.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";

import { LONG, axe, finished, golden, greedy, loadModel, loadTinyModel, open, run, sheet, start, text, turn } from "./support.mjs";

const options = { timeout: 2 * LONG };
const { browser, proxy } = await start();
const real = JSON.parse(readFileSync(new URL("../../www/adapters/index.json", import.meta.url), "utf8")).adapters;

/** Rows as the zoo writes them, of adapters that fit the tiny model. */
const ROWS = [["tone", "lora"], ["tone", "ia3"], ["register", "ia3"]].map(([behaviour, method]) => {
  const [config, weights] = ["adapter_config.json", "adapter_model.safetensors"].map((name) => readFileSync(golden(`${method}/${name}`)));
  return {
    config, weights,
    item: {
      folder: `${behaviour}/${method}`, method, behaviour, parameters: 1234, bytes: weights.length,
      sha256: createHash("sha256").update(weights).digest("hex"),
    },
    row: {
      behaviour, name: method, method, seed: 5, shipped: true, parameters: 1234, steps: 40, rate: 0.0007, seconds: 61.4,
      measured: { coefficients: [-1, -0.5, 0, 0.5, 1], d_nats: [-1.25, 9, 0.5, 9, 2.75] }, failed: null,
    },
  };
});
/** What the page is told of all methods: the real ones, and these rows; one could not be trained. Its model is no model's name, since the tiny one has none. */
const known = JSON.parse(readFileSync(new URL("../../www/adapters/zoo.json", import.meta.url), "utf8"));
const listed = {
  ...known, model: null,
  rows: [...ROWS.map(({ item: { folder, method, behaviour, parameters } }, at) => ({
    folder, method, behaviour, parameters, trainsReverse: true, law: "linear", d: [-1.25, 0.5, 2.75], c: [-1, -0.5, 0, 0.5, 1], nats: [2, 1, 0, 1, 2].map((nats) => nats / (at + 1)),
    dose: { nats: 1, c: [-0.5 * (at + 1), 0.5 * (at + 1)], d: [-0.75, 0.5, 1.5 + at], note: null },
  })), { folder: "tone/oft", method: "oft", behaviour: "tone", parameters: 5000, failed: "its loss was not finite" }],
};
const json = (value) => ({ type: "application/json", body: JSON.stringify(value) });
const serve = (adapters) => {
  proxy.files.set("/adapters/index.json", json({ adapters }));
  proxy.files.set("/adapters/zoo.json", json(listed));
  for (const { item: { folder }, config, weights, row } of ROWS) {
    proxy.files.set(`/adapters/${folder}/adapter_config.json`, { type: "application/json", body: config });
    proxy.files.set(`/adapters/${folder}/adapter_model.safetensors`, { type: "application/octet-stream", body: weights });
    proxy.files.set(`/adapters/${folder}/row.json`, json(row));
  }
};
serve([...real.filter(({ method }) => !method), ...ROWS.map(({ item }) => item)]);
after(() => proxy.files.clear());

const TINY = greedy("&chat=0&p=abcabc&n=6&a=");
const LORA = "tone/lora/adapter_model.safetensors";
const card = (page, name) => page.locator(`.adapter[data-adapter="${name}"]`);
const here = (at) => at.locator(".facts").first().waitFor({ state: "attached" });
const fetched = () => proxy.log.map(({ path }) => path).filter((path) => /^\/adapters\/(tone|register)\//.test(path));
/** Opens the grid. */
const unfold = (page) => page.locator(".methods > summary").click();
/** The cell of a behaviour and a method. */
const cell = (page, name) => page.locator(`.all-methods button.cell[data-cell="${name}"]`);
/** Waits until the service worker has a copy of each. */
const copied = (page, ...paths) => page.waitForFunction(async (paths) => {
  const shell = await caches.open("shell");
  const copies = await Promise.all(paths.map((path) => shell.match(new URL(path, document.baseURI))));
  return copies.every(Boolean);
}, paths);

test("one is chosen, turned, and there again after a reload, and without a network", options, async () => {
  proxy.log.length = 0;
  const { page, context, complaints } = await open(browser, proxy.url + TINY);
  await loadTinyModel(page);
  await page.waitForFunction(() => navigator.serviceWorker.controller);
  assert.deepEqual(fetched(), [], "nothing of it comes unasked");
  assert.ok(!proxy.log.some(({ path }) => path.endsWith("zoo.json")), "nor does what is known of all methods");
  await unfold(page);
  const lora = card(page, "tone/lora");
  await cell(page, "tone/lora").filter({ hasText: "4.00" }).waitFor();
  assert.deepEqual(await page.locator(".all-methods thead th").allTextContents().then((names) => names.slice(0, 3)), ["Method", "tone", "register"]);
  assert.equal(await page.locator(".all-methods tr.method").count(), known.methods.length, "every method has its line");
  assert.ok((await page.locator(".all-methods tr.family").allTextContents()).some((name) => name.includes("adds a low-rank matrix")));
  // What is not there says why.
  assert.match(await cell(page, "register/lora").getAttribute("title"), /nobody has trained it/);
  assert.match(await cell(page, "tone/xlora").getAttribute("title"), /cannot be trained here/);
  // What is not there is no target for the mouse of a test, but says why all the same.
  await cell(page, "tone/oft").press("Enter");
  await page.locator(".methods-said", { hasText: "its loss was not finite" }).waitFor();
  await page.getByRole("button", { name: "More about LoRA", exact: true }).click();
  await page.locator("tr.more:visible", { hasText: /What it believes.*1,234 trained numbers; \d+ kB to download; at a dose of 1 nat d goes from −0\.75 \(c −0\.50\) to 1\.50 \(c 0\.50\)/ }).waitFor();

  await cell(page, "tone/lora").click();
  await here(lora);
  assert.deepEqual(new Set(fetched()), new Set(["adapter_config.json", "adapter_model.safetensors", "row.json"].map((name) => `/adapters/tone/lora/${name}`)));
  await lora.getByText("How it works").click();
  assert.deepEqual(await lora.locator(".trained tr").evaluateAll((rows) => rows.map(({ cells }) => [...cells].map((cell) => cell.textContent).join(" "))),
    ["behaviour tone", "learning rate 0.0007", "steps 40", "seconds of training 61", "seed 5", "trained numbers 1,234"]);
  const measured = lora.locator("table", { hasText: "nats per token" });
  assert.deepEqual(await measured.locator("tbody td").allTextContents(), ["−1.25", "+0.50", "+2.75"]);
  assert.equal(await lora.getByRole("link", { name: "How all of them compare" }).getAttribute("href"), "zoo.html");
  // Pressed again it goes, and once more it is back.
  assert.equal(await cell(page, "tone/lora").getAttribute("aria-pressed"), "true");
  await cell(page, "tone/lora").click();
  await lora.waitFor({ state: "detached" });
  await cell(page, "tone/lora").click();
  await here(lora);

  await turn(page, 4);
  await run(page);
  const steered = await text(page, "steered");
  assert.match(await page.locator(".changes").textContent(), /tone · lora \+4\.00/);
  await page.waitForFunction(() => location.hash.includes("a=tone/lora:4"));
  for (const gone of [false, true]) {
    proxy.gone = gone;
    try {
      await page.reload();
      await loadTinyModel(page);
      await here(lora);
      assert.equal(await lora.locator(".dose-box").inputValue(), "4");
      await run(page);
      assert.equal(await text(page, "steered"), steered);
      await copied(page, "adapters/index.json", "adapters/zoo.json", `adapters/${LORA}`, "adapters/tone/lora/adapter_config.json", "adapters/tone/lora/row.json");
    } finally {
      proxy.gone = false;
    }
    if (!gone) assert.deepEqual(complaints, []);
  }
  await lora.getByText("How it works").click();
  await lora.getByRole("button", { name: "Remove from the list" }).click();
  await page.waitForFunction(() => !location.hash.includes("tone/lora"));
  await context.close();
});

test("a key swaps the method, at the same dose if wished; beside another it takes no place", options, async () => {
  const { page, context, complaints } = await open(browser, proxy.url + greedy("&chat=0&p=abcabc&n=6&a="));
  await loadTinyModel(page);
  await page.keyboard.press("j");
  await here(card(page, "tone/lora"));
  await page.keyboard.press("j");
  await here(card(page, "tone/ia3"));
  await card(page, "tone/lora").waitFor({ state: "detached" });
  await page.locator(".methods-said", { hasText: "IA3 acts at 1.00, in the place of LoRA." }).waitFor();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "grid-filter");
  await page.keyboard.type("multiplies");
  assert.deepEqual(await page.locator(".all-methods .method-title").allTextContents(), ["IA3", "LN tuning"]);
  await page.locator("#methods-beside").check();
  await page.locator("#grid-filter").fill("");
  await cell(page, "tone/lora").click();
  await here(card(page, "tone/lora"));
  assert.equal(await page.locator("#adapter-list > *").count(), 2, "both act");
  await turn(page, 0, 1);
  await page.locator("#methods-beside").uncheck();
  await page.locator("#methods-sameDose").check();
  // IA3 at 1 moves the model by a nat, as LoRA does at a half.
  await cell(page, "tone/lora").click();
  await page.locator(".methods-said", { hasText: "LoRA acts at 0.50: there it moves the model as far as IA3 at 1.00, by 1.00 nats." }).waitFor();
  await page.waitForFunction(() => location.hash.includes("a=tone/lora:0.5"));
  // Side by side at one dose, each turned as far as its curve says; what acts stays as it is.
  const compare = page.locator("#methods-compare");
  for (const title of ["LoRA", "IA3"]) {
    assert.equal(await compare.isDisabled(), true);
    await page.getByLabel(`Compare ${title}`, { exact: true }).check();
  }
  await page.locator("#compare-nats").fill("none");
  await compare.click();
  await page.locator(".compare-methods .error", { hasText: "The dose is a number of nats" }).waitFor();
  await page.locator("#compare-nats").fill("1");
  await compare.click();
  await page.waitForFunction(() => {
    const columns = [...document.querySelectorAll("#runs-compare .compare-columns article")];
    return columns.length === 2 && columns.every((column) => column.querySelectorAll(":scope > .wrote .tok").length === 6);
  });
  await page.locator("#runs-compare .work").waitFor({ state: "hidden" });
  assert.deepEqual(await page.locator(".compare-columns h4").allTextContents(), ["LoRA at 0.50, 1 nat, d 1.50", "IA3 at 1.00, 1 nat, d 2.50"]);
  assert.deepEqual(await page.locator("#adapter-list > *").evaluateAll((cards) => cards.map((one) => [one.dataset.adapter, one.querySelector(".dose-box").value])), [["tone/lora", "0.5"], ["tone/ia3", "0"]]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what does not come, or is another file, is told; nothing is lost, and another try mends it", options, async () => {
  const { page, context } = await open(browser, "about:blank", { serviceWorkers: "block" });
  const weights = Buffer.from(ROWS[0].weights);
  weights[weights.length - 1] ^= 1;
  const answers = [
    (route) => route.abort(), (route) => route.fulfill({ status: 404, body: "" }),
    (route) => route.fulfill({ status: 200, body: weights.subarray(1) }), (route) => route.fulfill({ status: 200, body: weights }),
  ];
  await page.route(`**/adapters/${LORA}`, (route) => (answers.length ? answers.shift()(route) : route.continue()));
  await page.goto(proxy.url + TINY);
  await loadTinyModel(page);
  await unfold(page);
  await cell(page, "tone/ia3").click();
  await here(card(page, "tone/ia3"));
  const error = page.locator("#adapter-add > p.error");
  const [expected, found] = [ROWS[0].weights, weights].map((bytes) => createHash("sha256").update(bytes).digest("hex"));
  for (const says of [/no answer.*network$/, /404.*network$/, new RegExp(`expected ${weights.length.toLocaleString("en")} bytes.*hash-mismatch$`),
    new RegExp(`expected SHA-256 ${expected}, found ${found}.*hash-mismatch$`)]) {
    await cell(page, "tone/lora").click();
    await error.filter({ hasText: says }).waitFor();
    assert.ok((await error.textContent()).includes(LORA), "it names the file");
    assert.equal(await page.locator("#adapter-list > *").count(), 1, "the list is as it was");
    assert.equal(await card(page, "tone/ia3").locator("[role=switch]").isChecked(), true, "and acts");
  }
  await cell(page, "tone/lora").click();
  await here(card(page, "tone/lora"));
  assert.equal(await error.isHidden(), true);
  // From a link it has a card that says so, and comes at the second try.
  answers.push((route) => route.fulfill({ status: 200, body: weights }));
  await page.waitForFunction(() => location.hash.includes("tone/lora:1"));
  await page.reload();
  const lora = card(page, "tone/lora");
  await lora.locator(".error", { hasText: /expected SHA-256.*hash-mismatch/ }).waitFor();
  await lora.getByRole("button", { name: "Try again" }).click();
  await lora.locator(".error").waitFor({ state: "hidden" });
  await loadTinyModel(page);
  await here(lora);
  await context.close();
});

test("by keyboard alone, at 320 px, and clean for axe; the grid is one stop", options, async () => {
  const { page, context } = await open(browser, proxy.url + TINY, { viewport: { width: 320, height: 700 } });
  await loadTinyModel(page);
  await sheet(page);
  await page.locator(".methods > summary").focus();
  await page.keyboard.press("Enter");
  await cell(page, "register/ia3").filter({ hasText: "4.00" }).waitFor();
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.textContent);
  while (await focused() !== "More about LoRA") await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.ok(!(await focused()).includes(" for "), "the next stop is outside");
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await page.locator("tr.more:visible").waitFor();
  while (await focused() !== "More about IA3") await page.keyboard.press("ArrowDown");
  for (const key of ["ArrowRight", "ArrowRight", "Enter"]) await page.keyboard.press(key);
  await here(card(page, "register/ia3"));
  // It is chosen: the sheet closes, and the focus is on what says so.
  await page.locator("#adapters-sheet:not([open])").waitFor({ state: "attached" });
  assert.match(await focused(), /^Adapters, .*ia3.* \+1\.00$/i);
  await sheet(page);
  assert.match(await cell(page, "register/ia3").textContent(), /acts now/);
  const [scroll, inner] = await page.evaluate(() => [Math.max(document.documentElement.scrollWidth, document.querySelector("#adapters-sheet").scrollWidth), window.innerWidth]);
  assert.ok(scroll <= inner, `${scroll} > ${inner}`);
  assert.deepEqual(await axe(page), []);
  await context.close();
});

test("methods at equal dose: a sentence, a table, and marks that let an adapter act", options, async () => {
  const { page, context, complaints } = await open(browser, proxy.url + TINY);
  await page.locator("#equal > summary").click();
  await page.locator("#equal .says", { hasText: "At the same dose IA3 moves tone by 3.25 nats a token with 1,234 trained numbers. 1 has no equal dose" }).waitFor();
  assert.deepEqual(await page.locator("#equal .spot-place").evaluateAll((spots) => spots.map((spot) => [spot.dataset.folder, spot.getAttribute("role")])),
    [["tone/ia3", "button"], ["tone/lora", "button"], ["tone/oft", "img"]]);
  await page.locator("#equal .table summary").click();
  assert.match(await page.locator("#equal tbody tr").last().textContent(), /OFT.*5,000.*its loss was not finite/);
  await page.locator("#equal .spot-place[tabindex='0']").focus();
  for (const key of ["ArrowRight", "Enter"]) await page.keyboard.press(key);
  await card(page, "tone/lora").waitFor();
  assert.deepEqual(await axe(page, { runOnly: ["wcag2a", "wcag2aa", "best-practice"] }), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a list without a zoo shows no grid", options, async () => {
  serve(real.filter(({ method }) => !method));
  const { page, context } = await open(browser, proxy.url + greedy());
  await card(page, "tone-lora").waitFor();
  assert.equal(await page.locator(".methods").isHidden(), true);
  await context.close();
});

const zoo = real.filter(({ method }) => method);
test("one of the page's own acts on the model", { ...options, skip: zoo.length ? false : "there is no zoo yet" }, async () => {
  proxy.files.clear();
  const { page, context, complaints } = await open(browser, proxy.url + greedy("&n=12&a="));
  await loadModel(page);
  await unfold(page);
  const { folder } = zoo.find(({ method }) => method === "lora") ?? zoo[0];
  await cell(page, folder).click();
  await here(card(page, folder));
  await turn(page, -2);
  await run(page);
  const steered = await text(page, "steered");
  assert.notEqual(steered, await text(page, "base"));
  // Another takes its place in a running text, at the next token, and gives it back.
  const other = zoo.find((one) => one.behaviour === folder.split("/")[0] && one.folder !== folder).folder;
  await page.locator("#methods-beside").check();
  await cell(page, other).click();
  await here(card(page, other));
  await turn(page, 0, 1);
  await page.locator("#methods-beside").uncheck();
  await page.evaluate((other) => {
    const column = document.getElementById("steered-text");
    document.getElementById("run").click();
    const watch = new MutationObserver(() => {
      if (![3, 4, 5, 6].includes(column.querySelectorAll(".tok").length)) return;
      watch.disconnect();
      document.querySelector(`.all-methods button.cell[data-cell="${other}"]`).click();
    });
    watch.observe(column, { childList: true, subtree: true });
  }, other);
  await card(page, folder).waitFor({ state: "detached" });
  await finished(page);
  const turned = (name) => `${name.replace("/", " · ")} −2.00`;
  const changes = await page.locator(".changes").textContent();
  assert.ok(changes.includes(turned(folder)) && changes.indexOf(turned(other)) > changes.indexOf(turned(folder)), changes);
  await cell(page, folder).click();
  await here(card(page, folder));
  await page.waitForFunction((folder) => location.hash.includes(`a=${folder}:-2`), folder);
  await page.reload();
  await here(card(page, folder));
  await run(page);
  assert.equal(await text(page, "steered"), steered);
  assert.deepEqual(complaints, []);
  await context.close();
});
