/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_region.h"
#include "xen_view.h"
#include "xen_wake.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * A sender writes a node and looks at the return page: the receiver says there
 * that it has mapped the channel, and later that it has unmapped it. A sender
 * that has ended says so in its data pages. The kernel does both for a process
 * that dies. So no event port is needed for it, and the price is that all
 * channels are looked at ten times a second.
 */

/* How often channels are looked at */
#define XSHM_XEN_SCAN_MS 100

/* The same while an answer is waited for */
#define XSHM_XEN_ASK_SCAN_MS 2

/* An answer that takes longer than this does not need to be noticed at once */
#define XSHM_XEN_ASK_SOON_MS 1000

/* How long an answer is waited for: a peer's machine may be busy */
#define XSHM_XEN_ASK_MS 30000

/* When to try again what found no room */
#define XSHM_XEN_RETRY_MS 50

/* Nodes that are as old are those of a process that died */
#define XSHM_XEN_NODE_LIFETIME 120 /* seconds */

/* Refusals that stand at a time, of each domain and of all: a peer that asks
 * for nonsense over and over shall not use up this machine's nodes, nor what
 * others need. What is not refused times out. */
#define XSHM_XEN_MAX_REFUSALS     16
#define XSHM_XEN_MAX_ALL_REFUSALS 128


/* Channels to one process that a domain can have: of as many of its
 * processes */
#define XSHM_XEN_MAX_CHANNELS 1024u


/* A node of ours that refuses a request, until that is removed */
typedef struct xshm_xen_refused {
    ucs_list_link_t list;
    uint32_t        domid;
    uint64_t        deadline; /* Milliseconds */
    char            name[XSHM_XEN_NAME_MAX];
} xshm_xen_refused_t;


static xshm_xen_t *xshm_xen_conn_xen(const xshm_xen_conn_t *conn)
{
    return (xshm_xen_t *)conn->super.platform;
}

/* Path of a node in this machine's tree */
static void
xshm_xen_node_path(char *path, char folder, uint32_t peer, const char *name)
{
    snprintf(path, XSHM_XEN_PATH_MAX, XSHM_XEN_DIR "/%c/%u/%s", folder, peer,
             name);
}

static void xshm_xen_folder_path(char *path, char folder, uint32_t peer)
{
    snprintf(path, XSHM_XEN_PATH_MAX, XSHM_XEN_DIR "/%c/%u", folder, peer);
}

static void xshm_xen_remove_node(xshm_xen_t *xen, char folder, uint32_t peer,
                                 const char *name)
{
    char path[XSHM_XEN_PATH_MAX];

    xshm_xen_node_path(path, folder, peer, name);
    xshm_xen_store_remove(&xen->store, path);
}

/* The folder's children inherit who may read them. Another process of this
 * machine may have just made it, so it is set each time. */
static int xshm_xen_prepare_folder(xshm_xen_t *xen, char folder, uint32_t peer)
{
    char path[XSHM_XEN_PATH_MAX];

    xshm_xen_folder_path(path, folder, peer);
    return xshm_xen_store_share(&xen->store, xshm_xen_domid(xen), path, peer);
}

void xshm_xen_remove_folders(xshm_xen_t *xen, uint32_t peer)
{
    char path[XSHM_XEN_PATH_MAX];

    xshm_xen_folder_path(path, XSHM_XEN_REQUESTS, peer);
    xshm_xen_store_remove(&xen->store, path);
    xshm_xen_folder_path(path, XSHM_XEN_REFUSALS, peer);
    xshm_xen_store_remove(&xen->store, path);
}

void xshm_xen_complain_nodes(xshm_xen_t *xen)
{
    if (!xen->is_full) {
        xen->is_full = 1;
        ucs_error("xshm: cannot write to xenstore: %m. This machine may have "
                  "used up its nodes, all programs together: raise the host's "
                  "quota for each virtual machine: \"sudo xenstore-control "
                  "quota set nodes 8192\" in its control domain (1000 by "
                  "default; xenstored --entry-nb=N from its next start on), or "
                  "quota-maxentity in oxenstored.conf (1000 by default; from "
                  "the next start on)");
    }
}

