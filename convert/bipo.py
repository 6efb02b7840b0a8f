"""BiPO's .pt files (https://github.com/CaoYuanpu/BiPO, pretrained_vector) -> an adapter folder.

    python convert/bipo.py vec_ep20_layer15.pt [another_layer.pt ...] OUT

Needs torch and safetensors. The block is the number behind "layer" in each file's name; the vector is
added to that block's output, blocks counted from 0."""
import json, os, re, sys

import torch
from safetensors.torch import save_file


def main(files, out):
    directions = {}
    for path in files:
        layer = re.search(r"layer_?(\d+)", os.path.basename(path))
        if not layer:
            sys.exit(f"{path}: its name must tell the block, as in vec_ep20_layer15.pt")
        vector = torch.load(path, map_location="cpu", weights_only=True)
        if not torch.is_tensor(vector) or vector.squeeze().dim() != 1:
            sys.exit(f"{path}: holds no single vector")
        directions[f"direction.{layer[1]}"] = vector.detach().squeeze().float().contiguous()
    os.makedirs(out, exist_ok=True)
    save_file(directions, f"{out}/adapter_model.safetensors", {"format": "pt"})
    with open(f"{out}/adapter_config.json", "w") as file:
        json.dump({"peft_type": "BIPO"}, file, indent=2)
    print(f"{out}: " + ", ".join(f"{k} {tuple(v.shape)}" for k, v in directions.items()))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1:-1], sys.argv[-1])
