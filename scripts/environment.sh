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
