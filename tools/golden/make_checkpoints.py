# SPDX-License-Identifier: MIT
"""Writes the tiny random checkpoints of specs.py as Hugging Face directories: config.json and safetensors.

    python make_checkpoints.py OUT_DIR [NAME ...]

Each tensor is drawn from its own generator (seeded by the model's seed and the tensor's name), so that a change of
one shape leaves the others alone. Standard deviations keep activations near one, so that logits are spread out.
"""
import json
import pathlib
import sys
import zlib

import numpy as np
import torch
from safetensors.torch import save_file

import specs

BLOCK = 128  # edge of an FP8 scale block


def tensor_shapes(cfg):
    """Name -> shape of every tensor of the checkpoint, in the order of the layers."""
    h, v = cfg["hidden_size"], cfg["vocab_size"]
    out = {"model.embed_tokens.weight": (v, h)}
    n_mtp = cfg.get("num_nextn_predict_layers", 0)
    for i in range(cfg["num_hidden_layers"] + n_mtp):
        p = f"model.layers.{i}."
        out[p + "input_layernorm.weight"] = (h,)
        attention_shapes(cfg, out, p + "self_attn.")
        out[p + "post_attention_layernorm.weight"] = (h,)
        ffn_shapes(cfg, out, p + "mlp.", i)
        if i >= cfg["num_hidden_layers"]:
            out[p + "embed_tokens.weight"] = (v, h)
            out[p + "enorm.weight"] = out[p + "hnorm.weight"] = out[p + "shared_head.norm.weight"] = (h,)
            out[p + "eh_proj.weight"] = (h, 2 * h)
            out[p + "shared_head.head.weight"] = (v, h)
    out["model.norm.weight"] = (h,)
    if not cfg["tie_word_embeddings"]:
        out["lm_head.weight"] = (v, h)
    return out


def attention_shapes(cfg, out, p):
    h, nh = cfg["hidden_size"], cfg["num_attention_heads"]
    if "kv_lora_rank" not in cfg:
        hd = cfg.get("head_dim") or h // nh
        for which, n in (("q", nh), ("k", cfg["num_key_value_heads"]), ("v", cfg["num_key_value_heads"])):
            out[f"{p}{which}_proj.weight"] = (n * hd, h)
            if cfg["model_type"] == "qwen2":
                out[f"{p}{which}_proj.bias"] = (n * hd,)
        if cfg["model_type"] == "qwen3":
            out[p + "q_norm.weight"] = out[p + "k_norm.weight"] = (hd,)
        out[p + "o_proj.weight"] = (h, nh * hd)
        return
    qk = cfg["qk_nope_head_dim"] + cfg["qk_rope_head_dim"]
    rank = cfg["kv_lora_rank"]
    if cfg["q_lora_rank"] is None:
        out[p + "q_proj.weight"] = (nh * qk, h)
    else:
        out[p + "q_a_proj.weight"] = (cfg["q_lora_rank"], h)
        out[p + "q_a_layernorm.weight"] = (cfg["q_lora_rank"],)
        out[p + "q_b_proj.weight"] = (nh * qk, cfg["q_lora_rank"])
    out[p + "kv_a_proj_with_mqa.weight"] = (rank + cfg["qk_rope_head_dim"], h)
    out[p + "kv_a_layernorm.weight"] = (rank,)
    out[p + "kv_b_proj.weight"] = (nh * (cfg["qk_nope_head_dim"] + cfg["v_head_dim"]), rank)
    out[p + "o_proj.weight"] = (h, nh * cfg["v_head_dim"])


def ffn_shapes(cfg, out, p, layer):
    h = cfg["hidden_size"]

    def mlp(q, f):
        out[q + "gate_proj.weight"] = out[q + "up_proj.weight"] = (f, h)
        out[q + "down_proj.weight"] = (h, f)

    if not cfg.get("n_routed_experts") or layer < cfg["first_k_dense_replace"]:
        return mlp(p, cfg["intermediate_size"])
    out[p + "gate.weight"] = (cfg["n_routed_experts"], h)
    if cfg.get("topk_method") == "noaux_tc":
        out[p + "gate.e_score_correction_bias"] = (cfg["n_routed_experts"],)
    for e in range(cfg["n_routed_experts"]):
        mlp(f"{p}experts.{e}.", cfg["moe_intermediate_size"])
    mlp(p + "shared_experts.", cfg["n_shared_experts"] * cfg["moe_intermediate_size"])


