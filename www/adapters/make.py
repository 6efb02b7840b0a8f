"""Trains the adapters in this folder so that one signed coefficient c steers both ways.

Pinned: torch 2.15.0 (CPU is enough), transformers 5.23.0, peft 0.21.2, safetensors 0.8.0, numpy 2.4.6.

    python www/adapters/make.py MODEL_DIR            # trains tone (LoRA) and register (IA3), a few minutes each on 2 cores
    python www/adapters/make.py MODEL_DIR tone       # only one

MODEL_DIR is SmolLM2-135M-Instruct as a transformers folder; the shipped files were trained on the Q4_1 GGUF dequantised to
float32, which is what the page runs. contrast.json holds the prompts with a positive and a negative completion, written by hand.

At every step a sign s = -1 or +1 is drawn and the adapter runs with coefficient s (LoRA: scaling * s; IA3: 1 + s (l - 1)). The loss is
-log sigmoid(BETA s [d_s - d_0]), d = mean log p(positive) - mean log p(negative), as in BiPO (2406.00045), plus the NLL of
the completion that s asks for, plus KL(base || steered) on neutral questions so that the model stays coherent.
Layers below the first adapted one never change, so their output is computed once.
"""
import json, math, os, random, re, sys, time

os.environ["HF_HUB_OFFLINE"] = "1"
if os.environ.get("PYTHONHASHSEED") != "0":  # PEFT writes sets as lists: fix their order
    os.environ["PYTHONHASHSEED"] = "0"
    os.execv(sys.executable, [sys.executable] + sys.argv)
import torch, torch.nn.functional as F, transformers
from peft import IA3Config, LoraConfig, get_peft_model
from peft.tuners.ia3 import Linear as IA3Linear
from peft.tuners.lora import Linear as LoraLinear
from transformers import AutoTokenizer, LlamaForCausalLM

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
torch.set_num_threads(int(os.environ.get("THREADS", "2")))
HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
PAIRS = 2

LORA_LAYERS = list(range(9, 21))
JOBS = {
    "tone": dict(
        folder="tone-lora", method="LoRA", first=9, steps=36, lr=2e-3, beta=3.0, nll=0.5, kl=0.5,
        config=lambda: LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=8, layers_to_transform=LORA_LAYERS,
                                  target_modules=["v_proj", "o_proj", "down_proj"]),
        title="Cheerful or gloomy", behaviour=dict(positive="cheerful, hopeful tone", negative="gloomy, hopeless tone"),
        sentence="Turns the tone of every answer: towards cheerful above zero, towards gloomy below."),
    "register": dict(
        folder="register-ia3", method="IA3", first=8, steps=24, lr=3e-2, beta=3.0, nll=0.5, kl=0.5,
        config=lambda: IA3Config(task_type="CAUSAL_LM", target_modules=r".*\.layers\.([89]|1\d|2\d)\..*\.(k_proj|v_proj|down_proj)",
                                 feedforward_modules=r".*\.down_proj"),
        title="Formal or casual", behaviour=dict(positive="formal, elaborate wording", negative="casual, chatty wording"),
        sentence="Turns the wording of every answer: towards formal above zero, towards casual below."),
}


