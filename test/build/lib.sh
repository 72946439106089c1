# What the tests of the build share. To be sourced by a script in this folder;
# the script's own work folder is $WORK, below build/parts/, and is emptied.
#
# See file LICENSE for terms.

# shellcheck shell=bash

BUILD_TESTS=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
XSHM_SRC=${XSHM_SRC:-$(cd "$BUILD_TESTS/../.." && pwd)}
XSHM_BUILD=${XSHM_BUILD:-$XSHM_SRC/build}
XSHM_INSTALL=${XSHM_INSTALL:-$XSHM_SRC/install}
UCX_SOURCE=${XSHM_UCX_SOURCE:-$XSHM_BUILD/ucx-source}

WORK=$XSHM_BUILD/parts/$(basename "$0")
# Where the TAP functions keep a test's output
# shellcheck disable=SC2034
FUNC_WORK=$WORK/output

# shellcheck source-path=SCRIPTDIR/../..
. "$XSHM_SRC/test/functional/lib/tap.sh"

# A read-only tree may be left from a distcheck that was cut off
if [ -d "$WORK" ]; then
    chmod -R u+w "$WORK"
fi
rm -rf "$WORK"
mkdir -p "$FUNC_WORK"

# Print a file name relative to the folder where we are, which configure needs if
# there is a space in it.
relative() {
    realpath --relative-to=. "$1"
}

# Fail with the texts that were expected and found.
expect() {
    local what=$1 wanted=$2 found=$3

    if [ "$wanted" != "$found" ]; then
        printf '%s: expected "%s", found "%s"\n' "$what" "$wanted" "$found"
        return 1
    fi
}

# Configure in the folder $1, with the matching UCX source.
configure_in() {
    local folder=$1
    shift

    mkdir -p "$folder"
    cd "$folder"
    "$(relative "$XSHM_SRC")/configure" --prefix="$folder/install" \
        --with-ucx-source="$UCX_SOURCE" "$@"
}

make_in() {
    make -C "$1" -j"$(nproc)" "${@:2}"
}

# The tests are compiled too, but not run. Not "make all check": with -j both
# would compile the same files at the same time.
make_all_in() {
    make_in "$1" all
    make_in "$1" check TESTS=
}

# Print the files of the repository, whether git knows them yet or not.
list_files() {
    cd "$XSHM_SRC"
    if [ -e .git ]; then
        git ls-files --cached --others --exclude-standard | LC_ALL=C sort -u |
            while IFS= read -r file; do
                if [ -e "$file" ]; then
                    printf '%s\n' "$file"
                fi
            done
    else
        find . \( -path ./build -o -path ./install \) -prune -o \
            -type f -printf '%P\n' | LC_ALL=C sort
    fi
}

# Run "make check" in the folder $1, and hand on the result of every single unit
# test: automake's driver has noted them, one a line, at the end of each suite's
# log. All arguments but the first go to make.
make_check_to_tap() {
    local folder=$1 log=$FUNC_WORK/make-check status=0
    local count_before=$tap_count failed_before=$tap_failed
    shift

    rm -f "$folder"/test/gtest-c/*.trs "$folder"/test/gtest-c/*.log
    make_in "$folder" check "$@" >"$log" 2>&1 || status=$?
    collect_results "$folder"
    if [ "$status" -ne 0 ] && [ "$tap_failed" -eq "$failed_before" ]; then
        tap_not_ok "make check"
        tap_show "$log"
    elif [ "$tap_count" -eq "$count_before" ]; then
        tap_not_ok "make check runs unit tests"
        tap_show "$log"
    fi
}

collect_results() {
    local folder=$1 log suite kind result failed_before

    for log in "$folder"/test/gtest-c/*.log; do
        suite=$(basename "$log" .log)
        if [ "$suite" = test-suite ] || [ ! -f "$log" ]; then
            continue
        fi
        failed_before=$tap_failed
        while IFS=$'\t' read -r kind result; do
            case $kind in
            PASS) tap_ok "$suite: ${result#* - }" ;;
            SKIP) tap_skip "$suite: ${result%% # *}" "${result#* # SKIP }" ;;
            *) tap_not_ok "$suite: $kind: ${result#* - }" ;;
            esac
        done < <(sed -n "s/^\([A-Z]*\): $suite \(.*\)/\1\t\2/p" "$log")
        if [ "$tap_failed" -ne "$failed_before" ]; then
            tap_show "$log"
        fi
    done
}
