# SPDX-License-Identifier: MIT
# `sputnik bench`, `perplexity`, `convert` and `synth` on tiny models: shapes of their results, not speed.
. tests/cases/lib.sh
model=tests/golden/models/qwen2
run "$SPUTNIK" bench $model -p 16,32 -n 4 -d 0,8 -t 1 -r 2 --sessions 1,2 --json
if grep -qi jansson "$tmp/err"; then skip 'built without jansson'; fi
expect_rc 0
expect_err ''
json_out
[ "$(grep -c '"tokens_per_s":' "$tmp/out")" -eq 8 ] || fail '2 depths of 2 prompts and 2 numbers of sessions are 8 rows'
has_out '"n_prompt":32,"n_gen":0,"depth":8,"n_sessions":1,"threads":1,"tokens_per_s":'
has_out '"n_prompt":0,"n_gen":4,"depth":0,"n_sessions":2,"threads":1,"tokens_per_s":'
run "$SPUTNIK" bench $model -p 0 -n 2 -r 1 --no-warmup --cache-type f16
expect_rc 0
has_out decode
lacks_out prompt
run "$SPUTNIK" bench $model -p 0 -n 0 --json
json_out
expect_out '[]'
# Ceilings alone, and shares of them beside a model's rows.
run "$SPUTNIK" bench --machine -t 1 --json
expect_rc 0
json_out
has_out '{"what":"memory","how":"read","threads":1,"per_s":'
has_out '"what":"float32"'
run "$SPUTNIK" bench $model --machine -p 8 -n 2 -t 1 -r 1 --json
json_out
[ "$(grep -c '"memory_share":' "$tmp/out")" -eq 2 ] || fail 'every row has a share of the bandwidth'
run "$SPUTNIK" bench $model -p 0 -n 2 -r 1 --sessions 4 --cache-type f16 --json
lacks_out memory_share
# 73728 weights, two operations each; four sessions share a read of their float32 bytes, not of the cache.
has_out '"bytes_per_token":73856,"int8_ops_per_token":147456'
# 123392 weights of bfloat16 with three of eight experts, and a cache of 192 bytes; two tokens read 4.875 experts.
run "$SPUTNIK" bench tests/golden/models/v2-lite -p 0 -n 2 -r 1 --sessions 1,2 --cache-type f16 --json
has_out '"bytes_per_token":246976,"int8_ops_per_token":246784'
has_out '"bytes_per_token":135104,"int8_ops_per_token":246784'
run "$SPUTNIK" bench --machine --disk "$tmp/no-such-file"
expect_rc 1
run "$SPUTNIK" bench $model --disk "$tmp/out"
expect_rc 2
run "$SPUTNIK" bench
expect_rc 2
has_err 'MODEL is missing'

# Perplexity of a model against itself: no divergence; windows and strides as documented.
golden_ids tests/golden/logits/qwen2.json tokens > "$tmp/ids"
run "$SPUTNIK" perplexity $model "$tmp/ids" --ids -c 32 --json
json_out
has_out '"n_tokens":64,"n_windows":2,"n_ctx":32,"stride":32,"n_scored":30,'
nll=$(json_get nll)
run "$SPUTNIK" perplexity $model "$tmp/ids" --ids -c 32 --json -t 2 --batch 5
[ "$(json_get nll)" = "$nll" ] || fail 'threads change the result'
run "$SPUTNIK" perplexity $model "$tmp/ids" --ids -c 32 --stride 16 --kl-reference $model --json
json_out
has_out '"n_windows":3,'
has_out '"n_scored":45,'
has_out '"kl_mean":0,'
has_out '"top1_agreement":1}'
run "$SPUTNIK" perplexity $model "$tmp/ids" --ids -c 32 --kl-reference tests/golden/models/llama-plain
expect_rc 0
has_out 'same top'
printf '1 2' > "$tmp/few"
run "$SPUTNIK" perplexity $model "$tmp/few" --ids
expect_rc 1
has_err 'expected at least 4'
run "$SPUTNIK" perplexity $model "$tmp/ids"
has_err 'give token ids with --ids'
# One scored token computed by hand: window of 4, scored is the prediction at position 2.
printf '5 6 7 8' > "$tmp/four"
run "$SPUTNIK" perplexity $model "$tmp/four" --ids --json
nll=$(json_get nll)
run "$SPUTNIK" logits $model --tokens 5,6,7 --last
od -An -v -t f4 -w4 "$tmp/out" | awk -v nll="$nll" '{ s += exp($1); if (NR == 9) x = $1 }
    END { d = log(s) - x - nll; if (d < 0) d = -d; exit d > 1e-4 }' || fail 'the score of one token'

# Conversion keeps what the model says (exactly for f32), and is repeatable.
run "$SPUTNIK" convert $model "$tmp/f32.gguf" --type f32
expect_rc 0
run "$SPUTNIK" logits $model --tokens 1,2,3,4
cp "$tmp/out" "$tmp/before"
run "$SPUTNIK" logits "$tmp/f32.gguf" --tokens 1,2,3,4
cmp -s "$tmp/out" "$tmp/before" || fail 'f32 conversion changes the logits'
run "$SPUTNIK" convert "$tmp/f32.gguf" "$tmp/q8.gguf" --type Q8_0 -t 2
expect_rc 0
run "$SPUTNIK" convert $model "$tmp/q8b.gguf" --type q8_0 -t 1
run "$SPUTNIK" perplexity "$tmp/q8.gguf" "$tmp/ids" --ids -c 32 --kl-reference $model --json
[ "$(json_get kl_mean | awk '{ print ($1 < 0.01) }')" = 1 ] || fail 'q8_0 is far from f32'
run "$SPUTNIK" convert "$tmp/f32.gguf" "$tmp/mixed.gguf" --type q8_0 --tensor-type ffn_down=f16
run "$SPUTNIK" inspect "$tmp/mixed.gguf"
has_out F16
run "$SPUTNIK" convert $model "$tmp/x.gguf" --type q9
expect_rc 2
has_err q4_k_m
[ ! -e "$tmp/x.gguf" ] || fail 'a failed conversion left a file'
run "$SPUTNIK" convert $model "$tmp/x.gguf" --tensor-type foo
expect_rc 2
run "$SPUTNIK" convert --list-types
has_out q4_k_m
run "$SPUTNIK" convert $model "$tmp/no-such-folder/x.gguf"
expect_rc 1

# Synthetic models run, and depend on the seed alone.
run "$SPUTNIK" synth deepseek-v2-lite "$tmp/a.gguf" --layers 2 --vocab-size 256 --type q8_0 -t 2
if [ "$rc" -eq 0 ]; then
    run "$SPUTNIK" inspect "$tmp/a.gguf" --no-tensors
    has_out deepseek2
    rm "$tmp/a.gguf"
fi
run "$SPUTNIK" synth $model "$tmp/a.gguf" --type f16 -t 1
expect_rc 0
run "$SPUTNIK" synth $model "$tmp/b.gguf" --type f16 -t 2
cmp -s "$tmp/a.gguf" "$tmp/b.gguf" || fail 'threads change the weights'
run "$SPUTNIK" synth $model "$tmp/b.gguf" --type f16 --seed 2
cmp -s "$tmp/a.gguf" "$tmp/b.gguf" && fail 'the seed does not change the weights'
run "$SPUTNIK" run "$tmp/a.gguf" --tokens 1,2,3 -n 4 --ids
expect_rc 0
run "$SPUTNIK" synth no-such-shape "$tmp/c.gguf"
expect_rc 1
has_err 'no-such-shape'
run "$SPUTNIK" synth --list
has_out deepseek-r1
finish
