/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_grant.h"
#include "xen_region.h"
#include "xen_view.h"

#include <ucs/debug/log.h>
#include <ucs/sys/math.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Nothing but a watch tells that a virtual machine was destroyed, and only one
 * on the exact path of a node of it: the watch on all domains, by which
 * requests are heard of, is silent then. A machine that is paused is there.
 */

/* How often a domain is looked at for which there is no watch */
#define XSHM_XEN_CHECK_MS 2000

/* What one domain can make a process map: a quarter of the mappings that Xen
 * allows a PV guest by default (1024 frames of 256 mappings, of which each page
 * takes two) */
#define XSHM_XEN_MAX_MAPPED 32768u /* pages */

/* How often, and after what time, to try to have the watches again */
#define XSHM_XEN_LISTEN_TRIES    5
#define XSHM_XEN_LISTEN_PAUSE_US 10000

/* Longest time from one of these attempts to the next; it doubles each time */
#define XSHM_XEN_LISTEN_MAX_MS 32000

/* The limit, how much there is, and what raises it */
#define XSHM_XEN_WATCH_QUOTA \
    "the host's quota for each virtual machine: \"sudo xenstore-control " \
    "quota " \
    "set watches 1024\" in its control domain (128 by default; xenstored " \
    "--watch-nb=N from its next start on), or quota-maxwatch in " \
    "oxenstored.conf (100 by default; from the next start on)"


xshm_xen_domain_t *xshm_xen_domain_find(xshm_xen_t *xen, uint32_t domid)
{
    xshm_xen_domain_t *domain;

    ucs_list_for_each(domain, &xen->domains, list) {
        if (domain->domid == domid) {
            return domain;
        }
    }

    return NULL;
}

xshm_xen_domain_t *xshm_xen_domain_get(xshm_xen_t *xen, uint32_t domid)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_find(xen, domid);

    if (domain != NULL) {
        return domain;
    }

    domain = calloc(1, sizeof(*domain));
    if (domain == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for domain %u",
                  sizeof(*domain), domid);
        return NULL;
    }

    domain->domid = domid;
    ucs_list_head_init(&domain->conns);
    ucs_list_head_init(&domain->views);
    ucs_list_add_tail(&xen->domains, &domain->list);
    return domain;
}

int xshm_xen_domain_is_used(xshm_xen_domain_t *domain)
{
    return !ucs_list_is_empty(&domain->conns) ||
           !ucs_list_is_empty(&domain->views);
}

int xshm_xen_domain_may_map(const xshm_xen_domain_t *domain, uint32_t num_pages)
{
    return (num_pages <= XSHM_XEN_MAX_MAPPED) &&
           (domain->num_mapped <= XSHM_XEN_MAX_MAPPED - num_pages);
}

void xshm_xen_domain_note(xshm_xen_t *xen)
{
    int                only = XSHM_DOMAIN_SAME;
    xshm_xen_domain_t *domain;

    ucs_list_for_each(domain, &xen->domains, list) {
        if (!ucs_list_is_empty(&domain->conns)) {
            only = xshm_xen_domain_only(only, (int)domain->domid);
        }
    }

    pthread_mutex_lock(&xen->lock);
    xen->connected = only;
    pthread_mutex_unlock(&xen->lock);
}

static void
xshm_xen_domain_path(const xshm_xen_domain_t *domain, char *path, size_t max)
{
    snprintf(path, max, XSHM_XEN_DOMAIN_FMT XSHM_XEN_ID_PATH, domain->domid);
}

void xshm_xen_domain_fail(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    xshm_xen_conn_t *conn, *tmp;

    domain->has_ended   = 1;
    domain->is_doubtful = 1;
    domain->is_prepared = 0;
    xshm_xen_mem_doubt(xen, domain);
    xshm_xen_region_doubt(domain->domid);
    xshm_xen_view_fail(domain);
    xshm_xen_forget_lookups(xen, domain->domid);

    ucs_list_for_each_safe(conn, tmp, &domain->conns, list) {
        if (conn->mem != NULL) {
            xshm_xen_mem_doubt_one(conn->mem, domain);
        }

        xshm_xen_conn_report(conn, XSHM_REASON_GONE, 0);
    }
}

int xshm_xen_domain_is_known(const xshm_xen_domain_t *domain)
{
    return !domain->has_ended && (domain->identity[0] != '\0');
}

