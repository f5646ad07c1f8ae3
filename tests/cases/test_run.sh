# SPDX-License-Identifier: MIT
# `sputnik run` on a tiny model of random weights: what goes where, settings, one answer.
. tests/cases/lib.sh
model=$tmp/tiny.gguf
tiny_model "$model"

# Reasoning goes to a pipe only on request; the answer is the same either way.
run "$SPUTNIK" run "$model" 'hello there' --seed 1 -n 40 --think 6 -t 1
expect_rc 0
expect_err ''
lacks_out '<think>'
cp "$tmp/out" "$tmp/answer"
run "$SPUTNIK" run "$model" 'hello there' --seed 1 -n 40 --think 6 --show-thinking -t 2 --batch 3
has_out '<think>'
has_out '</think>'
sed '1,/^<\/think>$/d' "$tmp/out" | cmp -s - "$tmp/answer" || fail 'the answer depends on what is shown'
printf 'hello there' > "$tmp/prompt"
stdin=$tmp/prompt
run "$SPUTNIK" run "$model" - --seed 1 -n 40 --think 6
cmp -s "$tmp/out" "$tmp/answer" || fail 'a prompt from standard input gives another answer'
stdin=/dev/null
run "$SPUTNIK" run "$model" 'hello there' --seed 2 -n 40 --think 6
cmp -s "$tmp/out" "$tmp/answer" && fail 'another seed gives the same answer'

# One object of JSON.
run "$SPUTNIK" run "$model" 'hello there' --seed 1 -n 40 --think 6 --json --logprobs 3
expect_rc 0
json_out
has_out '"finish":"length"'
has_out '"completion_tokens":40'
has_out '"forced":true'
[ "$(json_get seed)" = 1 ] || fail 'seed'
ids=$(golden_ids "$tmp/out" ids)
[ "$(printf '%s' "$ids" | tr ',' '\n' | grep -c .)" -eq 40 ] || fail '40 ids'
run "$SPUTNIK" run "$model" 'hello there' --seed 1 -n 40 --think 6 --ids
expect_out "$(printf '%s' "$ids" | tr ',' ' ')"

# The greedy reply is the most probable one at each step, and cache types that round give one too.
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 12 --ids
greedy=$(cat "$tmp/out")
run "$SPUTNIK" run "$model" --raw 'Once upon' --top-k 1 --seed 5 -n 12 --ids
expect_out "$greedy"
for type in f32 f16 bf16; do
    run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 12 --ids --cache-type $type
    expect_rc 0
    [ $type != f16 ] || expect_out "$greedy"
done
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 12 --ids --cache-type q8_0
expect_rc 1
has_err 'Q8_0 holds multiples of 32 values, this model has 16 per head'

# A banned token does not come, a favoured one does; a stop text is withheld.
first=${greedy%% *}
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 1 --ids --logit-bias "$first=-100"
[ "$(cat "$tmp/out")" != "$first" ] || fail 'the banned token came'
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 3 --ids --logit-bias 42=1000
expect_out '42 42 42'
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 30 --logit-bias 42=1000 --stop HHH --json
has_out '"content":""'
has_out '"finish":"stop"'
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 1200 --logit-bias 42=1000
expect_rc 0
has_err 'sputnik: the reply only repeated itself'
run "$SPUTNIK" run "$model" --raw 'Once upon' --temp 0 -n 1200 --logit-bias 42=1000 --no-loop-guard --json
has_out '"finish":"length"'

# A huge -n is no reason for a huge cache. (The sanitizers need address space of their own.)
if ! grep -qE '__(asan|tsan)_init' "$SPUTNIK"; then
    run sh -c 'ulimit -v 2000000 && exec "$@"' sh "$SPUTNIK" run "$model" --raw hi -n 16777216 --seed 1 -t 1
    expect_rc 0
fi

# Special tokens in a prompt are text unless asked for.
run "$SPUTNIK" run "$model" --raw '<think>' -n 1 --json
plain=$(json_get prompt_tokens)
run "$SPUTNIK" run "$model" --raw --special '<think>' -n 1 --json
[ "$plain" -gt "$(json_get prompt_tokens)" ] || fail 'a special token was parsed out of a prompt'
run "$SPUTNIK" run "$model" --raw 'hi' -n 1 --json
plain=$(json_get prompt_tokens)
run "$SPUTNIK" run "$model" --raw --special '<｜begin▁of▁sentence｜>hi' -n 1 --json
[ "$plain" -eq "$(json_get prompt_tokens)" ] || fail 'two begin-of-sentence tokens'

run "$SPUTNIK" run "$model" x --logit-bias 3
expect_rc 2
has_err 'option --logit-bias: found "3", expected ID=X'
for command in "run $model x" "chat $model" "serve $model --port 0"; do
    # shellcheck disable=SC2086
    run timeout 20 "$SPUTNIK" $command --logit-bias 3=1 --logit-bias 512=1
    if grep -q libmicrohttpd "$tmp/err"; then continue; fi
    expect_rc 2
    expect_err 'sputnik: option --logit-bias: found token 512, but the vocabulary has 512'
done
run "$SPUTNIK" run "$model" x --think maybe
expect_rc 2
run "$SPUTNIK" run "$model" x --format no-such
expect_rc 2
run "$SPUTNIK" run "$model" "$(awk 'BEGIN { for (i = 0; i < 2000; i++) printf "word " }')" -c 100
expect_rc 1
run "$SPUTNIK" run tests/golden/models/qwen2 hello
expect_rc 1
has_err 'no vocabulary'
run "$SPUTNIK" run "$model" x -n 8 -c 24 --format none
expect_rc 1
has_err 'use --raw'
finish
