# SPDX-License-Identifier: MIT
"""Quantised GGUF files and what llama.cpp computes from them.

    python make_quantised_runs.py LLAMA_DIR TREE/tests/golden

Writes quantised/<name>.gguf, <name>.f32 (llama.cpp's logits of the 64-token prompt in <name>.json) and
<name>-exact.f32: the logits of the same file in float64 arithmetic over the dequantised weights, which show how
much of a difference comes from llama.cpp's 8-bit activations. k, iq and legacy give every tensor a format of its
own, so that three files cover all formats; the others come from llama-quantize with its mixture rules.
"""
import json
import pathlib
import subprocess
import sys

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as T

import llama_logits
import make_checkpoints
import make_gguf
import make_logits
import specs
from make_quants import Ggml
from reference_model import Reference

WIDE = {**specs._LLAMA, "hidden_size": 256, "intermediate_size": 256, "num_hidden_layers": 1}
specs.MODELS["wide"] = (WIDE, "float32", 1, 1)
V3_SEED = 20  # of the first 24 the one whose router choices survive 8-bit activations
HEAD = 0.5  # narrows the logits of these runs, whose measure is a divergence

MIXES = {
    "k": ("wide", {
        "token_embd": T.Q5_K, "output": T.Q6_K, "attn_q": T.Q4_K, "attn_k": T.Q2_K, "attn_v": T.Q6_K, "attn_output": T.Q3_K,
        "ffn_gate": T.Q4_K, "ffn_up": T.IQ4_XS, "ffn_down": T.Q5_K}),
    "iq": ("wide", {
        "token_embd": T.IQ4_XS, "output": T.Q5_K, "attn_q": T.IQ2_XXS, "attn_k": T.IQ2_XS, "attn_v": T.IQ3_S,
        "attn_output": T.IQ3_XXS, "ffn_gate": T.IQ1_S, "ffn_up": T.IQ1_M, "ffn_down": T.IQ2_S}),
    "legacy": ("qwen2", {
        "token_embd": T.Q8_0, "output": T.Q5_1, "blk.0.attn_q": T.Q4_0, "blk.0.attn_k": T.Q4_1, "blk.0.attn_v": T.Q5_0,
        "blk.0.attn_output": T.IQ4_NL, "blk.0.ffn_gate": T.BF16, "blk.0.ffn_up": T.F16, "blk.0.ffn_down": T.Q5_1,
        "blk.1.attn_q": T.Q8_0, "blk.1.attn_k": T.IQ4_NL, "blk.1.attn_v": T.F16, "blk.1.attn_output": T.Q4_0,
        "blk.1.ffn_gate": T.Q5_0, "blk.1.ffn_up": T.Q4_1, "blk.1.ffn_down": T.Q8_0}),
}
QUANTIZE = {"llama-q4_k_m": ("wide", "Q4_K_M"), "deepseek-q4_k_m": ("deepseek", "Q4_K_M"), "v3-q8_0": ("v3", "Q8_0")}


def load(model):
    seed = V3_SEED if model == "v3" else None
    weights = make_checkpoints.dequantise(make_checkpoints.tensors(model, seed))
    weights["lm_head.weight"] *= HEAD
    return specs.config(model), weights


def packer(ggml, mix):
    def pack(name, data):
        base = name.removesuffix(".weight")
        t = mix.get(base) or mix[base.split(".")[-1]]
        if t in (T.F16, T.BF16):
            return gguf.quants.quantize(data, t), t
        return ggml.quantise(np.ascontiguousarray(data), t), t
    return pack


def hf_weights(cfg, path):
    """The file's tensors, dequantised, under their Hugging Face names: the inverse of make_gguf.convert."""
    names = {v: k for k, v in make_gguf.NAMES.items()}
    top = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    out, kb = {}, {}
    for t in gguf.GGUFReader(path).tensors:
        w = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        w = torch.from_numpy(w.reshape([int(x) for x in reversed(t.shape)]))
        base, suffix = t.name.rsplit(".", 1)
        if base in top:
            out[f"{top[base]}.{suffix}"] = w
            continue
        _, layer, kind = base.split(".")
        p = f"model.layers.{layer}."
        if kind == "exp_probs_b":
            out[p + "mlp.gate.e_score_correction_bias"] = w
        elif kind.endswith("_exps"):
            for e, part in enumerate(w):
                out[f"{p}mlp.experts.{e}.{kind[4:-5]}_proj.weight"] = part
        elif kind in ("attn_k_b", "attn_v_b"):
            kb.setdefault(p, {})[kind] = w
        else:
            if make_gguf.ARCH[cfg["model_type"]] in ("llama", "deepseek") and kind in ("attn_q", "attn_k"):
                n = cfg["num_attention_heads" if kind == "attn_q" else "num_key_value_heads"]
                w = w.reshape(n, w.shape[0] // n // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)
            out[f"{p}{names[kind]}.{suffix}"] = w
    for p, part in kb.items():
        joined = torch.cat((part["attn_k_b"].transpose(1, 2), part["attn_v_b"]), 1)
        out[p + "self_attn.kv_b_proj.weight"] = joined.reshape(-1, joined.shape[-1])
    return out


def run(name, cfg, prompt, llama_dir, out):
    path = str(out / f"{name}.gguf")
    (out / f"{name}.json").write_text(json.dumps({"tokens": prompt, "vocab_size": cfg["vocab_size"]}) + "\n")
    llama_logits.run(llama_dir, path, str(out / f"{name}.json"), str(out / f"{name}.f32"))
    ref = Reference(cfg, hf_weights(cfg, path))
    ref.forward(torch.tensor(prompt)).numpy().astype("<f4").tofile(out / f"{name}-exact.f32")
    figures = llama_logits.compare(out / f"{name}-exact.f32", out / f"{name}.f32", cfg["vocab_size"])
    print(name, {k: round(v, 7) for k, v in figures.items()}, pathlib.Path(path).stat().st_size)


def main(llama_dir, tree):
    out, ggml = pathlib.Path(tree) / "quantised", Ggml(llama_dir)
    out.mkdir(parents=True, exist_ok=True)
    for name, (model, mix) in MIXES.items():
        cfg, weights = load(model)
        make_gguf.write(str(out / f"{name}.gguf"), cfg, weights, pack=packer(ggml, mix))
        run(name, cfg, make_logits.prompt(model), llama_dir, out)
    for name, (model, ftype) in QUANTIZE.items():
        cfg, weights = load(model)
        f32 = out / "f32.gguf"
        make_gguf.write(str(f32), cfg, weights)
        tool = pathlib.Path(llama_dir) / "build/bin/llama-quantize"
        subprocess.run([tool, f32, out / f"{name}.gguf", ftype], check=True, capture_output=True)
        f32.unlink()
        run(name, cfg, make_logits.prompt(model), llama_dir, out)


if __name__ == "__main__":
    main(*sys.argv[1:3])
