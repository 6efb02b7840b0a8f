"""`steer train` with PEFT: the same pairs, loss, options and folder, on the hardware that PyTorch knows.

    python convert/train_peft.py --model HuggingFaceTB/SmolLM2-135M-Instruct --method lora --behaviour tone --out OUT
    accelerate launch --num_processes 2 convert/train_peft.py --batch 4 ...

Take `steer train` for a small model, quantised weights, any of its methods, or a machine without Python. Take
this for a model that needs a GPU, for several GPUs, or to go on in a pipeline that PEFT is part of already.
Both write a folder that either reads.

    loss = mean over pairs of  -ln sigmoid(beta s (d_s - d_0)) + nll NLL(wanted answer)
           + kl KL(base || steered) on a neutral answer
    s = -1 or +1 for each step, d_s = mean ln p(positive) - mean ln p(negative) at c = s, in nats per token

At c = -1 each adapted layer gives 2 y_0 - y_1, with y_0 of the layer without adapter: the linear law. Prompts and
prefixes have no such reverse in PEFT, they learn c = 1 alone, and stop rows are read at c = 0 and 1.
Several processes share the pairs of a step; `--batch` must be a multiple of their number.

Order and signs are drawn as `steer train` draws them. For the same initial numbers begin with its folder:

    steer train ... --dense --steps 0 --out BEGIN
    python convert/train_peft.py ... --start BEGIN

Needs torch 2.15.0, transformers 5.23.0, peft 0.21.2, accelerate 1.15.0."""
import argparse, contextlib, hashlib, json, math, os, re, sys, time
from collections import namedtuple

import peft, torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from peft import (DeloraConfig, HiraConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, PeftConfig,
                  PrefixTuningConfig, PromptTuningConfig, VeraConfig, get_peft_model, get_peft_model_state_dict,
                  set_peft_model_state_dict)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "www", "adapters", "contrast.json")
USUAL = ["v_proj", "o_proj", "down_proj"]
MOST_NLL_NATS = 0.2  # what neutral answers may cost in likelihood, in nats per token


def inner(targets):
    return [path for path in targets if path.endswith("down_proj")]


METHODS = {  # name: (rate, usual modules, config of a rank and the paths of modules); no modules: tokens
    "lora": (2e-3, USUAL, lambda r, t: LoraConfig(r=r, lora_alpha=2 * r, target_modules=t)),
    "dora": (2e-3, USUAL, lambda r, t: LoraConfig(r=r, lora_alpha=2 * r, use_dora=True, target_modules=t)),
    "ia3": (3e-2, ["k_proj", "v_proj", "down_proj"],
            lambda r, t: IA3Config(target_modules=t, feedforward_modules=inner(t))),
    "vera": (2e-2, USUAL, lambda r, t: VeraConfig(r=r, target_modules=t)),
    "loha": (5e-3, USUAL, lambda r, t: LoHaConfig(r=r, alpha=2 * r, target_modules=t)),
    "lokr": (5e-3, USUAL, lambda r, t: LoKrConfig(r=r, alpha=2 * r, target_modules=t)),
    "delora": (2e-3, USUAL, lambda r, t: DeloraConfig(r=r, target_modules=t)),
    "hira": (1e-2, USUAL, lambda r, t: HiraConfig(r=r, target_modules=t)),
    "prompt_tuning": (1e-2, None, lambda r, t: PromptTuningConfig(num_virtual_tokens=r)),
    "prefix_tuning": (1e-2, None, lambda r, t: PrefixTuningConfig(num_virtual_tokens=r)),
}

Text = namedtuple("Text", "before answer")  # token ids


def noise_key(seed, position):
    """SplitMix64, as two numbers of 32 bits: `noise_key` of src/sample.rs. `src/train` draws the next two from it."""
    low = (1 << 64) - 1
    z = (seed + (position + 1) * 0x9E3779B97F4A7C15) & low
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & low
    z = (z ^ z >> 27) * 0x94D049BB133111EB & low
    z ^= z >> 31
    return z & 0xFFFFFFFF, z >> 32


def sign(seed, step, has_reverse=True):
    """The c of a step, counted from 0."""
    return -1.0 if has_reverse and noise_key(seed ^ 0x5169, step)[0] % 2 == 0 else 1.0


