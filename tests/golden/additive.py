"""The additive methods' cases: what `make.py` needs to make and check them, method by method."""
import math

import torch
from peft import PolyConfig

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
T = dict(task_type="CAUSAL_LM", target_modules=ALL)
Q0, D1, K1 = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.k_proj"
G0 = "model.layers.0.mlp.gate_proj"
LIN = ["linear"]
CASES = {  # as in make.py
    "poly": ("base", lambda: PolyConfig(r=3, n_tasks=3, n_skills=2, n_splits=4, **T), [Q0, G0, D1], LIN),
    "poly_one_task": ("base_untied", lambda: PolyConfig(r=2, n_tasks=1, n_skills=4, **T), [Q0, D1], LIN),
}
TASKS = {"poly": 2, "poly_one_task": 0}  # which task to run


def randomise(n, p, z):
    """A trained-looking value for the parameter n, or None for another module's parameter."""
    if "poly_lora_A" in n: return z / math.sqrt(p.shape[2] * p.shape[0])
    if "poly_lora_B" in n: return 0.3 * z
    if "poly_router" in n: return z


def delta(cfg, ad, s, path, W, dims, pat, task):
    """The change of the weight [o, i] at c = 1, or None for other methods; s: the module's tensors."""
    (o, i), t = W.shape, cfg["peft_type"]
    if t == "POLY":
        A, B, q, k = s["poly_lora_A"], s["poly_lora_B"], cfg["n_splits"], cfg["n_skills"]
        w = torch.sigmoid(s["poly_router.module_logits"][task]).view(q, k)
        w = w / (w.sum(-1, keepdim=True) + 1e-12)
        A = torch.cat([sum(w[j, n] * A[j, n] for n in range(k)) for j in range(q)], 0)  # [i, r]
        B = torch.cat([sum(w[j, n] * B[j, n] for n in range(k)) for j in range(q)], 1)  # [r, o]
        return (A @ B).T / cfg["r"]
