# SPDX-License-Identifier: MIT
# `sputnik train`: a small run from text to checkpoint; stopped and resumed it has the bits of one that never stopped, however it
# was stopped; what is malformed gets a clear error.
. tests/cases/lib.sh
small_shard 400

# config NAME STEPS EXTRA: a run folder called NAME
config() {
    cat > "$tmp/$1.json" << END
{"model": {"model_type": "deepseek_v3", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
  "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 4,
  "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1, "n_group": 2,
  "topk_group": 1, "num_nextn_predict_layers": 1, "max_position_embeddings": 256, "initializer_range": 0.02},
 "data": {"tokenizer": "tok", "train": ["train.shard"], "validation": ["train.shard"], "sequence": 128, "cut": "whole",
  "attention": "document"},
 "optimizer": {"kind": "muon"},
 "schedule": {"kind": "cosine", "steps": $2, "warmup": 2, "lr": 0.003, "rows": 4},
 "run": {"out": "$1", "seed": 1, "threads": 2, "validate_every": 4, "validate_rows": 4, "checkpoint_every": 3, "log_every": 1${3-}}}
END
}

# equal_runs A B STEP
equal_runs() {
    for part in model optimizer; do
        cmp -s "$tmp/$1/step-$3/$part.safetensors" "$tmp/$2/step-$3/$part.safetensors" || fail "$1 and $2 differ in $part"
    done
}

config whole 8
run "$SPUTNIK" train "$tmp/whole.json"
expect_rc 0
has_out 'step 8/8  loss '
[ -s "$tmp/whole/report.html" ] || fail 'a report'
[ "$(wc -l < "$tmp/whole/metrics.jsonl")" -eq 8 ] || fail 'a line of metrics per step'
first=$(sed -n '1s/.*"loss": *\([0-9.]*\).*/\1/p' "$tmp/whole/metrics.jsonl")
last_loss=$(sed -n '8s/.*"loss": *\([0-9.]*\).*/\1/p' "$tmp/whole/metrics.jsonl")
awk "BEGIN { exit !($last_loss < $first) }" || fail "the loss falls ($first, $last_loss)"
ls "$tmp/whole" | grep -q step-00000008 || fail 'a checkpoint'
printf 'What is 2+2?' > "$tmp/in"
run "$SPUTNIK" run "$tmp/whole/step-00000008" 'What is 2+2?' -n 4 --temp 0
expect_rc 0

# Again in the same folder only when told how.
run "$SPUTNIK" train "$tmp/whole.json"
expect_rc 1
has_err '--resume goes on from the newest, --restart begins anew'

# Stopped by itself between checkpoints, resumed with another number of threads.
config parts 8
run "$SPUTNIK" train "$tmp/parts.json" --stop-after 5
expect_rc 0
[ -d "$tmp/parts/step-00000005" ] || fail 'a checkpoint where it stopped'
run "$SPUTNIK" train "$tmp/parts.json" --resume -t 1
expect_rc 0
equal_runs whole parts 00000008
[ "$(wc -l < "$tmp/parts/metrics.jsonl")" -eq 8 ] || fail 'metrics of a resumed run'

# Activations that are computed again give the same bits; narrower ones and FP8 products nearly the same loss.
config again 8 ', "recompute": true'
run "$SPUTNIK" train "$tmp/again.json"
expect_rc 0
equal_runs whole again 00000008
for option in '"recompute": true, "bf16_activations": true' '"fp8": true'; do
    config other 8 ", $option"
    run "$SPUTNIK" train "$tmp/other.json" --restart
    expect_rc 0
    loss=$(sed -n '8s/.*"loss": *\([0-9.]*\).*/\1/p' "$tmp/other/metrics.jsonl")
    awk "BEGIN { d = $loss / $last_loss - 1; exit !(d != 0 && d < 0.01 && d > -0.01) }" || fail "$option: loss $loss, $last_loss"
done

# A run that begins with another one's weights.
config child 2 ', "init": "whole/step-00000008"'
run "$SPUTNIK" train "$tmp/child.json"
expect_rc 0
begin=$(sed -n '1s/.*"loss": *\([0-9.]*\).*/\1/p' "$tmp/child/metrics.jsonl")
awk "BEGIN { exit !($begin < $first - 0.2) }" || fail "a run goes on from given weights ($first, $begin)"
for change in 'num_hidden_layers": 2/num_hidden_layers": 1' 'num_attention_heads": 2/num_attention_heads": 1'; do
    config child3 2 ', "init": "whole/step-00000008"'
    sed -i "s/$change/" "$tmp/child3.json"
    run "$SPUTNIK" train "$tmp/child3.json"
    expect_rc 1
    has_err "${change%%\"*} is 2, expected 1"
done
config child2 2 ', "init": "tok"'
run "$SPUTNIK" train "$tmp/child2.json"
expect_rc 1
has_err 'tok'

