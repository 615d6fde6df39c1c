#!/usr/bin/env bash
# Builds CKernels for aarch64 and runs neon_check.c under qemu's user emulation.
# `make test-neon` installs what it needs.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sysroot=/usr/aarch64-linux-gnu
for file in "$root"/Sources/CKernels/*/*.c "$root/Tests/Reference/neon_check.c"; do
    clang --target=aarch64-linux-gnu -std=c17 -O3 -Wall -Werror -ffp-contract=off \
        -I "$root/Sources/CKernels" -I "$root/Sources/CKernels/include" \
        -isystem "$sysroot/include" \
        -c "$file" -o "$work/$(basename "$file").o"
done
aarch64-linux-gnu-ld -o "$work/check" "$sysroot"/lib/crt1.o "$sysroot"/lib/crti.o "$work"/*.o \
    -L "$sysroot/lib" -L /usr/lib/gcc-cross/aarch64-linux-gnu/12 -lm -lc -lgcc \
    "$sysroot"/lib/crtn.o -dynamic-linker /lib/ld-linux-aarch64.so.1
# The first has no dot products, the second all there is.
for cpu in cortex-a57 max; do
    echo "cpu $cpu"
    qemu-aarch64 -cpu "$cpu" -L "$sysroot" "$work/check"
done
