/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* struct ucred */
#endif

#include "local_link.h"
#include "local_region.h"
#include "../fdset.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>


/* A peer that floods us gets its turn only */
#define XSHM_LOCAL_MAX_MSGS_PER_TURN 64

/* Messages that wait for a peer that does not read. One that lets them be more
 * is hung up on: it will not read any of them. */
#define XSHM_LOCAL_MAX_OUT 8192

/* Connections that one process may have to us: it needs two at most, but some
 * may be on their way to be closed */
#define XSHM_LOCAL_MAX_LINKS 64


/* Room for the descriptors of one message */
typedef union xshm_local_control {
    struct cmsghdr header; /* Aligns the buffer */
    char           buffer[CMSG_SPACE(sizeof(int) * XSHM_LOCAL_NUM_FDS)];
} xshm_local_control_t;


/* Same user on both ends: the kernel says so, not the peer.
 * @param [out] pid_p  Who it is; zero: a process that we cannot see. */
static int xshm_local_link_check_user(int fd, pid_t *pid_p)
{
    struct ucred cred;
    socklen_t    length = sizeof(cred);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) != 0) {
        xshm_complain("xshm: cannot tell the user of a peer: %m");
        return 0;
    }

    if (cred.uid != geteuid()) {
        xshm_complain(
                "xshm: refused a peer of user %u (process %d), this is user "
                "%u",
                cred.uid, cred.pid, geteuid());
        return 0;
    }

    *pid_p = cred.pid;
    return 1;
}

static ucs_status_t
xshm_local_link_poll(xshm_local_link_t *link, int op, int want_room)
{
    struct epoll_event event = {.events = EPOLLIN |
                                          (want_room ? (unsigned)EPOLLOUT : 0),
                                .data.ptr = link};

    if (epoll_ctl(link->local->epoll_fd, op, link->fd, &event) != 0) {
        ucs_error("xshm: cannot poll a peer's socket: %m");
        return UCS_ERR_IO_ERROR;
    }

    link->is_polled = want_room;
    return UCS_OK;
}

/* Takes over the socket, also on failure */
static ucs_status_t xshm_local_link_new(xshm_local_t *local, int fd,
                                        uint64_t process, int is_incoming,
                                        xshm_local_link_t **link_p)
{
    xshm_local_link_t *link;
    ucs_status_t       status;

    link = calloc(1, sizeof(*link));
    if (link == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a peer", sizeof(*link));
        status = UCS_ERR_NO_MEMORY;
        goto err_close_fd;
    }

    link->local       = local;
    link->fd          = fd;
    link->process     = process;
    link->is_incoming = is_incoming;
    ucs_list_head_init(&link->conns);
    ucs_queue_head_init(&link->out);
    ucs_list_head_init(&link->bells);
    ucs_list_head_init(&link->asks);
    ucs_list_head_init(&link->views);

    status = xshm_local_link_poll(link, EPOLL_CTL_ADD, 0);
    if (status != UCS_OK) {
        goto err_free_link;
    }

    ucs_list_add_tail(&local->links, &link->list);
    *link_p = link;
    return UCS_OK;

err_free_link:
    free(link);
err_close_fd:
    xshm_fdset_close(fd);
    return status;
}

/* Has a process as many connections to us as it may have? Those that cannot be
 * told apart are not counted. */
static int xshm_local_has_enough(const xshm_local_t *local, pid_t pid)
{
    unsigned           count = 0;
    xshm_local_link_t *link;

    ucs_list_for_each(link, &local->links, list) {
        count += link->is_incoming && (link->pid == pid);
    }

    if ((pid == 0) || (count < XSHM_LOCAL_MAX_LINKS)) {
        return 0;
    }

    xshm_complain(
            "xshm: process %d has %u connections to this one: one more is "
            "closed",
            (int)pid, count);
    return 1;
}

