# Builds what a lab boots, from Debian's packages, in $LAB_CACHE/<key>:
#   xen      the hypervisor            root.sqfs  the file system of dom0 and
#   vmlinux  dom0's and the guests'               of all guests (read-only)
#            kernel                    initrd/    what finds and mounts it
# Nothing is installed: packages that would touch grub or init are unpacked.
#
# See file LICENSE for terms.

# shellcheck shell=bash

# What dom0 and the guests consist of; dependencies come by themselves.
lab_guest_packages() {
    cat <<-'END'
	base-passwd bash busybox-static coreutils dash diffutils dpkg findutils
	gawk grep gzip hostname iproute2 iputils-ping kmod less libc-bin login
	mount openssh-client openssh-server passwd procps sed strace tar udev
	util-linux
	openmpi-bin ucx-utils
	libjansson4
	libxenevtchn1 libxengnttab1 libxenhypfs1 libxenmisc4.17 libxenstore4
	libyajl2 xenstore-utils
	END
    tr ',' '\n' <<<"$LAB_EXTRA_PACKAGES"
}

# Kernel modules that dom0 and the guests use. What they depend on is added.
lab_modules() {
    cat <<-'END'
	xen-evtchn xen-gntdev xen-gntalloc xen-privcmd xenfs
	xen-netback xen-netfront xen-blkback xen-blkfront
	bridge virtio_pci virtio_blk virtio_net virtio_console
	squashfs overlay ext4
	END
}

# The Debian package sources of this system, one a line, in apt's short form.
# Sources of others are left out: the lab needs none, and may not reach them.
lab_apt_sources() {
    local codename keyring=/usr/share/keyrings/debian-archive-keyring.gpg

    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format \
        '$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)' 'Created-By: Packages' |
        awk -v codename="$codename" -v keyring="$keyring" '
            $2 ~ "^" codename "(-updates|-security)?$" && $3 == "main" &&
            ($4 == "Debian" || $4 == "" || $4 == "$(ORIGIN)") {
                print "deb [signed-by=" keyring "]", $1, $2, $3
            }' | sort -u
}

# The options of this system's apt that decide how to reach the mirrors.
lab_apt_options() {
    apt-config dump | grep -i '^Acquire::.*proxy' || true
}

# A step of building, which may hang: apt, when a mirror does not answer.
lab_timed() {
    timeout -k "$LAB_KILL_SECONDS" "$LAB_BUILD_SECONDS" "$@"
}

# apt-get or apt-cache with a state of its own, below $1.
lab_apt() {
    local root=$1 command=$2
    shift 2

    mkdir -p "$root/state/lists/partial" "$root/cache/archives/partial"
    : >"$root/status"
    lab_timed "$command" -qq -o "Dir::State=$root/state" \
        -o "Dir::State::status=$root/status" \
        -o "Dir::Cache=$root/cache" \
        -o "Dir::Etc::sourcelist=$root/sources.list" \
        -o Dir::Etc::sourceparts=/dev/null \
        -o APT::Sandbox::User="" "$@"
}

# lab_apt_dependency ROOT PACKAGE PREFIX: the package, whose name starts with
# PREFIX, that PACKAGE depends on (such names change with each version).
lab_apt_dependency() {
    lab_apt "$1" apt-cache depends --important "$2" |
        awk -v prefix="$3" '$1 == "Depends:" && index($2, prefix) == 1 {
            print $2
            exit
        }'
}

# Everything that an image depends on. Another key is another image.
lab_image_key() {
    {
        cat "$LAB_SCRIPTS/images.bash"
        lab_apt_sources
        lab_guest_packages | xargs -n 1 | sort -u
        # the transport works with exactly the UCX that it was built for
        dpkg-query -W -f '${Package} ${Version}\n' libucx0 libopenmpi3 \
            2>/dev/null || true
    } | sha256sum | cut -c 1-16
}

lab_unpack_packages() {
    local work=$1 hypervisor tools kernel package
    local -a packages

    lab_say "downloading the hypervisor, its tools and the kernel"
    lab_apt "$work/apt" apt-get update ||
        lab_fail "apt-get update has failed, or takes more than" \
            "$LAB_BUILD_SECONDS s"
    hypervisor=$(lab_apt_dependency "$work/apt" xen-system-amd64 xen-hypervisor-)
    tools=$(lab_apt_dependency "$work/apt" xen-system-amd64 xen-utils-4)
    kernel=$(lab_apt_dependency "$work/apt" linux-image-amd64 linux-image-)
    packages=("$hypervisor" "$tools" "$kernel" xen-utils-common busybox-static)

    mkdir -p "$work/debs"
    (cd "$work/debs" && lab_apt "$work/apt" apt-get download "${packages[@]}") ||
        lab_fail "apt-get download has failed, or takes more than" \
            "$LAB_BUILD_SECONDS s"
    for package in "$work"/debs/*.deb; do
        dpkg-deb -x "$package" "$work/unpacked"
    done
}

# Xen's image is compressed in a way that QEMU does not read; the kernel's
# would be unpacked once for dom0 and for each guest, by an emulated processor.
lab_extract_kernels() {
    local work=$1 image=$2 vmlinuz sectors offset length

    gzip -dc "$(ls "$work"/unpacked/boot/xen-*.gz)" >"$image/xen"

    # fields setup_sects, payload_offset and payload_length of Linux's boot
    # protocol; the payload ends with four bytes that xz does not know
    vmlinuz=$(ls "$work"/unpacked/boot/vmlinuz-*)
    sectors=$(od -An -tu1 -j 0x1f1 -N 1 "$vmlinuz")
    read -r offset length < <(od -An -tu4 -j 0x248 -N 8 "$vmlinuz")
    tail -c "+$(((sectors + 1) * 512 + offset + 1))" "$vmlinuz" | {
        head -c $((length - 4))
        cat >/dev/null
    } | xz -dc >"$image/vmlinux" ||
        lab_fail "cannot unpack the kernel of ${vmlinuz##*/}"
}

