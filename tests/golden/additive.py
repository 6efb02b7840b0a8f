"""The additive methods' cases: what `make.py` needs to make and check them, method by method.

As there, c = 1 is PEFT's forward on the reloaded checkpoint; c = -1 and 0.5 come from `delta`, written without PEFT.
Methods outside PEFT have `delta` as their only reference (`make_own`)."""
import json, math, os, re, shutil

import numpy as np
import torch
from peft import (AdaLoraConfig, BeftConfig, C3AConfig, DeftConfig, FourierFTConfig, FrodConfig, GloraConfig, GraloraConfig, HiraConfig, LoHaConfig,
                  LoKrConfig, LoraConfig, MissConfig, OSFConfig, PeanutConfig, PolyConfig, PveraConfig, RandLoraConfig, ShiraConfig,
                  SupertuningConfig, TinyLoraConfig, UniLoraConfig, VBLoRAConfig, WaveFTConfig)
from safetensors.torch import load_file, save_file

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
T = dict(task_type="CAUSAL_LM", target_modules=ALL)
QD = dict(task_type="CAUSAL_LM", target_modules=["q_proj", "down_proj"])
QKD = dict(task_type="CAUSAL_LM", target_modules=["q_proj", "k_proj", "down_proj"])
Q0, D1, K1 = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.k_proj"
G0 = "model.layers.0.mlp.gate_proj"
LIN = ["linear"]
CASES = {  # as in make.py
    "poly": ("base", lambda: PolyConfig(r=3, n_tasks=3, n_skills=2, n_splits=4, **T), [Q0, G0, D1], LIN),
    "poly_one_task": ("base_untied", lambda: PolyConfig(r=2, n_tasks=1, n_skills=4, **T), [Q0, D1], LIN),
    # each router gives every split and layer these weights
    "poly_weights": ("base_untied", lambda: PolyConfig(r=2, n_tasks=2, n_skills=3, n_splits=2, **T), [Q0, G0, D1], LIN),
    "adalora": ("base", lambda: AdaLoraConfig(init_r=5, lora_alpha=8, total_step=10, **T), [Q0, D1], LIN),
    "adalora_trimmed": ("base_untied", lambda: AdaLoraConfig(init_r=4, lora_alpha=6, total_step=10, use_rslora=True, **T), [Q0, D1, G0], LIN),
    "vblora": ("base", lambda: VBLoRAConfig(r=3, num_vectors=12, vector_length=16, topk=2, **T), [Q0, K1, D1], LIN),
    "vblora_topk": ("base", lambda: VBLoRAConfig(r=3, num_vectors=12, vector_length=8, topk=3, save_only_topk_weights=True, **T), [Q0, D1], LIN),
    "vblora_top1": ("base_untied", lambda: VBLoRAConfig(r=2, num_vectors=300, vector_length=8, topk=1, save_only_topk_weights=True, **QD), [Q0, D1], LIN),
    # equal logits: which of them are the largest is for torch to say, here in PEFT and in the formula
    "vblora_ties": ("base_untied", lambda: VBLoRAConfig(r=2, num_vectors=40, vector_length=8, topk=3, **QD), [Q0, D1], LIN),
    "loha": ("base", lambda: LoHaConfig(r=2, alpha=5, **T), [Q0, K1, D1], LIN),
    "loha_patterns": ("base_untied", lambda: LoHaConfig(
        r=6, alpha=4, rank_pattern={"down_proj": 3, r"layers\.0\.self_attn\.(q|k)_proj": 2}, alpha_pattern={"q_proj": 9}, **T), [Q0, G0, D1], LIN),
    "lokr": ("base", lambda: LoKrConfig(r=2, alpha=6, **T), [Q0, K1, D1], LIN),
    "lokr_full": ("base", lambda: LoKrConfig(r=16, alpha=8, **T), [Q0, D1], LIN),
    "lokr_both": ("base", lambda: LoKrConfig(r=1, alpha=2, decompose_both=True, decompose_factor=4, **T), [Q0, G0, D1], LIN),
    "lokr_mixed": ("base_untied", lambda: LoKrConfig(
        r=2, alpha=6, decompose_both=True, decompose_factor=5, rank_pattern={"down_proj": 16}, alpha_pattern={"mlp.gate_proj": 3}, **T),
        [Q0, G0, D1], LIN),
    "miss": ("base", lambda: MissConfig(r=8, **T), [Q0, K1, D1], LIN),
    "miss_odd": ("base_untied", lambda: MissConfig(r=7, init_weights=False, **T), [Q0, D1], LIN),
    "miss_mini": ("base", lambda: MissConfig(r=10, mini_r=4, init_weights="mini", **T), [Q0, D1], LIN),
    "miss_bat": ("base", lambda: MissConfig(r=8, init_weights="bat", **T), [Q0, G0, D1], LIN),
    "bone": ("base_untied", lambda: MissConfig(r=4, **T), [Q0, D1], LIN),
    "bone_bat": ("base_untied", lambda: MissConfig(r=4, init_weights="bat", **QD), [Q0, D1], LIN),
    "c3a": ("base", lambda: C3AConfig(block_size=16, **T), [Q0, K1, D1], LIN),
    "c3a_patterns": ("base_untied", lambda: C3AConfig(
        block_size=8, block_size_pattern={Q0: 4, "mlp.down_proj": 2, "k_proj|up_proj": 1}, **T), [Q0, K1, G0, D1], LIN),
    "shira": ("base", lambda: ShiraConfig(r=2, random_seed=5, **T), [Q0, K1, D1], LIN),
    "shira_float": ("base_untied", lambda: ShiraConfig(r=3, **QD), [Q0, D1], LIN),
    "fourierft": ("base", lambda: FourierFTConfig(n_frequency=60, scaling=30.0, **T), [Q0, K1, D1], LIN),
    "fourierft_patterns": ("base_untied", lambda: FourierFTConfig(
        n_frequency=25, scaling=40.0, random_loc_seed=4242, n_frequency_pattern={"q_proj": 11, G0: 700}, **T), [Q0, G0, D1], LIN),
    "randlora": ("base", lambda: RandLoraConfig(r=9, **QD), [Q0, D1], LIN),
    "randlora_regenerated": ("base", lambda: RandLoraConfig(r=8, projection_prng_key=11, save_projection=False, randlora_alpha=500, **T),
                             [Q0, K1, G0, D1], LIN),
    "randlora_sparse": ("base_untied", lambda: RandLoraConfig(r=10, sparse=True, save_projection=False, **T), [Q0, G0, D1], LIN),
    "randlora_very_sparse": ("base", lambda: RandLoraConfig(
        r=7, very_sparse=True, sparse=True, projection_prng_key=3, **QD), [Q0, D1], LIN),
    "randlora_one_module": ("base_untied", lambda: RandLoraConfig(
        r=6, save_projection=False, task_type="CAUSAL_LM", target_modules=["k_proj"]), [K1], LIN),
    # modules whose singular values are well apart, which PEFT's float32 SVD needs
    "pissa": ("base", lambda: LoraConfig(r=4, lora_alpha=6, init_lora_weights="pissa", task_type="CAUSAL_LM",
                                         target_modules=["q_proj", "k_proj", "v_proj"]), [Q0, K1], LIN),
    "pissa_rslora": ("base_untied", lambda: LoraConfig(
        r=2, lora_alpha=2, init_lora_weights="pissa", use_rslora=True, rank_pattern={"gate_proj": 3}, task_type="CAUSAL_LM",
        target_modules=["k_proj", "down_proj", "gate_proj"]), [K1, G0, D1], LIN),
    "dora_pissa": ("base", lambda: LoraConfig(r=4, lora_alpha=6, init_lora_weights="pissa", use_dora=True, task_type="CAUSAL_LM",
                                              target_modules=["q_proj", "k_proj", "v_proj"]), [Q0, K1], LIN),
    "pissa_converted": ("base", lambda: LoraConfig(r=3, lora_alpha=6, init_lora_weights="pissa", **T), [Q0, D1], LIN),
    "beft": ("base_untied", lambda: BeftConfig(**QKD), [Q0, D1], LIN),
    "supertuning": ("base_untied", lambda: SupertuningConfig(sparsity=0.97, **QD), [Q0, D1], LIN),
    "supertuning_supra": ("base", lambda: SupertuningConfig(sparsity=0.98, select_top=False, r=2, lora_alpha=5.0, **QKD), [Q0, K1, D1], LIN),
    "hira": ("base", lambda: HiraConfig(r=3, **QKD), [Q0, K1, D1], LIN),
    "hira_patterns": ("base_untied", lambda: HiraConfig(r=2, rank_pattern={"down_proj": 3, "layers.0.self_attn.q_proj": 1}, **QD), [Q0, D1], LIN),
    "gralora": ("base", lambda: GraloraConfig(r=4, alpha=10, **QKD), [Q0, K1, D1], LIN),
    "gralora_hybrid": ("base_untied", lambda: GraloraConfig(r=8, gralora_k=4, hybrid_r=3, alpha=20, **QD), [Q0, D1], LIN),
    "deft": ("base", lambda: DeftConfig(r=3, **QKD), [Q0, K1, D1], LIN),
    "deft_qr": ("base_untied", lambda: DeftConfig(r=4, alpha=6, decomposition_method="qr", **QD), [Q0, D1], LIN),
    "deft_para": ("base_untied", lambda: DeftConfig(r=2, para=True, decomposition_method="qr", **QD), [Q0, D1], LIN),
    "pvera": ("base", lambda: PveraConfig(r=4, **QD), [Q0, D1], LIN),
    "pvera_noproj": ("base_untied", lambda: PveraConfig(r=3, projection_prng_key=7, save_projection=False, **QD), [Q0, D1], LIN),
    "peanut": ("base_untied", lambda: PeanutConfig(r=3, **QKD), [Q0, K1, D1], LIN),
    "peanut_deep": ("base", lambda: PeanutConfig(r=3, depth=2, act_fn="silu", scaling=0.5, **QD), [Q0, D1], LIN),
    "peanut_gelu": ("base_untied", lambda: PeanutConfig(r=2, depth=1, act_fn="gelu", **QD), [Q0, D1], LIN),
    "peanut_tanh": ("base_untied", lambda: PeanutConfig(r=2, depth=1, act_fn="tanh", **QD), [Q0, D1], LIN),
    # these bases have no biases: of GLoRA's five parts two are left
    "glora": ("base_untied", lambda: GloraConfig(r=2, **QKD), [Q0, K1, D1], LIN),
    "glora_constant": ("base", lambda: GloraConfig(config_A_B="constant", config_C="none", config_D_E="none", **QD), [Q0, D1], LIN),
    "tinylora": ("base_untied", lambda: TinyLoraConfig(r=2, u=5, **QKD), [Q0, K1, D1], LIN),
    # groups of modules that share a vector, and matrices drawn again from the seed: 3·4·4 numbers, 16 at a time
    "tinylora_tied": ("base", lambda: TinyLoraConfig(r=4, u=3, weight_tying=0.7, save_projection=False, projection_seed=9, **QD), [Q0, D1], LIN),
    # 50 numbers, of which the last 16 are drawn twice
    "tinylora_tail": ("base_untied", lambda: TinyLoraConfig(r=5, u=2, weight_tying=1.0, save_projection=False, **QD), [Q0, D1], LIN),
    # 9 numbers, drawn one by one
    "tinylora_few": ("base_untied", lambda: TinyLoraConfig(r=3, u=1, weight_tying=0.4, save_projection=False, **QD), [Q0, D1], LIN),
    "waveft": ("base", lambda: WaveFTConfig(n_frequency=60, scaling=5.0, **QKD), [Q0, K1, D1], LIN),
    "waveft_db2": ("base_untied", lambda: WaveFTConfig(
        n_frequency=50, scaling=5.0, wavelet_family="db2", random_loc_seed=4242, n_frequency_pattern={"q_proj": 70}, **QD), [Q0, D1], LIN),
    "waveft_direct": ("base_untied", lambda: WaveFTConfig(
        n_frequency=50, scaling=3.0, use_idwt=False, proportional_parameters=True, **QKD), [Q0, K1, D1], LIN),
    "osf": ("base_untied", lambda: OSFConfig(effective_rank=0.9, **QD), [Q0, D1], LIN),
    "osf_patterns": ("base", lambda: OSFConfig(effective_rank=44, rank_pattern={"k_proj": 13, "layers.1.mlp": 0.95}, **QKD), [Q0, K1, D1], LIN),
    "osf_half": ("base", lambda: OSFConfig(task_type="CAUSAL_LM", target_modules=r".*layers\.1\.self_attn\.k_proj"), [K1], LIN),
    "frod": ("base_untied", lambda: FrodConfig(
        sparse_rate=0.02, progressbar=False, task_type="CAUSAL_LM", target_modules=["q_proj", "k_proj"]), [Q0, K1], LIN),
    "unilora": ("base", lambda: UniLoraConfig(r=2, theta_d_length=60, **QD), [Q0, D1], LIN),
    # fewer numbers than places, and more: of 100 some are in the vector alone
    "unilora_saved": ("base_untied", lambda: UniLoraConfig(
        r=1, theta_d_length=100, save_indices=True, task_type="CAUSAL_LM", target_modules=["k_proj"]), [K1], LIN),
    "unilora_modules": ("base_untied", lambda: UniLoraConfig(
        r=3, theta_d_length=2000, proj_seed=123456789012, task_type="CAUSAL_LM", target_modules=["q_proj", "mlp.down_proj", "v_proj"],
        layers_to_transform=[1, 2]), [K1.replace("k_", "v_"), D1], LIN),
    "unilora_pattern": ("base_untied", lambda: UniLoraConfig(
        r=2, theta_d_length=100, proj_seed=7, task_type="CAUSAL_LM", target_modules=r".*layers\.[01]\..*(o|gate)_proj"),
        [G0, Q0.replace("q_", "o_")], LIN),
    "olora": ("base", lambda: LoraConfig(r=4, lora_alpha=6, init_lora_weights="olora", **T), [Q0, K1, D1], LIN),
}
OWN = {  # outside PEFT: (base, config, checked modules)
    "nblora": ("base", {"peft_type": "NBLORA", "r": 4}, [Q0, K1, D1]),
    "svft_banded": ("base", {"peft_type": "SVFT"}, [Q0, D1]),
    "svft_rank": ("base_untied", {"peft_type": "SVFT"}, [Q0, K1]),
}
SLACK = {"pissa": 3, "pissa_rslora": 3, "dora_pissa": 3}  # times the tolerance: PEFT's own SVD is float32
TASKS = {"poly": 2, "poly_one_task": 0, "poly_weights": 1}  # which task to run
WEIGHTS = {"poly_weights": [0.55, 0.3, 0.15]}  # what that task's skills weigh everywhere; given in its place


