# SPDX-License-Identifier: MIT
# `sputnik convert` to Hugging Face directories: what selects them, what they hold, and refusals that leave nothing behind.
. tests/cases/lib.sh
model=tests/golden/models/v3
run "$SPUTNIK" logits $model --tokens 1,2,3,4
if [ "$rc" -ne 0 ]; then grep -q jansson "$tmp/err" && skip 'built without jansson'; fi
expect_rc 0
cp "$tmp/out" "$tmp/before"

# A slash, an empty directory and --hf; float32 changes nothing, however often.
run "$SPUTNIK" convert $model "$tmp/a/" --type f32
expect_rc 0
expect_out "$tmp/a/"
run "$SPUTNIK" logits "$tmp/a" --tokens 1,2,3,4
cmp -s "$tmp/out" "$tmp/before" || fail 'a float32 export changes the logits'
mkdir "$tmp/b"
run "$SPUTNIK" convert "$tmp/a" "$tmp/b"
expect_rc 0
grep -q '"torch_dtype": "bfloat16"' "$tmp/b/config.json" || fail 'the type is not in config.json'
run "$SPUTNIK" convert "$tmp/a" "$tmp/c" --hf --type bf16
expect_rc 0
cmp -s "$tmp/b/model.safetensors" "$tmp/c/model.safetensors" || fail 'two ways, two files'
run "$SPUTNIK" convert "$tmp/b" "$tmp/b.gguf" --type bf16
expect_rc 0

# A tokenizer and its settings go along.
mkdir "$tmp/full"
cp "$tmp/a/config.json" "$tmp/a/model.safetensors" tests/golden/tokenizers/tiny/tokenizer* "$tmp/full"
echo '{"temperature": 0.25}' > "$tmp/full/generation_config.json"
echo '{"step": 1}' > "$tmp/full/training.json"
run "$SPUTNIK" convert "$tmp/full" "$tmp/d/"
expect_rc 0
cmp -s "$tmp/full/tokenizer.json" "$tmp/d/tokenizer.json" || fail 'tokenizer.json is not there'
cmp -s "$tmp/full/generation_config.json" "$tmp/d/generation_config.json" || fail 'generation_config.json is not there'
[ ! -e "$tmp/d/training.json" ] || fail 'the state of a run was exported'

# Refusals.
run "$SPUTNIK" convert $model "$tmp/b"
expect_rc 1
has_err 'is not empty'
run "$SPUTNIK" convert $model "$tmp/x/" --type q8_0
expect_rc 2
has_err 'bf16, f16 or f32'
run "$SPUTNIK" convert $model "$tmp/x/" --tensor-type ffn=f16
expect_rc 2
run "$SPUTNIK" convert "$tmp/b.gguf" "$tmp/x/"
expect_rc 1
has_err 'is a GGUF file'
run "$SPUTNIK" convert $model "$tmp/no-such-folder/deep/x" --hf
expect_rc 0
for left in "$tmp"/x*; do [ ! -e "$left" ] || fail "a refused export left $left"; done
finish
