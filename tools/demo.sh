#!/bin/sh
# The main job, on a machine without any model: make a small model of DeepSeek-V3's architecture with random weights, look at
# it, and let it answer. Random weights write nonsense; the path is the real one.
set -eu
sputnik=${1:-build/default/sputnik}
model=build/demo-v3.gguf
run() {
    echo "\$ $*"
    "$@"
}
[ -f "$model" ] || run "$sputnik" synth tests/golden/models/v3 "$model" --type q8_0 --vocab-size 512 \
    --vocabulary tests/golden/tokenizers/tiny/tokenizer.json
run "$sputnik" bench "$model" -p 64 -n 64
run "$sputnik" run "$model" "What is a sputnik?" --think off -n 32 --seed 1