/* The first answer, since it seemed to end, says which one it is. Another one
 * than before has nothing of what that had, if it can be believed: that is a
 * peer's word, as when it says that it has unmapped something. */
static void
xshm_xen_domain_meet(xshm_xen_domain_t *domain, const char *identity)
{
    if (domain->has_ended && strcmp(domain->identity, identity)) {
        ++domain->num_ended;
        xshm_xen_region_disown(domain->domid);
    }

    domain->has_ended   = 0;
    domain->is_doubtful = 0;
    snprintf(domain->identity, sizeof(domain->identity), "%s", identity);
}

/* Its number may never come back: what was for it would gather, in this process
 * and in xenstore. */
static void xshm_xen_domain_forget(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    char path[XSHM_XEN_PATH_MAX];

    if (domain->is_watched) {
        xshm_xen_domain_path(domain, path, sizeof(path));
        xshm_xen_store_unwatch(&xen->store, path);
        domain->is_watched = 0;
        xen->is_short      = 0;
    }

    xshm_xen_remove_folders(xen, domain->domid);
}

/* Of a machine that is known to have ended, and has no channels, that is no
 * news */
static int xshm_xen_domain_can_end(xshm_xen_domain_t *domain)
{
    return !domain->has_ended || xshm_xen_domain_is_used(domain);
}

static void xshm_xen_domain_end(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    ucs_debug("xshm: domain %u is gone, or was started anew", domain->domid);
    xshm_xen_domain_fail(xen, domain);
}

static void
xshm_xen_domain_note_absent(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    if (xshm_xen_domain_can_end(domain)) {
        xshm_xen_domain_end(xen, domain);
        xshm_xen_domain_forget(xen, domain);
    }
}

/* Another process may ask the one that has come in its place already */
static void xshm_xen_domain_note_present(xshm_xen_t        *xen,
                                         xshm_xen_domain_t *domain,
                                         const char        *identity)
{
    if (xshm_xen_domain_is_known(domain) &&
        strcmp(domain->identity, identity)) {
        xshm_xen_domain_end(xen, domain);
    }

    xshm_xen_domain_meet(domain, identity);
}

void xshm_xen_domain_check(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    char  path[XSHM_XEN_PATH_MAX];
    char *identity;

    xshm_xen_domain_path(domain, path, sizeof(path));
    domain->next_check = xshm_xen_now_ms() + XSHM_XEN_CHECK_MS;
    identity           = xshm_xen_store_read(&xen->store, path);
    /* The node is there before its value is */
    if ((identity == NULL) || (identity[0] == '\0')) {
        xshm_xen_domain_note_absent(xen, domain);
    } else {
        xshm_xen_domain_note_present(xen, domain, identity);
    }

    free(identity);
}

int xshm_xen_domain_scan_unused(xshm_xen_t *xen, xshm_xen_domain_t *domain,
                                uint64_t now)
{
    if (domain->is_watched || (domain->has_ended && !domain->is_doubtful)) {
        return -1;
    }

    if (now >= domain->next_check) {
        xshm_xen_domain_check(xen, domain);
    }

    return XSHM_XEN_CHECK_MS;
}

/* Once until there are watches again */
static void xshm_xen_domain_complain(xshm_xen_t *xen, ucs_status_t status)
{
    if (xen->is_short) {
        return;
    }

    xen->is_short = 1;
    if (status == UCS_ERR_EXCEEDS_LIMIT) {
        ucs_warn("xshm: this machine has no more watches in xenstore: other "
                 "machines' ends are noticed after %d seconds instead of at "
                 "once. Use fewer processes, or raise " XSHM_XEN_WATCH_QUOTA,
                 XSHM_XEN_CHECK_MS / 1000);
    } else {
        ucs_warn("xshm: cannot watch xenstore for other machines' ends: %m. "
                 "They are noticed after %d seconds instead of at once",
                 XSHM_XEN_CHECK_MS / 1000);
    }
}

static ucs_status_t
xshm_xen_domain_try_watch(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    char         path[XSHM_XEN_PATH_MAX];
    ucs_status_t status;

    xshm_xen_domain_path(domain, path, sizeof(path));
    status             = xshm_xen_store_watch(&xen->store, path);
    domain->is_watched = (status == UCS_OK);
    return status;
}

