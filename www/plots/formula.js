// A formula as the heads of src/methods write it, into what MathML needs: plain objects, no elements. Pure. What it
// cannot read it says so of, and the page shows the text as it is.

/**
 * An element to be, or a text.
 * @typedef {{tag: string, attributes?: Record<string, string>, children: (MathNode|string)[]}} MathNode
 *
 * What a formula is shown with: a number in the place of c, and what is written below symbols, once each.
 * @typedef {{c?: string, below?: Record<string, string>}} Live
 */

/** @param {string} tag @param {(MathNode|string)[]} children @param {Record<string, string>} [attributes] @returns {MathNode} */
const node = (tag, children, attributes) => ({ tag, children, ...(attributes ? { attributes } : {}) });
/** One node for several. @param {MathNode[]} nodes */
const row = (nodes) => (nodes.length === 1 ? nodes[0] : node("mrow", nodes));
const thin = () => node("mspace", [], { width: "0.17em" });

/** Written above: what they are when they follow a letter, and letters that have them. @type {Record<string, string>} */
const ACCENTS = { "\u0302": "^", "\u0303": "~" };
/** What stands raised or lowered, and what it is on the line. */
const RAISED = "ᵀᶜⁿ⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺";
const RAISED_AS = "Tcn0123456789−+";
const LOWERED = "₀₁₂₃₄₅₆₇₈₉";
/** Functions and names of several letters. Other words are the language's. */
const NAMES = new Set(["attn", "bank", "blockdiag", "cos", "diag", "gate", "hd", "logits", "max", "mean", "min", "mod", "norm", "piece", "scaling", "sin", "softmax", "tan", "tanh", "turn"]);
const OPERATORS = "=+−-·∘⊙⊗×←<>≤≥→,;:…*~";
/** @type {Record<string, string>} */
const CLOSES = { "(": ")", "[": "]", "⌈": "⌉", "‖": "‖", "|": "|" };

const TOKEN = new RegExp([
  /(?<space> +)/u, /(?<number>\d+(?:\.\d+)?(?:e-?\d+)?)/u, /(?<quote>"[^"]*"|`[^`]*`)/u, /(?<prime>')/u,
  /_(?:\{(?<braced>[^}]*)\}|(?<sub>[A-Za-z0-9\p{Script=Greek}]+(?:_[A-Za-z0-9]+)*(?:[−+]\d+)?))/u,
  /\^(?<power>[A-Za-z0-9]+)/u, /(?<raise>\^)/u, new RegExp(`(?<up>[${RAISED}]+)`), new RegExp(`(?<down>[${LOWERED}]+)`),
  /(?<word>[a-z]{2,}(?:_[A-Za-z]+)+|[A-Za-z]{2,}(?:-[A-Za-z]+)*(?:'s)?)/u, /(?<sum>[Σ∑])/u, /(?<letter>\p{L}\p{M}*)/u, /(?<half>½)/u, /(?<root>√)/u, /(?<slash>\/)/u,
  /(?<open>[([⌈])/u, /(?<close>[)\]⌉])/u, /(?<bar>[‖|])/u, new RegExp(`(?<operator>[${OPERATORS.replace("-", "\\-")}])`), /(?<period>\.)/u,
].map(({ source }) => source).join("|"), "uy");

/** @typedef {{kind: string, text: string, spaced: boolean}} Token `spaced`: a space stands before it */

/** @param {string} text @returns {Token[]|null} */
function tokens(text) {
  /** @type {Token[]} */
  const list = [];
  let spaced = false;
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const match = TOKEN.exec(text);
    if (!match) return null;
    const [kind, found] = /** @type {[string, string]} */ (Object.entries(match.groups ?? {}).find(([, value]) => value !== undefined));
    if (kind === "space") {
      spaced = true;
      continue;
    }
    list.push({ kind, text: found, spaced });
    spaced = false;
  }
  return list;
}

/** A mistake in the text, or more than is known here. */
class Unreadable extends Error {}

class Reader {
  /** @param {Token[]} list @param {Live} live @param {Set<string>} told symbols that have something below them already */
  constructor(list, live, told) {
    this.list = list;
    this.live = live;
    this.told = told;
    this.at = 0;
  }

  peek() { return /** @type {Token|undefined} */ (this.list[this.at]); }

