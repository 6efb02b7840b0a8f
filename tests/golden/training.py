"""The first steps of trainings in PyTorch, for `steps_equal_pytorch` in tests/it/training.rs.

    python tests/golden/training.py           # writes training.json
    python tests/golden/training.py FOLDER    # the tiny model with a tokenizer there, and pairs.json

LoRA and IA3 are PEFT's; BiPO is a vector added to a block's output. Initial numbers are drawn here and written
down; order, signs and loss are those of convert/train_peft.py. Per step: its c, loss and gradient's length, and
all parameters after it. Pinned: torch 2.15.0 (CPU, f32), transformers 5.23.0, peft 0.21.2."""
import contextlib, json, os, shutil, sys
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
HERE = os.path.relpath(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, f"{HERE}/../../convert")
import torch, transformers
import train_peft as train
from peft import get_peft_model
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

VERSIONS = {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"}
for name, wanted in VERSIONS.items():
    assert version(name).split("+")[0] == wanted, f"{name} {version(name)}, wanted {wanted}"
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(1)

TOKENIZER = f"{HERE}/../fixtures/tiny_tokenizer.json"
TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
ROWS = [("A1!", "B2)", "7(", "train"), ("A1?", "!", "9B8", "train"), ("(B)", "2!", "B", "train"),
        ("A7", "B!", "9(", "train"), ("A2", "2)", "7B", "stop")]
PAIRS = {"kind": [dict(zip(("prompt", "positive", "negative", "split"), row)) for row in ROWS],
         "neutral": [{"prompt": "(A)", "completion": "B1)"}, {"prompt": "(7", "completion": "!!B"}]}
COMMON = dict(rank=2, steps=5, batch=2, seed=3, beta=3.0, nll=0.5, kl=0.5, clip=1.0, checkEvery=0)
CASES = {
    "lora": dict(COMMON, layers="", modules="v_proj", rate=2e-3),
    "ia3": dict(COMMON, layers="1", modules="v_proj,down_proj", rate=3e-2),
    "bipo": dict(COMMON, layers="1", modules="", rate=5e-2),
}


class Added:
    """BiPO: c times a vector, added to a block's output. Turns as `train.Coefficient` does."""

    def __init__(self, base, layer):
        self.c = 1.0
        self.vector = torch.nn.Parameter(torch.zeros(base.config.hidden_size))
        base.model.layers[layer].register_forward_hook(lambda _block, _inputs, h: h + self.c * self.vector)
        base.requires_grad_(False)

    @contextlib.contextmanager
    def at(self, c):
        self.c = c
        yield
        self.c = 1.0


def begin(name, options):
    """The net, what turns it to c, and the parameters by their names in a file."""
    base = LlamaForCausalLM.from_pretrained(f"{HERE}/base", dtype=torch.float32).eval()
    draw = torch.Generator().manual_seed(sum(map(ord, name)))
    if name == "bipo":
        turned = Added(base, int(options["layers"]))
        net, parameters = base, {f"direction.{options['layers']}": turned.vector}
    else:
        paths = train.targets(base, options["layers"], options["modules"].split(","))
        net = get_peft_model(base, train.METHODS[name][2](options["rank"], paths)).eval()
        turned = train.Coefficient(net)
        parameters = {key.replace(".default", ""): it for key, it in net.named_parameters() if it.requires_grad}
    for it in parameters.values():
        it.data = (1.0 if name == "ia3" else 0.0) + 0.2 * torch.randn(it.shape, generator=draw)
    return net, turned, parameters


def written(parameters):
    def values(it):
        return [float(f"{x:.9g}") for x in it.detach().flatten().tolist()]
    return {key: {"shape": list(it.shape), "values": values(it)} for key, it in sorted(parameters.items())}


def case(name, options, tokenizer):
    net, turned, parameters = begin(name, options)
    pairs = [train.encoded(tokenizer, row["prompt"], row["positive"], row["negative"])
             for row in PAIRS["kind"] if row["split"] == "train"]
    neutral = [train.encoded(tokenizer, row["prompt"], row["completion"])[0] for row in PAIRS["neutral"][::2]]
    with torch.no_grad(), turned.at(0.0):
        d_0 = [train.difference(*zip(train.read(net, both), both)).item() for both in pairs]
        told = [train.read(net, [text])[0] for text in neutral]
    optimizer = torch.optim.AdamW(parameters.values(), lr=options["rate"], eps=1e-8, weight_decay=0.0)
    out = {"options": options, "begin": written(parameters), "steps": []}
    for step in range(options["steps"]):
        s = train.sign(options["seed"], step)
        mine = train.chosen(options["seed"], step, options["batch"], len(pairs))
        at = step % len(neutral)
        texts = [text for pair in mine for text in pairs[pair]] + [neutral[at]]
        with turned.at(s):
            loss = train.loss_of(train.read(net, texts), texts, s, [d_0[pair] for pair in mine], told[at],
                                 options["beta"], options["nll"], options["kl"])
        optimizer.zero_grad()
        loss.backward()
        length = torch.nn.utils.clip_grad_norm_(parameters.values(), options["clip"])
        optimizer.step()
        out["steps"].append({"sign": s, "loss": loss.item(), "gradient": length.item(), "numbers": written(parameters)})
        print(name, step + 1, s, loss.item(), length.item())
    return out


def prepare(folder):
    shutil.copytree(f"{HERE}/base", folder, dirs_exist_ok=True)
    shutil.copy(TOKENIZER, f"{folder}/tokenizer.json")
    json.dump({"chat_template": TEMPLATE}, open(f"{folder}/tokenizer_config.json", "w"))
    json.dump(PAIRS, open(f"{folder}/pairs.json", "w"), indent=1)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit(prepare(sys.argv[1]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=TOKENIZER, chat_template=TEMPLATE)
    cases = {name: case(name, options, tokenizer) for name, options in CASES.items()}
    with open(f"{HERE}/training.json", "w") as file:
        json.dump({"versions": VERSIONS, "pairs": PAIRS, "cases": cases}, file, separators=(",", ":"))
        file.write("\n")
