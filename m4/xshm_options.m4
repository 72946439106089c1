# XSHM_CHECK_XEN
# --------------
# Xen's user-space libraries for the device "xen": used when they are there,
# unless --without-xen; --with-xen stops when they are not there.
AC_DEFUN([XSHM_CHECK_XEN], [
    AC_ARG_WITH([xen],
                [AS_HELP_STRING([--without-xen],
                                [build without the device "xen" (default: with
                                 it if libxen-dev is installed)])],
                [], [with_xen=auto])
    xshm_xen=no
    AS_IF([test "x$with_xen" != xno],
          [PKG_CHECK_MODULES([XEN], [xengnttab xenevtchn xenstore xentoollog],
                             [xshm_xen=yes],
                             [AS_IF([test "x$with_xen" != xauto],
                                    [XSHM_ERROR([Xen's libraries were asked
                                         for and are not there: install the
                                         package libxen-dev, or say
                                         --without-xen])])])])
    AS_IF([test "x$xshm_xen" = xyes],
          [AC_DEFINE([HAVE_XEN], [1], [Define to 1 to build the device "xen"])])
    AM_CONDITIONAL([HAVE_XEN], [test "x$xshm_xen" = xyes])
])


# XSHM_CHECK_JANSSON
# ------------------
# For "xshm_info -j", which says what to install if it was built without.
AC_DEFUN([XSHM_CHECK_JANSSON], [
    PKG_CHECK_MODULES([JANSSON], [jansson >= 2.7],
                      [xshm_jansson=yes
                       AC_DEFINE([HAVE_JANSSON], [1],
                                 [Define to 1 to build "xshm_info -j"])],
                      [xshm_jansson="no (install libjansson-dev for it)"])
])


# XSHM_CHECK_TOOLS
# ----------------
# What tests and checks need, and a plain build does not.
AC_DEFUN([XSHM_CHECK_TOOLS], [
    PKG_CHECK_MODULES([CMOCKA], [cmocka], [xshm_cmocka=yes],
                      [xshm_cmocka="no (install libcmocka-dev for them)"])
    AM_CONDITIONAL([HAVE_CMOCKA], [test "x$xshm_cmocka" = xyes])
    AC_CHECK_PROGS([MPICC], [mpicc], [no])
    AS_IF([test "x$MPICC" != xno], [xshm_mpi=yes],
          [xshm_mpi="no (install libopenmpi-dev for them)"])
    AM_CONDITIONAL([HAVE_MPI], [test "x$xshm_mpi" = xyes])
    AC_CHECK_PROGS([OSHCC], [oshcc], [no])
    AM_CONDITIONAL([HAVE_OSHMEM],
                   [test "x$xshm_mpi" = xyes && test "x$OSHCC" != xno])
    AC_CHECK_PROGS([CLANG_FORMAT], [clang-format], [no])
])


# XSHM_ARG_FOLDER(NAME, DEFAULT-BELOW-PREFIX, WHAT)
# ------------------------------------------------
# Where a file for the system goes: below the prefix, since an installation in
# a folder of one's own may not write into folders of the system. The system
# looks into these folders below /usr and /usr/local.
AC_DEFUN([XSHM_ARG_FOLDER], [
    AC_ARG_WITH([$1],
                [AS_HELP_STRING([--with-$1=DIR],
                                [where the $3 goes @<:@PREFIX/$2@:>@])],
                [], [with_$1='${prefix}/$2'])
    AS_CASE([$with_$1],
            [yes|no|''], [XSHM_ERROR([--with-$1 needs a folder])])
    AC_SUBST([$1], [$with_$1])
])


