// The same in Python, with PEFT: the base and an adapter's folder, scaled by c where PEFT can do that.
// Where c has to be in the numbers, `steer export` writes them first (docs/written.md has the table);
// where no numbers do it, the script says so and leaves the text out.
import { signed } from "../dom.js";
import { say } from "../say.js";
import { command, givenTokens } from "./manifest.js";
import { partsOf, rangeOf } from "./mask.js";
import { quoted } from "./report.js";
import { promptOf, turnedWords, wasMoved } from "./runs.js";

/** @typedef {import("./runs.js").Kept} Kept @typedef {import("./runs.js").Turned} Turned */

/** Methods whose files `steer export --coeff` writes with c in their numbers, for PEFT. */
export const FOLDED = [
  "adalora", "adaption_prompt", "beft", "boft", "c3a", "delora", "fourierft", "glora", "gralora", "hira", "ia3", "ln_tuning", "loha", "lokr", "lora",
  "miss", "oft", "peanut", "poly", "pvera", "randlora", "shira", "supertuning", "tinylora", "trainable_tokens", "vera", "waveft", "xlora",
];
/** Methods of PEFT of which no numbers do at another c what the adapter does there. */
export const WHOLE = [
  "cpt", "deft", "dora", "frod", "hra", "multitask_prompt_tuning", "osf", "p_tuning", "pissa", "prefix_tuning", "prompt_tuning", "road", "unilora", "vblora",
];

/** A text as Python writes it. @param {string} text */
const text = (text) => JSON.stringify(text);

/** A value of JSON as Python writes it. @param {unknown} value @returns {string} */
function literal(value) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (value === null || value === undefined) return "None";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([key, one]) => `${text(key)}: ${literal(one)}`).join(", ")}}`;
  return JSON.stringify(value);
}

/** Lines of a remark. @param {string} words */
const remark = (words) => words.split(/\r\n?|\n/).map((line) => `# ${line}`);

/** Why PEFT cannot do what an adapter did, in words; "" where it can. @param {Turned} turned */
export function cannot({ title, c, method, usualLaw, law, layers, modules, positions, experts }) {
  if (method === undefined) return say("runs.python.unknown", { title });
  if (!FOLDED.includes(method) && !WHOLE.includes(method)) return say("runs.python.no-method", { title, method });
  if (usualLaw === false) return say("runs.python.law", { title, law: law ?? "" });
  if (positions) return say("runs.python.positions", { title });
  if (experts) return say("runs.python.experts", { title });
  if (method !== "lora" && (layers || modules)) return say("runs.python.mask", { title });
  if (c !== 1 && WHOLE.includes(method)) return say("runs.python.whole", { title, c: signed(c), method });
  return "";
}

/** The condition on a module's name under which a LoRA acts. @param {Turned} turned */
function acts({ layers = "", modules = "" }) {
  const any = partsOf(layers, modules).map(([blocks, names]) => {
    const range = rangeOf(blocks);
    return [range && `${range[0]} <= block(name) <= ${range[1]}`, names && `name.split(".")[-1] in ${literal(names.split(",").map((name) => name.trim()))}`].filter(Boolean).join(" and ");
  });
  return any[0] ? `, lambda name: ${any.join(" or ")}` : "";
}

/** @param {Kept[]} runs */
export function python(runs) {
  const [first] = runs;
  if (!first) return "";
  const gguf = /\.gguf$/i.test(first.model.file);
  const from = gguf ? `"."${", gguf_file=FILE"}` : "FILE";
  const scales = runs.some(({ turned }) => turned.some((one) => one.method === "lora" && (one.c !== 1 || one.layers || one.modules) && !cannot(one)));
  const masks = runs.some(({ turned }) => turned.some(({ layers }) => layers));
  const peft = runs.some(({ turned }) => turned.length);
  const head = [
    ...remark(say("runs.python.head")), ...(gguf ? remark(say("runs.python.gguf")) : []),
    "import torch", ...(peft ? ["from peft import PeftModel"] : []), ...(scales ? ["from peft.tuners.lora import LoraLayer"] : []),
    "from transformers import AutoModelForCausalLM, AutoTokenizer, set_seed", "",
    `FILE = ${text(first.model.file)}${first.model.sha256 ? `  # SHA-256 ${first.model.sha256}` : ""}`,
    `tokenizer = AutoTokenizer.from_pretrained(${from})`, "", "",
    "def base():", `    return AutoModelForCausalLM.from_pretrained(${from}, dtype=torch.float32)`, "", "",
    ...(masks ? ["def block(name):", "    numbers = [int(part) for part in name.split(\".\") if part.isdigit()]", "    return numbers[0] if numbers else -1", "", ""] : []),
    ...(scales ? [
      "def scaled(model, c, acts=lambda name: True):", "    for name, module in model.named_modules():", "        if isinstance(module, LoraLayer):",
      "            module.scale_layer(c if acts(name) else 0.0)", "    return model", "", "",
    ] : []),
    "def write(model, asked, seed, **how):", "    set_seed(seed)", "    model.eval()", "    out = model.generate(**asked, **how)",
    "    print(tokenizer.decode(out[0, asked[\"input_ids\"].shape[1]:], skip_special_tokens=True))",
  ];
  return `${[...head, ...runs.flatMap((kept) => ["", "", ...one(kept)])].join("\n")}\n`;
}