ucs_status_t xshm_local_link_accept(xshm_local_t *local, int fd)
{
    xshm_local_link_t *link;
    ucs_status_t       status;
    pid_t              pid;

    if (!xshm_local_link_check_user(fd, &pid) ||
        xshm_local_has_enough(local, pid)) {
        xshm_fdset_close(fd);
        return UCS_ERR_REJECTED;
    }

    status = xshm_local_link_new(local, fd, 0, 1, &link);
    if (status == UCS_OK) {
        link->pid = pid;
    }

    return status;
}

/* What connect() says, as a status: no room in the peer's backlog will pass,
 * everything else means that there is no such peer for us. */
static ucs_status_t xshm_local_link_connect_status(uint64_t process)
{
    if (errno == EAGAIN) {
        return UCS_ERR_NO_RESOURCE;
    }

    ucs_debug("xshm: no process %016" PRIx64 ": %m", process);
    return UCS_ERR_UNREACHABLE;
}

static ucs_status_t xshm_local_link_open_socket(xshm_local_t *local,
                                                uint64_t process, int *fd_p,
                                                pid_t *pid_p)
{
    struct sockaddr_un sockaddr;
    ucs_status_t       status;
    socklen_t          length;
    int                fd;

    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        ucs_error("xshm: cannot open a socket to a peer: %m. If there are too "
                  "many open files, raise ulimit -n");
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(fd);
    length = xshm_local_sockaddr(local->addr.uid, process, &sockaddr);
    if (connect(fd, (struct sockaddr *)&sockaddr, length) != 0) {
        status = xshm_local_link_connect_status(process);
        goto err_close_fd;
    }

    /* Anybody may have taken the name after its owner died */
    if (!xshm_local_link_check_user(fd, pid_p)) {
        status = UCS_ERR_REJECTED;
        goto err_close_fd;
    }

    *fd_p = fd;
    return UCS_OK;

err_close_fd:
    xshm_fdset_close(fd);
    return status;
}

/* Who connects says who it is, and could be anybody else of this user: a
 * request would give it our token for the real one. Only that one listens on
 * the socket of its name. */
static int xshm_local_link_is_proved(xshm_local_link_t *link)
{
    pid_t pid;
    int   fd;

    if (link->is_proved || (link->pid == 0)) {
        return link->is_proved;
    }

    if (xshm_local_link_open_socket(link->local, link->process, &fd, &pid) !=
        UCS_OK) {
        return 0;
    }

    xshm_fdset_close(fd);
    link->is_proved = (pid == link->pid);
    return link->is_proved;
}

static xshm_local_link_t *
xshm_local_link_find(xshm_local_t *local, uint64_t process, int is_own)
{
    xshm_local_link_t *link;

    ucs_list_for_each(link, &local->links, list) {
        if ((link->process == process) && !link->is_broken &&
            (!link->is_incoming ||
             (!is_own && xshm_local_link_is_proved(link)))) {
            return link;
        }
    }

    return NULL;
}

static ucs_status_t xshm_local_link_find_or_open(xshm_local_t *local,
                                                 uint64_t process, int is_own,
                                                 xshm_local_link_t **link_p)
{
    ucs_status_t status;
    pid_t        pid;
    int          fd;

    *link_p = xshm_local_link_find(local, process, is_own);
    if (*link_p != NULL) {
        return UCS_OK;
    }

    status = xshm_local_link_open_socket(local, process, &fd, &pid);
    if (status != UCS_OK) {
        return status;
    }

    status = xshm_local_link_new(local, fd, process, 0, link_p);
    if (status == UCS_OK) {
        xshm_local_link_send(*link_p, XSHM_LOCAL_MSG_HELLO, 0, 0,
                             XSHM_REASON_NONE);
    }

    return status;
}

ucs_status_t xshm_local_link_get(xshm_local_t *local, uint64_t process,
                                 xshm_local_link_t **link_p)
{
    return xshm_local_link_find_or_open(local, process, 0, link_p);
}

ucs_status_t xshm_local_link_get_own(xshm_local_t *local, uint64_t process,
                                     xshm_local_link_t **link_p)
{
    return xshm_local_link_find_or_open(local, process, 1, link_p);
}

