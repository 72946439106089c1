# shellcheck shell=bash
# Test results in TAP, for bash. To be sourced.
#
#   tap_run NAME COMMAND...   "ok" if COMMAND succeeds; its output is shown as
#                             diagnostics if it does not
#                             (lines that begin with NOTE: always)
#   tap_run_failing NAME PATTERN COMMAND...   the other way round: for a test of
#                             a test
#   tap_later NAME COMMAND... as tap_run, but by the next tap_run_later, which runs
#                             as many at a time as there are processors
#   tap_skip NAME REASON
#   tap_collect PREFIX        the results on standard input, "ok NAME" or
#                             "not ok NAME" a line, and what else stands there
#   tap_say TEXT              a line for the reader
#   tap_finish                the plan; the status of the script
#
# SPDX-License-Identifier: BSD-3-Clause

tap_count=0
tap_failed=0
tap_status=0
TAP_LINES_SHOWN=60
TAP_COLUMNS_SHOWN=200
TAP_NO_STATUS=255
tap_later_names=()
tap_later_commands=()

tap_say() {
    printf '# %s\n' "$*"
}

tap_ok() {
    tap_count=$((tap_count + 1))
    printf 'ok %d - %s\n' "$tap_count" "$1"
}

tap_not_ok() {
    tap_count=$((tap_count + 1))
    tap_failed=$((tap_failed + 1))
    printf 'not ok %d - %s\n' "$tap_count" "$1"
}

tap_skip() {
    tap_count=$((tap_count + 1))
    printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

tap_show() {
    local lines
    lines=$(wc -l <"$1")
    if [ "$lines" -gt "$TAP_LINES_SHOWN" ]; then
        tap_say "($((lines - TAP_LINES_SHOWN)) lines left out)"
    fi
    tail -n "$TAP_LINES_SHOWN" "$1" | cut -c "1-$TAP_COLUMNS_SHOWN" | sed 's/^/#   /'
}

# Sets tap_status. In a subshell with "set -e" of its own, which bash would
# ignore if this were called as a condition.
tap_run_to() {
    local output=$1
    shift
    set +e
    (
        set -e
        "$@"
    ) >"$output" 2>&1 </dev/null
    tap_status=$?
    set -e
}

# By tap_status
tap_result() {
    local name=$1 output=$2
    shift 2
    if [ "$tap_status" -eq 0 ]; then
        tap_ok "$name"
        sed -n 's/^NOTE /#   /p' "$output"
    else
        tap_not_ok "$name"
        tap_say "status $tap_status of: $*"
        tap_show "$output"
    fi
    rm -f "$output"
}

tap_run() {
    local name=$1 output
    shift
    output=$(mktemp "$FUNC_WORK/tap.XXXXXX")
    tap_run_to "$output" "$@"
    tap_result "$name" "$output" "$@"
}

tap_later() {
    tap_later_names+=("$1")
    shift
    tap_later_commands+=("$(printf '%q ' "$@")")
}

# tap_report_later FOLDER LAST: the results that there are, in the order of the
# calls of tap_later, up to the first that is not there, or to LAST: whose shell was
# killed has none
tap_report_later() {
    local folder=$1 last=$2 i=$tap_later_next

    while [ "$i" -lt "$last" ] || [ -e "$folder/$i.status" ]; do
        tap_status=$(cat "$folder/$i.status" || echo "$TAP_NO_STATUS")
        tap_result "${tap_later_names[i]}" "$folder/$i" \
            "${tap_later_commands[i]}"
        rm -f "$folder/$i.status"
        i=$((i + 1))
    done
    tap_later_next=$i
}

tap_run_later() {
    local folder i
    folder=$(mktemp -d "$FUNC_WORK/tap.XXXXXX")
    tap_later_next=0
    for i in "${!tap_later_names[@]}"; do
        while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do
            wait -n || true # the missing status will tell
        done
        tap_report_later "$folder" 0
        (
            tap_run_to "$folder/$i" eval "${tap_later_commands[i]}"
            echo "$tap_status" >"$folder/$i.writing"
            mv "$folder/$i.writing" "$folder/$i.status"
        ) &
    done
    wait
    tap_report_later "$folder" "${#tap_later_names[@]}"
    rm -r "$folder"
    tap_later_names=()
    tap_later_commands=()
}

# The command must fail, and say something that matches PATTERN: another
# failure than the one that was provoked proves nothing
tap_run_failing() {
    local name=$1 pattern=$2 output
    shift 2
    output=$(mktemp "$FUNC_WORK/tap.XXXXXX")
    tap_run_to "$output" "$@"
    if [ "$tap_status" -ne 0 ] && grep -Eq -e "$pattern" "$output"; then
        tap_ok "$name"
        tap_say "  $(grep -E -m 1 -e "$pattern" "$output")"
    else
        tap_not_ok "$name"
        tap_say "should have failed with \"$pattern\", ended with status" \
            "$tap_status: $*"
        tap_show "$output"
    fi
    rm -f "$output"
}

tap_collect() {
    local prefix=$1 line
    while IFS= read -r line; do
        case $line in
            'ok '*) tap_ok "$prefix${line#ok }" ;;
            'not ok '*) tap_not_ok "$prefix${line#not ok }" ;;
            *) printf '%s\n' "$line" ;;
        esac
    done
}

tap_finish() {
    if [ ${#tap_later_names[@]} -ne 0 ]; then
        tap_not_ok "${tap_later_names[*]}: tap_run_later was not called"
    fi
    printf '1..%d\n' "$tap_count"
    [ "$tap_failed" -eq 0 ]
}
