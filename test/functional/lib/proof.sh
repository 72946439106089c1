# shellcheck shell=bash
# The proof that a run used the transport under test and nothing else. To be
# sourced after func.sh.
#
# UCX writes to its log (one file a process, at debug level) every interface
# that it opens, and every lane of every endpoint. UCX falls back silently to
# any transport that it may use: so a test that only looks at its data proves
# nothing about what carried it.
#
#   proof_env DIR             prints the variables that make UCX write to DIR,
#                             one a line
#   proof_lanes DIR PROCESSES TRANSPORT [OTHER...]
#       fails unless PROCESSES processes used UCP, each has at least one lane
#       on TRANSPORT, and no process opened an interface of, or made a lane on,
#       anything but TRANSPORT and the OTHERs. Prints a line for each.
#   proof_pml DIR OUTPUT PROCESSES
#       fails unless OUTPUT (of mpirun with proof_mpi_env) shows for each
#       process of which DIR has a log that Open MPI chose its "ucx" component
#   proof_spml OUTPUT PROCESSES
#       the same of OpenSHMEM: its component "ucx", for so many processes
#   proof_way DIR WAY         fails unless the processes have accessed their peers'
#                             memory in that way: "direct" or "message", and
#                             nothing in the other one, or "mixed", both
#   proof_bytes REPORT MOVED  fails if more went over TCP (by isolate's REPORT)
#                             than what starting a job needs
#
# SPDX-License-Identifier: BSD-3-Clause

# Open MPI's and ucx_perftest's own connections go over TCP, too. A run that
# moves hardly more than these would prove nothing.
PROOF_START_BYTES=1500000
PROOF_MIN_MOVED=$((4 * PROOF_START_BYTES))

proof_env() {
    printf '%s\n' "UCX_LOG_LEVEL=debug" "UCX_LOG_FILE=$1/ucx.%h.%p.log"
}

proof_mpi_env() {
    printf '%s\n' OMPI_MCA_pml_base_verbose=10 OMPI_MCA_spml_base_verbose=10
}

# One line for each process: host pid lanes verdict
proof_read_log() {
    awk -v wanted="$1" -v others="$2" '
        function allowed(name) {
            return (name == wanted) || (index(" " others " ", " " name " "))
        }
        function note(name) {
            sub(/\/.*/, "", name)
            if (!allowed(name)) {
                bad = bad " " name
            }
            return name
        }
        match($0, /created interface\[[0-9]+\]=.* using [^ ]+ on worker/) {
            text = substr($0, RSTART, RLENGTH)
            sub(/.* using /, "", text)
            sub(/ on worker/, "", text)
            interfaces++
            note(text)
        }
        /ep 0x[0-9a-f]+: lane\[[0-9]+\]:/ {
            text = $0
            sub(/.*: lane\[[0-9]+\]: */, "", text)
            if (text !~ /^[0-9]+:[a-z0-9_]+\//) {
                bad = bad " unreadable-lane"
                next
            }
            sub(/^[0-9]+:/, "", text)
            if (note(text) == wanted) {
                lanes++
            } else {
                other_lanes++
            }
        }
        /ep_cfg\[[0-9]+\]:/ {
            text = $0
            sub(/.*ep_cfg\[[0-9]+\]: /, "", text)
            gsub(/[a-z_]+\(|\)|;/, " ", text)
            count = split(text, used, " ")
            for (i = 1; i <= count; i++) {
                note(used[i])
            }
            configs++
        }
        END {
            if (interfaces == 0) {
                bad = bad " no-interface-in-log"
            }
            if (lanes == 0) {
                bad = bad " no-lane-on-" wanted
            }
            printf "%d lanes on %s, %d on others, %d interfaces%s\n", lanes,
                wanted, other_lanes, interfaces,
                (bad == "") ? ": proven" : ": NOT PROVEN:" bad
            exit bad != ""
        }' "$3"
}

