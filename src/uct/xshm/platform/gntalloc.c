/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "gntalloc.h"
#include "fdset.h"
#include "grant_limit.h"

#include <ucs/debug/log.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <xen/gntalloc.h>


/* How long others' tries are waited for: so often, and so many nanoseconds each
 * time. To grant some thousand pages takes a few milliseconds, in an emulated
 * processor a hundred, and all ranks of a job allocate at the same moment. */
#define XSHM_GNTALLOC_MAX_TRIES 1000
#define XSHM_GNTALLOC_TRY_NSEC  1000000


int xshm_gntalloc_open(void)
{
    int fd = open(XSHM_GNTALLOC_PATH, O_RDWR | O_CLOEXEC);

    return (fd < 0) ? fd : xshm_fdset_add(fd);
}

int xshm_gntalloc_is_device(int fd)
{
    struct stat device, st;

    return (stat(XSHM_GNTALLOC_PATH, &device) == 0) && (fstat(fd, &st) == 0) &&
           S_ISCHR(device.st_mode) && S_ISCHR(st.st_mode) &&
           (st.st_rdev == device.st_rdev);
}

ucs_status_t xshm_gntalloc_grant(int fd, uint32_t domid, uint16_t flags,
                                 uint32_t count, uint64_t *index_p,
                                 uint32_t **grefs_p)
{
    struct ioctl_gntalloc_alloc_gref *op;
    uint32_t                         *grefs;

    op = calloc(1, sizeof(*op) + (count * sizeof(*grefs)));
    if (op == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    op->domid = (uint16_t)domid;
    op->flags = flags;
    op->count = count;
    if (ioctl(fd, IOCTL_GNTALLOC_ALLOC_GREF, op) != 0) {
        free(op);
        return UCS_ERR_NO_RESOURCE;
    }

    /* What is handed out is the start of the same memory */
    *index_p = op->index;
    grefs    = (uint32_t *)op;
    memmove(grefs, op->gref_ids, count * sizeof(*grefs));
    *grefs_p = grefs;
    return UCS_OK;
}

void xshm_gntalloc_ungrant(int fd, uint64_t index, uint32_t count)
{
    struct ioctl_gntalloc_dealloc_gref op = {.index = index, .count = count};

    if (ioctl(fd, IOCTL_GNTALLOC_DEALLOC_GREF, &op) != 0) {
        ucs_warn("xshm: cannot free %u granted pages: %m", count);
    }
}

/* The file that all processes have in common is the device itself. Who has
 * locked it may have been stopped: that is not waited for. */
static int xshm_gntalloc_lock(int fd, int operation)
{
    const struct timespec pause = {.tv_nsec = XSHM_GNTALLOC_TRY_NSEC};
    int                   i;

    for (i = 0; i < XSHM_GNTALLOC_MAX_TRIES; ++i) {
        if (flock(fd, operation | LOCK_NB) == 0) {
            return 1;
        }

        nanosleep(&pause, NULL);
    }

    return 0;
}

int xshm_gntalloc_begin_try(int fd)
{
    return xshm_gntalloc_lock(fd, LOCK_EX);
}

void xshm_gntalloc_end_try(int fd)
{
    (void)flock(fd, LOCK_UN);
}

void xshm_gntalloc_await_try(int fd)
{
    if (xshm_gntalloc_lock(fd, LOCK_SH)) {
        xshm_gntalloc_end_try(fd);
    }
}

int xshm_gntalloc_clear_at_end(int fd, uint64_t index)
{
    struct ioctl_gntalloc_unmap_notify op = {.index  = index,
                                             .action = UNMAP_NOTIFY_CLEAR_BYTE};

    return ioctl(fd, IOCTL_GNTALLOC_SET_UNMAP_NOTIFY, &op) == 0;
}

long xshm_gntalloc_limit(void)
{
    char  text[32] = "";
    FILE *file     = fopen(XSHM_GRANT_LIMIT_PATH, "re");

    if (file == NULL) {
        return -1;
    }

    (void)!fgets(text, sizeof(text), file);
    fclose(file);
    return strtol(text, NULL, 10);
}
