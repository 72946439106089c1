/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_timedjoin_np() */
#endif

#include "xen_store.h"
#include "../fdset.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xenstore.h>


/* All of our watches: their paths tell which one it is */
#define XSHM_XEN_STORE_TOKEN "xshm"


/* The handle that a forked child has to give up: there is one per process */
static struct xs_handle *xshm_xen_store_xs;

static void xshm_xen_store_at_child(void)
{
    if (xshm_xen_store_xs != NULL) {
        xs_daemon_destroy_postfork(xshm_xen_store_xs);
        xshm_xen_store_xs = NULL;
    }
}

/* Any answer will do */
static void *xshm_xen_store_ask(void *arg)
{
    struct xs_handle *xs = xs_open(0);
    unsigned          length;

    (void)arg;

    if (xs != NULL) {
        free(xs_read(xs, XBT_NULL, "domid", &length));
        xs_close(xs);
    }

    return NULL;
}

int xshm_xen_store_answers(void)
{
    struct timespec end;
    sigset_t        all, old;
    pthread_t       thread;
    int             ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&thread, NULL, xshm_xen_store_ask, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret != 0) {
        return 1;
    }

    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += XSHM_XEN_STORE_TIMEOUT;
    if (pthread_timedjoin_np(thread, NULL, &end) == 0) {
        return 1;
    }

    /* It waits for as long as this process lives */
    pthread_detach(thread);
    return 0;
}

ucs_status_t xshm_xen_store_open(xshm_xen_store_t *store)
{
    store->xs = xs_open(0);
    if (store->xs == NULL) {
        return UCS_ERR_IO_ERROR;
    }

    xshm_xen_store_xs = store->xs;
    xshm_fdset_at_child(xshm_xen_store_at_child);
    return UCS_OK;
}

/* After a failure to open it again there is none for a while */
static int xshm_xen_store_is_open(const xshm_xen_store_t *store)
{
    if (store->xs == NULL) {
        errno = EBADF;
    }

    return store->xs != NULL;
}

void xshm_xen_store_close(xshm_xen_store_t *store)
{
    xshm_xen_store_xs = NULL;
    if (store->xs != NULL) {
        xs_close(store->xs);
        store->xs = NULL;
    }
}

ucs_status_t xshm_xen_store_reopen(xshm_xen_store_t *store)
{
    xshm_xen_store_close(store);
    return xshm_xen_store_open(store);
}

int xshm_xen_store_fd(const xshm_xen_store_t *store)
{
    return xs_fileno(store->xs);
}

char *xshm_xen_store_read(xshm_xen_store_t *store, const char *path)
{
    unsigned length;

    /* libxenstore puts a zero behind the value; one inside ends it here */
    return xshm_xen_store_is_open(store) ?
                   xs_read(store->xs, XBT_NULL, path, &length) :
                   NULL;
}

int xshm_xen_store_write(xshm_xen_store_t *store, const char *path,
                         const char *value)
{
    return xshm_xen_store_is_open(store) &&
           xs_write(store->xs, XBT_NULL, path, value, (unsigned)strlen(value));
}

int xshm_xen_store_share(xshm_xen_store_t *store, uint32_t domid,
                         const char *path, uint32_t reader)
{
    struct xs_permissions perms[2]  = {{.id = domid, .perms = XS_PERM_NONE},
                                       {.id = reader, .perms = XS_PERM_READ}};
    unsigned              num_perms = 2;

    /* The first entry names the owner, and what all others may */
    if (reader == XSHM_XEN_STORE_ALL) {
        perms[0].perms = XS_PERM_READ;
        num_perms      = 1;
    }

    return xshm_xen_store_is_open(store) &&
           xs_mkdir(store->xs, XBT_NULL, path) &&
           xs_set_permissions(store->xs, XBT_NULL, path, perms, num_perms);
}

int xshm_xen_store_has_room(xshm_xen_store_t *store, const char *path)
{
    if (!xshm_xen_store_is_open(store) ||
        !xs_mkdir(store->xs, XBT_NULL, path)) {
        return 0;
    }

    xshm_xen_store_remove(store, path);
    return 1;
}

void xshm_xen_store_remove(xshm_xen_store_t *store, const char *path)
{
    if (xshm_xen_store_is_open(store) && !xs_rm(store->xs, XBT_NULL, path) &&
        (errno != ENOENT)) {
        ucs_debug("xshm: cannot remove the xenstore node %s: %m", path);
    }
}

char **
xshm_xen_store_list(xshm_xen_store_t *store, const char *path, unsigned *num_p)
{
    return xshm_xen_store_is_open(store) ?
                   xs_directory(store->xs, XBT_NULL, path, num_p) :
                   NULL;
}

/* xenstored says E2BIG, oxenstored EQUOTA; Linux makes EINVAL of what it does
 * not know. What is asked for here is valid. */
static int xshm_xen_store_is_quota(int error)
{
    return (error == E2BIG) || (error == EINVAL);
}

/* Nothing ends a process that waits in Linux for xenstored to answer about a
 * watch, not even SIGKILL; who waits for the value of a node can end. So that
 * is asked first: if xenstored does not answer, the service waits there. */
static void xshm_xen_store_await(xshm_xen_store_t *store)
{
    free(xshm_xen_store_read(store, "domid"));
}

ucs_status_t xshm_xen_store_watch(xshm_xen_store_t *store, const char *path)
{
    int error;

    xshm_xen_store_await(store);
    if (xshm_xen_store_is_open(store) &&
        xs_watch(store->xs, path, XSHM_XEN_STORE_TOKEN)) {
        return UCS_OK;
    }

    error = errno;
    ucs_debug("xshm: cannot watch the xenstore node %s: %m", path);
    errno = error;
    return xshm_xen_store_is_quota(error) ? UCS_ERR_EXCEEDS_LIMIT :
                                            UCS_ERR_IO_ERROR;
}

void xshm_xen_store_unwatch(xshm_xen_store_t *store, const char *path)
{
    xshm_xen_store_await(store);
    if (xshm_xen_store_is_open(store) &&
        !xs_unwatch(store->xs, path, XSHM_XEN_STORE_TOKEN)) {
        ucs_debug("xshm: cannot stop watching the xenstore node %s: %m", path);
    }
}

const char *
xshm_xen_store_next(xshm_xen_store_t *store, xshm_xen_event_t *event_p)
{
    *event_p = xshm_xen_store_is_open(store) ? xs_check_watch(store->xs) : NULL;
    return (*event_p == NULL) ? NULL : (*event_p)[XS_WATCH_PATH];
}
