# shellcheck shell=bash
# Starting MPI jobs in the ways in which a user does. To be sourced after
# proof.sh.
#
#   direct   everything said on the command line: no file of xshm's but the
#            library takes part
#   xshm_run        install/bin/xshm_run mpirun ...
#   parameter-file  literally "UCX_TLS=xshm mpirun -np N program", in an empty
#            environment, after the one step that docs/ tells
#
# SPDX-License-Identifier: BSD-3-Clause

MPI_BIN=$XSHM_BUILD/test/mpi
MPI_PARAMETER_FILE=$XSHM_INSTALL/share/xshm/xshm-mca-params.conf

# What starts the job, and more arguments for it
MPI_LAUNCHER=mpirun
MPI_EXTRA=()

mpi_init() {
    func_need "$MPI_BIN/ring"
    command -v mpirun >/dev/null ||
        func_bail_out "mpirun is missing: install openmpi-bin"
    # A user's own settings must not take part
    MPI_HOME=$FUNC_WORK/home
    MPI_CONFIGURED_HOME=$FUNC_WORK/configured-home
    mkdir -p "$MPI_HOME" "$MPI_CONFIGURED_HOME/.openmpi"
    MPI_BASE=("PATH=$PATH" "HOME=$MPI_HOME" "TMPDIR=$FUNC_WORK"
        OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1)
    if [ "$FUNC_TL" = xshm ]; then
        MPI_WAYS=(xshm_run parameter-file)
        func_need "$XSHM_INSTALL/bin/xshm_run"
        [ -f "$MPI_PARAMETER_FILE" ] ||
            func_bail_out "$MPI_PARAMETER_FILE is missing: make install"
        # The documented step
        cp "$MPI_PARAMETER_FILE" \
            "$MPI_CONFIGURED_HOME/.openmpi/mca-params.conf"
    else
        # shellcheck disable=SC2034 # For the script that sources this
        MPI_WAYS=(direct)
    fi
}

mpi_describe() {
    case $1 in
        direct) echo "mpirun with every setting on its command line" ;;
        xshm_run) echo "xshm_run mpirun -np N program" ;;
        parameter-file) echo "UCX_TLS=... mpirun -np N program" ;;
    esac
}

mpi_ranks_of() {
    case $1 in
        parameter-file) echo 2 4 ;;
        *) echo 2 3 4 8 ;;
    esac
}

mpi_other_transport() {
    if [ "$FUNC_TL" = posix ]; then
        echo sysv
    else
        echo posix
    fi
}

mpi_direct() {
    env -i "${MPI_BASE[@]}" "${FUNC_ENV[@]}" OMPI_MCA_pml=ucx \
        OMPI_MCA_osc=ucx OMPI_MCA_opal_common_ucx_tls=any \
        OMPI_MCA_opal_common_ucx_devices=any "${MPI_VARS[@]}" \
        "${MPI_ISOLATE[@]}" "$MPI_LAUNCHER" --oversubscribe "$@"
}

mpi_xshm_run() {
    env -i "${MPI_BASE[@]}" "${MPI_VARS[@]}" "${MPI_ISOLATE[@]}" \
        "$XSHM_INSTALL/bin/xshm_run" "$MPI_LAUNCHER" --oversubscribe "$@"
}

mpi_parameter_file() {
    env -i "${MPI_BASE[@]}" "HOME=$MPI_CONFIGURED_HOME" "${MPI_VARS[@]}" \
        "${MPI_ISOLATE[@]}" "$MPI_LAUNCHER" "$@"
}

# mpi_start HOW RANKS UCX_TLS DIR [VARIABLE=VALUE...] PROGRAM: run it in a
# network of its own; its output goes to DIR/output, the log to DIR
mpi_start() {
    local how=$1 ranks=$2 tls=$3 dir=$4
    shift 4
    readarray -t MPI_VARS < <(proof_env "$dir")
    readarray -t -O "${#MPI_VARS[@]}" MPI_VARS < <(proof_mpi_env)
    MPI_VARS+=("UCX_TLS=$tls")
    while [ $# -gt 1 ]; do
        MPI_VARS+=("$1")
        shift
    done
    MPI_ISOLATE=("$FUNC_BIN/isolate" -n -r "$dir/bytes"
        timeout --kill-after=10 "$FUNC_WATCHDOG")
    "mpi_${how//-/_}" "${MPI_EXTRA[@]}" -np "$ranks" "$1" >"$dir/output" 2>&1
}

# Without the lines that only proof_mpi_env asked for
mpi_show() {
    grep -vE 'mca: base:|select: |selected [a-z0-9]+ best' "$1/output" || true
    proof_errors "$1"
}

mpi_moved() {
    sed -n 's/^RESULT .* bytes=\([0-9]*\) ok$/\1/p' "$1"
}

# mpi_case HOW RANKS UCX_TLS PROGRAM [WAY [VARIABLE=VALUE...]]: one run with all
# its proofs; WAY, if it is there, as proof_way has it
mpi_case() {
    local how=$1 ranks=$2 tls=$3 program=$4 way=${5-} dir others=
    shift $(($# < 5 ? $# : 5))
    dir=$(mktemp -d "$FUNC_WORK/case.XXXXXX")
    case ,$tls, in
        *,self,*) others=self ;;
    esac
    if [ "$way" = message ]; then
        set -- "$@" UCX_XSHM_RMA=message
    fi
    mpi_start "$how" "$ranks" "$tls" "$dir" "$@" "$MPI_BIN/$program" || {
        mpi_show "$dir"
        return 1
    }
    if ! grep -q "^RESULT $program ranks=$ranks .* ok\$" "$dir/output"; then
        mpi_show "$dir"
        return 1
    fi
    proof_lanes "$dir" "$ranks" "$FUNC_TL" $others
    proof_pml "$dir" "$dir/output" "$ranks"
    if [ "$MPI_LAUNCHER" = oshrun ]; then
        proof_spml "$dir/output" "$ranks"
    fi
    if [ -n "$way" ]; then
        proof_way "$dir" "$way"
    fi
    proof_bytes "$dir/bytes" "$(mpi_moved "$dir/output")"
    rm -rf "$dir"
}
