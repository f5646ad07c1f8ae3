#!/bin/sh
# SPDX-License-Identifier: MIT
# Accuracy of sputnik-nano: a thousand exercises of each task that training never saw, and of the kinds that its card names.
#   usage: models/nano/grade.sh [MODEL [FOLDER]]     (nano, build/nano)     SPUTNIK: the program (build/default/sputnik)
set -eu
sputnik=${SPUTNIK:-build/default/sputnik}
model=${1:-nano}
out=${2:-build/nano}
mkdir -p "$out"
for task in add sub mul div compare sort count reverse parity countdown word talk sort:5 countdown:3; do
    file=$out/test-$(echo "$task" | tr : -).jsonl
    "$sputnik" data generate "$file" --task "$task" --count 1000 --seed 11 --split test > /dev/null
    "$sputnik" eval "$model" "$file" --kinds --drafts
done
