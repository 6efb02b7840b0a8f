"""Writes docs/written.md: what `steer export --to FOLDER` writes, read by PEFT. With the versions of make.py:

    python tests/golden/written.py target/release/steer     # from the repository root, CPU only, a minute

Every golden adapter of a method that PEFT has is written again at c = 1 and at c = 0.5, and PEFT computes with the folder: at 1 it
must give the logits that it gives with the original one, at 0.5 those that the golden files say, which come from formulas of
their own, or `steer logits` where they say none. Adapters of mlx-lm and llama.cpp are compared with what mlx-lm computed, and with the PEFT folders that they were
made of. Numbers are the largest difference of a logit in parts of the largest logit."""
import glob, json, os, subprocess, sys, tempfile

import make
import families, geometric, prompts
import peft, torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file

STEER = os.path.abspath(sys.argv[1])
KNOWN = {kind.value for kind in peft.PeftType} | {"BONE"}


def load_base(base):
    return families.load_base(base.removeprefix("families/")) if base.startswith("families/") else make.load_base(base)


def with_peft(base, folder, ids, task, last):
    model, kw = load_base(base), {} if task is None else {"task_ids": torch.tensor([task])}
    if json.load(open(f"{folder}/adapter_config.json"))["peft_type"] == "XLORA":
        model.config.use_cache = False
        experts = {name: f"{folder}/{name}" for name in sorted(os.listdir(folder)) if name.isdigit()}
        pm = PeftModel.from_pretrained(model, folder, adapters=experts)
    else:
        pm = PeftModel.from_pretrained(model, folder)
    logits = pm.eval()(input_ids=ids[None], attention_mask=torch.ones_like(ids[None]), **kw).logits[0]
    return logits[-1:] if last else logits[-len(ids):]


def steer(command, base, adapter, task, c, *more):
    model = f"{make.ROOT}/{base}"
    if not os.path.exists(f"{model}/model.safetensors"):
        model += "/model.gguf"
    more = [*more, *([] if task is None else ["--task", str(task)])]
    command = [STEER, command, "--model", model, "--adapter", adapter, "--coeff", str(c), *more]
    return subprocess.run(command, capture_output=True, text=True)


def export(base, adapter, task, c, to):
    made = steer("export", base, adapter, task, c, "--to", to)
    if made.returncode:
        why = made.stderr.strip().splitlines()[-1]
        assert "unsupported-option" in why, (adapter, why)
        return why.split("is not supported: ")[1].rsplit(" [", 1)[0]


