// Texts as a picture: an SVG file of its own, with what was marked in the columns. Pure.

/**
 * A piece of a text: how strongly it is marked, and whether the texts part before it.
 * @typedef {{text: string, level?: number, sign?: "minus"|"plus", split?: boolean, given?: boolean}} Piece
 * @typedef {{title: string, facts: string, texts: {label: string, pieces: Piece[]}[]}} Block
 *
 * Colours by name; `minus` and `plus` have four strengths each.
 * @typedef {{paper: string, ink: string, soft: string, line: string, minus: string[], plus: string[]}} Palette
 */

const [WIDTH, MARGIN, SIZE, LINE] = [880, 28, 15, 23];
/** Of a letter in a type whose letters are all alike, in parts of its size. */
const LETTER = 0.6;
const COLUMNS = Math.floor((WIDTH - 2 * MARGIN) / (SIZE * LETTER));
const TYPE = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace";

/** Letters that take the room of two. */
const WIDE = /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}]/u;
/** Letters that stand on others. */
const NONE = /[\p{Mn}\p{Me}\u200b-\u200f\u2060\ufe00-\ufe0f]/u;

/** Columns that a text takes. @param {string} text */
export const columnsOf = (text) => [...text].reduce((sum, letter) => sum + (NONE.test(letter) ? 0 : WIDE.test(letter) ? 2 : 1), 0);

/** Text for XML; what may not stand there at all is left out. @param {string} text */
export const escaped = (text) => text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "")
  .replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;");

/**
 * Pieces in lines of so many columns: a word that does not fit begins a new line, one that is too long is cut.
 * @param {Piece[]} pieces @param {number} [columns]
 * @returns {(Piece & {column: number, columns: number})[][]}
 */
export function wrapped(pieces, columns = COLUMNS) {
  /** @type {(Piece & {column: number, columns: number})[][]} */
  const lines = [[]];
  let column = 0;
  const next = () => { lines.push([]); column = 0; };
  for (const piece of pieces) {
    let { split } = piece;
    for (const part of piece.text.replaceAll("\t", " ").split(/(\r\n?|\n| +)/).filter(Boolean)) {
      if (/^[\r\n]/.test(part)) {
        next();
        continue;
      }
      let rest = part;
      while (rest) {
        const wide = columnsOf(rest);
        if (column > 0 && column + wide > columns && !rest.startsWith(" ")) next();
        let fitting = rest;
        while (columnsOf(fitting) > columns - column) fitting = [...fitting].slice(0, -1).join("");
        // One that is wider than a whole line stands out of it.
        if (!fitting && column === 0) [fitting] = rest;
        if (!fitting) {
          // A space at the end of a line is not seen, nor is it at the beginning of the next.
          next();
          if (rest.startsWith(" ")) break;
          continue;
        }
        lines[lines.length - 1].push({ ...piece, split, text: fitting, column, columns: columnsOf(fitting) });
        split = false;
        column += columnsOf(fitting);
        rest = rest.slice(fitting.length);
      }
    }
  }
  return lines;
}

/** @param {Block[]} blocks @param {{heading: string, footer: string[], palette: Palette, metadata?: string}} options `metadata` is for programs @returns {string} a file */
export function textsPicture(blocks, { heading, footer, palette, metadata = "" }) {
  /** @type {string[]} */
  const parts = [];
  let y = MARGIN + SIZE;
  const words = (/** @type {string} */ text, /** @type {string} */ fill, /** @type {string} */ more = "", /** @type {number} */ x = MARGIN) =>
    parts.push(`<text x="${place(x)}" y="${place(y)}" fill="${escaped(fill)}"${more} xml:space="preserve">${escaped(text)}</text>`);
  const paragraph = (/** @type {string} */ text, /** @type {string} */ fill, /** @type {string} */ more = "") => {
    for (const line of wrapped([{ text }])) {
      words(line.map((one) => one.text).join(""), fill, more);
      y += LINE;
    }
  };
  paragraph(heading, palette.ink, ' font-weight="700"');
  for (const { title, facts, texts } of blocks) {
    y += LINE / 2;
    parts.push(`<path d="M${MARGIN},${place(y - SIZE - 4)}H${WIDTH - MARGIN}" stroke="${escaped(palette.line)}"/>`);
    paragraph(title, palette.ink, ' font-weight="700"');
    if (facts) paragraph(facts, palette.soft);
    for (const { label, pieces } of texts) {
      if (label) paragraph(label, palette.soft, ' font-weight="700"');
      for (const line of wrapped(pieces)) {
        for (const { text, level = 0, sign = "plus", split, given, column, columns } of line) {
          const x = MARGIN + column * SIZE * LETTER;
          if (level > 0) parts.push(`<rect x="${place(x)}" y="${place(y - SIZE)}" width="${place(columns * SIZE * LETTER)}" height="${SIZE + 5}" fill="${escaped(palette[sign][Math.min(level, 4) - 1])}"/>`);
          if (split) parts.push(`<rect x="${place(x - 2)}" y="${place(y - SIZE)}" width="3" height="${SIZE + 5}" fill="${escaped(palette.ink)}"/>`);
          words(text, given ? palette.soft : palette.ink, `${given ? ' font-style="italic"' : ""} textLength="${place(columns * SIZE * LETTER)}" lengthAdjust="spacingAndGlyphs"`, x);
        }
        y += LINE;
      }
    }
  }
  y += LINE / 2;
  for (const line of footer) paragraph(line, palette.soft);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${place(y + MARGIN / 2)}" viewBox="0 0 ${WIDTH} ${place(y + MARGIN / 2)}" font-family="${TYPE}" font-size="${SIZE}">`
    + `<title>${escaped(heading)}</title>${metadata && `<metadata>${escaped(metadata)}</metadata>`}<rect width="100%" height="100%" fill="${escaped(palette.paper)}"/>${parts.join("")}</svg>\n`;
}

const place = (/** @type {number} */ pixels) => Number(pixels.toFixed(1));