# Standard deviation times sqrt(columns): attention a little peaked, the router decided, the logits wide.
GAINS = {"q_proj": 1.6, "k_proj": 1.6, "q_b_proj": 1.6, "gate": 2.0, "lm_head": 2.0, "head": 2.0}


def draw(name, shape, cfg, seed):
    """The float32 values of one tensor."""
    alias = {"embed_tokens": "model.embed_tokens.weight", "head": "lm_head.weight"}
    kind = name.split(".")[-2]
    if name.startswith("model.layers") and kind in alias:
        name = alias[kind]  # the multi-token-prediction layer stores copies
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    x = rng.standard_normal(shape, dtype=np.float32)
    if name.endswith("bias"):
        return x * np.float32(0.1 if "correction" in name else 0.5)
    if len(shape) == 1:
        return 1 + np.float32(0.2) * x
    if kind == "embed_tokens":
        return x * np.float32(2.0 / shape[1] ** 0.5 if cfg["tie_word_embeddings"] else 1.0)
    if kind == "down_proj" and "experts." in name:
        x = x * np.float32(1 / cfg.get("routed_scaling_factor", 1.0) ** 0.5)
    return x * np.float32(GAINS.get(kind, 1.0) / shape[1] ** 0.5)


def to_fp8(w):
    """(M, N) float32 -> E4M3 codes and the multiplier of each 128 x 128 block."""
    m, n = w.shape
    scale = torch.empty(-(-m // BLOCK), -(-n // BLOCK))
    q = torch.empty(m, n, dtype=torch.float8_e4m3fn)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            at = (slice(i * BLOCK, (i + 1) * BLOCK), slice(j * BLOCK, (j + 1) * BLOCK))
            scale[i, j] = w[at].abs().max() / 448
            q[at] = (w[at] / scale[i, j]).to(torch.float8_e4m3fn)
    return q, scale


def is_fp8(name):
    return "_proj" in name and name.endswith("weight") and "eh_proj" not in name


def tensors(name, seed=None):
    """The checkpoint as stored: name -> torch tensor."""
    own, dtype, _, default_seed = specs.MODELS[name]
    cfg = specs.config(name)
    seed = default_seed if seed is None else seed
    out = {}
    for key, shape in tensor_shapes(cfg).items():
        w = torch.from_numpy(draw(key, shape, cfg, seed))
        if dtype == "float8_e4m3fn" and is_fp8(key):
            out[key], out[key + "_scale_inv"] = to_fp8(w)
        elif key.endswith("e_score_correction_bias"):
            out[key] = w
        else:
            out[key] = w.to(torch.bfloat16 if dtype == "float8_e4m3fn" else getattr(torch, dtype))
    return out


def dequantise(stored):
    """Stored tensors -> float32 tensors, FP8 blocks multiplied out and their scales dropped."""
    out = {}
    for key, w in stored.items():
        if key.endswith("_scale_inv"):
            continue
        out[key] = w.to(torch.float32)
        if w.dtype == torch.float8_e4m3fn:
            scale = stored[key + "_scale_inv"]
            full = scale.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
            out[key] *= full[: w.shape[0], : w.shape[1]]
    return out


def write(name, out_dir):
    path = pathlib.Path(out_dir) / name
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(specs.config(name), indent=2, sort_keys=True) + "\n")
    stored = {k: v.contiguous() for k, v in tensors(name).items()}
    n_shards = specs.MODELS[name][2]
    if n_shards == 1:
        save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
        return
    keys = list(stored)
    index = {"metadata": {"total_size": sum(v.nbytes for v in stored.values())}, "weight_map": {}}
    for s in range(n_shards):
        file = f"model-{s + 1:05d}-of-{n_shards:05d}.safetensors"
        part = keys[s * len(keys) // n_shards: (s + 1) * len(keys) // n_shards]
        save_file({k: stored[k] for k in part}, path / file, metadata={"format": "pt"})
        index["weight_map"].update({k: file for k in part})
    (path / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    for model in sys.argv[2:] or specs.MODELS:
        write(model, sys.argv[1])