class Steered:
    """The model with its adapter at coefficient `c`, run over several conversations packed into one sequence."""

    def __init__(self, path, config, first):
        self.tok = AutoTokenizer.from_pretrained(path)
        base = LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="sdpa").eval()
        base.config._name_or_path = base.name_or_path = NAME
        self.pm = get_peft_model(base, config)
        self.pm.eval()
        self.base, self.model, self.first, self.c = base, base.model, first, 1.0
        self.lora = [m for m in self.pm.modules() if isinstance(m, LoraLinear)]
        for m in self.lora:
            m.trained_scaling = m.scaling["default"]
        for m in self.pm.modules():
            if isinstance(m, IA3Linear):
                m.forward = self.ia3(m)
        self.prefix = self.common_prefix()
        self.cache = {}

    def set(self, c):
        self.c = c
        for m in self.lora:
            m.scaling["default"] = c * m.trained_scaling

    def ia3(self, m):
        def forward(x):
            l = 1 + self.c * (m.ia3_l["default"].flatten() - 1)
            return m.base_layer(x * l) if m.is_feedforward else m.base_layer(x) * l
        return forward

    def prompt(self, text):
        return self.tok.apply_chat_template([{"role": "user", "content": text}], add_generation_prompt=True, tokenize=True, return_dict=False)

    def common_prefix(self):
        a, b = self.prompt("A"), self.prompt("question?")
        n = next(i for i, (x, y) in enumerate(zip(a, b)) if x != y)
        return a[:n]

    def item(self, row):
        """Token ids of the prompt (without the shared system part) and of each completion."""
        p = self.prompt(row["prompt"])
        assert p[:len(self.prefix)] == self.prefix
        texts = [row[k] for k in ("positive", "negative", "completion") if k in row]
        return p[len(self.prefix):], [self.tok(t, add_special_tokens=False).input_ids for t in texts]

    def layers(self, x, pos, mask, lo, hi):
        pe = self.model.rotary_emb(x, pos[None])
        for l in self.model.layers[lo:hi]:
            x = l(x, attention_mask=mask[None, None], position_embeddings=pe, position_ids=pos[None])
            x = x if torch.is_tensor(x) else x[0]
        return x

    def pack(self, items):
        """One sequence: the system part once, each prompt once, each completion; a token sees its own ancestors only."""
        ids, pos, seen, spans = list(self.prefix), list(range(len(self.prefix))), [(0, len(self.prefix), [])], []
        n = len(self.prefix)
        for p, completions in items:
            pa = (len(ids), len(ids) + len(p))
            seen.append((*pa, [(0, n)])); pos += range(n, n + len(p)); ids += p
            for comp in completions:
                a = (len(ids), len(ids) + len(comp))
                seen.append((*a, [(0, n), pa])); pos += range(n + len(p), n + len(p) + len(comp)); ids += comp
                # the token before each completion token: the prompt's last one, then the completion itself
                spans.append(([pa[1] - 1] + list(range(a[0], a[1] - 1)), comp))
        mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
        for a, b, up in seen:
            mask[a:b, a:b] = torch.ones(b - a, b - a).tril().bool()
            for u, v in up:
                mask[a:b, u:v] = True
        return torch.tensor(ids), torch.tensor(pos), mask, spans

    def lower(self, item):
        """Frozen layers, once per conversation; returns (shared part, own part)."""
        key = json.dumps(item)
        if key not in self.cache:
            with torch.no_grad():
                ids, pos, mask, _ = self.pack([item])
                self.cache[key] = self.layers(self.model.embed_tokens(ids)[None], pos, mask, 0, self.first)[0]
        return self.cache[key]

    def logits(self, items):
        n = len(self.prefix)
        low = [self.lower(i) for i in items]
        x = torch.cat([low[0][:n]] + [h[n:] for h in low])[None]
        _, pos, mask, spans = self.pack(items)
        h = self.model.norm(self.layers(x, pos, mask, self.first, None))[0]
        out = self.base.lm_head(h[torch.tensor([i for rows, _ in spans for i in rows])])
        return out.split([len(c) for _, c in spans]), [torch.tensor(c) for _, c in spans]

    def logp(self, items):
        """Mean log-probability of every completion."""
        lg, ids = self.logits(items)
        return torch.stack([-F.cross_entropy(l, i) for l, i in zip(lg, ids)])


def differences(m, items, c):
    m.set(c)
    with torch.no_grad():
        lp = torch.cat([m.logp(items[i:i + 4]) for i in range(0, len(items), 4)])
    return lp[0::2] - lp[1::2]


