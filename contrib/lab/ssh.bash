# Working in the machines of a lab: ssh through QEMU's user network, which
# forwards ports of the loopback to dom0 and, over dom0's bridge, to each guest.
#
# See file LICENSE for terms.

# shellcheck shell=bash

# Bytes: longer than any copy
readonly LAB_NEVER_REP_MOVSB=1000000000

# What programs find in their environment, besides what is sent along.
lab_print_sshd_environment() {
    # root is who works in the lab; Open MPI wants that confirmed. And glibc copies
    # by an instruction that is emulated byte by byte.
    echo "SetEnv \"PATH=$(lab_machine_path)\" OMPI_ALLOW_RUN_AS_ROOT=1" \
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 \
        GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=$LAB_NEVER_REP_MOVSB
}

lab_print_known_hosts() {
    echo "$1 $(cut -d ' ' -f 1,2 "$LAB_KEYS/host_ed25519.pub")"
}

# One entry for each machine, the first of which has port $1.
lab_write_ssh_config() {
    local port=$1 name

    lab_print_known_hosts xenlab >"$LAB_STATE/known_hosts"
    for name in dom0 $(lab_guests); do
        cat <<-END
		Host $name
		    Port $port
		END
        port=$((port + 1))
    done >"$LAB_STATE/ssh_config"
    cat >>"$LAB_STATE/ssh_config" <<-END
	Host *
	    HostName 127.0.0.1
	    HostKeyAlias xenlab
	    UserKnownHostsFile "$LAB_STATE/known_hosts"
	    GlobalKnownHostsFile none
	    IdentityFile "$LAB_KEYS/id_ed25519"
	    IdentitiesOnly yes
	    StrictHostKeyChecking yes
	    BatchMode yes
	    LogLevel ERROR
	    ConnectTimeout $LAB_SSH_SECONDS
	    ServerAliveInterval 15
	    ServerAliveCountMax 8
	END
}

# lab_exec MACHINE COMMAND...: runs it there; its output, errors and exit status
# are this function's. Exit status 124: --timeout is over.
lab_exec() {
    local machine=$1 status=0 command
    local -a terminal=(-T)
    shift

    [ ! -t 0 ] || [ ! -t 1 ] || terminal=(-t)
    command="timeout --foreground -k $LAB_KILL_SECONDS $LAB_SECONDS"
    # the guard here is for a machine that does not answer at all
    timeout --foreground "$((LAB_SECONDS + LAB_KILL_SECONDS + LAB_SSH_SECONDS))" \
        ssh -F "$LAB_STATE/ssh_config" "${terminal[@]}" -l "$LAB_USER" \
        "$machine" "$command $(lab_quote "$@")" || status=$?
    case $status in
    124) lab_say "$machine: the command took longer than $LAB_SECONDS s" \
        "(--timeout)" ;;
    255) lab_say "$machine: ssh failed: is it running?" \
        "'$LAB_PROGRAM status' tells" ;;
    esac
    return "$status"
}