static void xshm_xen_domain_watch(xshm_xen_t *xen, xshm_xen_domain_t *domain)
{
    ucs_status_t status;

    if (domain->is_watched || xen->is_deaf || xen->is_short) {
        return;
    }

    status = xshm_xen_domain_try_watch(xen, domain);
    if (status != UCS_OK) {
        xshm_xen_domain_complain(xen, status);
        xshm_xen_listen_again(xen);
    }
}

void xshm_xen_domain_scan_used(xshm_xen_t *xen, xshm_xen_domain_t *domain,
                               uint64_t now)
{
    xshm_xen_domain_watch(xen, domain);

    /* Who it is has to be known before anything is told it */
    if (!xshm_xen_domain_is_known(domain) ||
        (!domain->is_watched && (now >= domain->next_check))) {
        xshm_xen_domain_check(xen, domain);
    }
}

/* After an error of one watch there may be no more of them, but those that
 * were there before fit */
static ucs_status_t xshm_xen_domain_watch_again(xshm_xen_t *xen)
{
    xshm_xen_domain_t *domain;
    ucs_status_t       status;

    ucs_list_for_each(domain, &xen->domains, list) {
        if (!domain->is_watched) {
            continue;
        }

        status = xshm_xen_domain_try_watch(xen, domain);
        if (status != UCS_OK) {
            return status;
        }
    }

    return UCS_OK;
}

ucs_status_t xshm_xen_listen(xshm_xen_t *xen)
{
    ucs_status_t status;

    status = xshm_xen_poll_store(xen);
    if (status != UCS_OK) {
        return status;
    }

    xen->is_listening = 0;
    status            = xshm_xen_store_watch(&xen->store, XSHM_XEN_DOMAINS);
    return (status == UCS_OK) ? xshm_xen_domain_watch_again(xen) : status;
}

/* The kernel takes back the watches of a connection a moment after it was
 * closed: until then there may be no other one. @return With errno. */
static ucs_status_t xshm_xen_reopen_and_listen(xshm_xen_t *xen)
{
    ucs_status_t status = UCS_OK;
    int          i, error;

    for (i = 0; i < XSHM_XEN_LISTEN_TRIES; ++i) {
        status = xshm_xen_store_reopen(&xen->store);
        status = (status == UCS_OK) ? xshm_xen_listen(xen) : status;
        if (status == UCS_OK) {
            break;
        }

        error = errno;
        usleep(XSHM_XEN_LISTEN_PAUSE_US);
        errno = error;
    }

    return status;
}

static void xshm_xen_complain_deaf(ucs_status_t status)
{
    if (status == UCS_ERR_EXCEEDS_LIMIT) {
        ucs_error("xshm: cannot hear of other machines' requests: this one has "
                  "no more watches in xenstore. Use fewer processes, or "
                  "raise " XSHM_XEN_WATCH_QUOTA);
    } else {
        ucs_error("xshm: cannot hear of other machines' requests: xenstore "
                  "cannot be reached: %m. It is tried again");
    }
}

/* Each attempt costs xenstored and this thread time: if they fail, there are
 * fewer and fewer */
static void xshm_xen_put_off_listening(xshm_xen_t *xen)
{
    xen->listen_pause = ucs_max(2 * xen->listen_pause, XSHM_XEN_LISTEN_MS);
    xen->listen_pause = ucs_min(xen->listen_pause, XSHM_XEN_LISTEN_MAX_MS);
    xen->next_listen  = xshm_xen_now_ms() + xen->listen_pause;
}

void xshm_xen_listen_again(xshm_xen_t *xen)
{
    int          was_deaf = xen->is_deaf;
    ucs_status_t status   = xshm_xen_reopen_and_listen(xen);

    if ((status != UCS_OK) && !was_deaf) {
        xshm_xen_complain_deaf(status);
        xen->listen_pause = 0;
    }

    if (status != UCS_OK) {
        xshm_xen_put_off_listening(xen);
    }

    pthread_mutex_lock(&xen->lock);
    xen->is_deaf = (status != UCS_OK);
    pthread_mutex_unlock(&xen->lock);
}

void xshm_xen_domain_cleanup(xshm_xen_t *xen)
{
    xshm_xen_domain_t *domain, *tmp;

    ucs_list_for_each_safe(domain, tmp, &xen->domains, list) {
        free(domain);
    }
}
