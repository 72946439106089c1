# shellcheck shell=bash
# What the functional tests share: where things are, how to load the transport,
# watchdogs, cleaning up. To be sourced by a script in the folder above.
#
# Variables of the environment:
#   XSHM_SRC, XSHM_BUILD, XSHM_INSTALL   the repository, its build, its install
#   XSHM_TEST_TL    the transport under test [xshm]. With "posix" the tests
#                   themselves are tested: UCX's own transport passes them,
#                   but for what only xshm promises.
#
# SPDX-License-Identifier: BSD-3-Clause

FUNC_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
XSHM_SRC=${XSHM_SRC:-$(cd "$FUNC_DIR/../.." && pwd)}
XSHM_BUILD=${XSHM_BUILD:-$XSHM_SRC/build}
XSHM_INSTALL=${XSHM_INSTALL:-$XSHM_SRC/install}
FUNC_BIN=$XSHM_BUILD/test/functional
FUNC_TL=${XSHM_TEST_TL:-xshm}

# A test that takes longer hangs. Far above what any of them needs.
FUNC_WATCHDOG=${XSHM_TEST_WATCHDOG:-120}
# Below those that Linux gives to sockets that connect
FUNC_LOW_PORT=20000
FUNC_PORTS=12000

# shellcheck source=tap.sh
. "$FUNC_DIR/lib/tap.sh"

func_bail_out() {
    printf 'Bail out! %s\n' "$*"
    exit 1
}

func_cleanup() {
    local pid
    for pid in $(jobs -p); do
        kill "$pid" 2>/dev/null || true
    done
    rm -rf "$FUNC_WORK"
}

func_device() {
    case $FUNC_TL in
        xshm) echo local ;;
        tcp) echo lo ;;
        *) echo memory ;;
    esac
}

# UCX 1.13 does not load the transport by itself. LD_PRELOAD takes no path with
# a space in it; a bare name with LD_LIBRARY_PATH does.
func_find_library() {
    local dir
    for dir in "$XSHM_INSTALL/lib/ucx" "$XSHM_BUILD/src/uct/xshm/.libs"; do
        if [ -e "$dir/libuct_xshm.so.0" ]; then
            FUNC_ENV=("LD_PRELOAD=libuct_xshm.so.0"
                "LD_LIBRARY_PATH=$dir${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")
            return 0
        fi
    done
    func_bail_out "libuct_xshm.so.0 is neither in $XSHM_INSTALL/lib/ucx nor" \
        "in $XSHM_BUILD/src/uct/xshm/.libs: build it first (contrib/quickstart)"
}

# func_open_to_others PROGRAM...: copies of these in $FUNC_WORK, which other users may
# read, as they may the transport's library from here on
func_open_to_others() {
    local dir=${FUNC_ENV[1]#LD_LIBRARY_PATH=}
    cp "$@" "${dir%%:*}/libuct_xshm.so.0" "$FUNC_WORK/"
    chmod 755 "$FUNC_WORK"
    FUNC_ENV[1]=LD_LIBRARY_PATH=$FUNC_WORK:$dir
}

# Run a command with the transport loaded and a watchdog behind it
func_run() {
    env "${FUNC_ENV[@]}" timeout --kill-after=10 "$FUNC_WATCHDOG" "$@"
}

# The same in the background, with "&": $! is the watchdog, which passes a
# SIGTERM on
func_start() {
    exec env "${FUNC_ENV[@]}" timeout --kill-after=10 "$FUNC_WATCHDOG" "$@"
}

# What the transport claims: wakeup, errors, registration, zcopy
func_has() {
    func_run "$FUNC_BIN/uct_peer" -t "$FUNC_TL" -d "$FUNC_DEV" capabilities |
        grep -qx "$1"
}

func_need() {
    [ -x "$1" ] || func_bail_out "$1 is missing: build the tests first" \
        "(make -C \"$XSHM_BUILD\" check TESTS=)"
}

# func_has_socket PORT STATES: is there a local socket in one of the states, which
# is a regular expression for what the kernel calls them?
func_has_socket() {
    local port
    port=$(printf '%04X' "$1")
    awk -v port="$port" -v states="$2" '
        $4 ~ states { sub(/.*:/, "", $2); if ($2 == port) found = 1 }
        END { exit !found }' /proc/self/net/tcp /proc/self/net/tcp6 \
        2>/dev/null
}

func_is_listening() {
    func_has_socket "$1" '^0A$'
}

func_free_port() {
    local port
    while :; do
        port=$((FUNC_LOW_PORT + (RANDOM * 32768 + RANDOM) % FUNC_PORTS))
        # Not even one that is about to vanish: bind() would fail
        if ! func_has_socket "$port" .; then
            echo "$port"
            return 0
        fi
    done
}

# Wait until a condition holds, or the process that should bring it about ends
func_wait_for() {
    local pid=$1
    shift
    while ! "$@"; do
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.02
    done
}

func_init() {
    FUNC_WORK=$(mktemp -d "${TMPDIR:-/tmp}/xshm-func.XXXXXX")
    trap func_cleanup EXIT
    trap 'exit 130' INT TERM
    FUNC_ENV=("XSHM_TEST_TL=$FUNC_TL")
    if [ "$FUNC_TL" = xshm ]; then
        func_find_library
    fi
    FUNC_DEV=$(func_device)
    func_need "$FUNC_BIN/isolate"
    func_need "$FUNC_BIN/uct_peer"
    # An environment that the person who runs the tests has set would be tested
    # instead of what the tests set
    unset "${!UCX_@}" "${!OMPI_MCA_@}"
}
