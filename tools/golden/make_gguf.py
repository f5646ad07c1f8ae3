# SPDX-License-Identifier: MIT
"""Writes a tiny checkpoint as GGUF with the `gguf` package, to compare its transformers goldens with llama.cpp.

    python make_gguf.py MODEL_DIR OUT.gguf [--legacy] [--type f32|f16|bf16]

--legacy keeps attn_kv_b joined and describes the decompressed heads, as files of 2024 did; without it the
matrix is split into attn_k_b (transposed per head) and attn_v_b. The multi-token-prediction layer is left out.
The file has no vocabulary (`tokenizer.ggml.model` = none).
"""
import argparse
import json
import pathlib
import re

import gguf
import torch
from safetensors.torch import load_file

import make_checkpoints

ARCH = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "deepseek": "deepseek", "deepseek_v2": "deepseek2",
        "deepseek_v3": "deepseek2"}

NAMES = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.q_a_proj": "attn_q_a", "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b",
    "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa", "self_attn.kv_a_layernorm": "attn_kv_a_norm",
    "self_attn.kv_b_proj": "attn_kv_b", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp", "mlp.shared_experts.gate_proj": "ffn_gate_shexp",
    "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp",
}


def permute(w, n_heads):
    """Half-split rotation rows -> interleaved rows, per head."""
    return w.reshape(n_heads, 2, w.shape[0] // n_heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def metadata(out, cfg, legacy):
    nkv, mla = cfg["num_key_value_heads"], "kv_lora_rank" in cfg
    out.add_name("tiny")
    out.add_vocab_size(cfg["vocab_size"])
    out.add_context_length(cfg["max_position_embeddings"])
    out.add_embedding_length(cfg["hidden_size"])
    out.add_block_count(cfg["num_hidden_layers"])
    out.add_feed_forward_length(cfg["intermediate_size"])
    out.add_head_count(cfg["num_attention_heads"])
    out.add_head_count_kv(1 if mla and not legacy else nkv)
    out.add_layer_norm_rms_eps(cfg["rms_norm_eps"])
    out.add_rope_freq_base(cfg["rope_theta"])
    out.add_tokenizer_model("none")
    if not mla:
        hd = cfg.get("head_dim") or cfg["hidden_size"] // cfg["num_attention_heads"]
        out.add_rope_dimension_count(hd)
        out.add_key_length(hd)
        out.add_value_length(hd)
    rs = cfg.get("rope_scaling") or {}
    kind = rs.get("rope_type", rs.get("type"))
    if kind == "linear":
        out.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        out.add_rope_scaling_factor(rs["factor"])
    if mla:
        mla_metadata(out, cfg, rs, legacy)
    if cfg.get("n_routed_experts"):
        moe_metadata(out, cfg)


def mla_metadata(out, cfg, rs, legacy):
    n, r, v, rank = (cfg[k] for k in ("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"))
    out.add_rope_dimension_count(r)
    if cfg["q_lora_rank"]:
        out.add_q_lora_rank(cfg["q_lora_rank"])
    out.add_kv_lora_rank(rank)
    out.add_key_length(n + r if legacy else rank + r)
    out.add_value_length(v if legacy else rank)
    if not legacy:
        out.add_key_length_mla(n + r)
        out.add_value_length_mla(v)
    out.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    out.add_rope_scaling_factor(rs["factor"])
    out.add_rope_scaling_orig_ctx_len(rs["original_max_position_embeddings"])
    out.add_rope_scaling_yarn_log_mul(0.1 * rs["mscale_all_dim"])


def moe_metadata(out, cfg):
    out.add_leading_dense_block_count(cfg["first_k_dense_replace"])
    out.add_expert_count(cfg["n_routed_experts"])
    out.add_expert_used_count(cfg["num_experts_per_tok"])
    out.add_expert_shared_count(cfg["n_shared_experts"])
    out.add_expert_feed_forward_length(cfg["moe_intermediate_size"])
    out.add_expert_weights_scale(cfg.get("routed_scaling_factor", 1.0))
    if cfg.get("norm_topk_prob"):
        out.add_expert_weights_norm(True)
    if "kv_lora_rank" in cfg:
        sigmoid = cfg["scoring_func"] == "sigmoid"
        out.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)
    if (cfg.get("n_group") or 1) > 1:
        out.add_expert_group_count(cfg["n_group"])
        out.add_expert_group_used_count(cfg["topk_group"])


