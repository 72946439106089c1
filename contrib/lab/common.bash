# Shared by the parts of contrib/xenlab: messages, waiting, quoting.
#
# See file LICENSE for terms.

# shellcheck shell=bash

# Says what is going on, with the seconds since the start.
lab_say() {
    printf 'xenlab: [%3ds] %s\n' "$SECONDS" "$*" >&2
}

lab_fail() {
    printf 'xenlab: error: %s\n' "$*" >&2
    exit "$LAB_EXIT_FAILED"
}

# lab_wait_until SECONDS COMMAND...: 0 as soon as COMMAND succeeds, 1 when the
# time is up, 2 as soon as COMMAND returns 2 (it will never succeed).
lab_wait_until() {
    local limit=$1 start=$SECONDS status
    shift

    while true; do
        status=0
        "$@" || status=$?
        case $status in
        0 | 2) return "$status" ;;
        esac
        ((SECONDS - start < limit)) || return 1
        sleep "$LAB_POLL_SECONDS"
    done
}

# lab_quote WORD...: the words as one line that a remote shell splits back.
lab_quote() {
    printf '%q ' "$@"
}
