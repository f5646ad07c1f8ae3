# SPDX-License-Identifier: MIT
"""Logits and greedy tokens of the tiny checkpoints, from transformers in float32 (CPU, eager attention).

    python make_logits.py MODELS_DIR OUT_DIR [NAME ...]
    python make_logits.py --find-seeds [NAME ...]

Per model: OUT_DIR/NAME.f32, little-endian float32 (64, vocab), and NAME.json with the prompt and 48 greedy tokens.
Where transformers departs from the vendor's rule it is corrected here:
  deepseek_v2   its softmax scale lacks the YaRN factor m(s, mscale_all_dim)^2, which the vendor's code applies;
  deepseek_v3   its router writes 0.0 over refused groups where the vendor's excludes them (-inf);
  deepseek      has no class: `reference_model.Reference` in float64 stands in (checked against llama.cpp);
  v3 MTP layer  has no class: Reference.mtp in float64, as v3-mtp.f32.
Every other model is also run through Reference in float64, and must agree to 2e-5 of the largest logit.
"""
import json
import pathlib
import sys

import numpy as np
import torch
import transformers

import make_checkpoints
import specs
from reference_model import Reference, yarn_mscale

MIN_MARGIN = 1.5e-3  # first minus second greedy logit, as a part of the largest |logit|
MIN_ROUTER_GAP = 1e-4  # probability between the last chosen and the first refused expert


def prompt(name):
    rng = np.random.default_rng([64, list(specs.MODELS).index(name)])
    return rng.integers(2, specs.VOCAB, specs.N_PROMPT).tolist()


def correct_v2_scale(model, cfg):
    rs = cfg["rope_scaling"]
    for layer in model.model.layers:
        layer.self_attn.scaling *= yarn_mscale(rs["factor"], rs["mscale_all_dim"]) ** 2


def correct_v3_groups(model):
    """Refused groups get -inf, as in the vendor's own inference code."""
    def topk_indices(self, scores):
        c = scores.view(-1, self.n_routed_experts) + self.e_score_correction_bias
        c = c.view(-1, self.n_group, self.n_routed_experts // self.n_group)
        best = c.topk(2, dim=-1)[0].sum(-1).topk(self.topk_group, dim=-1)[1]
        refused = torch.ones(c.shape[:2], dtype=torch.bool).scatter(1, best, False)
        return c.masked_fill(refused[..., None], float("-inf")).flatten(1).topk(self.top_k, dim=-1)[1]

    for layer in model.model.layers:
        if hasattr(layer.mlp, "gate") and hasattr(layer.mlp.gate, "get_topk_indices"):
            gate = layer.mlp.gate
            gate.get_topk_indices = topk_indices.__get__(gate)


def load(cfg, weights):
    """The transformers model in float32; its tensors must be exactly ours, less the MTP layers."""
    plain = {k: v for k, v in cfg.items() if k not in ("quantization_config", "torch_dtype")}
    config = transformers.AutoConfig.for_model(**plain)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    result = model.load_state_dict(weights, strict=False)
    n = cfg["num_hidden_layers"]
    assert all(k.startswith(f"model.layers.{n}.") for k in result.unexpected_keys), result.unexpected_keys
    assert set(result.missing_keys) <= ({"lm_head.weight"} if cfg["tie_word_embeddings"] else set()), result
    if cfg["model_type"] == "deepseek_v2":
        correct_v2_scale(model, cfg)
    if cfg["model_type"] == "deepseek_v3":
        correct_v3_groups(model)
    return model


def greedy(forward, tokens):
    """Continues tokens; returns the new ids and the smallest relative margin on the way."""
    out, margin = list(tokens), float("inf")
    for _ in range(specs.N_GREEDY):
        row = forward(torch.tensor(out))[-1]
        top = row.topk(2)
        margin = min(margin, ((top.values[0] - top.values[1]) / row.abs().max()).item())
        out.append(int(top.indices[0]))
    return out[len(tokens):], margin


@torch.no_grad()
def find_seed(name):
    """The first seed whose greedy path and router choices are clear of ties."""
    cfg = specs.config(name)
    for seed in range(1000):
        ref = Reference(cfg, make_checkpoints.dequantise(make_checkpoints.tensors(name, seed)))
        ids, margin = greedy(ref.forward, prompt(name))
        if cfg.get("num_nextn_predict_layers"):
            ref.mtp(torch.tensor(prompt(name)))
        if margin > MIN_MARGIN and ref.min_router_gap > MIN_ROUTER_GAP and len(set(ids)) > 8:
            return seed, margin, ref.min_router_gap, len(set(ids))
    raise SystemExit(f"{name}: no seed found")


def relative_error(a, b):
    return ((a.double() - b.double()).abs().max() / b.abs().max()).item()


@torch.no_grad()
def make(name, models_dir, out_dir):
    path = pathlib.Path(models_dir) / name
    cfg = json.loads((path / "config.json").read_text())
    stored = {}
    for file in sorted(path.glob("*.safetensors")):
        from safetensors.torch import load_file
        stored.update(load_file(file))
    weights = make_checkpoints.dequantise(stored)
    tokens = prompt(name)
    ids = torch.tensor(tokens)
    ref = Reference(cfg, weights)
    expected, expected_ids = ref.forward(ids), greedy(ref.forward, tokens)[0]
    report = {"model": name, "tokens": tokens, "vocab_size": cfg["vocab_size"]}
    if cfg["model_type"] == "deepseek":
        logits, report["source"] = expected.float(), "reference_model.py, float64"
        report["greedy"], margin = greedy(ref.forward, tokens)
    else:
        model = load(cfg, weights)
        forward = lambda t: model(t[None], use_cache=False).logits[0]
        logits, report["source"] = forward(ids), f"transformers {transformers.__version__}, float32"
        report["greedy"], margin = greedy(forward, tokens)
    error = relative_error(logits, expected)
    assert error < 2e-5 and report["greedy"] == expected_ids, (name, error)
    assert margin > MIN_MARGIN and ref.min_router_gap > MIN_ROUTER_GAP, (name, margin, ref.min_router_gap)
    out = pathlib.Path(out_dir)
    logits.numpy().astype("<f4").tofile(out / f"{name}.f32")
    if cfg.get("num_nextn_predict_layers"):
        ref.mtp(ids).numpy().astype("<f4").tofile(out / f"{name}-mtp.f32")
    (out / f"{name}.json").write_text(json.dumps(report) + "\n")
    print(f"{name}: |transformers - reference| {error:.1e} of max |logit| {logits.abs().max():.2f}, "
          f"greedy margin {margin:.1e}, router gap {ref.min_router_gap:.1e}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "--find-seeds":
        for model in sys.argv[2:] or specs.MODELS:
            print(model, *find_seed(model), flush=True)
    else:
        pathlib.Path(sys.argv[2]).mkdir(parents=True, exist_ok=True)
        for model in sys.argv[3:] or specs.MODELS:
            make(model, sys.argv[1], sys.argv[2])
