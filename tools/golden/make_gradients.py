# SPDX-License-Identifier: MIT
"""Gradients of the tiny checkpoints' parameters, from PyTorch's autograd in float64 (deepseek_v3 in float32).

    python make_gradients.py MODELS_DIR OUT_DIR [NAME ...]

The loss is the mean cross entropy of the next token over two sequences cut from the prompt of make_logits.py (32 and 20
predicted tokens). Models are those of transformers with the corrections of make_logits.py; `deepseek` has no class and
`v3-mtp` (v3 with 0.3 times the mean loss of its prediction layer, row i for token i+2) needs one: both are reference_model.py.
Every other model is also checked against reference_model.py: gradients within 1e-5, norm-wise.

Gradients are stored as sketches. Number k of 64 is the sum over elements j (flat, row-major) of +-g[j], the sign being bit k of
splitmix64(j): 1 for plus. Sketches are linear, and the expected square of each is the squared norm; so the norm of
the difference of two sketches over that of one estimates the relative error of the whole gradient to about 9 percent.
OUT_DIR/NAME.json: tokens, loss, parameter names and exact norms; OUT_DIR/NAME.f32: (parameters, 64), little-endian float32.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import make_checkpoints
from make_logits import load, prompt
from reference_model import Reference

MODELS = ["llama-plain", "qwen2", "qwen3", "deepseek", "v2-lite", "v2", "v3", "v3-mtp"]
CUTS = [(0, 33), (33, 54)]
MTP_FACTOR = 0.3
MIN_ROUTER_GAP = 1e-5


def splitmix64(x):
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def sketch(g):
    """g: flat float64 -> 64 signed sums."""
    bits = splitmix64(np.arange(len(g), dtype=np.uint64))
    return np.array([g @ (((bits >> np.uint64(k)) & np.uint64(1)).astype(np.float64) * 2 - 1) for k in range(64)])


def loss_of(forward, sequences):
    total = sum(F.cross_entropy(forward(s[:-1]), s[1:], reduction="sum") for s in sequences)
    return total / sum(len(s) - 1 for s in sequences)


def reference_gradients(cfg, weights, sequences, mtp):
    ref = Reference(cfg, weights)
    for w in ref.w.values():
        w.requires_grad_()
    loss = loss_of(ref.forward, sequences)
    if mtp:
        total = sum(F.cross_entropy(ref.mtp(s)[:-1], s[2:], reduction="sum") for s in sequences)
        loss = loss + MTP_FACTOR * total / sum(len(s) - 2 for s in sequences)
    loss.backward()
    assert ref.min_router_gap > MIN_ROUTER_GAP, ref.min_router_gap
    return loss.item(), {k: w.grad for k, w in ref.w.items() if w.grad is not None}


def transformers_gradients(cfg, weights, sequences):
    model = load(cfg, weights)
    if cfg["model_type"] != "deepseek_v3":  # whose experts accept float32 alone
        model = model.double()
    loss = loss_of(lambda t: model(t[None], use_cache=False).logits[0], sequences)
    loss.backward()
    return loss.item(), {k: p.grad for k, p in model.named_parameters() if p.grad is not None}


def make(name, models_dir, out_dir):
    base = name.removesuffix("-mtp")
    path = pathlib.Path(models_dir) / base
    cfg = json.loads((path / "config.json").read_text())
    stored = {}
    for file in sorted(path.glob("*.safetensors")):
        stored.update(load_file(file))
    weights = {k: w.double() for k, w in make_checkpoints.dequantise(stored).items()}
    sequences = [torch.tensor(prompt(base)[a:b]) for a, b in CUTS]
    loss, grads = reference_gradients(cfg, weights, sequences, name != base)
    source, error = "reference_model.py", 0.0
    if name == base and cfg["model_type"] != "deepseek":
        source, expected = "transformers", grads
        loss, grads = transformers_gradients(cfg, weights, sequences)
        missing = [k for k in expected.keys() ^ grads.keys() if max(g[k].norm() for g in (expected, grads) if k in g) > 0]
        assert not missing, missing
        error = max(((grads[k] - expected[k]).norm() / (expected[k].norm() + 1e-30)).item()
                    for k in grads.keys() & expected.keys() if expected[k].norm() > 0)
        assert error < 1e-5, error
    grads = {k: g for k, g in sorted(grads.items()) if g.norm() > 0}
    report = {"model": base, "source": source, "sequences": [s.tolist() for s in sequences], "loss": loss,
              "names": list(grads), "norms": [g.norm().item() for g in grads.values()]}
    if name != base:
        report["mtp_factor"] = MTP_FACTOR
    out = pathlib.Path(out_dir)
    np.stack([sketch(g.double().flatten().numpy()) for g in grads.values()]).astype("<f4").tofile(out / f"{name}.f32")
    (out / f"{name}.json").write_text(json.dumps(report) + "\n")
    print(f"{name}: loss {loss:.6f}, {len(grads)} gradients from {source}, |transformers - reference| {error:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    pathlib.Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
    for model in sys.argv[3:] or MODELS:
        make(model, sys.argv[1], sys.argv[2])