def chosen(seed, step, batch, pairs):
    """The pairs of a step: each once in every round, in an order of its own."""
    def order(turn):
        return sorted(range(pairs), key=lambda pair: noise_key(seed, turn * pairs + pair))
    return [order(at // pairs)[at % pairs] for at in range(step * batch, (step + 1) * batch)]


def read_pairs(path, behaviour):
    """Rows by split, and neutral rows: those of even places for the gradient, the others for what it costs."""
    file = json.load(open(path))
    if behaviour not in file:
        sys.exit(f"{path}: has no `{behaviour}`")
    marked = any("split" in row or "held_out" in row for row in file[behaviour])
    splits = {"train": [], "stop": [], "test": []}
    for row in file[behaviour]:
        held_out = "test" if row.get("held_out", not marked) else "train"
        splits[row.get("split", held_out)].append(row)
    if not splits["train"]:
        sys.exit(f"{path}: `{behaviour}` has no rows of the split `train`")
    neutral = file.get("neutral") or json.load(open(SHIPPED))["neutral"]
    alone = len(neutral) < 2
    return splits, neutral if alone else neutral[::2], neutral if alone else neutral[1::2]


def encoded(tokenizer, prompt, *answers):
    if tokenizer.chat_template:
        chat = [{"role": "user", "content": prompt}]
        before = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
    else:
        before = tokenizer(prompt + "\n")["input_ids"]
    return [Text(before, tokenizer(answer, add_special_tokens=False)["input_ids"]) for answer in answers]


def read(net, texts):
    """For each text ln p [n, vocabulary] before each of the n tokens of its answer."""
    ids = [(text.before + text.answer)[:-1] for text in texts]
    longest = max(map(len, ids))
    device = next(net.parameters()).device
    padded = torch.tensor([one + [0] * (longest - len(one)) for one in ids], device=device)
    mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in ids], device=device)
    logits = net(input_ids=padded, attention_mask=mask).logits[:, -longest:]  # virtual tokens have logits too
    each = [row[len(one) - len(text.answer):len(one)] for row, one, text in zip(logits, ids, texts)]
    return [torch.log_softmax(row.float(), -1) for row in each]


def of_answer(found, text):
    """ln p [n] of the answer's tokens."""
    return found[torch.arange(len(text.answer)), torch.tensor(text.answer)]


def difference(positive, negative):
    """d of a pair, each side (what `read` found, text)."""
    return of_answer(*positive).mean() - of_answer(*negative).mean()


def loss_of(found, texts, s, base, neutral, beta, nll, kl):
    """Of pairs at c = s, positive answers first, whose d at c = 0 are `base`, and of a neutral answer that stands
    last, of which the base says `neutral` [n, vocabulary] (None: there is none)."""
    read_texts = list(zip(found, texts))
    each = []
    for at, d_0 in enumerate(base):
        both = read_texts[2 * at:2 * at + 2]
        wanted = of_answer(*both[int(s < 0)]).mean()
        each.append(-torch.nn.functional.logsigmoid(beta * s * (difference(*both) - d_0)) - nll * wanted)
    loss = torch.stack(each).mean()
    if neutral is not None:
        loss = loss + kl * (neutral.exp() * (neutral - found[-1])).sum(-1).mean()
    return loss


class Coefficient:
    """Turns a PEFT model to c = -1, 0 or 1."""

    def __init__(self, net):
        self.net, self.c = net, 1.0
        self.is_prompt = net.peft_config["default"].is_prompt_learning
        config = net.peft_config["default"]
        layers = [] if self.is_prompt else [it for it in net.modules() if hasattr(it, "base_layer")]
        self.scaled = []
        if config.peft_type == "LORA" and not config.use_dora:
            self.scaled = [(it.scaling, it.scaling["default"]) for it in layers]
        else:
            for layer in layers:
                layer.register_forward_hook(self.blend)

    def blend(self, layer, inputs, y):
        if self.c == 1.0:
            return y
        y_0 = layer.base_layer(*inputs)
        return y_0 + self.c * (y - y_0)

    @contextlib.contextmanager
    def at(self, c):
        if c == 0.0:
            with self.net.disable_adapter():
                yield
            return
        assert c == 1.0 or not self.is_prompt, "virtual tokens have no reverse here"
        self.c = c
        for scaling, trained in self.scaled:
            scaling["default"] = c * trained
        yield
        self.c = 1.0
        for scaling, trained in self.scaled:
            scaling["default"] = trained


