"""Cases of the methods that act through tokens: prompts, embeddings, vectors. Run by make.py.

As there, c = 1 is PEFT's forward on the reloaded checkpoint; c = -1 and 0.5 come from the formulas below."""
import json, math, os, shutil

import torch
from peft import (AdaptionPromptConfig, CPTConfig, PeftModel, PromptEncoderConfig, PromptTuningConfig, get_peft_model)
from safetensors.torch import load_file, save_file

T = dict(task_type="CAUSAL_LM")
CASES = {  # name: (base, config)
    "prompt_tuning": ("base", lambda: PromptTuningConfig(num_virtual_tokens=5, **T)),
    "prompt_tuning_untied": ("base_untied", lambda: PromptTuningConfig(num_virtual_tokens=7, **T)),
    "p_tuning": ("base", lambda: PromptEncoderConfig(num_virtual_tokens=4, encoder_hidden_size=24, **T)),
    "p_tuning_lstm": ("base_untied", lambda: PromptEncoderConfig(
        num_virtual_tokens=3, encoder_reparameterization_type="LSTM", encoder_hidden_size=16, encoder_num_layers=1, **T)),
    "cpt": ("base", lambda: CPTConfig(cpt_token_ids=[5, 9, 17, 33], cpt_mask=[1] * 4, cpt_tokens_type_mask=[1, 2, 3, 4],
                                      opt_projection_epsilon=5.0, opt_projection_format_epsilon=5.0, **T)),
    "adaption_prompt": ("base", lambda: AdaptionPromptConfig(adapter_len=6, adapter_layers=1, **T)),
    "adaption_prompt_all": ("base", lambda: AdaptionPromptConfig(adapter_len=3, adapter_layers=2, **T)),
}


def trained(n, p, z):
    if "adaption_gate" in n: return 0.7 + 0.2 * z
    if "adaption_prompt" in n: return z
    if "delta_embedding" in n: return 0.4 * z
    if "lstm" in n: return p + 0.3 * z
    if "mlp_head" in n: return z / math.sqrt(p.shape[-1])
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
            at = lambda n: (ad[p + "prompt"][0] @ sd[f"model.layers.{l}.self_attn.{n}.weight"].T).view(
                -1, k["num_key_value_heads"], k["head_dim"]).transpose(0, 1)
            out[l] = (at("k_proj"), at("v_proj"), ad[p + "gate"])
    return out


def run_of(make, base, cfg, ad, sd, ids):
    """c -> logits, without PEFT."""
    t = cfg["peft_type"]
    if t == "ADAPTION_PROMPT":
        extra = beside(make, base, sd, ad)
        return lambda c: make.forward(base, sd, ids, beside=extra, c=c)
    prefix = kept(make, base, sd, ad["prompt_embeddings"])
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
            p.data = trained(n, p, torch.randn(p.shape, generator=g)).to(p.dtype)
    pm.eval()
    pm.save_pretrained(d, safe_serialization=True)
    os.remove(f"{d}/README.md")
    pm = PeftModel.from_pretrained(make.load_base(base), d).eval()
    cfg, ad = json.load(open(f"{d}/adapter_config.json")), load_file(f"{d}/adapter_model.safetensors")
    sd, ids = load_file(f"{make.ROOT}/{base}/model.safetensors"), make.tokens(base)
    out = {"input_ids": ids, "base_logits": make.load_base(base)(ids[None]).logits[0],
           "logits": pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None])).logits[0][-len(ids):]}
    run = run_of(make, base, cfg, ad, sd, ids)
    errors = [make.err(run(0.0), out["base_logits"]), make.err(run(1.0), out["logits"])]
    out.update({f"logits_c_{c:g}": run(c) for c in (-1.0, 0.5)})
    make.finish(name, base, out, {"modules": "", "laws": "linear"}, errors)


def make_all(make, only):
    for name in CASES:
        if not only or name in only:
            make_case(make, name)
