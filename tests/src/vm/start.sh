#!/bin/busybox sh
# Process 1 in the final root: what a distribution would set up, then the test's script, then the way back.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=dumb
/bin/busybox mkdir -p /bin /dev /proc /sys /tmp /run /mnt /out /etc /var/tmp
# What the test brings is not replaced.
/bin/busybox mkdir /applets
/bin/busybox --install -s /applets
/bin/busybox mv -n /applets/* /bin/
mount -t devtmpfs dev /dev 2>/dev/null
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/shm /dev/pts
mount -t devpts pts /dev/pts
mount -t tracefs trace /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
for controller in memory io cpu pids; do
    echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control || echo "no controller $controller"
done
hostname guest
ip link set lo up
# Disks by what the test calls them, whatever order they were found in.
for disk in /sys/block/vd*; do
    ln -s "/dev/${disk##*/}" "/dev/disk-$(cat "$disk/serial")"
done
if [ -d /rootfs ]; then
    mkdir -p /rootfs/proc /rootfs/sys /rootfs/dev /rootfs/tmp /rootfs/etc /rootfs/mnt
    chroot /rootfs /bin/busybox --install -s /bin
fi

if [ -x /bin/systemd ]; then
    # It has the console to itself; the script is one of its services.
    exec /bin/systemd --log-target=console --log-level=warning
fi
exec /bin/sh /run-script