# Killed: what was not saved is done again. The newest checkpoint is damaged too: the one before serves.
config killed 8
run "$SPUTNIK" train "$tmp/killed.json" --stop-after 7
expect_rc 0
truncate -s 100 "$tmp/killed/step-00000007/model.safetensors"
mkdir "$tmp/killed/.step-00000008.tmp"
run "$SPUTNIK" train "$tmp/killed.json" --resume
expect_rc 0
has_err 'step-00000007'
equal_runs whole killed 00000008
[ -e "$tmp/killed/.step-00000008.tmp" ] && fail 'what a kill left is removed'

# kill -9 at some moment of a long run, several times.
config shot 40 ', "checkpoint_keep": 2'
for pause in 0.3 0.5 0.2; do
    "$SPUTNIK" train "$tmp/shot.json" --resume > /dev/null 2>&1 &
    child=$!
    sleep "$pause"
    kill -9 "$child" 2> /dev/null
    wait "$child" 2> /dev/null
done
run "$SPUTNIK" train "$tmp/shot.json" --resume
expect_rc 0
config steady 40 ', "checkpoint_keep": 2'
run "$SPUTNIK" train "$tmp/steady.json"
expect_rc 0
equal_runs steady shot 00000040

# Ctrl-C saves and stops.
config stopped 100000
"$SPUTNIK" train "$tmp/stopped.json" > "$tmp/log" 2>&1 &
child=$!
for i in 1 2 3 4 5 6 7 8 9 10; do
    grep -q 'step 2/' "$tmp/log" && break
    sleep 0.5
done
kill -INT "$child"
wait "$child"
rc=$?
expect_rc 0
ls "$tmp/stopped" | grep -q '^step-' || fail 'Ctrl-C saves'

# A loss that jumps (here by so little that any noise does) ends the run at its last good checkpoint, by name.
config wild 200 ', "spike_factor": 0.01'
sed -i 's/"checkpoint_every": 3/"checkpoint_every": 50/; s/"validate_every": 4/"validate_every": 0/; s/"validation": .*"sequence"/"sequence"/; s/, "validate_rows": 4//' \
    "$tmp/wild.json"
sed -i 's/"validate_every": 0, //' "$tmp/wild.json"
run "$SPUTNIK" train "$tmp/wild.json"
expect_rc 1
has_err 'the loss jumped to '
path=$(sed -n 's/.*the last good checkpoint is //p' "$tmp/err")
[ -d "$path" ] || fail 'the last good checkpoint'

# Malformed.
printf '{"model": {}, "run": {"oot": 1}}' > "$tmp/bad.json"
run "$SPUTNIK" train "$tmp/bad.json"
expect_rc 1
has_err 'oot'
printf '{"model": ' > "$tmp/bad.json"
run "$SPUTNIK" train "$tmp/bad.json"
expect_rc 1
has_err 'bad.json'
run "$SPUTNIK" train "$tmp/none.json"
expect_rc 1
run "$SPUTNIK" train
expect_rc 2
run "$SPUTNIK" train "$tmp/whole.json" --resume --restart
expect_rc 2
config short 8
head -c 5000 "$tmp/train.shard" > "$tmp/cut.shard"
sed -i 's/"train": \["train.shard"\]/"train": ["cut.shard"]/' "$tmp/short.json"
run "$SPUTNIK" train "$tmp/short.json"
expect_rc 1
has_err 'cut.shard'
run "$SPUTNIK" data tokenizer "$tmp/more" "$tmp/text.jsonl" --vocab-size 400 --pre deepseek-llm
run "$SPUTNIK" data pack "$tmp/more.shard" "$tmp/text.jsonl" --tokenizer "$tmp/more" --chat-format r1
for key in train validation; do
    config alien 8
    sed -i "s/\"$key\": \[\"train.shard\"\]/\"$key\": [\"more.shard\"]/" "$tmp/alien.json"
    run "$SPUTNIK" train "$tmp/alien.json"
    expect_rc 1
    has_err 'more.shard: its vocabulary has 400 ids, the model only 300'
done
run "$SPUTNIK" data tokenizer "$tmp/same" CHANGELOG.md --vocab-size 300 --pre deepseek-llm
config alien 8
sed -i 's/"tokenizer": "tok"/"tokenizer": "same"/' "$tmp/alien.json"
run "$SPUTNIK" train "$tmp/alien.json"
expect_rc 1
has_err "another vocabulary than data.tokenizer's"
config alien 8
sed -i 's/"validation": \["train.shard"\]/"validation": ["more.shard"]/; s/"model_type"/"vocab_size": 400, "model_type"/' "$tmp/alien.json"
run "$SPUTNIK" train "$tmp/alien.json"
expect_rc 1
has_err 'were packed with different vocabularies'
sed -i 's/"lr": 0.003/"lr": 0.004/; s/"seed": 1/"seed": 2/' "$tmp/whole.json"
run "$SPUTNIK" train "$tmp/whole.json" --resume
expect_rc 1
has_err 'belongs to a run with another'
if [ -w /dev/full ] && [ "$(id -u)" -ne 0 ]; then
    chmod a-w "$tmp/parts"
    run "$SPUTNIK" train "$tmp/parts.json" --restart
    expect_rc 1
    chmod u+w "$tmp/parts"
fi
finish
