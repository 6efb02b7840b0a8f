"""Cases of the methods that act through tokens: prompts, embeddings, vectors. Run by make.py.

As there, c = 1 is PEFT's forward on the reloaded checkpoint; c = -1 and 0.5 come from the formulas below."""
import json, math, os, shutil

import torch
from peft import (AdaptionPromptConfig, CPTConfig, IA3Config, LoftQConfig, LoraConfig, MultitaskPromptTuningConfig, PeftModel,
                  PromptEncoderConfig, PromptTuningConfig, TrainableTokensConfig, XLoraConfig, get_peft_model)
from peft.tuners.lora.config import CordaConfig
from safetensors.torch import load_file, save_file

T = dict(task_type="CAUSAL_LM")
Q = dict(target_modules=["q_proj", "down_proj"], r=3, lora_alpha=5, **T)
CASES = {  # name: (base, config)
    "prompt_tuning": ("base", lambda: PromptTuningConfig(num_virtual_tokens=5, **T)),
    "prompt_tuning_untied": ("base_untied", lambda: PromptTuningConfig(num_virtual_tokens=7, **T)),
    "p_tuning": ("base", lambda: PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=24, **T)),
    "p_tuning_lstm": ("base_untied", lambda: PromptEncoderConfig(
        num_virtual_tokens=3, encoder_reparameterization_type="LSTM", encoder_hidden_size=16, encoder_num_layers=1, **T)),
    "cpt": ("base", lambda: CPTConfig(cpt_token_ids=[5, 9, 17, 33], cpt_mask=[1] * 4, cpt_tokens_type_mask=[1, 2, 3, 4],
                                      opt_projection_epsilon=5.0, opt_projection_format_epsilon=5.0, **T)),
    "mpt": ("base", lambda: MultitaskPromptTuningConfig(num_virtual_tokens=4, num_tasks=3, num_ranks=2, **T)),
    "mpt_one_task": ("base_untied", lambda: MultitaskPromptTuningConfig(num_virtual_tokens=3, num_tasks=1, **T)),
    "trainable_tokens": ("base", lambda: TrainableTokensConfig(token_indices=[7, 3, 41, 88], **T)),
    "trainable_tokens_untied": ("base_untied", lambda: TrainableTokensConfig(token_indices=[5, 60, 9], **T)),
    "trainable_tokens_both": ("base_untied", lambda: TrainableTokensConfig(
        token_indices=[5, 60, 9], target_modules=["embed_tokens", "lm_head"], **T)),
    "lora_tokens": ("base", lambda: LoraConfig(trainable_token_indices=[7, 3, 41], **Q)),
    "lora_tokens_both": ("base", lambda: LoraConfig(trainable_token_indices={"embed_tokens": [7, 3], "lm_head": [4, 9, 11]}, **Q)),
    "lora_embedding": ("base", lambda: LoraConfig(
        r=3, lora_alpha=5, target_modules=["embed_tokens", "v_proj"], rank_pattern={"embed_tokens": 4}, use_rslora=True, **T)),
    "lora_embedding_head": ("base_untied", lambda: LoraConfig(r=2, lora_alpha=3, target_modules=["embed_tokens", "lm_head"], **T)),
    # PiSSA and OLoRA take something out of the head, and PEFT saves what is left; k_proj has fewer rows than r
    "pissa_head": ("base_untied", lambda: LoraConfig(
        r=36, lora_alpha=40, rank_pattern={"lm_head": 3}, init_lora_weights="pissa", target_modules=["lm_head", "k_proj"], **T)),
    "dora_olora_head": ("base_untied", lambda: LoraConfig(
        r=3, lora_alpha=4, init_lora_weights="olora", use_dora=True, target_modules=["lm_head", "q_proj"], **T)),
    # the head is the embedding, so its frozen weight in the file, rounded, becomes that of both
    "lora_head_bf16": ("base", lambda: LoraConfig(r=2, lora_alpha=3, target_modules=["lm_head", "q_proj"], **T)),
    "dora_embedding": ("base", lambda: LoraConfig(
        r=2, lora_alpha=3, target_modules=["embed_tokens", "q_proj"], use_dora=True, **T)),
    "saved_embedding": ("base", lambda: LoraConfig(modules_to_save=["embed_tokens"], **Q)),
    "saved_head": ("base", lambda: LoraConfig(modules_to_save=["lm_head", "up_proj"], **Q)),
    "saved_tied": ("base", lambda: LoraConfig(modules_to_save=["embed_tokens"], ensure_weight_tying=True, **Q)),
    "saved_mlp": ("base_untied", lambda: IA3Config(
        target_modules=["k_proj"], feedforward_modules=[], modules_to_save=["mlp", "embed_tokens", "lm_head"], **T)),
    # PEFT takes every module whose path ends so; the two configs belong to ways of initialising that were not used
    "saved_by_ending": ("base_bias", lambda: LoraConfig(
        modules_to_save=["layernorm", "head", "p_proj"], corda_config=CordaConfig(), loftq_config=LoftQConfig(), **Q)),
    "saved_by_path": ("base_bias", lambda: LoraConfig(modules_to_save=["model.embed_tokens", "model.norm"], **Q)),
    # with biases and with save_embedding_layers PEFT writes copies twice, and the originals
    "saved_twice": ("base_bias", lambda: LoraConfig(
        bias="all", modules_to_save=["model.embed_tokens", "self_attn"], r=2, lora_alpha=3, target_modules=["down_proj"], **T)),
    "tokens_twice": ("base", lambda: LoraConfig(trainable_token_indices={"embed_tokens": [7, 3, 41]}, **Q)),
    "ia3_head": ("base_untied", lambda: IA3Config(target_modules=["k_proj", "lm_head"], feedforward_modules=[], **T)),
    "bias_all": ("base_bias", lambda: LoraConfig(bias="all", **Q)),
    "bias_lora_only": ("base_bias", lambda: LoraConfig(bias="lora_only", **Q)),
    "adaption_prompt_bias": ("base_bias", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=1, **T)),
    "adaption_prompt": ("base", lambda: AdaptionPromptConfig(adapter_len=6, adapter_layers=1, **T)),
    "adaption_prompt_all": ("base", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=2, **T)),
}