  /** All up to `end`, or to the end of the text. @param {string} [end] @returns {MathNode[]} */
  row(end) {
    /** What stands side by side; a factor may become a numerator. @type {{node: MathNode, factor: boolean}[]} */
    const items = [];
    const push = (/** @type {MathNode} */ made, factor = true) => { items.push({ node: made, factor }); };
    for (let token = this.peek(); token && token.text !== end; token = this.peek()) {
      const { kind, text } = token;
      if (kind === "slash") {
        this.at += 1;
        const above = [];
        while (items.at(-1)?.factor) above.unshift(/** @type {{node: MathNode}} */ (items.pop()).node);
        if (!above.length) throw new Unreadable();
        push(node("mfrac", [bare(above), bare([this.factor()])]));
      } else if (kind === "operator") {
        this.at += 1;
        // A dot alone stands for whatever is given.
        const isPlace = text === "·" && end !== undefined && items.length === 0;
        push(node("mo", [text === "-" ? "−" : text], { ...(text === "," || text === ";" || text === ":" ? { separator: "true" } : {}) }), isPlace);
      } else if (kind === "sum") {
        this.at += 1;
        push(this.scripted(node("mo", ["∑"], { largeop: "false" })), false);
      } else if (kind === "period") {
        this.at += 1;
        push(node("mtext", ["."]), false);
      } else if (kind === "close") throw new Unreadable();
      else if (kind === "quote" || (kind === "word" && !this.isName(token))) push(this.words(), false);
      else push(this.factor());
    }
    if (end !== undefined && this.peek()?.text !== end) throw new Unreadable();
    return items.map((item) => item.node);
  }

  /** Whether a word is a symbol of several letters, as a function is. @param {Token} token */
  isName({ text }) {
    const next = this.list[this.at + 1];
    const isBound = next !== undefined && !next.spaced && ["sub", "braced", "down", "up", "prime"].includes(next.kind);
    const isCalled = next?.text === "(" && !next.spaced;
    const isParts = /^[a-z][A-Z]$/.test(text);
    return NAMES.has(text) || isBound || isCalled || isParts || /^[a-z]+_[a-z]+_[a-z]+$/.test(text) || /^attn_/.test(text) || /^[a-z]+_[a-z]$/.test(text)
      || /^(Re|ReLU|ALL)$/.test(text);
  }

  /** Words of the language, one after the other. @returns {MathNode} */
  words() {
    const list = [];
    const isFirst = this.at === 0;
    const isPlain = (/** @type {Token|undefined} */ token) => token?.kind === "quote" || (token?.kind === "word" && !this.isName(token));
    // An article is one letter.
    const isArticle = (/** @type {Token} */ { text }) => text === "a" && this.list[this.at + 1]?.kind === "word";
    for (let token = this.peek(); token && (isPlain(token) || isArticle(token)); token = this.peek()) {
      list.push(token.text);
      this.at += 1;
    }
    const next = this.peek();
    const isBefore = next !== undefined && !next.spaced;
    return node("mtext", [`${isFirst ? "" : "\u00a0"}${list.join("\u00a0")}${isBefore ? "" : "\u00a0"}`]);
  }

  /** One symbol, number or group with all that belongs to it. @returns {MathNode} */
  factor() {
    const token = this.peek();
    if (!token) throw new Unreadable();
    this.at += 1;
    const { kind, text } = token;
    switch (kind) {
      case "number": return this.scripted(node("mn", [text]));
      case "half": return node("mn", ["½"]);
      case "root": return node("msqrt", [bare([this.factor()])]);
      case "letter": return this.scripted(this.letter(text));
      case "word": return this.word(text);
      case "open": return this.group(text);
      case "bar": return this.group(text);
      default: throw new Unreadable();
    }
  }

  /** @param {string} open @returns {MathNode} */
  group(open) {
    const close = CLOSES[open];
    const inside = this.row(close);
    this.at += 1;
    const fence = (/** @type {string} */ text, /** @type {string} */ form) => node("mo", [text], { fence: "true", stretchy: "false", form });
    return this.scripted(node("mrow", [fence(open, "prefix"), ...inside, fence(close, "postfix")]));
  }

  /** @param {string} text @returns {MathNode} */
  letter(text) {
    const whole = text.normalize("NFD");
    const [base, mark] = [whole[0], ACCENTS[whole[1] ?? ""]];
    if (mark && whole.length === 2) return node("mover", [node("mi", [base]), node("mo", [mark], { stretchy: "false" })], { accent: "true" });
    if (whole.length > 1) throw new Unreadable();
    if (text === "c" && this.live.c !== undefined) return node("mn", [this.live.c], { class: "live" });
    return node("mi", [text]);
  }

  /** @param {string} text @returns {MathNode} */
  word(text) {
    if (/^[a-z][A-Z]$/.test(text)) return node("mrow", [this.letter(text[0]), this.scripted(this.letter(text[1]))]);
    const name = (/** @type {string} */ of) => node("mi", [of], { mathvariant: "normal" });
    const [first, ...rest] = text.split("_");
    if (rest.length && (first === "attn" || rest.join("").length === 1)) return this.scripted(node("msub", [name(first), node("mtext", [rest.join("\u00a0")])]));
    const made = this.scripted(name(text));
    const next = this.peek();
    // Without a space it would run into what follows.
    return next && ["letter", "number", "word"].includes(next.kind) && next.spaced ? node("mrow", [made, thin()]) : made;
  }

