# shellcheck shell=bash
# From a root filesystem to a card and to updates for it: for scripts/image and for Buildroot
# (buildroot/board/stillwatch/post-image.sh). Sourced. Wants $work, an empty folder, and SOURCE_DATE_EPOCH.
IMAGE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR source=layout.bash
source "$IMAGE/layout.bash"
# shellcheck source-path=SCRIPTDIR source=initrd/initrd.bash
source "$IMAGE/initrd/initrd.bash"

# What certificates say; cameras go by the moment of signing, so they need no end.
DAYS=36500

# The programs' version.
programs_version() { sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$IMAGE/../Cargo.toml"; }

# The lines of the files, without comments.
lines_of() { sed -e 's/#.*//' -e '/^$/d' "$@"; }

# What a slot holds: root.erofs, kernel, initrd. "$1" is the root filesystem, "$2" its packed form, "$3" the kernel's
# image, "$4" the file with the drivers of the variant.
make_slot() {
    local root=$1 slot=$work/card/slot kernel modules
    kernel=$(cd "$root/usr/lib/modules" && echo *)
    [[ $kernel != *' '* ]] || {
        echo "error: $root/usr/lib/modules has the modules of several kernels: $kernel; remove all but the newest" >&2
        return 1
    }
    mkdir -p "$slot"
    cp --reflink=auto "$2" "$slot/root.erofs"
    # Raspberry Pi's is compressed.
    zcat --force "$3" >"$slot/Image"
    mapfile -t modules < <(lines_of "$4" "$IMAGE/initrd/modules")
    make_initrd "$root" "$kernel" "$slot/initrd.img" "${modules[@]}"
}

# What of us is on the partition that any computer shows; firmware, device trees and U-Boot are the caller's.
make_fat() {
    local fat=$work/card/fat
    mkdir -p "$fat"
    mkimage -A arm64 -T script -C none -n stillwatch -d "$IMAGE/boot.cmd" "$fat/boot.scr" >/dev/null
    cp "$IMAGE/stillwatch-example.toml" "$fat/"
}

# The card "$1", of what is in $work/card.
make_card() {
    local output=$work/genimage
    mkdir "$output"
    # Slot B is empty, so that the download is half as large; the first update fills it.
    printf '%s\n' BOOT_ORDER=A BOOT_A_LEFT=3 BOOT_B_LEFT=0 BOOT_TRIAL=none |
        mkenvimage -s "$VARIABLES_BYTES" -o "$output/variables" -
    # Whoever makes it anew gets the same bytes.
    find "$work/card" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    (
        export DISK_ID FAT_AT FAT_SIZE SLOT_A_AT SLOT_B_AT SLOT_SIZE DATA_AT DATA_SIZE VARIABLES_AT IMAGE_SIZE
        # e2fsprogs knows SOURCE_DATE_EPOCH since 1.47.1.
        export SOURCE_DATE_EPOCH E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH E2FSCK_TIME=$SOURCE_DATE_EPOCH
        genimage --config "$IMAGE/card.cfg" --rootpath "$work/card" --tmppath "$output/tmp" \
            --inputpath "$output" --outputpath "$output" >"$output/log" 2>&1
    ) || {
        cat "$output/log" >&2
        return 1
    }
    mv "$output/card.img" "$1"
    rm -rf "$output"
}

# The update "$4" to the card "$1": its very slot, without the free room. "$2" is what it is called and "$3" its version,
# as image/customize was told, "$5" the folder with the keys.
make_bundle() {
    local tree=$work/bundle
    mkdir "$tree"
    dd if="$1" of="$tree/system.ext4" bs=1M skip="$SLOT_A_AT" count="$SLOT_SIZE" conv=sparse status=none
    resize2fs -M "$tree/system.ext4" >/dev/null 2>&1
    "$IMAGE/bundle" "$tree" "$2" "$3" "$5" "$4"
    rm -rf "$tree"
}

# An authority, which is needed again only for another signing key, and a signing key.
make_keys() {
    (write_keys "$1") 2>"$work/openssl" || {
        printf 'error: no keys: %s\n' "$(cat "$work/openssl")" >&2
        return 1
    }
}

# Of a list with `||` behind it `set -e` would let everything through.
write_keys() {
    local curve=(-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc)
    (umask 0077 && mkdir -p "$1") && cd "$1" && umask 0077 &&
        openssl req -x509 "${curve[@]}" -keyout authority.key -out authority.pem -days "$DAYS" \
            -subj "/O=Stillwatch/CN=updates, authority" -addext keyUsage=critical,keyCertSign &&
        openssl req "${curve[@]}" -keyout signing.key -out signing.csr -subj "/O=Stillwatch/CN=updates, signing" &&
        openssl x509 -req -in signing.csr -CA authority.pem -CAkey authority.key -days "$DAYS" -out signing.pem \
            -extfile <(printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature \
                extendedKeyUsage=emailProtection) &&
        rm signing.csr && cp authority.pem keyring.pem
}

# Prints the folder with the keys: UPDATE_KEYS, or throw-away ones in "$1", which are made if there are none.
update_keys() {
    local keys=${UPDATE_KEYS:-$1}
    if [[ ! -r $keys/keyring.pem ]]; then
        [[ -z ${UPDATE_KEYS:-} ]] || {
            echo "error: $keys: no keyring.pem (scripts/image keys $keys)" >&2
            return 1
        }
        echo "UPDATE_KEYS is not set: only what is signed with a throw-away key in $keys can update this image" >&2
        make_keys "$keys"
    fi
    printf '%s\n' "$keys"
}
