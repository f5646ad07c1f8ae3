#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes nano.gguf, the model that comes with Sputnik, from nothing: exercises from seeds, a vocabulary, token shards, training,
# conversion, and its accuracy on exercises that training never saw. A call that was stopped goes on where it was.
#   usage: models/nano/make.sh [FOLDER]     (build/nano)     SPUTNIK: the program (build/default/sputnik)
set -eu
cd "$(dirname "$0")/../.."
sputnik=${SPUTNIK:-build/default/sputnik}
out=${1:-build/nano}
mkdir -p "$out"

if [ ! -e "$out/train.shard" ]; then
    "$sputnik" data generate "$out/train.jsonl" --count 260000 --seed 1
    "$sputnik" data generate "$out/validation.jsonl" --count 3000 --seed 2 --split test
    "$sputnik" data tokenizer "$out/tokenizer" "$out/train.jsonl" --vocab-size 512 --pre deepseek-llm
    "$sputnik" data pack "$out/validation.shard" "$out/validation.jsonl" --tokenizer "$out/tokenizer" --chat-format r1
    "$sputnik" data pack "$out/train.shard" "$out/train.jsonl" --tokenizer "$out/tokenizer" --chat-format r1 --shuffle
fi
cp models/nano/train.json "$out/train.json"
"$sputnik" train "$out/train.json" --resume
"$sputnik" convert "$out/run/step-00006000" "$out/nano.gguf" --type q8_0 --name sputnik-nano --temp 0
SPUTNIK=$sputnik sh models/nano/grade.sh "$out/nano.gguf" "$out"
