"""Writes vectors.json: what src/extract must make of pairs of token lists on a tiny base.

    python tests/golden/vectors.py          # from the repository root, CPU only, seconds

Hidden states are those of transformers (f32, eager), read at the output of each block by a hook. Of them:
  mean        numpy
  pca-*       scikit-learn's PCA, and repeng's own `read_representations` on the same states; both must agree
  probe       scikit-learn's LogisticRegression, C = 1 / (0.01 n), on states less their mean, over one number
  vjp         torch.autograd, the contrast of the last tokens at the target block pulled back to each earlier one

Pinned as make.py, and repeng at commit 0ba7196 (version 0.5.0), scikit-learn as
written into the file.
"""
import json, os, sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make
import numpy as np, torch
from importlib.metadata import version
from repeng.extract import DatasetEntry, read_representations
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

BASE, PAIRS, TARGET = "base_untied", 7, 2
model = make.load_base(BASE)
blocks = model.model.layers
rng = np.random.default_rng(20)
vocab = make.BASES[BASE]["vocab_size"]
# Each pair begins alike, and some texts begin others, as suffixes that are cut at every token do.
pairs = []
for k in range(PAIRS):
    begin = rng.integers(3, vocab, 2 + k % 3).tolist()
    a, b = (rng.integers(3, vocab, int(n)).tolist() for n in rng.integers(2, 9, 2))
    pairs.append((begin + [7, 11] + a, begin + [13] + b))
pairs[5] = (pairs[4][0][:-1], pairs[4][1][:-1])


def outputs(ids, grad=False):
    """The output of every block, [1, t, d] each."""
    found = []
    hooks = [b.register_forward_hook(lambda m, a, o: found.append(o if torch.is_tensor(o) else o[0])) for b in blocks]
    with torch.set_grad_enabled(grad):
        model(torch.tensor([ids]))
    for h in hooks:
        h.remove()
    return found


def states(at):
    """[2 pairs, blocks, d], positive, negative, positive, ..."""
    rows = []
    for ids in (ids for pair in pairs for ids in pair):
        h = torch.cat(outputs(ids))
        rows.append((h[:, -1] if at == "last" else h[:, 1:].mean(1)).numpy().astype(np.float64))
    return np.stack(rows)


unit = lambda v: v / np.linalg.norm(v)
cosine = lambda a, b: float(unit(a) @ unit(b))
directions, lengths = {}, {}
for at in ("mean", "last"):
    H = states(at)
    lengths[at] = np.linalg.norm(H, axis=2).mean(0).tolist()
    for l in range(len(blocks)):
        h = H[:, l]
        diff = h[::2] - h[1::2]
        found = {"mean": diff.mean(0)}
        halves = np.concatenate((diff / 2, -diff / 2))
        for name, train in (("pca-diff", diff), ("pca-center", halves)):
            v = PCA(n_components=1, svd_solver="full").fit(train).components_[0]
            v = v * np.sign((np.sign(diff @ v)).sum())
            method = name.replace("-", "_")
            entries = [DatasetEntry("", "")] * PAIRS
            give = lambda model, tokenizer, train_strs, hidden_layers, batch_size: {l: h.astype(np.float32).copy()}
            theirs = read_representations(model, None, entries, hidden_layers=[l], method=method,
                                          compute_hiddens=give)[l]
            assert cosine(v, theirs) > 1 - 1e-6, (at, l, name, cosine(v, theirs))
            found[name] = v
        y = np.array([1, -1] * PAIRS)
        x = h - h.mean(0)
        x = x / np.sqrt((x ** 2).sum(1).mean())
        fit = LogisticRegression(C=1 / (0.01 * len(y)), tol=1e-12, max_iter=100000).fit(x, y)
        found["probe"] = unit(fit.coef_[0])
        for name, v in found.items():
            directions.setdefault(f"{name}:{at}", []).append(v.tolist())

# The contrast at the target, of last tokens; its gradient at every token but the first and the last.
last = [outputs(ids)[TARGET][0, -1] for pair in pairs for ids in pair]
contrast = (torch.stack(last[::2]) - torch.stack(last[1::2])).mean(0)
pulled = []
for ids in (ids for pair in pairs for ids in pair):
    h = outputs(ids, grad=True)
    with torch.enable_grad():
        g = torch.autograd.grad((h[TARGET][0, 1:-1] @ contrast).sum(), h[:TARGET])
    pulled.append(torch.stack([g[0, 1:-1].mean(0) for g in g]))
pulled = torch.stack(pulled)
vjp = (pulled[::2].mean(0) - pulled[1::2].mean(0)).double()
directions["vjp"] = [unit(v).tolist() for v in vjp.numpy()]

json.dump({"made_with": {k: version(k) for k in ("torch", "transformers", "scikit-learn", "numpy")}, "repeng": "0ba7196", "base": BASE,
           "pairs": pairs, "target": TARGET, "lengths": lengths, "directions": directions},
          open(f"{make.ROOT}/vectors.json", "w"))
