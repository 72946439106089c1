# One lab: QEMU with Xen, dom0 and the guests, and the folder of its state.
#
# See file LICENSE for terms.

# shellcheck shell=bash

lab_guests() {
    seq -f 'guest%.0f' "$LAB_GUESTS"
}

lab_address() {
    case $1 in
    dom0) echo "$LAB_NETWORK.1" ;;
    *) echo "$LAB_NETWORK.$((10 + ${1#guest}))" ;;
    esac
}

# The start time of a process (in clock ticks), field 22 of its stat: together
# with the id it names one process for ever.
lab_process_start() {
    local stat

    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    stat=${stat##*) }
    [ "${stat%% *}" != Z ] || return 1
    cut -d ' ' -f 20 <<<"$stat"
}

lab_is_running() {
    local pid start

    read -r pid start 2>/dev/null <"$LAB_STATE/qemu.pid" || return 1
    [ "$(lab_process_start "$pid")" = "$start" ]
}

lab_is_stopped() {
    ! lab_is_running
}

# Settings of a lab that is up, for the commands that work with it.
lab_load() {
    lab_is_running ||
        lab_fail "lab '$LAB_NAME' is not up; start it with: $LAB_PROGRAM up"
    # shellcheck disable=SC1091 # written by lab_write_settings
    . "$LAB_STATE/settings"
}

lab_write_settings() {
    printf 'LAB_GUESTS=%q\n' "$LAB_GUESTS" >"$LAB_STATE/settings"
}

# The user's files and the project's installed tree, at the same path in each
# machine as here, and what dom0 boots the guests with.
lab_build_files() {
    local path
    local -a paths=("$@") members=(-C "$LAB_STATE/files" lab)

    [ ! -d "$LAB_INSTALL" ] || paths+=("$LAB_INSTALL")
    for path in "${paths[@]}"; do
        [ -e "$path" ] || lab_fail "--files: there is no '$path'"
        members+=(-C / ".$(realpath -s -- "$path")")
    done

    mkdir -p "$LAB_STATE/files/lab/boot"
    cp "$LAB_STATE/initrd" "$LAB_STATE/files/lab/boot/"
    tar --anchored --no-wildcards --exclude=".$LAB_DIR" -cf - \
        "${members[@]}" |
        lab_timed mksquashfs - "$LAB_STATE/files.sqfs" -tar -quiet -no-progress \
            -all-root -noI -noD -noF -noX >/dev/null 2>&1 ||
        lab_fail "cannot pack the files for the lab"
    rm -r "$LAB_STATE/files"
}

# Where each machine looks for programs.
lab_machine_path() {
    printf '%s:' "$LAB_INSTALL/bin" "$LAB_INSTALL/sbin" /usr/local/sbin \
        /usr/local/bin /usr/sbin /usr/bin /sbin /bin
    echo /usr/lib/xen/bin
}

# What each machine's scripts read, as the shell reads it.
lab_print_config() {
    printf '%s=%q\n' LAB_PATH "$(lab_machine_path)" LAB_TYPE "$LAB_TYPE" \
        LAB_MEMORY "$LAB_MEMORY" LAB_VCPUS "$LAB_VCPUS" \
        LAB_XENSTORED "$LAB_XENSTORED" LAB_GUEST_CONFIG "$LAB_GUEST_CONFIG" \
        LAB_CPUS "$LAB_CPUS" LAB_FIRST_CPU "$LAB_FIRST_CPU" \
        LAB_SETUP "$LAB_INSTALL/sbin/xshm_setup"
}

lab_print_hosts() {
    local name

    echo '127.0.0.1 localhost'
    for name in dom0 $(lab_guests); do
        echo "$(lab_address "$name") $name"
    done
}

# The lab's own files for each machine, in the folder $1.
lab_collect_overlay() {
    local overlay=$1

    cp -a "$LAB_SCRIPTS/guest/overlay" "$overlay"
    lab_print_config >"$overlay/etc/xenlab/lab.conf"
    lab_print_hosts >"$overlay/etc/hosts"
    lab_guests >"$overlay/etc/xenlab/guests"
    lab_print_sshd_environment >>"$overlay/etc/xenlab/sshd_config"
    install -D -m 600 "$LAB_KEYS/host_ed25519" \
        "$overlay/etc/xenlab/host_ed25519"
    lab_print_known_hosts 'dom0,guest*' >"$overlay/etc/ssh/ssh_known_hosts"
    # the project may be below root's home, and the user mpi has to get there
    install -d -m 711 "$overlay/root"
    install -d -m 700 "$overlay/root/.ssh"
    install -m 600 "$LAB_KEYS/id_ed25519" "$overlay/root/.ssh/"
    install -m 600 "$LAB_KEYS/id_ed25519.pub" \
        "$overlay/root/.ssh/authorized_keys"
}

# The image's memory file system with this lab's files. The kernel unpacks
# archives that follow one another.
lab_build_initrd() {
    local work=$LAB_STATE/work

    mkdir "$work"
    install -m 755 "$LAB_SCRIPTS/guest/init" "$work/init"
    lab_collect_overlay "$work/overlay"
    {
        lab_pack_cpio "$LAB_IMAGE/initrd"
        lab_pack_cpio "$work"
    } >"$LAB_STATE/initrd"
    rm -r "$work"
}

lab_pack_cpio() {
    (cd "$1" && find . | cpio --quiet -o -H newc -R 0:0)
}

# Where `save` puts guests: as large as it needs to be, empty, so sparse.
lab_build_save_disk() {
    local size=$((LAB_GUESTS * LAB_MEMORY * 2 + LAB_SAVE_SPARE))

    mke2fs -q -t ext4 "$LAB_STATE/save.ext4" \
        "${size}M" >/dev/null
}

lab_prepare() {
    ! lab_is_running || lab_fail "lab '$LAB_NAME' is already up"
    rm -rf "$LAB_STATE"
    mkdir -p "$LAB_STATE"
    lab_require_image
    lab_write_settings
    lab_build_initrd
    lab_build_files "$@"
    lab_build_save_disk
}

# The processor has what Xen needs for pvh guests, less what QEMU 7.2 emulates
# wrongly: with smap a pv dom0 crashes, with rdtscp a pvh guest hangs, and when
# Xen switches the SSE registers lazily, one guest sees those of another. A pvh
# guest cannot switch on AVX, and programs that find it use it and die.
lab_print_processor() {
    local without_avx=-xsave,-avx,-avx2,-fma,-f16c,-vaes,-vpclmulqdq

    [ "$LAB_TYPE" = pvh ] || without_avx=
    echo "max,-smap,-rdtscp${without_avx:+,$without_avx}"
}

# QEMU's options, one a line. A console is a socket that also keeps a log; a
# guest's is a port through which dom0 passes on what it logs.
lab_print_machine() {
    local port=$1 memory guest
    local dom0_options="console=hvc0 quiet net.ifnames=0 panic=1"

    memory=$((LAB_XEN_MEMORY + LAB_DOM0_MEMORY + LAB_GUESTS * LAB_MEMORY))
    cat <<-END
	-name
	xenlab-$LAB_NAME
	-accel
	tcg,thread=multi
	-cpu
	$(lab_print_processor)
	-smp
	$LAB_CPUS
	-m
	${memory}M
	-nodefaults
	-no-user-config
	-no-reboot
	-display
	none
	-chardev
	socket,id=dom0,path=dom0.socket,server=on,wait=off,logfile=dom0.log
	-serial
	chardev:dom0
	-kernel
	xen
	-append
	console=com1 com1=115200 loglvl=warning guest_loglvl=warning dom0_mem=${LAB_DOM0_MEMORY}M,max:${LAB_DOM0_MEMORY}M dom0_max_vcpus=1 spec-ctrl=eager-fpu $LAB_XEN_OPTIONS
	-initrd
	vmlinux $dom0_options xenlab.name=dom0,initrd
	-device
	virtio-serial-pci
	END
    for guest in $(lab_guests); do
        printf '%s\n' -chardev "file,id=$guest,path=$guest.log,append=on" \
            -device "virtserialport,chardev=$guest,name=$guest"
    done
    lab_print_disk root.sqfs readonly=on
    lab_print_disk files.sqfs readonly=on
    lab_print_disk save.ext4 cache=unsafe
    printf '%s\n' -device virtio-net-pci,netdev=net \
        -netdev "$(lab_print_network "$port")"
}

lab_print_disk() {
    printf '%s\n' -drive "if=none,id=$1,file=$1,format=raw,$2" \
        -device "virtio-blk-pci,drive=$1"
}

# No machine reaches anything outside; ours reaches each one's ssh server.
lab_print_network() {
    local port=$1 name

    printf 'user,id=net,restrict=on,net=%s.0/24,host=%s.2' \
        "$LAB_NETWORK" "$LAB_NETWORK"
    for name in dom0 $(lab_guests); do
        printf ',hostfwd=tcp:127.0.0.1:%d-%s:22' "$port" "$(lab_address "$name")"
        port=$((port + 1))
    done
}

# Starts QEMU with a number of free ports. Whether they are free is known when
# QEMU has them: no other way is free of races.
lab_start_machine() {
    local port attempt

    ln -s "$LAB_IMAGE/xen" "$LAB_IMAGE/vmlinux" "$LAB_IMAGE/root.sqfs" \
        "$LAB_STATE/"
    for ((attempt = 0; attempt < LAB_PORT_ATTEMPTS; attempt++)); do
        port=$((LAB_FIRST_PORT + RANDOM % LAB_PORT_RANGE))
        lab_start_qemu "$port"
        if lab_wait_until "$LAB_QEMU_SECONDS" lab_has_started; then
            lab_write_ssh_config "$port"
            return
        fi
        grep -q 'host forwarding rule' "$LAB_STATE/qemu.log" || break
    done
    lab_give_up "QEMU did not start: $(cat "$LAB_STATE/qemu.log")"
}

# From within the folder of its state, and naming files without folders: blanks
# and commas have a meaning in many of QEMU's options.
lab_start_qemu() {
    local pid
    local -a options starter=(setsid)

    # what must not outlive this program is ended with it, however it ends
    [ "$LAB_OUTLIVES" = yes ] || starter=(setpriv --pdeathsig KILL)
    mapfile -t options < <(lab_print_machine "$1")
    (cd "$LAB_STATE" && exec "${starter[@]}" \
        qemu-system-x86_64 "${options[@]}" </dev/null >/dev/null 2>qemu.log) &
    pid=$!
    echo "$pid $(lab_process_start "$pid")" >"$LAB_STATE/qemu.pid"
}

lab_has_started() {
    lab_is_running || return 2
    [ -s "$LAB_STATE/dom0.log" ]
}

# lab_is_ready NAME: has the machine said so on its console?
lab_is_ready() {
    local log=$LAB_STATE/$1.log

    ! grep -qs "xenlab: $1 is ready" "$log" || return 0
    lab_is_running || return 2
    ! grep -qsE "$LAB_FAILURES|xenlab: $1 failed to start" \
        "$log" "$LAB_STATE/dom0.log" || return 2
    return 1
}

# lab_await NAME: waits until the machine is up; if it does not come, shows why.
lab_await() {
    local status=0

    lab_wait_until "$LAB_BOOT_SECONDS" lab_is_ready "$1" || status=$?
    case $status in
    0)
        lab_say "$1 is up"
        return
        ;;
    1) lab_say "$1 is not up after $LAB_BOOT_SECONDS s (--boot-timeout)" ;;
    2) lab_say "$1 has failed to start" ;;
    esac
    lab_show_consoles
    return 1
}

