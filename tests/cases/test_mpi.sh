# SPDX-License-Identifier: MIT
# `sputnik train` as several processes of this machine: the same loss curve as one process, the same bits for the same number,
# experts that live apart, resuming with another number, and what a lost process leaves behind.
. tests/cases/lib.sh
command -v mpirun > /dev/null || skip 'mpirun is missing'
root=
[ "$(id -u)" -eq 0 ] && root=--allow-run-as-root
export OMPI_MCA_btl=^tcp OMPI_MCA_pml=ob1 OMPI_MCA_btl_vader_single_copy_mechanism=none OMPI_MCA_rmaps_base_oversubscribe=1
export OMP_NUM_THREADS=1 ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0" # the launcher and MPI leak at their end
ranks() { # ranks N CMD...
    n=$1
    shift
    mpirun $root --oversubscribe -n "$n" "$@"
}

run ranks 2 true
[ "$rc" -eq 0 ] || skip 'mpirun does not start processes here'
run ranks 2 "$SPUTNIK" train "$tmp/absent.json"
if grep -q 'this build has no MPI' "$tmp/err"; then skip 'built without MPI'; fi
expect_rc 1
has_err 'rank 0: sputnik: '
[ "$(grep -c 'rank .: sputnik' "$tmp/err")" -eq 1 ] || fail 'an error of all processes is said once'

run env PMI_SIZE=3 "$SPUTNIK" train "$tmp/absent.json"
expect_rc 1
has_err 'started as one of 3 processes, but MPI sees only this one'

if [ -x "$SP_BUILD_DIR/test_comm" ]; then
    for n in 2 4; do
        run ranks $n "$SP_BUILD_DIR/test_comm"
        expect_rc 0
    done
fi

small_shard 200

# config NAME STEPS EXTRA: eight rows a step, so that four processes have two each; five of validation, so that they have not
config() {
    cat > "$tmp/$1.json" << END
{"model": {"model_type": "deepseek_v3", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
  "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "n_routed_experts": 8,
  "n_shared_experts": 1, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "first_k_dense_replace": 1, "n_group": 4,
  "topk_group": 2, "num_nextn_predict_layers": 1, "initializer_range": 0.02},
 "data": {"tokenizer": "tok", "train": ["train.shard"], "validation": ["train.shard"], "sequence": 64, "cut": "whole",
  "attention": "document"},
 "optimizer": {"kind": "muon"},
 "schedule": {"kind": "constant", "steps": $2, "warmup": 2, "lr": 0.003, "rows": 8},
 "run": {"out": "$1", "seed": 1, "threads": 1, "micro_rows": 2, "validate_every": 3, "validate_rows": 5, "checkpoint_every": 3,
  "checkpoint_keep": 0, "log_every": 1${3-}}}
END
}

# Column KEY of a run's metrics from step FROM on: column NAME KEY FROM
column() { tail -n "+$3" "$tmp/$1/metrics.jsonl" | sed "s/.*\"$2\": *\([-0-9.e]*\).*/\1/"; }

# Float32 sums in another order: 2e-5 relative after six steps.
same_curve() { # same_curve A B FROM
    for key in loss grad_norm mtp_loss; do
        column "$1" $key "$3" > "$tmp/a"
        column "$2" $key "$3" > "$tmp/b"
        [ "$(wc -l < "$tmp/a")" -eq $((7 - $3)) ] || fail "$1: a line of metrics per step"
        paste "$tmp/a" "$tmp/b" | awk '{ d = $1 - $2; if (d < 0) d = -d; if (!($1 > 0) || d > 2e-5 * $1) bad = 1 } END { exit bad || NR == 0 }' ||
            fail "$key of $1 and $2: $(paste -s -d ' ' "$tmp/a") / $(paste -s -d ' ' "$tmp/b")"
    done
}

same_bits() { # same_bits A B
    for part in model optimizer; do
        cmp -s "$tmp/$1/step-00000006/$part.safetensors" "$tmp/$2/step-00000006/$part.safetensors" || fail "$part of $1 and $2 differ"
    done
}

# begin NAME FROM: a run that has come as far as FROM's third step
begin() {
    mkdir "$tmp/$1"
    cp -r "$tmp/$2/step-00000003" "$tmp/$1/"
    head -n 3 "$tmp/$2/metrics.jsonl" > "$tmp/$1/metrics.jsonl"
}

