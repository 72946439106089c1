/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* RTLD_DEFAULT */
#endif

#include "compat.h"

#include <uct/api/version.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>


typedef void (*xshm_ucp_get_version_func_t)(unsigned *major, unsigned *minor,
                                            unsigned *release);

/* Names that libuct has from the version on that they stand for. The last one
 * that is there tells the least version. (libuct itself cannot be asked.) */
static const struct {
    const char *name;
    unsigned    minor;
} xshm_compat_probes[] = {{"uct_ep_invalidate", 13},
                          {"uct_md_query_v2", 14},
                          {"uct_base_rkey_compare", 16},
                          {"uct_md_base_md_query", 17},
                          {"uct_rkey_unpack_v2", 19},
                          {"uct_ep_put_sgl_zcopy", 22}};

#define XSHM_COMPAT_NUM_PROBES \
    (sizeof(xshm_compat_probes) / sizeof(xshm_compat_probes[0]))


/* The log of another UCX may differ, too: not used here */
static void xshm_compat_complain(const char *found)
{
    fprintf(stderr,
            "xshm: this library was built for UCX %d.%d, and this process has "
            "UCX %s: xshm is not available in it. Build xshm with the sources "
            "of the UCX that is installed (configure --with-ucx-source).\n",
            UCT_VERNO_MAJOR, UCT_VERNO_MINOR, found);
}

/* libuct: between which versions are the names that are there? */
static int xshm_compat_check_names(void)
{
    unsigned least = 0;
    unsigned next  = 0;
    char     found[64];
    size_t   i;

    for (i = 0; i < XSHM_COMPAT_NUM_PROBES; ++i) {
        if (dlsym(RTLD_DEFAULT, xshm_compat_probes[i].name) != NULL) {
            least = xshm_compat_probes[i].minor;
            next  = 0;
        } else if (next == 0) {
            next = xshm_compat_probes[i].minor;
        }
    }

    if ((UCT_VERNO_MINOR >= least) &&
        ((next == 0) || (UCT_VERNO_MINOR < next))) {
        return 1;
    }

    if (least == 0) {
        snprintf(found, sizeof(found), "before 1.%u", next);
    } else {
        snprintf(found, sizeof(found), "1.%u or later", least);
    }
    xshm_compat_complain(found);
    return 0;
}

int xshm_compat_check(void)
{
    xshm_ucp_get_version_func_t get_version;
    unsigned                    major, minor, release;
    char                        found[64];

    if (!xshm_compat_check_names()) {
        return 0;
    }

    get_version =
            (xshm_ucp_get_version_func_t)dlsym(RTLD_DEFAULT, "ucp_get_version");
    if (get_version == NULL) {
        return 1;
    }

    get_version(&major, &minor, &release);
    if ((major == UCT_VERNO_MAJOR) && (minor == UCT_VERNO_MINOR)) {
        return 1;
    }

    snprintf(found, sizeof(found), "%u.%u.%u", major, minor, release);
    xshm_compat_complain(found);
    return 0;
}
