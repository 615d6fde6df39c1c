#!/usr/bin/env bash
# Runs the RDMA test in virtual machines with Soft-RoCE: first one, then two joined by a wire.
# Usage: test.sh DIRECTORY APUS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
"$here/build.sh" "$work" "$2"

# machine LOG MEGABYTES COMMAND-LINE NETWORK [MAC]: boots, and prints what its console says.
machine() {
    # TCG: nested KVM is not everywhere. Two processors: with one, two pollers starve each other.
    timeout "${LIMIT:-540}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 \
        -m "$2" -kernel "$work/vmlinuz" -initrd "$work/initrd.zst" \
        -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable $3" \
        -display none -serial stdio -monitor none -no-reboot -device virtio-rng-pci \
        -netdev "$4,id=net0" -device "virtio-net-pci,netdev=net0,mac=52:54:00:00:00:0${5:-1}" \
        </dev/null | tee "$1"
}

check() {
    grep -q '^JOB EXIT 0' "$1" || { echo "the RDMA test failed: see $1"; exit 1; }
}

machine "$work/log" 1536 "" user,restrict=on
check "$work/log"

wire=$work/wire
rm -f "$wire"
machine "$work/log1" 1024 apus.machine=1 "stream,server=on,addr.type=unix,addr.path=$wire" &
first=$!
trap 'kill $first 2>/dev/null || true' EXIT
for _ in $(seq 50); do [ -S "$wire" ] && break || sleep 0.1; done
machine "$work/log2" 1024 apus.machine=2 "stream,server=off,addr.type=unix,addr.path=$wire" 2
wait "$first" || true
trap - EXIT
check "$work/log1"
check "$work/log2"
