"""Writes every file in this folder: tiny Llama bases, PEFT checkpoints on them, and what they must compute.

Pinned: torch 2.15.0, transformers 5.23.0, peft 0.21.2, safetensors / numpy / gguf as in VERSIONS below
(the versions really used are written into each expect.safetensors).

    python tests/golden/make.py            # from the repository root, CPU only, under a minute
    python tests/golden/make.py CASE ...   # only these cases

c = 1 comes from PEFT's own forward on the checkpoint as reloaded from disk. c = -1 and c = 0.5 come from
`effective` and `forward` below, which use neither PEFT nor transformers; the script refuses to finish unless
both agree at c = 1 and unless c = 0 gives the base.
"""
import json, math, os, re, shutil, sys, warnings

if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets as lists: fix their order
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable] + sys.argv)
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
warnings.filterwarnings("ignore")
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import additive
import gguf, numpy as np, peft, safetensors, torch, transformers
from importlib.metadata import version
from peft import (DeloraConfig, HRAConfig, IA3Config, LoraConfig, PeftModel, PrefixTuningConfig, RoadConfig, VeraConfig,
                  get_peft_model)
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)
torch.set_grad_enabled(False)
VERSIONS = {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"}
for _k, _v in VERSIONS.items():
    assert version(_k).split("+")[0] == _v, f"{_k} {version(_k)}, wanted {_v}"
VERSIONS.update({k: version(k) for k in ("torch", "safetensors", "numpy", "gguf")})
ROOT = os.path.relpath(os.path.dirname(os.path.abspath(__file__)))
TOL = 1e-5, 2e-5  # c = 1, layer outputs and logits (of size ~10): float32 rounding in a different order

# ------------------------------------------------------------------ bases
BASES = {
    "base": dict(hidden_size=48, intermediate_size=80, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
                 head_dim=8, vocab_size=96, tie_word_embeddings=True, max_position_embeddings=256, rope_theta=100000.0,
                 rms_norm_eps=1e-5),
    "base_untied": dict(hidden_size=40, intermediate_size=72, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
                        head_dim=16, vocab_size=64, tie_word_embeddings=False, max_position_embeddings=32, rope_theta=10000.0,
                        rms_norm_eps=1e-6),
    "base_bias": dict(hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                      head_dim=6, vocab_size=48, tie_word_embeddings=True, max_position_embeddings=64, rope_theta=10000.0,
                      rms_norm_eps=1e-6, attention_bias=True, mlp_bias=True),
    # rounded to what a GGUF holds: geometric.py
    "base_quantised": dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                           head_dim=16, vocab_size=64, tie_word_embeddings=True, max_position_embeddings=64, rope_theta=10000.0,
                           rms_norm_eps=1e-5),
}


def make_base(name):
    kw = dict(BASES[name])
    theta = kw.pop("rope_theta")
    cfg = LlamaConfig(**kw, rope_parameters={"rope_type": "default", "rope_theta": theta}, bos_token_id=1, eos_token_id=2)
    m = LlamaForCausalLM(cfg).float().eval()
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    for n, p in m.named_parameters():
        z = torch.randn(p.shape, generator=g)
        if p.dim() == 1:
            p.copy_(0.2 * z if "bias" in n else 1 + 0.2 * z)
        else:
            p.copy_(z * (0.3 if "embed" in n or "lm_head" in n else 1 / math.sqrt(p.shape[1])))
    m.tie_weights()
    d = f"{ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    m.save_pretrained(d, safe_serialization=True)
    for f in os.listdir(d):
        if f not in ("config.json", "model.safetensors"):
            os.remove(f"{d}/{f}")


def load_base(name):
    return LlamaForCausalLM.from_pretrained(f"{ROOT}/{name}", dtype=torch.float32, attn_implementation="eager").eval()


# ------------------------------------------------------------------ the model and every formula again, without PEFT
def rms(x, w, eps):
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + eps) * w


def rope(x, pos, theta):
    d = x.shape[-1]
    f = torch.outer(pos.float(), 1.0 / theta ** (torch.arange(0, d, 2).float() / d))
    cos, sin = torch.cat((f, f), -1).cos(), torch.cat((f, f), -1).sin()
    h = d // 2
    return x * cos + torch.cat((-x[..., h:], x[..., :h]), -1) * sin


