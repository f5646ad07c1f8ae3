# SPDX-License-Identifier: MIT
"""Compares the logit goldens with llama.cpp run in float32 on GGUF files of the same weights.

    python check_llama.py LLAMA_DIR TREE/tests/golden

Two models need a detour: `v2` is compared with its expert groups switched off on both sides (llama.cpp scores groups
by another rule), `v2-lite` at 27 layers (llama.cpp knows models without a query rank by their layer count).
"""
import pathlib
import sys
import tempfile

import torch

import llama_logits
import make_checkpoints
import make_gguf
import make_logits
import specs
from reference_model import Reference


def figures(llama_dir, folder, cfg, weights, prompt, golden, legacy):
    gguf, out = str(folder / "model.gguf"), str(folder / "out.f32")
    make_gguf.write(gguf, cfg, weights, legacy=legacy)
    llama_logits.run(llama_dir, gguf, ",".join(map(str, prompt)), out)
    return llama_logits.compare(golden, out, cfg["vocab_size"])


def detour(name):
    """config and weights of the stand-in for a model that llama.cpp cannot run by the vendor's rule."""
    own, dtype, shards, seed = specs.MODELS[name]
    change = {"v2": {"n_group": 1, "topk_group": 1, "topk_method": "greedy"}, "v2-lite": {"num_hidden_layers": 27}}[name]
    specs.MODELS["detour"] = ({**own, **change}, dtype, shards, seed)
    return specs.config("detour"), make_checkpoints.dequantise(make_checkpoints.tensors("detour"))


def main(llama_dir, tree):
    tree = pathlib.Path(tree)
    for name in list(specs.MODELS):
        prompt, golden = make_logits.prompt(name), tree / "logits" / f"{name}.f32"
        with tempfile.TemporaryDirectory() as tmp:
            folder = pathlib.Path(tmp)
            if name in ("v2", "v2-lite"):
                cfg, weights = detour(name)
                golden = folder / "golden.f32"
                Reference(cfg, weights).forward(torch.tensor(prompt)).numpy().astype("<f4").tofile(golden)
            else:
                cfg, weights = make_gguf.read(tree / "models" / name)
            for legacy in (False, True) if "kv_lora_rank" in cfg else (False,):
                f = figures(llama_dir, folder, cfg, weights, prompt, golden, legacy)
                print(f"{name}{' joined kv_b' if legacy else ''}: max |difference| {f['relative']:.1e} of the largest |logit|, "
                      f"equal first choices {f['same_argmax']:.3f}", flush=True)
                assert f["relative"] < 1e-5, name


if __name__ == "__main__":
    main(*sys.argv[1:3])
