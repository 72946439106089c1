# shellcheck shell=bash
# The programs in Python that test between virtual machines, as TAP. To be sourced
# by a script that has sourced test/build/lib.sh and exported XENLAB_NAME.
#
# See file LICENSE for terms.

# Of all attacks those that only the device "xen" knows, and of the others those
# whose outcome depends on it most; test/lab/hostile has them all
PROGRAMS_ATTACKS=(wake-lines moving-payload rma write-all zero values names
                  grefs num-pages moving-refs replay lie refusals ports flood
                  seem-to-end keep-open)

# Of RPC: the other tests are the same on one machine (test/lab/rpc.py --device
# local), and take minutes in the emulation
PROGRAMS_RPC=(sizes dying-server example)

# program PREFIX FILE ARGUMENT...: a program of the folder test with the device
# "xen"; its results begin with the prefix. One that ended early has failed.
program() {
    local prefix=$1 file=$2 status=0 log=$WORK/program
    shift 2

    "$XSHM_SRC/test/$file" --device xen "$@" >"$log" 2>&1 || status=$?
    tap_collect "$prefix" <"$log"
    [ "$status" -eq 0 ] || tap_not_ok "$prefix$file: status $status"
}

# programs PREFIX: what three guests show about sleeping, RPC, and hostile peers
programs() {
    local prefix=$1 machines=(guest1 guest2 guest3)

    program "$prefix" lab/sleep.py --guests "${machines[@]:0:2}"
    program "$prefix" lab/rpc.py --guests "${machines[@]}" \
        --only "${PROGRAMS_RPC[@]}"
    # Channels of a hostile program that has died seem to live: docs/security.md
    program "$prefix" hostile/attacks.py --attacks-only \
        --guests "${machines[@]}" --only "${PROGRAMS_ATTACKS[@]}"
}
