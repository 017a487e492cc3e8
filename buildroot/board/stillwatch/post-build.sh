#!/usr/bin/env bash
# Makes Buildroot's root filesystem the appliance's. Buildroot calls it with that and the board's name
# (BR2_ROOTFS_POST_SCRIPT_ARGS), once image/root lies over it.
#
# UPDATE_KEYS and UPDATE_VERSION in the environment mean what they mean to scripts/image. Without keys, throw-away
# ones are made in the output folder.
set -euo pipefail
root=$1 board=$2
here=$(cd "$(dirname "$0")" && pwd)
image=$here/../../../image
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# shellcheck source-path=SCRIPTDIR source=../../../image/card.bash
source "$image/card.bash"

# What of the kernel's options did not survive would be missed on the camera only. "${@:2}" are fragments.
check_kernel() {
    local config=$1 wanted
    shift
    while read -r wanted; do
        # An option whose menu is gone is not set either.
        [[ $wanted == '# CONFIG_'*' is not set' ]] && ! grep -q "^${wanted:2:-11}=" "$config" ||
            grep -qFx "$wanted" "$config" || {
            echo "error: the kernel's configuration, $config, has no $wanted" >&2
            return 1
        }
    done < <(grep -hE '^(# )?CONFIG_' "$@")
}
fragments=("$here/linux.fragment")
case $board in
    qemu_*) fragments+=("$here/linux-qemu.fragment") ;;
    rpi5) fragments+=("$here/linux-rpi5.fragment") ;;
esac
for config in "$BUILD_DIR"/linux-*/.config; do
    [[ ! -e $config ]] || check_kernel "$config" "${fragments[@]}"
done

# Of whatever is newer: this, or Buildroot, whose date it is in a reproducible build. Not the hour of the build.
committed=$(git -C "$here" log -1 --format=%ct 2>/dev/null || true)
built=${SOURCE_DATE_EPOCH:-0}
export SOURCE_DATE_EPOCH=$((built > ${committed:-0} ? built : ${committed:-0}))
[[ $SOURCE_DATE_EPOCH != 0 ]] || {
    echo "error: neither git nor BR2_REPRODUCIBLE says of when this is" >&2
    exit 1
}
keys=$(update_keys "$BASE_DIR/update-keys")
version=${UPDATE_VERSION:-$(programs_version)-$(date -u --date="@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M)}
"$image/customize" "$root" "stillwatch-buildroot-$board" "$version" "$keys/keyring.pem"

# Debian's name for it, which image/root has. A link would not do: presets go by the file's own name.
[[ ! -e $root/usr/lib/systemd/system/sshd.service ]] ||
    mv "$root/usr/lib/systemd/system/sshd.service" "$root/usr/lib/systemd/system/ssh.service"
# Debian's configuration asks for image/root's, OpenSSH's own does not.
if ! grep -q '^Include /etc/ssh/sshd_config.d' "$root/etc/ssh/sshd_config"; then
    sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' "$root/etc/ssh/sshd_config"
fi
