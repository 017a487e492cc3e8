# U-Boot's script, the same in QEMU and on a Pi: which slot is booted. docs/image.md says why.
# RAUC's names: https://rauc.readthedocs.io/en/latest/integration.html#u-boot
#
# Numbers are hexadecimal and counted in blocks of 512 bytes: the variables are one block at 1 MiB
# (image/layout.bash), and a card writes one block whole or not at all. No apostrophes within an `if`, not even
# in a text or a comment: it would be a syntax error.

setenv BOOT_ORDER "A B"
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
# A slot on trial, for the updater: what it notes on the data partition may not be readable.
setenv BOOT_TRIAL none
${devtype} dev ${devnum}
if ${devtype} read ${kernel_addr_r} 0x800 1; then
  # Of another length, or damaged: the values above.
  env import -c ${kernel_addr_r} 0x200 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_TRIAL || echo "stillwatch: no valid variables"
fi
echo "stillwatch: order ${BOOT_ORDER}, left A ${BOOT_A_LEFT}, B ${BOOT_B_LEFT}"

setenv slot
for candidate in ${BOOT_ORDER}; do
  if test -z "${slot}"; then
    if test "${candidate}" = A && test ${BOOT_A_LEFT} -gt 0; then
      setexpr BOOT_A_LEFT ${BOOT_A_LEFT} - 1
      setenv slot A
      setenv partition 2
    fi
    if test "${candidate}" = B && test ${BOOT_B_LEFT} -gt 0; then
      setexpr BOOT_B_LEFT ${BOOT_B_LEFT} - 1
      setenv slot B
      setenv partition 3
    fi
  fi
done
if test -z "${slot}"; then
  # Nobody comes to help, so each gets its attempts again.
  echo "stillwatch: no attempt left, beginning anew"
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
fi
# The attempt is counted before it is made.
mw.b ${kernel_addr_r} 0 0x200
env export -c -s 0x200 ${kernel_addr_r} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT BOOT_TRIAL
${devtype} write ${kernel_addr_r} 0x800 1

if test -n "${slot}"; then
  echo "stillwatch: booting ${slot}"
  part uuid ${devtype} ${devnum}:${partition} partuuid
  # The UART, as in QEMU, and on a Pi as mainline names it (ttyS1), and the kernel of Raspberry Pi: ttyS0, on a
  # Pi 5 ttyAMA10. A kernel leaves out what it does not have.
  if test "${devtype}" = virtio; then
    setenv consoles "console=ttyAMA0"
  else
    setenv consoles "console=ttyS1,115200 console=ttyS0,115200 console=ttyAMA10,115200 console=tty1"
    # What the firmware would have said: two UARTs, which the kernel of Raspberry Pi has off otherwise; memory for
    # its USB driver; and for the Pi 5 how its chips are attached.
    setenv consoles "${consoles} 8250.nr_uarts=2 coherent_pool=1M pci=pcie_bus_safe"
  fi
  # A kernel that has failed reboots; one that finds its watchdog running, because U-Boot has started it, feeds it for
  # so many seconds, until the initrd opens it. No work of a first boot, no logins, no SSH sockets. Plain names for
  # network cards: there is one of each kind.
  setenv bootargs "stillwatch.slot=PARTUUID=${partuuid} rauc.slot=${slot} ${consoles} panic=10 oops=panic watchdog.open_timeout=60 net.ifnames=0 systemd.condition_needs_update=0 systemd.getty_auto=no systemd.ssh_auto=no loglevel=5"
  if load ${devtype} ${devnum}:${partition} ${kernel_addr_r} Image; then
    if load ${devtype} ${devnum}:${partition} ${ramdisk_addr_r} initrd.img; then
      booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdt_addr}
    fi
  fi
  echo "stillwatch: ${slot} does not start"
fi
sleep 1
reset