EMBEDDINGS_TOO = ("saved_twice", "tokens_twice")  # save_embedding_layers=True
TASKS = {"mpt": 2, "mpt_one_task": 0}


def trained(n, p, z):
    if "trainable_tokens" in n: return p + 0.3 * z
    if "magnitude" in n: return p * (1 + 0.1 * z)
    if "lora_embedding_B" in n: return 0.1 * z
    if "lora_A" in n: return z / math.sqrt(p.shape[1])
    if "lora_B" in n: return 0.12 * z / math.sqrt(p.shape[1])
    if "prefix_task" in n: return z
    if "adaption_gate" in n: return 0.7 + 0.2 * z
    if "adaption_prompt" in n: return z
    if "delta_embedding" in n: return 0.4 * z
    if "lstm" in n: return p + 0.3 * z
    if "mlp_head" in n: return z / math.sqrt(p.shape[-1])
    if "ia3_l" in n: return 1 + 0.3 * z
    if "modules_to_save" in n or "bias" in n: return p + 0.05 * z
    return 0.6 * z  # prompt embeddings


def kept(make, base, sd, E):
    """What each layer of the base keeps of embeddings E at positions 0 .. n-1: (rotated keys, values)."""
    k, n = make.BASES[base], E.shape[0]
    H, KV, D, eps, theta = k["num_attention_heads"], k["num_key_value_heads"], k["head_dim"], k["rms_norm_eps"], k["rope_theta"]
    pos, mask, out, x = torch.arange(n), torch.full((n, n), float("-inf")).triu(1), [], E
    for l in range(k["num_hidden_layers"]):
        w = lambda name: sd[f"model.layers.{l}.{name}.weight"].T
        h = make.rms(x, sd[f"model.layers.{l}.input_layernorm.weight"], eps)
        q = make.rope((h @ w("self_attn.q_proj")).view(n, H, D).transpose(0, 1), pos, theta)
        K = make.rope((h @ w("self_attn.k_proj")).view(n, KV, D).transpose(0, 1), pos, theta)
        V = (h @ w("self_attn.v_proj")).view(n, KV, D).transpose(0, 1)
        out.append((K, V))
        s = (q @ K.repeat_interleave(H // KV, 0).transpose(1, 2) / math.sqrt(D) + mask).softmax(-1)
        x = x + (s @ V.repeat_interleave(H // KV, 0)).transpose(0, 1).reshape(n, H * D) @ w("self_attn.o_proj")
        h = make.rms(x, sd[f"model.layers.{l}.post_attention_layernorm.weight"], eps)
        g = h @ w("mlp.gate_proj")
        x = x + (g * torch.sigmoid(g) * (h @ w("mlp.up_proj"))) @ w("mlp.down_proj")
    return out


def beside(make, base, sd, ad):
    """layer -> (keys, values, gate) of LLaMA-Adapter."""
    k, out = make.BASES[base], {}
    for l in range(k["num_hidden_layers"]):
        p = f"base_model.model.model.layers.{l}.self_attn.adaption_"
        if p + "gate" in ad:
            w = f"model.layers.{l}.self_attn."
            at = lambda n: (ad[p + "prompt"][0] @ sd[f"{w}{n}.weight"].T + sd.get(f"{w}{n}.bias", 0.0)).view(
                -1, k["num_key_value_heads"], k["head_dim"]).transpose(0, 1)
            out[l] = (at("k_proj"), at("v_proj"), ad[p + "gate"])
    return out


def ids_of(listed, path):
    """A tied head without an entry has the embedding's."""
    return next((v for k, v in listed.items() if path.endswith(k)), listed.get("embed_tokens")) if isinstance(listed, dict) else listed


def tables(base, cfg, ad, sd, c):
    """The embedding, the head and the norms with coefficient c. A tied head follows trained rows, but no LoRA of the embedding."""
    E0 = sd["model.embed_tokens.weight"]
    E, H = E0.clone(), sd.get("lm_head.weight", E0).clone()
    ad = {k: v.float() for k, v in ad.items()}
    key = lambda path, name: ad.get(f"base_model.model.{path}.{name}")
    for name in ("trainable_tokens_delta", "token_adapter.trainable_tokens_delta"):
        listed = cfg.get("token_indices", cfg.get("trainable_token_indices"))
        rows, head = key("model.embed_tokens", name), key("lm_head", name)
        if rows is not None:
            ids = ids_of(listed, "model.embed_tokens")
            E[ids] = E0[ids] + c * (rows - E0[ids])
            if head is None and "lm_head.weight" not in sd:
                H[ids] = E[ids]
        if head is not None:
            ids = ids_of(listed, "lm_head")
            H[ids] = H[ids] + c * (head - H[ids])
    A, B, m = (key("model.embed_tokens", n) for n in ("lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"))
    if A is not None:
        V = E0 + cfg["lora_alpha"] / (math.sqrt(A.shape[0]) if cfg["use_rslora"] else A.shape[0]) * (B @ A).T
        E = E + c * ((V if m is None else V * m / V.norm(dim=0)) - E0)
    if key("model.embed_tokens", "weight") is not None:
        E = E0 + c * (key("model.embed_tokens", "weight") - E0)
    if key("lm_head", "weight") is not None:
        H = H + c * (key("lm_head", "weight") - H)
    if key("lm_head", "ia3_l") is not None:
        H = H * (1 + c * (key("lm_head", "ia3_l") - 1))
    A, B, m = (key("lm_head", n) for n in ("lora_A.weight", "lora_B.weight", "lora_magnitude_vector"))
    if A is not None:
        left = key("lm_head", "base_layer.weight")
        if left is not None and "lm_head.weight" not in sd and key("model.embed_tokens", "weight") is None:
            E = E0 + c * (left - E0)
        V = (H if left is None else left) + cfg["lora_alpha"] / cfg["rank_pattern"].get("lm_head", cfg["r"]) * B @ A
        H = H + c * ((V if m is None else (m / V.norm(dim=1))[:, None] * V) - H)
    norms = {k: w + c * (ad[f"base_model.model.{k}"] - w) for k, w in sd.items() if f"base_model.model.{k}" in ad and "norm." in k}
    return {**sd, "model.embed_tokens.weight": E, "lm_head.weight": H, **norms}


def layer(make, cfg, ad, sd, p, c):
    """x -> y of one linear layer: adapted, replaced by a saved copy, or as it is; its bias moves too."""
    W, b = sd[p + ".weight"], sd.get(p + ".bias", torch.zeros(()))
    new = [v for k, v in ad.items() if k in (f"base_model.model.{p}.bias", f"base_model.model.{p}.base_layer.bias")]
    b = b + c * (new[0] - b) if new else b
    copy = ad.get(f"base_model.model.{p}.weight")
    if copy is not None:
        return lambda x: x @ (W + c * (copy - W)).T + b
    own = {k: v for k, v in ad.items() if "bias" not in k}
    f = make.effective(cfg, own, p, W, c, "linear", None)
    return lambda x: (f(x) if f else x @ W.T) + b


def run_of(make, base, cfg, ad, sd, ids, task):
    """c -> logits, without PEFT."""
    t = cfg["peft_type"]
    if t in ("LORA", "TRAINABLE_TOKENS", "IA3"):
        at = lambda p, c: layer(make, cfg, ad, sd, p, c)
        paths = [k[:-7] for k in sd if k.endswith("_proj.weight")]
        return lambda c: make.forward(base, tables(base, cfg, ad, sd, c), ids, {p: at(p, c) for p in paths})
    if t == "ADAPTION_PROMPT":
        extra = beside(make, base, sd, ad)
        biased = {k[:-5]: sd[k] for k in sd if k.endswith("_proj.bias")}
        again = lambda p, c: sum(c for l in extra if p == f"model.layers.{l}.self_attn.o_proj")  # o_proj's bias
        at = lambda p, c: (lambda x: x @ sd[p + ".weight"].T + biased[p] * (1 + again(p, c)))
        return lambda c: make.forward(base, sd, ids, {p: at(p, c) for p in biased}, beside=extra, c=c)
    E = ad["prompt_embeddings"]
    if t == "MULTITASK_PROMPT_TUNING":
        E = E * (ad["prefix_task_cols"][task] @ ad["prefix_task_rows"][task])
    prefix = kept(make, base, sd, E)
    return lambda c: make.forward(base, sd, ids, prefix=prefix, c=c)


def make_case(make, name):
    base, config = CASES[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(sum(ord(ch) * (j + 1) for j, ch in enumerate(name)))
    pm = get_peft_model(make.load_base(base), config())
    for n, p in pm.named_parameters():
        if p.requires_grad:
            z = torch.randn(p.shape, generator=g)
            v = make.additive.randomise(n, p, z, pm.peft_config["default"])
            p.data = (trained(n, p, z) if v is None else v).to(p.dtype)
    pm.eval()
    if name.endswith("bf16"):
        pm.to(torch.bfloat16)
    pm.save_pretrained(d, safe_serialization=True, save_embedding_layers=name in EMBEDDINGS_TOO or "auto")
    os.remove(f"{d}/README.md")
    pm = PeftModel.from_pretrained(make.load_base(base), d).eval()
    cfg, ad = json.load(open(f"{d}/adapter_config.json")), load_file(f"{d}/adapter_model.safetensors")
    sd, ids = load_file(f"{make.ROOT}/{base}/model.safetensors"), make.tokens(base)
    if "tokens" in name:  # the trained tokens must occur
        ids[[1, 4, 8]] = torch.tensor([3, 7, 41] if base == "base" else [5, 60, 9])
    kw = {"task_ids": torch.tensor([TASKS[name]])} if name in TASKS else {}
    out = {"input_ids": ids, "base_logits": make.load_base(base)(ids[None]).logits[0],
           "logits": pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None]), **kw).logits[0][-len(ids):]}
    run = run_of(make, base, cfg, ad, sd, ids, TASKS.get(name))
    errors = [make.err(run(0.0), out["base_logits"]), make.err(run(1.0), out["logits"])]
    out.update({f"logits_c_{c:g}": run(c) for c in (-1.0, 0.5)})
    meta = {"modules": "", "laws": "linear"}
    if name in TASKS:
        meta["task"] = TASKS[name]
    make.finish(name, base, out, meta, errors)


VECTORS = {  # name: (base, config, blocks)
    "control_vector_normalize": ("base", {"peft_type": "CONTROL_VECTOR", "normalize": True}, (0, 1)),
    "control_vector_ablate": ("base_untied", {"peft_type": "CONTROL_VECTOR", "action": "ablate"}, (0, 2)),
    "control_vector_ablate_normalize": ("base", {"peft_type": "CONTROL_VECTOR", "action": "ablate", "normalize": True}, (0, 1)),
    "control_vector_clamp": ("base", {"peft_type": "CONTROL_VECTOR", "action": "clamp"}, (0, 1)),
    "control_vector_clamp_normalize": ("base_untied", {"peft_type": "CONTROL_VECTOR", "action": "clamp", "normalize": True}, (1,)),
    # on a base that is also there as a quantised GGUF
    "quantised_ablate": ("base_quantised", {"peft_type": "CONTROL_VECTOR", "action": "ablate"}, (0, 1)),
    "quantised_clamp": ("base_quantised", {"peft_type": "CONTROL_VECTOR", "action": "clamp", "normalize": True}, (0, 1)),
    "bipo": ("base_untied", {"peft_type": "BIPO"}, (1,)),
}


def make_vector(make, name):
    """Steps at the output of blocks; with normalize the stream keeps its length, as in repeng's control.py."""
    base, cfg, layers = VECTORS[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    os.makedirs(d)
    g = torch.Generator().manual_seed(len(name))
    vec = {l: 0.5 * torch.randn(make.BASES[base]["hidden_size"], generator=g) for l in layers}
    save_file({f"direction.{l}": v for l, v in vec.items()}, f"{d}/adapter_model.safetensors", {"format": "pt"})
    json.dump(cfg, open(f"{d}/adapter_config.json", "w"), indent=2)
    sd, ids, m = load_file(f"{make.ROOT}/{base}/model.safetensors"), make.tokens(base), make.load_base(base)
    out = {"input_ids": ids, "base_logits": m(ids[None]).logits[0]}
    keep, action = cfg.get("normalize", False), cfg.get("action", "add")

    def hook(mod, args, o, v):
        h = o if torch.is_tensor(o) else o[0]
        # At c = 1: the projector onto what is orthogonal to v, and v itself.
        rest = h @ (torch.eye(len(v)) - torch.outer(v, v) / (v @ v))
        new = {"add": h + v, "ablate": rest, "clamp": rest + v}[action]
        new = new / new.norm(dim=-1, keepdim=True) * h.norm(dim=-1, keepdim=True) if keep else new
        return new if torch.is_tensor(o) else (new,) + tuple(o[1:])

    for l, v in vec.items():
        m.model.layers[l].register_forward_hook(lambda mod, args, o, v=v: hook(mod, args, o, v))
    out["logits"] = m(ids[None]).logits[0]
    run = lambda c: make.forward(base, sd, ids, block=vec, c=c, keep_length=keep, action=action)
    errors = [make.err(run(0.0), out["base_logits"]), make.err(run(1.0), out["logits"])]
    out.update({f"logits_c_{c:g}": run(c) for c in (-1.0, 0.5)})
    make.finish(name, base, out, {"modules": "", "laws": "linear"}, errors)


X = dict(xlora_size=10, **T)
EXPERTS = [dict(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj"]), dict(r=2, lora_alpha=3, target_modules=["q_proj", "down_proj"]),
           dict(r=1, lora_alpha=4, use_rslora=True, target_modules=["v_proj", "o_proj"])]
XLORA = {  # name: (base, experts, config, own weights)
    "xlora": ("base", 2, dict(xlora_depth=2, softmax_temperature=1.7, global_scaling_weight=1.3, **X), None),
    "xlora_layerwise": ("base_untied", 3, dict(
        xlora_depth=1, layerwise_scalings=True, enable_softmax=False, enable_softmax_topk=True, top_k_lora=2, **X), None),
    "xlora_top": ("base_untied", 3, dict(xlora_depth=3, top_k_lora=1, xlora_dropout_p=0.0, **X), None),
    "xlora_scout": ("base", 2, dict(xlora_depth=2, scaling_pass_value=0.6, global_scaling_weight=0.8, layerwise_scalings=True, **X), None),
    # the scout's experts are all equally heavy: torch says which are the top
    "xlora_scout_top": ("base_untied", 3, dict(xlora_depth=1, scaling_pass_value=0.6, top_k_lora=2, enable_softmax_topk=True, **X), None),
    "xlora_weights": ("base", 2, dict(xlora_depth=2, global_scaling_weight=1.3, **X), [0.7, 0.3]),
}


def make_xlora(make, name):
    """PEFT 0.21.2 leaves layers.0 of the classifier out of the file (its name filter takes the 0 for an expert). Here it is put
    back, except in the case with own weights, which shows the file as PEFT writes it: there the classifier that made the
    numbers always answers these weights."""
    base, count, kw, own = XLORA[name]
    d = f"{make.ROOT}/{name}"
    shutil.rmtree(d, ignore_errors=True)
    torch.manual_seed(0)
    g = torch.Generator().manual_seed(sum(ord(ch) * (j + 1) for j, ch in enumerate(name)))
    draw = lambda p: torch.randn(p.shape, generator=g)
    for e in range(count):
        pm = get_peft_model(make.load_base(base), LoraConfig(**EXPERTS[e], **T))
        for n, p in pm.named_parameters():
            if "lora_A" in n: p.data = draw(p) / math.sqrt(p.shape[1])
            if "lora_B" in n: p.data = 0.3 * draw(p) / math.sqrt(p.shape[1])
        pm.save_pretrained(f"{d}/{e}", save_embedding_layers=False)
        os.remove(f"{d}/{e}/README.md")

    def load():
        m = make.load_base(base)
        m.config.use_cache = False
        return m

    paths = {str(e): f"{d}/{e}" for e in range(count)}
    cfg = XLoraConfig(hidden_size=make.BASES[base]["hidden_size"], adapters=paths, **kw)
    pm = get_peft_model(load(), cfg)
    gate = pm.base_model.internal_xlora_classifier
    for p in gate.parameters():
        p.data = draw(p) / (math.sqrt(p.shape[1]) if p.dim() == 2 else 2)
    if own:
        gate.layers[-1].weight.data.zero_()
        gate.layers[-1].bias.data = torch.tensor(own).log()
    pm.peft_config["default"].save_pretrained(d)
    made = load_gate(pm, d)
    full = {f"base_model.internal_xlora_classifier.{k}": v.clone() for k, v in gate.state_dict().items()}
    missing = sorted(set(full) - set(made))
    assert missing and all(".layers." in k for k in missing), missing
    save_file(made if own else full, f"{d}/adapter_model.safetensors", {"format": "pt"})
    if not own:
        pm = PeftModel.from_pretrained(load(), d, adapters=paths)
    pm.eval()
    cfg, sd, ids = json.load(open(f"{d}/adapter_config.json")), load_file(f"{make.ROOT}/{base}/model.safetensors"), make.tokens(base)
    ads = [(json.load(open(f"{d}/{e}/adapter_config.json")), load_file(f"{d}/{e}/adapter_model.safetensors")) for e in range(count)]
    out = {"input_ids": ids, "base_logits": make.load_base(base)(ids[None]).logits[0],
           "logits": pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None])).logits[0]}
    run = lambda c: mixture(make, base, cfg, full, ads, sd, ids, c)
    errors = [make.err(run(0.0), out["base_logits"]), make.err(run(1.0), out["logits"])]
    out.update({f"logits_c_{c:g}": run(c) for c in (-1.0, 0.5)})
    meta = {"modules": "", "laws": "linear"}
    if own:
        meta["expert_weights"] = " ".join(map(str, own))
    make.finish(name, base, out, meta, errors)


def load_gate(pm, d):
    """What PEFT itself writes of the classifier."""
    pm.save_pretrained(f"{d}/.tmp")
    path = [f"{r}/{f}" for r, _, fs in os.walk(f"{d}/.tmp") for f in fs if f == "adapter_model.safetensors" and "internal" in str(
        list(load_file(f"{r}/{f}")))]
    made = load_file(path[0]) if path else {}
    shutil.rmtree(f"{d}/.tmp")
    return made


def mixture(make, base, cfg, gate, ads, sd, ids, c):
    """Scout, gate, and the experts with the gate's weights; written without PEFT."""
    paths = [k[:-7] for k in make_order(make, base) if any(f"base_model.model.{k[:-6]}lora_A.weight" in ad for _, ad in ads)]

    def run(weigh, hidden=False):
        def at(n, p):
            def f(x):
                y = x @ sd[p + ".weight"].T
                for e, (own, ad) in enumerate(ads):
                    A, B = (ad.get(f"base_model.model.{p}.lora_{x}.weight") for x in "AB")
                    if A is not None:
                        s = own["lora_alpha"] / (math.sqrt(A.shape[0]) if own["use_rslora"] else A.shape[0])
                        y = y + s * (x * weigh(n, e)) @ A.T @ B.T
                return y
            return f
        lin = {p: at(n, p) for n, p in enumerate(paths)}
        return make.forward(base, sd, ids, lin, hidden=hidden)

    v, g = cfg["scaling_pass_value"], cfg["global_scaling_weight"]
    scout = torch.full((len(ads),), float(v))
    if v and cfg["top_k_lora"]:
        scout = torch.zeros(len(ads)).index_fill(0, scout.topk(cfg["top_k_lora"]).indices, v)
    if v and cfg["enable_softmax_topk"]:
        scout = (scout != 0) / (scout != 0).sum()
    h = run(lambda n, e: scout[e] * g, hidden=True)
    layers = sorted({int(k.split(".")[3]) for k in gate})
    for j, at in enumerate(layers):
        W, b = (gate[f"base_model.internal_xlora_classifier.layers.{at}.{x}"] for x in ("weight", "bias"))
        h = (h if j == 0 else h.clamp(min=0)) @ W.T + b
    w = h.view(len(ids), -1, len(ads))
    if cfg["enable_softmax"]:
        w = (w / cfg["softmax_temperature"]).softmax(-1)
    if cfg["top_k_lora"]:
        kept = w >= w.sort(-1, descending=True).values[..., cfg["top_k_lora"] - 1:cfg["top_k_lora"]]
        w = w * kept
        if cfg["enable_softmax_topk"]:
            w = w.exp() * kept / (w.exp() * kept).sum(-1, keepdim=True)
    return run(lambda n, e: c * g * w[:, n if w.shape[1] > 1 else 0, e:e + 1])


def make_order(make, base):
    """Weights of the linear layers in the order of the model's modules."""
    return [f"model.layers.{l}.{n}.weight" for l in range(make.BASES[base]["num_hidden_layers"]) for n in (
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")]


def make_gguf(make, name):
    """llama_cpp.gguf beside a LoRA, as llama.cpp's convert_lora_to_gguf.py writes it: rows of q and k in another order."""
    d = f"{make.ROOT}/{name}"
    cfg, ad = json.load(open(f"{d}/adapter_config.json")), load_file(f"{d}/adapter_model.safetensors")
    k = make.BASES[[b for b in make.BASES if cfg["base_model_name_or_path"].endswith("/" + b)][0]]
    names = dict(q_proj="attn_q", k_proj="attn_k", v_proj="attn_v", o_proj="attn_output", gate_proj="ffn_gate", up_proj="ffn_up",
                 down_proj="ffn_down")
    w = make.gguf.GGUFWriter(f"{d}/llama_cpp.gguf", "llama")
    w.add_type(make.gguf.GGUFType.ADAPTER)
    w.add_string(make.gguf.Keys.Adapter.TYPE, "lora")
    w.add_float32(make.gguf.Keys.Adapter.LORA_ALPHA, float(cfg["lora_alpha"]))
    for key, v in ad.items():
        path = key.removeprefix("base_model.model.").split(".lora_")[0]
        if "base_layer" in key:
            continue
        part = "lora_a" if "_A" in key else "lora_b"
        module = path.rsplit(".", 1)[-1]
        if module in ("q_proj", "k_proj") and part == "lora_b":
            h = k["num_attention_heads" if module == "q_proj" else "num_key_value_heads"]
            v = v.reshape(h, 2, v.shape[0] // h // 2, v.shape[1]).transpose(1, 2).reshape(v.shape)
        if module == "embed_tokens" and part == "lora_a":
            v = v.T
        block = {"embed_tokens": "token_embd", "lm_head": "output"}.get(module) or f"blk.{path.split('.')[2]}.{names[module]}"
        w.add_tensor(f"{block}.weight.{part}", v.contiguous().numpy())
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


def make_all(make, only):
    for name in CASES:
        if not only or name in only:
            make_case(make, name)
    for name in XLORA:
        if not only or name in only:
            make_xlora(make, name)
    for name in VECTORS:
        if not only or name in only:
            make_vector(make, name)
    for name in ("lora_untied", "lora_embedding_head"):
        if not only or name in only or name + "_gguf" in only:
            make_gguf(make, name)
