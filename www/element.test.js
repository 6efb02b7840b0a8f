// node --test www
// <steering-playground> in a document of stand-ins: what it opens, what it says to its frame, whom it hears.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { runInNewContext } from "node:vm";

const HERE = "https://blog.example/post/";

/** An element with these attributes in the page at HERE. @param {Record<string, string>} attributes */
function element(attributes) {
  /** @type {{message: any, origin: string}[]} */
  const said = [];
  /** @type {{type: string, detail: any}[]} */
  const told = [];
  const inside = { postMessage: (/** @type {any} */ message, /** @type {string} */ origin) => said.push({ message: { ...message }, origin }) };
  const frame = { style: {}, contentWindow: inside, src: "", title: "", allow: "" };
  /** @type {Set<(event: any) => void>} */
  const hear = new Set();
  /** @type {any} */
  let Kind;
  class HTMLElement {
    style = {};
    isConnected = true;
    attachShadow(/** @type {any} */ { mode }) { assert.equal(mode, "closed"); return { append() {} }; }
    getAttribute(/** @type {string} */ name) { return attributes[name] ?? null; }
    dispatchEvent(/** @type {any} */ event) { told.push({ type: event.type, detail: { ...event.detail } }); }
  }
  runInNewContext(readFileSync(new URL("./element.js", import.meta.url), "utf8"), {
    HTMLElement, HTMLScriptElement: class {}, URL, URLSearchParams, queueMicrotask,
    CustomEvent: class { constructor(/** @type {string} */ type, /** @type {any} */ { detail }) { Object.assign(this, { type, detail }); } },
    document: { currentScript: null, querySelector: () => null, baseURI: HERE, createElement: () => frame },
    addEventListener: (/** @type {string} */ _name, /** @type {any} */ one) => hear.add(one), removeEventListener: (/** @type {string} */ _name, /** @type {any} */ one) => hear.delete(one),
    customElements: { get: () => undefined, define: (/** @type {string} */ _name, /** @type {any} */ given) => { Kind = given; } },
  });
  const made = new Kind();
  const message = (/** @type {any} */ data, /** @type {any} */ source = inside, origin = "https://play.example") => { for (const one of [...hear]) one({ source, origin, data }); };
  return { made, frame, inside, said, told, message };
}

test("it opens addresses of pages, and nothing that runs", () => {
  const { made, frame } = element({ src: "https://play.example/p/?x#y", adapter: "a&b=c:1", prompt: "<b>#&", c: "1e999" });
  made.connectedCallback();
  const url = new URL(frame.src);
  assert.deepEqual([url.origin, url.pathname, url.search], ["https://play.example", "/p/", "?embed"]);
  const hash = new URLSearchParams(url.hash.slice(1));
  assert.deepEqual([hash.get("p"), hash.get("a"), hash.get("b"), frame.allow], ["<b>#&", "a%26b%3Dc%3A1:1", null, "clipboard-write"]);
  for (const src of ["javascript:alert(1)", "data:text/html,x", "blob:https://blog.example/1", "file:///etc/passwd"]) {
    const other = element({ src });
    assert.throws(() => other.made.connectedCallback(), /src is no address of a page/, src);
    assert.equal(other.frame.src, "", src);
  }
});

test("it speaks to the page's origin alone, and hears its own frame alone, while the page is in it", () => {
  const { made, inside, said, told, message } = element({ src: "https://play.example/" });
  made.connectedCallback();
  made.run();
  assert.deepEqual(said, [], "before the page is ready nothing is said");
  message({ steering: 1, type: "ready", prompt: "forged" }, {});
  message({ steering: 1, type: "ready", prompt: "forged" }, null);
  message({ steering: 1, type: "ready", prompt: "forged" }, inside, "https://evil.example");
  for (const odd of [null, undefined, 7, "ready", { steering: 2, type: "ready" }, { steering: 1, type: "click" }, { steering: 1, type: "__proto__" }]) message(odd);
  assert.deepEqual([said, told], [[], []]);
  message({ steering: 1, type: "hello" });
  message({ steering: 1, type: "ready", prompt: "Hi" });
  made.run();
  assert.deepEqual(told, [{ type: "ready", detail: { prompt: "Hi" } }]);
  assert.ok(said.length >= 2 && said.every(({ origin, message: { steering } }) => origin === "https://play.example" && steering === 1), JSON.stringify(said));
  made.disconnectedCallback();
  message({ steering: 1, type: "change" });
  assert.equal(told.length, 1);
});