# Copies the modules that the lab uses, with a list of their dependencies.
lab_copy_modules() {
    local tree=$1 target=$2 release file

    release=$(basename "$tree"/lib/modules/*)
    depmod -b "$tree" "$release"
    lab_modules | xargs -n 1 |
        while read -r module; do
            modprobe -d "$tree" -S "$release" --show-depends "$module"
        done | sed -n 's/^insmod \(.*\.ko\).*/\1/p' | sort -u |
        while read -r file; do
            install -D -m 644 "$file" "$target/${file#"$tree"/}"
        done
    cp "$tree/lib/modules/$release"/modules.{builtin,builtin.modinfo,order} \
        "$target/lib/modules/$release/"
    depmod -b "$target" "$release"
}

# The start of the memory file system that each machine boots from. Each lab
# adds its own files to it (lab_build_initrd).
lab_build_initrd_base() {
    local work=$1 image=$2

    mkdir -p "$image/initrd"/{bin,dev,lib,proc,sys,root,files,rw,new}
    install -m 755 "$work/unpacked/bin/busybox" "$image/initrd/bin/"
    lab_copy_modules "$work/unpacked" "$image/initrd"
}

# What the file system has beside Debian's packages: Xen's tools, the modules.
lab_collect_additions() {
    local work=$1 image=$2 add=$1/additions

    mkdir -p "$add"/usr/lib "$add/boot"
    cp -a "$image/initrd/lib/modules" "$add/usr/lib/"
    cp -a "$work"/unpacked/usr/lib/xen-* "$add/usr/lib/"
    ln -s "$(basename "$add"/usr/lib/xen-*)" "$add/usr/lib/xen"
    cp -a "$work/unpacked/etc" "$add/"
    cp "$image/vmlinux" "$add/boot/"
    tar -C "$add" --owner=0 --group=0 -cf "$work/additions.tar" .
}

lab_build_root() {
    local work=$1 image=$2 packages codename

    lab_say "building the file system of dom0 and the guests (about a minute)"
    codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
    packages=$(lab_guest_packages | xargs -n 1 | paste -sd,)
    lab_apt_options >"$work/apt.conf"

    # from within the folder: mmdebstrap's hooks do not quote what they pass on
    (
        cd "$work"
        # shellcheck disable=SC2016 # $1 is the hook's
        lab_timed mmdebstrap --quiet --format=tar --variant=custom \
            --include="$packages" --aptopt=apt.conf \
            --aptopt='APT::Install-Recommends "0"' \
            --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/locale/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' \
            --customize-hook='tar-in additions.tar /' \
            --customize-hook='chroot "$1" useradd -m -s /bin/bash -p "*" mpi' \
            "$codename" - - <apt/sources.list
    ) | lab_timed mksquashfs - "$image/root.sqfs" -tar -quiet -no-progress \
        -noI -noD -noF -noX 2>"$work/mksquashfs.log" >&2 ||
        lab_fail "cannot build the file system, in $LAB_BUILD_SECONDS s for" \
            "each step: $(tail "$work/mksquashfs.log")"
}

lab_build_image() {
    local image=$1 work
    work=$(dirname "$image")/work

    rm -rf "$work"
    mkdir -p "$work/apt" "$work/image"
    lab_apt_sources >"$work/apt/sources.list"
    [ -s "$work/apt/sources.list" ] ||
        lab_fail "apt has no source of Debian packages: see /etc/apt"

    lab_unpack_packages "$work"
    lab_extract_kernels "$work" "$work/image"
    lab_build_initrd_base "$work" "$work/image"
    lab_collect_additions "$work" "$work/image"
    lab_build_root "$work" "$work/image"

    mv "$work/image" "$image"
    rm -rf "$work"
}

# The keys by which this machine and the guests enter each other.
lab_build_keys() {
    [ -f "$LAB_KEYS/id_ed25519" ] && return
    mkdir -p "$LAB_KEYS"
    ssh-keygen -q -t ed25519 -N '' -C xenlab -f "$LAB_KEYS/host_ed25519"
    ssh-keygen -q -t ed25519 -N '' -C xenlab -f "$LAB_KEYS/id_ed25519"
}

# Removes images that nobody has used for a while. A lab needs its own only until
# it has started.
lab_remove_old_images() {
    find "$LAB_CACHE" -mindepth 1 -maxdepth 1 -type d \
        -mtime "+$LAB_KEEP_DAYS" -exec rm -rf {} +
}

# Sets LAB_IMAGE to an image that matches its inputs; builds it if need be.
lab_require_image() {
    local key

    # what is printed here is not what the user's command prints
    setup_packages lab >&2
    mkdir -p "$LAB_CACHE"
    key=$(lab_image_key)
    LAB_IMAGE=$LAB_CACHE/$key

    # labs that start at the same time build it once
    exec {lab_lock}>"$LAB_CACHE/lock"
    flock -w "$LAB_BUILD_SECONDS" "$lab_lock" ||
        lab_fail "another lab has been building the images for more than" \
            "$LAB_BUILD_SECONDS s"
    lab_build_keys
    if [ ! -d "$LAB_IMAGE" ]; then
        lab_build_image "$LAB_IMAGE"
        lab_say "image $key is ready"
    fi
    touch "$LAB_IMAGE"
    lab_remove_old_images
    exec {lab_lock}>&-
}
