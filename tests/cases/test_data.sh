# SPDX-License-Identifier: MIT
# `sputnik data`: text to tokenizer to shard to the documents of a step, and what is refused.
. tests/cases/lib.sh
awk 'BEGIN { for (i = 0; i < 400; i++) printf "orbit %d of the satellite went well.%s", i, i % 4 == 3 ? "\n\n" : " " }' > "$tmp/a.txt"
printf '%s\n' '{"text": "one more document"}' \
    '{"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4", "reasoning_content": "add"}]}' > "$tmp/b.jsonl"

run "$SPUTNIK" data tokenizer "$tmp/tok" "$tmp/a.txt" "$tmp/b.jsonl" --vocab-size 320 -t 2
if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
expect_rc 0
has_out ': 320 ids, 44 merges from '
cp "$tmp/tok/tokenizer.json" "$tmp/first.json"
run "$SPUTNIK" data tokenizer "$tmp/tok" "$tmp/b.jsonl" "$tmp/a.txt" --vocab-size 320 -t 1 --json
expect_rc 0
json_out
cmp -s "$tmp/tok/tokenizer.json" "$tmp/first.json" || fail 'order of files and threads change the vocabulary'
printf 'orbit 12 of the satellite<think>' > "$tmp/in"
stdin=$tmp/in run "$SPUTNIK" tokenize "$tmp/tok" --special
cp "$tmp/out" "$tmp/ids"
stdin=$tmp/ids run "$SPUTNIK" tokenize "$tmp/tok" --decode
cmp -s "$tmp/out" "$tmp/in" || fail 'round trip'
run "$SPUTNIK" data tokenizer "$tmp/tok2" "$tmp/a.txt" --special '<s>' --special '</s>' --vocab-size 5000
expect_rc 0
has_err 'hint: the text has too few pairs for 5000 ids'
grep -qF '"bos_token": "<s>"' "$tmp/tok2/tokenizer_config.json" || fail 'begin of sentence'

run "$SPUTNIK" data pack "$tmp/a.shard" "$tmp/a.txt" --tokenizer "$tmp/tok" --separator '

' --shuffle --seed 5 --json
expect_rc 0
json_out
[ "$(json_get n_documents)" = 100 ] || fail '100 documents'
run "$SPUTNIK" data pack "$tmp/b.shard" "$tmp/b.jsonl" --tokenizer "$tmp/tok" --chat-format v3.1 --fim-rate 1
expect_rc 0
has_out '1 texts (1 fill-in-the-middle), 1 conversations'
run "$SPUTNIK" data show "$tmp/a.shard" --seq 32 --batch 4 --step 3
expect_rc 0
has_out 'shard 0  '
has_out 'row 12  shard 0  epoch 0'
has_out 'row 15  '
cp "$tmp/out" "$tmp/all"
for rank in 0 1; do
    run "$SPUTNIK" data show "$tmp/a.shard" --seq 32 --batch 4 --step 3 --ranks 2 --rank $rank
    expect_rc 0
    grep '^row' "$tmp/out" >> "$tmp/parts"
done
grep '^row' "$tmp/all" | cmp -s - "$tmp/parts" || fail 'ranks share the batch'
run "$SPUTNIK" data show "$tmp/a.shard=3" "$tmp/b.shard=1" --whole --seq 16 --batch 8 --json
expect_rc 0
json_out
[ "$(grep -o '"shard": 1' "$tmp/out" | wc -l)" -eq 2 ] || fail 'a quarter of the rows from the second shard'

run "$SPUTNIK" data sort x
expect_rc 2
has_err '"sort": expected tokenizer, pack, show or generate'
run "$SPUTNIK" data show "$tmp/a.shard" --vocab-size 300
expect_rc 2
has_err '--vocab-size does not go with show'
run "$SPUTNIK" data pack "$tmp/c.shard" "$tmp/a.txt"
expect_rc 2
has_err 'pack needs --tokenizer'
run "$SPUTNIK" data tokenizer "$tmp/tok3"
expect_rc 2
has_err 'a FILE is missing'
run "$SPUTNIK" data show "$tmp/a.shard=0"
expect_rc 1
has_err 'weight "0": expected a number above 0'
run "$SPUTNIK" data show "$tmp/a.txt"
expect_rc 1
has_err 'a.txt: shard: no token shard'
run "$SPUTNIK" data show "$tmp/a.shard" --batch 8 --ranks 3
expect_rc 1
has_err 'cannot share 8 sequences'
echo '{"txt": "x"}' > "$tmp/bad.jsonl"
run "$SPUTNIK" data pack "$tmp/c.shard" "$tmp/bad.jsonl" --tokenizer "$tmp/tok"
expect_rc 1
has_err 'bad.jsonl:1: neither a text under "text"'
[ ! -e "$tmp/c.shard" ] || fail 'a failed pack left a file'

# What cannot be written is told before the text is read: its own fault would come later.
run "$SPUTNIK" data pack "$tmp/none/c.shard" "$tmp/bad.jsonl" --tokenizer "$tmp/tok"
expect_rc 1
expect_err "sputnik: cannot create \"$tmp/none/c.shard\": No such file or directory"
run "$SPUTNIK" data tokenizer "$tmp/a.txt/tok" "$tmp/bad.jsonl"
expect_rc 1
expect_err "sputnik: cannot create directory \"$tmp/a.txt\": File exists"
run "$SPUTNIK" data tokenizer "$tmp/tok3" "$tmp/bad.jsonl" --chat-template "$tmp/none"
expect_rc 1
expect_err "sputnik: cannot open \"$tmp/none\": No such file or directory"
[ ! -e "$tmp/tok3" ] || fail 'a folder was made for nothing'
finish
