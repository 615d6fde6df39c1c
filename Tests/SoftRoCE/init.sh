#!/bin/bash
# The first process of a virtual machine: mounts, modules, one network card with Soft-RoCE on it,
# then the job: job.sh alone, wire.sh where the kernel's command line says apus.machine=1 or 2.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t tmpfs tmp /dev/shm
mount -t tmpfs tmp /tmp
ulimit -l unlimited
for module in virtio_pci virtio_rng virtio_net crc32_generic crc32c_generic ib_uverbs rdma_ucm \
    rdma_rxe; do
    modprobe "$module" || echo "modprobe $module failed"
done
ip link set lo up
machine=$(grep -o 'apus.machine=[12]' /proc/cmdline | cut -d= -f2)
ip addr add "10.0.0.${machine:-1}/24" dev eth0
ip link set eth0 mtu 4500 up || ip link set eth0 up
rdma link add rxe0 type rxe netdev eth0
echo "machine ready after $(cut -d' ' -f1 /proc/uptime) s"
if [ -n "$machine" ]; then bash /wire.sh "$machine" 2>&1; else bash /job.sh 2>&1; fi
echo "JOB EXIT $?"
poweroff -f