def llama3_divisors(cfg):
    from reference_model import rope_frequencies
    hd = cfg.get("head_dim") or cfg["hidden_size"] // cfg["num_attention_heads"]
    return (rope_frequencies({**cfg, "rope_scaling": None}, hd) / rope_frequencies(cfg, hd)).float()


def convert(cfg, weights, legacy):
    """HF name -> GGUF name and tensor, experts stacked, in a dict."""
    out, experts = {}, {}
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
           "lm_head.weight": "output.weight"}
    for name, w in weights.items():
        if name in top:
            out[top[name]] = w
            continue
        layer, rest = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", name).groups()
        if int(layer) >= cfg["num_hidden_layers"]:
            continue
        if m := re.fullmatch(r"mlp\.experts\.(\d+)\.(\w+)_proj\.weight", rest):
            experts.setdefault(f"blk.{layer}.ffn_{m[2]}_exps.weight", []).append((int(m[1]), w))
            continue
        if rest == "mlp.gate.e_score_correction_bias":
            out[f"blk.{layer}.exp_probs_b.bias"] = w
            continue
        base, suffix = rest.rsplit(".", 1)
        if ARCH[cfg["model_type"]] in ("llama", "deepseek"):
            if base == "self_attn.q_proj":
                w = permute(w, cfg["num_attention_heads"])
            if base == "self_attn.k_proj":
                w = permute(w, cfg["num_key_value_heads"])
        if base == "self_attn.kv_b_proj" and not legacy:
            per_head = w.view(cfg["num_attention_heads"], -1, cfg["kv_lora_rank"])
            k, v = per_head.split([cfg["qk_nope_head_dim"], cfg["v_head_dim"]], 1)
            out[f"blk.{layer}.attn_k_b.weight"], out[f"blk.{layer}.attn_v_b.weight"] = k.transpose(1, 2), v
            continue
        out[f"blk.{layer}.{NAMES[base]}.{suffix}"] = w
    for name, parts in experts.items():
        out[name] = torch.stack([w for _, w in sorted(parts, key=lambda p: p[0])])
    if (cfg.get("rope_scaling") or {}).get("rope_type") == "llama3":
        out["rope_freqs.weight"] = llama3_divisors(cfg)
    return out


def keep_f32(name, w):
    return w.dim() == 1 or "ffn_gate_inp" in name or not name.endswith("weight")


def read(model_dir):
    """config.json and the dequantised tensors of a checkpoint directory."""
    path = pathlib.Path(model_dir)
    stored = {}
    for file in sorted(path.glob("*.safetensors")):
        stored.update(load_file(file))
    return json.loads((path / "config.json").read_text()), make_checkpoints.dequantise(stored)


def write(path, cfg, weights, *, legacy=False, pack=None):
    """pack(name, float32 array) -> (raw bytes array, ggml type), or None to store float32."""
    out = gguf.GGUFWriter(path, ARCH[cfg["model_type"]])
    metadata(out, cfg, legacy)
    for name, w in convert(cfg, weights, legacy).items():
        data = w.contiguous().numpy()
        packed = None if pack is None or keep_f32(name, w) else pack(name, data)
        if packed is None:
            out.add_tensor(name, data)
        else:
            out.add_tensor(name, packed[0], raw_dtype=packed[1])
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model_dir"), ap.add_argument("out")
    ap.add_argument("--legacy", action="store_true"), ap.add_argument("--type", default="f32")
    args = ap.parse_args()
    cfg, weights = read(args.model_dir)
    qtype = getattr(gguf.GGMLQuantizationType, args.type.upper())
    pack = None if args.type == "f32" else lambda name, data: (gguf.quants.quantize(data, qtype), qtype)
    write(args.out, cfg, weights, legacy=args.legacy, pack=pack)


if __name__ == "__main__":
    main()
