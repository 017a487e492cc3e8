# shellcheck shell=bash disable=SC2034
# Debian alone: kernel, firmware and all from its archive. Cameras: USB, and the modules OV5647 and IMX219 by
# the firmware's own driver.
DESCRIPTION='A camera that uploads still pictures and heals itself (Debian, 64-bit)'
# A Zero 2 W is a 3 to the Imager.
DEVICES=(pi3-64bit pi4-64bit)
# The firmware of the Pi 3 and Zero 2 W, and with a 4 that of the 4; x is with cameras.
FIRMWARE=(bootcode.bin start_x.elf fixup_x.dat start4x.elf fixup4x.dat)
DEVICE_TREES=('bcm2711*.dtb' 'bcm2837*.dtb')
OVERLAYS=no

# Nothing besides Debian.
more_sources() { :; }
