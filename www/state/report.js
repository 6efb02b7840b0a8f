// A measurement as files: everything that is needed to measure it again, and the numbers.

/** @typedef {import("./measured.js").Measured} Measured */

/** A word of a command for a shell. @param {string} word */
export const quoted = (word) => (/^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** The command that measures the same; where files lie is for whoever runs it. @param {Measured} measured */
export function command({ found, parts, pairs, modelFile, variables = {} }) {
  const { adapters, behaviour, split, coefficients, seed, model } = found;
  const words = ["steer", "measure", "--model", modelFile];
  /** An option that stands once for each adapter, or not at all. @param {string} option @param {string[]} values @param {string} usual */
  const each = (option, values, usual) => {
    if (values.some((value) => value !== usual)) words.push(...values.flatMap((value) => [option, value]));
  };
  words.push(...adapters.flatMap(({ name }) => ["--adapter", name]));
  each("--coeff", adapters.map(({ scale }) => String(scale)), "1");
  words.push(...adapters.flatMap(({ law }) => ["--law", law]));
  each("--layers", adapters.map(({ layers }) => layers), "all");
  each("--modules", adapters.map(({ modules }) => modules), "all");
  // Measurements that were kept know no tokens.
  each("--positions", adapters.map(({ positions }) => positions ?? "all"), "all");
  each("--task", parts.map(({ task, experts }) => (experts ? "none" : task?.toString() ?? "none")), "none");
  each("--experts", parts.map(({ experts }) => experts?.join(",") ?? "none"), "none");
  if (pairs !== null) words.push("--pairs", "pairs.json");
  words.push("--behaviour", behaviour, "--split", split, `--coeffs=${coefficients.join(",")}`, "--seed", String(seed));
  words.push(...Object.entries(variables).flatMap(([name, value]) => ["--var", `${name}=${value}`]));
  words.push(...(model.device === "gpu" ? ["--device", "gpu"] : ["--fast"]), "--json");
  return words.map(quoted).join(" ");
}

/** What it takes to get the same numbers. @param {Measured} measured */
export function manifest(measured) {
  const { found } = measured;
  return {
    version: found.version, command: command(measured), model: { file: measured.modelFile, ...found.model }, adapters: found.adapters,
    pairs: { file: measured.pairs === null ? null : "pairs.json", sha256: found.pairs_sha256, behaviour: found.behaviour, split: found.split },
    prompt_form: found.prompt_form, coefficients: found.coefficients, seed: found.seed,
  };
}

/** @param {Measured} measured */
export const asJson = (measured) =>
  `${JSON.stringify({ manifest: manifest(measured), measurement: measured.found, ...(measured.pairs === null ? {} : { pairs: measured.pairs }) }, null, 1)}\n`;

/** A text that a spreadsheet would compute stays text. @param {string} text */
export const inert = (text) => (/^[=+\-@\t\r\n＝＋－＠]/.test(text) ? `'${text}` : text);

/** A cell of a table (RFC 4180); empty where there is no number. @param {string|number|null|undefined} value */
export function cell(value) {
  const text = typeof value === "string" ? inert(value) : String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll("\"", "\"\"")}"` : text;
}

/** A row for each c: the means, and d of each prompt. The manifest stands above it, in lines that begin with #. @param {Measured} measured */
export function asCsv(measured) {
  const { found } = measured;
  const head = Object.entries(manifest(measured)).map(([name, value]) => `# ${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`);
  const columns = ["c", "d_nats", "kl_mean_nats", "kl_p95_nats", "nll_shift_nats", ...found.prompts.map((prompt) => ["d_nats", prompt].join(": "))];
  const rows = found.coefficients.map((c, at) =>
    [c, found.d_nats[at], found.kl_nats.mean[at], found.kl_nats.p95[at], found.nll_shift_nats[at], ...found.per_prompt.map((row) => row[at])]);
  return `${[...head, ...[columns, ...rows].map((row) => row.map(cell).join(","))].join("\r\n")}\r\n`;
}
