// node --test www
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { EN } from "./words/en.js";
import { listed, parts, say } from "./say.js";

const HERE = new URL("./", import.meta.url);

/** The page's own scripts and its document. */
function sources() {
  const files = readdirSync(HERE, { recursive: true }).map(String)
    .filter((name) => /\.(js|html)$/.test(name) && !/\.test\.js$|^words\/|^pkg\//.test(name));
  return files.map((name) => ({ name, text: readFileSync(new URL(name, HERE), "utf8") }));
}

const SPACE = /(?:\s|\/\/.*|\/\*[^]*?\*\/)+/y;
const QUOTED = /(["'])((?:\\.|(?!\1)[^\\])*)\1/y;
const REGEX = /\/(?:\\.|\[(?:\\.|[^\]\\])*\]|[^/\\[\n])+\/\w*/y;
const CHUNK = /((?:\\.|\$(?!\{)|[^\\`$])*)(`|\$\{)/y;
const WORD = /[\w$]+|[^]/y;
/** What stands before a regular expression and not before a division. */
const OPERAND = /(?:^|[(,=:[!&|?{};+>]|\b(?:return|typeof|case)) ?$/;
/** In a template's text, what stands for a value. */
const VALUE = "\0";

/**
 * The texts of string and template literals, each with the end of the code before it, in which
 * literals are empty. Knows as much of the language as this page uses.
 * @param {string} source
 * @returns {{text: string, before: string}[]}
 */
function literals(source) {
  /** @type {{text: string, before: string}[]} */
  const found = [];
  /** Templates in whose values we are, and how many braces are open there. @type {{text: string, before: string, depth: number}[]} */
  const open = [];
  let [at, code] = [0, ""];
  const next = (/** @type {RegExp} */ pattern) => {
    pattern.lastIndex = at;
    const match = pattern.exec(source);
    if (match) at = pattern.lastIndex;
    return match;
  };
  const chunk = (/** @type {{text: string, before: string, depth: number}} */ template) => {
    const [, text, end] = /** @type {RegExpExecArray} */ (next(CHUNK));
    template.text += text;
    if (end === "${") return open.push(Object.assign(template, { text: template.text + VALUE }));
    found.push(template);
    code += '""';
  };
  while (at < source.length) {
    if (next(SPACE)) code += code.endsWith(" ") ? "" : " ";
    const [start] = source.slice(at);
    if (start === "`") {
      at += 1;
      chunk({ text: "", before: code, depth: 0 });
    } else if (start === "}" && open.at(-1)?.depth === 0) {
      at += 1;
      chunk(/** @type {any} */ (open.pop()));
    } else if (start === "/" && OPERAND.test(code) && next(REGEX)) code += '""';
    else {
      const quoted = next(QUOTED);
      if (quoted) found.push({ text: quoted[2], before: code });
      const template = open.at(-1);
      if (template) template.depth += { "{": 1, "}": -1 }[start] ?? 0;
      code += quoted ? '""' : next(WORD)?.[0] ?? "";
    }
    code = code.slice(-200);
  }
  return found;
}

/** Two words, of which one may be a value, or one that begins a sentence. */
const READS = /\p{L}[.,;:!?)]* \(?[\p{L}\0]|\0[.,;:!?)]* \(?\p{L}|\b\p{Lu}\p{Ll}{2,}/u;

/** Literals that look like words for a reader and are none, and why. @type {[RegExp, string][]} */
const NO_WORDS = [
  [/^(Enter|Escape|Tab|Arrow\w+|Files|Shift|Home|End)$/, "names of keys and of what is dropped, as the browser has them"],
  [/^SmolLM2-135M-Instruct$/, "a model's name"],
  [/^\.\.\/models\//, "a model's address"],
  [/^(python -c |save_file\()/, "a command for a shell, and what Python does in it"],
  [/^Tcn0123456789/, "what raised signs are on the line"],
  [/^http:\/\/www\.w3\.org\//, "the name of a language of elements"],
  [/^Steering playground$/, "the page's name, where no table is"],
  [/^<steering-playground>/, "a developer's error"],
  [/^[A-Z]\w+Error$/, "names of kinds of error"],
  [/^(Tell me|What makes|What is the weather)/, "prompts: words for the model, which reads English"],
];

/** Where a literal is not for a reader: a developer's error, a selector, a style. */
const ELSEWHERE = /(?:\bnew Error|\b(?:querySelector(?:All)?|closest|matches|matchMedia|setProperty))\( ?$/;

/** @param {string} source */
const words = (source) => literals(source)
  .filter(({ text, before }) => READS.test(text) && !ELSEWHERE.test(before) && !NO_WORDS.some(([pattern]) => pattern.test(text)))
  .map(({ text }) => text.replaceAll(VALUE, "{}"));

test("words for a reader are found, and nothing else", () => {
  const found = words(`
    // a comment with words, and "these too"
    const pattern = /a pattern with "words in it/.test(x) / 2 / 3; /* more "words here" */
    h("p.hint", { onclick: () => say("adapters.empty") }, "a planted sentence");
    h("p", {}, \`\${n} of \${list.map((one) => \`inner \${{ a: one }.a} text\`)}\`, 'Planted', "it's \\"so\\", they say");
    throw new Error("a developer's error"); root.querySelector("p.a b"); key === "Enter"; path(\`\${a}/\${b} \${c}\`);
  `);
  assert.deepEqual(found, ["a planted sentence", "inner {} text", "{} of {}", "Planted", 'it\'s \\"so\\", they say']);
});

/** Scripts whose texts are Python or SVG; their words for a reader are in the table. */
const CODE = /^(state\/python|plots\/picture)\.js$/;

test("there are no words for a reader outside the table", () => {
  const scripts = sources().filter(({ name }) => name.endsWith(".js") && !CODE.test(name.replaceAll("\\", "/")));
  assert.ok(scripts.length > 10);
  assert.deepEqual(scripts.flatMap(({ name, text }) => words(text).map((found) => `${name}: ${found}`)), []);
});

test("a number chooses its form and is written as the language writes it", () => {
  assert.equal(say("status.stopped", { n: 1 }), "Stopped after 1 token.");
  assert.equal(say("status.stopped", { n: 1234 }), "Stopped after 1,234 tokens.");
  assert.equal(say("status.stopped", { n: 0 }), "Stopped after 0 tokens.");
  assert.equal(listed(["a", "b", "c"]), "a, b, and c");
});

test("what is missing is told, not shown", () => {
  assert.throws(() => say("no.such.key"), /no "no\.such\.key"/);
  assert.throws(() => say("status.stopped", {}), /wants \{n\}/);
});

test("elements stand where their names do", () => {
  const element = /** @type {any} */ ({});
  assert.deepEqual(parts("status.stopped", { n: /** @type {any} */ (element) }).includes(element), true);
});

test("every key that is asked for is there, and every one that is there is asked for", () => {
  const all = sources();
  const text = all.map((file) => file.text).join("\n");
  // Of a choice, `say(many ? "a.b" : "a.c")`, both.
  const inScripts = all.filter(({ name }) => name.endsWith(".js")).flatMap((file) => literals(file.text))
    .filter(({ before }) => /\b(?:say|parts)\((?:[^(),]*[?:])? ?$/.test(before)).map((literal) => literal.text).filter((key) => !key.includes(VALUE));
  const inPage = [...text.matchAll(/data-(?:say|label|title)="([\w.-]+)"/g)].map(([, key]) => key);
  const asked = new Set([...inScripts, ...inPage]);
  const missing = [...asked].filter((key) => !(key in EN));
  assert.deepEqual(missing, []);
  // Keys made of two parts: `say(`run.ended.${why}`)`.
  const stems = [...text.matchAll(/(?:say|parts)\(\s*`([\w.-]+)\$\{/g)].map(([, stem]) => stem);
  const idle = Object.keys(EN).filter((key) => !asked.has(key) && !text.includes(`"${key}"`) && !stems.some((stem) => key.startsWith(stem)));
  assert.deepEqual(idle, []);
});

test("the coefficient has one name, and the dose is another thing", () => {
  const about = Object.entries(EN).filter(([key]) => !/^(?:(?:word|stats)\.dose|dose\.|keys\.panels$)/.test(key));
  assert.doesNotMatch(JSON.stringify(about.map(([, message]) => message)), /\b(?:dose|strength)s?\b/i);
});

test("the document has the words of the table, for whoever reads it before its scripts", () => {
  const html = readFileSync(new URL("index.html", HERE), "utf8");
  const spoken = [...html.matchAll(/<(\w+)[^>]*\sdata-say="([\w.-]+)"[^>]*>(.*?)<\/\1>/gs)];
  assert.ok(spoken.length > 30, `${spoken.length}`);
  for (const [, , key, inside] of spoken) {
    const terms = [...inside.matchAll(/data-term="(\w+)">([^<]*)</g)];
    const words = say(key, Object.fromEntries(terms.map(([, name, text]) => [name, text])));
    assert.equal(inside.replace(/<[^>]*>/g, ""), words, key);
  }
  for (const [, label, key] of html.matchAll(/aria-label="([^"]*)" data-label="([\w.-]+)"/g)) assert.equal(label, say(key), key);
  // What is not named by a key would be words outside the table.
  const body = html.slice(html.indexOf("<body>")).replace(/<noscript>.*?<\/noscript>|<!--.*?-->|<kbd>.*?<\/kbd>/gs, "");
  const rest = body.replace(/<(\w+)[^>]*\sdata-say="[\w.-]+"[^>]*>.*?<\/\1>/gs, "").replace(/<[^>]*>/g, "").replace(/[\s/]+/g, "");
  assert.equal(rest, "");
});
