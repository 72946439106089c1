/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* accept4() */
#endif

#include "local.h"
#include "local_link.h"
#include "local_region.h"
#include "../fdset.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


/* Pending connections; the kernel lowers it to net.core.somaxconn */
#define XSHM_LOCAL_BACKLOG 4096

/* Events and new peers that are handled before others get a turn */
#define XSHM_LOCAL_MAX_EVENTS 64

/* When to try again what was refused for lack of room or descriptors */
#define XSHM_LOCAL_RETRY_MS 10

/* Channels by which one peer may send: one to each of its target's interfaces
 * is what it needs */
#define XSHM_LOCAL_MAX_OFFERED 1024

/* How often a request is repeated: for some seconds */
#define XSHM_LOCAL_MAX_RETRIES 300


static int xshm_local_probe(char *reason, size_t max)
{
    xshm_local_dev_addr_t addr;
    int                   fd, is_sealable;

    if (!xshm_local_dev_addr_get(&addr)) {
        snprintf(reason, max,
                 "/proc is not mounted, or its boot id or network "
                 "namespace cannot be read (%s)",
                 strerror(errno));
        return 0;
    }

    fd = memfd_create("xshm-probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) {
        snprintf(reason, max, "memfd_create() failed (%s)", strerror(errno));
        return 0;
    }

    is_sealable = fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0;
    close(fd);
    if (!is_sealable) {
        snprintf(reason, max,
                 "memory files cannot be sealed against writing: "
                 "Linux 5.1 or newer is needed");
    }

    return is_sealable;
}

static ucs_status_t xshm_local_poll_listener(xshm_local_t *local, int op)
{
    /* The listener is the one without a link */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    if (epoll_ctl(local->epoll_fd, op, local->listen_fd, &event) != 0) {
        ucs_error("xshm: cannot poll the listening socket: %m");
        return UCS_ERR_IO_ERROR;
    }

    return UCS_OK;
}

