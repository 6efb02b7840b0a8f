"""Writes expected.json beside a model of convert/llama1b_q4km.py: what it must give, computed by numpy alone.

    python convert/llama1b_q4km.py tests/golden/q4_k_m/model.gguf --tiny      # from the repository root
    python tests/golden/q4_k_m.py tests/golden/q4_k_m/model.gguf
    python tests/golden/q4_k_m.py llama1b-q4_k_m.gguf --greedy 2              # the large one: two minutes, 1.5 GB

The weights are what the `gguf` package widens them to, one tensor at a time; everything after that is computed in f64.
In a GGUF of a Llama the rows of attn_q and attn_k are in the order in which the rope turns neighbours.
Needs numpy and gguf 0.19.0."""
import argparse
import json
import math
import os

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

PIECE = 4096  # rows of the head that are widened at a time
PROMPT = [256, 72, 101, 108, 108, 111, 44, 32, 119, 111, 114, 108, 100]


class Llama:
    def __init__(self, path):
        reader = GGUFReader(path)
        number = lambda key: reader.fields["llama." + key].contents()
        self.blocks, self.heads, self.kv_heads = number("block_count"), number("attention.head_count"), number("attention.head_count_kv")
        self.head, self.eps, self.base = number("attention.key_length"), number("attention.layer_norm_rms_epsilon"), number("rope.freq_base")
        self.tensors = {tensor.name: tensor for tensor in reader.tensors}
        pairs = np.arange(self.head // 2)
        self.frequencies = self.base ** (-2 * pairs / self.head) / self.weight("rope_freqs")
        self.cache = [None] * self.blocks

    def weight(self, name, rows=slice(None)):
        tensor = self.tensors[name + ".weight"]
        return dequantize(tensor.data[rows], tensor.tensor_type).astype(np.float64)

    def norm(self, name, x):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weight(name)

    def rope(self, x, first):
        angles = np.arange(first, first + len(x))[:, None, None] * self.frequencies
        (even, odd), (cos, sin) = (x[..., 0::2], x[..., 1::2]), (np.cos(angles), np.sin(angles))
        return np.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)

    def attention(self, i, x):
        old = self.cache[i] or (np.zeros((0, self.kv_heads, self.head)),) * 2
        first, name = len(old[0]), f"blk.{i}.attn_"
        q, k, v = (x @ self.weight(name + of).T for of in "qkv")
        heads = lambda y: y.reshape(len(x), -1, self.head)
        q, k = self.rope(heads(q), first), self.rope(heads(k), first)
        self.cache[i] = k, v = np.concatenate([old[0], k]), np.concatenate([old[1], heads(v)])
        k, v = (np.repeat(y, self.heads // self.kv_heads, axis=1) for y in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / math.sqrt(self.head)
        scores[:, np.arange(len(x))[:, None] + first < np.arange(len(k))] = -np.inf
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = np.einsum("hij,jhd->ihd", shares / shares.sum(axis=-1, keepdims=True), v)
        return mixed.reshape(len(x), -1) @ self.weight(name + "output").T

    def mlp(self, i, x):
        gate, up = (x @ self.weight(f"blk.{i}.ffn_{of}").T for of in ("gate", "up"))
        return (gate / (1 + np.exp(-gate)) * up) @ self.weight(f"blk.{i}.ffn_down").T

    def logits(self, ids):
        """After the last of these tokens, which follow those of earlier calls."""
        x = self.weight("token_embd", ids)
        for i in range(self.blocks):
            x = x + self.attention(i, self.norm(f"blk.{i}.attn_norm", x))
            x = x + self.mlp(i, self.norm(f"blk.{i}.ffn_norm", x))
        x, vocab = self.norm("output_norm", x[-1]), len(self.tensors["token_embd.weight"].data)
        return np.concatenate([self.weight("token_embd", slice(at, at + PIECE)) @ x for at in range(0, vocab, PIECE)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--greedy", type=int, default=8, help="tokens after the prompt")
    args = parser.parse_args()
    model = Llama(args.model)
    short = lambda logits: [float(f"{logit:.7g}") for logit in logits]
    logits = model.logits(PROMPT)
    expected = {"tokens": PROMPT, "logits_last": short(logits), "greedy": []}
    margins = []
    for _ in range(args.greedy):
        second, first = np.sort(logits)[-2:]
        margins.append(first - second)
        expected["greedy"].append(int(logits.argmax()))
        logits = model.logits(expected["greedy"][-1:])
    expected["logits_after_greedy"] = short(logits)
    with open(os.path.join(os.path.dirname(args.model), "expected.json") if args.model.endswith("model.gguf")
              else args.model + ".expected.json", "w") as out:
        json.dump(expected, out)
    print(f"logits up to {np.abs(logits).max():.3g}, deviation {logits.std():.3g}; greedy {expected['greedy']}, "
          f"each ahead by {min(margins):.3g} or more")


if __name__ == "__main__":
    main()
