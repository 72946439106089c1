# From a fresh Debian 12 to an installed xshm: packages, UCX's headers, configure,
# make, make install. Each step does only what is not done yet. To be sourced
# after common.sh.
#
# See file LICENSE for terms.

# shellcheck shell=bash

SETUP_LOGS=$XSHM_BUILD/logs
SETUP_UCX_SOURCE=$XSHM_BUILD/ucx-source
# What configure was told when it last succeeded
SETUP_CONFIGURED=$XSHM_BUILD/.configured

# Only one of us at a time may work in build/.
setup_lock() {
    mkdir -p "$XSHM_BUILD" "$SETUP_LOGS"
    exec {SETUP_LOCK}>"$XSHM_BUILD/.lock"
    flock -n "$SETUP_LOCK" ||
        xshm_die "another quickstart or test is working in \"$XSHM_BUILD\":" \
                 "wait for its end"
}

setup_check_system() {
    if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null
    then
        xshm_die "this system has no apt-get and dpkg-query: see README.md for" \
                 "the ordinary way (configure and make)"
    fi
}

# Print the packages that are listed for the given purposes and not installed.
setup_missing_packages() {
    local package purpose

    while read -r package purpose _; do
        case " $* " in
        *" $purpose "*) ;;
        *) continue ;;
        esac
        # shellcheck disable=SC2016 # dpkg-query's variable, not the shell's
        dpkg-query -W -f '${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || printf '%s\n' "$package"
    done < <(grep -v '^#' "$XSHM_SRC/contrib/lib/packages")
}

# Run apt-get as root: asks nothing, and takes only what was asked for.
setup_apt_get() {
    xshm_as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y -o APT::Install-Recommends=0 -o Dpkg::Use-Pty=0 \
                -o Acquire::Retries=3 "$@"
}

# Install what is missing for the given purposes, with a word before.
setup_packages() {
    local missing

    mapfile -t missing < <(setup_missing_packages "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        return
    fi
    xshm_say "installing by apt-get: ${missing[*]}"
    # If sudo asks for the password, then now, where it can be seen
    if ! xshm_can_be_root || ! xshm_as_root true; then
        xshm_die "cannot become root: have somebody run" \
                 "\"apt-get install ${missing[*]}\" as root, then run me again"
    fi
    xshm_quietly "apt-get update" "$SETUP_LOGS/apt-update.log" \
        setup_apt_get update ||
        xshm_die "apt-get update failed: see the lines above"
    xshm_quietly "apt-get install" "$SETUP_LOGS/apt-install.log" \
        setup_apt_get install "${missing[@]}" ||
        xshm_die "apt-get install ${missing[*]} failed: see the lines above"
}

setup_ucx_source() {
    "$XSHM_SRC/contrib/fetch-ucx-source" "$SETUP_UCX_SOURCE" ||
        exit 1
}

# Is there a configure that no file it is made of is newer than? (The rules that
# make has for this are not enough when automake needs one more auxiliary file.)
setup_is_generated() {
    [ -x "$XSHM_SRC/configure" ] &&
        [ -z "$(find "$XSHM_SRC/configure.ac" "$XSHM_SRC/Makefile.am" \
                     "$XSHM_SRC"/{m4,src,test}/ \
                     \( -name '*.ac' -o -name Makefile.am -o -name 'xshm_*.m4' \) \
                     -newer "$XSHM_SRC/configure" -print -quit)" ]
}

setup_autogen() {
    if setup_is_generated; then
        return
    fi
    xshm_say "generating configure"
    xshm_quietly "autogen.sh" "$SETUP_LOGS/autogen.log" \
        "$XSHM_SRC/autogen.sh" || exit 1
}

# What the result of configure depends on, but for the files in the repository
# (make itself watches those).
setup_configure_inputs() {
    printf '%s\n' "$@"
    cat "$SETUP_UCX_SOURCE/.xshm-source-version"
    # Tools that configure looks for: it has to look again when they appear
    command -v clang-format mpicc oshcc || true
    ls /usr/include/{cmocka,jansson,xenstore}.h 2>/dev/null || true
}

setup_run_configure() {
    # By a relative name: configure cannot handle a space in its own folder's
    cd "$XSHM_BUILD" && ../configure "$@"
}

setup_configure() {
    local args=(--prefix="$XSHM_INSTALL" --with-ucx-source="$SETUP_UCX_SOURCE")
    local inputs

    inputs=$(setup_configure_inputs "${args[@]}")
    if [ -f "$XSHM_BUILD/config.status" ] &&
       [ "$(cat "$SETUP_CONFIGURED" 2>/dev/null)" = "$inputs" ]; then
        return
    fi
    xshm_say "configuring in $XSHM_BUILD"
    rm -f "$SETUP_CONFIGURED"
    xshm_quietly "configure" "$SETUP_LOGS/configure.log" \
        setup_run_configure "${args[@]}" || exit 1
    printf '%s\n' "$inputs" >"$SETUP_CONFIGURED"
}

setup_make() {
    make -C "$XSHM_BUILD" -j"$(nproc)" "$@"
}

setup_build() {
    xshm_say "building in $XSHM_BUILD"
    xshm_quietly "make" "$SETUP_LOGS/make.log" setup_make all || exit 1
    xshm_say "installing in $XSHM_INSTALL"
    xshm_quietly "make install" "$SETUP_LOGS/install.log" \
        setup_make install || exit 1
}

# From nothing to an installed xshm, with the packages for the given purposes.
setup_all() {
    setup_check_system
    setup_packages build "$@"
    setup_lock
    setup_ucx_source
    setup_autogen
    setup_configure
    setup_build
}
