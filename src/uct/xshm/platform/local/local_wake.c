/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "local_wake.h"
#include "local_link.h"
#include "../fdset.h"

#include <ucs/debug/log.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>


/* What /proc/self/fd says of an event descriptor */
#define XSHM_LOCAL_EVENTFD_NAME "anon_inode:[eventfd]"

struct xshm_wake {
    int      fd;
    uint32_t number;
    unsigned refs;
};


ucs_status_t
xshm_local_wake_open(xshm_platform_t *platform, xshm_wake_t **wake_p)
{
    xshm_local_t *local = (xshm_local_t *)platform;
    xshm_wake_t  *wake;

    wake = calloc(1, sizeof(*wake));
    if (wake == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to be woken by",
                  sizeof(*wake));
        return UCS_ERR_NO_MEMORY;
    }

    wake->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake->fd < 0) {
        ucs_error("xshm: cannot open a descriptor to be woken by: %m. If there "
                  "are too many open files, raise ulimit -n");
        free(wake);
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(wake->fd);
    wake->refs   = 1;
    wake->number = __atomic_add_fetch(&local->next_wake, 1, __ATOMIC_RELAXED);
    *wake_p      = wake;
    return UCS_OK;
}

int xshm_local_wake_fd(const xshm_wake_t *wake)
{
    return wake->fd;
}

int xshm_local_wake_drain(xshm_wake_t *wake)
{
    uint64_t count;

    return read(wake->fd, &count, sizeof(count)) == sizeof(count);
}

uint32_t xshm_local_wake_number(const xshm_wake_t *wake)
{
    return wake->number;
}

void xshm_local_wake_get(xshm_wake_t *wake)
{
    __atomic_add_fetch(&wake->refs, 1, __ATOMIC_RELAXED);
}

void xshm_local_wake_put(xshm_wake_t *wake)
{
    if (__atomic_sub_fetch(&wake->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }

    xshm_fdset_close(wake->fd);
    free(wake);
}

/* To write to anything else could block, or do harm */
static int xshm_local_bell_is_eventfd(int fd)
{
    char    path[sizeof("/proc/self/fd/") + (3 * sizeof(fd))];
    char    name[sizeof(XSHM_LOCAL_EVENTFD_NAME)];
    ssize_t length;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    length = readlink(path, name, sizeof(name));
    return (length == sizeof(XSHM_LOCAL_EVENTFD_NAME) - 1) &&
           !memcmp(name, XSHM_LOCAL_EVENTFD_NAME, (size_t)length);
}

static int xshm_local_bell_is_valid(int fd)
{
    int flags;

    if (!xshm_local_bell_is_eventfd(fd)) {
        ucs_warn("xshm: a peer wants to be woken by a descriptor that is no "
                 "eventfd: it is not woken");
        return 0;
    }

    flags = fcntl(fd, F_GETFL);
    return (flags >= 0) && (fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
}

static xshm_local_bell_t *
xshm_local_bell_find(ucs_list_link_t *bells, uint32_t number)
{
    xshm_local_bell_t *bell;

    ucs_list_for_each(bell, bells, list) {
        if (bell->number == number) {
            return bell;
        }
    }

    return NULL;
}

xshm_local_bell_t *
xshm_local_bell_get(ucs_list_link_t *bells, uint32_t number, int *fds)
{
    xshm_local_bell_t *bell = xshm_local_bell_find(bells, number);

    if (bell != NULL) {
        ++bell->refs;
        return bell;
    }

    if (!xshm_local_bell_is_valid(fds[0])) {
        return NULL;
    }

    bell = calloc(1, sizeof(*bell));
    if (bell == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to wake a peer",
                  sizeof(*bell));
        return NULL;
    }

    bell->number = number;
    bell->refs   = 1;
    bell->fd     = fds[0];
    fds[0]       = -1;
    ucs_list_add_tail(bells, &bell->list);
    return bell;
}

void xshm_local_bell_put(xshm_local_bell_t *bell)
{
    if (--bell->refs > 0) {
        return;
    }

    ucs_list_del(&bell->list);
    xshm_fdset_close(bell->fd);
    free(bell);
}

void xshm_local_bells_forget(ucs_list_link_t *bells)
{
    xshm_local_bell_t *bell;

    while (!ucs_list_is_empty(bells)) {
        bell = ucs_list_extract_head(bells, xshm_local_bell_t, list);
        ucs_list_head_init(&bell->list);
    }
}

void xshm_local_bell_ring(const xshm_local_bell_t *bell)
{
    const uint64_t one = 1;

    /* EAGAIN: the counter is full, so the peer wakes in any case */
    (void)!write(bell->fd, &one, sizeof(one));
}
