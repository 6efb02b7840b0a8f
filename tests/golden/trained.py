"""Does PEFT read what `steer train` writes, and compute the same? Writes docs/trained.md.

    python tests/golden/training.py /tmp/tiny           # a tiny model with a tokenizer, and pairs.json
    for method in $(cd src/methods; grep -l Trains::From *.rs | sed 's/\\.rs$//'); do
      steer train --model /tmp/tiny --method $method --pairs /tmp/tiny/pairs.json --behaviour kind --rank 2 \\
        --steps 20 --check-every 0 --seed 3 --out /tmp/trained/$method
      steer logits --model /tmp/tiny --adapter /tmp/trained/$method --tokens 3,9,12,40,77,5 --all --json \\
        > /tmp/trained/$method/expected.json
    done
    python tests/golden/trained.py /tmp/tiny /tmp/trained

PeftModel.from_pretrained loads each folder; its logits are compared with expected.json. A method of PEFT's that
it refuses, or whose logits are further apart than 1e-4 of the largest one, ends the script with an error.
Pinned: torch 2.15.0, transformers 5.23.0, peft 0.21.2."""
import glob, json, os, sys, warnings
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch, transformers
from peft import PeftModel, PeftType
from transformers import AutoModelForCausalLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_grad_enabled(False)
VERSIONS = {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"}
for name, wanted in VERSIONS.items():
    assert version(name).split("+")[0] == wanted, f"{name} {version(name)}, wanted {wanted}"
TOKENS, TOLERANCE = [3, 9, 12, 40, 77, 5], 1e-4
OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "trained.md")
HEAD = f"""# Adapters of `steer train` in PEFT

Every method was trained for 20 steps on a tiny Llama with random weights. PEFT {VERSIONS["peft"]} loads the folder with
`PeftModel.from_pretrained` (transformers {VERSIONS["transformers"]}, f32). "Apart": the largest difference between its
logits and those of `steer logits`. "Moved": the largest change that the adapter makes. Both are shares of the largest
logit. `tests/golden/trained.py` wrote this page and says how.

RandLoRA's missing keys are copies of its shared matrices in every layer; PEFT fills them from the shared ones. On
other families PEFT itself has limits: adaption_prompt knows few of them, and many methods know no `Conv1D`, of
which GPT-2 is made.

| method | in PEFT | apart | moved |
|---|---|---|---|
"""


def logits(net, **task):
    ids = torch.tensor([TOKENS])
    return net(input_ids=ids, attention_mask=torch.ones_like(ids), **task).logits[0, -len(TOKENS):]


def row(model, folder):
    """A line of the table, and whether it is a fault."""
    name = os.path.basename(folder)
    kind = json.load(open(f"{folder}/adapter_config.json"))["peft_type"]
    expected = torch.tensor(json.load(open(f"{folder}/expected.json"))["logits"])
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    plain = logits(base)
    largest = plain.abs().max()
    moved = f"{(expected - plain).abs().max() / largest:.1e}"
    if kind not in [it.value for it in PeftType]:
        return f"| {name} | has no such method | | {moved} |", False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            net = PeftModel.from_pretrained(base, folder).eval()
        task = {"task_ids": torch.tensor([0])} if kind in ("MULTITASK_PROMPT_TUNING", "POLY") else {}
        apart = ((logits(net, **task) - expected).abs().max() / largest).item()
    except Exception as error:
        return f"| {name} | refuses it: {type(error).__name__}: {str(error)[:200]} | | {moved} |", True
    warns = ", warns of missing keys" if any("missing adapter keys" in str(it.message) for it in caught) else ""
    return f"| {name} | loads it{warns} | {apart:.1e} | {moved} |", not apart <= TOLERANCE


def main(model, trained):
    found = [row(model, folder) for folder in sorted(glob.glob(f"{trained}/*"))]
    table = "".join(line + "\n" for line, _ in found)
    if any(is_fault for _, is_fault in found):
        sys.exit(table)
    open(OUT, "w").write(HEAD + table)


if __name__ == "__main__":
    main(*sys.argv[1:])
