/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "platform.h"

#include "local/local.h"
#ifdef HAVE_XEN
#include "xen/xen.h"
#endif

#include <string.h>


const xshm_platform_ops_t *const xshm_platforms[] = {&xshm_local_ops,
#ifdef HAVE_XEN
                                                     &xshm_xen_ops,
#endif
                                                     NULL};

const xshm_platform_ops_t *xshm_platform_find(const char *device)
{
    const xshm_platform_ops_t *const *ops_p;

    for (ops_p = xshm_platforms; *ops_p != NULL; ++ops_p) {
        if (!strcmp((*ops_p)->device, device)) {
            return *ops_p;
        }
    }

    return NULL;
}

const char *xshm_reason_string(xshm_reason_t reason)
{
    static const char *strings[] = {
            [XSHM_REASON_NONE] = "no reason",
            [XSHM_REASON_VERSION] =
                    "it uses another version of the shared layout",
            [XSHM_REASON_UNKNOWN] =
                    "it has no such interface, or not this token",
            [XSHM_REASON_INVALID]  = "it does not accept the offered memory",
            [XSHM_REASON_RESOURCE] = "it is out of memory or descriptors",
            [XSHM_REASON_GONE]     = "it has closed or died"};

    return (reason < XSHM_REASON_LAST) ? strings[reason] : "unknown reason";
}
