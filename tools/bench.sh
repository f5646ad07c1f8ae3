#!/bin/sh
# Speed of the shapes that docs/verification.md quotes, on synthetic weights: prints JSON rows with commit and processor.
set -eu
cd "$(dirname "$0")/.."
make -s all
sputnik=build/default/sputnik
mkdir -p build/bench
for type in q4_k_m q8_0; do
    model=build/bench/r1-distill-qwen-1.5b-$type.gguf
    [ -f "$model" ] || "$sputnik" synth deepseek-r1-distill-qwen-1.5b "$model" --type "$type"
    echo "# $(git rev-parse --short HEAD) $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2-) $type"
    "$sputnik" bench "$model" -p 128 -n 64 -r 3 --json
done
