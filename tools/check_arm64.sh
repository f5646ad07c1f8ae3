#!/bin/sh
# Cross-compiles the library for arm64 and runs the kernel comparison under qemu-user. Skipped, with a line, where the cross
# compiler or the emulator is not installed and cannot be.
cd "$(dirname "$0")/.." || exit 1
sh tools/install_deps.sh gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user || true
if ! command -v aarch64-linux-gnu-gcc > /dev/null || ! command -v qemu-aarch64 > /dev/null; then
    echo "skipped: no arm64 cross compiler or emulator"
    exit 0
fi
set -e
cmake --preset arm64 > /dev/null
cmake --build build/arm64 -j 2
ctest --test-dir build/arm64 --output-on-failure -R 'arm64|test_kernels'
