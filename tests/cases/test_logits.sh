# SPDX-License-Identifier: MIT
# `sputnik logits` and greedy `sputnik run` against the goldens of an independent implementation.
. tests/cases/lib.sh
run "$SPUTNIK" logits tests/golden/models/llama-plain --tokens 1 --last
if grep -qi jansson "$tmp/err"; then skip 'built without jansson'; fi

for golden in tests/golden/logits/*.json; do
    name=$(basename "$golden" .json)
    [ -d "tests/golden/models/$name" ] || continue
    tokens=$(golden_ids "$golden" tokens)
    run "$SPUTNIK" logits "tests/golden/models/$name" --tokens "$tokens" -t 1
    expect_rc 0
    od -An -v -t f4 -w4 "$tmp/out" > "$tmp/ours"
    od -An -v -t f4 -w4 "tests/golden/logits/$name.f32" > "$tmp/theirs"
    paste "$tmp/ours" "$tmp/theirs" | awk -v name="$name" '
        { if (NF != 2) { print name ": another number of logits"; bad = 1; exit }
          d = $1 - $2; if (d < 0) d = -d; if (!(d <= worst)) worst = d
          m = $2 < 0 ? -$2 : $2; if (m > largest) largest = m }
        END { if (bad || !(worst <= 2e-4 * largest)) { print name ": off by " worst " of " largest; exit 1 } }' ||
        fail "logits of $name"
    greedy=$(golden_ids "$golden" greedy)
    run "$SPUTNIK" run "tests/golden/models/$name" --tokens "$tokens" --raw --temp 0 --ids --no-loop-guard \
        -n "$(printf '%s' "$greedy" | tr ',' '\n' | wc -l | awk '{ print $1 + 1 }')" -t 2
    expect_out "$(printf '%s' "$greedy" | tr ',' ' ')"
done

# One answer: threads, batch and the last row alone.
model=tests/golden/models/qwen2
tokens=$(golden_ids tests/golden/logits/qwen2.json tokens)
run "$SPUTNIK" logits $model --tokens "$tokens" -t 1
cp "$tmp/out" "$tmp/one"
run "$SPUTNIK" logits $model --tokens "$tokens" -t 3 --batch 7
cmp -s "$tmp/out" "$tmp/one" || fail 'threads or batch change the logits'
printf '%s\n' "$tokens" > "$tmp/ids"
run "$SPUTNIK" logits $model --tokens-file "$tmp/ids" --last
tail -c 1024 "$tmp/one" | cmp -s - "$tmp/out" || fail '--last'
# Where weights and threads lie changes no bit.
for option in --no-mmap --numa=distribute --numa=isolate '--numa=off --no-mmap'; do
    run "$SPUTNIK" logits $model --tokens "$tokens" -t 2 $option
    expect_rc 0
    cmp -s "$tmp/out" "$tmp/one" || fail "$option changes the logits"
done
run "$SPUTNIK" logits $model --tokens 1 --numa numactl
expect_rc 2
has_err 'expected one of auto|distribute|isolate|off'
run "$SPUTNIK" logits $model --tokens 1 --no-mmap --ram 1G
expect_rc 1
has_err 'not with --ram'
run "$SPUTNIK" logits $model --tokens 1,2 --json
json_out
has_out '"n_tokens":2,"first":0,"vocab_size":256'

run "$SPUTNIK" logits $model --tokens 256
expect_rc 1
has_err '256'
run "$SPUTNIK" logits $model --tokens 1,2,3,4 -c 3
expect_rc 1
finish