/* What is tried is readable by nobody, so that no peer is woken by it */
int xshm_xen_can_ask(xshm_xen_t *xen)
{
    char path[XSHM_XEN_PATH_MAX];

    snprintf(path, sizeof(path), XSHM_XEN_DIR "/%" PRIx64, xen->super.process);
    if (xshm_xen_store_has_room(&xen->store, path)) {
        xen->is_full = 0;
        return 1;
    }

    xshm_xen_complain_nodes(xen);
    return 0;
}

static xshm_xen_conn_t *
xshm_xen_conn_new(xshm_xen_t *xen, uint32_t domid, int is_sender)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_get(xen, domid);
    xshm_xen_conn_t   *conn;

    if (domain == NULL) {
        return NULL;
    }

    conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel",
                  sizeof(*conn));
        return NULL;
    }

    conn->super.platform  = &xen->super;
    conn->super.is_sender = is_sender;
    conn->domain          = domain;
    ucs_list_add_tail(&domain->conns, &conn->list);
    xshm_xen_domain_note(xen);
    xen->next_scan = 0;
    return conn;
}

/* No news of it any more */
static void xshm_xen_conn_end(xshm_xen_conn_t *conn)
{
    if (conn->state == XSHM_XEN_CONN_CLOSED) {
        return;
    }

    if (conn->state == XSHM_XEN_CONN_ASKING) {
        xshm_xen_remove_node(xshm_xen_conn_xen(conn), XSHM_XEN_REQUESTS,
                             conn->domain->domid, conn->name);
    }

    conn->state = XSHM_XEN_CONN_CLOSED;
    ucs_list_del(&conn->list);
    xshm_xen_domain_note(xshm_xen_conn_xen(conn));
}

void xshm_xen_conn_report(xshm_xen_conn_t *conn, xshm_reason_t reason,
                          uint32_t version)
{
    xshm_xen_conn_end(conn);
    conn->super.platform->sink->closed(&conn->super, reason, version);
}

