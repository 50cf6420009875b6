#!/bin/busybox sh
# Process 1 in the final root file system: sets up what a distribution would, and runs the test's script.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ TERM=dumb
/bin/busybox mkdir -p /bin /dev /proc /sys /tmp /run /mnt /out /etc /var/tmp
# Busybox's applets do not replace the test's programs.
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
# Links to disks by the names that the test gave them, because the order of detection varies.
for disk in /sys/block/vd*; do
    ln -s "/dev/${disk##*/}" "/dev/disk-$(cat "$disk/serial")"
done
if [ -d /rootfs ]; then
    mkdir -p /rootfs/proc /rootfs/sys /rootfs/dev /rootfs/tmp /rootfs/etc /rootfs/mnt
    chroot /rootfs /bin/busybox --install -s /bin
fi

if [ -x /bin/systemd ]; then
    # systemd runs the script as a service.
    exec /bin/systemd --log-target=console --log-level=warning
fi
exec /bin/sh /run-script