# What UCX complained about: with UCX_LOG_FILE set it says it nowhere else
proof_errors() {
    grep -hE ' UCX +(WARN|ERROR|FATAL) ' "$1"/ucx.*.log 2>/dev/null |
        head -n 20 || true
}

# Only processes that have a UCP context: mpirun has the library loaded, too
proof_logs() {
    grep -l 'created ucp context' "$1"/ucx.*.log 2>/dev/null || true
}

# "ucx.HOST.PID.log" as "HOST:PID"
proof_name() {
    basename "$1" .log | sed 's/^ucx\.\(.*\)\.\([0-9]*\)$/\1:\2/'
}

proof_lanes() {
    local dir=$1 processes=$2 wanted=$3 count=0 failed=0 log verdict
    shift 3
    while IFS= read -r log; do
        [ -n "$log" ] || continue
        count=$((count + 1))
        verdict=$(proof_read_log "$wanted" "$*" "$log") || failed=1
        echo "PROOF $(proof_name "$log") $verdict"
    done <<<"$(proof_logs "$dir")"
    if [ "$count" -ne "$processes" ]; then
        echo "PROOF NOT PROVEN: $count processes have a log, not $processes"
        failed=1
    fi
    return "$failed"
}

# "[HOST:0PID] select: component NAME selected", the number with zeros in front
proof_pml_choices() {
    sed -n 's/^.*\[\([^]:]*\):0*\([0-9]*\)\] select: component \([a-z0-9]*\) selected.*$/\1:\2 \3/p' \
        "$1"
}

proof_pml() {
    local dir=$1 output=$2 processes=$3 failed=0 log name
    if [ "$(proof_pml_choices "$output" | wc -l)" -ne "$processes" ] ||
        proof_pml_choices "$output" | grep -v ' ucx$'; then
        echo "PROOF NOT PROVEN: Open MPI did not choose ucx for $processes ranks"
        failed=1
    fi
    while IFS= read -r log; do
        [ -n "$log" ] || continue
        name=$(proof_name "$log")
        if ! proof_pml_choices "$output" |
            grep -xF "$name ucx" >/dev/null; then
            echo "PROOF NOT PROVEN: no word of Open MPI about $name"
            failed=1
        fi
    done <<<"$(proof_logs "$dir")"
    return "$failed"
}

proof_spml() {
    local choices
    choices=$(sed -n 's/^.*mca_spml_base_select() select: component \([a-z0-9]*\) selected.*$/\1/p' \
        "$1" | sort | uniq -c | xargs)
    if [ "$choices" != "$2 ucx" ]; then
        echo "PROOF NOT PROVEN: OpenSHMEM chose \"$choices\", not ucx for $2 ranks"
        return 1
    fi
}

# What the interfaces count, and write to the log when they are closed
proof_way() {
    cat "$1"/ucx.*.log | awk -v way="$2" '
        /xshm: interface .* made [0-9]+ direct accesses and [0-9]+ by message/ {
            for (i = 1; i < NF; i++) {
                if ($i == "made") direct += $(i + 1)
                if ($i == "and") messages += $(i + 1)
            }
        }
        END {
            printf "%d direct accesses, %d by message\n", direct, messages
            if (((way != "message") != (direct > 0)) ||
                ((way != "direct") != (messages > 0))) {
                print "NOT PROVEN: that is not " way
                exit 1
            }
        }'
}

proof_bytes() {
    local report=$1 moved=$2 bytes
    bytes=$(cat "$report")
    if [ "$moved" -lt "$PROOF_MIN_MOVED" ]; then
        echo "PROOF NOT PROVEN: only $moved bytes were moved, too few to tell"
        return 1
    fi
    if [ "$bytes" -gt "$PROOF_START_BYTES" ]; then
        echo "PROOF NOT PROVEN: $bytes bytes went over the loopback interface"
        return 1
    fi
    echo "PROOF $bytes bytes went over the loopback interface, $moved moved"
}
