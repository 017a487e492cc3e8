# shellcheck shell=bash disable=SC2034
# The card, from its beginning; docs/image.md draws it and says why. In MiB, each partition begins at a
# multiple of 4: the erase block of common cards.

# PARTUUIDs are this, a dash and the partition's number.
DISK_ID=5711a7c4
# U-Boot's variables: one block, before the first partition (image/boot.cmd, /etc/fw_env.config).
VARIABLES_AT=1
VARIABLES_BYTES=512
# The spare copies of the card's configuration, at most 64 KiB each: here and 2 MiB on (stillwatch-provision.service,
# provision/src/spare.rs).
SPARE_AT=2
# Room for a bundle that its owner puts there.
FAT_AT=8 FAT_SIZE=320
SLOT_A_AT=328 SLOT_B_AT=712 SLOT_SIZE=384
# In the image; the first boot makes it as large as the card allows.
DATA_AT=1096 DATA_SIZE=64
IMAGE_SIZE=1160
