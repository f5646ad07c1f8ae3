# SPDX-License-Identifier: MIT
"""Converts every golden checkpoint to several types and compares sputnik with llama.cpp on the same file.

    python check_convert.py SPUTNIK LLAMA_DIR TREE/tests/golden [TYPE ...]

Prints KL(llama.cpp || sputnik) over the 64-token prompt. Models that llama.cpp cannot run by the vendor's rule (see
check_llama.py) are compared through float32 only where it applies: v2's group rule differs, v2-lite does not load.
For v3 and deepseek a router choice may flip under either side's 8-bit activations: see the maximum beside the mean.
"wide" is a 256-wide llama, to which the K-quants apply without fallback.
"""
import pathlib
import subprocess
import sys
import tempfile

import llama_logits
import make_checkpoints
import make_logits
import make_quantised_runs  # noqa: F401 (adds "wide" to the models)
import specs

TYPES = ["f32", "f16", "bf16", "q8_0", "q4_0", "q2_k", "q3_k_m", "q4_k_m", "q5_k_m", "q6_k"]


def run(command, **more):
    return subprocess.run([str(x) for x in command], check=True, capture_output=True, **more)


def one(program, llama_dir, source, tokens, kind, folder):
    file, a, b = folder / "model.gguf", folder / "llama.f32", folder / "sputnik.f32"
    run([program, "convert", source, file, "--type", kind])
    llama_logits.run(llama_dir, str(file), ",".join(map(str, tokens)), str(a))
    b.write_bytes(run([program, "logits", file, "--tokens", ",".join(map(str, tokens))]).stdout)
    return llama_logits.compare(a, b, specs.VOCAB), file.stat().st_size


def main(program, llama_dir, tree, *types):
    for name in specs.MODELS:
        if name in ("v2", "v2-lite"):
            continue
        with tempfile.TemporaryDirectory() as tmp:
            folder = pathlib.Path(tmp)
            source = pathlib.Path(tree) / "models" / name
            if name == "wide":
                make_checkpoints.write(name, folder)
                source = folder / name
            for kind in types or TYPES:
                try:
                    f, size = one(program, llama_dir, source, make_logits.prompt(name), kind, folder)
                except subprocess.CalledProcessError as error:
                    print(f"{name} {kind}: FAILED {error.stderr}")
                    continue
                print(f"{name} {kind}: KL mean {f['kl_mean']:.1e} max {f['kl_max']:.1e}, equal first choices "
                      f"{f['same_argmax']:.3f}, {size} bytes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
