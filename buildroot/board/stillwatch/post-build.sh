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

# Buildroot has it, if its output is to be reproducible.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(date +%s)}
keys=$(update_keys "$BASE_DIR/update-keys")
version=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$here/../../../Cargo.toml")
version=${UPDATE_VERSION:-$version-$(date -u --date="@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M)}
"$image/customize" "$root" "stillwatch-buildroot-$board" "$version" "$keys/keyring.pem"

# Debian's name for it, which image/root has.
[[ ! -e $root/usr/lib/systemd/system/sshd.service ]] ||
    ln -sfn sshd.service "$root/usr/lib/systemd/system/ssh.service"
# Debian's configuration asks for image/root's, OpenSSH's own does not.
if ! grep -q '^Include /etc/ssh/sshd_config.d' "$root/etc/ssh/sshd_config"; then
    sed -i '1i Include /etc/ssh/sshd_config.d/*.conf' "$root/etc/ssh/sshd_config"
fi
