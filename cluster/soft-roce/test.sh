#!/usr/bin/env bash
# Runs the RDMA test in a virtual machine with Soft-RoCE. Usage: test.sh DIRECTORY APUS
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$1
"$here/build.sh" "$work" "$2"
log=$work/log
# TCG: nested KVM is not everywhere. Two processors: with one, two pollers starve each other.
timeout "${LIMIT:-540}" qemu-system-x86_64 -M q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1536 \
    -kernel "$work/vmlinuz" -initrd "$work/initrd.zst" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable" \
    -display none -serial stdio -monitor none -no-reboot -device virtio-rng-pci \
    -netdev user,id=net0,restrict=on -device virtio-net-pci,netdev=net0 </dev/null | tee "$log"
grep -q '^JOB EXIT 0' "$log" || { echo "the RDMA test failed: see $log"; exit 1; }
