/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_GRANT_LIMIT_H_
#define XSHM_GRANT_LIMIT_H_

/**
 * How many pages a guest may grant, and to what that can be raised: the device
 * says it when it has met the limit, and xshm_info before.
 */

/** What raises the number of pages that all programs together may grant */
#define XSHM_GRANT_LIMIT_PATH "/sys/module/xen_gntalloc/parameters/limit"

/** Entries of a guest's grant table by default, 512 for each of 64 frames, and
 *  how many of them disks, network and the kernel itself take, generously */
#define XSHM_GRANT_LIMIT_TABLE 32768
#define XSHM_GRANT_LIMIT_OTHER 8192

/** What xshm_setup makes of the limit */
#define XSHM_GRANT_LIMIT_WANTED 16384


/** To what the limit can be raised, or -1: not beyond it. The device refuses
 *  all once it has met the end of the grant table, so the limit has to stay
 *  below it. How large it is, a guest is not told: Xen's default is assumed. */
static inline long xshm_grant_limit_raised(long limit)
{
    const long most   = XSHM_GRANT_LIMIT_TABLE - XSHM_GRANT_LIMIT_OTHER;
    long       raised = 2 * limit;

    if (raised < XSHM_GRANT_LIMIT_WANTED) {
        raised = XSHM_GRANT_LIMIT_WANTED;
    }

    if (raised > most) {
        raised = most;
    }

    return (raised > limit) ? raised : -1;
}

#endif