ucs_status_t xshm_xen_connect(xshm_platform_t *platform, const void *dev_addr,
                              const xshm_request_t *request, xshm_mem_t *mem,
                              void *owner, xshm_conn_t **conn_p)
{
    xshm_xen_t                *xen  = (xshm_xen_t *)platform;
    const xshm_xen_dev_addr_t *addr = dev_addr;
    xshm_xen_conn_t           *conn;

    conn = xshm_xen_conn_new(xen, addr->domid, 1);
    if (conn == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    conn->super.owner = owner;
    conn->state       = XSHM_XEN_CONN_WAITING;
    conn->mem         = (xshm_xen_mem_t *)mem;
    conn->request     = *request;
    conn->deadline    = xshm_xen_now_ms() + XSHM_XEN_ASK_MS;
    memcpy(conn->peer, addr->identity, sizeof(conn->peer));
    xshm_xen_name_format(conn->name, request->target.process, platform->process,
                         xen->next_request++);
    *conn_p = &conn->super;
    return UCS_OK;
}

static int xshm_xen_conn_write_request(xshm_xen_conn_t *conn)
{
    xshm_xen_t    *xen = xshm_xen_conn_xen(conn);
    char           path[XSHM_XEN_PATH_MAX], value[XSHM_XEN_VALUE_MAX];
    xshm_xen_ask_t ask = {.version = XSHM_ABI_VERSION,
                          .time    = xshm_xen_now_s(),
                          .gref    = conn->mem->gref,
                          .num_pages =
                                  conn->request.data_size / XSHM_ABI_PAGE_SIZE,
                          .target = conn->request.target};

    if (!conn->domain->is_prepared) {
        conn->domain->is_prepared =
                xshm_xen_prepare_folder(xen, XSHM_XEN_REQUESTS,
                                        conn->domain->domid);
    }

    xshm_xen_ask_format(value, &ask);
    xshm_xen_node_path(path, XSHM_XEN_REQUESTS, conn->domain->domid,
                       conn->name);
    return conn->domain->is_prepared &&
           xshm_xen_store_write(&xen->store, path, value);
}

/* What has no room now may have it when other requests were answered */
static void xshm_xen_conn_ask(xshm_xen_conn_t *conn, uint64_t now)
{
    conn->mem->is_asked = 1;
    if (xshm_xen_conn_write_request(conn)) {
        xshm_xen_conn_xen(conn)->is_full = 0;
        conn->state                      = XSHM_XEN_CONN_ASKING;
        conn->error                      = 0;
        return;
    }

    conn->error    = errno;
    conn->next_try = now + XSHM_XEN_RETRY_MS;
    ucs_debug("xshm: cannot write a request for domain %u to xenstore: %m. It "
              "is tried again",
              conn->domain->domid);
}

static void xshm_xen_conn_give_up(xshm_xen_conn_t *conn)
{
    xshm_reason_t reason =
            ((conn->state == XSHM_XEN_CONN_WAITING) || conn->was_refused) ?
                    XSHM_REASON_RESOURCE :
                    XSHM_REASON_GONE;

    if (conn->error != 0) {
        errno = conn->error;
        xshm_xen_complain_nodes(xshm_xen_conn_xen(conn));
    }

    ucs_debug("xshm: domain %u has not accepted a request in %d seconds: %s",
              conn->domain->domid, XSHM_XEN_ASK_MS / 1000,
              xshm_reason_string(reason));
    xshm_xen_conn_report(conn, reason, 0);
}

static void xshm_xen_conn_accepted(xshm_xen_conn_t *conn)
{
    xshm_xen_remove_node(xshm_xen_conn_xen(conn), XSHM_XEN_REQUESTS,
                         conn->domain->domid, conn->name);
    conn->state = XSHM_XEN_CONN_ACCEPTED;
    conn->super.platform->sink->accepted(&conn->super);
}

static void xshm_xen_conn_scan_asking(xshm_xen_conn_t *conn, uint64_t now)
{
    const volatile xshm_abi_return_t *ret = conn->mem->super.ret;

    if (ret->was_live) {
        xshm_xen_conn_accepted(conn);
    } else if (now >= conn->deadline) {
        xshm_xen_conn_give_up(conn);
    }
}

/* Its number may be another machine's by now. That is not to be told the token,
 * nor where the messages are that were written for the one before. */
static int xshm_xen_conn_is_for_domain(const xshm_xen_conn_t *conn)
{
    char identity[XSHM_XEN_VALUE_MAX];

    xshm_xen_identity_format(identity, conn->peer);
    return xshm_xen_domain_is_known(conn->domain) &&
           !strcmp(identity, conn->domain->identity);
}

static void xshm_xen_conn_scan_waiting(xshm_xen_conn_t *conn, uint64_t now)
{
    if (!xshm_xen_conn_is_for_domain(conn)) {
        ucs_debug("xshm: domain %u is another machine than the one to connect "
                  "to",
                  conn->domain->domid);
        xshm_xen_conn_report(conn, XSHM_REASON_GONE, 0);
    } else if (now >= conn->deadline) {
        xshm_xen_conn_give_up(conn);
    } else if (now >= conn->next_try) {
        xshm_xen_conn_ask(conn, now);
    }
}

/* Whoever is the other side: its byte is cleared when it is done, or dead */
static void xshm_xen_conn_scan_accepted(xshm_xen_conn_t *conn)
{
    const volatile xshm_abi_return_t *ret  = conn->mem->super.ret;
    const volatile xshm_abi_data_t   *data = conn->mem->super.data;

    if (!(conn->super.is_sender ? ret->live : data->live)) {
        xshm_xen_conn_report(conn, XSHM_REASON_GONE, 0);
    } else {
        xshm_xen_wake_scan(conn);
    }
}

/* A peer that does not answer shall not keep this thread busy */
static int xshm_xen_conn_ask_interval(const xshm_xen_conn_t *conn, uint64_t now)
{
    uint64_t asked = conn->deadline - XSHM_XEN_ASK_MS;

    return (now < asked + XSHM_XEN_ASK_SOON_MS) ? XSHM_XEN_ASK_SCAN_MS :
                                                  XSHM_XEN_SCAN_MS;
}

/* @return Milliseconds until this channel is to be looked at again; it may be
 *         gone then */
static int xshm_xen_conn_scan(xshm_xen_conn_t *conn, uint64_t now)
{
    int interval = xshm_xen_conn_ask_interval(conn, now);

    switch (conn->state) {
    case XSHM_XEN_CONN_WAITING:
        xshm_xen_conn_scan_waiting(conn, now);
        return interval;
    case XSHM_XEN_CONN_ASKING:
        xshm_xen_conn_scan_asking(conn, now);
        return interval;
    case XSHM_XEN_CONN_ACCEPTED:
        xshm_xen_conn_scan_accepted(conn);
        return XSHM_XEN_SCAN_MS;
    default:
        return XSHM_XEN_SCAN_MS;
    }
}

static int
xshm_xen_scan_domain(xshm_xen_t *xen, xshm_xen_domain_t *domain, uint64_t now)
{
    int              wait = -1;
    xshm_xen_conn_t *conn, *tmp;
    int              wanted;

    if (!xshm_xen_domain_is_used(domain)) {
        return xshm_xen_domain_scan_unused(xen, domain, now);
    }

    xshm_xen_domain_scan_used(xen, domain, now);
    ucs_list_for_each_safe(conn, tmp, &domain->conns, list) {
        wanted = xshm_xen_conn_scan(conn, now);
        wait   = ((wait < 0) || (wanted < wait)) ? wanted : wait;
        /* Who asks whether a machine is there does not wait for all of them */
        xshm_xen_answer_lookups(xen);
        xshm_xen_note_events(xen);
    }

    xshm_xen_view_scan(domain);
    return ((wait < 0) || (wait > XSHM_XEN_SCAN_MS)) ? XSHM_XEN_SCAN_MS : wait;
}

static void xshm_xen_refused_free(xshm_xen_t *xen, xshm_xen_refused_t *refused)
{
    xshm_xen_remove_node(xen, XSHM_XEN_REFUSALS, refused->domid, refused->name);
    ucs_list_del(&refused->list);
    --xen->num_refusals;
    free(refused);
}

static void xshm_xen_scan_refusals(xshm_xen_t *xen, uint64_t now)
{
    xshm_xen_refused_t *refused, *tmp;

    ucs_list_for_each_safe(refused, tmp, &xen->refusals, list) {
        if (now >= refused->deadline) {
            xshm_xen_refused_free(xen, refused);
        }
    }
}

void xshm_xen_refusal_cleanup(xshm_xen_t *xen)
{
    xshm_xen_scan_refusals(xen, UINT64_MAX);
}

int xshm_xen_scan(xshm_xen_t *xen)
{
    uint64_t           now  = xshm_xen_now_ms();
    int                wait = -1;
    xshm_xen_domain_t *domain;
    int                wanted, is_left;

    if (now < xen->next_scan) {
        return (int)(xen->next_scan - now);
    }

    ucs_list_for_each(domain, &xen->domains, list) {
        wanted = xshm_xen_scan_domain(xen, domain, now);
        wait   = ((wait < 0) || ((wanted >= 0) && (wanted < wait))) ? wanted :
                                                                      wait;
    }

    xshm_xen_scan_refusals(xen, now);
    is_left = (xshm_xen_mem_release(xen) != 0);
    is_left = (xshm_xen_region_release() != 0) || is_left;
    if ((is_left || (xen->num_refusals > 0)) && (wait < 0)) {
        wait = XSHM_XEN_SCAN_MS;
    }

    xen->next_scan = (wait < 0) ? 0 : (now + (uint64_t)wait);
    return wait;
}

static xshm_xen_conn_t *
xshm_xen_conn_find(xshm_xen_domain_t *domain, const char *name, int is_sender)
{
    xshm_xen_conn_t *conn;

    ucs_list_for_each(conn, &domain->conns, list) {
        if ((conn->super.is_sender == is_sender) && !strcmp(conn->name, name)) {
            return conn;
        }
    }

    return NULL;
}

static xshm_xen_refused_t *
xshm_xen_refused_find(xshm_xen_t *xen, uint32_t domid, const char *name)
{
    xshm_xen_refused_t *refused;

    ucs_list_for_each(refused, &xen->refusals, list) {
        if ((refused->domid == domid) && !strcmp(refused->name, name)) {
            return refused;
        }
    }

    return NULL;
}

static int xshm_xen_may_refuse(const xshm_xen_t *xen, uint32_t domid)
{
    unsigned            count = 0;
    xshm_xen_refused_t *refused;

    ucs_list_for_each(refused, &xen->refusals, list) {
        count += (refused->domid == domid);
    }

    return (count < XSHM_XEN_MAX_REFUSALS) &&
           (xen->num_refusals < XSHM_XEN_MAX_ALL_REFUSALS);
}

/* Refuse by a node of our own */
static void xshm_xen_write_refusal(xshm_xen_t *xen, uint32_t domid,
                                   const char *name, xshm_reason_t reason)
{
    xshm_xen_refusal_t  refusal = {.version = XSHM_ABI_VERSION,
                                   .time    = xshm_xen_now_s(),
                                   .reason  = reason};
    char                path[XSHM_XEN_PATH_MAX], value[XSHM_XEN_VALUE_MAX];
    xshm_xen_refused_t *refused;

    if (!xshm_xen_may_refuse(xen, domid)) {
        ucs_debug("xshm: too many requests to refuse: one of domain %u is "
                  "ignored",
                  domid);
        return;
    }

    refused = calloc(1, sizeof(*refused));
    if (refused == NULL) {
        return;
    }

    refused->domid    = domid;
    refused->deadline = xshm_xen_now_ms() + XSHM_XEN_ASK_MS;
    snprintf(refused->name, sizeof(refused->name), "%s", name);
    ucs_list_add_tail(&xen->refusals, &refused->list);
    ++xen->num_refusals;
    xen->next_scan = 0;

    xshm_xen_refusal_format(value, &refusal);
    xshm_xen_node_path(path, XSHM_XEN_REFUSALS, domid, name);
    if (!xshm_xen_prepare_folder(xen, XSHM_XEN_REFUSALS, domid) ||
        !xshm_xen_store_write(&xen->store, path, value)) {
        ucs_debug("xshm: cannot refuse a request of domain %u: %m", domid);
    }
}

/* The return page is mapped, too */
static uint32_t xshm_xen_request_pages(const xshm_request_t *request)
{
    return (request->data_size / XSHM_ABI_PAGE_SIZE) + 1;
}

/* A domain that wants too much has to wait until it has closed something */
static int
xshm_xen_domain_may_offer(xshm_xen_t *xen, uint32_t domid, uint32_t num_pages)
{
    const xshm_xen_domain_t *domain = xshm_xen_domain_find(xen, domid);

    if ((domain == NULL) || ((domain->num_offered < XSHM_XEN_MAX_CHANNELS) &&
                             xshm_xen_domain_may_map(domain, num_pages))) {
        return 1;
    }

    ucs_debug("xshm: domain %u has %u channels of %u pages to this process: "
              "no more are mapped",
              domid, domain->num_offered, domain->num_mapped);
    return 0;
}

static void xshm_xen_conn_count(xshm_xen_conn_t *conn)
{
    ++conn->domain->num_offered;
    conn->domain->num_mapped += xshm_xen_request_pages(&conn->request);
}

static void xshm_xen_conn_discount(xshm_xen_conn_t *conn)
{
    --conn->domain->num_offered;
    conn->domain->num_mapped -= xshm_xen_request_pages(&conn->request);
}

static void xshm_xen_offer(xshm_xen_t *xen, const xshm_xen_path_t *path,
                           const xshm_xen_ask_t *ask)
{
    xshm_xen_conn_t *conn = NULL;

    if (xshm_xen_domain_may_offer(xen, path->domid, ask->num_pages + 1)) {
        conn = xshm_xen_conn_new(xen, path->domid, 0);
    }

    if (conn == NULL) {
        xshm_xen_write_refusal(xen, path->domid, path->name,
                               XSHM_REASON_RESOURCE);
        return;
    }

    conn->state             = XSHM_XEN_CONN_OFFERED;
    conn->gref              = ask->gref;
    conn->request.target    = ask->target;
    conn->request.data_size = ask->num_pages * XSHM_ABI_PAGE_SIZE;
    conn->request.domain    = (int)path->domid;
    snprintf(conn->name, sizeof(conn->name), "%s", path->name);
    xshm_xen_conn_count(conn);
    xen->super.sink->request(&conn->super, &conn->request);
}

/* A request that is well-formed or not, but is there */
static void xshm_xen_handle_ask(xshm_xen_t *xen, const xshm_xen_path_t *path,
                                const char *value)
{
    xshm_xen_ask_t ask;

    if (!xshm_xen_ask_parse(value, &ask)) {
        xshm_complain("xshm: ignored a request of domain %u that is malformed",
                      path->domid);
        return;
    }

    if (ask.version != XSHM_ABI_VERSION) {
        xshm_complain(
                "xshm: domain %u uses version %u of the shared layout, and "
                "this process version %u: install the same version of xshm "
                "in both",
                path->domid, ask.version, XSHM_ABI_VERSION);
        xshm_xen_write_refusal(xen, path->domid, path->name,
                               XSHM_REASON_VERSION);
        return;
    }

    /* Names are short: it may be for another process with a similar one */
    if (ask.target.process == xen->super.process) {
        xshm_xen_offer(xen, path, &ask);
    }
}

/* Also told of when it was removed, by which its sender says that it has seen
 * the answer */
void xshm_xen_handle_request(xshm_xen_t *xen, const xshm_xen_path_t *path)
{
    char                full_path[XSHM_XEN_PATH_MAX];
    xshm_xen_domain_t  *domain = xshm_xen_domain_find(xen, path->domid);
    xshm_xen_refused_t *refused =
            xshm_xen_refused_find(xen, path->domid, path->name);
    char *value;

    if ((domain != NULL) &&
        (xshm_xen_conn_find(domain, path->name, 0) != NULL)) {
        return;
    }

    snprintf(full_path, sizeof(full_path),
             XSHM_XEN_DOMAIN_FMT XSHM_XEN_DIR "/%c/%u/%s", path->domid,
             XSHM_XEN_REQUESTS, path->peer, path->name);
    value = xshm_xen_store_read(&xen->store, full_path);
    if ((value == NULL) && (refused != NULL)) {
        xshm_xen_refused_free(xen, refused);
    } else if ((value != NULL) && (refused == NULL)) {
        xshm_xen_handle_ask(xen, path, value);
    }
    free(value);
}

/* What the peer is out of may be there again soon */
static void
xshm_xen_conn_refused(xshm_xen_conn_t *conn, const xshm_xen_refusal_t *refusal)
{
    xshm_xen_t *xen = xshm_xen_conn_xen(conn);

    if (refusal->reason != XSHM_REASON_RESOURCE) {
        xshm_xen_conn_report(conn, (xshm_reason_t)refusal->reason,
                             refusal->version);
        return;
    }

    xshm_xen_remove_node(xen, XSHM_XEN_REQUESTS, conn->domain->domid,
                         conn->name);
    xshm_xen_name_format(conn->name, conn->request.target.process,
                         xen->super.process, xen->next_request++);
    conn->state       = XSHM_XEN_CONN_WAITING;
    conn->was_refused = 1;
    conn->next_try    = xshm_xen_now_ms() + XSHM_XEN_RETRY_MS;
}

void xshm_xen_handle_refusal(xshm_xen_t *xen, const xshm_xen_path_t *path)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_find(xen, path->domid);
    char               full_path[XSHM_XEN_PATH_MAX];
    xshm_xen_conn_t   *conn;
    xshm_xen_refusal_t refusal;
    char              *value;

    conn = (domain == NULL) ? NULL : xshm_xen_conn_find(domain, path->name, 1);
    if ((conn == NULL) || (conn->state != XSHM_XEN_CONN_ASKING)) {
        return;
    }

    snprintf(full_path, sizeof(full_path),
             XSHM_XEN_DOMAIN_FMT XSHM_XEN_DIR "/%c/%u/%s", path->domid,
             XSHM_XEN_REFUSALS, path->peer, path->name);
    value = xshm_xen_store_read(&xen->store, full_path);
    if ((value != NULL) && xshm_xen_refusal_parse(value, &refusal)) {
        xshm_xen_conn_refused(conn, &refusal);
    }
    free(value);
}