# XSHM_ARG_ASSERTIONS
# -------------------
# Assertions in xshm's own code. They change no structure of UCX, so that both
# kinds of build fit the same UCX.
AC_DEFUN([XSHM_ARG_ASSERTIONS], [
    AC_ARG_ENABLE([assertions],
                  [AS_HELP_STRING([--enable-assertions],
                                  [check xshm's own invariants at run time])],
                  [], [enable_assertions=no])
    AS_IF([test "x$enable_assertions" = xno],
          [AC_DEFINE([ENABLE_ASSERT], [0], [Define to 1 for assertions])],
          [AC_DEFINE([ENABLE_ASSERT], [1])])
])


# XSHM_ARG_SANITIZERS
# -------------------
AC_DEFUN([XSHM_ARG_SANITIZERS], [
    AC_ARG_ENABLE([sanitizers],
                  [AS_HELP_STRING([--enable-sanitizers=LIST],
                                  [build with the compiler's sanitizers, for
                                   example "address,undefined" or "thread"])],
                  [], [enable_sanitizers=no])
    SANITIZER_FLAGS=
    AS_CASE([$enable_sanitizers],
            [no], [],
            [yes], [XSHM_ERROR([--enable-sanitizers needs a list, for example
                                  --enable-sanitizers=address,undefined])],
            [SANITIZER_FLAGS="-fsanitize=$enable_sanitizers \
-fno-sanitize-recover=all -fno-omit-frame-pointer"
             xshm_save_CFLAGS=$CFLAGS
             CFLAGS="$CFLAGS $SANITIZER_FLAGS"
             AC_MSG_CHECKING([whether $CC knows $SANITIZER_FLAGS])
             AC_LINK_IFELSE([AC_LANG_PROGRAM],
                            [AC_MSG_RESULT([yes])],
                            [AC_MSG_RESULT([no])
                             XSHM_ERROR([the compiler $CC does not link with
                                  "$SANITIZER_FLAGS": choose other sanitizers, or
                                  install the compiler's sanitizer libraries
                                  (for clang: libclang-rt-14-dev)])])
             CFLAGS=$xshm_save_CFLAGS])
    AC_SUBST([SANITIZER_FLAGS])
    AM_CONDITIONAL([HAVE_SANITIZERS], [test "x$enable_sanitizers" != xno])
])


# XSHM_ARG_FUZZING
# ----------------
AC_DEFUN([XSHM_ARG_FUZZING], [
    AC_ARG_ENABLE([fuzzing],
                  [AS_HELP_STRING([--enable-fuzzing],
                                  [build the fuzz targets (needs CC=clang with
                                   libFuzzer)])],
                  [], [enable_fuzzing=no])
    FUZZER_FLAGS=
    AS_IF([test "x$enable_fuzzing" != xno],
          [FUZZER_FLAGS="-fsanitize=fuzzer,address,undefined \
-fno-sanitize-recover=undefined"
           xshm_save_CFLAGS=$CFLAGS
           CFLAGS="$CFLAGS $FUZZER_FLAGS"
           AC_MSG_CHECKING([for libFuzzer])
           AC_LINK_IFELSE([AC_LANG_SOURCE(
               [[#include <stddef.h>
                 #include <stdint.h>
                 int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
                 int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
                 { return (data == NULL) && (size == 0); }]])],
               [AC_MSG_RESULT([yes])],
               [AC_MSG_RESULT([no])
                XSHM_ERROR([the compiler $CC has no libFuzzer: configure with
                     CC=clang, and install the package libclang-rt-14-dev])])
           CFLAGS=$xshm_save_CFLAGS])
    AC_SUBST([FUZZER_FLAGS])
    AM_CONDITIONAL([HAVE_FUZZING], [test "x$enable_fuzzing" != xno])
])


# XSHM_COMPILER_FLAGS
# -------------------
# XSHM_CFLAGS for everything that is compiled, and XSHM_MODULE_LDFLAGS for the
# library. Each flag is tried, so that any compiler will do.
AC_DEFUN([XSHM_TRY_CFLAG], [
    xshm_save_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $1"
    AC_MSG_CHECKING([whether $CC knows $1])
    AC_COMPILE_IFELSE([AC_LANG_PROGRAM],
                      [AC_MSG_RESULT([yes])
                       XSHM_CFLAGS="$XSHM_CFLAGS $1"],
                      [AC_MSG_RESULT([no])])
    CFLAGS=$xshm_save_CFLAGS
])

AC_DEFUN([XSHM_COMPILER_FLAGS], [
    XSHM_CFLAGS=
    m4_foreach_w([xshm_flag],
                 [-Wall -Wextra -Wno-unused-parameter
                  -Wno-missing-field-initializers -Wdeclaration-after-statement
                  -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
                  -Wvla -Wundef
                  -Werror=implicit-function-declaration
                  -Werror=incompatible-pointer-types -Werror=int-conversion
                  -Werror=return-type -fvisibility=hidden],
                 [XSHM_TRY_CFLAG(xshm_flag)])
    XSHM_CFLAGS="$XSHM_CFLAGS $SANITIZER_FLAGS"
    # A sanitizer leaves symbols undefined for its run-time library
    XSHM_MODULE_LDFLAGS="-Wl,-z,relro -Wl,-z,now"
    AS_IF([test -z "$SANITIZER_FLAGS"],
          [XSHM_MODULE_LDFLAGS="$XSHM_MODULE_LDFLAGS -Wl,-z,defs"])
    AC_SUBST([XSHM_CFLAGS])
    AC_SUBST([XSHM_MODULE_LDFLAGS])
])
