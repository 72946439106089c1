# Shared by the parts of contrib/xenlab: messages, waiting, missing tools.
# shellcheck shell=bash

# Says what is going on, with the seconds since the start.
lab_say() {
    printf 'xenlab: [%3ds] %s\n' "$SECONDS" "$*" >&2
}

lab_fail() {
    printf 'xenlab: error: %s\n' "$*" >&2
    exit "$LAB_EXIT_FAILED"
}

# lab_wait_until SECONDS COMMAND...: 0 as soon as COMMAND succeeds, 1 when the
# time is up, 2 as soon as COMMAND returns 2 (it will never succeed).
lab_wait_until() {
    local limit=$1 start=$SECONDS status
    shift

    while true; do
        status=0
        "$@" || status=$?
        case $status in
        0 | 2) return "$status" ;;
        esac
        ((SECONDS - start < limit)) || return 1
        sleep "$LAB_POLL_SECONDS"
    done
}

# lab_quote WORD...: the words as one line that a remote shell splits back.
lab_quote() {
    printf '%q ' "$@"
}

# The packages whose commands the lab calls on this machine, as
# "command package" lines. Only their files are used: none is configured.
lab_host_tools() {
    cat <<-'END'
	qemu-system-x86_64 qemu-system-x86
	mmdebstrap mmdebstrap
	mksquashfs squashfs-tools
	cpio cpio
	xz xz-utils
	depmod kmod
	mke2fs e2fsprogs
	ssh openssh-client
	END
    # mmdebstrap without root works in a user namespace
    [ "$(id -u)" -eq 0 ] || echo 'newuidmap uidmap'
}

lab_missing_packages() {
    local tool package

    while read -r tool package; do
        command -v "$tool" >/dev/null || echo "$package"
    done < <(lab_host_tools)
}

# Installs what is missing where that needs no password, else says what to do.
lab_require_tools() {
    local -a missing as_root=()

    mapfile -t missing < <(lab_missing_packages)
    [ ${#missing[@]} -gt 0 ] || return 0

    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
        sudo -n true 2>/dev/null ||
            lab_fail "these packages are missing: ${missing[*]}; run:" \
                "sudo apt-get install --no-install-recommends ${missing[*]}"
    fi

    lab_say "installing what is missing here: ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" \
        >/dev/null
}
