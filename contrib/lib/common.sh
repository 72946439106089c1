# What all scripts in contrib/ share: where things are, and how to talk.
# To be sourced by bash, after "set -euo pipefail".
#
# See file LICENSE for terms.

# shellcheck shell=bash

XSHM_SRC=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
XSHM_BUILD=$XSHM_SRC/build
XSHM_INSTALL=$XSHM_SRC/install
export XSHM_SRC XSHM_BUILD XSHM_INSTALL

# Seconds between two signs of life of something long, when no terminal is there
XSHM_SIGN_OF_LIFE=20
# Lines of a log that are shown when something fails
XSHM_LOG_TAIL=40

# Say what is being done.
xshm_say() {
    printf '== %s\n' "$*"
}

xshm_warn() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
}

# Stop with one line: what failed, with which value, and what to do.
xshm_die() {
    xshm_warn "$*"
    exit 1
}

# Stop because of what was typed: which word is wrong, and where to read what is
# right.
xshm_usage_error() {
    xshm_warn "$*: see $0 --help"
    exit 2
}

xshm_can_be_root() {
    [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

# Run a command as root: by sudo when we are somebody else.
xshm_as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Print how a running command is getting on: the last line of its log.
xshm_show_progress() {
    local what=$1 seconds=$2 log=$3
    local line

    line=$(tail -n 1 "$log" 2>/dev/null | tr -dc '[:print:]' | cut -c 1-60)
    if [ -t 1 ]; then
        printf '\r   %-78.78s' "$what: $seconds s: $line"
    elif [ $((seconds % XSHM_SIGN_OF_LIFE)) -eq 0 ]; then
        printf '   %s: %d s: %s\n' "$what" "$seconds" "$line"
    fi
}

# Show on screen that a command is still alive, until it ends.
xshm_watch() {
    local what=$1 pid=$2 log=$3
    local seconds=0

    while kill -0 "$pid" 2>/dev/null; do
        sleep 1
        seconds=$((seconds + 1))
        xshm_show_progress "$what" "$seconds" "$log"
    done
    if [ -t 1 ]; then
        printf '\r%-82s\r' ''
    fi
}

# A command in the background does not see the terminal's interrupt: end it too.
xshm_interrupted() {
    if [ -n "$xshm_child" ]; then
        kill -TERM "$xshm_child" 2>/dev/null || true
        wait "$xshm_child" 2>/dev/null || true
    fi
    exit 130
}

xshm_child=
trap xshm_interrupted INT TERM

# Run "xshm_quietly WHAT LOG COMMAND...": the output goes to LOG, the screen
# shows progress, and the end of the log when the command fails. Returns the
# command's status.
xshm_quietly() {
    local what=$1 log=$2
    local status=0
    shift 2

    mkdir -p "$(dirname "$log")"
    "$@" >"$log" 2>&1 </dev/null &
    xshm_child=$!
    xshm_watch "$what" "$xshm_child" "$log"
    wait "$xshm_child" || status=$?
    xshm_child=
    if [ "$status" -ne 0 ]; then
        tail -n "$XSHM_LOG_TAIL" "$log" >&2
        xshm_warn "$what: failed with status $status; its log is $log"
    fi
    return "$status"
}
