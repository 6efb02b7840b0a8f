// The package without our page: the examples of docs/package.md, run as they stand: on a plain page, in a project
// of Vite, and in Node, the last two from what `npm pack` makes.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";

import { LONG, open, start, UPSTREAM } from "./support.mjs";

const { browser, proxy } = await start();
const repository = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));
const docs = readFileSync(repository("docs/package.md"), "utf8");
/** The `js` blocks, in order. */
const [onPage, inNode] = [...docs.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code);

/** A project that has installed the package from what npm packs. */
function project() {
  const folder = mkdtempSync(join(tmpdir(), "steering-playground-"));
  after(() => rmSync(folder, { recursive: true }));
  const npm = (...args) => execFileSync("npm", [...args, "--silent"], { cwd: folder, encoding: "utf8" }).trim();
  writeFileSync(join(folder, "package.json"), JSON.stringify({ name: "app", version: "1.0.0", type: "module" }));
  // It has no dependencies: nothing is fetched.
  npm("install", "--offline", "--no-audit", npm("pack", repository("pkg")));
  return folder;
}

/** What the messages of the example's worker say, in a page at this address. */
async function told(address) {
  const { page, context } = await open(browser, address);
  const told = await page.evaluate(async () => {
    const worker = await window.worker;
    const messages = [];
    return new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        messages.push(data);
        if (data.code || data.done) resolve(messages);
      };
      worker.onerror = ({ message }) => reject(new Error(message));
    });
  });
  await context.close();
  return told;
}

/** The texts of both lanes are there, and the adapter changes what is said. */
function speaks(messages) {
  const last = messages.at(-1);
  assert.equal(last.code, undefined, `${last.code}: ${last.message}`);
  assert.ok(messages.some(({ state }) => state === "downloading"), "no progress was told");
  const text = (lane) => messages.map((message) => message[lane] ?? "").join("");
  assert.ok(text("base").length > 20, "the base says nothing");
  assert.notEqual(text("base"), text("steered"), "the adapter changes nothing");
}

test("the package's example streams, in at most 30 lines", { timeout: 2 * LONG }, async () => {
  assert.ok(onPage.trimEnd().split("\n").length <= 30, "the example is longer than 30 lines");
  const page = '<!doctype html><title>example</title><script>window.worker = new Worker("./example.js", { type: "module" });</script>';
  proxy.files.set("/example.html", { type: "text/html", body: page });
  proxy.files.set("/example.js", { type: "text/javascript", body: onPage });
  speaks(await told(`${proxy.url}example.html`));
});

test("the same from npm in a project of Vite", { timeout: 2 * LONG }, async () => {
  const folder = project();
  const write = (name, text) => writeFileSync(join(folder, name), text);
  write("vite.config.js", docs.match(/`(export default \{ worker[^`]*)`/)?.[1] ?? "");
  write("vite.html", '<!doctype html><title>vite</title><script type="module" src="/main.js"></script>');
  write("main.js", `window.worker = ${docs.match(/`(new Worker\(new URL[^`]*)`/)?.[1]};`);
  write("worker.js", onPage.replace("./pkg/steering_playground.js", "steering-playground")
    .replaceAll('"./models/', '"/models/').replaceAll('"./adapters/', '"/adapters/'));
  write("build.mjs", `import { build } from ${JSON.stringify(process.env.VITE)};
await build({ logLevel: "warn", build: { rollupOptions: { input: "vite.html" } } });`);
  execFileSync(process.execPath, ["build.mjs"], { cwd: folder, stdio: "inherit" });
  const types = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
  const built = join(folder, "dist");
  for (const name of ["vite.html", ...readdirSync(join(built, "assets")).map((name) => `assets/${name}`)]) {
    proxy.files.set(`/${name}`, { type: types[extname(name)], body: readFileSync(join(built, name)) });
  }
  speaks(await told(`${proxy.url}vite.html`));
});

test("the same from npm in Node, without a GPU", { timeout: 2 * LONG }, async () => {
  const folder = project();
  const adapter = join(folder, "adapter");
  mkdirSync(adapter);
  const fetched = async (from, to) => {
    writeFileSync(to, Buffer.from(await (await fetch(new URL(from, UPSTREAM))).arrayBuffer()));
  };
  for (const name of ["adapter_config.json", "adapter_model.safetensors"]) {
    await fetched(`adapters/tone-lora/${name}`, join(adapter, name));
  }
  await fetched("models/SmolLM2-135M-Instruct.Q4_1.gguf", join(folder, "model.gguf"));
  writeFileSync(join(folder, "example.js"), inNode);
  const said = execFileSync(process.execPath, ["example.js", "model.gguf", "adapter"], { cwd: folder, encoding: "utf8" });
  const lines = said.trimEnd().split("\n");
  assert.equal(new Set(lines).size, 3, `three texts for three coefficients: ${said}`);
});
