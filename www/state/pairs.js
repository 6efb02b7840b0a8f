// Texts that somebody typed, pasted or chose, as the engine reads them.

/** The behaviour's name where none was given. */
const MINE = "mine";

/** The lines of a text that have something on them. @param {string} text */
export const linesOf = (text) => text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean);

/**
 * Contrasting answers as the text of a file: JSON stays as it is, a list of rows gets a name, and
 * lines of a table (prompt, positive, negative with tabs between them) become rows.
 * @param {string} text
 */
export function pairsFrom(text) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[")) return `{${JSON.stringify(MINE)}: ${trimmed}}`;
  const rows = linesOf(text).map((line) => line.split("\t").map((cell) => cell.trim()));
  if (trimmed.startsWith("{") || !rows.length || !rows.every((row) => row.length === 3)) return text;
  return JSON.stringify({ [MINE]: rows.map(([prompt, positive, negative]) => ({ prompt, positive, negative })) });
}

/** One prompt with two answers. @param {string} prompt @param {string} positive @param {string} negative */
export const onePrompt = (prompt, positive, negative) => JSON.stringify({ [MINE]: [{ prompt, positive, negative }] });

/**
 * The answers of a behaviour that directions may be made of: rows for training, or all where no row
 * is marked. Null for what is no such file.
 * @param {string} text @param {string} behaviour
 * @returns {{positive: string[], negative: string[]}|null}
 */
export function answersOf(text, behaviour) {
  try {
    /** @type {{positive: string, negative: string, split?: string, held_out?: boolean}[]} */
    const rows = JSON.parse(text)[behaviour];
    const marked = rows.some(({ split, held_out }) => split !== undefined || held_out !== undefined);
    const chosen = rows.filter(({ split, held_out }) => !marked || (split ?? (held_out ? "test" : "train")) === "train");
    const line = (/** @type {string} */ answer) => answer.replace(/\s*\n\s*/g, " ");
    return { positive: chosen.map(({ positive }) => line(positive)), negative: chosen.map(({ negative }) => line(negative)) };
  } catch {
    return null;
  }
}

/** One row of so many says when to stop, where no row is marked. */
const STOP_EVERY = 4;

/**
 * A file of contrasting answers for training on one of its behaviours. Rows without any mark are for tests,
 * so that there would be none to train on: every fourth then says when to stop, and the others train.
 * @param {string} text @param {string} behaviour
 */
export function forTraining(text, behaviour) {
  try {
    const file = JSON.parse(text);
    /** @type {{split?: string, held_out?: boolean}[]} */
    const rows = file[behaviour];
    if (rows.some(({ split, held_out }) => split !== undefined || held_out !== undefined)) return text;
    const marked = rows.map((row, at) => ({ ...row, split: (at + 1) % STOP_EVERY ? "train" : "stop" }));
    return JSON.stringify({ ...file, [behaviour]: marked });
  } catch {
    return text; // The engine says what is wrong with it.
  }
}
