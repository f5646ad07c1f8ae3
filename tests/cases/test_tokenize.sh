# SPDX-License-Identifier: MIT
# `sputnik tokenize`: ids on one line and back, special tokens only on request.
. tests/cases/lib.sh
model=tests/golden/tokenizers/tiny
stdin=$tmp/in
printf 'Hello world' > "$stdin"
run "$SPUTNIK" tokenize $model
if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
expect_rc 0
expect_out '42 471 81 265 284 345'
expect_err ''
run "$SPUTNIK" tokenize $model --bos
expect_out '0 42 471 81 265 284 345'
run "$SPUTNIK" tokenize $model --json
json_out
expect_out '{"n_tokens":6,"ids":[42,471,81,265,284,345],"pieces":["H","ell","o"," w","or","ld"]}'

printf '<think>' > "$stdin"
run "$SPUTNIK" tokenize $model
lacks_out 495
run "$SPUTNIK" tokenize $model --special
expect_out 495

: > "$stdin"
run "$SPUTNIK" tokenize $model
expect_rc 0
[ "$(od -An -c "$tmp/out" | tr -d ' ')" = '\n' ] || fail 'no text: one empty line'

# There and back, any bytes.
printf 'a\000b\377\376 \303\244\n\n\t x' > "$stdin"
run "$SPUTNIK" tokenize $model
cp "$tmp/out" "$tmp/ids"
stdin=$tmp/ids
run "$SPUTNIK" tokenize $model --decode
cmp -s "$tmp/out" "$tmp/in" || fail 'decode(encode(x)) is not x'

printf '[0, 42 471,81]\n' > "$stdin"
run "$SPUTNIK" tokenize $model --decode --skip-special
[ "$(cat "$tmp/out")" = Hello ] || fail 'skip-special'
run "$SPUTNIK" tokenize $model --decode --json
json_out
printf '1 x 2' > "$stdin"
run "$SPUTNIK" tokenize $model --decode
expect_rc 1
expect_err 'sputnik: token ids: found "x", expected whole numbers from 0 (offset 2)'
printf '1 9999999' > "$stdin"
run "$SPUTNIK" tokenize $model --decode
expect_rc 1
finish
