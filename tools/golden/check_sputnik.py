# SPDX-License-Identifier: MIT
"""Runs `sputnik logits` on every golden model and prints how far it is from the goldens.

    python check_sputnik.py SPUTNIK TREE/tests/golden

Checkpoints: largest difference as a part of the largest |logit| (limit 2e-4), and the greedy tokens, taken from one run
over prompt and continuation. Quantised files: divergence from llama.cpp and from exact arithmetic (limit 1e-3 on average).
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

import llama_logits
import specs


def logits(program, model, tokens):
    command = [program, "logits", str(model), "--tokens", ",".join(map(str, tokens))]
    return np.frombuffer(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, "<f4")


def check_models(program, tree):
    bad = []
    for name in specs.MODELS:
        golden = json.loads((tree / "logits" / f"{name}.json").read_text())
        vocab, prompt, greedy = golden["vocab_size"], golden["tokens"], golden["greedy"]
        want = np.fromfile(tree / "logits" / f"{name}.f32", "<f4").reshape(-1, vocab)
        got = logits(program, tree / "models" / name, prompt + greedy).reshape(-1, vocab)
        error = np.abs(got[:len(prompt)] - want).max() / np.abs(want).max()
        chosen = got[len(prompt) - 1:-1].argmax(-1).tolist()
        print(f"{name}: {error:.1e} of the largest |logit|, greedy tokens {'equal' if chosen == greedy else 'DIFFER'}")
        if error > 2e-4 or chosen != greedy:
            bad.append(name)
    return bad


def check_quantised(program, tree):
    bad = []
    for path in sorted((tree / "quantised").glob("*.gguf")):
        golden = json.loads(path.with_suffix(".json").read_text())
        got = pathlib.Path(tempfile.gettempdir()) / f"{path.stem}.f32"
        logits(program, path, golden["tokens"]).tofile(got)
        kl = {}
        for label, file in (("llama.cpp", path.with_suffix(".f32")), ("exact", path.parent / f"{path.stem}-exact.f32")):
            kl[label] = llama_logits.compare(file, got, golden["vocab_size"])
        got.unlink()
        print(f"{path.stem}: " + ", ".join(f"KL({k} || sputnik) mean {v['kl_mean']:.1e} max {v['kl_max']:.1e}" for k, v in kl.items()))
        if min(v["kl_mean"] for v in kl.values()) > 1e-3:
            bad.append(path.stem)
    return bad


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[2])
    failed = check_models(sys.argv[1], root) + check_quantised(sys.argv[1], root)
    sys.exit("failed: " + " ".join(failed) if failed else 0)
