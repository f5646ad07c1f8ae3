#!/bin/sh
# The main job on a machine without any other model: questions to the model that comes with the program, its thoughts shown, and its speed.
set -eu
sputnik=${1:-build/default/sputnik}
run() {
    echo "\$ $*"
    "$@"
}
run "$sputnik" run nano "Who are you?"
run "$sputnik" run nano "What is 47 * 36?" --show-thinking
run "$sputnik" run nano "Use 3, 7 and 25 to make 46." --show-thinking
run "$sputnik" bench nano -p 64 -n 64