static ucs_status_t xshm_local_listen(xshm_local_t *local)
{
    struct sockaddr_un sockaddr;
    socklen_t          length;

    local->listen_fd =
            socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (local->listen_fd < 0) {
        ucs_error("xshm: cannot open a socket: %m. If there are too many open "
                  "files, raise ulimit -n");
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(local->listen_fd);
    length = xshm_local_sockaddr(local->addr.uid, local->super.process,
                                 &sockaddr);
    if ((bind(local->listen_fd, (struct sockaddr *)&sockaddr, length) != 0) ||
        (listen(local->listen_fd, XSHM_LOCAL_BACKLOG) != 0)) {
        ucs_error("xshm: cannot listen on the socket @%s: %m",
                  sockaddr.sun_path + 1);
        xshm_fdset_close(local->listen_fd);
        return UCS_ERR_IO_ERROR;
    }

    return UCS_OK;
}

/* On failure none of them is open */
static ucs_status_t xshm_local_open_fds(xshm_local_t *local)
{
    ucs_status_t status;

    local->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (local->epoll_fd < 0) {
        ucs_error("xshm: cannot create an epoll descriptor: %m");
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(local->epoll_fd);
    status = xshm_local_listen(local);
    if (status != UCS_OK) {
        goto err_close_epoll;
    }

    status = xshm_local_poll_listener(local, EPOLL_CTL_ADD);
    if (status != UCS_OK) {
        goto err_close_listener;
    }

    return UCS_OK;

err_close_listener:
    xshm_fdset_close(local->listen_fd);
err_close_epoll:
    xshm_fdset_close(local->epoll_fd);
    return status;
}

static ucs_status_t xshm_local_open(uint64_t                    process,
                                    const xshm_platform_sink_t *sink,
                                    xshm_platform_t           **platform_p)
{
    ucs_status_t  status = UCS_ERR_IO_ERROR;
    xshm_local_t *local;

    local = calloc(1, sizeof(*local));
    if (local == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes", sizeof(*local));
        return UCS_ERR_NO_MEMORY;
    }

    local->super.ops     = &xshm_local_ops;
    local->super.sink    = sink;
    local->super.process = process;
    ucs_list_head_init(&local->links);
    ucs_list_head_init(&local->retries);

    if (!xshm_local_dev_addr_get(&local->addr)) {
        ucs_error("xshm: cannot read the boot id and network namespace from "
                  "/proc: %m");
        goto err_free;
    }

    status = xshm_local_open_fds(local);
    if (status != UCS_OK) {
        goto err_free;
    }

    *platform_p = &local->super;
    return UCS_OK;

err_free:
    free(local);
    return status;
}


static void
xshm_local_get_dev_addr(const xshm_platform_t *platform, void *dev_addr)
{
    const xshm_local_t *local = (const xshm_local_t *)platform;

    memcpy(dev_addr, &local->addr, sizeof(local->addr));
}

static int
xshm_local_is_reachable(const xshm_platform_t *platform, const void *dev_addr)
{
    const xshm_local_t *local = (const xshm_local_t *)platform;

    return !memcmp(dev_addr, &local->addr, sizeof(local->addr));
}

static int xshm_local_domain(const void *dev_addr)
{
    (void)dev_addr;
    return XSHM_DOMAIN_SAME;
}

static int xshm_local_event_fd(const xshm_platform_t *platform)
{
    return ((const xshm_local_t *)platform)->epoll_fd;
}

static xshm_local_conn_t *
xshm_local_conn_new(xshm_local_t *local, uint32_t channel, int is_sender)
{
    xshm_local_conn_t *conn = calloc(1, sizeof(*conn));

    if (conn == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel",
                  sizeof(*conn));
        return NULL;
    }

    conn->super.platform  = &local->super;
    conn->super.is_sender = is_sender;
    conn->channel         = channel;
    conn->fds[0]          = -1;
    conn->fds[1]          = -1;
    return conn;
}

static void xshm_local_conn_close_fds(xshm_local_conn_t *conn)
{
    xshm_fdset_close(conn->fds[0]);
    xshm_fdset_close(conn->fds[1]);
    conn->fds[0] = -1;
    conn->fds[1] = -1;
}

/* Take the channel from its link, or from those to be asked for again */
static void xshm_local_conn_unlink(xshm_local_conn_t *conn)
{
    xshm_local_link_t *link = conn->link;

    if (conn->state == XSHM_LOCAL_CONN_CLOSED) {
        return;
    }

    conn->state = XSHM_LOCAL_CONN_CLOSED;
    conn->link  = NULL;
    ucs_list_del(&conn->list);
    if (link != NULL) {
        link->num_offered -= !conn->super.is_sender;
        xshm_local_link_release(link);
    }
}

static void xshm_local_conn_report(xshm_local_conn_t *conn,
                                   xshm_reason_t reason, uint32_t version)
{
    xshm_local_conn_unlink(conn);
    conn->super.platform->sink->closed(&conn->super, reason, version);
}

static void xshm_local_close(xshm_platform_t *platform)
{
    xshm_local_t      *local = (xshm_local_t *)platform;
    xshm_local_link_t *link, *tmp;
    xshm_local_conn_t *conn;

    ucs_list_for_each_safe(link, tmp, &local->links, list) {
        xshm_local_link_close(link);
    }

    /* Closing the links has put requests here, too */
    while (!ucs_list_is_empty(&local->retries)) {
        conn = ucs_list_head(&local->retries, xshm_local_conn_t, list);
        xshm_local_conn_report(conn, XSHM_REASON_GONE, 0);
    }

    xshm_fdset_close(local->listen_fd);
    xshm_fdset_close(local->epoll_fd);
    free(local);
}

/* Why there is no link, as the owner of the channel understands it */
static xshm_reason_t xshm_local_link_reason(ucs_status_t status)
{
    return ((status == UCS_ERR_UNREACHABLE) || (status == UCS_ERR_REJECTED)) ?
                   XSHM_REASON_GONE :
                   XSHM_REASON_RESOURCE;
}

static uint64_t xshm_local_now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return ((uint64_t)now.tv_sec * 1000) + ((uint64_t)now.tv_nsec / 1000000);
}

static void xshm_local_set_retry(xshm_local_t *local)
{
    local->retry_time = xshm_local_now_ms() + XSHM_LOCAL_RETRY_MS;
}

