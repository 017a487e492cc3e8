#!/usr/bin/env bash
# Makes the card and the update of what Buildroot has built. Buildroot calls it with the folder of its images and the
# board's name (BR2_ROOTFS_POST_SCRIPT_ARGS).
#
#   sdcard.img                     as it is written to a card
#   stillwatch-VERSION-BOARD.raucb a signed update to the same system
set -euo pipefail
images=$1 board=$2
here=$(cd "$(dirname "$0")" && pwd)
image=$here/../../../image
mkdir -p "$BUILD_DIR"
work=$(mktemp -d "$BUILD_DIR/stillwatch-card.XXXXXX")
trap 'rm -rf "$work"' EXIT
# shellcheck source-path=SCRIPTDIR source=../../../image/card.bash
source "$image/card.bash"

export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)}
case $board in
    qemu_*) drivers=$here/modules-qemu ;;
    *) drivers=$image/variants/raspios/modules ;;
esac
make_slot "$TARGET_DIR" "$images/rootfs.erofs" "$images/Image" "$drivers"
make_fat
cp "$images/u-boot.bin" "$work/card/fat/"
if [[ -d $images/rpi-firmware ]]; then
    cp -R "$images"/rpi-firmware/. "$images"/*.dtb "$work/card/fat/"
fi
make_card "$images/sdcard.img"

version=$(sed -n 's/^IMAGE_VERSION=//p' "$TARGET_DIR/usr/lib/os-release")
rm -f "$images"/stillwatch-*-"$board".raucb
bundle=$images/stillwatch-$version-$board.raucb
make_bundle "$images/sdcard.img" "stillwatch-buildroot-$board" "$version" "$bundle" "$(update_keys "$BASE_DIR/update-keys")"