def apart(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def title(config):
    kind = config.get("peft_type", "mlx-lm")
    if kind == "LORA" and config.get("use_dora"):
        return "DoRA"
    if kind == "LORA" and config.get("init_lora_weights") in ("pissa", "olora"):
        return "PiSSA, OLoRA"
    return kind


def goldens():
    """Name, base, method, file or folder, ids, task, whether only the last logits are there, and those at c = 1 and at 0.5."""
    for file in sorted(glob.glob(f"{make.ROOT}/*/expect.safetensors")):
        d = os.path.dirname(file)
        about, want = safe_open(file, "pt").metadata(), load_file(file)
        config = json.load(open(f"{d}/adapter_config.json"))
        if config["peft_type"] in KNOWN and "expert_weights" not in about:
            task = int(about["task"]) if "task" in about else None
            yield os.path.basename(d), about["base"], title(config), d, want["input_ids"], task, False, want["logits"], want["logits_c_0.5"]
            if os.path.exists(f"{d}/llama_cpp.gguf"):
                yield os.path.basename(d), about["base"], "llama.cpp's LoRA", f"{d}/llama_cpp.gguf", want["input_ids"], None, False, want[
                    "logits"], want["logits_c_0.5"]
    for file in sorted(glob.glob(f"{make.ROOT}/families/adapters/*/*/expected.json")):
        d = os.path.dirname(file)
        base, name = d.split("/")[-2:]
        want, config = json.load(open(file)), json.load(open(f"{d}/adapter_config.json"))
        # PEFT has LLaMA-Adapter for Llama and Mistral only
        if config["peft_type"] in KNOWN and config["peft_type"] != "ADAPTION_PROMPT":
            for kind, adapter in ((title(config), d), ("llama.cpp's LoRA", f"{d}/llama_cpp.gguf")):
                if os.path.exists(adapter):
                    yield (f"{base}/{name}", f"families/{base}", kind, adapter, torch.tensor(want["tokens"]), want.get("task"), True,
                           torch.tensor(want["logits_last"])[None], None)
    for file in sorted(glob.glob("tests/faults/mlx_*/expect.json")):
        d, want = os.path.dirname(file), json.load(open(file))
        yield os.path.basename(d), want["base"], "mlx-lm's LoRA and DoRA", d, torch.tensor(want["tokens"]), None, True, torch.tensor(want["logits"])[
            None], None


def main():
    only, rows = sys.argv[2:], {}
    for name, base, kind, adapter, ids, task, last, at_1, at_half in goldens():
        if only and name not in only:
            continue
        row = rows.setdefault(kind, {"cases": 0, "1": [], "original": [], "0.5": [], "why": set()})
        row["cases"] += 1
        with tempfile.TemporaryDirectory() as work:
            why = export(base, adapter, task, 1, f"{work}/one")
            if why:  # other names in PEFT
                row["why"].add(f"{name}: {why}")
                continue
            found = with_peft(base, f"{work}/one", ids, task, last)
            is_own = os.path.isdir(adapter) and json.load(open(f"{adapter}/adapter_config.json")).get("peft_type") in KNOWN - {"BONE"}
            original = with_peft(base, adapter, ids, task, last) if is_own else at_1
            off = [apart(found, original), apart(found, at_1)]
            row["1"].append(off[0])
            bound = 2e-4 if last else 5e-5
            assert off[0] <= (0.0 if is_own else bound) + 1e-6 and off[1] <= bound, (name, off)
            why = export(base, adapter, task, 0.5, f"{work}/half")
            half = None
            if why:
                row["why"].add(why)
            else:
                found = with_peft(base, f"{work}/half", ids, task, last)
                if at_half is None:
                    ids = ",".join(map(str, ids.tolist()))
                    made = steer("logits", base, adapter, task, 0.5, "--tokens", ids, "--json")
                    at_half = torch.tensor(json.loads(made.stdout)["logits"])[None]
                half = apart(found, at_half)
                row["0.5"].append(half)
                assert half <= bound, (name, half)
        print(f"{kind:24s} {name:36s} at 1: {off[0]:.1e} (golden {off[1]:.1e})  at 0.5: {why or half}", flush=True)
    if only:
        return
    lines = ["# What is written for PEFT", "",
             "`steer export --to FOLDER` writes an adapter as the folder that PEFT reads, from whatever container it came in. With `--coeff` c",
             "becomes part of the numbers: read at c = 1, the folder does what the adapter did at c. Where no numbers would do that, it is refused",
             "with the reason. `tests/golden/written.py` measured this table: PEFT "
             f"{make.VERSIONS['peft']} computes with what was written (torch",
             f"{make.VERSIONS['torch']}, transformers {make.VERSIONS['transformers']}, f32 on a CPU). Numbers are the largest difference of a logit,",
             "in parts of the largest logit.", "",
             "- **at 1**: from the original folder in PEFT; from what mlx-lm computed, from the PEFT folder that llama.cpp's file was made of, and,",
             "  of BONE, which PEFT no longer reads, from the PEFT that wrote it as MISS.",
             "- **at 0.5**: on a Llama from the formula of the method, written without PEFT; elsewhere from what this program computes.", "",
             "| `peft_type` | cases | at 1 | at 0.5 |", "|---|---|---|---|"]
    number = lambda values: "equal" if max(values) == 0 else f"{max(values):.0e}"
    for kind, row in sorted(rows.items()):
        half = [number(row["0.5"])] if row["0.5"] else []
        half += [f"refused: {why}" for why in sorted(row["why"])]
        name = f"`{kind}`" if kind.isupper() else kind
        lines.append(f"| {name} | {row['cases']} | {number(row['1'])} | {'; '.join(half)} |")
    with open("docs/written.md", "w") as file:
        file.write("\n".join(lines) + "\n")


main()
