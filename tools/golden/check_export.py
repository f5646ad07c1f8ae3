# SPDX-License-Identifier: MIT
"""Trains tiny models for a few steps and compares what is exported: the checkpoint and its bf16 export in transformers, GGUF
conversions in llama.cpp and in sputnik, all against `sputnik logits` on the checkpoint.

    python check_export.py SPUTNIK LLAMA_DIR TREE        LLAMA_DIR as for llama_logits.py, or "-" without llama.cpp

Figures are the largest difference over the largest logit; those of float32 must be below 2e-4. For what llama.cpp cannot run see
NOT_IN_LLAMA.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import llama_logits

LIMIT = 2e-4
DENSE = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 512,
         "rms_norm_eps": 1e-6, "initializer_range": 0.08}
LATENT = {**DENSE, "q_lora_rank": 32, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 16, "v_head_dim": 32,
          "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "first_k_dense_replace": 1}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0,
        "mscale_all_dim": 1.0}
MODELS = {
    "v3": {**LATENT, "model_type": "deepseek_v3", "n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5,
           "num_nextn_predict_layers": 1},
    "v3-tied": {**LATENT, "model_type": "deepseek_v3", "tie_word_embeddings": True},
    "v3-yarn": {**LATENT, "model_type": "deepseek_v3", "rope_scaling": YARN},
    "v3-dense": {**LATENT, "model_type": "deepseek_v3", "n_routed_experts": 0},
    "v2": {**LATENT, "model_type": "deepseek_v2"},
    "v2-groups": {**LATENT, "model_type": "deepseek_v2", "n_group": 4, "topk_group": 2, "topk_method": "group_limited_greedy",
                  "routed_scaling_factor": 4.0},
    "llama": {**DENSE, "model_type": "llama", "num_key_value_heads": 2},
    "llama3-tied": {**DENSE, "model_type": "llama", "rope_theta": 500000.0, "rope_scaling": LLAMA3, "tie_word_embeddings": True},
    "qwen2": {**DENSE, "model_type": "qwen2", "num_key_value_heads": 2},
    "qwen3": {**DENSE, "model_type": "qwen3", "num_key_value_heads": 2, "head_dim": 32},
}
NOT_IN_LLAMA = {"v2-groups": "it ranks groups by another rule", "v3-dense": "its deepseek2 always has experts"}


def run(*command):
    result = subprocess.run([str(x) for x in command], capture_output=True)
    if result.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{result.stderr.decode()}")
    return result.stdout


def make_data(program, tree, folder):
    texts = sorted((pathlib.Path(tree) / "docs").glob("*.md"))
    run(program, "data", "tokenizer", folder / "tokenizer", *texts, "--vocab-size", 512)
    run(program, "data", "pack", folder / "train.shard", *texts, "--tokenizer", folder / "tokenizer")


def train(program, folder, name, model):
    config = {"model": model, "data": {"tokenizer": "tokenizer", "train": ["train.shard"], "sequence": 64},
              "schedule": {"kind": "constant", "steps": 4, "warmup": 0, "lr": 0.01, "rows": 4},
              "run": {"out": name, "seed": 3, "threads": 1}}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(config))
    run(program, "train", path)
    return folder / name / "step-00000004"


def sputnik(program, model, tokens):
    return np.frombuffer(run(program, "logits", model, "--tokens", ",".join(map(str, tokens))), "<f4").reshape(len(tokens), -1)


def transformers_logits(folder, tokens):
    import torch
    import transformers
    transformers.logging.set_verbosity_error()
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, torch_dtype="auto", attn_implementation="eager", output_loading_info=True)
    missing = [key for key in info["missing_keys"] if key != "lm_head.weight"]
    extra = [key for key in info["unexpected_keys"] if f"layers.{model.config.num_hidden_layers}." not in key]
    assert not missing and not extra and not info["mismatched_keys"], info
    model = model.float().eval()
    ids = transformers.AutoTokenizer.from_pretrained(folder)("The sky is blue.").input_ids
    assert ids and transformers.GenerationConfig.from_pretrained(folder).eos_token_id is not None
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].numpy()


def llama(llama_dir, file, tokens, out):
    llama_logits.run(llama_dir, str(file), ",".join(map(str, tokens)), str(out))
    return np.fromfile(out, "<f4").reshape(len(tokens), -1)


def relative(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    return float(np.abs(a - b).max() / np.abs(b).max())


def check(program, llama_dir, folder, name):
    checkpoint = train(program, folder, name, MODELS[name])
    tokens = [0] + [int(t) for t in np.random.default_rng(1).integers(20, 512, 63)]
    own = sputnik(program, checkpoint, tokens)
    figures = {"transformers": relative(transformers_logits(checkpoint, tokens), own)}
    for kind in ("bf16", "f16", "f32"):
        run(program, "convert", checkpoint, folder / f"{name}-{kind}", "--hf", "--type", kind)
        exported = transformers_logits(folder / f"{name}-{kind}", tokens)
        figures[f"{kind} export, transformers"] = relative(exported, sputnik(program, folder / f"{name}-{kind}", tokens))
    for kind in ("f32", "q8_0"):
        file = folder / f"{name}-{kind}.gguf"
        run(program, "convert", checkpoint, file, "--type", kind)
        again = sputnik(program, file, tokens)
        figures[f"{kind} gguf, sputnik"] = relative(again, own)
        if llama_dir != "-" and name not in NOT_IN_LLAMA:
            figures[f"{kind} gguf, llama.cpp against sputnik"] = relative(llama(llama_dir, file, tokens, folder / "out.f32"), again)
    print(f"{name}: " + ", ".join(f"{key} {value:.1e}" for key, value in figures.items()), flush=True)
    bad = [key for key, value in figures.items() if value > LIMIT and "q8_0" not in key and "export" not in key]
    bad += [key for key, value in figures.items() if value > LIMIT and "f32 export" in key]
    assert not bad, (name, bad)


def main(program, llama_dir, tree, *names):
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        make_data(program, tree, folder)
        for name in names or MODELS:
            check(program, llama_dir, folder, name)


if __name__ == "__main__":
    main(*sys.argv[1:])
