// Every word of the page in English: key -> message. Names in braces are filled in; where a number
// decides between forms, there is one for each plural form of the language (`one`, `other`), and
// the number is called n. See ../say.js.

/** @type {Record<string, import("../say.js").Message>} */
export const EN = {
  // ---- the page and its words ----
  "page.percent": "{p} %",
  "page.percent-least": "<0.1 %",

  // ---- adapters ----
  "adapters.shelf-failed": "The adapters that come with this page are not there: {why}. {code}",
  "adapters.try-again": "Try again",
  "adapters.meanwhile": "Your own can be loaded meanwhile.",
  "adapters.bring-back": "Bring back what comes with the page",
  "adapters.empty": "The list is empty.",
  "adapters.not-here": "not here",
  "adapters.wanted": "The link asks for this adapter at {c}. It does not come with the page: drop its files here, or load them below, and it is turned as the link says.",
  "adapters.wanted-off": "The link asks for this adapter at {c}, switched off. It does not come with the page: drop its files here, or load them below, and it is turned as the link says.",
  "adapters.do-without": "Do without it",
  "adapters.do-without-named": "Do without it: {name}",
  "adapters.on": "{title} on",
  "adapters.coefficient": "Coefficient of {title}",
  "adapters.coefficient-box": "Coefficient of {title}, any number",
  "adapters.at-zero": "0, the base model",
  "adapters.loading": "loading …",
  "adapters.made-for": "made for {model}",
  "adapters.reaches": "reaches layers {layers}",
  "adapters.misfit": "Made for {model}; it does not fit the model that is loaded.",
  "adapters.warnings": "Warnings",
  "adapters.law": "How c acts",
  "adapters.law-words": "{law}: {words}",
  "adapters.law-words-between": "{law}: {words}; between {start} and {end}",
  "adapters.where": "Where it acts",
  "adapters.layers": "Layers, as 5-20",
  "adapters.modules": "Modules, as q_proj,v_proj",
  "adapters.all": "all",
  "adapters.task": "Task",
  "adapters.task-of": "Task of {title}",
  "adapters.tasks": "0 to {last}: it was trained for {n}",
  "adapters.no-task": "{value} is no task of it; it stays {now}.",
  "adapters.no-number": "That is no task of it; it stays {now}.",
  "adapters.experts-who": "Who weighs its experts",
  "adapters.experts-own": "its gate, anew for every token",
  "adapters.experts-free": "I do, the same for every token",
  "adapters.expert": "Expert {number}",
  "adapters.expert-weight": "Weight of expert {number} of {title}",
  "adapters.skills-who": "Who weighs its skills",
  "adapters.skills-own": "its task, each layer in its own way",
  "adapters.skills-free": "I do, the same in every layer",
  "adapters.skill": "Skill {number}",
  "adapters.skill-weight": "Weight of skill {number} of {title}",
  "adapters.not-finite": "the coefficient is not a finite number; it stays as it was",
  "adapters.nameless": "adapter {id}",
  "adapters.how": "How it works",
  "adapters.formula": "Formula",
  "adapters.about-c": "The coefficient",
  "adapters.in-file": "Numbers in its file",
  "adapters.shapes": "Shapes",
  "adapters.size": { one: "{n} number at {places}", other: "{n} numbers at {places}" },
  "adapters.size-dense": {
    one: "{n} number at {places}, {memory} of memory for whole matrices",
    other: "{n} numbers at {places}, {memory} of memory for whole matrices",
  },
  "adapters.places": { one: "{n} place of the model", other: "{n} places of the model" },
  "adapters.layers-reached": "Layers reached: {layers}",
  "adapters.made-for-config": "Made for {model}, as its config says",
  "adapters.measured": "Measured on {model}",
  "adapters.value": "value",
  "adapters.paper": "Read the paper",
  "adapters.remove": "Remove from the list",
  "adapters.load": "Load your own",
  "adapters.load-folder": "A folder",
  "adapters.load-hint": "adapter_config.json with its .safetensors, or a .gguf. A mixture needs its whole folder, with the experts in 0, 1, … Dropping works too.",
  "adapters.unused": "Not used: {names}.",
  "adapters.and-more": "{n} more",
  "adapters.unclear": "It is not clear which of these files belong together: {names}. Choose one adapter_config.json and one .safetensors, or the folder.",
  "adapters.no-weights": "Among these files is no .safetensors and no .gguf; choose the adapter's weights too.",
  "adapters.command": "Command that converts it",
  "adapters.more": "More adapters in the folder",
  "adapters.load-too": "In the same folder are more adapters. Load too:",
  "adapters.load-which": "There are several adapters in this folder. Load:",
  "adapters.yours": "Your adapter {number}",
  "adapters.unreadable": "The files of {name} cannot be read: {why}",

  // ---- model and device ----
  "model.lead": "A language model writes one word-piece at a time. Load a small one, press Run, and drag a slider while it writes: on the left it writes as it is, on the right with the adapter turned.",
  "model.default": "135 million numbers, 4-bit; downloaded once, then kept in this browser",
  "model.load": "Load {name}",
  "model.load-sized": "Load {name} ({size})",
  "model.loading": "Loading the model",
  "model.asking": "asking",
  "model.downloading": "Downloading",
  "model.verifying": "Verifying",
  "model.uploading": "Uploading",
  "model.warming-up": "Warming up",
  "model.one-token": "running one token, so that the first of yours is not slow",
  "model.ready": "Ready",
  "model.done-of": "{done} of {total}",
  "model.rate": "{size}/s",
  "model.seconds-left": "{n} s left",
  "model.cancel": "Cancel",
  "model.stopped": "Stopped at {done}.",
  "model.stopped-of": "Stopped at {done} of {total}.",
  "model.resume": "Resume",
  "model.try-again": "Try again",
  "model.without-keeping": "Continue without keeping it",
  "model.kept-part": "{size} are kept in this browser; loading goes on from there.",
  "model.delete-part": "Delete what is kept",
  "model.delete-copy": "Delete the kept copy",
  "model.deleted": "The kept copy was deleted.",
  "model.layers": { one: "{n} layer", other: "{n} layers" },
  "model.kept": "kept in this browser",
  "model.not-kept": "not kept",
  "model.copy-deleted": "the copy kept in this browser was deleted",
  "model.no-tokenizer": "No tokenizer came with this model, so it cannot read a prompt. Choose its files again, tokenizer.json among them.",
  "model.more": "Model",
  "model.another": "another model",
  "model.address": "Address of a GGUF file",
  "model.load-address": "Load",
  "model.choose": "Choose files",
  "model.choose-hint": "one .gguf, all parts of a split one, or config.json, tokenizer.json and .safetensors together",
  "model.your-folder": "your folder",
  "model.device": "{name}: {why}.",
  "model.device-none": "Looking for a device …",
  "model.device-auto": "choose for me",
  "model.device-cpu": "use the CPU",
  "model.engine-stopped": "The engine stopped.",
  "model.start-again": "Start again",

  // ---- keys ----

  // ---- files that are offered ----
  "offers.pickled": "{path} is a pickle of PyTorch's, which is a program rather than a list of numbers; it is not run here. Convert it to safetensors, where PyTorch is, in its folder; then choose the new file with its adapter_config.json:",
  "shipped.refused": "{file} could not be fetched: the server says {status}",
  "shipped.no-answer": "{file} could not be fetched: no answer",
  "shipped.no-list": "{file} is not the list that it should be",

  // ---- engine ----
  "engine.no-worker": "this frame may not start the worker that computes ({why}); open the page in a tab of its own",
  "engine.no-tokenizer": "this model came without a tokenizer, so it cannot read a prompt; choose its files again, tokenizer.json among them",
  "engine.not-read": "nothing was written, for {title} could not be read: {why}. Run again to write with what is there",
  "engine.not-set": "nothing was written, for {title} could not be set: {why}. Run again to write with what is there",
  "engine.stopped-early": "the engine stopped before all adapters were there; run again once it is back",

  // ---- prompt and sampling ----

  // ---- texts ----
  "token.count": { one: "{n} token", other: "{n} tokens" },

  // ---- strips ----

  // ---- next token ----

  // ---- recording ----

  // ---- glossary ----
};
