# XSHM_CHECK_UCX
# --------------
# Find the installed UCX, and the source tree of the very same version: a
# transport needs internal headers, which are installed nowhere. Sets
# UCX_CPPFLAGS, UCX_LIBS, UCX_SOURCE, UCX_PREFIX and xshm_ucx_version.
AC_DEFUN([XSHM_CHECK_UCX], [
    AC_ARG_WITH([ucx],
                [AS_HELP_STRING([--with-ucx=DIR],
                                [prefix of the installed UCX @<:@/usr@:>@])],
                [], [with_ucx=/usr])
    AC_ARG_WITH([ucx-source],
                [AS_HELP_STRING([--with-ucx-source=DIR],
                                [unpacked source tree of the same UCX version,
                                 for UCX's internal headers @<:@"ucx-source" in
                                 the build folder, or build/ucx-source next to
                                 this file@:>@])],
                [], [with_ucx_source=])
    AS_CASE([$with_ucx], [yes|''], [with_ucx=/usr],
            [no], [XSHM_ERROR([xshm is a UCX transport: it cannot be built
                                 without UCX])])

    XSHM_FIND_INSTALLED_UCX
    XSHM_FIND_UCX_SOURCE
    XSHM_COMPARE_UCX_VERSIONS
    XSHM_LINK_UCX
])


# XSHM_UCX_HEADER_NUMBER(MACRO, FILE)
# -----------------------------------
# Print the value of a "#define MACRO value" line.
m4_define([XSHM_UCX_HEADER_NUMBER],
          [$SED -n 's/^#define  *$1  *\(@<:@0-9@:>@*\).*/\1/p' "$2"])


# XSHM_UCX_M4_NUMBER(MACRO, FILE)
# -------------------------------
# Print the value of a "define(<MACRO>, value)" line of UCX's configure.ac.
# (The first dot stands for a parenthesis, since m4 would run the macro.)
m4_define([XSHM_UCX_M4_NUMBER],
          [$SED -n 's/^define..$1., *\(@<:@0-9@:>@*\)).*/\1/p' "$2"])


AC_DEFUN([XSHM_FIND_INSTALLED_UCX], [
    AC_MSG_CHECKING([for the installed UCX])
    xshm_ucx_header="$with_ucx/include/uct/api/version.h"
    AS_IF([test ! -f "$xshm_ucx_header"],
          [AC_MSG_RESULT([no])
           XSHM_ERROR([there is no UCX in "$with_ucx" ("$xshm_ucx_header" is
                         missing): install the package libucx-dev, or give the
                         right prefix by --with-ucx=DIR])])
    xshm_ucx_major=`XSHM_UCX_HEADER_NUMBER([UCT_VERNO_MAJOR], [$xshm_ucx_header])`
    xshm_ucx_minor=`XSHM_UCX_HEADER_NUMBER([UCT_VERNO_MINOR], [$xshm_ucx_header])`
    xshm_ucx_patch=`XSHM_UCX_HEADER_NUMBER([UCT_VERNO_PATCH], [$xshm_ucx_header])`
    xshm_ucx_version="$xshm_ucx_major.$xshm_ucx_minor.$xshm_ucx_patch"
    AC_MSG_RESULT([$xshm_ucx_version in $with_ucx])
    AC_SUBST([UCX_PREFIX], [$with_ucx])
    AC_SUBST([UCX_VERSION], [$xshm_ucx_version])
    # Version 1.22 was the first to look for plug-ins by itself
    AM_CONDITIONAL([UCX_LOADS_PLUGINS],
                   [test "$xshm_ucx_major" -gt 1 ||
                    test "$xshm_ucx_minor" -ge 22])
])