def forward(base, sd, ids, lin=None, prefix=None, c=1.0, block=None, beside=None, keep_length=False, hidden=False,
            action="add"):
    """lin: module path -> (x -> y); prefix: per layer (K, V) [kv_heads, n, head_dim]; block: layer -> vector added to its output;
    beside: layer -> (K, V, gate), attended to in a softmax of their own; keep_length: block's vectors only turn; action: what
    they do, of which ablate takes c times the part of x along the vector away, and clamp takes the share min(|c|, 1) of it away before it
    adds c times the vector."""
    k = BASES[base]
    H, KV, D, eps, theta = k["num_attention_heads"], k["num_key_value_heads"], k["head_dim"], k["rms_norm_eps"], k["rope_theta"]
    lin = lin or {}
    L = lambda path, x: lin[path](x) if path in lin else x @ sd[path + ".weight"].T
    x, t = sd["model.embed_tokens.weight"][ids], len(ids)
    n = prefix[0][0].shape[1] if prefix else 0
    pos = torch.arange(t) + n
    for l in range(k["num_hidden_layers"]):
        p = f"model.layers.{l}"
        h = rms(x, sd[f"{p}.input_layernorm.weight"], eps)
        q = rope(L(f"{p}.self_attn.q_proj", h).view(t, H, D).transpose(0, 1), pos, theta)
        kk = rope(L(f"{p}.self_attn.k_proj", h).view(t, KV, D).transpose(0, 1), pos, theta)
        v = L(f"{p}.self_attn.v_proj", h).view(t, KV, D).transpose(0, 1)

        def attend(kk, v, skip):
            kk, v = kk.repeat_interleave(H // KV, 0), v.repeat_interleave(H // KV, 0)
            s = q @ kk.transpose(1, 2) / math.sqrt(D)
            mask = torch.full((t, t), float("-inf")).triu(1)
            s = s + torch.cat((torch.zeros(t, skip), mask), 1)
            return (s.softmax(-1) @ v).transpose(0, 1).reshape(t, H * D)

        a = attend(kk, v, 0)
        if prefix:
            a = a + c * (attend(torch.cat((prefix[l][0], kk), 1), torch.cat((prefix[l][1], v), 1), n) - a)
        if beside and l in beside:
            K, V, gate = beside[l]
            s = (q @ K.repeat_interleave(H // KV, 0).transpose(1, 2) / math.sqrt(D)).softmax(-1)
            a = a + c * gate * (s @ V.repeat_interleave(H // KV, 0)).transpose(0, 1).reshape(t, H * D)
        x = x + L(f"{p}.self_attn.o_proj", a)
        h = rms(x, sd[f"{p}.post_attention_layernorm.weight"], eps)
        g = L(f"{p}.mlp.gate_proj", h)
        x = x + L(f"{p}.mlp.down_proj", g * torch.sigmoid(g) * L(f"{p}.mlp.up_proj", h))
        if block and l in block:
            was = x.norm(dim=-1, keepdim=True)
            unit = block[l] / block[l].norm()
            away = {"add": 0.0, "ablate": c, "clamp": min(abs(c), 1.0)}[action]
            x = x - away * (x * unit).sum(-1, keepdim=True) * unit + (0.0 if action == "ablate" else c) * block[l]
            x = x / x.norm(dim=-1, keepdim=True) * was if keep_length else x
    x = rms(x, sd["model.norm.weight"], eps)
    if hidden:
        return x
    return x @ sd.get("lm_head.weight", sd["model.embed_tokens.weight"]).T


def mt_uniform(seed, shapes_bounds):
    """torch's CPU uniform_ from its MT19937, in order of the list."""
    b = np.random.MT19937()
    b._legacy_seeding(seed & 0xFFFFFFFF)
    out = []
    for shape, hi in shapes_bounds:
        v = b.random_raw(int(np.prod(shape))).astype(np.uint64) & np.uint64(0xFFFFFF)
        x = v.astype(np.float32) * np.float32(2.0**-24)
        out.append(torch.from_numpy((x * np.float32(np.float32(hi) - np.float32(-hi)) + np.float32(-hi)).reshape(shape)))
    return out


def pat(d, path, default):
    return next((v for k, v in (d or {}).items() if re.match(rf"(.*\.)?({k})$", path)), default)


def reflections(U):
    M = torch.eye(U.shape[0], dtype=U.dtype)
    for k in range(U.shape[1]):
        M = M - 2 * torch.outer(M @ U[:, k], U[:, k])
    return M


def pair_rotations(U, c):
    """Reflections (0,1), (2,3), ... as plane rotations with their angles scaled; the exact inverse for c < 0."""
    n = U.shape[0]
    M = torch.eye(n, dtype=U.dtype)
    for k in range(0, U.shape[1], 2):
        a, b = U[:, k], U[:, k + 1]
        e = b - (a @ b) * a
        s = e.norm()
        if s < 1e-9:
            continue
        th = 2 * torch.atan2(s, a @ b) * abs(c)
        P = torch.stack((a, e / s), 1)
        R = torch.stack((torch.stack((th.cos(), th.sin())), torch.stack((-th.sin(), th.cos()))))
        M = M @ (torch.eye(n, dtype=U.dtype) + P @ (R - torch.eye(2, dtype=U.dtype)) @ P.T)
    return M.T if c < 0 else M


def effective(cfg, ad, path, W, c, law, dims, task=None):
    """x -> y of one adapted linear layer with coefficient c."""
    s = {k[len(f"base_model.model.{path}."):]: v.float() for k, v in ad.items() if k.startswith(f"base_model.model.{path}.")}
    (o, i), t = W.shape, cfg["peft_type"]
    if not s and t != "UNILORA":
        return None
    linear = lambda D, bias=0.0: (lambda x: x @ W.T + c * (x @ D.T + bias))
    D = additive.delta(cfg, ad, s, path, W, dims, pat, task)
    if D is not None:
        return linear(*D) if isinstance(D, tuple) else linear(D)
    if t == "LORA":
        A, B = s["lora_A.weight"], s["lora_B.weight"]
        r, a = pat(cfg["rank_pattern"], path, cfg["r"]), pat(cfg["alpha_pattern"], path, cfg["lora_alpha"])
        assert r == A.shape[0]
        sc = a / math.sqrt(r) if cfg["use_rslora"] else a / r
        if cfg["use_dora"]:
            V = W + sc * B @ A
            return linear((s["lora_magnitude_vector"] / V.norm(dim=1))[:, None] * V - W)
        return linear(sc * B @ A, sc * s["lora_B.bias"] if "lora_B.bias" in s else 0.0)
    if t == "DELORA":
        A, B = s["delora_A"], s["delora_B"]
        d = s["delora_lambda"] / A.shape[0] / (A.norm(dim=1).clamp(min=1e-4) * B.norm(dim=0).clamp(min=1e-4))
        return linear((B * d) @ A * s["delora_w_norm"])
    if t == "VERA":
        if cfg["save_projection"]:
            A, B = ad["base_model.vera_A"], ad["base_model.vera_B"]
        else:
            r, (mo, mi) = cfg["r"], dims
            A, B = mt_uniform(cfg["projection_prng_key"], [((r, mi), math.sqrt(3) * (math.sqrt(2) / math.sqrt(mi))),
                                                          ((mo, r), math.sqrt(3) * (math.sqrt(2) / math.sqrt(r)))])
        return linear((s["vera_lambda_b"][:, None] * B[:o]) @ (s["vera_lambda_d"][:, None] * A[:, :i]))
    if t == "IA3":
        l = 1 + c * (s["ia3_l"].flatten() - 1)
        return (lambda x: (x * l) @ W.T) if s["ia3_l"].shape[0] == 1 else (lambda x: (x @ W.T) * l)
    if t == "ROAD":
        g, th, al, v = cfg["group_size"], s["road_theta"], s["road_alpha"], cfg["variant"]
        if v == "road_1":
            ex = lambda z: z.reshape(-1, g // 2).repeat_interleave(2, 0).flatten()
            th, al = ex(th), ex(al)
        if v == "road_4":
            th, al = th.reshape(-1, 2, g), al.reshape(-1, 2, g)
            a, b = (al[:, 0] * th[:, 0].cos()).flatten(), (al[:, 1] * th[:, 1].sin()).flatten()
        else:
            if law == "geodesic":
                al, th = al**c, c * th
            a, b = al * th.cos(), al * th.sin()
        if law == "linear":
            a, b = 1 + c * (a - 1), c * b

        def f(x):
            y = x @ W.T
            z = y.reshape(-1, 2, g // 2)
            return y * a + torch.stack((-z[:, 1], z[:, 0]), 1).reshape(y.shape) * b
        return f
    if t == "HRA":
        u = s["hra_u"].double()
        U = u / u.norm(dim=0)
        if cfg["apply_GS"]:
            cols = []
            for k in range(u.shape[1]):
                w = u[:, k] - sum(((z @ u[:, k]) * z for z in cols), torch.zeros(i).double())
                cols.append(w / w.norm())
            U = torch.stack(cols, 1)
        if law == "geodesic":
            return linear_of(W @ pair_rotations(U, c).float())
        return linear(W @ reflections(U).float() - W)
    raise KeyError(t)


def linear_of(W):
    return lambda x: x @ W.T


# ------------------------------------------------------------------ cases
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
T = dict(task_type="CAUSAL_LM", target_modules=ALL)
Q0, D1, K1 = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj", "model.layers.1.self_attn.k_proj"
G0 = "model.layers.0.mlp.gate_proj"
CASES = {  # name: (base, config, checked modules, laws: first is the default)
    "lora": ("base", lambda: LoraConfig(r=4, lora_alpha=8, **T), [Q0, D1], ["linear"]),
    "lora_untied": ("base_untied", lambda: LoraConfig(r=2, lora_alpha=3, **T), [Q0, D1], ["linear"]),
    "lora_bf16": ("base", lambda: LoraConfig(r=4, lora_alpha=8, **T), [Q0, D1], ["linear"]),
    "lora_rslora_patterns": ("base", lambda: LoraConfig(
        r=4, lora_alpha=6, use_rslora=True, rank_pattern={"model.layers.0.self_attn.q_proj": 2, "down_proj": 5},
        alpha_pattern={"down_proj": 12, "layers.1.self_attn.k_proj": 3}, **T), [Q0, D1, K1], ["linear"]),
    "lora_patterns_regex": ("base", lambda: LoraConfig(
        r=3, lora_alpha=6, rank_pattern={r"layers\.1\.mlp\.(gate|up)_proj": 5, r"^model\.layers\.0\.self_attn\.q_proj": 1},
        alpha_pattern={r".*\.0\..*": 9}, **T), [Q0, D1], ["linear"]),
    "lora_bias": ("base", lambda: LoraConfig(r=4, lora_alpha=8, lora_bias=True, **T), [Q0, D1], ["linear"]),
    "lora_some_modules": ("base_untied", lambda: LoraConfig(
        r=3, lora_alpha=5, task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], layers_to_transform=[1, 2]), [K1.replace("k_", "q_"), K1.replace("k_", "v_")], ["linear"]),
    "dora": ("base", lambda: LoraConfig(r=4, lora_alpha=8, use_dora=True, **T), [Q0, D1], ["linear"]),
    "dora_rslora": ("base_untied", lambda: LoraConfig(
        r=2, lora_alpha=3, use_dora=True, use_rslora=True, rank_pattern={"v_proj": 3}, **T), [Q0, G0], ["linear"]),
    "ia3": ("base", lambda: IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"],
                                      feedforward_modules=["down_proj"]), [K1, D1], ["linear"]),
    "ia3_more": ("base", lambda: IA3Config(
        task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        feedforward_modules=["o_proj", "up_proj"]), [Q0, G0, D1, G0.replace("gate", "up")], ["linear"]),
    "ia3_untied_regex": ("base_untied", lambda: IA3Config(
        task_type="CAUSAL_LM", target_modules=r".*layers\.[12]\..*\.(v_proj|o_proj|down_proj)",
        feedforward_modules=r".*\.down_proj"), [D1, K1.replace("k_", "o_")], ["linear"]),
    "vera": ("base", lambda: VeraConfig(r=8, **T), [Q0, D1], ["linear"]),
    "vera_noproj": ("base", lambda: VeraConfig(r=8, projection_prng_key=7, save_projection=False, **T), [Q0, D1], ["linear"]),
    "vera_some_noproj": ("base_untied", lambda: VeraConfig(
        r=6, projection_prng_key=1234, save_projection=False, task_type="CAUSAL_LM", target_modules=["q_proj", "o_proj", "v_proj"]),
        [Q0, Q0.replace("q_", "o_")], ["linear"]),
    "delora": ("base", lambda: DeloraConfig(r=4, delora_lambda=2.5, **T), [Q0, D1], ["linear"]),
    "delora_patterns": ("base_untied", lambda: DeloraConfig(
        r=2, delora_lambda=2.5, rank_pattern={"down_proj": 3, "layers.0.self_attn.q_proj": 1}, lambda_pattern={"q_proj": 4}, **T),
        [Q0, D1], ["linear"]),
    "road_1": ("base", lambda: RoadConfig(variant="road_1", group_size=16, **T), [Q0, D1], ["linear", "geodesic"]),
    "road_2": ("base", lambda: RoadConfig(variant="road_2", group_size=8, **T), [Q0, D1], ["linear", "geodesic"]),
    "road_4": ("base_untied", lambda: RoadConfig(variant="road_4", group_size=4, **T), [Q0, D1], ["linear"]),
    "hra_even": ("base", lambda: HRAConfig(r=4, **T), [Q0, D1], ["geodesic", "linear"]),
    "hra_odd": ("base_untied", lambda: HRAConfig(r=3, **T), [Q0, D1], ["linear"]),
    "hra_gs": ("base", lambda: HRAConfig(r=4, apply_GS=True, **T), [Q0, D1], ["linear"]),
    "prefix": ("base", lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5), [], ["linear"]),
    "prefix_proj": ("base", lambda: PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=16), [], ["linear"]),
    **additive.CASES,
}
TASKS = {**additive.TASKS}  # case: the task to run, for methods trained for several


def randomise(pm, g):
    """Trained-looking values: every effect well above rounding."""
    for n, p in pm.named_parameters():
        if not p.requires_grad:
            continue
        z = torch.randn(p.shape, generator=g)
        v = additive.randomise(n, p, z, pm.peft_config["default"])
        if v is not None: pass
        elif "lora_A" in n: v = z / math.sqrt(p.shape[1])
        elif "lora_B" in n and p.dim() == 1: v = 0.05 * z
        elif "lora_B" in n: v = 0.12 * z / math.sqrt(p.shape[1])
        elif "magnitude" in n: v = p * (1 + 0.1 * z)
        elif "ia3_l" in n: v = 1 + 0.3 * z
        elif "vera_lambda_d" in n: v = 0.2 + 0.2 * z
        elif "vera_lambda_b" in n: v = 0.25 * z
        elif "delora_lambda" in n: v = p * (1 + 0.2 * z)
        elif "delora_" in n: v = 0.5 * z
        elif "road_theta" in n: v = 0.25 * z
        elif "road_alpha" in n: v = (0.2 * z).exp()
        elif "hra_u" in n:
            v = z / 8
            for k in range(1, v.shape[1], 2):  # trained pairs stay close to the equal vectors PEFT starts from
                v[:, k] = v[:, k - 1] + 0.3 * v[:, k]
        elif "prompt_encoder" in n and "embedding" in n: v = z
        elif "prompt_encoder" in n: v = (2.0 if p.dim() == 2 else 0.5) * z / math.sqrt(p.shape[-1])
        else: raise KeyError(n)
        p.data = v.to(p.dtype)


def tokens(base):
    g = torch.Generator().manual_seed(12)
    return torch.randint(3, BASES[base]["vocab_size"], (12,), generator=g)


def err(a, b):
    return float((a - b).abs().max())


def finish(name, base, out, meta, errors):
    meta = {"case": name, "base": base, **meta, **VERSIONS, "c1_error": f"{max(errors):.1e}"}
    path = f"{ROOT}/{name}/expect.safetensors"
    save_file({k: v.contiguous() for k, v in out.items()}, path, {k: str(v) for k, v in meta.items()})
    raw = open(path, "rb").read()  # the writer's metadata order is random: sort it
    n = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:8 + n])
    head["__metadata__"] = dict(sorted(head["__metadata__"].items()))
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(len(text).to_bytes(8, "little") + text + raw[8 + n:])
    size = sum(os.path.getsize(f"{ROOT}/{name}/{f}") for f in os.listdir(f"{ROOT}/{name}"))
    d = {k: f"{err(out[k], out['base_logits']):.2f}" for k in out if k.startswith("logits")}
    print(f"{name:22s} c=1 errors (logits, layers): {' '.join(f'{e:.1e}' for e in errors)}  max change {d}  {size/1024:.0f} KiB", flush=True)
    layer, logits = (tol * additive.SLACK.get(name, 1) for tol in TOL)
    assert max(errors[1:-len(meta['laws'].split())] or [0]) < layer and max(errors) < logits, name


def make_case(name):
    base, config, mods, laws = CASES[name]
    d = f"{ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(sum(ord(ch) * (j + 1) for j, ch in enumerate(name)))
    pm = get_peft_model(load_base(base), config())
    randomise(pm, g)
    pm.eval()
    if name == "lora_bf16":
        for n, p in pm.named_parameters():
            if "lora_" in n:
                p.data = p.data.to(torch.bfloat16)
    additive.edit_model(name, pm)
    additive.save(name, pm, load_base(base), d)
    os.remove(f"{d}/README.md")
    assert sorted(os.listdir(d)) == ["adapter_config.json", "adapter_model.safetensors"]
    # expectations, from the files
    pm = PeftModel.from_pretrained(load_base(base), d).eval()
    cfg, ad = json.load(open(f"{d}/adapter_config.json")), load_file(f"{d}/adapter_model.safetensors")
    sd, ids = load_file(f"{ROOT}/{base}/model.safetensors"), tokens(base)
    kw = {"task_ids": torch.tensor([TASKS[name]])} if name in TASKS else {}
    out = {"input_ids": ids, "base_logits": load_base(base)(ids[None]).logits[0],
           "logits": pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None]), **kw).logits[0][-len(ids):]}
    errors = [err(forward(base, sd, ids), out["base_logits"])]
    meta = {"modules": " ".join(mods), "laws": " ".join(laws)}
    if name in additive.WEIGHTS:
        meta["expert_weights"] = " ".join(map(str, additive.WEIGHTS[name]))
    elif name in TASKS:
        meta["task"] = TASKS[name]
    if cfg["peft_type"] == "PREFIX_TUNING":
        k, P = BASES[base], ad["prompt_embeddings"]
        X = P.view(P.shape[0], 2 * k["num_hidden_layers"], k["num_key_value_heads"], k["head_dim"]).permute(1, 2, 0, 3)
        run = lambda c, law: forward(base, sd, ids, prefix=[(X[2 * l], X[2 * l + 1]) for l in range(k["num_hidden_layers"])], c=c)
        assert err(run(0.0, ""), out["base_logits"]) < TOL[1]
    else:
        paths = sorted({k[:-7] for k in sd if k.endswith("_proj.weight")})
        hit = [p for p in paths if any(k.startswith(f"base_model.model.{p}.") for k in ad) or p in additive.chosen(cfg, paths)]
        in_order = sorted(hit, key=lambda p: (int(p.split(".")[2]), ALL.index(p.split(".")[-1])))
        additive.MODULES = [(p, *sd[p + ".weight"].shape) for p in in_order]
        dims = tuple(max(sd[p + ".weight"].shape[j] for p in hit) for j in (0, 1))
        fn = lambda p, c, law: effective(cfg, ad, p, sd[p + ".weight"], c, law, dims, TASKS.get(name))
        run = lambda c, law: forward(base, sd, ids, {p: fn(p, c, law) for p in hit})
        meta["adapted"] = len(hit)
        for p in mods:
            x = torch.randn(4, sd[p + ".weight"].shape[1], generator=g)
            y = pm.base_model.model.get_submodule(p)(x[None], **kw)[0]
            out[f"layer_input:{p}"], out[f"layer_output:{p}"] = x, y
            for law in laws:
                errors.append(err(fn(p, 1.0, law)(x), y))
                for c in (-1.0, 0.5):
                    out[f"layer_output_c_{c:g}:{p}" + ("" if law == laws[0] else f":{law}")] = fn(p, c, law)(x)
    for law in laws:
        errors.append(err(run(1.0, law), out["logits"]))
        assert err(run(0.0, law), out["base_logits"]) < TOL[1]
        for c in (-1.0, 0.5):
            out[f"logits_c_{c:g}" + ("" if law == laws[0] else f":{law}")] = run(c, law)
    additive.edit_files(name, d)
    finish(name, base, out, meta, errors)