static void xshm_local_close_fds(int *fds)
{
    int i;

    for (i = 0; i < XSHM_LOCAL_NUM_FDS; ++i) {
        xshm_fdset_close(fds[i]);
        fds[i] = -1;
    }
}

static void xshm_local_out_free(xshm_local_out_t *out)
{
    if (out->wake != NULL) {
        xshm_local_wake_put(out->wake);
    }
    free(out);
}

static void xshm_local_link_purge(xshm_local_link_t *link)
{
    xshm_local_out_t *out;

    while (!ucs_queue_is_empty(&link->out)) {
        out = ucs_queue_pull_elem_non_empty(&link->out, xshm_local_out_t, elem);
        xshm_local_out_free(out);
    }
}

void xshm_local_link_close(xshm_local_link_t *link)
{
    xshm_local_conn_t *conn;

    ucs_list_del(&link->list);
    while (!ucs_list_is_empty(&link->conns)) {
        conn = ucs_list_extract_head(&link->conns, xshm_local_conn_t, list);
        conn->link = NULL;
        xshm_local_handle_link_down(conn);
    }

    xshm_local_region_link_down(link);
    xshm_local_link_purge(link);
    xshm_local_bells_forget(&link->bells);
    xshm_fdset_close(link->fd);
    free(link);
}

void xshm_local_link_release(xshm_local_link_t *link)
{
    /* The side that connected also hangs up; a message on its way to us on
     * such a link is sent again by a link of its own. */
    if (ucs_list_is_empty(&link->conns) && ucs_queue_is_empty(&link->out) &&
        ucs_list_is_empty(&link->asks) && ucs_list_is_empty(&link->views) &&
        !link->is_incoming) {
        link->is_broken = 1;
    }
}

static void xshm_local_control_put(struct msghdr        *header,
                                   xshm_local_control_t *control,
                                   const int *fds, size_t num_fds)
{
    struct cmsghdr *cmsg;

    header->msg_control    = control->buffer;
    header->msg_controllen = CMSG_SPACE(sizeof(int) * num_fds);
    cmsg                   = CMSG_FIRSTHDR(header);
    cmsg->cmsg_level       = SOL_SOCKET;
    cmsg->cmsg_type        = SCM_RIGHTS;
    cmsg->cmsg_len         = CMSG_LEN(sizeof(int) * num_fds);
    memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * num_fds);
}

/* UCS_ERR_NO_RESOURCE: not now */
static ucs_status_t xshm_local_link_write(xshm_local_link_t      *link,
                                          const xshm_local_msg_t *msg,
                                          const int *fds, unsigned num_fds)
{
    xshm_local_control_t control = {{0}};
    struct iovec  iov    = {.iov_base = (void *)msg, .iov_len = sizeof(*msg)};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};

    if (num_fds > 0) {
        xshm_local_control_put(&header, &control, fds, num_fds);
    }

    if (sendmsg(link->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
        return UCS_OK;
    }

    /* ETOOMANYREFS: too many descriptors of this user are on their way */
    if ((errno == EAGAIN) || (errno == EINTR) || (errno == ETOOMANYREFS) ||
        (errno == ENOBUFS)) {
        return UCS_ERR_NO_RESOURCE;
    }

    ucs_debug("xshm: cannot write to process %016" PRIx64 ": %m",
              link->process);
    link->is_broken = 1;
    return UCS_ERR_CONNECTION_RESET;
}

static void xshm_local_link_want_room(xshm_local_link_t *link, int want_room)
{
    if ((link->is_polled != want_room) &&
        (xshm_local_link_poll(link, EPOLL_CTL_MOD, want_room) != UCS_OK)) {
        link->is_broken = 1;
    }
}

