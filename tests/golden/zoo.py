"""Does PEFT load the zoo's files, and compute the same as `steer` at c = 1?

    cargo build --release --bin steer
    python tests/golden/zoo.py target/release/steer MODEL.gguf [BEHAVIOUR/NAME ...]

transformers reads the GGUF file (dequantised to float32), PeftModel.from_pretrained each folder of www/adapters that has a
row.json and weights, and each of several/, with every task and with the experts of a mixture; its logits are compared with those of `steer logits`, in float32 too. Ends with an error where they are
further apart than 1e-4 of the largest one; a method that PEFT lacks is told.
Pinned: torch 2.15.0, transformers 5.23.0, peft 0.21.2."""
import copy, glob, json, os, subprocess, sys, warnings
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch, transformers
from peft import PeftConfig, PeftModel, PeftType
from transformers import AutoModelForCausalLM

VERSIONS = {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"}
for name, wanted in VERSIONS.items():
    assert version(name).split("+")[0] == wanted, f"{name} {version(name)}, wanted {wanted}"
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.simplefilter("ignore")
torch.set_grad_enabled(False)
ADAPTERS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "www", "adapters")
TOKENS, TOLERANCE = [1, 4093, 198, 2683, 359, 346, 1194, 2060, 30, 2], 1e-4


def tasks(place):
    """The tasks of an adapter, [-1] for one without."""
    try:
        fields = json.load(open(f"{place}/adapter_config.json"))
    except FileNotFoundError:
        return []
    return range(fields.get("n_tasks") or fields.get("num_tasks") or 0) or [-1]


def main(steer, gguf, *only):
    folder, file = os.path.split(os.path.abspath(gguf))
    whole = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    ids = torch.tensor([TOKENS])
    request = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
    plain = whole(**request).logits[0].double()
    worst = 0.0
    rows = [os.path.dirname(row) for row in glob.glob(f"{ADAPTERS}/*/*/row.json")]
    for place, task in sorted((place, task) for place in rows + glob.glob(f"{ADAPTERS}/several/*") for task in tasks(place)):
        name = os.path.relpath(place, ADAPTERS)
        config = f"{place}/adapter_config.json"
        if only and name not in only or not os.path.exists(config):
            continue
        fields = json.load(open(config))
        if fields.get("peft_type") not in list(PeftType):
            print(f"{name}: PEFT has no such method")
            continue
        asked = [steer, "logits", "--model", gguf, "--adapter", place, "--tokens", ",".join(map(str, TOKENS)), "--all", "--json"]
        asked += ["--task", str(task)] if task >= 0 else []
        ours = torch.tensor(json.loads(subprocess.check_output(asked))["logits"], dtype=torch.float64)
        # PEFT changes the model that it is given.
        base = copy.deepcopy(whole)
        # A mixture's paths are those of whoever loads it.
        mixed = {}
        if "adapters" in fields:
            mixed["config"] = PeftConfig.from_pretrained(place)
            mixed["config"].adapters = {number: f"{place}/{number}" for number in fields["adapters"]}
            base.config.use_cache = False
        of_task = {"task_ids": torch.tensor([task])} if task >= 0 else {}
        found = PeftModel.from_pretrained(base, place, **mixed).eval()
        found = found(**request, **of_task).logits[0].double()[-len(TOKENS):]
        largest = found.abs().max()
        apart, moved = ((found - other).abs().max().item() / largest.item() for other in (ours, plain))
        print(f"{name}{f', task {task}' if task >= 0 else ''}: apart {apart:.1e}, moved {moved:.1e}", flush=True)
        worst = max(worst, apart)
    if not worst <= TOLERANCE:
        sys.exit(f"logits are up to {worst:.1e} of the largest apart; at most {TOLERANCE}")


if __name__ == "__main__":
    main(*sys.argv[1:])
