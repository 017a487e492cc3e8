#!/bin/busybox sh
# shellcheck shell=dash
# The guest's initrd: lays the writable state over the payload over Debian, so that the system is
# exactly "Debian and what the test installed", and keeps what it writes over reboots and power cuts.
# A disk is known by its serial number; the order of their names is nobody's promise.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys

give_up() {
    echo "initrd: $*"
    # A reboot would come back to the same; the test sees this line and its own deadline.
    while true; do sleep 3600; done
}

# Mounts the disk with serial number $1 at /$1, with options $2.
attach() {
    local tries=0 disk
    while [ "$tries" -lt 100 ]; do
        for disk in /sys/block/vd*; do
            if [ "$(cat "$disk/serial" 2>/dev/null)" = "$1" ]; then
                mount -t ext4 -o "$2" "/dev/${disk##*/}" "/$1" || give_up "can't mount $1"
                return
            fi
        done
        tries=$((tries + 1))
        sleep 0.1
    done
    give_up "no disk $1"
}

while read -r module; do
    insmod "/modules/$module" || echo "initrd: no $module"
done </modules/order
attach root ro
attach payload ro
attach state rw
mkdir -p /state/upper /state/work
mount -t overlay -o lowerdir=/payload:/root,upperdir=/state/upper,workdir=/state/work system /system ||
    give_up "no overlay"
for mount in dev proc sys; do
    mount --move "/$mount" "/system/$mount"
done
exec switch_root /system /sbin/init