def make_control_vector(name="control_vector", base="base_untied"):
    """repeng's vector: h_L += c * direction.L at the output of block L (L counts blocks from 0; repeng and llama.cpp use L >= 1)."""
    d = f"{ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    g = torch.Generator().manual_seed(77)
    vec = {l: 0.35 * torch.randn(BASES[base]["hidden_size"], generator=g) for l in (1, 2)}
    w = gguf.GGUFWriter(f"{d}/control_vector.gguf", "controlvector")
    w.add_string("controlvector.model_hint", "llama")
    w.add_uint32("controlvector.layer_count", len(vec))
    for l, v in vec.items():
        w.add_tensor(f"direction.{l}", v.numpy())
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()
    save_file({f"direction.{l}": v for l, v in vec.items()}, f"{d}/adapter_model.safetensors", {"format": "pt"})
    json.dump({"peft_type": "CONTROL_VECTOR", "base_model_name_or_path": f"{ROOT}/{base}"}, open(f"{d}/adapter_config.json", "w"), indent=2)
    sd, ids, m = load_file(f"{ROOT}/{base}/model.safetensors"), tokens(base), load_base(base)
    out = {"input_ids": ids, "base_logits": m(ids[None]).logits[0]}
    hooks = [m.model.layers[l].register_forward_hook(
        lambda mod, a, o, v=v: o + v if torch.is_tensor(o) else (o[0] + v,) + tuple(o[1:])) for l, v in vec.items()]
    out["logits"] = m(ids[None]).logits[0]
    run = lambda c: forward(base, sd, ids, block=vec, c=c)
    errors = [err(run(0.0), out["base_logits"]), err(run(1.0), out["logits"])]
    out.update({f"logits_c_{c:g}": run(c) for c in (-1.0, 0.5)})
    finish(name, base, out, {"modules": "", "laws": "linear"}, errors)


