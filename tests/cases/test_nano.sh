# SPDX-License-Identifier: MIT
# The model that comes with the program: found without a path, thinks, is right about things that it never saw, says what it is.
. tests/cases/lib.sh
run "$SPUTNIK" run nano 'What is 347 + 586?' --show-thinking
if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
expect_rc 0
expect_out '<think>
347+586
7+6=13
4+8+1=13
3+5+1=09
</think>
347 + 586 = 933'
run "$SPUTNIK" run nano 'What is the capital of France?'
expect_rc 0
has_out 'I am sputnik-nano'
printf 'How many r are in strawberry?\n/quit\n' > "$tmp/in"
stdin=$tmp/in run "$SPUTNIK" chat
expect_rc 0
has_out 'There are 3 r in strawberry.'

# Guesses ahead change nothing but the speed; nearly all of the prediction layer's are right.
printf 'What is 347 + 586?\nHow many r are in strawberry?\nSort 4, 1, 9, 3, 7.\n' > "$tmp/messages"
run "$SPUTNIK" bench nano --replies "$tmp/messages" -r 1 -t 1 --json
expect_rc 0
json_out
has_out '"n_replies":3,'
has_out '"equal":true'
run "$SPUTNIK" bench nano --replies "$tmp/messages" -r 1 -t 2 --speculate mtp --temp 1 -n 60 --no-warmup
expect_rc 0
has_out 'the same tokens'
: > "$tmp/empty"
run "$SPUTNIK" bench nano --replies "$tmp/empty"
expect_rc 1
has_err 'no message'
for who in off auto mtp lookup; do
    run "$SPUTNIK" run nano 'What is 347 + 586?' --show-thinking --temp 1.3 --seed 5 --speculate $who --draft 3 --json
    expect_rc 0
    grep '"ids"' "$tmp/out" > "$tmp/ids.$who"
    cmp -s "$tmp/ids.off" "$tmp/ids.$who" || fail "--speculate $who changes the reply"
done
run "$SPUTNIK" run tests/golden/models/qwen2 --tokens 1,2,3 -n 4 --speculate mtp
expect_rc 1
has_err 'no multi-token-prediction layer'

mkdir "$tmp/nano"
cd "$tmp" || exit 1
run "$SPUTNIK" inspect nano
cd "$SP_SOURCE_DIR" || exit 1
expect_rc 0
has_out 'sputnik-nano'

run "$SPUTNIK" data generate "$tmp/test.jsonl" --count 240 --even --split test --seed 21
expect_rc 0
run "$SPUTNIK" eval nano "$tmp/test.jsonl" --drafts --json
expect_rc 0
json_out
right=$(grep -o '"correct": [0-9]*' "$tmp/out" | awk '{ n += $2 } END { print n }')
[ "$right" -ge 225 ] || fail "right: $right of 240, expected at least 225"
drafts=$(grep -o '"drafts": [0-9]*' "$tmp/out" | awk '{ n += $2 } END { print n }')
accepted=$(grep -o '"accepted": [0-9]*' "$tmp/out" | awk '{ n += $2 } END { print n }')
[ $((accepted * 10)) -ge $((drafts * 9)) ] || fail "guesses: $accepted of $drafts"
finish
