# U-Boot's script of the bare Debian that scripts/bench image compares with: the plainest way.
setenv bootargs "root=/dev/vda1 ro console=ttyAMA0 net.ifnames=0 loglevel=5"
load ${devtype} ${devnum}:${distro_bootpart} ${kernel_addr_r} /boot/vmlinuz
load ${devtype} ${devnum}:${distro_bootpart} ${ramdisk_addr_r} /boot/initrd.img
booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
