#!/bin/sh
# What must hold beside `make check` before a change lands: the other compiler, the sanitizers, the build with every part
# off, arm64, the format.
set -eu
cd "$(dirname "$0")/.."
sh tools/install_deps.sh clang clang-format libclang-rt-14-dev llvm

echo "== format"
sh tools/check_format.sh
for preset in clang asan tsan; do
    echo "== $preset"
    make check PRESET=$preset
done
echo "== every optional part off"
make PRESET=minimal
ctest --test-dir build/minimal --output-on-failure -R '^test_|floors|headers'
echo "== arm64 kernels under emulation"
sh tools/check_arm64.sh
