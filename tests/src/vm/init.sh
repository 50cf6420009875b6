#!/bin/busybox sh
# Process 1 in the initramfs. Copies everything to a tmpfs, because runc cannot pivot_root away from an initramfs.
/bin/busybox mkdir -p /dev /proc /sys /new
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in $(/bin/busybox cat /modules.load); do
    /bin/busybox insmod "/modules/$module.ko" || echo "cannot load $module"
done
/bin/busybox mount -t tmpfs -o size=80% root /new
/bin/busybox cp -a /tree/. /new/
/bin/busybox umount /sys /proc
exec /bin/busybox switch_root /new /start
