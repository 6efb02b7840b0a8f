"""Mean log-probability difference, positive minus negative completion, on the held-out prompts.

    cargo build --release --bin steer
    python www/adapters/measure.py STEER MODEL.gguf TOKENIZER_DIR ADAPTER_DIR tone

STEER is the built program, TOKENIZER_DIR a Hugging Face folder of the same model; needs
`transformers` 5.23 for the chat template and the token ids. Prints the values at c = -1, 0, 1.
"""

import json
import math
import os
import subprocess
import sys

from transformers import AutoTokenizer

steer, model, tokenizer, adapter, behaviour = sys.argv[1:]
tok = AutoTokenizer.from_pretrained(tokenizer)
here = os.path.dirname(os.path.abspath(__file__))
rows = [r for r in json.load(open(f"{here}/contrast.json"))[behaviour] if r["held_out"]]


def log_p(prompt, completion, c):
    """Mean log-probability of the completion's tokens, nats."""
    head = tok.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True,
                                   tokenize=True, return_dict=False)
    tail = tok(completion, add_special_tokens=False)["input_ids"]
    ids = ",".join(map(str, head + tail))
    out = subprocess.run([steer, "logits", "--model", model, "--tokens", ids, "--all", "--json",
                          "--adapter", adapter, "--coeff", str(c)], capture_output=True, check=True)
    logits = json.loads(out.stdout)["logits"]
    total = 0.0
    for at, token in enumerate(tail):
        row = logits[len(head) + at - 1]
        top = max(row)
        total += row[token] - top - math.log(sum(math.exp(x - top) for x in row))
    return total / len(tail)


for c in (-1, 0, 1):
    shifts = [log_p(r["prompt"], r["positive"], c) - log_p(r["prompt"], r["negative"], c) for r in rows]
    print(c, round(sum(shifts) / len(shifts), 4), flush=True)
