/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <dlfcn.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define XSHM_INFO_UCP     "libucp.so.0"
#define XSHM_INFO_LIBRARY "libuct_xshm.so.0"

/* The first version of UCX 1 that looks for plug-ins by itself */
#define XSHM_INFO_PLUGIN_MINOR 22


typedef void (*xshm_info_get_version_t)(unsigned *major, unsigned *minor,
                                        unsigned *patch);


typedef struct xshm_info_ucx {
    const char *path; /* Of libucp */
    unsigned    major;
    unsigned    minor;
    unsigned    patch;
} xshm_info_ucx_t;


char *xshm_info_folder(const char *path)
{
    char *real = xshm_info_real_path(path);

    return (real == NULL) ? NULL : dirname(real);
}

char *xshm_info_join(const char *folder, const char *name)
{
    char *path = xshm_info_format("%s/%s", folder, name);

    return (access(path, R_OK) == 0) ? path : NULL;
}

static const char *xshm_info_ucx_missing_fix(void)
{
    if (access(XSHM_INFO_UCX_PREFIX "/lib/" XSHM_INFO_UCP, R_OK) == 0) {
        return "export LD_LIBRARY_PATH=\"" XSHM_INFO_UCX_PREFIX
               "/lib:$LD_LIBRARY_PATH\"";
    }

    return "sudo apt-get install libucx0 (or your system's package of UCX)";
}

/* The version is asked of the library, as a program would get it */
static int
xshm_info_open_ucx(xshm_info_section_t *section, xshm_info_ucx_t *ucx)
{
    xshm_info_get_version_t get_version;
    Dl_info                 where = {0};
    void                   *handle;

    handle = dlopen(XSHM_INFO_UCP, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        xshm_info_add(section, "installed", XSHM_INFO_MISSING, NULL,
                      xshm_info_format("UCX was not found: %s", dlerror()),
                      xshm_info_ucx_missing_fix());
        return 0;
    }

    get_version = (xshm_info_get_version_t)dlsym(handle, "ucp_get_version");
    if ((get_version == NULL) || (dladdr(get_version, &where) == 0)) {
        xshm_info_add(section, "installed", XSHM_INFO_MISSING, NULL,
                      "the library " XSHM_INFO_UCP " that was found is not "
                      "UCX's: it has no ucp_get_version",
                      xshm_info_ucx_missing_fix());
        return 0;
    }

    get_version(&ucx->major, &ucx->minor, &ucx->patch);
    ucx->path = where.dli_fname;
    xshm_info_add(section, "installed", XSHM_INFO_OK, ucx->path,
                  xshm_info_format("UCX is installed: %s", ucx->path), NULL);
    return 1;
}

static void xshm_info_check_version(xshm_info_section_t   *section,
                                    const xshm_info_ucx_t *ucx)
{
    const char *version =
            xshm_info_format("%u.%u.%u", ucx->major, ucx->minor, ucx->patch);

    if ((ucx->major == XSHM_UCX_VERSION_MAJOR) &&
        (ucx->minor == XSHM_UCX_VERSION_MINOR)) {
        xshm_info_add(section, "version", XSHM_INFO_OK, version,
                      xshm_info_format("its version is %s, and xshm was built "
                                       "for %s",
                                       version, XSHM_UCX_VERSION_STRING),
                      NULL);
        return;
    }

    xshm_info_add(section, "version", XSHM_INFO_MISSING, version,
                  xshm_info_format("its version is %s, and this build of xshm "
                                   "works with UCX %d.%d only",
                                   version, XSHM_UCX_VERSION_MAJOR,
                                   XSHM_UCX_VERSION_MINOR),
                  xshm_info_format("build xshm again: ./configure "
                                   "--with-ucx-source=<the sources of UCX %s>",
                                   version));
}

/* Beside this program if the installation was moved, else where it was
 * installed */
