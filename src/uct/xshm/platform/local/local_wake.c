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
#include "../complain.h"

#include <ucs/debug/log.h>

#include <stdlib.h>
#include <sys/socket.h>


/* Notifications that are taken at a time: the rest is still there then */
#define XSHM_LOCAL_MAX_DRAIN 64

/*
 * A pair of sockets, and not an event descriptor: its flags belong to whoever
 * has it, so that a peer could let those block who notify it. Of a socket, who
 * sends says that it does not wait.
 */
struct xshm_wake {
    int      fd;
    int      peer_fd; /* What peers are given */
    uint32_t number;
    unsigned refs;
};


ucs_status_t
xshm_local_wake_open(xshm_platform_t *platform, xshm_wake_t **wake_p)
{
    xshm_local_t *local = (xshm_local_t *)platform;
    xshm_wake_t  *wake;
    int           fds[2];

    wake = calloc(1, sizeof(*wake));
    if (wake == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to be woken by",
                  sizeof(*wake));
        return UCS_ERR_NO_MEMORY;
    }

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   fds) != 0) {
        xshm_complain("xshm: cannot open a descriptor to be woken by: %m. If "
                      "there are too many open files, raise ulimit -n");
        free(wake);
        return UCS_ERR_IO_ERROR;
    }

    wake->fd      = xshm_fdset_add(fds[0]);
    wake->peer_fd = xshm_fdset_add(fds[1]);
    wake->refs    = 1;
    wake->number  = __atomic_add_fetch(&local->next_wake, 1, __ATOMIC_RELAXED);
    *wake_p       = wake;
    return UCS_OK;
}

int xshm_local_wake_fd(const xshm_wake_t *wake)
{
    return wake->fd;
}

int xshm_local_wake_peer_fd(const xshm_wake_t *wake)
{
    return wake->peer_fd;
}

int xshm_local_wake_drain(xshm_wake_t *wake)
{
    char byte;
    int  i;

    for (i = 0; i < XSHM_LOCAL_MAX_DRAIN; ++i) {
        if (recv(wake->fd, &byte, sizeof(byte), MSG_DONTWAIT) < 0) {
            break;
        }
    }

    return i > 0;
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

    xshm_fdset_close(wake->peer_fd);
    xshm_fdset_close(wake->fd);
    free(wake);
}

/* To send to anything else could leave this machine */
static int xshm_local_bell_is_valid(int fd)
{
    int       domain = 0;
    int       type   = 0;
    socklen_t length = sizeof(int);

    if ((getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) ||
        (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) != 0) ||
        (domain != AF_UNIX) || (type != SOCK_DGRAM)) {
        xshm_complain("xshm: a peer wants to be woken by a descriptor that is "
                      "no socket for it: it is not woken");
        return 0;
    }

    return 1;
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
    const char byte = 0;

    /* EAGAIN: it has notifications that it has not taken */
    (void)!send(bell->fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_NOSIGNAL);
}
