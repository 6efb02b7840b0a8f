// node --test www
// That no text becomes markup, wherever it is from, and that the page's own policy would not run it.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const here = (/** @type {string} */ path) => readFileSync(new URL(path, import.meta.url), "utf8");
const files = readdirSync(new URL(".", import.meta.url), { recursive: true }).map(String).map((name) => name.replaceAll("\\", "/"));
const scripts = files.filter((name) => name.endsWith(".js") && !name.endsWith(".test.js") && !/^(pkg|node_modules)\//.test(name));

test("no script makes markup, or a program, of a text", () => {
  assert.ok(scripts.length > 100, "the scripts are there");
  const sinks = /\b(?:innerHTML|outerHTML|insertAdjacentHTML|setHTML\w*|parseFromString|createContextualFragment|srcdoc|document\.write(?:ln)?|new Function|importScripts)\b|\beval\(|\bset(?:Timeout|Interval)\(\s*["'`]/;
  // What state/python.js writes is Python, which has an eval() of another kind.
  for (const name of scripts) assert.doesNotMatch(here(name).replaceAll("model.eval()", ""), sinks, name);
});

test("no element gets a listener or an address that a text names", () => {
  // What is made a link or a source, in all of the page: none of it is from a file, a model or a lesson.
  const known = {
    "panels/zoo.js": ['href: "zoo.html"'], // beside the page
    "panels/lesson-list.js": ['href: "guide', "href: lessons.addressOf"], // the file of a lesson that comes with the page
    "panels/pairs.js": ['href: "guide'],
    "panels/work.js": ["href: address"], // a blob of the page's own
    "panels/method.js": ["href: method.paper"], // compiled in: https, as a test of the engine asks
  };
  for (const name of scripts) {
    const found = here(name).match(/\b(?:href|src|action|formAction): [\w."]+(?:\.html")?/g) ?? [];
    assert.deepEqual(found, /** @type {Record<string, string[]>} */ (known)[name] ?? [], name);
    // But in the two places that make elements, whose names of attributes are written in the page's own scripts.
    if (!["dom.js", "plots/svg.js", "plots/mathml.js"].includes(name)) assert.doesNotMatch(here(name), /setAttribute\((?!")/, name);
  }
});

test("the page's policy runs no script but its own, and frames, forms and plug-ins not at all", () => {
  const [, policy = ""] = /http-equiv="Content-Security-Policy"\s+content="([^"]*)"/.exec(here("index.html")) ?? [];
  const rules = Object.fromEntries(policy.split(";").map((rule) => rule.trim().split(/\s+/)).map(([name, ...values]) => [name, values.join(" ")]));
  assert.deepEqual(rules, {
    "default-src": "'none'", "script-src": "'self' 'wasm-unsafe-eval'", "style-src": "'self'", "img-src": "'self'", "font-src": "'none'",
    "connect-src": "'self' https: http://localhost:* http://127.0.0.1:*", "worker-src": "'self'", "manifest-src": "'self'",
    "base-uri": "'none'", "form-action": "'none'",
  });
  for (const page of ["index.html", "zoo.html"]) {
    const document = here(page);
    const policyAt = document.indexOf("Content-Security-Policy");
    for (const first of ["<script", "<link", "<style"]) assert.ok(!document.includes(first) || policyAt < document.indexOf(first), `${page}: the policy comes before ${first}`);
    assert.doesNotMatch(document, /<script(?![^>]* src=)|\son\w+=|javascript:/i, page);
  }
});

test("whatever is asked goes to whom the page names: no cookie, no secret and no name of anybody is in a script", () => {
  for (const name of scripts) assert.doesNotMatch(here(name), /document\.cookie|credentials:|Authorization|Bearer |sendBeacon|WebSocket|EventSource|RTCPeerConnection|XMLHttpRequest/, name);
  for (const name of ["web/hub.js", "web/shim.js"]) assert.doesNotMatch(here(`../src/${name}`), /credentials:|Authorization|Bearer |cookie/i, name);
});