config one 6
run "$SPUTNIK" train "$tmp/one.json"
expect_rc 0
config two 6
run ranks 2 "$SPUTNIK" train "$tmp/two.json"
expect_rc 0
same_curve one two 1
[ "$(grep -c 'step 6/6' "$tmp/out")" -eq 1 ] || fail 'one process alone prints'

# The same number of processes: the same bits, resumed or not.
config again 6
begin again two
run ranks 2 "$SPUTNIK" train "$tmp/again.json" --resume
expect_rc 0
same_bits two again

# Two processes' checkpoint, continued by one, and by four with two replicas of experts on two processes, layers computed again.
config alone 6
begin alone two
run "$SPUTNIK" train "$tmp/alone.json" --resume
expect_rc 0
same_curve one alone 4
config apart 6 ', "expert_ranks": 2, "expert_nodes": 2, "recompute": true'
begin apart two
run ranks 4 "$SPUTNIK" train "$tmp/apart.json" --resume
expect_rc 0
same_curve one apart 4
grep -q '[1-9][0-9.]* % to other processes.* at most on [12]$' "$tmp/err" || fail 'where expert rows went'
# and back
rm -r "$tmp/alone"
begin alone two
cp -r "$tmp/apart/step-00000006" "$tmp/alone/"
config alone 7
run "$SPUTNIK" train "$tmp/alone.json" --resume
expect_rc 0
has_out 'step 7/7'

config odd 6 ', "expert_ranks": 4'
run ranks 2 "$SPUTNIK" train "$tmp/odd.json"
expect_rc 1
has_err 'run.expert_ranks: 4 does not divide the number of processes, 2'

# In the background, each process's id in pid.RANK: start NAME OPTIONS
start() {
    name=$1
    shift
    rm -f "$tmp"/pid.*
    ranks 2 sh -c 'echo $$ > "$0/pid.$OMPI_COMM_WORLD_RANK"; echo $PPID > "$0/pid.launcher"; exec "$@"' "$tmp" \
        "$SPUTNIK" train "$tmp/$name.json" "$@" > "$tmp/job.out" 2> "$tmp/job.err" &
    job=$!
}
until_there() { # until_there PATH: a file or folder, while the job lives
    for _ in $(seq 600); do
        [ -e "$1" ] && return
        kill -0 $job 2> /dev/null || return
        sleep 0.1
    done
}
job_ends() {
    wait $job
    rc=$?
    cp "$tmp/job.out" "$tmp/out"
    cp "$tmp/job.err" "$tmp/err"
}

# A process is killed: the launcher names it and the run goes on from its checkpoint, among more processes.
config shot 100000
start shot
until_there "$tmp/shot/step-00000003"
kill -9 "$(cat "$tmp/pid.1")"
job_ends
last='mpirun, rank 1 killed'
[ "$rc" -ne 0 ] || fail 'a lost process ends the job'
has_err 'rank 1'
run ranks 4 "$SPUTNIK" train "$tmp/shot.json" --resume --stop-after 1
expect_rc 0
has_err 'step-0000'

# A checkpoint cannot be written: nobody waits for it.
config unwritten 100000
cp -r "$tmp/tok" "$tmp/lost"
sed 's/"tok"/"lost"/' "$tmp/unwritten.json" > "$tmp/in" && mv "$tmp/in" "$tmp/unwritten.json"
start unwritten
until_there "$tmp/unwritten/step-00000003"
rm -r "$tmp/lost"
job_ends
last='mpirun, a checkpoint that cannot be written'
[ "$rc" -ne 0 ] || fail 'a checkpoint that cannot be written ends the job'
has_err 'rank 0: sputnik: checkpoint of step '

# A batch system's signal, passed on by the launcher: save and stop.
rm -r "$tmp/shot"
start shot
until_there "$tmp/shot/step-00000003"
kill -USR1 "$(cat "$tmp/pid.launcher")"
job_ends
last='mpirun, SIGUSR1'
expect_rc 0
step=$(tail -n 1 "$tmp/shot/metrics.jsonl" | sed 's/.*"step": *\([0-9]*\).*/\1/')
[ -d "$tmp/shot/$(printf 'step-%08d' "$step")" ] || fail "a checkpoint of the last step, $step"
finish
