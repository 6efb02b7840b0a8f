"""A model trained with the authors' SSVD code (ESPnet, espnet2/layers/lora/layers.py) -> an adapter folder.

    python convert/ssvd.py STATE.pth|MODEL.safetensors [more files ...] OUT

Needs torch and safetensors. STATE.pth is what torch.save(model.state_dict(), …) wrote; a whole model saved as one object is
refused, for reading it would run whatever code is in it. A state that holds only what was trained lacks u, v and s_pre: give
the base's weights too, and they are computed from <module>.weight as the authors do. Singular vectors have no sign of their
own, so do that with the torch and on the kind of machine of the training, or save the whole state there."""
import json, os, sys

import torch
from safetensors.torch import load_file, save_file

TRAINED, BASES = ("s", "gate", "K_vec"), ("u", "v", "s_pre")


def main(files, out):
    state = {}
    for path in files:
        part = load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
        state.update(part.get("model", part))
    short = lambda name: name[name.index("model.layers."):] if "model.layers." in name else name
    state = {short(name): value for name, value in state.items()}
    tensors = {}
    modules = [name.removesuffix(".K_vec") for name in state if name.endswith(".K_vec")]
    for module in modules:
        part = {name: state[f"{module}.{name}"].detach().float() for name in TRAINED + BASES if f"{module}.{name}" in state}
        if any(name not in part for name in BASES):
            if f"{module}.weight" not in state:
                sys.exit(f"{module} has no u, v and s_pre: give the base's weights too")
            weight = state[f"{module}.weight"].detach().float()
            o, i = weight.shape
            part.update(zip(("u", "s_pre", "v"), torch.linalg.svd(weight if o >= i else weight.T, full_matrices=False)))
        missing = [name for name in TRAINED if name not in part]
        if missing:
            sys.exit(f"{module} has no {', '.join(missing)}")
        k = len(part["s"])  # the rest of the decomposition does not change
        part.update(u=part["u"][:, :k], v=part["v"][:k], s_pre=part["s_pre"][:k], gate=part["gate"].reshape(1))
        for name, value in part.items():
            tensors[f"base_model.model.{module}.ssvd_layer.{name}"] = value.contiguous()
    if not modules:
        sys.exit(f"no SSVD layers in {', '.join(files)}")
    os.makedirs(out, exist_ok=True)
    save_file(tensors, f"{out}/adapter_model.safetensors", {"format": "pt"})
    with open(f"{out}/adapter_config.json", "w") as file:
        json.dump({"peft_type": "SSVD"}, file, indent=2)
    print(f"{out}: {len(modules)} modules")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
