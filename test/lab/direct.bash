# shellcheck shell=bash
# Access to memory that was granted to another machine: put, get and atomics of
# UCT, UCP and MPI between guests, directly and by message, each with the proof of
# the way. Functions of test/lab/xen, which sources this; "test/lab/direct" runs
# all of them in a lab of its own.
#
# See file LICENSE for terms.

# Test, layout, and the largest size, as in test/functional/perftest
DIRECT_UCT=("put_lat short 2048" "put_lat bcopy 8192" "put_lat zcopy 65536"
    "put_bw short 2048" "put_bw bcopy 8192" "put_bw zcopy 1048576"
    "get bcopy 2048" "get zcopy 1048576")
DIRECT_UCT_ATOMIC=(add_lat add_mr fadd swap cswap)
DIRECT_UCP=(ucp_put_lat ucp_put_bw ucp_get)
DIRECT_UCP_ATOMIC=(ucp_add ucp_fadd ucp_swap ucp_cswap)
# As xshm_run and the file for Open MPI set it: what UCP allocates is xshm's memory then
readonly DIRECT_ALLOC_PRIO='md:xshm,md:sysv,md:posix,thp,md:*,mmap,heap'
# Of UCP in test/lab/xen's first boot: in one record, and in many
DIRECT_FEW=(8 65536)
# OpenSHMEM's symmetric heap is granted from the start
readonly DIRECT_SHMEM_HEAP=16M

# direct_lines NAME MAX ARGUMENT...: a line of a batch for each size in DIRECT_SIZES
direct_lines() {
    local name=$1 max=$2 size
    shift 2

    for size in "${DIRECT_SIZES[@]}"; do
        if [ "$size" -le "$max" ] && { [ "$size" -ge 8 ] || [ "$max" -eq 8 ]; }; then
            echo "${name}_$size $* -s $size -n 30 -w 3"
        fi
    done
}

# What is measured of UCP, for the sizes in DIRECT_SIZES
direct_lines_ucp() {
    local test

    for test in "${DIRECT_UCP[@]}"; do
        direct_lines "$test" 1048576 -t "$test"
    done
    for test in "${DIRECT_UCP_ATOMIC[@]}"; do
        direct_lines "$test" 8 -t "$test"
    done
}

direct_write_batches() {
    local line test layout max
    local DIRECT_SIZES=(4 "${SIZES[@]}")

    mkdir -p "$WORK/batches"
    for line in "${DIRECT_UCT[@]}"; do
        read -r test layout max <<<"$line"
        direct_lines "${test}_$layout" "$max" -t "$test" -D "$layout"
    done >"$WORK/batches/rma_uct"
    for test in "${DIRECT_UCT_ATOMIC[@]}"; do
        direct_lines "$test" 8 -t "$test"
    done >>"$WORK/batches/rma_uct"
    direct_lines_ucp >"$WORK/batches/rma_ucp"
    direct_lines tag_bw 1048576 -t tag_bw | grep -E '_(65536|1048576) ' \
        >"$WORK/batches/tag_bw_large"
    DIRECT_SIZES=(4 "${DIRECT_FEW[@]}")
    direct_lines_ucp >"$WORK/batches/rma_ucp_few"
}

direct_push_batches() {
    local name

    direct_write_batches
    for name in guest1 guest2; do
        "$LAB" push "$name" "$WORK/batches"
    done
}

# The domains of the first two guests: in each of them the other one is the only
# one that is allowed
direct_domains() {
    local name

    for name in guest1 guest2; do
        guest "$name" xenstore-read domid
    done | paste -sd,
}

# direct_variables WAY: how memory is granted and accessed, one a line
direct_variables() {
    echo "UCX_XSHM_ALLOW=$(direct_domains)"
    if [ "$1" = message ]; then
        echo UCX_XSHM_RMA=message
    fi
}

# What became of the memory, and which way each interface took
direct_reasons() {
    grep -E 'xshm: (region .* is mapped|.* cannot|.* granted to|interface .* made)' \
        "$WORK/logs"/ucx.*.log | sed 's|^.*/ucx\.||; s/:.* xshm: /: /'
}

direct_proof_way() {
    proof_way "$WORK/logs" "$1" || {
        direct_reasons
        return 1
    }
}

# direct_pair WAY BATCH TLS ARGUMENT...; TLS is empty at UCT's level
direct_pair() {
    local way=$1 batch=$2 tls=$3 variables
    shift 3

    mapfile -t variables < <(
        direct_variables "$way"
        echo "UCX_ALLOC_PRIO=$DIRECT_ALLOC_PRIO"
        proof_env "$LOGS"
    )
    pair "$batch" LD_PRELOAD="$LIBRARY" ${tls:+"UCX_TLS=$tls"} \
        "${variables[@]}" -- "$@"
    fetch_logs
    direct_proof_way "$way"
    if [ -n "$tls" ]; then
        proof_fetched "$tls" 2 xen
    fi
}

