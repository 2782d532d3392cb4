# Shared by the scripts beside it; sourced, never run. Changes nothing by itself.
# shellcheck shell=bash
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
MIN_RUST=1.88
CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/namestead"
TARGET_DIR="${CARGO_TARGET_DIR:-$REPO/target}"
export NAMESTEAD_BIN="${NAMESTEAD_BIN:-$TARGET_DIR/release}"

if [ -t 1 ]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; else BOLD='' PLAIN=''; fi

say() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*"; }
note() { printf '    %s\n' "$*"; }
die() {
    printf 'error: %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '       %s\n' "$@" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# The help text of a script is the comment block at its top.
print_help() { awk 'NR == 1 { next } /^#/ { sub(/^# ?/, ""); print; next } { exit }' "$0"; }

# Stops a script that was given something it does not know.
unknown_option() { die "unknown option: $1" "try: $0 --help"; }

# take_seconds LABEL COMMAND…: runs it and prints how long it took; its failure stops the caller under `set -e`.
take_seconds() {
    local label=$1 start=$SECONDS
    shift
    say "$label"
    "$@"
    note "$label: $((SECONDS - start)) s"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; elif have sudo; then sudo "$@"; else die "this step needs root: $*"; fi
}

installed() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = "install ok installed" ]; }

# Installing `prometheus` or `unbound` must not start a service nobody asked for.
without_starting_services() {
    local policy=/usr/sbin/policy-rc.d made=false status=0
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null
        as_root chmod +x $policy
        made=true
    fi
    "$@" || status=$?
    if $made; then as_root rm -f $policy; fi
    return $status
}

# install_packages PACKAGE…: those that are missing, through apt.
install_packages() {
    if ! have dpkg-query; then
        note "not a Debian-like system; please see that these are there: $*"
        return
    fi
    local missing=() package
    for package in "$@"; do installed "$package" || missing+=("$package"); done
    if [ ${#missing[@]} -eq 0 ]; then return; fi
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    without_starting_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

# version_at_least HAVE WANT
version_at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# Exact version of one crate in Cargo.lock.
locked_version() { awk -v want="\"$1\"" '$1 == "name" && $3 == want { getline; gsub(/"/, "", $3); print $3; exit }' "$REPO/Cargo.lock"; }
