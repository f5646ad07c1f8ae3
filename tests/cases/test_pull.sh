# SPDX-License-Identifier: MIT
# `sputnik pull` against a local server that drops connections, lies about sizes, damages bytes and ignores ranges.
. tests/cases/lib.sh
HF_ENDPOINT=http://127.0.0.1:9 run "$SPUTNIK" pull --retries 0 org/none
if grep -q 'without libcurl' "$tmp/err"; then skip 'built without libcurl'; fi

root=$tmp/root
mkdir -p "$root/files/sub"
if ! ${CC:-cc} -O1 -D_GNU_SOURCE -o "$tmp/server" tests/cases/http_server.c; then skip 'no C compiler for the test server'; fi

# A model: any bytes do. 150,000 of them take several dropped connections.
awk 'BEGIN { for (i = 0; i < 15000; i++) printf "%09d\n", i * 7919 % 1000000007 }' > "$root/files/Tiny-Q4_K_M.gguf"
printf 'eight bits' > "$root/files/Tiny-Q8_0.gguf"
printf 'first' > "$root/files/sub/Tiny-Q2_K-00001-of-00002.gguf"
printf 'second' > "$root/files/sub/Tiny-Q2_K-00002-of-00002.gguf"
printf '# Tiny' > "$root/files/README.md"
big=$root/files/Tiny-Q4_K_M.gguf