def train(name, path):
    job = JOBS[name]
    torch.manual_seed(0); random.seed(0)
    data = json.load(open(f"{HERE}/contrast.json"))
    m = Steered(path, job["config"](), job["first"])
    rows = [m.item(r) for r in data[name] if r["split"] != "test"]
    held = [m.item(r) for r in data[name] if r["split"] == "test"]
    neutral = [m.item(r) for r in data["neutral"]]
    d0 = differences(m, rows, 0.0)
    with torch.no_grad():
        neutral_base = [m.logits([i])[0][0].log_softmax(-1) for i in neutral]
    params = [p for p in m.pm.parameters() if p.requires_grad]
    print(name, "trainable", sum(p.numel() for p in params), "pairs", len(rows), "base difference", float(d0.mean()), flush=True)
    opt = torch.optim.Adam(params, lr=job["lr"], betas=(0.9, 0.98))
    t0, deck, signs = time.time(), [], []
    for step in range(job["steps"]):
        for g in opt.param_groups:
            g["lr"] = job["lr"] * min(1, (step + 1) / 8) * (0.1 + 0.9 * (1 + math.cos(math.pi * step / job["steps"])) / 2)
        deck = deck if len(deck) >= PAIRS else deck + random.sample(range(len(rows)), len(rows))
        pick, deck = deck[:PAIRS], deck[PAIRS:]
        signs = signs or random.sample([-1, -1, 1, 1], 4)
        s = signs.pop()
        k = step % len(neutral)
        m.set(float(s))
        lg, ids = m.logits([rows[i] for i in pick] + [neutral[k]])
        lp = torch.stack([-F.cross_entropy(l, i) for l, i in zip(lg[:-1], ids)])
        d = lp[0::2] - lp[1::2]
        pref = -F.logsigmoid(job["beta"] * s * (d - d0[pick])).mean()
        nll = -(lp[0::2] if s > 0 else lp[1::2]).mean()
        kl = (neutral_base[k].exp() * (neutral_base[k] - lg[-1].log_softmax(-1))).sum(-1).mean()
        opt.zero_grad()
        (pref + job["nll"] * nll + job["kl"] * kl).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        opt.step()
        if step % 5 == 0 or step == job["steps"] - 1:
            print(f"{name} {step:3d} s={s:+d} pref {pref:.3f} nll {nll:.3f} kl {kl:.3f} |d-d0| {float((s*(d-d0[pick])).mean().detach()):.3f} {time.time()-t0:.0f}s", flush=True)
    out = f"{HERE}/{job['folder']}"
    os.makedirs(out, exist_ok=True)
    m.set(1.0)
    m.pm.save_pretrained(out, safe_serialization=True)
    os.remove(f"{out}/README.md")
    report(name, m, held, neutral, neutral_base)
    samples(m)


def report(name, m, held, neutral, neutral_base):
    job = JOBS[name]
    out = f"{HERE}/{job['folder']}"
    values = {c: differences(m, held, c) for c in (-1.0, 0.0, 1.0)}
    print(name, "held-out difference", {c: round(float(v.mean()), 3) for c, v in values.items()}, flush=True)
    print(name, "prompts in order -1 < 0 < 1:", int(((values[-1.0] < values[0.0]) & (values[0.0] < values[1.0])).sum()), "of", len(held))
    for c in (-1.0, 1.0):
        m.set(c)
        with torch.no_grad():
            kl = [float((b.exp() * (b - m.logits([i])[0][0].log_softmax(-1))).sum(-1).mean()) for i, b in zip(neutral, neutral_base)]
        print(name, f"neutral KL at c={c:+.0f}: {sum(kl)/len(kl):.3f} nats per token")
    card = dict(id=job["folder"], title=job["title"], behaviour=job["behaviour"], sentence=job["sentence"], method=job["method"],
                bytes=os.path.getsize(f"{out}/adapter_model.safetensors"),
                measured=dict(what="mean log-probability difference positive minus negative completion on held-out prompts, nats per token",
                              c=[-1, 0, 1], value=[round(float(values[c].mean()), 4) for c in (-1.0, 0.0, 1.0)]))
    json.dump(card, open(f"{out}/card.json", "w"), indent=2)
    open(f"{out}/card.json", "a").write("\n")


def samples(m, questions=("What is it like to live in a small town?", "Tell me about the stars.", "I lost my job today."), n=30):
    """Greedy answers at c = -1, 0, 1 (the questions run as one batch, padded on the left)."""
    rows = [m.prompt(q) for q in questions]
    width = max(map(len, rows))
    ids = torch.tensor([[2] * (width - len(r)) + r for r in rows])
    mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows])
    for c in (-1.0, 1.0, 0.0):
        m.set(c)
        with torch.no_grad():
            g = m.base.generate(input_ids=ids, attention_mask=mask, max_new_tokens=n, do_sample=False, pad_token_id=2)
        for q, r in zip(questions, g):
            print(f"[{q}] c={c:+.0f}: {m.tok.decode(r[width:], skip_special_tokens=True)!r}", flush=True)


if __name__ == "__main__":
    for name in sys.argv[2:] or list(JOBS):
        train(name, sys.argv[1])
