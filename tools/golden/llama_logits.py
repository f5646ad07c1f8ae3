# SPDX-License-Identifier: MIT
"""Float32 logits of a GGUF file from llama.cpp, and the comparison of two sets of logits.

    python llama_logits.py run LLAMA_DIR MODEL.gguf TOKENS OUT.f32     TOKENS: 1,2,3 or a golden's .json
    python llama_logits.py compare A.f32 B.f32 VOCAB                   max |difference|, KL(A || B), equal argmax

LLAMA_DIR is a source tree of llama.cpp with a shared-library build in LLAMA_DIR/build. The small C client below
is compiled once beside that build.
"""
import json
import pathlib
import subprocess
import sys

import numpy as np

CLIENT = r"""
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>

static void quiet(enum ggml_log_level level, const char *text, void *data)
{
    (void)data;
    if (level >= GGML_LOG_LEVEL_WARN) fputs(text, stderr);
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    llama_log_set(quiet, NULL);
    llama_backend_init();
    struct llama_model_params mp = llama_model_default_params();
    mp.n_gpu_layers = 0;
    struct llama_model *model = llama_model_load_from_file(argv[1], mp);
    if (!model) return 1;
    int n = argc - 3, n_vocab = llama_vocab_n_tokens(llama_model_get_vocab(model));
    struct llama_context_params cp = llama_context_default_params();
    cp.n_ctx = n + 8;
    cp.n_batch = cp.n_ubatch = n;
    cp.n_threads = cp.n_threads_batch = 2;
    cp.type_k = cp.type_v = GGML_TYPE_F32;
    cp.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    struct llama_context *ctx = llama_init_from_model(model, cp);
    if (!ctx) return 1;
    struct llama_batch batch = llama_batch_init(n, 0, 1);
    for (int i = 0; i < n; i++) {
        batch.token[i] = atoi(argv[3 + i]);
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
    batch.n_tokens = n;
    if (llama_decode(ctx, batch)) return 1;
    FILE *f = fopen(argv[2], "wb");
    for (int i = 0; i < n; i++) fwrite(llama_get_logits_ith(ctx, i), sizeof(float), n_vocab, f);
    return fclose(f);
}
"""


def client(llama_dir):
    root = pathlib.Path(llama_dir)
    lib, exe = root / "build" / "bin", root / "build" / "bin" / "logits-client"
    if not exe.exists():
        source = exe.with_suffix(".c")
        source.write_text(CLIENT)
        subprocess.run(["cc", "-O1", "-o", exe, source, f"-I{root}/include", f"-I{root}/ggml/include", f"-L{lib}",
                        "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{lib}"], check=True)
    return str(exe)


def run(llama_dir, model, tokens, out):
    ids = json.loads(pathlib.Path(tokens).read_text())["tokens"] if tokens.endswith(".json") else tokens.split(",")
    subprocess.run([client(llama_dir), model, out, *map(str, ids)], check=True)


def log_softmax(x):
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def compare(a_path, b_path, vocab):
    """Figures of b against the reference a."""
    a = np.fromfile(a_path, "<f4").reshape(-1, vocab).astype(np.float64)
    b = np.fromfile(b_path, "<f4").reshape(-1, vocab).astype(np.float64)
    p, q = log_softmax(a), log_softmax(b)
    kl = (np.exp(p) * (p - q)).sum(-1)
    return {"max_diff": float(np.abs(a - b).max()), "relative": float(np.abs(a - b).max() / np.abs(a).max()),
            "kl_mean": float(kl.mean()), "kl_max": float(kl.max()),
            "same_argmax": float((a.argmax(-1) == b.argmax(-1)).mean()), "positions": len(a)}


if __name__ == "__main__":
    if sys.argv[1] == "run":
        run(*sys.argv[2:6])
    else:
        print(json.dumps(compare(sys.argv[2], sys.argv[3], int(sys.argv[4]))))