/* The channel is in no list */
static void
xshm_local_conn_ask_later(xshm_local_t *local, xshm_local_conn_t *conn)
{
    if (ucs_list_is_empty(&local->retries)) {
        xshm_local_set_retry(local);
    }

    ucs_list_add_tail(&local->retries, &conn->list);
}

static int xshm_local_conn_may_retry(xshm_local_conn_t *conn)
{
    return conn->super.is_sender && (conn->state == XSHM_LOCAL_CONN_PENDING) &&
           (++conn->num_retries < XSHM_LOCAL_MAX_RETRIES);
}

/* Ask for a channel, which is in no list. Later, if there is no room now. */
static void xshm_local_conn_ask(xshm_local_t *local, xshm_local_conn_t *conn)
{
    xshm_local_link_t *link;
    ucs_status_t       status;

    status = xshm_local_link_get(local, conn->request.target.process, &link);
    if (status == UCS_OK) {
        status = xshm_local_link_request(link, conn);
    }

    if (status == UCS_OK) {
        conn->link = link;
        ucs_list_add_tail(&link->conns, &conn->list);
        return;
    }

    conn->link = NULL;
    xshm_local_conn_ask_later(local, conn);

    /* A link that the other side has just closed is replaced by a new one */
    if ((status != UCS_ERR_NO_RESOURCE) &&
        ((status != UCS_ERR_CONNECTION_RESET) ||
         !xshm_local_conn_may_retry(conn))) {
        xshm_local_conn_report(conn, xshm_local_link_reason(status), 0);
    }
}