ucs_status_t
xshm_xen_map(xshm_conn_t *super, size_t data_size, xshm_mem_t **mem_p)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;
    ucs_status_t     status;

    status = xshm_xen_mem_map(xshm_xen_conn_xen(conn), conn->domain->domid,
                              conn->gref, data_size, mem_p);
    if (status == UCS_OK) {
        conn->mem = (xshm_xen_mem_t *)*mem_p;
    }

    return status;
}

/* That it is mapped stands in the return page already */
void xshm_xen_accept(xshm_conn_t *super)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;

    conn->state = XSHM_XEN_CONN_ACCEPTED;
}

void xshm_xen_refuse(xshm_conn_t *super, xshm_reason_t reason)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;

    xshm_xen_write_refusal(xshm_xen_conn_xen(conn), conn->domain->domid,
                           conn->name, reason);
    xshm_xen_disconnect(super);
}

void xshm_xen_disconnect(xshm_conn_t *super)
{
    xshm_xen_conn_t *conn = (xshm_xen_conn_t *)super;

    xshm_xen_conn_end(conn);
    if (!conn->super.is_sender) {
        xshm_xen_conn_discount(conn);
    }

    xshm_xen_wake_detach(conn);
    free(conn);
}

/* The age of a node says whether anybody can still want it */
static int xshm_xen_node_is_old(const char *value)
{
    xshm_xen_ask_t     ask;
    xshm_xen_refusal_t refusal;
    uint32_t           time;

    if (xshm_xen_ask_parse(value, &ask)) {
        time = ask.time;
    } else if (xshm_xen_refusal_parse(value, &refusal)) {
        time = refusal.time;
    } else {
        return 1;
    }

    return (xshm_xen_now_s() - time) > XSHM_XEN_NODE_LIFETIME;
}

