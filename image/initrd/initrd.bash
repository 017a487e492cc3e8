# shellcheck shell=bash
# Initrds: for the card (image/card.bash) and for the tests' guest (scripts/guest). Sourced. Wants $work, a folder.
INITRD=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Unpacks, for an initrd, the modules "${@:4}" of the kernel "$2" in the root filesystem "$1" and those that
# they need into the folder "$3". Prints their names in the order in which they are loaded.
kernel_modules() {
    local root=$1 kernel=$2 folder=$3 module paths='' name
    shift 3
    for module; do
        # One that is built in needs nothing; one that is unknown is an error. By kmod's own name, because Buildroot's
        # has no other; and this machine's modprobe.d is no affair of that kernel's.
        paths+=$(exec -a modprobe kmod --config /dev/null --dirname "$root" --set-version "$kernel" --show-depends "$module")$'\n'
    done
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' <<<"$paths" | while read -r module; do
        name=$(basename "$module")
        case $name in
            *.xz) xz --decompress --stdout "$module" ;;
            *.gz) gzip --decompress --stdout "$module" ;;
            *.zst) zstd --decompress --stdout "$module" ;;
            *) cat "$module" ;;
        esac >"$folder/${name%%.*}.ko"
        printf '%s.ko\n' "${name%%.*}"
    done
}

# The libraries that a program or library asks for by itself, and what loads them.
needs() {
    readelf --program-headers --dynamic --wide "$1" |
        sed -n -e 's/.*program interpreter: .*\/\(.*\)\]/\1/p' -e 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}

# Copies busybox from the root filesystem "$1" into the folder "$2", and the libraries that it needs, if it is not a
# static one.
copy_busybox() {
    local root=$1 tree=$2 name found queue=("$1/usr/bin/busybox")
    install -D -m 0755 "$root/usr/bin/busybox" "$tree/bin/busybox"
    while [[ ${#queue[@]} != 0 ]]; do
        for name in $(needs "${queue[0]}"); do
            [[ ! -e $tree/lib/$name ]] || continue
            found=$(find "$root/usr/lib" -maxdepth 2 -name "$name" -print -quit)
            [[ -n $found ]] || {
                echo "error: ${queue[0]} needs $name, which is not in $root/usr/lib" >&2
                return 1
            }
            install -D -m 0755 "$found" "$tree/lib/$name"
            queue+=("$found")
        done
        queue=("${queue[@]:1}")
    done
}

# The card's: "$1" is the root filesystem, "$2" its kernel's version, "$3" the file, "${@:4}" are the drivers.
make_initrd() {
    local root=$1 kernel=$2 image=$3 tree=${work:?}/initrd
    shift 3
    mkdir -p "$tree"/{bin,dev,lib,modules,proc,root,run,sys}
    # Where the C library of a 64-bit system looks first, whoever built it.
    ln -s lib "$tree/lib64"
    copy_busybox "$root" "$tree"
    install -m 0755 "$INITRD/init" "$tree/init"
    kernel_modules "$root" "$kernel" "$tree/modules" "$@" >"$tree/modules/order"
    find "$tree" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    (cd "$tree" && find . | LC_ALL=C sort | cpio --create --format=newc --quiet --reproducible --owner=+0:+0) | gzip -n >"$image"
    rm -rf "$tree"
}
