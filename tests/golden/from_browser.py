"""Does PEFT load what was trained in a browser, and compute the same at c = 1?

    TRAINED_IN_BROWSER=/tmp/left cargo xtask test --e2e     # trainings of the browser tests are left there
    cargo build --release --bin steer
    python tests/golden/from_browser.py /tmp/left target/release/steer MODEL.gguf

`tiny` is a LoRA of 20 steps on tests/golden/base (tests/e2e/trains.test.mjs), `real` one of the page's panel, downloaded
(train.test.mjs). `steer logits`, the same engine in float32, and PEFT must compute the same of each folder: the largest
difference of a logit stays below 1e-4 of the largest logit. expected.json says what the page itself computed, ln p of the likeliest tokens with
adapter and without: there keys and values are rounded, and of the real model the activations, so no limit is set; the
difference of the base alone says how much is the arithmetic's.
Pinned: torch 2.15.0, transformers 5.23.0, peft 0.21.2."""
import json, os, subprocess, sys
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
import torch, transformers
from peft import PeftModel
from transformers import AutoModelForCausalLM

VERSIONS = {"torch": "2.15.0", "transformers": "5.23.0", "peft": "0.21.2"}
for name, wanted in VERSIONS.items():
    assert version(name).split("+")[0] == wanted, f"{name} {version(name)}, wanted {wanted}"
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_grad_enabled(False)
HERE = os.path.dirname(os.path.abspath(__file__))
TOLERANCE = 1e-4


def log_p(net, tokens):
    """ln p [n, vocabulary] after each beginning of the tokens."""
    ids = torch.tensor([tokens])
    return torch.log_softmax(net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].double(), -1)


def engine(steer, model, folder, tokens):
    """Logits [n, vocabulary] at c = 1, by `steer` in float32."""
    asked = [steer, "logits", "--model", model, "--adapter", folder, "--tokens", ",".join(map(str, tokens)), "--all", "--json"]
    return torch.tensor(json.loads(subprocess.check_output(asked))["logits"], dtype=torch.float64)


def check(name, folder, base, steer, model):
    expected = json.load(open(f"{folder}/expected.json"))
    tokens, rows = expected["tokens"], expected["rows"]
    assert len(rows) == len(tokens), f"{folder}: {len(rows)} rows for {len(tokens)} tokens"
    plain = log_p(base, tokens)
    net = PeftModel.from_pretrained(base, folder).eval()
    ids = torch.tensor([tokens])
    peft = net(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].double()
    steered = torch.log_softmax(peft, -1)
    apart = (engine(steer, model, folder, tokens) - peft).abs().max().item()
    logits = apart / peft.abs().max().item()
    moved = (steered - plain).abs().max().item()

    def largest(found, told):
        each = [(found[at, row["ids"]] - torch.tensor(row[told], dtype=torch.float64)).abs().max()
                for at, row in enumerate(rows)]
        return max(each).item()

    print(f"{name}: logits apart {apart:.1e}, {logits:.1e} of the largest; the adapter moves {moved:.1e} nats; the page apart "
          f"{largest(steered, 'steered'):.1e} nats with it, {largest(plain, 'base'):.1e} without")
    if not logits <= TOLERANCE:
        sys.exit(f"{name}: PEFT computes something else, by {logits} of the largest logit; at most {TOLERANCE}")
    if not moved > 100 * TOLERANCE:
        sys.exit(f"{name}: the adapter moves nothing, only {moved} nats")


def main(left, steer, gguf):
    load = AutoModelForCausalLM.from_pretrained
    check("tiny", f"{left}/tiny", load(f"{HERE}/base", dtype=torch.float32).eval(), steer, f"{HERE}/base")
    folder, file = os.path.split(os.path.abspath(gguf))
    net = load(folder, gguf_file=file, dtype=torch.float32).eval()
    check("real", f"{left}/real", net, steer, gguf)


if __name__ == "__main__":
    main(*sys.argv[1:])
