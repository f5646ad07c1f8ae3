#!/bin/sh
# Fails, naming the files, if a source file is not as .clang-format has it.
cd "$(dirname "$0")/.." || exit 1
git ls-files '*.c' '*.h' | grep -v '_tables\.c$' | xargs clang-format --dry-run -Werror
