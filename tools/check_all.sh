#!/bin/sh
# Everything that must hold before a change lands: both compilers, the sanitizers, the build with every part off, the
# format. `make check` is the part of it that everyone runs.
set -eu
cd "$(dirname "$0")/.."
sh tools/install_deps.sh clang clang-format libclang-rt-14-dev llvm

echo "== format"
sh tools/check_format.sh
for preset in default clang asan tsan; do
    echo "== $preset"
    make check PRESET=$preset
done
echo "== every optional part off"
make PRESET=minimal
ctest --test-dir build/minimal --output-on-failure -R 'floors|headers|test_kernels|test_dtype|test_gguf|case_test_minimal'
echo "== arm64 kernels under emulation"
sh tools/check_arm64.sh
