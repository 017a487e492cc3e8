# shellcheck shell=bash disable=SC2034
# Debian with Raspberry Pi's own archive on top, as Raspberry Pi OS is made: all camera modules, and the Pi 5.
#
#   RASPIOS_MIRROR    where that archive is, or a copy of it (https://…/debian)
#   RASPIOS_KEYRING   the file with its key, raspberrypi-archive-keyring.gpg
DESCRIPTION='A camera that uploads still pictures and heals itself (Raspberry Pi OS, 64-bit)'
# A Zero 2 W is a 3 to the Imager.
DEVICES=(pi3-64bit pi4-64bit pi5-64bit)
# Of the Pi 3 and Zero 2 W, and with a 4 that of the 4; the 5 has its own in its flash.
FIRMWARE=(bootcode.bin start.elf fixup.dat start4.elf fixup4.dat)
DEVICE_TREES=('bcm2710*.dtb' 'bcm2711*.dtb' 'bcm2712*.dtb')
OVERLAYS=yes

more_sources() {
    [[ -n ${RASPIOS_MIRROR:-} ]] ||
        die "raspios needs RASPIOS_MIRROR=https://…/debian: Raspberry Pi's package archive, or a copy of it"
    [[ -r ${RASPIOS_KEYRING:-} ]] ||
        die "raspios needs RASPIOS_KEYRING=/…/raspberrypi-archive-keyring.gpg: the key that its packages are signed with"
    printf 'deb [signed-by=%s] %s %s main\n' "$(readlink -f "$RASPIOS_KEYRING")" "$RASPIOS_MIRROR" "$RELEASE"
}