@torch.no_grad()
def check(net, turn, stop, neutral):
    """As `Check` of src/train/report.rs; None where virtual tokens have no c = -1."""
    steps = [0.0, 1.0] if turn.is_prompt else [-1.0, 0.0, 1.0]
    curves, told = [[] for _ in stop], {}
    for c in steps:
        with turn.at(c):
            for curve, both in zip(curves, stop):
                curve.append(difference(*zip(read(net, both), both)).item())
            told[c] = torch.cat([of_answer(*read(net, [text]), text) for text in neutral])
    shifts = [(told[0.0] - told[c]).double().mean().item() if c in told else None for c in (-1.0, 1.0)]
    means = [sum(row[at] for row in curves) / len(curves) for at in range(len(steps))]
    ordered = sum(all(a < b for a, b in zip(row, row[1:])) for row in curves) / len(curves)
    d = [None] * (3 - len(steps)) + means
    return {"dNats": d, "orderedShare": ordered, "nllShiftNats": shifts, "isBest": False}


def width(found):
    d = found["dNats"]
    return d[2] - (d[1] if d[0] is None else d[0])


def targets(net, layers, modules):
    """Paths of the linear layers to train."""
    first, last = 0, sys.maxsize
    if layers and layers != "all":
        first, _, last = layers.partition("-")
        first, last = int(first), int(last or first)
    found = []
    for path, _ in net.named_modules():
        block = re.search(r"\.(?:layers|h)\.(\d+)\.", path)
        if block and first <= int(block[1]) <= last and path.rsplit(".", 1)[-1] in modules:
            found.append(path)
    if not found:
        sys.exit(f"the model has no {', '.join(modules)} in blocks {layers or 'all'}: --layers, --modules")
    return found


def adapted(base, args):
    _, usual, config = METHODS[args.method]
    if usual is None and (args.layers or args.modules):
        sys.exit(f"{args.method} acts on all blocks: leave --layers and --modules out")
    modules = args.modules.split(",") if args.modules else usual
    config = config(args.rank, usual and targets(base, args.layers, modules))
    config.task_type = "CAUSAL_LM"
    if args.start:
        begun = PeftConfig.from_pretrained(args.start)
        for field in ("peft_type", "use_dora"):
            if getattr(begun, field, None) != getattr(config, field, None):
                sys.exit(f"{args.start}: its {field} is {getattr(begun, field, None)}, not that of {args.method}")
        config = begun
        config.inference_mode = False
    torch.manual_seed(args.seed)
    net = get_peft_model(base, config)
    if args.start:
        set_peft_model_state_dict(net, load_file(f"{args.start}/adapter_model.safetensors"))
    return net


