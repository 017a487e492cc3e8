# shellcheck shell=bash
# What all scripts share; sourced, never run. It moves to the top of the repository.
#
# Everything expensive lives outside the clone, so that a fresh clone builds only our own crates:
#   STILLWATCH_CACHE   default ~/.cache/stillwatch
#   CARGO_TARGET_DIR   default $STILLWATCH_CACHE/target
# To share it with cargo typed by hand: export CARGO_TARGET_DIR as `scripts/test --help` shows it.

# Not exported: the agent would take it for a misspelt setting.
STILLWATCH_CACHE=${STILLWATCH_CACHE:-${HOME:?}/.cache/stillwatch}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$STILLWATCH_CACHE/target}

SCRIPT=$(readlink -f "$0")
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT" || exit 1

# Prints the comment at the top of the calling script: its help.
show_help() {
    sed -n '2,/^[^#]/{s/^#\($\| \)//p}' "$SCRIPT" |
        sed -e "s|@cache@|$STILLWATCH_CACHE|" -e "s|@target@|$CARGO_TARGET_DIR|"
}

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# What could not be done here. Never silent: scripts/test repeats each line at its end.
skipped() {
    say "SKIPPED: $*"
    if [[ -n ${SKIPPED_LIST:-} ]]; then
        printf '%s\n' "$*" >>"$SKIPPED_LIST"
    fi
}

# Calls "${@:2}" in a subshell with a heading and, behind it, its duration. STATUS is its exit
# status: `timed … || …` would switch `set -e` off inside.
timed() {
    local what=$1 began=$SECONDS
    shift
    say "== $what"
    set +e
    (
        set -e
        "$@"
    )
    STATUS=$?
    set -e
    say "== $what: $((SECONDS - began)) s$([[ $STATUS == 0 ]] || echo ', FAILED')"
}

# Exports what the programs are built from, for what is handed out: with each commit all of ours is built anew.
#   SOURCE_COMMIT      what `--version` says, such as "abc1234, 2026-11-28"; a + means that files were changed since
#   SOURCE_DATE_EPOCH  what counts as the time of the build (reproducible-builds.org)
# What is set already stays, and where there is no Git repository nothing is set.
name_source() {
    local commit changed
    commit=$(git log -1 --abbrev=7 --format='%h %cd %ct' --date=format:%Y-%m-%d 2>/dev/null) || return 0
    changed=$(git status --porcelain --untracked-files=no)
    local hash day seconds
    read -r hash day seconds <<<"$commit"
    export SOURCE_COMMIT=${SOURCE_COMMIT:-$hash${changed:++}, $day}
    export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$seconds}
}

# Exports flags with which nothing in a program says in which folders it was built, so that two builds are the same.
hide_folders() {
    local pair flags=()
    # A later one wins.
    for pair in "${CARGO_HOME:-$HOME/.cargo}=/cargo" "$(rustc --print sysroot)=/rust" "$STILLWATCH_CACHE=/cache" \
        "$ROOT=/stillwatch" "$CARGO_TARGET_DIR=/target"; do
        flags+=("--remap-path-prefix=$pair")
        # What is compiled by gcc: SQLite, libjpeg-turbo, ring's assembly.
        export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$pair"
    done
    CARGO_ENCODED_RUSTFLAGS=$(
        IFS=$'\x1f'
        printf '%s' "${flags[*]}"
    )
    export CARGO_ENCODED_RUSTFLAGS
}

# Writes the bill of materials of each program "${@:3}" in the folder "$1", built for the target "$2", beside it.
write_bills() {
    local folder=$1 target=$2 program version
    version=$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    for program in "${@:3}"; do
        "$ROOT/scripts/bill-of-materials" --name "$program" --version "$version" --target "$target" \
            --file "$folder/$program" "$program" >"$folder/$program.cdx.json"
    done
}

# The archive that this machine itself installs from.
debian_archive() {
    local found
    # shellcheck disable=SC2016 # apt's variables
    found=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }')
    printf '%s\n' "${found:-http://deb.debian.org/debian}"
}

# A root filesystem in the folder "$1" of the Debian release "$2" with the components "$3" and its kernel, if
# there is one among the packages; "${@:4}" are further arguments of mmdebstrap. Wants $work, a folder.
debian_root() {
    local root=$1 release=$2 components=$3
    shift 3
    # No initramfs: one of our own is a tenth of its size and needs no minute to make.
    # shellcheck disable=SC2016 # the hook's own $1
    INITRD=No TMPDIR=${work:?} mmdebstrap --quiet --mode=root --variant=minbase --format=directory \
        --components="$components" \
        --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Languages "none"' \
        --dpkgopt='force-unsafe-io' \
        --dpkgopt='path-exclude=/usr/share/doc/*' \
        --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        --dpkgopt='path-exclude=/usr/share/info/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --dpkgopt='path-exclude=/usr/share/man/*' \
        --essential-hook='mkdir -p "$1/etc/kernel" && echo "do_initrd = no" >"$1/etc/kernel-img.conf"' \
        "$@" \
        "$release" "$root" "deb $(debian_archive) $release ${components//,/ }" >&2
}