# direct_mpi WAY HOSTS RANKS PROGRAM DEVICE...
direct_mpi() {
    local way=$1 hosts=$2 ranks=$3 program=$4 variables
    shift 4

    mapfile -t variables < <(direct_variables "$way")
    mpi xshm "$hosts" "$ranks" "$program" "${variables[@]}"
    fetch_logs
    proof_fetched xshm "$ranks" "$@"
    direct_proof_way "$way"
}

# The same, and there were direct accesses of interfaces of the device xen
direct_mpi_on_xen() {
    direct_mpi "$@"
    cat "$WORK/logs"/ucx.*.log |
        grep -E 'of device xen made [1-9][0-9]* direct'
}

# direct_oshmem WAY: OpenSHMEM with a process in each of two guests, from guest1
direct_oshmem() {
    local way=$1
    local -a variables

    mapfile -t variables < <(
        direct_variables "$way"
        echo "SHMEM_SYMMETRIC_HEAP_SIZE=$DIRECT_SHMEM_HEAP"
    )
    # shellcheck disable=SC2046 # several words
    user guest1 env OMPI_MCA_mca_base_param_files="$PARAMETERS" UCX_TLS=xshm \
        OMPI_MCA_mca_base_env_list="$(mpi_env_list)" $(proof_mpi_env) \
        oshrun -np 2 --host guest1,guest2 env "${variables[@]}" "$MPI/oshmem" \
        >"$WORK/results" 2>&1 || {
        cat "$WORK/results"
        return 1
    }
    mpi_result oshmem 2
    fetch_logs
    proof_fetched xshm 2 xen
    proof_pml "$WORK/logs" "$WORK/results" 2
    proof_spml "$WORK/results" 2
    direct_proof_way "$way"
}

# direct_windows NAME...: these tests of windows.py
direct_windows() {
    local status=0 log=$WORK/windows

    # shellcheck disable=SC2086,SC2154 # several words; of test/lab/xen
    "$XSHM_SRC/test/lab/windows.py" --device xen --guests $guests --only "$@" \
        >"$log" 2>&1 || status=$?
    # shellcheck disable=SC2154 # of test/lab/xen
    tap_collect "$boot: " <"$log"
    [ "$status" -eq 0 ] || tap_not_ok "$boot: windows.py: status $status"
}

# What is in test/lab/xen's first boot
direct_tests() {
    direct_push_batches
    check "ucx_perftest put, get, atomics of UCT, direct" \
        direct_pair direct rma_uct '' -x xshm -d xen
    check "ucx_perftest put, get, atomics of UCT, by message" \
        direct_pair message rma_uct '' -x xshm -d xen
    check "ucx_perftest put, get, atomics of UCP, direct" \
        direct_pair direct rma_ucp_few xshm
    check "ucx_perftest put, get, atomics of UCP, by message" \
        direct_pair message rma_ucp_few xshm
    check "mpirun passive, 2 guests, 4 ranks" \
        direct_mpi_on_xen direct guest1:2,guest2:2 4 passive xen local
    check "mpirun rma, 2 guests, 4 ranks, windows that are mapped and others" \
        direct_mpi_on_xen mixed guest1:2,guest2:2 4 rma xen local
    check "mpirun rma, 2 guests, 2 ranks, by message" \
        direct_mpi message guest1,guest2 2 rma xen
    check "oshrun oshmem, 2 guests, 2 ranks, memory that is mapped and other" \
        direct_oshmem mixed
    check "oshrun oshmem, 2 guests, 2 ranks, by message" direct_oshmem message
    direct_windows direct early known third same-guest kill-user kill-owner free
}

direct_more_tests() {
    check "ucx_perftest put, get, atomics of UCP, all sizes, direct" \
        direct_pair direct rma_ucp xshm
    check "ucx_perftest put, get, atomics of UCP, all sizes, by message" \
        direct_pair message rma_ucp xshm
    check "ucx_perftest tag_bw, allocated memory: one copy" \
        direct_pair direct tag_bw_large xshm
    check "mpirun passive, 2 guests, 2 ranks" \
        direct_mpi_on_xen direct guest1,guest2 2 passive xen
    check "mpirun rma, 2 guests, 2 ranks, windows that are mapped and others" \
        direct_mpi_on_xen mixed guest1,guest2 2 rma xen
    direct_windows large message kill-idle cycles held
}

# For --in: all, and the plan at the end
direct_alone() {
    direct_tests
    direct_more_tests
    tap_finish
}
