#!/bin/bash
#
# Generate configure and the Makefile.in files. Needs autoconf, automake and
# libtool; run it once in a fresh checkout, from any folder.
#
# See file LICENSE for terms.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"

for tool in autoreconf:autoconf automake:automake libtoolize:libtool; do
    if ! command -v "${tool%%:*}" >/dev/null; then
        printf 'autogen.sh: "%s" is missing: install the package %s\n' \
               "${tool%%:*}" "${tool##*:}" >&2
        exit 1
    fi
done

mkdir -p config m4
exec autoreconf --force --install
