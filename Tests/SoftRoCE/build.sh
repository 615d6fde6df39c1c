#!/usr/bin/env bash
# Builds the virtual machine of the RDMA tests: Debian's kernel, an initrd with the programs below
# and what they link to. Usage: build.sh DIRECTORY APUS. Writes DIRECTORY/vmlinuz and initrd.zst.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
apus=$(readlink -f "$2")
root=$work/root
kernel=$work/kernel

# The full image: the cloud one has no rdma_rxe.
if [ ! -e "$kernel/boot" ]; then
    image=$(apt-cache depends linux-image-amd64 | awk '/Depends/ {print $2; exit}')
    (cd "$work" && apt-get download "$image" >/dev/null && dpkg -x "$image"_*.deb kernel)
    rm -f "$work"/linux-image-*.deb
fi
version=$(ls "$kernel/lib/modules")
cp "$kernel/boot/vmlinuz-$version" "$work/vmlinuz"

rm -rf "$root"
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,proc,sys,dev,tmp,etc,lib64,run,root} \
    "$root/lib/modules/$version" "$root/usr/lib/x86_64-linux-gnu"

# Modules and what they need.
depmod -b "$kernel" "$version"
modules="virtio_pci virtio_net virtio_rng crc32_generic crc32c_generic crc32-pclmul crc32c-intel
    ib_uverbs rdma_ucm rdma_rxe"
for module in $modules; do
    modprobe -d "$kernel" -S "$version" --show-depends "$module" 2>/dev/null |
        sed -n 's/^insmod \(.*\.ko[.a-z0-9]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    target=$root/${file#"$kernel"/}
    mkdir -p "$(dirname "$target")"
    cp "$file" "$target"
    strip --strip-debug "$target"
done
cp "$kernel/lib/modules/$version"/modules.{order,builtin} "$root/lib/modules/$version/"
depmod -b "$root" "$version"

# Programs and their libraries.
copy_libraries() {
    ldd "$1" 2>/dev/null | grep -o '/[^ ]*' | while read -r library; do
        [ -e "$root$library" ] && continue
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
}
programs="/bin/bash /usr/bin/ibv_devinfo /usr/bin/ib_write_bw /usr/bin/ib_write_lat
    /usr/bin/ib_read_lat /usr/bin/ucx_perftest /usr/bin/ucx_info /usr/bin/rdma /usr/bin/setpriv /sbin/ip
    /bin/kmod"
for program in $programs; do
    mkdir -p "$root$(dirname "$program")"
    cp -L "$program" "$root$program"
    copy_libraries "$program"
done
# UCX's own example of a listener: the one way to its rdmacm path without a program of ours.
cc -O2 -w -o "$root/usr/bin/ucp_client_server" \
    /usr/share/doc/libucx-dev/examples/ucp_client_server.c -lucp -lucs
strip -o "$root/usr/bin/apus" "$apus"
copy_libraries "$apus"
# What is opened by name, not linked.
mkdir -p "$root/usr/lib/x86_64-linux-gnu"/{ucx,libibverbs} "$root/etc/libibverbs.d"
cp /usr/lib/x86_64-linux-gnu/ucx/*.so* "$root/usr/lib/x86_64-linux-gnu/ucx/"
cp /usr/lib/x86_64-linux-gnu/libibverbs/librxe* "$root/usr/lib/x86_64-linux-gnu/libibverbs/"
cp /etc/libibverbs.d/rxe.driver "$root/etc/libibverbs.d/"
for library in "$root"/usr/lib/x86_64-linux-gnu/{ucx,libibverbs}/*; do
    copy_libraries "$library"
done

cp /bin/busybox "$root/bin/busybox"
for applet in $(/bin/busybox --list); do
    [ -e "$root/bin/$applet" ] || ln -s busybox "$root/bin/$applet"
done
rm -f "$root"/bin/ip
for tool in insmod modprobe lsmod; do ln -sf kmod "$root/bin/$tool"; done
echo 'root:x:0:0:root:/root:/bin/bash' >"$root/etc/passwd"
cp "$here/init.sh" "$root/init"
cp "$here/job.sh" "$here/wire.sh" "$root/"
chmod +x "$root/init"
(cd "$root" && find . | cpio -o -H newc --quiet | zstd -3 -q -f -o "$work/initrd.zst")
echo "built $(du -h "$work/initrd.zst" | cut -f1) initrd for kernel $version"
