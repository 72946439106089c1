/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_grant.h"
#include "xen_priv.h"
#include "../bootid.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/*
 * Xenstore is per host. So a machine whose identity our xenstore shows, at the
 * domain id that it claims, is on this host.
 */

/* Longest time that is_reachable waits for xenstore, once for each machine.
 * The service may have a hundred channels to set up first. */
#define XSHM_XEN_LOOKUP_TIMEOUT 10 /* seconds */

/* The two halves of an identity are independent numbers */
#define XSHM_XEN_IDENTITY_SALT 0x78656e00u


/* Under the lock, or for the service */
int xshm_xen_is_unreachable(const xshm_xen_t *xen)
{
    return xen->is_deaf || xen->is_hidden;
}

/* Whom nobody can ask has an address that nobody reaches: its peers take
 * another transport, instead of waiting for an answer */
void xshm_xen_get_dev_addr(const xshm_platform_t *platform, void *dev_addr)
{
    static const xshm_xen_dev_addr_t nobody;
    xshm_xen_t                      *xen = (xshm_xen_t *)platform;

    pthread_mutex_lock(&xen->lock);
    memcpy(dev_addr, xshm_xen_is_unreachable(xen) ? &nobody : &xen->addr,
           sizeof(xen->addr));
    pthread_mutex_unlock(&xen->lock);
}

uint32_t xshm_xen_domid(const xshm_xen_t *xen)
{
    return xen->addr.domid;
}

static ucs_status_t xshm_xen_get_identity(uint8_t *identity)
{
    uint64_t half;
    unsigned i;

    for (i = 0; i < XSHM_XEN_IDENTITY_SIZE / sizeof(half); ++i) {
        if (!xshm_boot_id_hash(XSHM_XEN_IDENTITY_SALT + i, &half)) {
            ucs_error("xshm: cannot read the kernel's boot id: %m. /proc must "
                      "be mounted");
            return UCS_ERR_IO_ERROR;
        }

        memcpy(identity + (i * sizeof(half)), &half, sizeof(half));
    }

    return UCS_OK;
}

static ucs_status_t xshm_xen_read_domid(xshm_xen_t *xen, uint16_t *domid_p)
{
    char *value, *end;
    long  domid;

    value = xshm_xen_store_read(&xen->store, "domid");
    if (value == NULL) {
        ucs_error("xshm: cannot read this machine's domain id from xenstore: "
                  "%m");
        return UCS_ERR_IO_ERROR;
    }

    domid = strtol(value, &end, 10);
    if ((end == value) || (domid < 0) || (domid > XSHM_XEN_DOMID_MAX)) {
        ucs_error("xshm: xenstore says that this machine's domain id is "
                  "\"%s\", which is no domain id",
                  value);
        free(value);
        return UCS_ERR_IO_ERROR;
    }

    free(value);
    *domid_p = (uint16_t)domid;
    return UCS_OK;
}

/* All processes of this machine write the same. Who may read it is set before
 * the value is there, so that a process that dies in between leaves nothing
 * that looks done. */
static ucs_status_t
xshm_xen_write_identity(xshm_xen_t *xen, const xshm_xen_dev_addr_t *addr)
{
    char  value[XSHM_XEN_VALUE_MAX];
    char *present;
    int   is_done;

    xshm_xen_identity_format(value, addr->identity);
    present = xshm_xen_store_read(&xen->store, XSHM_XEN_ID_PATH);
    is_done = (present != NULL) && !strcmp(present, value);
    free(present);
    if (is_done) {
        return UCS_OK;
    }

    if (!xshm_xen_store_share(&xen->store, addr->domid, XSHM_XEN_ID_PATH,
                              XSHM_XEN_STORE_ALL) ||
        !xshm_xen_store_write(&xen->store, XSHM_XEN_ID_PATH, value)) {
        xshm_xen_complain_nodes(xen);
        return UCS_ERR_NO_RESOURCE;
    }

    return UCS_OK;
}

static void xshm_xen_set_hidden(xshm_xen_t *xen, int is_hidden)
{
    pthread_mutex_lock(&xen->lock);
    xen->is_hidden = is_hidden;
    pthread_mutex_unlock(&xen->lock);
}

ucs_status_t xshm_xen_publish(xshm_xen_t *xen)
{
    xshm_xen_dev_addr_t addr;
    ucs_status_t        status;
    uint16_t            domid;

    status = xshm_xen_read_domid(xen, &domid);
    if (status != UCS_OK) {
        return status;
    }

    addr.domid = domid;
    status     = xshm_xen_get_identity(addr.identity);
    if (status != UCS_OK) {
        return status;
    }

    status = xshm_xen_write_identity(xen, &addr);
    if ((status == UCS_OK) && !xshm_xen_can_ask(xen)) {
        status = UCS_ERR_NO_RESOURCE;
    }

    xshm_xen_set_hidden(xen, status != UCS_OK);
    if (status != UCS_OK) {
        return status;
    }

    pthread_mutex_lock(&xen->lock);
    xen->addr = addr;
    pthread_mutex_unlock(&xen->lock);
    return UCS_OK;
}

