"""What `steer measure` must say of the three shipped adapters, by an independent way.

    python tests/golden/measure.py MODEL.gguf [ADAPTER ...]

transformers reads the GGUF file (dequantised to float32) and PEFT the adapters; the vector is a
forward hook. Chat template and tokenizer are those that transformers makes of the file. Writes
`tests/golden/measure.json`: for each adapter and coefficient d of each test prompt, mean and 95th
percentile of KL(steered || base) and the mean NLL shift on the neutral answers, and d of the
prompting baseline; of adapters that are not named the numbers stay. Needs torch 2.15.0, transformers 5.23, peft 0.21.2, gguf, numpy.
"""

import json
import os
import sys

import numpy
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
ADAPTERS = os.path.join(HERE, "..", "..", "www", "adapters")
COEFFICIENTS = [-1.0, 0.0, 1.0]
CASES = [("tone-lora", "tone"), ("register-ia3", "register"), ("mood-vector", "tone")]

torch.set_grad_enabled(False)
folder, file = os.path.split(os.path.abspath(sys.argv[1]))
tok = AutoTokenizer.from_pretrained(folder, gguf_file=file)
contrast = json.load(open(f"{ADAPTERS}/contrast.json"))


def model():
    found = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    return found.eval()


def ids_of(prompt, system=None):
    chat = [{"role": "system", "content": system}] if system else []
    chat.append({"role": "user", "content": prompt})
    return tok.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)


def rows(net, prompt, answer, system=None):
    """Log-probabilities `[n, vocab]` before each of the answer's n tokens, and these tokens."""
    head = ids_of(prompt, system)
    tail = tok(answer, add_special_tokens=False)["input_ids"]
    logits = net(torch.tensor([head + tail]), logits_to_keep=len(tail) + 1).logits[0, :-1].double()
    return torch.log_softmax(logits, -1), torch.tensor(tail)


def log_p(net, prompt, answer, system=None):
    found, tail = rows(net, prompt, answer, system)
    return found[torch.arange(len(tail)), tail].mean().item()


def difference(net, row, system=None):
    return log_p(net, row["prompt"], row["positive"], system) - log_p(net, row["prompt"], row["negative"], system)


def steered(net, folder):
    """The net with the adapter, and a function that turns it."""
    path = f"{ADAPTERS}/{folder}"
    kind = json.load(open(f"{path}/adapter_config.json"))["peft_type"]
    if kind in ("CONTROL_VECTOR", "BIPO"):
        steps = {int(key.split(".")[1]): v for key, v in load_file(f"{path}/adapter_model.safetensors").items()}
        now = {"c": 0.0}

        def hook(step):
            def act(_module, _inputs, output):
                change = now["c"] * step
                return (output[0] + change, *output[1:]) if isinstance(output, tuple) else output + change
            return act

        for layer, step in steps.items():
            net.model.layers[layer].register_forward_hook(hook(step))
        return net, lambda c: now.update(c=c)
    net = PeftModel.from_pretrained(net, path).eval()
    if kind == "LORA":
        layers = [m for m in net.modules() if hasattr(m, "lora_A") and hasattr(m, "scaling")]
        scales = [m.scaling["default"] for m in layers]

        def turn(c):
            for layer, scale in zip(layers, scales):
                layer.scaling["default"] = c * scale
        return net, turn
    gains = [p for name, p in net.named_parameters() if "ia3_l" in name]
    trained = [p.data.clone() for p in gains]

    def turn(c):
        for gain, one in zip(gains, trained):
            gain.data = 1 + c * (one - 1)
    return net, turn


only = sys.argv[2:]
known = json.load(open(f"{HERE}/measure.json"))["cases"] if only else []
out = {"coefficients": COEFFICIENTS, "cases": []}
for folder_name, behaviour in CASES:
    if only and folder_name not in only:
        out["cases"] += [case for case in known if case["adapter"] == folder_name]
        continue
    base, (net, turn) = model(), steered(model(), folder_name)
    test = [row for row in contrast[behaviour] if row.get("split") == "test" or row.get("held_out")]
    neutral = contrast["neutral"]
    asked = contrast["prompting"][behaviour]
    case = {"adapter": folder_name, "behaviour": behaviour, "per_prompt": [[] for _ in test],
            "kl_mean": [], "kl_p95": [], "nll_shift": []}
    unsteered = [rows(base, row["prompt"], row["completion"])[0] for row in neutral]
    for side in ("positive", "negative"):
        case[side] = float(numpy.mean([difference(base, row, asked[side]) for row in test]))
    for c in COEFFICIENTS:
        turn(c)
        for row, curve in zip(test, case["per_prompt"]):
            curve.append(round(difference(net, row), 6))
        kl, nll = [], []
        for row, q in zip(neutral, unsteered):
            p, tail = rows(net, row["prompt"], row["completion"])
            kl += (p.exp() * (p - q)).sum(-1).tolist()
            at = torch.arange(len(tail))
            nll += (q[at, tail] - p[at, tail]).tolist()
        case["kl_mean"].append(round(float(numpy.mean(kl)), 7))
        case["kl_p95"].append(round(float(numpy.percentile(kl, 95)), 7))
        case["nll_shift"].append(round(float(numpy.mean(nll)), 7))
        print(folder_name, c, numpy.mean([curve[-1] for curve in case["per_prompt"]]),
              case["kl_p95"][-1], case["nll_shift"][-1], flush=True)
    out["cases"].append(case)
json.dump(out, open(f"{HERE}/measure.json", "w"), indent=0)
