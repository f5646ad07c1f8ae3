#!/bin/sh
# SPDX-License-Identifier: MIT
# Times whole training steps (forward, backward, AdamW) of 8 rows of 256 tokens, float32, two threads, for comparison with
# torch_step.py on the same config.json. Prints the median of the steps' tokens per second, their range, and the peak of memory.
#   usage: bench/train_step.sh CONFIG.json [STEPS [KEY...]]     KEY: members for "run", e.g. '"recompute": true'
#   SPUTNIK: the program (build/default/sputnik)     MICRO_ROWS: rows of a pass (8)
#   OPTIMIZER: members for "optimizer", e.g. '"bf16_moments": true'
set -eu
cd "$(dirname "$0")/.."
sputnik=${SPUTNIK:-build/default/sputnik}
config=$(realpath "$1")
steps=${2:-8}
out=build/bench/train
mkdir -p "$out"
if [ ! -e "$out/text.shard" ]; then
    "$sputnik" data generate "$out/text.jsonl" --count 4000 --seed 1 > /dev/null
    "$sputnik" data tokenizer "$out/tokenizer" "$out/text.jsonl" --vocab-size 512 > /dev/null
    "$sputnik" data pack "$out/text.shard" "$out/text.jsonl" --tokenizer "$out/tokenizer" --chat-format r1 > /dev/null
fi
cat > "$out/run.json" << END
{"model": {"config": "$config"}, "data": {"train": ["text.shard"], "sequence": 256},
 "schedule": {"kind": "constant", "steps": 1000000, "warmup": 0, "lr": 1e-4, "rows": 8},
 "optimizer": {${OPTIMIZER:-}},
 "run": {"out": "run", "stop_at": $((steps + 1)), "micro_rows": ${MICRO_ROWS:-8}, "threads": 2, "checkpoint_every": 0${3:+, $3}}}
END
"$sputnik" train "$out/run.json" --restart > /dev/null 2>&1 &
child=$!
peak=0
while kill -0 "$child" 2> /dev/null; do
    now=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$child/status" 2> /dev/null || true)
    [ -z "$now" ] || peak=$now
    sleep 0.2
done
wait "$child"
sed -n '2,$s/.*"tokens_per_s": *\([0-9.]*\).*"peak_share": *\([0-9.]*\).*/\1 \2/p' "$out/run/metrics.jsonl" | sort -n |
    awk -v peak="$peak" '{ rate[NR] = $1; share[NR] = $2 }
        END { m = int((NR + 1) / 2); printf "%d steps: %.0f tokens/s (%.0f to %.0f), %.0f %% of the peak, %.0f MB\n", NR, rate[m], rate[1], rate[NR], 100 * share[m], peak / 1024 }'
