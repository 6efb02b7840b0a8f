"""Cases whose files come out of `convert/`: ETHER as its authors' code saves it, made here and converted. Run by make.py.

The expected numbers are those of the authors' forward (https://github.com/mwbini/ether, ether-instruct/lit_gpt/ether.py at commit
d28e47f), written again for single matrices: `on_input`, `on_output` and the one matrix of queries, keys and values."""
import os, shutil, subprocess, sys, tempfile

import torch

import geometric

LLAMA = {"proj": "self_attn.o_proj", "fc_1": "mlp.gate_proj", "fc_2": "mlp.up_proj", "mlp": "mlp.down_proj"}
LIT = {"proj": "attn.proj", "fc_1": "mlp.fc_1", "fc_2": "mlp.fc_2", "mlp": "mlp.proj"}
CASES = {  # name: (base, Htype, blocks, layers that were trained, flip_side)
    "ether_authors": ("base", "ether", 4, ["q", "proj", "fc_1", "fc_2", "mlp"], False),
    "ether_authors_flipped": ("base", "ether", 1, ["k", "v", "proj", "mlp"], True),
    "ether_plus_authors": ("base", "etherplusHH", 4, ["q", "proj", "fc_1", "mlp"], False),
    "ether_plus_authors_one_side": ("base", "etherplus", 2, ["q", "proj", "mlp"], True),
}


def mirrors(R):
    outer = R[..., :, None] * R[..., None, :]
    return torch.eye(R.shape[-1]) - 2 * outer / (R * R).sum(-1)[..., None, None]


def exchanges(R, other):
    """I − ûûᵀ + v̂v̂ᵀ out of two mirrors."""
    return (mirrors(R) - mirrors(other)) / 2 + torch.eye(R.shape[-1])


def on_input(W, H):
    """The rows of W in as many parts as H has matrices, every piece of a row times the part's matrix."""
    pieces = W.reshape(len(H), -1, H.shape[-1])
    return torch.stack([part @ h for part, h in zip(pieces, H)]).reshape(W.shape)


def on_output(W, H):
    return torch.cat([h @ part for part, h in zip(W.chunk(len(H)), H)])


def rows_of_qkv(base):
    """In lit-gpt's one matrix: each group of queries, then its key and its value."""
    heads, groups, size = base["num_attention_heads"], base["num_key_value_heads"], base["head_dim"]
    each = heads // groups + 2
    of = torch.arange(groups * each * size).reshape(groups, each, size)
    return {"q": of[:, :-2].flatten(), "k": of[:, -2].flatten(), "v": of[:, -1].flatten()}


