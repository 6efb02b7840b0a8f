// Elements of a formula.
import { readFormula } from "./formula.js";

const NAMESPACE = "http://www.w3.org/1998/Math/MathML";

/** @param {import("./formula.js").MathNode|string} node @returns {Node} */
function element(node) {
  if (typeof node === "string") return document.createTextNode(node);
  const made = document.createElementNS(NAMESPACE, node.tag);
  for (const [name, value] of Object.entries(node.attributes ?? {})) made.setAttribute(name, value);
  made.append(...node.children.map(element));
  return made;
}

/**
 * The lines of a formula, each as mathematics; a line that cannot be read stands as the text that it is.
 * @param {string} text @param {import("./formula.js").Live} [live] @returns {Element[]}
 */
export const formulaLines = (text, live) => readFormula(text, live).map(({ text: line, tree }) => {
  if (!tree) {
    const plain = document.createElement("code");
    plain.textContent = line;
    return plain;
  }
  const math = element({ tag: "math", attributes: { display: "block", alttext: line }, children: [{ tag: "mrow", children: tree }] });
  return /** @type {Element} */ (math);
});