MODULES = []  # path, outputs and inputs of the adapted modules, in the model's order


def chosen(cfg, paths):
    """The modules of a config whose file may have no tensors of their own."""
    if cfg["peft_type"] != "UNILORA":
        return []
    wanted, layers = cfg["target_modules"], cfg["layers_to_transform"]
    matches = (lambda p: re.fullmatch(wanted, p)) if isinstance(wanted, str) else (lambda p: any(p.endswith("." + name) for name in wanted))
    return [p for p in paths if matches(p) and (layers is None or int(p.split(".")[2]) in layers)]


def randomise(n, p, z, cfg):
    """A trained-looking value for the parameter n, or None for another module's parameter."""
    t = cfg.peft_type
    if t == "LORA" and cfg.init_lora_weights in ("pissa", "olora") and p.dim() == 2: return p + 0.15 * z / math.sqrt(p.shape[1])
    if t == "ADALORA": return z * {"A": 1 / math.sqrt(p.shape[1]), "B": 0.15, "E": 1.0}[re.search("lora_(.)", n)[1]]
    if "poly_lora_A" in n: return z / math.sqrt(p.shape[2] * p.shape[0])
    if "poly_lora_B" in n: return 0.3 * z
    if "poly_router" in n: return z
    if "vblora_logits" in n: return 2 * z
    if "vblora_vector_bank" in n: return 0.12 * z
    if "hada_" in n: return 0.35 * z
    if "lokr_" in n: return 0.35 * z
    if "miss_block" in n: return 0.1 * z
    if "c3a_kernel" in n: return 4 * z
    if "shira_weight" in n: return 0.3 * z
    if "fourierft_spectrum" in n: return z
    if "randlora_lambda" in n: return 0.01 * z
    if "randlora_gamma" in n: return p * (1 + 0.3 * z)
    if "beft_bias" in n: return 0.4 * z
    if "supertuning_values" in n: return 0.4 * z
    if "supertuning_lora_A" in n: return z / math.sqrt(p.shape[1])
    if "supertuning_lora_B" in n: return 0.12 * z
    if "hira_A" in n or "hira_B" in n: return 0.6 * z
    if "gralora_" in n: return z / math.sqrt(p.shape[-2] if p.dim() == 3 else p.shape[-1]) * (0.3 if "B" in n.split("gralora_")[1] else 1.0)
    if "deft_P" in n: return z / math.sqrt(p.shape[0])
    if "deft_R" in n: return p + 0.1 * z
    if "pvera_lambda_d" in n: return 0.2 + 0.2 * z
    if "pvera_lambda_b" in n: return 0.25 * z
    if "peanut_B" in n: return 0.2 * z
    if "peanut_" in n: return z / math.sqrt(p.shape[1])
    if re.search("glora_[ABC].*X[du]", n): return 0.4 * z
    if "glora_" in n: return 0.2 + 0.2 * z
    if "tinylora_v" in n: return 0.4 * z
    if "waveft_spectrum" in n: return 0.4 * z
    if "osf_svd_params" in n: return p * (1 + 0.3 * z) if p.dim() == 1 else p + 0.3 * z / math.sqrt(max(p.shape))
    if "frod_lambda_l" in n: return p * (1 + 0.15 * z)
    if "frod_lambda_s" in n: return 0.5 * z
    if "unilora_theta_d" in n: return 1.5 * z if cfg.theta_d_length < 1000 else 0.4 * z


