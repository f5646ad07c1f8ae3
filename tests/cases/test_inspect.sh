# SPDX-License-Identifier: MIT
# `sputnik inspect` on directories, GGUF files and broken files.
. tests/cases/lib.sh
tiny_model "$tmp/tiny.gguf"
run "$SPUTNIK" inspect "$tmp/tiny.gguf"
expect_rc 0
has_out 'container  GGUF version 3, 1 file'
has_out 'model      llama'
has_out 'chat       r1'
has_out 'token_embd.weight'
has_out '512 x 64'
has_out 'bits per element'
run "$SPUTNIK" inspect "$tmp/tiny.gguf" --json
expect_rc 0
json_out
has_out '"chat_format":"r1"'
has_out '{"name":"token_embd.weight","type":"F32","shape":[512,64],"n_bytes":131072'
run "$SPUTNIK" inspect "$tmp/tiny.gguf" --json --no-tensors
json_out
lacks_out token_embd
for model in tests/golden/models/*; do
    run "$SPUTNIK" inspect "$model"
    expect_rc 0
    run "$SPUTNIK" inspect "$model" --json
    expect_rc 0
    json_out
done
run "$SPUTNIK" inspect tests/golden/models/v3-fp8
has_out F8_E4M3

printf 'GGUF' > "$tmp/short.gguf"
run "$SPUTNIK" inspect "$tmp/short.gguf"
expect_rc 1
expect_err 'sputnik: short.gguf: gguf: the file ends inside the header (offset 4)'
run "$SPUTNIK" inspect "$tmp"
expect_rc 1
has_err 'config.json'
data=../shared/data/tokenizers/gguf-vocab
for file in "$data"/*.gguf; do
    [ -f "$file" ] || continue
    run "$SPUTNIK" inspect "$file"
    expect_rc 0
    has_out 'all           0 tensors'
done
finish
