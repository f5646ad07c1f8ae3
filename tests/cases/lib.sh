# SPDX-License-Identifier: MIT
# Shared by the command-line tests: sourced with `. tests/cases/lib.sh` from the source tree.
#   run CMD...            runs it; $out, $err and $rc hold what came of it
#   expect_rc N           the exit status
#   expect_out TEXT       standard output is exactly TEXT (plus a newline unless TEXT is empty)
#   expect_err TEXT       the same of standard error
#   has_out PART, has_err PART   it contains PART
set -u
: "${SPUTNIK:?path of the program}" "${SP_SOURCE_DIR:?path of the source tree}"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/sputnik-test.XXXXXX") || exit 1
cleanup=
trap 'eval "$cleanup"; rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
export SPUTNIK_CACHE="$tmp/cache" XDG_STATE_HOME="$tmp/state" LC_ALL=C.UTF-8
unset HF_ENDPOINT HF_TOKEN NO_COLOR COLUMNS http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy 2> /dev/null
failures=0
last=

fail() {
    printf 'FAILED: %s\n  command: %s\n  status: %s\n' "$1" "$last" "$rc"
    printf '%s\n' '  standard output:' && head -c 2000 "$tmp/out" && printf '\n%s\n' '  standard error:' && head -c 2000 "$tmp/err"
    failures=$((failures + 1))
}

run() {
    last=$*
    "$@" > "$tmp/out" 2> "$tmp/err" < "${stdin:-/dev/null}"
    rc=$?
}

expect_rc() { [ "$rc" -eq "$1" ] || fail "exit status: expected $1"; }

expect_file() {
    if [ -n "$2" ]; then printf '%s\n' "$2"; fi > "$tmp/expected"
    cmp -s "$tmp/expected" "$1" || fail "$3: expected exactly: $2"
}
expect_out() { expect_file "$tmp/out" "$1" "standard output"; }
expect_err() { expect_file "$tmp/err" "$1" "standard error"; }
has_out() { grep -qF -- "$1" "$tmp/out" || fail "standard output: expected to contain: $1"; }
has_err() { grep -qF -- "$1" "$tmp/err" || fail "standard error: expected to contain: $1"; }
lacks_out() { if grep -qF -- "$1" "$tmp/out"; then fail "standard output: expected not to contain: $1"; fi; }

# Standard output of the last run is one JSON text.
json_out() {
    [ -x "$tmp/json_check" ] || ${CC:-cc} -o "$tmp/json_check" tests/cases/json_check.c || skip 'no C compiler'
    "$tmp/json_check" < "$tmp/out" || fail 'standard output is no JSON'
}

# Value of a number or word in the JSON of the last run: json_get NAME (the first of that name).
json_get() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$tmp/out" | head -n 1; }

# A model of random weights with 512 ids and a vocabulary, R1's conversation format: tiny_model PATH
tiny_model() {
    "$SPUTNIK" synth tests/golden/models/llama-plain/config.json "$1" --type f32 --vocab-size 512 \
        --vocabulary tests/golden/tokenizers/tiny --seed 7 > "$tmp/out" 2> "$tmp/err" && return
    if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
    cat "$tmp/err"
    exit 1
}

# Fields of a golden's JSON as "1,2,3": golden_ids FILE tokens|greedy
golden_ids() { tr -d ' \n' < "$1" | sed "s/.*\"$2\":\[\([0-9,]*\)\].*/\1/"; }

# Exercises to train on: $tmp/tok and $tmp/train.shard of so many lines: small_shard LINES
small_shard() {
    run "$SPUTNIK" data generate "$tmp/text.jsonl" --count "$1" --seed 3
    if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
    expect_rc 0
    run "$SPUTNIK" data tokenizer "$tmp/tok" "$tmp/text.jsonl" --vocab-size 300 --pre deepseek-llm
    if grep -qiE 'jansson|pcre2' "$tmp/err"; then skip 'built without jansson or PCRE2'; fi
    expect_rc 0
    run "$SPUTNIK" data pack "$tmp/train.shard" "$tmp/text.jsonl" --tokenizer "$tmp/tok" --chat-format r1
    expect_rc 0
}

skip() { printf 'skipped: %s\n' "$1"; exit 77; }
finish() { [ "$failures" -eq 0 ] || { printf '%s failures\n' "$failures"; exit 1; }; exit 0; }
