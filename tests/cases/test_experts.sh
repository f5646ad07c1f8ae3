# SPDX-License-Identifier: MIT
# --ram: the same output with experts on disk; the plan; the hot set beside the model; adjacent experts; traces and replay.
. tests/cases/lib.sh
cp tests/golden/quantised/v3-q8_0.gguf "$tmp/m.gguf"
ids=5,17,99,3,250,77,12,8,41
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids
if [ "$rc" -ne 0 ]; then grep -qiE 'jansson|pcre2' "$tmp/err" && skip 'built without jansson or PCRE2'; fi
expect_rc 0
cp "$tmp/out" "$tmp/whole"

# Too little is said with what is needed; with that, everything works.
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram 1M
expect_rc 1
has_err 'memory: 1 MiB is too little: shared weights'
least=$(sed -n 's/.*at least \([0-9]*\) MiB.*/\1/p' "$tmp/err")
for reader in auto pread; do
    for more in '' '--batch 1' '-t 3 --batch 4'; do
        rm -f "$tmp/m.gguf.hot"
        # shellcheck disable=SC2086
        run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram "${least}M" --reader $reader $more
        expect_rc 0
        cmp -s "$tmp/out" "$tmp/whole" || fail 'experts on disk change the logits'
        [ -s "$tmp/m.gguf.hot" ] || fail 'no hot set was written'
    done
done
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram "${least}M"
cmp -s "$tmp/out" "$tmp/whole" || fail 'the hot set changes the logits'
rm "$tmp/m.gguf.hot"
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram "${least}M" --no-hot-set
[ ! -e "$tmp/m.gguf.hot" ] || fail 'a hot set was written all the same'

# Where it cannot be written, or is not ours, nothing fails.
mkdir "$tmp/m.gguf.hot"
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram 1G
expect_rc 0
expect_file "$tmp/err" '' 'standard error'
rmdir "$tmp/m.gguf.hot"
echo nonsense > "$tmp/m.gguf.hot"
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram 1G
expect_rc 0
cmp -s "$tmp/out" "$tmp/whole" || fail 'a strange hot set changes the logits'

# The plan.
run "$SPUTNIK" inspect "$tmp/m.gguf" --plan 1G
expect_rc 0
has_out 'experts on disk'
has_out 'tokens per second'
run "$SPUTNIK" inspect "$tmp/m.gguf" --plan 1.5GiB --json
expect_rc 0
json_out
[ "$(json_get ram_bytes)" = 1610612736 ] || fail 'another size'
run "$SPUTNIK" inspect "$tmp/m.gguf" --plan 16X
expect_rc 2
has_err 'expected a size such as 16G'
run "$SPUTNIK" inspect tests/golden/quantised/llama-q4_k_m.gguf --plan 1G
expect_rc 1
has_err 'no routed experts'

# Adjacent experts and back: the same logits, the same bytes of tensors.
run "$SPUTNIK" convert "$tmp/m.gguf" "$tmp/adjacent.gguf" --experts-adjacent
expect_rc 0
run "$SPUTNIK" inspect "$tmp/adjacent.gguf"
has_out blk.1.ffn_gate.0.weight
run "$SPUTNIK" logits "$tmp/adjacent.gguf" --tokens $ids
cmp -s "$tmp/out" "$tmp/whole" || fail 'another layout changes the logits'
run "$SPUTNIK" logits "$tmp/adjacent.gguf" --tokens $ids --ram "${least}M" --no-hot-set
cmp -s "$tmp/out" "$tmp/whole" || fail 'another layout on disk changes the logits'
run "$SPUTNIK" convert "$tmp/adjacent.gguf" "$tmp/back.gguf" --type keep
expect_rc 0
run "$SPUTNIK" inspect "$tmp/back.gguf"
has_out blk.1.ffn_gate_exps.weight
run "$SPUTNIK" logits "$tmp/back.gguf" --tokens $ids
cmp -s "$tmp/out" "$tmp/whole" || fail 'stacking again changes the logits'
run "$SPUTNIK" convert tests/golden/models/v3 "$tmp/x.gguf" --experts-adjacent
if ! grep -q jansson "$tmp/err"; then # without it no such directory is read at all
    expect_rc 2
    has_err 'GGUF'
fi
[ ! -e "$tmp/x.gguf" ] || fail 'a refused conversion left a file'

# A trace, and what caches make of it. One line per layer and token when tokens come one by one.
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram 1G --no-hot-set --batch 1 --expert-trace "$tmp/trace"
expect_rc 0
head -n 1 "$tmp/trace" | grep -q '^sputnik-experts 1 ' || fail 'no trace'
run "$SPUTNIK" bench --replay "$tmp/trace" --json
expect_rc 0
json_out
run "$SPUTNIK" bench --replay "$tmp/trace"
has_out optimum
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --expert-trace "$tmp/trace"
expect_rc 1
has_err 'goes with --ram only'
# One that cannot be written is told before anything is computed; one that no longer can, by the exit status.
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens $ids --ram 1G --expert-trace "$tmp/none/trace"
expect_rc 1
expect_err "sputnik: cannot create \"$tmp/none/trace\": No such file or directory"
expect_out ''
mkdir "$tmp/gone"
mkfifo "$tmp/ids"
# the pipe is opened by the other side once the model is loaded
timeout 20 sh -c 'exec > "$1" && rmdir "$2" && echo "$3"' sh "$tmp/ids" "$tmp/gone" $ids &
run "$SPUTNIK" logits "$tmp/m.gguf" --tokens-file "$tmp/ids" --ram 1G --no-hot-set --expert-trace "$tmp/gone/trace"
expect_rc 1
expect_err "sputnik: cannot create \"$tmp/gone/trace\": No such file or directory"
echo nonsense > "$tmp/trace"
run "$SPUTNIK" bench --replay "$tmp/trace"
expect_rc 1
has_err 'trace: line 1'

# A measurement says where the experts came from.
run "$SPUTNIK" bench "$tmp/m.gguf" -p 8 -n 4 -r 1 --ram "$((least + 1))M" --no-hot-set --json
expect_rc 0
json_out
has_out '"experts":{"n_slots":'
finish
