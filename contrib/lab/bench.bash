# contrib/xenlab bench: xshm against UCX's tcp over netfront, between the same two
# guests in the same boot, in turns.
#
# See file LICENSE for terms.

# shellcheck shell=bash

LAB_BENCH_ROUNDS=3
LAB_BENCH_TRANSPORTS=(xshm tcp)

# Rows: name | options of ucx_perftest | column of its figure | unit |
# iterations with xshm | with tcp, or 0: tcp has no such thing | least ratio that is
# expected, or 0. "uct" rows name transport and device, in "ucp" rows UCX_TLS does;
# behind that word stand variables for UCX.
# Latencies are averages: UCX's clock ticks once in a microsecond there.
LAB_BENCH_COLUMN_LATENCY=3
LAB_BENCH_COLUMN_BANDWIDTH=6
LAB_BENCH_COLUMN_RATE=8
LAB_BENCH_ROWS=(
    "uct am_lat 8 B|uct -t am_lat -D short -s 8|$LAB_BENCH_COLUMN_LATENCY|usec|20000|200|100"
    "uct am_bw 8 B|uct -t am_bw -D short -s 8|$LAB_BENCH_COLUMN_RATE|msg/s|100000|5000|0"
    "uct am_bw 8 KiB|uct -t am_bw -D bcopy -s 8192|$LAB_BENCH_COLUMN_BANDWIDTH|MB/s|3000|1000|5"
    "uct put_bw 8 KiB*|uct,UCX_XSHM_RMA=message -t put_bw -D bcopy -s 8192|$LAB_BENCH_COLUMN_BANDWIDTH|MB/s|3000|0|0"
    "ucp tag_lat 8 B|ucp -t tag_lat -s 8|$LAB_BENCH_COLUMN_LATENCY|usec|10000|200|100"
    "ucp tag_bw 64 KiB|ucp -t tag_bw -s 65536|$LAB_BENCH_COLUMN_BANDWIDTH|MB/s|500|200|5"
    "ucp tag_bw 1 MiB|ucp -t tag_bw -s 1048576|$LAB_BENCH_COLUMN_BANDWIDTH|MB/s|40|20|5")
LAB_BENCH_WARM_UP=20

lab_bench_variables() {
    case $1 in
    xshm)
        echo "LD_PRELOAD=$LAB_INSTALL/lib/ucx/libuct_xshm.so.0"
        # The emulated processor says that it is AMD's, and has no caches
        echo UCX_XSHM_NT_MIN=inf
        ;;
    tcp) echo UCX_NET_DEVICES=eth0 ;;
    esac
    echo "UCX_TLS=$1"
}

lab_bench_device() {
    case $1 in
    xshm) echo xen ;;
    tcp) echo eth0 ;;
    esac
}

# lab_bench_figure TRANSPORT OPTIONS COLUMN ITERATIONS: one run
lab_bench_figure() {
    local transport=$1 column=$3 iterations=$4 output figure
    local -a variables options more

    mapfile -t variables < <(lab_bench_variables "$transport")
    IFS=, read -r -a more <<<"${2%% *}"
    variables+=("${more[@]:1}")
    read -r -a options <<<"${2#* }"
    [ "${more[0]}" = ucp ] ||
        options+=(-x "$transport" -d "$(lab_bench_device "$transport")")
    output=$(LAB_USER=mpi lab_exec guest1 ucx_pair guest2 "${variables[@]}" -- \
        -f -v "${options[@]}" -n "$iterations" -w "$LAB_BENCH_WARM_UP" \
        </dev/null) || lab_fail "ucx_perftest ${options[*]} failed: $output"
    figure=$(tail -n 1 <<<"$output" | cut -d , -f "$column")
    [[ $figure =~ ^[0-9]+(\.[0-9]+)?$ ]] ||
        lab_fail "ucx_perftest ${options[*]} gave no figure: $output"
    echo "$figure"
}

# One row, with the transports in turn: appends to $LAB_BENCH_CSV
lab_bench_row() {
    local round transport name options column unit xshm tcp least figure
    local -A iterations

    IFS='|' read -r name options column unit xshm tcp least <<<"$1"
    iterations=([xshm]=$xshm [tcp]=$tcp)
    for ((round = 1; round <= LAB_BENCH_ROUNDS; round++)); do
        for transport in "${LAB_BENCH_TRANSPORTS[@]}"; do
            [ "${iterations[$transport]}" -gt 0 ] || continue
            figure=$(lab_bench_figure "$transport" "$options" "$column" \
                "${iterations[$transport]}") || exit "$LAB_EXIT_FAILED"
            printf '%s,%s,%s,%d,%s,%s\n' "$name" "$unit" "$transport" "$round" \
                "$figure" "$least" >>"$LAB_BENCH_CSV"
        done
    done
    lab_say "$name: done"
}

# The medians of each row, and how many times better the first one is. A
# latency is better when it is smaller.
lab_bench_table() {
    awk -F , '
        function median(list, count, i, j, value) {
            count = split(list, value, " ")
            for (i = 2; i <= count; i++) {
                for (j = i; j > 1 && value[j] + 0 < value[j - 1] + 0; j--) {
                    swap = value[j]; value[j] = value[j - 1]
                    value[j - 1] = swap
                }
            }
            return value[int((count + 1) / 2)]
        }
        NR > 1 {
            if (!($1 in unit)) { order[++rows] = $1 }
            unit[$1] = $2
            least[$1] = $6
            figures[$1, $3] = figures[$1, $3] " " $5
        }
        END {
            printf "%-20s %-6s %14s %14s %9s  %s\n", "", "", "xshm", "tcp",
                "ratio", "expected"
            for (i = 1; i <= rows; i++) {
                name = order[i]
                xshm = median(figures[name, "xshm"])
                tcp = median(figures[name, "tcp"])
                if (tcp == "") {
                    printf "%-20s %-6s %14s %14s\n", name, unit[name], xshm, "-"
                    continue
                }
                ratio = (unit[name] == "usec") ? tcp / xshm : xshm / tcp
                verdict = (ratio >= least[name]) ? "met" : "missed"
                expected = least[name] ? ">= " least[name] ": " verdict : ""
                printf "%-20s %-6s %14s %14s %9.1f  %s\n", name, unit[name],
                    xshm, tcp, ratio, expected
            }
        }' "$1"
}

lab_bench() {
    local row

    # shellcheck disable=SC2034 # for the other parts
    LAB_OUTLIVES=no
    LAB_OUT=${LAB_OUT:-$LAB_DIR/bench}
    LAB_BENCH_CSV=$LAB_OUT/bench.csv
    trap lab_end_run EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP

    lab_up "${LAB_FILES[@]}"
    mkdir -p "$LAB_OUT"
    echo test,unit,transport,round,figure,expected >"$LAB_BENCH_CSV"
    for row in "${LAB_BENCH_ROWS[@]}"; do
        lab_bench_row "$row"
    done
    lab_say "medians of $LAB_BENCH_ROUNDS rounds in turn; each run is in" \
        "$LAB_BENCH_CSV"
    lab_bench_table "$LAB_BENCH_CSV"
    echo "* By message: the receiver copies the data out of the ring, as am_bw's does by" \
        "default between virtual machines."
    echo "The processor is emulated: only the ratios say anything, and they are" \
        "those of this emulation (docs/performance.md)."
}
