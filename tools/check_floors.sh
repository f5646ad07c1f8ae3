#!/bin/sh
# Checks src/FLOORS: a file may include its own folder or a folder on a lower floor.
# Prints every violation and fails if there is one.
cd "$(dirname "$0")/.." || exit 1
awk '
    FILENAME == "src/FLOORS" { if ($1 ~ /^[0-9]+$/) for (i = 2; i <= NF; i++) floor[$i] = $1; next }
    /^#include "/ {
        split(FILENAME, path, "/"); from = path[2]
        split($2, target, "\""); split(target[2], parts, "/"); to = parts[1]
        if (!(to in floor)) { print FILENAME ":" FNR ": \"" target[2] "\" is in no folder of src/FLOORS"; bad = 1 }
        else if (!(from in floor)) { print FILENAME ": folder " from " is not in src/FLOORS"; bad = 1 }
        else if (from != to && floor[to] + 0 >= floor[from] + 0) {
            print FILENAME ":" FNR ": " from " (floor " floor[from] ") may not include " to " (floor " floor[to] ")"; bad = 1
        }
    }
    END { exit bad }
' src/FLOORS src/*/*.c src/*/*.h
