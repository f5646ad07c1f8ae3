#!/bin/sh
# SPDX-License-Identifier: MIT
# Makes nano.gguf, the model that comes with Sputnik, from nothing: exercises from seeds, a vocabulary, token shards, training,
# conversion, and its accuracy on exercises that training never saw. A call that was stopped goes on where it was.
#   usage: models/nano/make.sh [FOLDER]     (build/nano; relative to the source tree)     SPUTNIK: the program (build/default/sputnik)
set -eu
cd "$(dirname "$0")/../.."
sputnik=${SPUTNIK:-build/default/sputnik}
out=${1:-build/nano}
mkdir -p "$out"

# lessons NAME OPTIONS...: exercises and their shard
lessons() {
    name=$1
    shift
    [ -e "$out/$name.shard" ] && return
    "$sputnik" data generate "$out/$name.jsonl" "$@"
    [ -e "$out/tokenizer/tokenizer.json" ] ||
        "$sputnik" data tokenizer "$out/tokenizer" "$out/$name.jsonl" --vocab-size 512 --pre deepseek-llm
    "$sputnik" data pack "$out/$name.shard" "$out/$name.jsonl" --tokenizer "$out/tokenizer" --chat-format r1 --shuffle
}
lessons train1 --count 260000 --seed 1
lessons train2 --count 60000 --seed 4
lessons hard2 --count 110000 --seed 5 --even --task countdown,sort,reverse,count,div,compare
lessons train3 --count 30000 --seed 6
lessons hard3 --count 50000 --seed 7 --even \
    --task sort:5,sort:5,sort:6,sort:4,div:2x2,div:3x2,div:4x2,countdown:4,count,reverse
lessons validation --count 3000 --seed 2 --split test

cp models/nano/stage?.json "$out"
for stage in 1 2 3; do
    "$sputnik" train "$out/stage$stage.json" --resume
done
"$sputnik" convert "$out/stage3/step-00000900" "$out/nano.gguf" --type q8_0 --name sputnik-nano --temp 0
SPUTNIK=$sputnik sh models/nano/grade.sh "$out/nano.gguf" "$out"