static const char *xshm_info_find_library(const char *bindir)
{
    char *path = NULL;
    char *real;

    if (bindir != NULL) {
        path = xshm_info_join(bindir, XSHM_INFO_RELATIVE_MODULEDIR
                              "/" XSHM_INFO_LIBRARY);
    }

    if (path == NULL) {
        path = xshm_info_join(XSHM_INFO_MODULEDIR, XSHM_INFO_LIBRARY);
    }

    real = (path == NULL) ? NULL : xshm_info_real_path(path);
    return (real == NULL) ? path : real;
}

static int xshm_info_is_in_path_list(const char *list, const char *folder)
{
    char *rest = xshm_info_format("%s", (list == NULL) ? "" : list);
    char *entry, *real;

    while ((entry = strsep(&rest, ":")) != NULL) {
        real = xshm_info_real_path(entry);
        if ((real != NULL) && !strcmp(real, folder)) {
            return 1;
        }
    }

    return 0;
}

/* Where UCX from 1.22 on looks */
static int
xshm_info_ucx_finds_library(const xshm_info_ucx_t *ucx, const char *library)
{
    const char *folder = xshm_info_folder(library);
    const char *libdir = xshm_info_folder(ucx->path);
    const char *own = (libdir == NULL) ? NULL : xshm_info_join(libdir, "ucx");

    return (folder != NULL) &&
           (xshm_info_is_in_path_list(getenv("UCX_PLUGIN_PATH"), folder) ||
            xshm_info_is_in_path_list(own, folder));
}

static int xshm_info_ucx_has_plugins(const xshm_info_ucx_t *ucx)
{
    return (ucx->major > 1) || (ucx->minor >= XSHM_INFO_PLUGIN_MINOR);
}

static void xshm_info_check_loading(xshm_info_section_t   *section,
                                    const xshm_info_ucx_t *ucx,
                                    const char *library, const char *bindir)
{
    const char *preload = getenv("LD_PRELOAD");
    const char *run =
            (bindir == NULL) ? NULL : xshm_info_join(bindir, "xshm_run");

    if ((preload != NULL) && (strstr(preload, "libuct_xshm.so") != NULL)) {
        xshm_info_add(section, "loading", XSHM_INFO_OK, "preloaded",
                      "it is preloaded in this environment (LD_PRELOAD)", NULL);
        return;
    }

    if (xshm_info_ucx_has_plugins(ucx) &&
        xshm_info_ucx_finds_library(ucx, library)) {
        xshm_info_add(section, "loading", XSHM_INFO_OK, "plugin",
                      "UCX finds it by itself", NULL);
        return;
    }

    xshm_info_add(
            section, "loading", XSHM_INFO_NOTE, "xshm_run",
            xshm_info_ucx_has_plugins(ucx) ?
                    "UCX does not look for it in this folder: UCX_PLUGIN_PATH "
                    "does not name it" :
                    "this version of UCX does not look for it: it must be "
                    "preloaded",
            xshm_info_format("\"%s\" COMMAND (starts COMMAND with it)",
                             (run == NULL) ? "xshm_run" : run));
}

void xshm_info_find_ucx(xshm_info_section_t *section)
{
    const char     *bindir  = xshm_info_folder("/proc/self/exe");
    const char     *library = xshm_info_find_library(bindir);
    xshm_info_ucx_t ucx     = {0};
    int             is_installed;

    section->name  = "ucx";
    section->title = "UCX";
    is_installed   = xshm_info_open_ucx(section, &ucx);
    if (is_installed) {
        xshm_info_check_version(section, &ucx);
    }

    if (library == NULL) {
        xshm_info_add(section, "library", XSHM_INFO_MISSING, NULL,
                      "the transport's library " XSHM_INFO_LIBRARY " is not "
                      "in " XSHM_INFO_MODULEDIR,
                      "make install (in xshm's build folder)");
        return;
    }

    xshm_info_add(section, "library", XSHM_INFO_OK, library,
                  xshm_info_format("the transport's library is %s", library),
                  NULL);
    if (is_installed) {
        xshm_info_check_loading(section, &ucx, library, bindir);
    }
}