static void xshm_local_link_keep(xshm_local_link_t      *link,
                                 const xshm_local_msg_t *msg, xshm_wake_t *wake)
{
    xshm_local_out_t *out;

    if (link->num_out == XSHM_LOCAL_MAX_OUT) {
        xshm_complain("xshm: process %016" PRIx64
                      " does not read its messages: "
                      "%u wait for it, and its socket is closed",
                      link->process, link->num_out);
        link->is_broken = 1;
        return;
    }

    out = malloc(sizeof(*out));
    if (out == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a message to a peer",
                  sizeof(*out));
        link->is_broken = 1;
        return;
    }

    out->msg  = *msg;
    out->wake = wake;
    if (wake != NULL) {
        xshm_local_wake_get(wake);
    }
    ucs_queue_push(&link->out, &out->elem);
    ++link->num_out;
    xshm_local_link_want_room(link, 1);
}

void xshm_local_msg_init(xshm_local_msg_t *msg, const xshm_local_link_t *link,
                         xshm_local_msg_type_t type)
{
    memset(msg, 0, sizeof(*msg));
    msg->magic   = XSHM_LOCAL_MAGIC;
    msg->version = XSHM_ABI_VERSION;
    msg->type    = type;
    msg->process = link->local->super.process;
}

/* UCS_ERR_NO_RESOURCE: not now */
static ucs_status_t xshm_local_link_write_out(xshm_local_link_t      *link,
                                              const xshm_local_msg_t *msg,
                                              const xshm_wake_t      *wake)
{
    int fd;

    if (wake == NULL) {
        return xshm_local_link_write(link, msg, NULL, 0);
    }

    fd = xshm_local_wake_peer_fd(wake);
    return xshm_local_link_write(link, msg, &fd, 1);
}

/* Now, or when there is room, in the order of the calls */
static void xshm_local_link_put(xshm_local_link_t      *link,
                                const xshm_local_msg_t *msg, xshm_wake_t *wake)
{
    if (!ucs_queue_is_empty(&link->out) ||
        (xshm_local_link_write_out(link, msg, wake) == UCS_ERR_NO_RESOURCE)) {
        xshm_local_link_keep(link, msg, wake);
    }
}

void xshm_local_link_post(xshm_local_link_t *link, const xshm_local_msg_t *msg)
{
    xshm_local_link_put(link, msg, NULL);
}

ucs_status_t xshm_local_link_send_fd(xshm_local_link_t      *link,
                                     const xshm_local_msg_t *msg, int fd)
{
    return ucs_queue_is_empty(&link->out) ?
                   xshm_local_link_write(link, msg, &fd, 1) :
                   UCS_ERR_NO_RESOURCE;
}

void xshm_local_link_send(xshm_local_link_t *link, xshm_local_msg_type_t type,
                          uint32_t channel, int is_sender, xshm_reason_t reason)
{
    xshm_local_msg_t msg;

    xshm_local_msg_init(&msg, link, type);
    msg.channel   = channel;
    msg.by_sender = is_sender;
    msg.reason    = reason;
    xshm_local_link_put(link, &msg, NULL);
}

void xshm_local_link_send_event(xshm_local_link_t *link, uint32_t channel,
                                int is_sender, xshm_wake_t *wake)
{
    xshm_local_msg_t msg;

    xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_EVENT);
    msg.channel   = channel;
    msg.by_sender = is_sender;
    msg.wake      = (wake == NULL) ? 0 : xshm_local_wake_number(wake);
    xshm_local_link_put(link, &msg, wake);
}

ucs_status_t
xshm_local_link_request(xshm_local_link_t *link, const xshm_local_conn_t *conn)
{
    xshm_local_msg_t msg;

    if (!ucs_queue_is_empty(&link->out)) {
        return UCS_ERR_NO_RESOURCE;
    }

    xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_REQUEST);
    msg.channel   = conn->channel;
    msg.by_sender = 1;
    msg.data_size = conn->request.data_size;
    memcpy(msg.target, &conn->request.target, sizeof(msg.target));
    return xshm_local_link_write(link, &msg, conn->mem->fds,
                                 XSHM_LOCAL_NUM_FDS);
}

