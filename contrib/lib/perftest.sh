# A short table of ucx_perftest's figures, transports side by side. To be sourced
# after common.sh. This is a first impression for contrib/quickstart; what is
# claimed anywhere is measured by contrib/bench.
#
# See file LICENSE for terms.

# shellcheck shell=bash

# shellcheck source-path=SCRIPTDIR/../..
. "$XSHM_SRC/test/functional/lib/func.sh"

PERF_ROUNDS=3
PERF_TRANSPORTS=(xshm posix tcp)
# A server that does not answer within so many seconds has failed
PERF_TIMEOUT=120

# Columns of "ucx_perftest -f -v"
PERF_COLUMN_TYPICAL_LATENCY=2
PERF_COLUMN_BANDWIDTH=6
PERF_COLUMN_RATE=8

# Rows: title | options of ucx_perftest | column | iterations. tcp gets a tenth of
# the iterations of the two others. "uct" rows name transport and device, in
# "ucp" rows UCX_TLS does.
PERF_ROWS=(
    "UCT am_lat   8 B   usec|uct -t am_lat -D short -s 8|$PERF_COLUMN_TYPICAL_LATENCY|100000"
    "UCT am_bw    8 B   msg/s|uct -t am_bw -D short -s 8|$PERF_COLUMN_RATE|1000000"
    "UCP tag_lat  8 B   usec|ucp -t tag_lat -s 8|$PERF_COLUMN_TYPICAL_LATENCY|100000"
    "UCP tag_bw  64 KB  MB/s|ucp -t tag_bw -s 65536|$PERF_COLUMN_BANDWIDTH|10000"
    "UCP tag_bw   1 MB  MB/s|ucp -t tag_bw -s 1048576|$PERF_COLUMN_BANDWIDTH|1000"
)
PERF_TCP_SHARE=10

# Prefix a command so that it runs on one core, if there are two of them.
perf_pinned() {
    local core=$1
    shift

    if [ "${#perf_cores[@]}" -ge 2 ]; then
        taskset -c "${perf_cores[$core]}" "$@"
    else
        "$@"
    fi
}

# The cores that we may use, one a line: not always those from 0 on.
perf_list_cores() {
    local range first last

    while IFS= read -r range; do
        first=${range%-*}
        last=${range#*-}
        seq "$first" "$last"
    done < <(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n')
}

perf_device() {
    case $1 in
    xshm) echo local ;;
    posix) echo memory ;;
    tcp) echo lo ;;
    esac
}

# Run one side of ucx_perftest on one transport.
perf_side() {
    local core=$1 transport=$2
    shift 2
    local environment=(UCX_TLS="$transport")

    case $transport in
    tcp) environment+=(UCX_NET_DEVICES=lo) ;;
    esac
    perf_pinned "$core" env "${environment[@]}" timeout "$PERF_TIMEOUT" \
        "$XSHM_INSTALL/bin/xshm_run" ucx_perftest -f -v "$@"
}

# Print the last line of results of one run of server and client.
perf_run() {
    local transport=$1 level=$2 iterations=$3
    shift 3
    local arguments=("$@") port server

    if [ "$level" = uct ]; then
        arguments+=(-x "$transport" -d "$(perf_device "$transport")")
    fi
    port=$(func_free_port)
    perf_side 0 "$transport" -p "$port" >"$perf_work/server" 2>&1 &
    server=$!
    func_wait_for "$server" func_is_listening "$port" || true
    perf_side 1 "$transport" -p "$port" -n "$iterations" "${arguments[@]}" \
        127.0.0.1 >"$perf_work/client" 2>&1 || true
    wait "$server" || true
    # An error is not a line of figures: the caller looks for that
    tail -n 1 "$perf_work/client"
}

# Print the figure of one transport in one row, one round.
perf_figure() {
    local transport=$1 options=$2 column=$3 iterations=$4
    local line figure

    if [ "$transport" = tcp ]; then
        iterations=$((iterations / PERF_TCP_SHARE))
    fi
    # shellcheck disable=SC2086 # several words
    set -- $options
    line=$(perf_run "$transport" "$1" "$iterations" "${@:2}")
    figure=$(printf '%s\n' "$line" | cut -d , -f "$column")
    if ! [[ $figure =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
        cat "$perf_work/server" "$perf_work/client" >&2
        xshm_die "ucx_perftest $options over $transport gave no figure: its" \
                 "output is above"
    fi
    printf '%s\n' "$figure"
}

perf_median() {
    sort -g | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'
}

# One row: the transports take turns, so that a disturbance meets all of them.
perf_row() {
    local title options column iterations round transport
    IFS='|' read -r title options column iterations <<<"$1"

    rm -f "$perf_work"/figures.*
    for ((round = 0; round < PERF_ROUNDS; ++round)); do
        for transport in "${PERF_TRANSPORTS[@]}"; do
            perf_figure "$transport" "$options" "$column" "$iterations" \
                >>"$perf_work/figures.$transport" || return 1
        done
    done
    printf '   %-26s' "$title"
    for transport in "${PERF_TRANSPORTS[@]}"; do
        printf '%14s' "$(perf_median <"$perf_work/figures.$transport")"
    done
    printf '\n'
}

perf_table() {
    local row

    mapfile -t perf_cores < <(perf_list_cores)
    perf_work=$(mktemp -d "${TMPDIR:-/tmp}/xshm-perf.XXXXXX")
    trap 'rm -rf "$perf_work"' EXIT
    xshm_say "ucx_perftest, median of $PERF_ROUNDS rounds in turn" \
             "(a first impression; contrib/bench measures properly)"
    if [ "${#perf_cores[@]}" -lt 2 ]; then
        xshm_say "there is only one core: these figures say nothing about speed"
    fi
    printf '   %-26s' ''
    printf '%14s' "${PERF_TRANSPORTS[@]}"
    printf '\n'
    for row in "${PERF_ROWS[@]}"; do
        perf_row "$row"
    done
}
