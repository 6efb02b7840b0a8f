"""A forward and a backward pass of training in PyTorch, with the shapes of `steer bench --train`, on one thread.

    steer bench --model MODEL.gguf --fast --train --rounds 9
    python convert/bench_train.py --model MODEL.gguf --rounds 9

A LoRA of rank 4 on v_proj, o_proj and down_proj of all blocks, over 4 texts of 40 tokens: the mean -ln p of all next
tokens, and its gradient for the LoRA's numbers alone. The model is what transformers makes of the file, in float32.
Run both in turns on a machine that does nothing else, and compare the medians. Both print the loss of the untrained
LoRA, which is the base's: it differs only by how the weights are multiplied.
Needs torch 2.15.0, transformers 5.23.0, peft 0.21.2, gguf."""
import argparse, json, os, statistics, time
from importlib.metadata import version

os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch, transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

TEXTS, TOKENS, RANK = 4, 40, 4
MODULES = ["v_proj", "o_proj", "down_proj"]


def load(path):
    """From a GGUF file, a folder, or a name on the Hub."""
    folder, file = os.path.split(os.path.abspath(path))
    given = {"gguf_file": file} if path.endswith(".gguf") else {}
    return AutoModelForCausalLM.from_pretrained(folder if given else path, dtype=torch.float32, **given)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .gguf file, a folder, or a name on the Hub")
    parser.add_argument("--rounds", type=int, default=9, help="passes that are timed, after one that is not")
    args = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.disable_progress_bar()
    net = load(args.model).eval()  # no dropout
    vocab = net.config.vocab_size
    net = get_peft_model(net, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=MODULES))
    # As src/bin/steer/bench.rs makes them: one more than are read, since each next token is asked for.
    places = torch.arange(TEXTS * (TOKENS + 1)).reshape(TEXTS, TOKENS + 1)
    ids = (places * 7919 + 11) % vocab

    def run():
        net.zero_grad()
        logits = net(input_ids=ids[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        return loss.item()

    loss, times = run(), []
    for _ in range(args.rounds):
        started = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - started))
    print(json.dumps({
        "model": args.model, "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "threads": torch.get_num_threads(), "texts": TEXTS, "tokens": TOKENS, "rounds": args.rounds, "loss": loss,
        "forward_backward_ms": {"min": min(times), "median": statistics.median(times), "max": max(times)},
    }, indent=2))


if __name__ == "__main__":
    main()