static void xshm_xen_collect_node(xshm_xen_t *xen, const char *path)
{
    char *value = xshm_xen_store_read(&xen->store, path);

    if ((value != NULL) && xshm_xen_node_is_old(value)) {
        ucs_debug("xshm: removed the node %s of a process that died", path);
        xshm_xen_store_remove(&xen->store, path);
    }

    free(value);
}

static void xshm_xen_collect_peer(xshm_xen_t *xen, char folder, uint32_t peer)
{
    char     path[XSHM_XEN_PATH_MAX];
    unsigned num, i;
    char   **names;

    xshm_xen_folder_path(path, folder, peer);
    names = xshm_xen_store_list(&xen->store, path, &num);
    for (i = 0; (names != NULL) && (i < num); ++i) {
        if (strlen(names[i]) < XSHM_XEN_NAME_MAX) {
            xshm_xen_node_path(path, folder, peer, names[i]);
            xshm_xen_collect_node(xen, path);
        }
    }
    free(names);
}

static void xshm_xen_collect_folder(xshm_xen_t *xen, char folder)
{
    char     path[XSHM_XEN_PATH_MAX];
    unsigned num, i;
    char   **peers;

    snprintf(path, sizeof(path), XSHM_XEN_DIR "/%c", folder);
    peers = xshm_xen_store_list(&xen->store, path, &num);
    for (i = 0; (peers != NULL) && (i < num); ++i) {
        xshm_xen_collect_peer(xen, folder,
                              (uint32_t)strtoul(peers[i], NULL, 10));
    }
    free(peers);
}

void xshm_xen_collect_garbage(xshm_xen_t *xen)
{
    xshm_xen_collect_folder(xen, XSHM_XEN_REQUESTS);
    xshm_xen_collect_folder(xen, XSHM_XEN_REFUSALS);
}