/* Under the lock, which is released while waiting */
static int xshm_xen_lookup_wait(xshm_xen_t *xen, xshm_xen_lookup_t *lookup)
{
    struct timespec deadline;
    int             ret = 0;

    if (lookup->state == XSHM_XEN_LOOKUP_FORGOTTEN) {
        lookup->state = XSHM_XEN_LOOKUP_ASKED;
        xshm_xen_kick(xen);
    }

    ++lookup->num_waiting;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += XSHM_XEN_LOOKUP_TIMEOUT;
    while ((lookup->state == XSHM_XEN_LOOKUP_ASKED) && (ret == 0)) {
        ret = pthread_cond_timedwait(&xen->cond, &xen->lock, &deadline);
    }

    --lookup->num_waiting;
    if (lookup->state == XSHM_XEN_LOOKUP_ASKED) {
        xshm_complain(
                "xshm: xenstore has not answered in %d seconds whether domain "
                "%u is on this host: it is taken for unreachable",
                XSHM_XEN_LOOKUP_TIMEOUT, lookup->addr.domid);
    }

    return lookup->state == XSHM_XEN_LOOKUP_YES;
}

int xshm_xen_is_reachable(const xshm_platform_t *platform, const void *dev_addr)
{
    xshm_xen_t         *xen = (xshm_xen_t *)platform;
    xshm_xen_lookup_t  *lookup;
    xshm_xen_dev_addr_t addr;
    int                 is_reachable = 0;

    memcpy(&addr, dev_addr, sizeof(addr));
    pthread_mutex_lock(&xen->lock);
    if ((addr.domid != xen->addr.domid) && (addr.domid <= XSHM_XEN_DOMID_MAX)) {
        lookup       = xshm_xen_lookup_get(&xen->lookups, &addr);
        is_reachable = (lookup != NULL) && xshm_xen_lookup_wait(xen, lookup);
    }
    pthread_mutex_unlock(&xen->lock);
    return is_reachable;
}

int xshm_xen_own_domain(const xshm_platform_t *platform)
{
    xshm_xen_dev_addr_t addr;

    xshm_xen_get_dev_addr(platform, &addr);
    return addr.domid;
}

/* Of machines that this process was asked to talk to, or that talk to it */
static int xshm_xen_known_domain(xshm_xen_t *xen)
{
    xshm_xen_lookup_t *lookup;
    int                only;

    pthread_mutex_lock(&xen->lock);
    only = xen->connected;
    ucs_list_for_each(lookup, &xen->lookups.list, list) {
        if (lookup->state == XSHM_XEN_LOOKUP_YES) {
            only = xshm_xen_domain_only(only, lookup->addr.domid);
        }
    }
    pthread_mutex_unlock(&xen->lock);
    return only;
}

int xshm_xen_region_domain(xshm_platform_t *platform, int allowed)
{
    if ((allowed != XSHM_DOMAIN_SAME) || (platform == NULL)) {
        return allowed;
    }

    return xshm_xen_known_domain((xshm_xen_t *)platform);
}

static int xshm_xen_is_on_host(xshm_xen_t *xen, const xshm_xen_dev_addr_t *addr)
{
    char  path[XSHM_XEN_PATH_MAX], expected[XSHM_XEN_VALUE_MAX];
    char *value;
    int   is_equal;

    snprintf(path, sizeof(path), XSHM_XEN_DOMAIN_FMT XSHM_XEN_ID_PATH,
             addr->domid);
    xshm_xen_identity_format(expected, addr->identity);
    value = xshm_xen_store_read(&xen->store, path);
    if (value == NULL) {
        ucs_debug("xshm: domain %u is not on this host, or has no xshm: "
                  "cannot read %s: %m",
                  addr->domid, path);
        return 0;
    }

    is_equal = !strcmp(value, expected);
    if (!is_equal) {
        ucs_debug("xshm: the peer is not on this host: domain %u is another "
                  "machine here (%s instead of %s)",
                  addr->domid, value, expected);
    }

    free(value);
    return is_equal;
}

void xshm_xen_answer_lookups(xshm_xen_t *xen)
{
    xshm_xen_lookup_t *lookup;
    int                is_on_host;

    pthread_mutex_lock(&xen->lock);
    while ((lookup = xshm_xen_lookup_next(&xen->lookups)) != NULL) {
        /* It stays while it is asked for, and its address does not change */
        pthread_mutex_unlock(&xen->lock);
        is_on_host = xshm_xen_is_on_host(xen, &lookup->addr);
        xshm_xen_note_events(xen);
        pthread_mutex_lock(&xen->lock);
        lookup->state = is_on_host ? XSHM_XEN_LOOKUP_YES : XSHM_XEN_LOOKUP_NO;
    }
    pthread_cond_broadcast(&xen->cond);
    pthread_mutex_unlock(&xen->lock);
}

void xshm_xen_forget_lookups(xshm_xen_t *xen, uint32_t domid)
{
    pthread_mutex_lock(&xen->lock);
    xshm_xen_lookups_forget(&xen->lookups, domid);
    pthread_mutex_unlock(&xen->lock);
}