# Nothing is left of a lab that did not start
lab_give_up() {
    lab_down
    lab_fail "$@"
}

lab_show_consoles() {
    local log

    for log in "$LAB_STATE"/*.log; do
        [ -s "$log" ] || continue
        printf '===== %s, last %d lines =====\n' "${log##*/}" "$LAB_LOG_LINES"
        tail -n "$LAB_LOG_LINES" "$log" | tr -d '\r'
    done >&2
}

lab_up() {
    local name

    lab_prepare "$@"
    lab_say "starting Xen, dom0 and $LAB_GUESTS $LAB_TYPE guests" \
        "(xenstored: $LAB_XENSTORED), emulated on $LAB_CPUS processors"
    lab_start_machine
    for name in dom0 $(lab_guests); do
        lab_await "$name" || lab_give_up "no lab: see the consoles above"
    done
}

# Ends QEMU, and keeps the consoles only.
lab_down() {
    local pid _start

    if lab_is_running; then
        read -r pid _start <"$LAB_STATE/qemu.pid"
        kill "$pid"
        lab_wait_until "$LAB_QEMU_SECONDS" lab_is_stopped || {
            lab_say "QEMU ($pid) does not end by itself: killing it"
            kill -9 "$pid"
        }
    fi
    find "$LAB_STATE" -mindepth 1 ! -name '*.log' -exec rm -rf {} +
}
