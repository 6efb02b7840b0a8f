"""Writes the folders beside it: adapters that other tools than PEFT write, or PEFT in unusual ways, and
what these tools compute with them on the bases of ../golden (expect.json: the last position's logits).

    python tests/faults/make.py peft   # torch 2.15.0, transformers 5.23.0, peft 0.21.2
    python tests/faults/make.py mlx    # mlx 0.32.4 on the CPU, mlx-lm 0.32.2

Run from the repository root; all seeds are fixed. `llama_cpp` are LoRAs of llama.cpp's without one factor.
"""
import json, os, shutil, sys

HERE = "tests/faults"
TOKENS = [5, 17, 3, 88, 41, 7, 63, 2]


def expect(name, base, logits, moved, tool):
    about = {"base": base, "tokens": [t % len(logits) for t in TOKENS], "tool": tool, "moved": moved, "logits": [round(float(x), 6) for x in logits]}
    assert moved > 0.2, (name, moved)  # else a test proves nothing
    with open(f"{HERE}/{name}/expect.json", "w") as f:
        json.dump(about, f)
    print(f"{name}: moved {moved:.5f}")


def fresh(name):
    shutil.rmtree(f"{HERE}/{name}", ignore_errors=True)
    os.makedirs(f"{HERE}/{name}")
    return f"{HERE}/{name}"


def with_peft():
    import torch, peft
    from peft import LoraConfig, PeftModel, get_peft_model
    from peft.tuners.lora.config import MontecloraConfig, VeloraConfig
    from transformers import AutoModelForCausalLM

    tool = f"peft {peft.__version__}"
    torch.set_grad_enabled(False)

    def base(name):
        return AutoModelForCausalLM.from_pretrained(f"tests/golden/{name}", dtype=torch.float32).eval()

    def last(model):
        return model(torch.tensor([TOKENS]), use_cache=False).logits[0, -1]

    def case(name, config, edit=lambda d: None, seed=1, on="base"):
        folder = fresh(name)
        model = get_peft_model(base(on), config)
        generator = torch.Generator().manual_seed(seed)
        for _, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = torch.randn(parameter.shape, generator=generator) * 0.5
        model.save_pretrained(folder)
        os.remove(f"{folder}/README.md")
        edit(folder)
        logits = last(PeftModel.from_pretrained(base(on), folder).eval())
        expect(name, on, logits, float((logits - last(base(on))).abs().max()), tool)

    def fields(folder, **new):
        with open(f"{folder}/adapter_config.json") as f:
            config = json.load(f)
        config.update(new)
        with open(f"{folder}/adapter_config.json", "w") as f:
            json.dump(config, f, indent=1)

    few = dict(r=2, lora_alpha=3, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    case("look_around", LoraConfig(
        alpha_pattern={r"layers\.(?!0)\d+\.self_attn\.q_proj\Z": 20, r".*(?<=mlp\.)down_proj": 7},
        rank_pattern={r"(?P<at>layers)\.0\..*(?=_proj$)_proj": 3}, **few))
    case("velora", LoraConfig(velora_config=VeloraConfig(num_groups=4, init_type="random"), **few))
    case("monteclora", LoraConfig(monteclora_config=MontecloraConfig(num_samples=2, buffer_size=2), **few))
    case("no_alpha", LoraConfig(**{**few, "lora_alpha": 8}), lambda d: drop(d, "lora_alpha"))
    case("all_linear_fan_in_fan_out", LoraConfig(**{**few, "target_modules": "all-linear", "r": 1}),
         lambda d: fields(d, fan_in_fan_out=True, merge_weights=True))


def drop(folder, field):
    with open(f"{folder}/adapter_config.json") as f:
        config = json.load(f)
    del config[field]
    with open(f"{folder}/adapter_config.json", "w") as f:
        json.dump(config, f, indent=1)


def with_mlx():
    import mlx.core as mx
    from importlib.metadata import version
    from mlx.utils import tree_flatten
    from mlx_lm.models import llama
    from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters

    mx.set_default_device(mx.cpu)
    tool = f"mlx-lm {version('mlx-lm')}"

    def base(name):
        with open(f"tests/golden/{name}/config.json") as f:
            config = json.load(f)
        config["rope_theta"] = config["rope_parameters"]["rope_theta"]
        model = llama.Model(llama.ModelArgs.from_dict(config))
        weights = model.sanitize(dict(mx.load(f"tests/golden/{name}/model.safetensors")))
        model.load_weights(list(weights.items()))
        model.eval()
        return model

    def last(model):
        return model(mx.array([[t % model.args.vocab_size for t in TOKENS]]))[0, -1]

    def case(name, config, use_dora=False, on="base", layers=2):
        folder = fresh(name)
        model = base(on)
        parameters = config["lora_parameters"]
        linear_to_lora_layers(model, layers, {"dropout": 0.0, **parameters}, use_dora)
        mx.random.seed(3)
        ours = [(k, v) for k, v in tree_flatten(model.parameters()) if k.rsplit(".", 1)[-1] in ("lora_a", "lora_b", "m")]
        ours = [(k, v * (1 + 0.3 * mx.random.normal(v.shape)) if k.endswith(".m") else 0.4 * mx.random.normal(v.shape)) for k, v in ours]
        mx.save_safetensors(f"{folder}/adapters.safetensors", dict(ours), metadata={"format": "mlx"})
        with open(f"{folder}/adapter_config.json", "w") as f:
            json.dump(config, f, indent=1)
        model.load_weights(ours, strict=False)
        logits, before = last(model), last(base(on))
        if "num_layers" in config and "keys" in parameters:
            # By the tool's own loader too.
            again = last(load_adapters(base(on), folder))
            assert mx.allclose(again, logits, atol=1e-6), name
        expect(name, on, logits.tolist(), float(mx.abs(logits - before).max()), tool)

    keys = ["self_attn.q_proj", "mlp.down_proj"]
    case("mlx_lora", {"fine_tune_type": "lora", "model": "mlx-community/tiny", "num_layers": 2, "train": True,
                      "lora_parameters": {"rank": 2, "dropout": 0.0, "scale": 1.7, "keys": keys}})
    case("mlx_dora", {"fine_tune_type": "dora", "model": "mlx-community/tiny", "num_layers": 2,
                      "lora_parameters": {"rank": 2, "dropout": 0.0, "scale": 0.9, "keys": keys}}, True)
    # As published ones are: no keys, no fine_tune_type.
    case("mlx_old_dora", {"lora_layers": 1, "use_dora": True, "model": "mlx-community/tiny",
                          "lora_parameters": {"rank": 2, "alpha": 2.0, "dropout": 0.0, "scale": 1.3}}, True, layers=1)
    case("mlx_embedding", {"fine_tune_type": "lora", "model": "mlx-community/tiny", "num_layers": 1,
                           "lora_parameters": {"rank": 2, "dropout": 0.0, "scale": 0.5,
                                               "keys": ["model.embed_tokens", "mlp.up_proj"]}}, layers=1)
    case("mlx_head", {"fine_tune_type": "lora", "model": "mlx-community/tiny", "num_layers": 1,
                      "lora_parameters": {"rank": 2, "dropout": 0.0, "scale": 0.5,
                                          "keys": ["model.embed_tokens", "lm_head"]}}, on="base_untied", layers=1)


{"peft": with_peft, "mlx": with_mlx}[sys.argv[1]]()