def edit_model(name, pm):
    """Before it is saved."""
    if name in WEIGHTS:
        for n, p in pm.named_parameters():
            if "poly_router" in n:
                p.data[TASKS[name]] = torch.tensor(WEIGHTS[name]).logit().repeat(len(p[0]) // len(WEIGHTS[name]))
    if name == "vblora_ties":  # as bfloat16 makes them, only more often
        for n, p in pm.named_parameters():
            if "vblora_logits" in n:
                p.data = p.round().to(torch.bfloat16)
                top = p.float().topk(4, -1).values
                assert (top[..., 2] == top[..., 3]).float().mean() > 0.5
    if name == "adalora_trimmed":
        keep = {Q0: [True, False, True, True], D1: [False] * 4, K1: [True] * 4, G0: [False, True, False, False]}
        pm.peft_config["default"].rank_pattern = {f"{path}.lora_E.default": mask for path, mask in keep.items()}


def save(name, pm, base, d):
    """Saves the checkpoint, as its user would have."""
    if name == "pissa_converted":
        from peft import get_peft_model
        start = f"{d}_start"
        torch.manual_seed(0)
        get_peft_model(base, CASES[name][1]()).save_pretrained(start)
        pm.save_pretrained(d, path_initial_model_for_weight_conversion=start)
        shutil.rmtree(start)
    else:
        pm.save_pretrained(d, safe_serialization=True)
    if name == "shira_float":  # as Windows writes it
        rewrite(d, lambda k, v: (k, v.float() if k.endswith("shira_indices") else v))


def rewrite(d, edit, **fields):
    path = f"{d}/adapter_model.safetensors"
    save_file(dict(edit(k, v) for k, v in load_file(path).items()), path, {"format": "pt"})
    cfg = json.load(open(f"{d}/adapter_config.json"))
    if fields:
        json.dump({**cfg, **fields}, open(f"{d}/adapter_config.json", "w"), indent=2)


def edit_files(name, d):
    """After PEFT has read them: forms that this PEFT no longer knows."""
    if name.startswith("bone"):
        rewrite(d, lambda k, v: (k.replace("miss_block", "bone_block"), v), peft_type="BONE")


def delta(cfg, ad, s, path, W, dims, pat, task):
    """The change of the weight [o, i] at c = 1, or None for other methods; s: the module's tensors."""
    (o, i), t = W.shape, cfg["peft_type"]
    if t == "LORA" and cfg["init_lora_weights"] in ("pissa", "olora"):
        r, a = pat(cfg["rank_pattern"], path, cfg["r"]), pat(cfg["alpha_pattern"], path, cfg["lora_alpha"])
        sc = a / math.sqrt(r) if cfg["use_rslora"] else a / r
        if cfg["init_lora_weights"] == "pissa":
            U, S, V = torch.linalg.svd(W.double(), full_matrices=False)
            start = (U[:, :r] * S[:r]) @ V[:r]
        else:
            Q = torch.linalg.qr(W.double())[0][:, :r]
            start = sc * Q @ (Q.T @ W.double())
        D = sc * s["lora_B.weight"] @ s["lora_A.weight"] - start.float()
        return (s["lora_magnitude_vector"] / (W + D).norm(dim=1))[:, None] * (W + D) - W if cfg["use_dora"] else D
    if t == "ADALORA":
        return s["lora_B"] @ (s["lora_A"] * s["lora_E"]) * (cfg["lora_alpha"] / (cfg["init_r"] + 1e-5))
    if t == "POLY":
        A, B, q, k = s["poly_lora_A"], s["poly_lora_B"], cfg["n_splits"], cfg["n_skills"]
        w = torch.sigmoid(s["poly_router.module_logits"][task]).view(q, k)
        w = w / (w.sum(-1, keepdim=True) + 1e-12)
        A = torch.cat([sum(w[j, n] * A[j, n] for n in range(k)) for j in range(q)], 0)  # [i, r]
        B = torch.cat([sum(w[j, n] * B[j, n] for n in range(k)) for j in range(q)], 1)  # [r, o]
        return (A @ B).T / cfg["r"]
    if t == "VBLORA":
        bank, k = ad["base_model.vblora_vector_bank"], cfg["topk"]

        def mix(name):
            if cfg["save_only_topk_weights"]:
                index, w = s[f"vblora_logits_{name}_topk_indices"].long(), s[f"vblora_logits_{name}_topk_weights"]
                w = torch.cat([w, 1 - w.sum(-1, keepdim=True)], -1)
            else:
                w, index = s[f"vblora_logits_{name}"].topk(k, -1)
                w = w.softmax(-1)
            return (w[..., None] * bank[index]).sum(-2)
        A, B = mix("A"), mix("B")
        return B.transpose(1, 2).reshape(o, -1) @ A.reshape(-1, i)
    if t in ("LOHA", "LOKR"):
        r, a = pat(cfg["rank_pattern"], path, cfg["r"]), pat(cfg["alpha_pattern"], path, cfg["alpha"])
        if t == "LOHA":
            return a / r * (s["hada_w1_a"] @ s["hada_w1_b"]) * (s["hada_w2_a"] @ s["hada_w2_b"])
        w1, w2 = (s[n] if n in s else s[n + "_a"] @ s[n + "_b"] for n in ("lokr_w1", "lokr_w2"))
        return a / r * torch.kron(w1, w2)
    if t in ("MISS", "BONE"):
        D, form = s["miss_block" if t == "MISS" else "bone_block"], cfg["init_weights"]
        out = torch.zeros(o, i)
        if form == "bat":
            r = D.shape[-1]
            for m in range(o // r):
                for n in range(i // r):
                    at = slice(m * r, m * r + r), slice(n * r, n * r + r)
                    out[at] = W[at] @ D[m] + D[m]
            return out
        for j in range(i):
            row = D[j % D.shape[0]]
            out[:, j] = row.repeat(o // cfg["mini_r"]) if form == "mini" else row
        return out
    if t == "C3A":
        w = s["c3a_kernel"]
        b, out = w.shape[-1], torch.zeros(o, i)
        for row in range(o):
            for col in range(i):
                out[row, col] = w[row // b, col // b, (col - row) % b] / i
        return out
    if t == "SHIRA":
        out, (rows, cols) = torch.zeros(o, i), s["shira_indices"].long()
        out[rows, cols] = s["shira_weight"]
        return out
    if t == "FOURIERFT":
        x = s["fourierft_spectrum"].double().numpy()
        bits = mt(cfg["random_loc_seed"], len(x))
        order = {}
        S = np.zeros((o, i), np.complex128)
        for k in range(len(x)):  # the first draws of torch.randperm
            j = k + int(bits[k]) % (o * i - k)
            index = order.get(j, j)
            order[j] = order.get(k, k)
            S[index // i, index % i] = x[k]
        return torch.from_numpy(np.fft.ifft2(S).real * cfg["scaling"]).float()
    if t == "RANDLORA":
        r, mn, mx = cfg["r"], min(o, i), max(o, i)
        nb, (MX, MN) = math.ceil(mn / r), (max(dims), min(dims))
        NB = math.ceil(MN / r)
        if cfg["save_projection"]:
            A, B = ad["base_model.randlora_A"].float(), ad["base_model.randlora_B"].float()
        elif cfg["sparse"] or cfg["very_sparse"]:
            u = torch.from_numpy((mt(cfg["projection_prng_key"], r * MN + MX * NB * r) & 0xFFFFFF).astype(np.float32) * np.float32(2.0**-24))
            p = 1 / (2 * (math.sqrt(MN) if cfg["very_sparse"] else 3))
            sign = lambda z: (z > 1 - p).float() - (z < p).float()
            A, B = sign(u[:r * MN]).reshape(r, 1, MN), sign(u[r * MN:]).reshape(MX, NB, r)
            A, B = A / A.std(), B / B.std()
        else:
            g = torch.Generator().manual_seed(cfg["projection_prng_key"])
            draw = lambda *shape: torch.nn.init.kaiming_uniform_(torch.empty(shape, dtype=torch.bfloat16), a=math.sqrt(5), generator=g)
            A = draw(r, 1, MN)
            B = torch.cat([draw(MX, 1, r) for _ in range(NB)], 1)
            A, B = (A / A.std()).float(), (B / B.std()).float()
        lam, gam, out = s["randlora_lambda"], s["randlora_gamma"], torch.zeros(mx, mn)
        left = B[:mx, :nb].flatten(1)  # columns count (basis, rank)
        right = torch.stack([lam[p, q] * A[p, 0, :mn] * gam[q] for p in range(r) for q in range(nb)])  # rows count (rank, basis)
        out = left @ right * (cfg["randlora_alpha"] / r)
        return out if mn == i else out.T
    if t == "BEFT":
        return torch.zeros(o, i), s["beft_bias"][0]
    if t == "SUPERTUNING":
        out = torch.zeros(o * i)
        for k, place in enumerate(s["supertuning_indices"].long().tolist()):
            out[place] = s["supertuning_values"][k]
        out = out.reshape(o, i)
        return out if cfg["r"] is None else out + cfg["lora_alpha"] / cfg["r"] * s["supertuning_lora_B.weight"] @ s["supertuning_lora_A.weight"]
    if t == "HIRA":
        return W * (s["hira_B"] @ s["hira_A"])
    if t == "GRALORA":
        k, r, out = cfg["gralora_k"], cfg["r"], torch.zeros(o, i)
        m, n, q = o // k, i // k, r // k
        for a in range(k):  # the block of outputs a and inputs b: rank q
            for b in range(k):
                left = s["gralora_B"][a][b * q : (b + 1) * q].T
                right = s["gralora_A"][b][:, a * q : (a + 1) * q].T
                out[a * m : (a + 1) * m, b * n : (b + 1) * n] = left @ right
        if cfg["hybrid_r"]:
            out = out + s["gralora_B_general.weight"] @ s["gralora_A_general.weight"]
        return cfg["alpha"] / (r + cfg["hybrid_r"]) * out
    if t == "DEFT":
        P = s["deft_P"].double()
        Q = torch.linalg.qr(P)[0] if cfg["decomposition_method"] == "qr" else P
        right = Q if cfg["decomposition_method"] == "qr" else P.clamp(min=0)
        out = -Q @ (right.T @ W.double())
        if not cfg["para"]:
            out = out + (cfg["alpha"] / P.shape[1] if cfg["alpha"] else 1.0) * Q @ s["deft_R"].double()
        return out.float()
    if t == "PVERA":
        r, (mo, mi) = cfg["r"], dims
        if cfg["save_projection"]:
            A, B = ad["base_model.pvera_A"], ad["base_model.pvera_B"]
        else:
            g = torch.Generator().manual_seed(cfg["projection_prng_key"])
            A, B = (torch.nn.init.kaiming_uniform_(torch.empty(shape), generator=g) for shape in ((2 * r, mi), (mo, r)))
        # the second half of A and of d is the spread, which is drawn from in training only
        return (s["pvera_lambda_b"][:, None] * B[:o]) @ (s["pvera_lambda_d"][:r, None] * A[:r, :i])
    if t == "PEANUT":
        act = {"relu": torch.relu, "silu": lambda z: z * torch.sigmoid(z), "tanh": torch.tanh,
               "gelu": lambda z: 0.5 * z * (1 + torch.erf(z / math.sqrt(2)))}[cfg["act_fn"]]
        z = act(W.T @ s["peanut_A.weight"].T)
        down = []
        for k in range(cfg["depth"]):
            down.append(z)
            z = act(z @ s[f"peanut_encoders.{k}.weight"].T)
        for k in range(cfg["depth"]):
            z = act(z @ s[f"peanut_decoders.{k}.weight"].T) + down.pop()
        return cfg["scaling"] * (z @ s["peanut_B.weight"].T).T
    if t == "GLORA":
        part = lambda n: s[f"glora_{n}.Xd"] @ s[f"glora_{n}.Xu"] if f"glora_{n}.Xd" in s else s.get(f"glora_{n}.X", torch.zeros(1))
        return W * part("A") + part("B")
    if t == "TINYLORA":
        hit = [k.split(".tinylora_A")[0].removeprefix("base_model.model.") for k in ad if k.endswith("tinylora_A")]
        order = sorted(hit, key=lambda p: (int(p.split(".")[2]), ALL.index(p.split(".")[-1])))
        at, u, r = order.index(path), cfg["u"], len(s["tinylora_A"])
        if cfg["save_projection"]:
            P = s["tinylora_P"]
        else:
            P = torch.normal(0.0, 1 / r**0.5, (u, r, r), generator=torch.Generator().manual_seed(cfg["projection_seed"] + at))
        groups = max(1, round(len(order) * (1.0 - cfg["weight_tying"])))
        v = ad[f"base_model.tinylora_v.{min(at // max(1, len(order) // groups), groups - 1)}"]
        return s["tinylora_B"] @ sum(v[k] * P[k] for k in range(u)) @ s["tinylora_A"]
    if t == "WAVEFT":
        v, places = s["waveft_spectrum"], torch.randperm(o * i, generator=torch.Generator().manual_seed(cfg["random_loc_seed"]))
        S = torch.zeros(o * i)
        S[places[: len(v)]] = v
        S = S.reshape(o, i)
        if not cfg["use_idwt"]:
            return cfg["scaling"] * S
        root = math.sqrt(3)
        low = {"db1": [2**-0.5] * 2, "db2": [x / (4 * 2**0.5) for x in (1 + root, 3 + root, 3 - root, 1 - root)]}[cfg["wavelet_family"]]
        high, L = [(-1) ** k * x for k, x in enumerate(reversed(low))], len(low)

        def synthesis(n):  # [n, wide]: its columns are the low waves and then the high ones, and n places of them are kept
            wide = n + L - 2
            full = torch.zeros(wide + L - 2, wide)
            for k in range(wide // 2):
                for j in range(L):
                    full[2 * k + j, k], full[2 * k + j, wide // 2 + k] = low[j], high[j]
            return full[L - 2 : L - 2 + n], (L - 2) // 2
        (rows, up), (cols, left) = synthesis(o), synthesis(i)
        big = torch.zeros(rows.shape[1], cols.shape[1])
        big[up : up + o, left : left + i] = S
        h, w = big.shape[0] // 2, big.shape[1] // 2
        # the quarter at the right is high from row to row, the one below from column to column: as PEFT names them
        quarters = (0, 0, big[:h, :w]), (1, 0, big[:h, w:]), (0, 1, big[h:, :w]), (1, 1, big[h:, w:])
        part = lambda G, n, high: G[:, n:] if high else G[:, :n]
        return cfg["scaling"] * sum(part(rows, h, a) @ Q @ part(cols, w, b).T for a, b, Q in quarters)
    if t == "OSF":
        n = {k: s[f"osf_svd_params.{k}"].double() for k in ("U_low", "S_low", "V_low")}
        U, S, V = torch.linalg.svd(W.double(), full_matrices=False)
        k = len(S) - len(n["S_low"])
        return ((n["U_low"] * n["S_low"]) @ n["V_low"] - (U[:, k:] * S[k:]) @ V[k:]).float()
    if t == "FROD":
        kind = "_".join(path.split(".")[-2:])
        V, at = ad[f"base_model.frod_V.{kind}"].double(), ad[f"base_model.frod_s_indices.{kind}"]
        U = W.double() @ torch.linalg.inv(V).T
        middle = torch.diag(s["frod_lambda_l"].double())
        for k, x in enumerate(s["frod_lambda_s_values"].double()):
            middle[at[0, k], at[1, k]] += x
        return (U / U.norm(dim=0) @ middle @ V.T - W.double()).float()
    if t == "UNILORA":
        theta = ad["base_model.unilora_theta_d"]
        if cfg["save_indices"]:
            A, B = (theta[s[f"unilora_indices_{n}"].long()] * s[f"unilora_scales_{n}"] for n in "AB")
            return B @ A
        d, r = cfg["theta_d_length"], cfg["r"]
        total, rng = sum(r * (wi + wo) for _, wo, wi in MODULES), np.random.default_rng(cfg["proj_seed"])
        index = np.repeat(np.arange(d), total // d)
        if total % d:
            index = np.concatenate([index, rng.choice(d, size=total % d, replace=False)])
        rng.shuffle(index)
        share, start = theta.numpy() / np.sqrt(np.maximum(np.bincount(index, minlength=d), 1)), 0
        for p, wo, wi in MODULES:
            A, B = (share[index[at : at + n]] for at, n in ((start, r * wi), (start + r * wi, r * wo)))
            start += r * (wi + wo)
            if p == path:
                return torch.from_numpy(B.reshape(o, r) @ A.reshape(r, i)).float()
    if t == "NBLORA":
        G = torch.cat((s["nblora_A"], s["nblora_B"]), 1).T.double()
        r = G.shape[1]
        X, Y, I = G[:r], G[r:], torch.eye(r).double()
        Z = X - X.T + Y.T @ Y
        G = torch.cat(((I - Z) @ torch.linalg.inv(I + Z), -2 * Y @ torch.linalg.inv(I + Z)))
        A, B, sv = G[:i].T, G[i:].T, s["nblora_s"].double()
        D = 2 * B.T @ (sv[:, None] * A)
        assert torch.allclose(A @ A.T + B @ B.T, I) and torch.linalg.matrix_norm(D, 2) <= sv.max() + 1e-9
        return D.float()
    if t == "SVFT":
        u, v, k = (s[f"svft_layer.{n}"].double() for n in ("u", "v", "s_pre"))
        M = torch.diag(k)
        for row, col, m in zip(s["svft_layer.s_row"], s["svft_layer.s_col"], s["svft_layer.s"].double()):
            M[int(row), int(col)] += torch.sigmoid(s["svft_layer.gate"].double())[0] * m
        return (u @ M @ v - W.double()).float()


def mt(seed, n):
    b = np.random.MT19937()
    b._legacy_seeding(seed & 0xFFFFFFFF)
    return b.random_raw(n).astype(np.uint64)


def own_tensors(name, path, W, g):
    o, i = W.shape
    randn = lambda *shape: torch.randn(shape, generator=g)
    if name == "nblora":
        return {"nblora_A": 0.3 * randn(4, i), "nblora_B": 0.3 * randn(4, o), "nblora_s": randn(4).abs()}
    U, S, V = torch.linalg.svd(W, full_matrices=False)
    k = len(S) if name == "svft_banded" else len(S) - 3  # fewer: what is left out of the sum is gone
    if name == "svft_banded":
        rows, cols = zip(*[(a, b) for a in range(k) for b in range(k) if abs(a - b) <= 1])
    else:  # drawn places, of which one comes twice
        rows, cols = (torch.randint(0, k, (3 * k,), generator=g).tolist() for _ in range(2))
        rows[1], cols[1] = rows[0], cols[0]
    return {"svft_layer.u": U[:, :k].contiguous(), "svft_layer.v": V[:k].contiguous(), "svft_layer.s_pre": S[:k].contiguous(),
            "svft_layer.s": 0.5 * randn(len(rows)), "svft_layer.s_row": torch.tensor(rows), "svft_layer.s_col": torch.tensor(cols),
            "svft_layer.gate": 0.5 * randn(1)}


def make_own(make, name):
    """A checkpoint of a method outside PEFT; `delta` is the reference."""
    base, cfg, mods = OWN[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    sd, ids = load_file(f"{make.ROOT}/{base}/model.safetensors"), make.tokens(base)
    ad = {f"base_model.model.{p}.{k}": v for p in mods for k, v in own_tensors(name, p, sd[p + ".weight"], g).items()}
    save_file(ad, f"{d}/adapter_model.safetensors", {"format": "pt"})
    json.dump(cfg, open(f"{d}/adapter_config.json", "w"), indent=2)
    fn = lambda p, c: make.effective(cfg, ad, p, sd[p + ".weight"], c, "linear", None)
    out = {"input_ids": ids, "base_logits": make.load_base(base)(ids[None]).logits[0]}
    for p in mods:
        x = torch.randn(4, sd[p + ".weight"].shape[1], generator=g)
        out[f"layer_input:{p}"] = x
        for c, key in ((1.0, ""), (-1.0, "_c_-1"), (0.5, "_c_0.5")):
            out[f"layer_output{key}:{p}"] = fn(p, c)(x)
    for c, key in ((1.0, ""), (-1.0, "_c_-1"), (0.5, "_c_0.5")):
        out[f"logits{key}"] = make.forward(base, sd, ids, {p: fn(p, c) for p in mods})
    errors = [make.err(make.forward(base, sd, ids), out["base_logits"]), 0.0]
    make.finish(name, base, out, {"modules": " ".join(mods), "laws": "linear"}, errors)


def make_all(make, only):
    for name in OWN:
        if not only or name in only:
            make_own(make, name)