AC_DEFUN([XSHM_FIND_UCX_SOURCE], [
    AC_MSG_CHECKING([for the source tree of UCX])
    xshm_ucx_source=
    AS_IF([test -n "$with_ucx_source"],
          [xshm_candidates="$with_ucx_source"],
          [xshm_candidates="ucx-source
$srcdir/build/ucx-source"])
    # One candidate a line, since a folder's name may hold a space
    xshm_save_IFS=$IFS
    IFS='
'
    for xshm_dir in $xshm_candidates; do
        AS_IF([test -z "$xshm_ucx_source" && \
               test -f "$xshm_dir/src/uct/base/uct_iface.h"],
              [xshm_ucx_source=`cd "$xshm_dir" && pwd`])
    done
    IFS=$xshm_save_IFS
    AS_IF([test -z "$xshm_ucx_source"],
          [AC_MSG_RESULT([no])
           AS_IF([test -n "$with_ucx_source"],
                 [XSHM_ERROR([there is no UCX source tree in
                      "$with_ucx_source" (src/uct/base/uct_iface.h is missing):
                      "contrib/fetch-ucx-source DIR" gets the right one])],
                 [XSHM_ERROR([the source tree of UCX $xshm_ucx_version is
                      missing: a transport needs UCX's internal headers. Run
                      "contrib/fetch-ucx-source DIR", and configure again with
                      --with-ucx-source=DIR])])])
    AC_MSG_RESULT([$xshm_ucx_source])
    AC_SUBST([UCX_SOURCE], [$xshm_ucx_source])
])


# The internal interface is no ABI: even the patch versions must agree.
AC_DEFUN([XSHM_COMPARE_UCX_VERSIONS], [
    AC_MSG_CHECKING([whether the installed UCX and the source tree agree])
    xshm_ac="$xshm_ucx_source/configure.ac"
    xshm_source_major=`XSHM_UCX_M4_NUMBER([ucx_ver_major], [$xshm_ac])`
    xshm_source_minor=`XSHM_UCX_M4_NUMBER([ucx_ver_minor], [$xshm_ac])`
    xshm_source_patch=`XSHM_UCX_M4_NUMBER([ucx_ver_patch], [$xshm_ac])`
    xshm_source_version="$xshm_source_major.$xshm_source_minor.$xshm_source_patch"
    AS_IF([test "x$xshm_ucx_version" != "x$xshm_source_version"],
          [AC_MSG_RESULT([no])
           XSHM_ERROR([the versions of UCX differ: $xshm_ucx_version is
                         installed in "$with_ucx", and the source tree
                         "$xshm_ucx_source" is $xshm_source_version. Give the
                         matching one by --with-ucx-source=DIR
                         ("contrib/fetch-ucx-source DIR" gets it)])])
    AC_MSG_RESULT([yes, $xshm_ucx_version])
    AC_DEFINE_UNQUOTED([XSHM_UCX_VERSION_MAJOR], [$xshm_ucx_major],
                       [Major version of the UCX that xshm is built for])
    AC_DEFINE_UNQUOTED([XSHM_UCX_VERSION_MINOR], [$xshm_ucx_minor],
                       [Minor version of the UCX that xshm is built for])
    AC_DEFINE_UNQUOTED([XSHM_UCX_VERSION_STRING], ["$xshm_ucx_version"],
                       [Version of the UCX that xshm is built for])
])


# Compile and link against both, and ask the library itself for its version:
# headers may be left from another package than the library.
AC_DEFUN([XSHM_LINK_UCX], [
    UCX_CPPFLAGS="-DCPU_FLAGS= -isystem \"$xshm_ucx_source/src\""
    UCX_LIBS="-luct -lucs"
    # The system's own folders need no option, and the order of the include
    # path breaks when they are given twice. With another UCX, the library names
    # its folder: preloaded, it is searched before the program's own UCX is.
    AS_IF([test "x$with_ucx" != "x/usr"],
          [UCX_CPPFLAGS="$UCX_CPPFLAGS -isystem \"$with_ucx/include\""
           UCX_LIBS="-L$with_ucx/lib -Wl,-rpath,$with_ucx/lib $UCX_LIBS"])
    AC_SUBST([UCX_CPPFLAGS])
    AC_SUBST([UCX_LIBS])

    xshm_save_CPPFLAGS=$CPPFLAGS
    xshm_save_LIBS=$LIBS
    AS_IF([test "x$with_ucx" != "x/usr"],
          [CPPFLAGS="$CPPFLAGS -I$with_ucx/include"
           LIBS="-L$with_ucx/lib -Wl,-rpath,$with_ucx/lib $LIBS"])
    LIBS="-lucp -luct -lucs $LIBS"
    AC_MSG_CHECKING([the version of the UCX library])
    AC_RUN_IFELSE(
        [AC_LANG_PROGRAM([[#include <stdio.h>
                           #include <ucp/api/ucp.h>]],
                         [[FILE *file = fopen("conftest.ucx", "w");
                           unsigned major, minor, patch;
                           ucp_get_version(&major, &minor, &patch);
                           fprintf(file, "%u.%u.%u\n", major, minor, patch);
                           return fclose(file);]])],
        [xshm_lib_version=`cat conftest.ucx`],
        [AC_MSG_RESULT([no])
         XSHM_ERROR([a program does not link with, or does not run with, UCX's
                       libraries in "$with_ucx" (config.log says why): install
                       the packages libucx-dev and libucx0])],
        [xshm_lib_version=$xshm_ucx_version])
    rm -f conftest.ucx
    AC_MSG_RESULT([$xshm_lib_version])
    AS_IF([test "x$xshm_lib_version" != "x$xshm_ucx_version"],
          [XSHM_ERROR([the versions of UCX differ: the library says
                         $xshm_lib_version, and the headers in
                         "$with_ucx/include" are of $xshm_ucx_version])])
    CPPFLAGS=$xshm_save_CPPFLAGS
    LIBS=$xshm_save_LIBS
])


# XSHM_UCX_CONFIG_H
# -----------------
# UCX's internal headers read what UCX's own configure would have put into its
# config.h. These values match a distribution's UCX where a structure or an
# inline function depends on them. ENABLE_STATS must stay undefined: it changes
# the size of structures.
AC_DEFUN([XSHM_UCX_CONFIG_H], [
    AC_DEFINE([ENABLE_BUILTIN_MEMCPY], [1], [UCX: memcpy by "rep movsb"])
    AC_DEFINE([ENABLE_DEBUG_DATA], [0], [UCX: no debug fields in structures])
    AC_DEFINE([ENABLE_MT], [1], [UCX: built with support for threads])
    AC_DEFINE([ENABLE_PARAMS_CHECK], [1], [UCX: check the user's parameters])
    AC_DEFINE([HAVE_HW_TIMER], [1], [UCX: time by the cycle counter])
    AC_DEFINE([NVALGRIND], [1], [UCX: no valgrind client requests])
    AC_DEFINE([UCS_MAX_LOG_LEVEL], [UCS_LOG_LEVEL_DEBUG],
              [UCX: the most verbose log level that is compiled in])
    AC_DEFINE([UCX_MODULE_SUBDIR], ["ucx"], [UCX: name of the module folder])
    AC_CHECK_HEADERS([alloca.h malloc.h])
    AC_CHECK_FUNCS([__clear_cache __aarch64_sync_cache_range])
])