def train(args):
    accelerator = Accelerator()
    share = accelerator.num_processes
    if args.batch % share:
        sys.exit(f"--batch {args.batch}: not a multiple of the {share} processes")
    started = time.time()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    base = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.dtype))
    net = adapted(base, args).to(accelerator.device).eval()  # no dropout
    turn = Coefficient(net)
    splits, learned, kept = read_pairs(args.pairs, args.behaviour)
    pairs, stop = [[encoded(tokenizer, row["prompt"], row["positive"], row["negative"]) for row in splits[name]]
                   for name in ("train", "stop")]
    learned, kept = [[encoded(tokenizer, row["prompt"], row["completion"])[0] for row in rows]
                     for rows in (learned, kept)]
    with torch.no_grad(), turn.at(0.0):
        d_0 = [difference(*zip(read(net, both), both)).item() for both in pairs]
        neutral = [read(net, [text])[0] for text in learned] if args.kl else []

    parameters = {name: it for name, it in net.named_parameters() if it.requires_grad}
    rate = METHODS[args.method][0] if args.rate is None else args.rate
    optimizer = torch.optim.AdamW(parameters.values(), lr=rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    wrapped, optimizer = accelerator.prepare(net, optimizer)
    best, last, too_dear, done = None, None, 0, 0
    for step in range(args.steps):
        s = sign(args.seed, step, not turn.is_prompt)
        mine = chosen(args.seed, step, args.batch, len(pairs))[accelerator.process_index::share]
        texts = [text for pair in mine for text in pairs[pair]]
        at = step % len(neutral) if neutral else None
        texts += [] if at is None else [learned[at]]
        with turn.at(s):
            loss = loss_of(read(wrapped, texts), texts, s, [d_0[pair] for pair in mine],
                           None if at is None else neutral[at], args.beta, args.nll, args.kl)
            accelerator.backward(loss)
        length = accelerator.clip_grad_norm_(parameters.values(), args.clip).item()
        done = step + 1
        told = {"step": done, "sign": s, "loss": accelerator.reduce(loss.detach(), "mean").item(), "gradient": length}
        if not (math.isfinite(told["loss"]) and math.isfinite(length)):
            sys.exit(f"step {done}: the loss or its gradient is not finite: try a smaller rate")
        optimizer.step()
        optimizer.zero_grad()
        if args.check_every and stop and (done % args.check_every == 0 or done == args.steps):
            # All processes go by what the first one read.
            found = broadcast_object_list([check(net, turn, stop, kept) if accelerator.is_main_process else None])[0]
            dear = any(nll is not None and nll > MOST_NLL_NATS for nll in found["nllShiftNats"])
            too_dear = too_dear + 1 if dear else 0
            if not dear and found["orderedShare"] >= 0.8 and width(found) > (width(best[0]) if best else 0.0):
                found["isBest"] = True
                best = found, done, {name: it.detach().clone() for name, it in parameters.items()}
            last = told["check"] = found
        if accelerator.is_main_process:
            print(json.dumps(told), flush=True)
        if too_dear >= 2:
            break

    if best:
        last, done, numbers = best
        for name, it in parameters.items():
            it.data.copy_(numbers[name])
    if accelerator.is_main_process:
        save(net, args, rate, done, time.time() - started, last)
    accelerator.end_training()


def save(net, args, rate, steps, seconds, stop_rows):
    config = net.peft_config["default"]
    config.inference_mode = True
    config.save_pretrained(args.out)
    tensors = get_peft_model_state_dict(net, save_embedding_layers=False)
    tensors = {key: it.detach().cpu().clone().contiguous() for key, it in tensors.items()}
    save_file(tensors, f"{args.out}/adapter_model.safetensors", {"format": "pt"})
    options = {name: getattr(args, name) for name in ("rank", "layers", "modules", "steps", "batch", "rate", "seed",
                                                      "beta", "nll", "kl", "clip")}
    record = {"method": args.method, "behaviour": args.behaviour,
              "pairsSha256": hashlib.sha256(open(args.pairs, "rb").read()).hexdigest(), "model": args.model,
              "modelSha256": None, "options": {**options, "checkEvery": args.check_every},
              "parameters": sum(it.numel() for it in net.parameters() if it.requires_grad), "rate": rate,
              "steps": steps, "seconds": seconds, "stopRows": stop_rows, "version": f"peft {peft.__version__}"}
    json.dump(record, open(f"{args.out}/training.json", "w"), indent=2)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", required=True, help="a folder, or a name on the Hub")
    add("--method", required=True, choices=METHODS)
    add("--pairs", default=SHIPPED, help="a file of contrasting answers (docs/measuring.md)")
    add("--behaviour", required=True, help="which of its behaviours")
    add("--out", required=True, help="folder to write into")
    add("--start", help="an adapter folder to begin from, with its rank and modules")
    add("--layers", default="", help="blocks to train: 9-20, 7, or all")
    add("--modules", default="", help="modules to train, as v_proj,o_proj,down_proj")
    add("--rank", type=int, default=4, help="the rank, or the number of virtual tokens")
    add("--steps", type=int, default=48, help="steps at most; 0 writes the adapter as it begins")
    add("--batch", type=int, default=2, help="pairs in a step")
    add("--rate", type=float, help="the learning rate of AdamW; the method's own unless given")
    add("--seed", type=int, default=0, help="of initial numbers, order and signs")
    add("--beta", type=float, default=3.0, help="how sharply the difference between the answers counts")
    add("--nll", type=float, default=0.5, help="the weight of the wanted answer's own likelihood")
    add("--kl", type=float, default=0.5, help="the weight of the distance from the base on neutral answers")
    add("--clip", type=float, default=1.0, help="the longest gradient")
    add("--check-every", type=int, default=12, help="steps between two looks at the stop rows; 0 for none")
    add("--dtype", default="float32", choices=["float32", "bfloat16"], help="of the base's weights")
    return parser


if __name__ == "__main__":
    train(options().parse_args())
