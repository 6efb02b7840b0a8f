"""Cases of the methods that turn or scale what passes: rotations, reflections, norms, spectra. Run by make.py.

Every one of them is a base layer with another weight, W(c). c = 1 is PEFT's forward on the reloaded checkpoint (or, outside
PEFT, W(1)); every other number comes from `weight` and `gain` below, written without PEFT, put into the base model."""
import json, math, os, shutil

import gguf, numpy as np, torch
from gguf.quants import dequantize, quantize
from peft import (BeftConfig, BOFTConfig, GloraConfig, HiraConfig, HRAConfig, IA3Config, LNTuningConfig, LoraConfig, OFTConfig, PeftModel,
                  get_peft_model)
from peft.tuners.boft import layer as boft_layer
from safetensors.torch import load_file, save_file

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
T = dict(task_type="CAUSAL_LM", target_modules=ALL)
QD = dict(task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"])
Q0, D1, K1 = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.k_proj"
G0 = "model.layers.0.mlp.gate_proj"
GEO, MIRROR, POWER, SPECTRAL = ["geodesic", "linear"], ["linear"], ["linear", "power"], ["spectral", "linear"]
CASES = {  # name: (base, config, checked modules, laws: first is the default)
    "oft": ("base", lambda: OFTConfig(oft_block_size=8, **T), [Q0, K1, D1], GEO),
    "oft_cayley": ("base", lambda: OFTConfig(r=4, oft_block_size=0, use_cayley_neumann=False, **T), [Q0, G0, D1], GEO),
    "oft_terms": ("base_untied", lambda: OFTConfig(oft_block_size=5, num_cayley_neumann_terms=7, **QD), [Q0, D1], GEO),
    "oft_three_terms": ("base_untied", lambda: OFTConfig(oft_block_size=4, num_cayley_neumann_terms=3, **QD), [Q0, D1], GEO),
    "oft_two_terms": ("base_untied", lambda: OFTConfig(oft_block_size=4, num_cayley_neumann_terms=2, **QD), [Q0, D1], GEO),
    "oft_coft": ("base", lambda: OFTConfig(oft_block_size=16, coft=True, eps=1.5, use_cayley_neumann=False, **QD), [Q0, D1], GEO),
    "oft_shared": ("base_untied", lambda: OFTConfig(oft_block_size=8, block_share=True, **T), [Q0, D1], GEO),
    "oft_coft_shared": ("base", lambda: OFTConfig(oft_block_size=32, block_share=True, coft=True, eps=0.4, **QD), [Q0, D1], GEO),
    "oft_one": ("base_untied", lambda: OFTConfig(oft_block_size=1, modules_to_save=["norm"], **QD), [Q0, D1], GEO),  # nothing to turn
    "oft_embedding": ("base", lambda: OFTConfig(
        oft_block_size=8, task_type="CAUSAL_LM", target_modules=["embed_tokens", "q_proj"]), [Q0], GEO),
    "boft": ("base", lambda: BOFTConfig(boft_block_size=4, **T), [Q0, K1, D1], GEO),
    "boft_blocks": ("base_untied", lambda: BOFTConfig(boft_block_num=4, boft_block_size=0, **QD), [Q0, D1], GEO),
    "boft_butterfly": ("base", lambda: BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=3, **QD), [Q0, D1], GEO),
    "boft_butterfly_two": ("base_untied", lambda: BOFTConfig(boft_block_size=2, boft_n_butterfly_factor=2, **QD), [Q0, D1], GEO),
    "boft_bias": ("base_bias", lambda: BOFTConfig(boft_block_size=4, **T), [Q0, D1], GEO),
    "boft_negative": ("base_untied", lambda: BOFTConfig(boft_block_size=4, **QD), [Q0, D1], MIRROR),
    "ln_tuning": ("base", lambda: LNTuningConfig(task_type="CAUSAL_LM"), [], POWER),
    "ln_tuning_some": ("base_untied", lambda: LNTuningConfig(
        task_type="CAUSAL_LM", target_modules=r".*layers\.[12]\.post_attention_layernorm"), [], POWER),
    "ln_tuning_signs": ("base_untied", lambda: LNTuningConfig(task_type="CAUSAL_LM", target_modules=["norm"]), [], MIRROR),
    "ln_tuning_linear": ("base_bias", lambda: LNTuningConfig(
        task_type="CAUSAL_LM", target_modules=["norm", "v_proj", "embed_tokens"]), [K1.replace("k_", "v_")], MIRROR),
    "ia3_power": ("base_untied", lambda: IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"]), [K1, D1], POWER),
    # on a base that is also there as a quantised GGUF; half of these read the base's weights
    "quantised_lora": ("base_quantised", lambda: LoraConfig(r=4, lora_alpha=8, **T), [Q0, D1], MIRROR),
    "quantised_dora": ("base_quantised", lambda: LoraConfig(r=4, lora_alpha=8, use_dora=True, **T), [Q0, D1], MIRROR),
    "quantised_oft": ("base_quantised", lambda: OFTConfig(oft_block_size=16, **T), [Q0, D1], GEO),
    "quantised_boft": ("base_quantised", lambda: BOFTConfig(boft_block_size=4, **QD), [Q0, D1], GEO),
    "quantised_ln": ("base_quantised", lambda: LNTuningConfig(task_type="CAUSAL_LM"), [], POWER),
    "saved_norms": ("base", lambda: LoraConfig(r=3, lora_alpha=6, modules_to_save=["norm", "input_layernorm"], **QD), [Q0, D1], MIRROR),
    # additive, but with biases or an embedding
    "beft_bias": ("base_bias", lambda: BeftConfig(**T), [Q0, D1], MIRROR),
    "hira_embedding": ("base", lambda: HiraConfig(r=2, task_type="CAUSAL_LM", target_modules=["embed_tokens", "q_proj"]), [Q0], MIRROR),
    "glora_bias": ("base_bias", lambda: GloraConfig(r=2, **QD), [Q0, D1], MIRROR),
    "glora_vector": ("base_bias", lambda: GloraConfig(r=2, config_A_B="vector", config_C="vector", config_D_E="vector", **T), [Q0, D1], MIRROR),
    "glora_none": ("base_bias", lambda: GloraConfig(r=2, config_A_B="none", config_D_E="none", **QD), [Q0, D1], MIRROR),
    "hra_two": ("base_untied", lambda: HRAConfig(r=2, **T), [Q0, D1], GEO),
}
QUANTISED = "base_quantised"
OWN = {  # outside PEFT: (base, config, checked modules, laws)
    "ether": ("base", {"peft_type": "ETHER", "nb": 4}, [Q0, D1], MIRROR),
    "ether_one": ("base_untied", {"peft_type": "ETHER", "nb": 1}, [Q0, K1], MIRROR),
    "ether_plus": ("base", {"peft_type": "ETHER_PLUS", "nb": 2}, [Q0, D1], MIRROR),
    "ether_plus_input": ("base_untied", {"peft_type": "ETHER_PLUS", "nb": 4, "two_sided": False}, [Q0, D1], MIRROR),
    "quantised_ether_plus": ("base_quantised", {"peft_type": "ETHER_PLUS", "nb": 2}, [Q0, D1], MIRROR),
    "ssvd": ("base", {"peft_type": "SSVD"}, [Q0, K1, G0, D1], SPECTRAL),
    "ssvd_top": ("base_untied", {"peft_type": "SSVD"}, [Q0, D1], SPECTRAL),
    "ssvd_log_polar": ("base", {"peft_type": "SSVD"}, [G0, D1], [*SPECTRAL, "log-polar"]),
    "antipasto": ("base", {"peft_type": "APASTOADAPTER", "r": 6, "rotate_u": False, "rotate_v": True, "rotation_method": "cayley",
                           "alpha": 1.0, "max_rotation_angle": math.pi / 3}, [Q0, D1], SPECTRAL),
    "antipasto_both": ("base_untied", {"peft_type": "APASTOADAPTER", "r": 5, "rotate_u": True, "rotate_v": True,
                                       "rotation_method": "matrix_exp", "alpha": 1.0, "max_rotation_angle": 4.0}, [Q0, D1], SPECTRAL),
    "antipasto_plain": ("base_untied", {"peft_type": "APASTOADAPTER", "r": 4, "rotate_u": False, "rotate_v": False,
                                        "rotation_method": "cayley", "alpha": 1.0, "max_rotation_angle": None}, [K1], SPECTRAL),
}


def butterfly(blocks):  # peft's CUDA kernel: [N, D, H, H] -> [N, D·H, D·H]
    return torch.stack([torch.block_diag(*factor) for factor in blocks])


# Without CUDA PEFT trains one butterfly factor only; with a stand-in for its kernel, as many as asked for.
boft_layer.get_fbd_cuda = lambda: True
boft_layer.FastBlockDiag = type("FastBlockDiag", (), {"apply": staticmethod(butterfly)})


def trained(name, n, p, z):
    if ("oft_R" in n or "oft_embedding_R" in n) and "boft" not in n: return 0.12 * z if "coft" not in name else 0.25 * z
    if "boft_R" in n: return 0.5 * z
    if "boft_s" in n: return (0.25 * z).exp() * (z.sign() if name == "boft_negative" else 1)
    if "modules_to_save" in n: return p * (1 + 0.2 * z)
    if "ln_tuning" in n and name == "ln_tuning_linear": return p + 0.1 * z
    if "ln_tuning" in n: return -p * (1 + 0.1 * z) if name == "ln_tuning_signs" else p * (0.2 * z).exp()
    if "ia3_l" in n: return (0.3 * z).exp()
    if "hra_u" in n: return z
    if "lora_A" in n: return z / math.sqrt(p.shape[1])
    if "lora_B" in n: return 0.2 * z / math.sqrt(p.shape[1])
    if "magnitude" in n: return p * (1 + 0.1 * z)
    if "beft_bias" in n: return 0.4 * z
    if "hira_" in n: return 0.6 * z
    if "glora_" in n: return 0.3 * z
    raise KeyError(n)


# ------------------------------------------------------------------ every formula again, without PEFT, in double
eye = lambda n: torch.eye(n, dtype=torch.float64)


def cayley(Q):
    return (eye(len(Q)) - Q) @ torch.linalg.inv(eye(len(Q)) + Q)


def above(v, b):
    Q = torch.zeros(b, b, dtype=torch.float64)
    Q[tuple(torch.triu_indices(b, b, 1))] = v
    return Q - Q.T


def oft(cfg, v, i, c):
    b = next(b for b in range(1, i + 1) if b * (b - 1) // 2 == v.shape[1])
    blocks = []
    for row in v:
        Q = above(row, b)
        if cfg["coft"]:
            Q = Q * min(1.0, cfg["eps"] / math.sqrt(len(v)) / float(Q.norm()))
        Q = c * Q
        if not cfg["use_cayley_neumann"]:
            blocks.append(cayley(Q))
            continue
        n, R = cfg["num_cayley_neumann_terms"], eye(b)
        powers = {1: [], 2: [2], 3: [2, 2, 1]}.get(n, [2] * (n - 2) + [1])
        for k, factor in enumerate(powers):
            R = R + factor * torch.linalg.matrix_power(Q, k + 1)
        blocks.append(R)
    return torch.block_diag(*(blocks * (i // b) if cfg["block_share"] else blocks))


def boft(B, c):
    N, D, b, _ = B.shape
    i = D * b
    M = eye(i)
    for k in range(N):
        blocks = torch.block_diag(*[cayley(c * 0.5 * (X - X.T)) for X in B[k]])
        if k:  # inside groups of b·2ᵏ inputs, chunks of b/2: those at even places first
            group, chunk = b * 2**k, b // 2
            places = torch.arange(group).reshape(-1, chunk)
            order = torch.cat((places[0::2].flatten(), places[1::2].flatten()))
            order = torch.cat([order + start for start in range(0, i, group)])
            P = eye(i)[order]
            blocks = P @ blocks @ P.T
        M = M @ blocks if c < 0 else blocks @ M
    return M


def reflect(u, minus, v=None):
    """blockdiag(I − minus·ûûᵀ (+ v̂v̂ᵀ)) for the rows of u."""
    outer = lambda w: torch.outer(w, w) / (w @ w)
    return torch.block_diag(*[eye(u.shape[1]) - minus * outer(u[k]) + (outer(v[k]) if v is not None else 0) for k in range(len(u))])


def skew_rotation(cfg, P, c):
    A = P - P.T
    top = cfg["max_rotation_angle"]
    if top is not None and top < math.pi - 1e-6:
        A = 2 * math.tan(top / 2) * torch.tanh(A / (2 * math.tan(top / 2)))
    if cfg["rotation_method"] == "matrix_exp":
        return torch.linalg.matrix_exp(c * A)
    return torch.linalg.inv(eye(len(A)) - c * A / 2) @ (eye(len(A)) + c * A / 2)


def weight(cfg, ad, path, W, c, law):
    """W(c), in double."""
    W = W.double()
    s = {k[len(f"base_model.model.{path}."):]: v.double() for k, v in ad.items() if k.startswith(f"base_model.model.{path}.")}
    if not s:
        return W
    (o, i), t = W.shape, cfg["peft_type"]
    if law == "linear" and c != 1:
        return W + c * (weight(cfg, ad, path, W, 1.0, law) - W)
    if t == "OFT" and "oft_embedding_R.weight" in s:
        return W @ oft(cfg, s["oft_embedding_R.weight"], i, c)
    if t == "OFT":
        return W @ oft(cfg, s["oft_R.weight"], i, c).T
    if t == "LN_TUNING":
        return W + c * (s["ln_tuning_layers.weight"] - W)
    if t == "BOFT":
        return s["boft_s"] ** c * (W @ boft(s["boft_R"], c).T)
    if t == "LORA":
        V = W + cfg["lora_alpha"] / cfg["r"] * s["lora_B.weight"] @ s["lora_A.weight"]
        return (s["lora_magnitude_vector"] / V.norm(dim=1))[:, None] * V if cfg["use_dora"] else V
    if t == "IA3":
        l = s["ia3_l"] ** c
        return W * l
    if t == "HRA":
        U = s["hra_u"] / s["hra_u"].norm(dim=0)
        M = eye(i)
        if c == 1:
            for k in range(U.shape[1]):
                M = M @ (eye(i) - 2 * torch.outer(U[:, k], U[:, k]))
            return W @ M
        assert U.shape[1] == 2  # one rotation: its logarithm has one plane
        a, e = U[:, 0], U[:, 1] - (U[:, 0] @ U[:, 1]) * U[:, 0]
        angle, e = 2 * torch.atan2(e.norm(), a @ U[:, 1]), e / e.norm()
        return W @ torch.linalg.matrix_exp(c * angle * (torch.outer(a, e) - torch.outer(e, a)))
    if t == "BEFT":
        return W
    if t == "HIRA":
        return W * (1 + (s["hira_B"] @ s["hira_A"] if "hira_B" in s else (s["hira_embedding_B"] @ s["hira_embedding_A"]).T))
    if t == "GLORA":
        return W * (1 + glora(s, "A")) + glora(s, "B")
    if t == "ETHER":
        return W @ reflect(s["ether_u"], 2.0)
    if t == "ETHER_PLUS":
        W = W @ reflect(s["ether_u"], 1.0, s["ether_v"])
        return reflect(s["ether_u_out"], 1.0, s["ether_v_out"]) @ W if cfg.get("two_sided", True) else W
    if t == "SSVD":
        u, v, S, d = (s[f"ssvd_layer.{n}"] for n in ("u", "v", "s_pre", "s"))
        k = len(d)
        first = lambda S, v: u[:, :k] @ torch.diag(S) @ v
        if law == "log-polar":
            values, vectors = torch.linalg.eig(eye(k) - 2 * above(s["ssvd_layer.K_vec"], k))
            A = (vectors @ torch.diag(values**c) @ torch.linalg.inv(vectors)).real
            new = first(S[:k] * (1 + torch.sigmoid(s["ssvd_layer.gate"]) * d / S[:k]) ** c, A @ v[:k])
            change = new - first(S[:k], v[:k])
            return W + (change if o >= i else change.T)
        new = first(S[:k] + c * torch.sigmoid(s["ssvd_layer.gate"]) * d, (eye(k) - 2 * c * above(s["ssvd_layer.K_vec"], k)) @ v[:k])
        change = new - first(S[:k], v[:k])
        return W + (change if o >= i else change.T)
    if t == "APASTOADAPTER":
        U, V, S = (ad[f"svd_bases.base_model_model_{path.replace('.', '_')}.{n}"].double() for n in "uvs")
        turn = lambda M, n: M @ skew_rotation(cfg, s[n], c) if n in s else M
        new = turn(U, "antipasto_rotation_params_u") @ torch.diag(S + c * s["antipasto_delta_s"]) @ turn(V, "antipasto_rotation_params_v").T
        return W + new - U @ torch.diag(S) @ V.T
    raise KeyError(t)


def glora(s, n):
    """One of the five parts: a product, a vector, a number or nothing."""
    return s[f"glora_{n}.Xd"] @ s[f"glora_{n}.Xu"] if f"glora_{n}.Xd" in s else s.get(f"glora_{n}.X", torch.zeros(1))


def gain(ad, n, g, c, law, W=None):
    """A vector: a norm's gain or a layer's bias; W: that layer's weight."""
    path, kind = n.rsplit(".", 1)
    s = {k[len(f"base_model.model.{path}."):]: v.double() for k, v in ad.items() if k.startswith(f"base_model.model.{path}.")}
    if "beft_bias" in s:
        return g.double() + c * s["beft_bias"][0]
    if any(k.startswith("glora_") for k in s):
        return g.double() + c * (g.double() * glora(s, "D") + glora(s, "E") + (W.double() @ glora(s, "C").expand(W.shape[1], 1))[:, 0])
    new = ad.get(f"base_model.model.{path}.ln_tuning_layers.{kind}", ad.get(f"base_model.model.{n}"))
    if new is None:
        return g
    g, new = g.double(), new.double()
    return g * (new / g) ** c if law == "power" else g + c * (new - g)


# ------------------------------------------------------------------ making
def own_tensors(name, cfg, path, W, g):
    o, i = W.shape
    randn = lambda *shape: torch.randn(shape, generator=g)
    t = cfg["peft_type"]
    if t.startswith("ETHER"):
        nb = cfg["nb"]
        u, out = randn(nb, i // nb), randn(nb, o // nb)
        if t == "ETHER":
            return {"ether_u": u}
        ad = {"ether_u": u, "ether_v": u + 0.5 * randn(nb, i // nb)}
        return {**ad, "ether_u_out": out, "ether_v_out": out + 0.5 * randn(nb, o // nb)} if cfg.get("two_sided", True) else ad
    tall = W if o >= i else W.T
    u, S, v = torch.linalg.svd(tall, full_matrices=False)
    k = 5
    if t == "SSVD":
        n = k if name in ("ssvd_top", "ssvd_log_polar") else len(S)  # the first k are all that is ever used
        return {f"ssvd_layer.{key}": x.contiguous() for key, x in {
            "u": u[:, :n], "v": v[:n], "s_pre": S[:n], "s": 0.4 * randn(k), "gate": randn(1), "K_vec": 0.1 * randn(k * (k - 1) // 2)}.items()}
    r = cfg["r"]
    ad = {"antipasto_delta_s": 0.3 * randn(r)}
    for side in "uv":
        if cfg[f"rotate_{side}"]:
            ad[f"antipasto_rotation_params_{side}"] = 0.3 * randn(r, r)
    return ad


def run(make, base, ids, W_of, g_of):
    m = make.load_base(base).double()
    m.lm_head.weight = torch.nn.Parameter(m.lm_head.weight.clone())  # a tied head stays as it is
    for n, p in m.named_parameters():
        if n.endswith("_proj.weight") or n == "model.embed_tokens.weight":
            p.copy_(W_of(n.removesuffix(".weight"), p))
        elif p.dim() == 1:
            p.copy_(g_of(n, p))
    return m(ids[None]).logits[0].float()


def make_one(make, name):
    outside = name in OWN
    base, config, mods, laws = (OWN if outside else CASES)[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(sum(ord(ch) * (j + 1) for j, ch in enumerate(name)))
    ids, model = make.tokens(base), make.load_base(base)
    sd = {n.removesuffix(".weight"): p for n, p in model.named_parameters()}
    if outside:
        cfg = config
        ad = {f"base_model.model.{p}.{k}": v for p in mods for k, v in own_tensors(name, cfg, p, sd[p], g).items()}
        save_file(ad, f"{d}/adapter_model.safetensors", {"format": "pt"})
        json.dump(cfg, open(f"{d}/adapter_config.json", "w"), indent=2)
        if cfg["peft_type"] == "APASTOADAPTER":
            bases = {}
            for p in mods:
                U, S, Vh = torch.linalg.svd(sd[p], full_matrices=False)
                pick = torch.randperm(len(S), generator=g)[: cfg["r"]]  # its authors choose directions by the data
                key = f"svd_bases.base_model_model_{p.replace('.', '_')}"
                bases |= {f"{key}.u": U[:, pick].contiguous(), f"{key}.v": Vh[pick].T.contiguous(), f"{key}.s": S[pick].contiguous()}
            save_file(bases, f"{d}/0_svd_bases.safetensors")
            ad |= bases
        pm = None
    else:
        pm = get_peft_model(make.load_base(base), config())
        for n, p in pm.named_parameters():
            if p.requires_grad:
                p.data = trained(name, n, p, torch.randn(p.shape, generator=g)).to(p.dtype)
        pm.save_pretrained(d, safe_serialization=True)
        os.remove(f"{d}/README.md")
        pm = PeftModel.from_pretrained(make.load_base(base), d).eval()
        cfg, ad = json.load(open(f"{d}/adapter_config.json")), load_file(f"{d}/adapter_model.safetensors")
    whole = lambda c, law: run(make, base, ids, lambda p, W: weight(cfg, ad, p, W, c, law), lambda n, w: gain(ad, n, w, c, law, sd.get(n.removesuffix(".bias"))))
    out = {"input_ids": ids, "base_logits": model(ids[None]).logits[0], "logits": pm(input_ids=ids[None]).logits[0] if pm else whole(1.0, laws[0])}
    errors = [make.err(whole(0.0, laws[0]), out["base_logits"])]
    for p in mods:
        x = torch.randn(4, sd[p].shape[1], generator=g)
        bias = lambda c, law: gain(ad, f"{p}.bias", sd.get(f"{p}.bias", torch.zeros(1)), c, law, sd[p])
        y = lambda c, law: (x.double() @ weight(cfg, ad, p, sd[p], c, law).T + bias(c, law)).float()
        out[f"layer_input:{p}"] = x
        out[f"layer_output:{p}"] = pm.base_model.model.get_submodule(p)(x[None])[0] if pm else y(1.0, laws[0])
        for law in laws:
            errors.append(make.err(y(1.0, law), out[f"layer_output:{p}"]))
            for c in (-1.0, 0.5):
                out[f"layer_output_c_{c:g}:{p}" + ("" if law == laws[0] else f":{law}")] = y(c, law)
    for law in laws:
        errors.append(make.err(whole(1.0, law), out["logits"]))
        for c in (-1.0, 0.5):
            out[f"logits_c_{c:g}" + ("" if law == laws[0] else f":{law}")] = whole(c, law)
    make.finish(name, base, out, {"modules": " ".join(mods), "laws": " ".join(laws)}, errors)


def quantise(make):
    """Rounds the base to Q8_0 and Q4_1 and writes it as a GGUF beside its safetensors, as llama.cpp's converter does."""
    k, m = make.BASES[QUANTISED], make.load_base(QUANTISED)
    names = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
             "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
             "post_attention_layernorm": "ffn_norm", "model.embed_tokens": "token_embd", "model.norm": "output_norm", "model.layers": "blk"}
    w = gguf.GGUFWriter(f"{make.ROOT}/{QUANTISED}/model.gguf", "llama")
    w.add_embedding_length(k["hidden_size"]); w.add_feed_forward_length(k["intermediate_size"]); w.add_block_count(k["num_hidden_layers"])
    w.add_context_length(k["max_position_embeddings"]); w.add_head_count(k["num_attention_heads"]); w.add_head_count_kv(k["num_key_value_heads"])
    w.add_key_length(k["head_dim"]); w.add_value_length(k["head_dim"]); w.add_rope_dimension_count(k["head_dim"])
    w.add_rope_freq_base(k["rope_theta"]); w.add_layer_norm_rms_eps(k["rms_norm_eps"])
    for n, p in m.named_parameters():
        kind = {1: gguf.GGMLQuantizationType.F32}.get(p.dim(), gguf.GGMLQuantizationType.Q4_1 if "layers.1." in n else gguf.GGMLQuantizationType.Q8_0)
        if p.dim() == 2:
            p.copy_(torch.from_numpy(dequantize(quantize(p.numpy(), kind), kind).astype(np.float32)))
        values, name = p.numpy(), n
        for old, new in names.items():
            name = name.replace(old, new)
        if "attn_q." in name or "attn_k." in name:  # neighbouring rows pair for the rotary embedding there
            o, i = values.shape
            values = values.reshape(o // k["head_dim"], 2, k["head_dim"] // 2, i).swapaxes(1, 2).reshape(o, i)
        w.add_tensor(name, quantize(np.ascontiguousarray(values), kind), raw_dtype=kind)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    path = f"{make.ROOT}/{QUANTISED}/model.safetensors"
    save_file({n: p.contiguous() for n, p in m.named_parameters()}, path, {"format": "pt"})


def make_all(make, only):
    if not only or QUANTISED in only:
        quantise(make)
    for name in [*CASES, *OWN]:
        if not only or name in only:
            make_one(make, name)