entry() { # PATH: one entry of the hub's list
    printf '{"type":"file","path":"%s","size":%s,"lfs":{"oid":"%s","size":%s}}' "$1" "$(wc -c < "$root/files/$1" | tr -d ' ')" \
        "$(sha256sum "$root/files/$1" | cut -d ' ' -f 1)" "$(wc -c < "$root/files/$1" | tr -d ' ')"
}
command -v sha256sum > /dev/null || skip 'no sha256sum'
{
    printf '[{"type":"directory","path":"sub","size":0},{"type":"file","path":".gitattributes","size":5},'
    printf '{"type":"file","path":"README.md","size":6},'
    entry Tiny-Q4_K_M.gguf; printf ','
    entry Tiny-Q8_0.gguf; printf ','
    entry sub/Tiny-Q2_K-00001-of-00002.gguf; printf ','
    entry sub/Tiny-Q2_K-00002-of-00002.gguf; printf ']'
} > "$root/tree.json"
{ printf '['; entry Tiny-Q8_0.gguf; printf ']'; } > "$root/page1.json"
{ printf '['; entry Tiny-Q4_K_M.gguf; printf ']'; } > "$root/page2.json"
printf '[{"type":"file","path":"../../evil.gguf","size":4}]' > "$root/evil.json"
{ printf '['; entry sub/Tiny-Q2_K-00001-of-00002.gguf; printf ']'; } > "$root/noshard.json"
cp tests/golden/models/llama-plain/* "$root/files"
(
    printf '[{"type":"file","path":"README.md","size":6},{"type":"file","path":"config.json","size":%s}' \
        "$(wc -c < "$root/files/config.json" | tr -d ' ')"
    cd "$root/files" && for file in model*; do printf ','; root=$root entry "$file"; done
    printf ']'
) > "$root/hf.json"

"$tmp/server" "$root" &
server=$!
cleanup='kill $server 2> /dev/null'
for _ in 1 2 3 4 5 6 7 8 9 10; do [ -f "$root/port" ] || sleep 0.2; done
port=$(cat "$root/port") || exit 1

mode() { HF_ENDPOINT=http://127.0.0.1:$port/$1; export HF_ENDPOINT; : > "$root/log"; }
pull() { run "$SPUTNIK" pull --retry-delay 0.01 --retries 3 "$@"; }
fresh() { rm -rf "$SPUTNIK_CACHE"; }
dir=$SPUTNIK_CACHE/models/org--tiny
got=$dir/Tiny-Q4_K_M.gguf

echo 'plain: the default quantisation, verified, its path printed'
mode ok
pull org/tiny
expect_rc 0
expect_out "$got"
expect_err ''
cmp "$big" "$got" || fail 'content'
[ ! -e "$got.part" ] || fail 'a .part file is left'

echo 'again: nothing is fetched'
mode ok
pull org/tiny
expect_rc 0
expect_out "$got"
grep -q resolve "$root/log" && fail 'files were fetched again'

echo 'a model argument finds it; another quantisation is not there'
run "$SPUTNIK" inspect org/tiny
expect_rc 1
has_err 'gguf'
run "$SPUTNIK" inspect org/tiny:q8_0
expect_rc 1
expect_err 'sputnik: model "org/tiny:q8_0": org/tiny:q8_0 is not in the cache
hint: sputnik pull org/tiny:q8_0'

echo 'another quantisation by its name in lower case; all shards of a split one'
pull org/tiny:q8_0
expect_out "$dir/Tiny-Q8_0.gguf"
pull org/tiny:Q2_K
expect_out "$dir/sub/Tiny-Q2_K-00001-of-00002.gguf"
[ "$(cat "$dir/sub/Tiny-Q2_K-00002-of-00002.gguf")" = second ] || fail 'second shard'
pull org/tiny:q3_k_m
expect_rc 1
has_err 'quantisation q3_k_m: no such file; there are'

echo 'dropped connections: one attempt goes on where the last one ended'
fresh
mode drop
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'
grep -q ' 40000$' "$root/log" || fail 'no request went on from byte 40000'
grep -q ' 120000$' "$root/log" || fail 'no request went on from byte 120000'

echo 'a server that dies: what arrived is kept and not taken for a model; the next pull goes on'
fresh
mode dead
pull org/tiny
expect_rc 1
has_err 'what has arrived is kept'
[ -s "$got.part" ] || fail 'nothing was kept'
[ ! -e "$got" ] || fail 'half a file has the name of a model'
run "$SPUTNIK" inspect org/tiny
has_err 'is not in the cache'
mode ok
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'
grep -q ' 40000$' "$root/log" || fail 'it did not go on from byte 40000'

echo 'a server that ignores ranges: from the start'
fresh
mode dead
pull org/tiny
mode norange
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'

echo 'the file has changed in between (ETag): from the start'
fresh
mode dead
pull org/tiny
mode newtag
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'

echo 'what was kept is damaged: fetched anew'
fresh
mkdir -p "$dir"
printf 'rubbish' > "$got.part"
mode ok
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'

echo 'a damaged byte'
fresh
mode corrupt
pull org/tiny
expect_rc 1
has_err 'what arrived is damaged'
[ ! -e "$got" ] || fail 'a damaged file has the name of a model'

echo 'too short, too long'
fresh
mode short
pull org/tiny
expect_rc 1
[ ! -e "$got" ] || fail 'a short file has the name of a model'
fresh
mode long
pull org/tiny
expect_rc 1
has_err 'more than the listed 150000 bytes arrived'
[ ! -e "$got" ] || fail 'a long file has the name of a model'

echo 'errors of the hub'
fresh
for code in 401 403 404 500; do
    mode e$code
    pull org/tiny
    expect_rc 1
    has_err "HTTP $code"
done
mode flaky
pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'

echo 'the token goes to the endpoint and to nobody else'
fresh
mode token
HF_TOKEN=hf_secret pull org/tiny
expect_rc 0
HF_TOKEN=wrong pull org/tiny
expect_rc 1
has_err 'the token in HF_TOKEN is not accepted'
lacks_out wrong
fresh
mode redirect
HF_TOKEN=hf_secret pull org/tiny
expect_rc 0
cmp "$big" "$got" || fail 'content'
grep -q '^noauth' "$root/log" || fail 'the redirect was not followed'

echo 'a list of several pages'
fresh
mode page
pull org/tiny
expect_rc 0
expect_out "$got"

echo 'a repository without GGUF files is a Hugging Face directory'
fresh
mode hf
pull org/tiny
expect_rc 0
expect_out "$dir"
[ ! -e "$dir/README.md" ] || fail 'a file that nobody reads was fetched'
run "$SPUTNIK" logits org/tiny --tokens 1,2,3
cp "$tmp/out" "$tmp/logits"
run "$SPUTNIK" logits tests/golden/models/llama-plain --tokens 1,2,3
cmp -s "$tmp/out" "$tmp/logits" || fail 'the pulled model is another one'
rm "$dir/config.json"
run "$SPUTNIK" logits org/tiny --tokens 1
has_err 'is not in the cache'
pull org/tiny:q8_0
expect_rc 1
has_err 'the repository holds no GGUF files'

echo 'a missing shard; a list that is none'
fresh
mode noshard
pull org/tiny:q2_k
expect_rc 1
has_err 'shard 2 of 2'
mode nojson
pull org/tiny
expect_rc 1
has_err 'sputnik: file list: json'

echo 'names that leave the folder'
fresh
mode evil
pull org/tiny
expect_rc 1
has_err 'unsafe file name "../../evil.gguf"'
[ ! -e "$tmp/evil.gguf" ] || fail 'a file outside the folder'

echo 'two pulls at once'
if command -v flock > /dev/null; then
    fresh
    mkdir -p "$dir"
    mode ok
    run flock "$dir/.lock" "$SPUTNIK" pull org/tiny
    expect_rc 1
    expect_err 'sputnik: another sputnik is pulling org/tiny'
fi

echo 'names'
run "$SPUTNIK" pull deepseek-r1-distill-qwen-1.5
expect_rc 1
has_err 'did you mean deepseek-r1-distill-qwen-1.5b?'
run "$SPUTNIK" pull --list
expect_rc 0
has_out 'deepseek-r1-distill-qwen-1.5b'
run "$SPUTNIK" chat deepseek-r1-distill-qwen-1.5b
expect_rc 1
has_err 'hint: sputnik pull deepseek-r1-distill-qwen-1.5b'
finish
