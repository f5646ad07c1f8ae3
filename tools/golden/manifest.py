# SPDX-License-Identifier: MIT
"""Writes MANIFEST.md of the goldens: what each folder holds, how it was made, and every file's sha256.

    python manifest.py TREE/tests/golden
"""
import hashlib
import pathlib
import sys

import specs

HEAD = """# Goldens

Made by the scripts of `tools/golden` (see its README.md) with torch 2.6.0 (CPU), transformers 4.57.6, tokenizers 0.22.2,
gguf 0.19.0, Jinja2 3.1.6, numpy 2.4.6, Python 3.11, and llama.cpp as vendored in llama-cpp-python 0.3.36 (ggml 0.25.3).
All binary files are little-endian; `.f32` is bare float32.

## models, logits: make_checkpoints.py, make_logits.py
Random-weight checkpoints in Hugging Face form; logits (64, 256) of a 64-token prompt and 48 greedy tokens in `<name>.json`.

| model | stored as | seed | reference |
|---|---|---|---|
%s

Corrections, made by make_logits.py:
* deepseek_v2 in transformers scales the softmax by (nope+rope)^-1/2 alone; the vendor's code multiplies by
  m(factor, mscale_all_dim)^2, and so do these goldens.
* deepseek_v2's group rule in transformers is the vendor's (largest probability in the group): used as is. llama.cpp takes the
  sum of the best two for every model, so its logits of `v2` differ (by 0.53 of the largest logit at one position).
* deepseek_v3 in transformers writes 0.0 over refused groups; the vendor's code excludes them (-inf), and so do these goldens.
* Rotation in deepseek_v3 follows `rope_interleave` (default true): interleaved pairs. Layers past num_hidden_layers are ignored.
* `v3-mtp.f32` (63, 256): multi-token prediction, row i predicts token i+2. Input row i is
  eh_proj([enorm(embedding of token i+1); hnorm(hidden state of position i after model.norm)]); it is rotated as position i, attends
  to rows 0..i, and the embedding of row 0 is not zeroed. Float64.
* No router choice of these models is closer than 1e-4 to a tie and no greedy step closer than 1.5e-3 of the largest logit.

Agreement: transformers against reference_model.py in float64 (naive latent attention) at most 2e-6 of the largest |logit|.
llama.cpp in float32 on a GGUF of the same weights (check_llama.py), largest difference as a part of the largest
|logit|: llama-plain 1.3e-6, llama-linear 7.5e-7, llama-llama3 1.6e-6, qwen2 6.2e-7, qwen3 5.2e-7, deepseek 9.6e-7, v3 1.2e-6 (joined
kv_b 1.6e-6), v3-fp8 1.6e-6 (1.3e-6), v2 with its groups switched off on both sides 1.4e-6, v2-lite at 27 layers (llama.cpp knows
lite models by their layer count) 4.6e-6.

## gradients: make_gradients.py
Sketches (64 signed sums) and norms of every parameter's gradient of the mean cross entropy over two sequences cut from the prompt of
logits, by autograd through transformers in float64 (deepseek_v3 in float32) with the corrections above; deepseek and v3-mtp (v3 with 0.3
times its prediction layer's loss) through reference_model.py. Parameters that are not listed have no gradient.
transformers against reference_model.py: at most 1.8e-6 (v3), norm-wise.

## training: make_training.py
`<run>.json`: ten AdamW (or, `-muon`, Muon and AdamW) steps of a checkpoint: the trainer's configuration, the documents, and per step rows,
learning rate, losses, gradient norm and expert counts. Through transformers in float64 (deepseek_v3 in float32) with the corrections
above; deepseek and the v3-mtp runs, whose prediction layer shares embedding and head, through reference_model.py in float64. transformers
against reference_model.py over all ten losses: at most 1.6e-7. Five of ten steps are clipped. No router choice is closer than 2e-5 to a tie.
`optimizer.json`: three updates of eight small tensors by torch.optim.AdamW and by Muon in float64.

## quants: make_quants.py
`<type>.bin` packed blocks (first half random bytes, then blocks from ggml's quantiser), `<type>.f32` their values from the
`gguf` package; ggml's C decoder gives the same bits. `f8_e4m3` holds all 256 codes (0x7f and 0xff are NaN).
`quantisers.json`: root mean square error and CRC-32 of ggml's quantisers on `matrix.f32` (16, 1024), without importance matrix.

## quantised: make_quantised_runs.py
GGUF files with llama.cpp's logits (`<name>.f32`) and those of exact arithmetic over the same dequantised weights
(`<name>-exact.f32`). k, iq and legacy hold every quantised format once or more. Mean divergence KL(exact || llama.cpp), from its
8-bit activations: k 1.3e-4, iq 1.6e-4, legacy 7.6e-5, llama-q4_k_m 1.3e-4, deepseek-q4_k_m 2.4e-4, v3-q8_0 2.3e-4; largest at one
position 9e-4. The models are those of specs.py with the head halved; llama-* and k, iq use a 256-wide one of one layer, v3 seed 20.
The files carry no vocabulary.

## tokens, tokenizers: make_tokens.py, build_tokenizers.py
Ids of our own text set (texts.py) from the `tokenizers` package; the case format stands at the head of make_tokens.py. The
published vocabularies are not in the tree (`../shared/data`); `tokenizers/tiny` is our own, in the form of V3's, with its cases in
`tokens/tiny.json`. The built tokenizers gave the published ids on all 47 strings for deepseek-llm, deepseek-coder, qwen2 (both
files) and llama3.

## templates: make_templates.py
Conversations (conversations.py) rendered by the published Jinja files; the case format stands at the head of make_templates.py.
`v3.json` is the template of V3 and R1's tokenizer_config, which R1-0528 shares in form. `v3.1.json` has the vendor's `</think>`
in place of the copy's `<think></think>`. Cases with "departs" show a defect of the published file; `by-hand.json` has the right text.

## Files

| file | bytes | sha256 |
|---|---|---|
"""


def model_rows():
    for name, (own, dtype, shards, seed) in specs.MODELS.items():
        how = "reference_model.py, float64" if own["model_type"] == "deepseek" else "transformers, float32"
        note = {"deepseek_v2": ", softmax scale corrected", "deepseek_v3": ", refused groups excluded"}
        yield f"| {name} | {dtype}, {shards} file{'s' * (shards > 1)} | {seed} | {how}{note.get(own['model_type'], '')} |"


def main(root):
    root = pathlib.Path(root)
    out = HEAD % "\n".join(model_rows())
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p.name != "MANIFEST.md"):
        data = path.read_bytes()
        out += f"| {path.relative_to(root)} | {len(data)} | {hashlib.sha256(data).hexdigest()} |\n"
    (root / "MANIFEST.md").write_text(out)


if __name__ == "__main__":
    main(sys.argv[1])