void xshm_local_link_flush(xshm_local_link_t *link)
{
    xshm_local_out_t *out;

    while (!ucs_queue_is_empty(&link->out) && !link->is_broken) {
        out = ucs_queue_head_elem_non_empty(&link->out, xshm_local_out_t, elem);
        if (xshm_local_link_write_out(link, &out->msg, out->wake) ==
            UCS_ERR_NO_RESOURCE) {
            return;
        }

        ucs_queue_pull_non_empty(&link->out);
        --link->num_out;
        xshm_local_out_free(out);
    }

    xshm_local_link_want_room(link, 0);
    xshm_local_link_release(link);
}

/* Take exactly the descriptors that a message may carry */
static void xshm_local_control_get(struct msghdr *header, int *fds)
{
    struct cmsghdr *cmsg;
    size_t          num_fds, i;
    int             fd;

    for (cmsg = CMSG_FIRSTHDR(header); cmsg != NULL;
         cmsg = CMSG_NXTHDR(header, cmsg)) {
        if ((cmsg->cmsg_level != SOL_SOCKET) ||
            (cmsg->cmsg_type != SCM_RIGHTS)) {
            continue;
        }

        num_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (i = 0; i < num_fds; ++i) {
            memcpy(&fd, CMSG_DATA(cmsg) + (i * sizeof(fd)), sizeof(fd));
            if ((i < XSHM_LOCAL_NUM_FDS) && (fds[i] < 0)) {
                fds[i] = xshm_fdset_add(fd);
            } else {
                close(fd);
            }
        }
    }
}

/* Is it a message, of whatever version? Others may have another length. */
static int xshm_local_msg_is_valid(const xshm_local_msg_t *msg, ssize_t length)
{
    if ((length < (ssize_t)offsetof(xshm_local_msg_t, reason)) ||
        (msg->magic != XSHM_LOCAL_MAGIC)) {
        return 0;
    }

    return (msg->version != XSHM_ABI_VERSION) || (length == sizeof(*msg));
}

/* UCS_ERR_NO_PROGRESS: nothing to read now */
static ucs_status_t
xshm_local_link_read(xshm_local_link_t *link, xshm_local_msg_t *msg, int *fds)
{
    xshm_local_control_t control;
    struct iovec         iov    = {.iov_base = msg, .iov_len = sizeof(*msg)};
    struct msghdr        header = {.msg_iov        = &iov,
                                   .msg_iovlen     = 1,
                                   .msg_control    = control.buffer,
                                   .msg_controllen = sizeof(control.buffer)};
    ssize_t              length;

    memset(msg, 0, sizeof(*msg));
    length = recvmsg(link->fd, &header,
                     MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
    if (length < 0) {
        return ((errno == EAGAIN) || (errno == EINTR)) ?
                       UCS_ERR_NO_PROGRESS :
                       UCS_ERR_CONNECTION_RESET;
    }

    xshm_local_control_get(&header, fds);
    link->is_cut = (header.msg_flags & MSG_CTRUNC) != 0;
    if (length == 0) {
        xshm_local_close_fds(fds);
        return UCS_ERR_CONNECTION_RESET;
    }

    if (!xshm_local_msg_is_valid(msg, length)) {
        xshm_complain(
                "xshm: a peer sent %zd bytes that are no message of ours: "
                "its socket is closed",
                length);
        xshm_local_close_fds(fds);
        return UCS_ERR_INVALID_PARAM;
    }

    return UCS_OK;
}

void xshm_local_link_receive(xshm_local_link_t *link)
{
    int              fds[XSHM_LOCAL_NUM_FDS] = {-1, -1};
    xshm_local_msg_t msg;
    ucs_status_t     status;
    int              i;

    /* What comes on a link that is to be closed is asked for again */
    for (i = 0; (i < XSHM_LOCAL_MAX_MSGS_PER_TURN) && !link->is_broken; ++i) {
        status = xshm_local_link_read(link, &msg, fds);
        if (status == UCS_ERR_NO_PROGRESS) {
            return;
        }

        if (status != UCS_OK) {
            link->is_broken = 1;
            return;
        }

        xshm_local_handle_msg(link, &msg, fds);
        xshm_local_close_fds(fds);
    }
}