static ucs_status_t
xshm_local_connect(xshm_platform_t *platform, const void *dev_addr,
                   const xshm_request_t *request, xshm_mem_t *mem, void *owner,
                   xshm_conn_t **conn_p)
{
    xshm_local_t      *local = (xshm_local_t *)platform;
    xshm_local_conn_t *conn;

    (void)dev_addr;

    conn = xshm_local_conn_new(local, local->next_channel, 1);
    if (conn == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    ++local->next_channel;
    conn->super.owner = owner;
    conn->request     = *request;
    conn->mem         = (xshm_local_mem_t *)mem;
    *conn_p           = &conn->super;

    xshm_local_conn_ask(local, conn);
    return UCS_OK;
}

/* A channel whose request may have been lost with a link that the other side
 * closed, because it did not need it any more, is asked for again; but not for
 * ever, if the other side hangs up each time. */
void xshm_local_handle_link_down(xshm_local_conn_t *conn)
{
    xshm_local_t *local = (xshm_local_t *)conn->super.platform;

    ucs_list_head_init(&conn->list);
    if (xshm_local_conn_may_retry(conn)) {
        xshm_local_conn_ask_later(local, conn);
        return;
    }

    xshm_local_conn_report(conn, XSHM_REASON_GONE, 0);
}

static void xshm_local_retry(xshm_local_t *local)
{
    UCS_LIST_HEAD(retries);
    xshm_local_conn_t *conn;

    ucs_list_splice_tail(&retries, &local->retries);
    ucs_list_head_init(&local->retries);
    while (!ucs_list_is_empty(&retries)) {
        conn = ucs_list_extract_head(&retries, xshm_local_conn_t, list);
        xshm_local_conn_ask(local, conn);
    }
}

static ucs_status_t
xshm_local_map(xshm_conn_t *super, size_t data_size, xshm_mem_t **mem_p)
{
    xshm_local_conn_t *conn = (xshm_local_conn_t *)super;
    ucs_status_t       status;

    status = xshm_local_mem_map(conn->fds, data_size, mem_p);
    xshm_local_conn_close_fds(conn);
    return status;
}

static void xshm_local_accept(xshm_conn_t *super)
{
    xshm_local_conn_t *conn = (xshm_local_conn_t *)super;

    conn->state = XSHM_LOCAL_CONN_ACCEPTED;
    xshm_local_link_send(conn->link, XSHM_LOCAL_MSG_ACCEPT, conn->channel, 0,
                         XSHM_REASON_NONE);
}

static void
xshm_local_conn_set_bell(xshm_local_conn_t *conn, xshm_local_bell_t *bell)
{
    if (conn->bell != NULL) {
        xshm_local_bell_put(conn->bell);
    }
    conn->bell = bell;
}

static void xshm_local_conn_free(xshm_local_conn_t *conn)
{
    xshm_local_conn_unlink(conn);
    xshm_local_conn_set_bell(conn, NULL);
    xshm_local_conn_close_fds(conn);
    free(conn);
}

static void xshm_local_refuse(xshm_conn_t *super, xshm_reason_t reason)
{
    xshm_local_conn_t *conn = (xshm_local_conn_t *)super;

    xshm_local_link_send(conn->link, XSHM_LOCAL_MSG_REFUSE, conn->channel, 0,
                         reason);
    xshm_local_conn_free(conn);
}

static void xshm_local_disconnect(xshm_conn_t *super)
{
    xshm_local_conn_t *conn = (xshm_local_conn_t *)super;

    if (conn->link != NULL) {
        xshm_local_link_send(conn->link, XSHM_LOCAL_MSG_CLOSE, conn->channel,
                             conn->super.is_sender, XSHM_REASON_NONE);
    }

    xshm_local_conn_free(conn);
}

/* The channel that a message is about: ours if the other side is its
 * receiver */
static xshm_local_conn_t *
xshm_local_conn_find(xshm_local_link_t *link, const xshm_local_msg_t *msg)
{
    xshm_local_conn_t *conn;

    ucs_list_for_each(conn, &link->conns, list) {
        if ((conn->channel == msg->channel) &&
            (conn->super.is_sender == !msg->by_sender)) {
            return conn;
        }
    }

    return NULL;
}

/* Once until there are descriptors again */
static void xshm_local_complain_deaf(xshm_local_t *local)
{
    if (!local->is_deaf) {
        ucs_error("xshm: cannot accept a peer: too many open files. Raise "
                  "their number (ulimit -n)");
        local->is_deaf = 1;
    }
}

/* Only a sender asks, once, and gives its descriptors, which the kernel drops
 * if this process may have no more */
static int xshm_local_is_request(xshm_local_link_t      *link,
                                 const xshm_local_msg_t *msg, const int *fds)
{
    return msg->by_sender && (xshm_local_conn_find(link, msg) == NULL) &&
           (link->is_cut || ((fds[0] >= 0) && (fds[1] >= 0)));
}

static void xshm_local_handle_request(xshm_local_link_t      *link,
                                      const xshm_local_msg_t *msg, int *fds)
{
    xshm_local_t      *local = link->local;
    xshm_local_conn_t *conn;

    if (!xshm_local_is_request(link, msg, fds)) {
        xshm_complain("xshm: a peer's request for channel %u is malformed: its "
                      "socket is closed",
                      msg->channel);
        link->is_broken = 1;
        return;
    }

    if ((fds[0] < 0) || (fds[1] < 0)) {
        xshm_local_complain_deaf(local);
        xshm_local_link_send(link, XSHM_LOCAL_MSG_REFUSE, msg->channel, 0,
                             XSHM_REASON_RESOURCE);
        return;
    }

    conn = (link->num_offered < XSHM_LOCAL_MAX_OFFERED) ?
                   xshm_local_conn_new(local, msg->channel, 0) :
                   NULL;
    if (conn == NULL) {
        xshm_local_link_send(link, XSHM_LOCAL_MSG_REFUSE, msg->channel, 0,
                             XSHM_REASON_RESOURCE);
        return;
    }

    conn->link = link;
    ++link->num_offered;
    ucs_list_add_tail(&link->conns, &conn->list);
    memcpy(conn->fds, fds, sizeof(conn->fds));
    fds[0] = -1;
    fds[1] = -1;

    conn->request.data_size = msg->data_size;
    conn->request.domain    = XSHM_DOMAIN_SAME;
    memcpy(&conn->request.target, msg->target, sizeof(msg->target));
    local->super.sink->request(&conn->super, &conn->request);
}

static void xshm_local_handle_accept(xshm_local_conn_t *conn)
{
    if (!conn->super.is_sender || (conn->state != XSHM_LOCAL_CONN_PENDING)) {
        return;
    }

    conn->state = XSHM_LOCAL_CONN_ACCEPTED;
    xshm_local_mem_close_fds(conn->mem);
    conn->super.platform->sink->accepted(&conn->super);
}

/* The peer wants to be woken, or not any more. A channel keeps its first bell:
 * its owner's thread may be using it. */
static void xshm_local_handle_wants(xshm_local_conn_t      *conn,
                                    const xshm_local_msg_t *msg, int *fds)
{
    if ((conn->bell == NULL) && (fds[0] >= 0)) {
        xshm_local_conn_set_bell(conn, xshm_local_bell_get(&conn->link->bells,
                                                           msg->wake, fds));
    }

    if ((conn->bell != NULL) && (conn->super.owner != NULL)) {
        conn->super.platform->sink->attention(&conn->super);
    }
}

static void xshm_local_wake_attach(xshm_conn_t *super, xshm_wake_t *wake)
{
    xshm_local_conn_t *conn = (xshm_local_conn_t *)super;

    /* Else it has ended, or will have to ask again */
    if (conn->link != NULL) {
        xshm_local_link_send_event(conn->link, conn->channel,
                                   conn->super.is_sender, wake);
    }
}

static void xshm_local_notify(xshm_conn_t *super)
{
    xshm_local_bell_ring(((xshm_local_conn_t *)super)->bell);
}

/* What the peer is out of may be there again soon */
static void
xshm_local_handle_refuse(xshm_local_conn_t *conn, xshm_reason_t reason)
{
    xshm_local_t      *local = (xshm_local_t *)conn->super.platform;
    xshm_local_link_t *link  = conn->link;

    if ((reason != XSHM_REASON_RESOURCE) || !xshm_local_conn_may_retry(conn)) {
        xshm_local_conn_report(conn, reason, 0);
        return;
    }

    ucs_list_del(&conn->list);
    conn->link = NULL;
    xshm_local_conn_ask_later(local, conn);
    xshm_local_link_release(link);
}

/* Anything of another version: all that is sure is who speaks which one */
static void
xshm_local_handle_version(xshm_local_link_t *link, const xshm_local_msg_t *msg)
{
    xshm_local_conn_t *conn;

    xshm_complain(
            "xshm: a peer uses version %u of the shared layout, and this "
            "process version %u: install the same version of xshm for both",
            msg->version, XSHM_ABI_VERSION);

    if (msg->type != XSHM_LOCAL_MSG_REFUSE) {
        xshm_local_link_send(link, XSHM_LOCAL_MSG_REFUSE, msg->channel, 0,
                             XSHM_REASON_VERSION);
    }

    while (!ucs_list_is_empty(&link->conns)) {
        conn = ucs_list_head(&link->conns, xshm_local_conn_t, list);
        xshm_local_conn_report(conn, XSHM_REASON_VERSION, msg->version);
    }

    link->is_broken = 1;
}

/* A message about a channel. What is not known has been closed by this side in
 * the meantime. */
static void xshm_local_handle_conn_msg(xshm_local_link_t      *link,
                                       const xshm_local_msg_t *msg, int *fds)
{
    xshm_local_conn_t *conn = xshm_local_conn_find(link, msg);

    if (conn == NULL) {
        return;
    }

    switch (msg->type) {
    case XSHM_LOCAL_MSG_ACCEPT:
        xshm_local_handle_accept(conn);
        break;
    case XSHM_LOCAL_MSG_REFUSE:
        xshm_local_handle_refuse(conn, (xshm_reason_t)msg->reason);
        break;
    case XSHM_LOCAL_MSG_EVENT:
        xshm_local_handle_wants(conn, msg, fds);
        break;
    default:
        xshm_local_conn_report(conn, XSHM_REASON_GONE, 0);
        break;
    }
}

void xshm_local_handle_msg(xshm_local_link_t *link, const xshm_local_msg_t *msg,
                           int *fds)
{
    if (msg->version != XSHM_ABI_VERSION) {
        xshm_local_handle_version(link, msg);
        return;
    }

    switch (msg->type) {
    case XSHM_LOCAL_MSG_HELLO:
        link->process = msg->process;
        break;
    case XSHM_LOCAL_MSG_REQUEST:
        xshm_local_handle_request(link, msg, fds);
        break;
    case XSHM_LOCAL_MSG_MAP:
    case XSHM_LOCAL_MSG_REGION:
    case XSHM_LOCAL_MSG_NO_REGION:
    case XSHM_LOCAL_MSG_FORGET:
        xshm_local_region_handle_msg(link, msg, fds);
        break;
    default:
        xshm_local_handle_conn_msg(link, msg, fds);
        break;
    }
}

/* Else the listener would be readable all the time */
static void xshm_local_stop_listening(xshm_local_t *local)
{
    (void)xshm_local_poll_listener(local, EPOLL_CTL_DEL);
    local->is_paused = 1;
    xshm_local_set_retry(local);
}

static void xshm_local_listen_again(xshm_local_t *local)
{
    if (local->is_paused) {
        local->is_paused = 0;
        (void)xshm_local_poll_listener(local, EPOLL_CTL_ADD);
    }
}

static void xshm_local_accept_peers(xshm_local_t *local)
{
    int fd, i;

    for (i = 0; i < XSHM_LOCAL_MAX_EVENTS; ++i) {
        fd = accept4(local->listen_fd, NULL, NULL,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            (void)xshm_local_link_accept(local, xshm_fdset_add(fd));
            continue;
        }

        if ((errno == EMFILE) || (errno == ENFILE)) {
            xshm_local_complain_deaf(local);
            xshm_local_stop_listening(local);
        } else {
            local->is_deaf = 0;
        }
        return;
    }
}

static void
xshm_local_handle_event(xshm_local_t *local, const struct epoll_event *event)
{
    xshm_local_link_t *link = event->data.ptr;

    if (link == NULL) {
        xshm_local_accept_peers(local);
        return;
    }

    if (event->events & EPOLLOUT) {
        xshm_local_link_flush(link);
    }

    /* Also for EPOLLHUP: what was sent before the end is still there */
    if (!link->is_broken) {
        xshm_local_link_receive(link);
    }
}

/* Links are closed here only, so that no event of this turn refers to one
 * that is gone */
static void xshm_local_close_broken(xshm_local_t *local)
{
    xshm_local_link_t *link, *tmp;

    ucs_list_for_each_safe(link, tmp, &local->links, list) {
        if (link->is_broken) {
            xshm_local_link_close(link);
        }
    }
}

static int xshm_local_dispatch(xshm_platform_t *platform)
{
    xshm_local_t      *local = (xshm_local_t *)platform;
    struct epoll_event events[XSHM_LOCAL_MAX_EVENTS];
    int                num_events, i;

    if (xshm_local_now_ms() >= local->retry_time) {
        xshm_local_listen_again(local);
        xshm_local_retry(local);
    }

    num_events = epoll_wait(local->epoll_fd, events, XSHM_LOCAL_MAX_EVENTS, 0);
    for (i = 0; i < num_events; ++i) {
        xshm_local_handle_event(local, &events[i]);
    }

    xshm_local_close_broken(local);
    return (ucs_list_is_empty(&local->retries) && !local->is_paused) ?
                   -1 :
                   XSHM_LOCAL_RETRY_MS;
}

const xshm_platform_ops_t xshm_local_ops = {
        .device        = "local",
        .dev_addr_size = sizeof(xshm_local_dev_addr_t),
        .probe         = xshm_local_probe,
        .open          = xshm_local_open,
        .close         = xshm_local_close,
        .get_dev_addr  = xshm_local_get_dev_addr,
        .is_reachable  = xshm_local_is_reachable,
        .domain        = xshm_local_domain,
        .event_fd      = xshm_local_event_fd,
        .dispatch      = xshm_local_dispatch,
        .mem_alloc     = xshm_local_mem_alloc,
        .mem_free      = xshm_local_mem_free,
        .connect       = xshm_local_connect,
        .map           = xshm_local_map,
        .accept        = xshm_local_accept,
        .refuse        = xshm_local_refuse,
        .disconnect    = xshm_local_disconnect,
        .wake_open     = xshm_local_wake_open,
        .wake_fd       = xshm_local_wake_fd,
        .wake_drain    = xshm_local_wake_drain,
        .wake_close    = xshm_local_wake_put,
        .wake_attach   = xshm_local_wake_attach,
        .notify        = xshm_local_notify,
        .region_alloc  = xshm_local_region_alloc,
        .region_free   = xshm_local_region_free,
        .region_ask    = xshm_local_region_ask,
        .region_unmap  = xshm_local_region_unmap,
        .region_forget = xshm_local_region_forget};
