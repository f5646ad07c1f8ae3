#!/bin/sh
# The main job, on a machine without any model: make a small model of DeepSeek-V3's architecture with random weights,
# look at it, and let it write. Random weights write nonsense; the path is the real one.
set -eu
sputnik=${1:-build/default/sputnik}
model=build/demo-v3.gguf
[ -f "$model" ] || "$sputnik" synth tiny-v3 "$model" --type q8_0
"$sputnik" inspect "$model"
"$sputnik" run "$model" "What is a sputnik?" -n 32 --seed 1