  /** A symbol with what is raised and lowered at it. @param {MathNode} base @returns {MathNode} */
  scripted(base) {
    /** @type {MathNode[]} */
    const below = [];
    /** @type {MathNode[]} */
    const above = [];
    for (let token = this.peek(); token && !token.spaced; token = this.peek()) {
      const { kind, text } = token;
      if (kind === "sub" || kind === "braced") below.push(lowered(text));
      else if (kind === "down") below.push(node("mn", [[...text].map((sign) => String(LOWERED.indexOf(sign))).join("")]));
      else if (kind === "prime") above.push(node("mo", ["′"]));
      else if (kind === "up") above.push(raised(text));
      else if (kind === "power") above.push(this.power(text));
      else if (kind === "raise") {
        this.at += 1;
        above.push(bare([this.factor()]));
        continue;
      } else if (kind === "number" && base.tag === "mi" && !below.length && !above.length) below.push(node("mn", [text]));
      else break;
      this.at += 1;
    }
    const sub = below.length === 1 && below[0].children.length === 1 ? `_${below[0].children[0]}` : "";
    const symbol = base.tag === "mi" ? `${base.children[0]}${sub}` : "";
    const shape = this.told.has(symbol) ? undefined : this.live.below?.[symbol];
    let made = base;
    if (below.length && above.length) made = node("msubsup", [base, row(below), row(above)]);
    else if (below.length) made = node("msub", [base, row(below)]);
    else if (above.length) made = node("msup", [base, row(above)]);
    if (shape === undefined) return made;
    this.told.add(symbol);
    return node("munder", [made, node("mtext", [`\u00a0${shape}\u00a0`], { class: "live" })]);
  }

  /** @param {string} text @returns {MathNode} */
  power(text) {
    return text.length === 1 && !/\d/.test(text) ? this.letter(text) : node("mi", [text]);
  }
}

/** What is lowered: letters, a number, a sum, or a word. @param {string} text @returns {MathNode} */
function lowered(text) {
  const parts = text.split(/([−+])/);
  return row(parts.map((part) => {
    if (/^[−+]$/.test(part)) return node("mo", [part]);
    if (/^\d+$/.test(part)) return node("mn", [part]);
    return part.length > 1 ? node("mtext", [part.replaceAll("_", "\u00a0")]) : node("mi", [part]);
  }));
}

/** @param {string} text @returns {MathNode} */
const raised = (text) => row([...text].map((sign) => {
  const plain = RAISED_AS[RAISED.indexOf(sign)];
  return /\d/.test(plain) ? node("mn", [plain]) : /[−+]/.test(plain) ? node("mo", [plain]) : node("mi", [plain], plain === "T" ? { mathvariant: "normal" } : undefined);
}));

/** Without its brackets, which a fraction or a root needs no more. @param {MathNode[]} nodes @returns {MathNode} */
function bare(nodes) {
  const [only] = nodes;
  const first = only.children[0];
  const isGroup = nodes.length === 1 && only.tag === "mrow" && typeof first === "object" && first.tag === "mo" && first.children[0] === "(";
  return isGroup ? row(/** @type {MathNode[]} */ (only.children.slice(1, -1))) : row(nodes);
}

/**
 * One line as the children of a `math` element; null where it cannot be read.
 * @param {string} line @param {Live} [live] @param {Set<string>} [told] symbols that have something below them already @returns {MathNode[]|null}
 */
export function readLine(line, live = {}, told = new Set()) {
  /** What two spaces and more keep apart, each for itself. @type {MathNode[]} */
  const all = [];
  for (const piece of line.trim().split(/ {2,}/)) {
    const list = tokens(piece);
    if (!list) return null;
    try {
      const made = new Reader(list, live, told).row();
      all.push(...(all.length ? [node("mspace", [], { width: "1.2em" })] : []), ...made);
    } catch (error) {
      if (error instanceof Unreadable) return null;
      throw error;
    }
  }
  return all;
}

/** Each line of a formula. @param {string} text @param {Live} [live] @returns {{text: string, tree: MathNode[]|null}[]} */
export function readFormula(text, live) {
  const told = new Set();
  return text.split("\n").map((line) => ({ text: line, tree: readLine(line, live, told) }));
}

/**
 * The symbols of a head's shapes, each with the end of its tensor's name: `<module>.lora_A.weight   A [r, i]` is `["lora_A.weight", "A"]`.
 * @param {string} shapes @returns {[end: string, symbol: string][]}
 */
export const symbolsOf = (shapes) => shapes.split("\n").flatMap((line) => {
  const [, name, symbol] = /^(?:<module>\.)?(\S+) {2,}(\p{L}(?:_\w+)?) \[/u.exec(line) ?? [];
  return name && symbol ? [/** @type {[string, string]} */ ([name, symbol])] : [];
});