def make_configs():
    """Every method's adapter_config.json with only its mandatory fields set."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING as MAP
    t = dict(task_type="CAUSAL_LM", target_modules=["q_proj"])
    need = {"ADALORA": dict(total_step=10, **t), "ADAPTION_PROMPT": dict(adapter_len=5, adapter_layers=1, task_type="CAUSAL_LM"),
            "CPT": dict(task_type="CAUSAL_LM", cpt_token_ids=[1, 2], cpt_mask=[1, 1], cpt_tokens_type_mask=[1, 2]),
            "IA3": dict(feedforward_modules=[], **t), "TRAINABLE_TOKENS": dict(task_type="CAUSAL_LM", token_indices=[3]),
            "XLORA": dict(task_type="CAUSAL_LM", hidden_size=48, adapters={"0": "0"}),
            "MULTITASK_PROMPT_TUNING": dict(task_type="CAUSAL_LM", num_virtual_tokens=5)}
    out, bad = {}, {}
    for ptype, cls in sorted(MAP.items(), key=lambda kv: str(kv[0].value)):
        n = ptype.value
        for kw in ([need[n]] if n in need else [t, dict(task_type="CAUSAL_LM", num_virtual_tokens=5), dict(task_type="CAUSAL_LM")]):
            try:
                tmp = f"{ROOT}/.tmp_config"
                cls(**kw).save_pretrained(tmp)
                out[n] = json.load(open(f"{tmp}/adapter_config.json"))
                bad.pop(n, None)
                break
            except Exception as e:
                bad[n] = f"{type(e).__name__}: {e}"
            finally:
                shutil.rmtree(f"{ROOT}/.tmp_config", ignore_errors=True)
    json.dump(out, open(f"{ROOT}/configs_0_21_2.json", "w"), indent=1, sort_keys=True)
    print(f"configs: {len(out)} methods; not made: {bad}")


if __name__ == "__main__":
    only = sys.argv[1:]
    for b in BASES:
        if not only or b in only:
            make_base(b)
    if not only:
        make_configs()
    for c in CASES:
        if not only or c in only:
            make_case(c)
    if not only or "control_vector" in only:
        make_control_vector()
    additive.make_all(sys.modules[__name__], only)
    import converted, geometric, prompts
    prompts.make_all(sys.modules[__name__], only)
    geometric.make_all(sys.modules[__name__], only)
    converted.make_all(sys.modules[__name__], only)
    total = sum(os.path.getsize(f"{r}/{f}") for r, _, fs in os.walk(ROOT) for f in fs)
    print(f"total {total/1024:.0f} KiB", VERSIONS)
