"""What the authors' ETHER code saves (https://github.com/mwbini/ether, ether-instruct/finetune/ether.py) -> an adapter folder.

    python convert/ether.py lit_model_ether_finetuned.pth BASE/config.json OUT

Needs torch and safetensors. config.json is that of the base in Hugging Face's form: a Llama, a Mistral or a Gemma, whose
modules lit-gpt keeps apart or, of queries, keys and values, under names of their own. No such file is published; from
ether-instruct/lit_gpt/ether.py at commit d28e47f this was taken:

- The file is {"model": {...}} with the tensors whose names have "ether_" in them: ether_R, ether_R2 and ether_R3, ether_R4
  [nb, width/nb] of a layer, ether_Rq, ether_R2q, ... [1, nb, width/nb] of its queries, likewise k and v.
- One R is a mirror (Htype ether), two are u and v of ETHER+ (etherplus), four those of both sides (etherplusHH): of a layer
  the input's first, of queries, keys and values the output's.
- One R of queries, keys and values acts on the output, of other layers on the input; with flip_side that of the MLP's last
  layer on its output, which its width tells.
- On the input that code cuts W into nb blocks of rows, not of columns: "cut": "rows" in the config, for nb > 1. The output's
  blocks are those of the paper.
- Rows of queries, keys and values keep their order, head by head, when lit-gpt's one matrix is taken apart."""
import json, os, re, sys

import torch
from safetensors.torch import save_file

MODULES = {"attn.proj": "self_attn.o_proj", "mlp.fc_1": "mlp.gate_proj", "mlp.fc_2": "mlp.up_proj", "mlp.proj": "mlp.down_proj"}
NAMES = ("ether_u", "ether_v"), ("ether_u_out", "ether_v_out")  # of the input, of the output


def layer(key):
    """Module, its path in Hugging Face's names, and which of the four R."""
    found = re.fullmatch(r"(?:.*\.)?(lm_head|transformer\.h\.(\d+)\.(.+))\.ether_R([234]?)([qkv]?)", key)
    if not found:
        sys.exit(f"{key}: no tensor of ETHER's on a Llama, a Mistral or a Gemma")
    whole, block, module, number, part = found.groups()
    if part:
        inside = f"self_attn.{part}_proj" if module == "attn.attn" else None
    else:
        inside = MODULES.get(module)
    path = "lm_head" if whole == "lm_head" else f"model.layers.{block}.{inside}"
    if whole != "lm_head" and inside is None:
        sys.exit(f"{key}: a layer that no Llama, Mistral or Gemma has")
    return path, int(number or 1)


def widths(path, config):
    """Of a layer: what goes in, what comes out."""
    d, inner = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv = d // heads * config.get("num_key_value_heads", heads)
    out = {"q_proj": d, "k_proj": kv, "v_proj": kv, "o_proj": d, "gate_proj": inner, "up_proj": inner, "down_proj": d}
    name = path.rsplit(".", 1)[-1]
    return (inner if name == "down_proj" else d), out.get(name, config["vocab_size"])


def main(checkpoint, base, out):
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    config = json.load(open(base))
    config = config.get("text_config", config)
    found = {}
    for key, value in state.get("model", state).items():
        if "ether_" in key:
            path, number = layer(key)
            value = value.detach().float()
            found.setdefault(path, {})[number] = value[0] if path.endswith(("q_proj", "k_proj", "v_proj")) else value
    if not found:
        sys.exit(f"no ETHER layers in {checkpoint}")
    kinds = {tuple(sorted(part)) for part in found.values()}
    blocks = {len(R) for part in found.values() for R in part.values()}
    if any(R.dim() != 2 for part in found.values() for R in part.values()):
        sys.exit("its R are matrices: this was trained with Htype oft, a form of OFT that PEFT does not have")
    if len(kinds) != 1 or len(blocks) != 1 or not kinds <= {(1,), (1, 2), (1, 2, 3, 4)}:
        sys.exit(f"layers of {sorted(kinds)} with {sorted(blocks)} blocks in one file: all are of one kind")
    (kind,), (nb,) = kinds, blocks
    tensors, by_rows = {}, False
    for path, R in sorted(found.items()):
        i, o = widths(path, config)
        is_qkv = path.endswith(("q_proj", "k_proj", "v_proj"))
        pairs = [[R[n] for n in kind[at:at + 2]] for at in range(0, len(kind), 2)]
        if len(pairs) == 1:
            outside = is_qkv or (path.endswith("down_proj") and R[1].numel() == o)
            sides = [1 if outside else 0]
        else:
            sides = [1, 0] if is_qkv else [0, 1]
        for side, pair in zip(sides, pairs):
            width = (i, o)[side]
            if any(part.numel() != width for part in pair):
                sys.exit(f"{path}: {nb} blocks of {pair[0].shape[1]} numbers, where the base's config says {width} in all; lit-gpt "
                         "also pads vocabularies, which cannot be converted for the head's output")
            by_rows |= side == 0 and nb > 1
            for name, part in zip(NAMES[side], pair):
                tensors[f"base_model.model.{path}.{name}"] = part.contiguous()
    fields = {"peft_type": "ETHER" if kind == (1,) else "ETHER_PLUS", "nb": nb}
    fields |= {"two_sided": False} if kind == (1, 2) else {}
    fields |= {"cut": "rows"} if by_rows else {}
    os.makedirs(out, exist_ok=True)
    save_file(tensors, f"{out}/adapter_model.safetensors", {"format": "pt"})
    with open(f"{out}/adapter_config.json", "w") as file:
        json.dump(fields, file, indent=2)
    print(f"{out}: {len(found)} modules, {fields}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
