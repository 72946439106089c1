# What can be done to the guests of a lab that is up, and with their files.
#
# See file LICENSE for terms.

# shellcheck shell=bash

lab_dom0() {
    LAB_USER=root lab_exec dom0 "$@" </dev/null
}

lab_pause() {
    lab_dom0 xl pause "$1"
}

lab_unpause() {
    lab_dom0 xl unpause "$1"
}

lab_destroy() {
    lab_dom0 xl destroy "$1"
}

# Writes the guest to dom0's disk; it is gone from Xen until lab_restore.
lab_save() {
    lab_dom0 xl save "$1" "/lab/save/$1"
}

lab_restore() {
    lab_dom0 xl restore "/lab/save/$1"
    lab_dom0 rm "/lab/save/$1"
}

# Starts a guest that was destroyed, or has powered itself off, anew.
lab_start() {
    # its earlier start is in the log too
    : >"$LAB_STATE/$1.log"
    lab_dom0 /etc/xenlab/create "$1"
    lab_await "$1" || lab_fail "$1 is not up: see the consoles above"
}

lab_status() {
    lab_dom0 xl list
}

# With a terminal: the console itself. Without: what it has shown so far.
lab_console() {
    if ! [ -t 0 ] || ! [ -t 1 ]; then
        tr -d '\r' <"$LAB_STATE/$1.log"
    elif [ "$1" = dom0 ]; then
        command -v socat >/dev/null ||
            lab_fail "dom0's console needs socat: sudo apt-get install socat"
        lab_say "Ctrl-] leaves the console"
        # a socket's path may not be long
        (cd "$LAB_STATE" &&
            socat -,raw,echo=0,escape=0x1d UNIX-CONNECT:dom0.socket)
    else
        lab_say "Ctrl-] leaves the console"
        ssh -F "$LAB_STATE/ssh_config" -t dom0 xl console "$1"
    fi
}

# lab_push MACHINE PATH...: copies files there, to the path that they have here.
lab_push() {
    local machine=$1 path
    local -a relative=()
    shift

    for path in "$@"; do
        relative+=(".$(realpath -s -- "$path")")
    done
    tar -C / --owner=0 --group=0 -cf - "${relative[@]}" |
        LAB_USER=root lab_exec "$machine" tar -C / --no-overwrite-dir -xf -
}

# lab_fetch MACHINE FOLDER PATH...: copies the machine's files to FOLDER here.
lab_fetch() {
    local machine=$1 folder=$2
    shift 2

    mkdir -p "$folder"
    LAB_USER=root lab_exec "$machine" tar -cf - "$@" </dev/null |
        tar -C "$folder" -xf -
}
