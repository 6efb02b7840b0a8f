"""A model trained with the authors' SVFT code (https://github.com/VijayLingam95/SVFT) -> an adapter folder.

    python convert/svft.py STATE.pt|MODEL.safetensors [more files ...] OUT

Needs torch and safetensors. STATE.pt is what torch.save(model.state_dict(), …) wrote; a whole model saved as one
object is refused, for reading it would run whatever code is in it."""
import json, os, sys

import torch
from safetensors.torch import load_file, save_file

PARTS = ("u", "v", "s_pre", "s", "s_row", "s_col", "gate")


def main(files, out):
    tensors = {}
    for path in files:
        state = load_file(path) if path.endswith(".safetensors") else torch.load(path, map_location="cpu", weights_only=True)
        for key, value in state.get("model", state).items():
            module, found, part = key.rpartition(".svft_layer.")
            if found and part in PARTS:
                module = module[module.index("model.layers."):] if "model.layers." in module else module
                value = value.detach() if part in ("s_row", "s_col") else value.detach().float()
                tensors[f"base_model.model.{module}.svft_layer.{part}"] = value.contiguous()
    modules = {key.rpartition(".svft_layer.")[0] for key in tensors}
    missing = [f"{m}.svft_layer.{p}" for m in sorted(modules) for p in PARTS if f"{m}.svft_layer.{p}" not in tensors]
    if missing or not modules:
        sys.exit(f"no SVFT layers in {', '.join(files)}" if not modules else f"missing: {', '.join(missing[:5])}")
    os.makedirs(out, exist_ok=True)
    save_file(tensors, f"{out}/adapter_model.safetensors", {"format": "pt"})
    with open(f"{out}/adapter_config.json", "w") as file:
        json.dump({"peft_type": "SVFT"}, file, indent=2)
    print(f"{out}: {len(modules)} modules")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