/** One text. @param {Kept} kept @returns {string[]} */
function one(kept) {
  const { request, turned } = kept;
  const titled = remark(turnedWords(kept));
  if (givenTokens(kept)) return [...titled, ...remark(say("runs.python.given"))];
  const moved = wasMoved(kept) ? remark(say("runs.python.moved")) : [];
  const why = turned.map(cannot).filter(Boolean);
  if (turned.length > 1 && turned.some(({ method }) => method !== "lora")) why.push(say("runs.python.stack"));
  if (why.length) return [...titled, ...why.flatMap(remark), ...remark(say("runs.python.instead")), ...remark(command(kept))];
  return [...titled, ...moved, ...model(kept), asked(kept), `write(model, asked, ${how(request)})`];
}

/** The model with its adapters. @param {Kept} kept @returns {string[]} */
function model(kept) {
  const lines = ["model = base()"];
  for (const [at, turned] of kept.turned.entries()) {
    const { name, method, c, sha256 } = turned;
    const hash = sha256 ? `  # SHA-256 ${sha256}` : "";
    if (method !== "lora" && c !== 1) {
      const folder = `${name.replaceAll("/", "-")}-at-${c}`;
      lines.push(...remark(say("runs.python.export")),
        ...remark(["steer", "export", "--model", kept.model.file, "--adapter", name, "--coeff", String(c), "--to", folder].map(quoted).join(" ") + hash),
        `model = PeftModel.from_pretrained(model, ${text(folder)})`);
      continue;
    }
    lines.push(`model = PeftModel.from_pretrained(model, ${text(name)})${hash}`);
    const mask = acts(turned);
    if (c !== 1 || mask) lines.push(`model = scaled(model, ${c}${mask})`);
    // The next one comes on top of it.
    if (at < kept.turned.length - 1) lines.push("model = model.merge_and_unload()");
  }
  return lines;
}

/** What is asked. @param {Kept} kept */
function asked({ request }) {
  if (!request.chat) return `asked = tokenizer(${text(promptOf(/** @type {any} */ ({ request })))}, return_tensors="pt")`;
  const variables = Object.entries(request.templateVariables ?? {}).map(([name, value]) => `, ${name}=${literal(value)}`).join("");
  return `asked = tokenizer.apply_chat_template(${literal(request.chat)}, add_generation_prompt=True, return_tensors="pt", return_dict=True${variables})`;
}

/** How tokens are drawn. @param {Kept["request"]} request */
function how({ sampling = {}, maxTokens = 0, stop = [] }) {
  const { temperature = 0, topK = 0, topP = 1, minP = 0, repetitionPenalty = 1, seed = 0 } = sampling;
  const draws = temperature > 0
    ? ["do_sample=True", `temperature=${temperature}`, `top_k=${topK}`, `top_p=${topP}`, ...(minP ? [`min_p=${minP}`] : [])] : ["do_sample=False"];
  return [
    `seed=${seed}`, `max_new_tokens=${maxTokens}`, ...draws, ...(repetitionPenalty === 1 ? [] : [`repetition_penalty=${repetitionPenalty}`]),
    ...(stop.length ? [`stop_strings=${literal(stop)}`, "tokenizer=tokenizer"] : []),
  ].join(", ");
}
