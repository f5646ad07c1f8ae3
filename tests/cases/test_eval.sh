# SPDX-License-Identifier: MIT
# `sputnik data generate` and `sputnik eval`: the same lines for the same seed, a model's share of right answers, and what is
# refused.
. tests/cases/lib.sh
run "$SPUTNIK" data generate "$tmp/a.jsonl" --count 120 --seed 3
expect_rc 0
has_out '120 lines, '
run "$SPUTNIK" data generate "$tmp/b.jsonl" --count 200 --seed 3 --json
expect_rc 0
json_out
head -n 120 "$tmp/b.jsonl" | cmp -s - "$tmp/a.jsonl" || fail 'the first lines depend on the count'
run "$SPUTNIK" data generate "$tmp/c.jsonl" --count 12 --split test --even
grep -o '"task": "[a-z]*"' "$tmp/c.jsonl" | sort | uniq -c | awk '$1 != 1 { exit 1 } END { exit NR != 12 }' || fail 'one line per task'
run "$SPUTNIK" data generate "$tmp/mul.jsonl" --count 40 --split test --task mul:2x2,sort:5 --even
[ "$(grep -c '"kind": "2x2"' "$tmp/mul.jsonl")" = 20 ] || fail 'half are products of two digits by two'
run "$SPUTNIK" data generate "$tmp/x.jsonl" --task add,sums
expect_rc 1
expect_err 'sputnik: task "sums" is unknown'
run "$SPUTNIK" data generate "$tmp/x.jsonl" --task mul:9x9
expect_err 'sputnik: task mul: no problem of kind "9x9"'
[ -e "$tmp/x.jsonl" ] && fail 'a file is left of a failed run'
run "$SPUTNIK" data generate "$tmp/x.jsonl" "$tmp/y.jsonl"
expect_rc 2
has_err 'generate writes one FILE'
run "$SPUTNIK" data generate "$tmp/x.jsonl" --seq 3
expect_rc 2
has_err '--seq does not go with generate'
run "$SPUTNIK" data show "$tmp/a.jsonl" --count 3
expect_rc 2
has_err '--count does not go with show'

tiny_model "$tmp/model.gguf"
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/c.jsonl" --max-tokens 24 --failures 1
expect_rc 0
has_out 'countdown         1        0    0.00 %    0.00-79.35'
has_out '12 replies of '
has_out 'c.jsonl:1  '
has_out '<think>'
# more kinds than there is room for leave no task without its row
awk '{ for (i = 0; i < 300; i++) { line = $0; sub(/"kind": "[^"]*"/, "\"kind\": \"k" i "\"", line); print line } exit }' "$tmp/mul.jsonl" > "$tmp/kinds.jsonl"
grep '"task": "word"' "$tmp/c.jsonl" >> "$tmp/kinds.jsonl"
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/kinds.jsonl" --max-tokens 1 --kinds
expect_rc 0
has_out 'word              1 '
for threads in 1 3; do
    run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/c.jsonl" --max-tokens 24 -t $threads --json --kinds --failures 100
    expect_rc 0
    json_out
    sed 's/"seconds": [^,]*//' "$tmp/out" > "$tmp/threads$threads"
done
cmp -s "$tmp/threads1" "$tmp/threads3" || fail 'the number of threads changes the replies'
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/c.jsonl" -n 5 --max-tokens 8
has_out '5 replies of '

run "$SPUTNIK" eval "$tmp/none.gguf" "$tmp/c.jsonl"
expect_rc 1
has_err 'none.gguf'
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/none.jsonl"
expect_rc 1
has_err 'none.jsonl'
run "$SPUTNIK" eval "$tmp/model.gguf"
expect_rc 2

# refused LINE MESSAGE: a file whose second line is LINE
refused() {
    { head -n 1 "$tmp/c.jsonl"; printf '%s\n' "$1"; } > "$tmp/bad.jsonl"
    run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/bad.jsonl"
    expect_rc 1
    has_err "bad.jsonl:2: $2"
}
user='{"role": "user", "content": "1+1"}'
reply='{"role": "assistant", "content": "2"}'
refused "{\"task\": \"add\", \"messages\": [$user, $reply]}" 'no text under "answer"'
refused "{\"task\": \"sums\", \"answer\": \"2\", \"messages\": [$user, $reply]}" 'task "sums" is unknown'
refused "{\"answer\": \"2\", \"messages\": [$user, $reply]}" 'task "(none)" is unknown'
refused "{\"task\": \"add\", \"answer\": \"2\", \"messages\": [$reply]}" 'no question before the last reply'
refused "{\"task\": \"add\", \"answer\": \"2\", \"messages\": []}" '0 messages, expected 1 to 4096'
refused "{\"task\": \"add\", \"answer\": \"2\", \"messages\": [{\"role\": \"user\"}]}" 'message 0 has no role that is known, or no content'
refused "{\"task\": \"add\", \"answer\": \"2\", \"text\": \"1+1\"}" '0 messages'
refused '{"task": "add", ' ''
refused '[1]' ''
: > "$tmp/empty.jsonl"
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/empty.jsonl"
expect_rc 1
has_err 'no items'
cp "$tmp/c.jsonl" "$tmp/c.txt"
run "$SPUTNIK" eval "$tmp/model.gguf" "$tmp/c.txt"
expect_rc 1
has_err 'expected a file named .jsonl or .ndjson'
finish