def train(make, name, sd, g):
    """The state that the authors' code would save, and the weights that it computes with."""
    base, kind, nb, modules, flip = CASES[name]
    base = make.BASES[base]
    draw = lambda width: torch.randn(nb, width // nb, generator=g)
    matrices = lambda R: mirrors(R[0]) if len(R) == 1 else exchanges(*R)
    state, weights = {}, {}
    for at in range(base["num_hidden_layers"]):
        block = f"model.layers.{at}"
        rows = rows_of_qkv(base)
        fused = torch.empty(sum(map(len, rows.values())), base["hidden_size"])
        for part, index in rows.items():
            fused[index] = sd[f"{block}.self_attn.{part}_proj"]
        for module in modules:
            lone = 1 if kind == "ether" else 2
            if module in rows:
                W = fused[rows[module]]
                R = [draw(len(W)) for _ in range(lone)]
                new = on_output(W, matrices(R))
                if kind == "etherplusHH":
                    R += [draw(W.shape[1]) for _ in range(2)]
                    new = on_input(new, matrices(R[2:]))
                fused[rows[module]] = new
                weights[f"{block}.self_attn.{module}_proj"] = fused[rows[module]]
                names = {f"attn.attn.ether_R{n or ''}{module}": value[None] for n, value in zip((0, 2, 3, 4), R)}
            else:
                path = f"{block}.{LLAMA[module]}"
                W, turned = sd[path], flip and module == "mlp" and kind != "etherplusHH"
                R = [draw(W.shape[0 if turned else 1]) for _ in range(lone)]
                new = (on_output if turned else on_input)(W, matrices(R))
                if kind == "etherplusHH":
                    R += [draw(len(W)) for _ in range(2)]
                    new = on_output(new, matrices(R[2:]))
                weights[path] = new
                names = {f"{LIT[module]}.ether_R{n or ''}": value for n, value in zip((0, 2, 3, 4), R)}
            state |= {f"transformer.h.{at}.{key}": value for key, value in names.items()}
    return state, weights


def convert(state, config, out):
    with tempfile.TemporaryDirectory() as work:
        torch.save({"model": state}, f"{work}/lit_model_ether_finetuned.pth")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../convert/ether.py")
        return subprocess.run([sys.executable, script, f"{work}/lit_model_ether_finetuned.pth", config, out], capture_output=True, text=True)


def make_one(make, name):
    base, _, _, modules, _ = CASES[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    g = torch.Generator().manual_seed(sum(ord(ch) * (j + 1) for j, ch in enumerate(name)))
    ids, model = make.tokens(base), make.load_base(base)
    sd = {n.removesuffix(".weight"): p.detach() for n, p in model.named_parameters()}
    state, weights = train(make, name, sd, g)
    made = convert(state, f"{make.ROOT}/{base}/config.json", d)
    assert made.returncode == 0, made.stderr
    at = lambda p, W, c: W if p not in weights else W + c * (weights[p].to(W.dtype) - W)
    whole = lambda c: geometric.run(make, base, ids, lambda p, W: at(p, W, c), lambda n, w: w)
    out = {"input_ids": ids, "base_logits": model(ids[None]).logits[0], "logits": whole(1.0)}
    errors = [make.err(whole(0.0), out["base_logits"]), 0.0]
    mods = [p for p in weights if "layers.0" in p]
    for p in mods:
        out[f"layer_input:{p}"] = x = torch.randn(4, sd[p].shape[1], generator=g)
        for c, key in ((1.0, ""), (-1.0, "_c_-1"), (0.5, "_c_0.5")):
            out[f"layer_output{key}:{p}"] = x @ at(p, sd[p], c).T
    out |= {f"logits_c_{c:g}": whole(c) for c in (-1.0, 0.5)}
    make.finish(name, base, out, {"modules": " ".join(mods), "laws": "linear"}, errors)


def check_refusals(make):
    """What the converter cannot say in its own names it refuses."""
    config, h = f"{make.ROOT}/base/config.json", "transformer.h.0"
    for state, said in [
        ({"transformer.h.0.attn.attn.weight": torch.ones(2, 2)}, "no ETHER layers"),
        ({f"{h}.mlp.fc.ether_R": torch.ones(1, 48)}, "no Llama"),
        ({f"{h}.attn.proj.ether_R": torch.ones(2, 24, 24)}, "Htype oft"),
        ({f"{h}.attn.proj.ether_R": torch.ones(2, 24), f"{h}.mlp.fc_1.ether_R": torch.ones(4, 12)}, "all are of one kind"),
        ({f"{h}.attn.proj.ether_R": torch.ones(1, 40)}, "the base's config says 48"),
        ({f"lm_head.ether_R{n}": torch.ones(1, 512 if n in "34" and n else 48) for n in ("", "2", "3", "4")}, "pads vocabularies"),
    ]:
        with tempfile.TemporaryDirectory() as out:
            made = convert(state, config, f"{out}/adapter")
            assert made.returncode and said in made.stderr and not os.path.exists(f"{out}/adapter"), (said, made.stderr)


def make_all(make, only):
    for name in CASES:
        if not only or name in only:
            make_one(make, name)
    if not only or any(name in only for name in CASES):
        check_refusals(make)
