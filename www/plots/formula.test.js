// node --test www
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { readFormula, readLine, symbolsOf } from "./formula.js";
import { cells } from "./weight.js";

const METHODS = new URL("../../src/methods/", import.meta.url);

/** A section of the head of a method's file, as the engine's card has it. @param {string} source @param {string} heading */
function section(source, heading) {
  const lines = source.split("\n").filter((line) => line.startsWith("//!")).map((line) => line.replace(/^\/\/! ?/, ""));
  const start = lines.indexOf(`# ${heading}`) + 1;
  if (!start) return "";
  const rest = lines.slice(start);
  const end = rest.findIndex((line) => line.startsWith("# "));
  return rest.slice(0, end < 0 ? undefined : end).filter((line) => !line.startsWith("```")).join("\n").trim();
}

const HEADS = readdirSync(METHODS).map(String).filter((name) => name.endsWith(".rs"))
  .map((name) => ({ name, source: readFileSync(new URL(name, METHODS), "utf8") })).filter(({ source }) => section(source, "Formula"));

/** @param {import("./formula.js").MathNode|string} node @returns {string} */
const shown = (node) => {
  if (typeof node === "string") return node;
  const parts = node.children.map(shown);
  const [one, two, three] = parts;
  switch (node.tag) {
    case "mfrac": return `{${one} over ${two}}`;
    case "msub": return `${one}[${two}]`;
    case "msup": return `${one}^${two}`;
    case "msubsup": return `${one}[${two}]^${three}`;
    case "munder": return `${one}<${two}>`;
    case "msqrt": return `√{${parts.join("")}}`;
    case "mover": return `${one} with ${two}`;
    default: return parts.join("");
  }
};
const read = (/** @type {string} */ line, /** @type {import("./formula.js").Live} */ live = {}) => {
  const tree = readLine(line, live);
  assert.ok(tree, line);
  return tree.map(shown).join("").replaceAll("\u00a0", " ").replace(/< (\S+) >/g, "<$1>");
};

test("every line of every method's formula and invariant is read", () => {
  assert.ok(HEADS.length >= 50, `${HEADS.length} methods`);
  const lines = HEADS.flatMap(({ name, source }) => ["Formula", "Invariant"].flatMap((heading) => {
    const text = section(source, heading);
    return text ? readFormula(text).map((line) => ({ name, ...line })) : [];
  }));
  const unread = lines.filter(({ tree }) => !tree);
  console.log(`${lines.length - unread.length} of ${lines.length} lines of ${HEADS.length} methods are read`);
  assert.deepEqual(unread.map(({ name, text }) => `${name}: ${text}`), []);
});

test("what is written on a line becomes what a book prints", () => {
  for (const [line, expected] of [
    ["y = W x + c·s·(B A x + b_B),   s = α/r, with rsLoRA α/√r", "y=Wx+c·s·(BAx+b[B]),s={α over r}, with rsLoRA {α over √{r}}"],
    ["H_k = I − 2·u_k u_kᵀ/‖u_k‖²", "H[k]=I−2·{u[k]u[k]^T over ‖u[k]‖^2}"],
    ["R = (I − Q)(I + Q)⁻¹", "R=(I−Q)(I+Q)^−1"],
    ["x' = h'_L·‖h_L‖ / ‖h'_L‖", "x^′=h[L]^′·{‖h[L]‖ over ‖h[L]^′‖}"],
    ["y = W x + c·Σ_k (λ/r) / (‖A_k‖·‖B_k‖) · B_k", "y=Wx+c·∑[k]{{λ over r} over ‖A[k]‖·‖B[k]‖}·B[k]"],
    ["a(c) = α^c cos cθ", "a(c)=α^ccoscθ"],
    ["h/√(mean h² + ε) ∘ γ(c)", "{h over √{meanh^2+ε}}∘γ(c)"],
    ["u_k−1 = f(z_{k+1})", "u[k−1]=f(z[k+1])"],
    ["e^(cA), ŵ_s and v̂", "e^cA,w with ^[s] and v with ^"],
    ["attn₀ + c·(attn_with_kv − attn₀)", "attn[0]+c·(attn[with kv]−attn[0])"],
    ["besides a bias, and more", "besides a bias, and more "],
    ["softmax(·/T)", "softmax({· over T})"],
  ]) assert.equal(read(line), expected, line);
});

test("what cannot be read is said, not guessed", () => {
  for (const line of ["y = W x)", "(x", "‖x", "/x", "√", "x ÷ y", "a/ "]) assert.equal(readLine(line), null, line);
});

test("a number takes the place of c, and shapes stand below their symbols, once", () => {
  const live = { c: "(−0.5)", below: { W: "576×576", A: "8×576", u_k: "576" } };
  assert.equal(read("y = W x + c·B A x", live), "y=W<576×576>x+(−0.5)·BA<8×576>x");
  assert.equal(read("W' = W", live), "W^′<576×576>=W");
  assert.equal(read("u_k", live), "u[k]<576>");
  assert.equal(read("l_c", live), "l[c]", "an index stays one");
});

test("symbols are found beside the names of tensors", () => {
  const lora = HEADS.find(({ name }) => name === "lora.rs");
  assert.deepEqual(symbolsOf(section(lora?.source ?? "", "Shapes")).slice(0, 2), [["lora_A.weight", "A"], ["lora_B.weight", "B"]]);
  assert.ok(HEADS.filter(({ source }) => symbolsOf(section(source, "Shapes")).length).length > 25);
});

test("a change is squares of two signs and eight strengths, as strong as the root", () => {
  const list = cells([1, 0, -0.25, 1], [2, 2]);
  assert.deepEqual(list, [
    { sign: "plus", level: 8, d: "M0,0h1v1h-1zM1,1h1v1h-1z" },
    { sign: "minus", level: 4, d: "M0,1h1v1h-1z" },
  ]);
  assert.deepEqual(cells([0, 0], [1, 2]), []);
  assert.deepEqual(cells([1e-9, 1], [1, 2]).map(({ level }) => level), [1, 8]);
});
