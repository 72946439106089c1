/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_LOCAL_LINK_H_
#define XSHM_LOCAL_LINK_H_

#include "local_wake.h"
#include "local_wire.h"

#include <ucs/datastruct/list.h>
#include <ucs/datastruct/queue.h>

/**
 * The socket to one other process, and the channels that are spoken of on it.
 * Its end is how a process learns of the other's.
 *
 * Threads: the service thread only.
 */

typedef struct xshm_local xshm_local_t;


/** A message that did not go out at once: any but a REQUEST */
typedef struct xshm_local_out {
    ucs_queue_elem_t elem;
    xshm_local_msg_t msg;
    xshm_wake_t     *wake; /**< Of an EVENT, or NULL */
} xshm_local_out_t;


typedef struct xshm_local_link {
    ucs_list_link_t  list;        /**< In xshm_local_t::links */
    ucs_list_link_t  conns;       /**< Of xshm_local_conn_t */
    ucs_queue_head_t out;         /**< Of xshm_local_out_t */
    unsigned         num_out;     /**< Of them */
    unsigned         num_offered; /**< Channels that the other side sends by */
    ucs_list_link_t  bells;       /**< What the other side can be woken by */
    ucs_list_link_t  asks;        /**< Regions that were asked for */
    ucs_list_link_t  views;       /**< Of xshm_local_view_t: what is mapped */
    xshm_local_t    *local;
    uint64_t         process; /**< Who is on the other side, or zero */
    int              fd;
    pid_t            pid;         /**< Incoming: who it is, says the kernel */
    int              is_incoming; /**< The other side has connected */
    int              is_proved;   /**< Incoming: it is the process that it says
                                       to be */
    int              is_cut;      /**< The kernel had to drop descriptors of
                                       the last message */
    int              is_polled;   /**< Waits for room in the socket */
    int              is_broken;   /**< To be closed at the next occasion */
} xshm_local_link_t;


typedef enum {
    XSHM_LOCAL_CONN_PENDING, /**< Waits for ACCEPT or for our answer */
    XSHM_LOCAL_CONN_ACCEPTED,
    XSHM_LOCAL_CONN_CLOSED /**< Nothing more is sent or expected */
} xshm_local_conn_state_t;


typedef struct xshm_local_conn {
    xshm_conn_t             super;
    ucs_list_link_t         list; /**< In the link's conns, or in
                                          xshm_local_t::retries */
    xshm_local_link_t      *link; /**< NULL: none now */
    xshm_local_conn_state_t state;
    uint32_t                channel; /**< Number given by the sender */
    unsigned                num_retries;
    xshm_request_t          request;
    xshm_local_mem_t       *mem; /**< Sender: what is offered, until it
                                          was accepted */
    int                     fds[XSHM_LOCAL_NUM_FDS]; /**< Receiver: what was
                                                          offered, or -1 */
    xshm_local_bell_t      *bell; /**< Wakes the peer, or NULL */
} xshm_local_conn_t;


/** State of the platform in this process */
struct xshm_local {
    xshm_platform_t       super;
    xshm_local_dev_addr_t addr;
    ucs_list_link_t       links;
    ucs_list_link_t       retries; /**< Channels to be asked for again */
    int                   listen_fd;
    int                   epoll_fd;
    int                   is_deaf;    /**< No descriptor left to accept with,
                                            or for a peer's memory */
    int                   is_paused;  /**< Does not listen until then */
    uint64_t              retry_time; /**< When to try again, milliseconds */
    uint32_t              next_channel;
    uint32_t              next_wake; /**< Any thread adds to it */
};


/** Link to @a process: one that is there, or a new one.
 *  @return UCS_ERR_NO_RESOURCE: try again later; other: cannot be. */
ucs_status_t xshm_local_link_get(xshm_local_t *local, uint64_t process,
                                 xshm_local_link_t **link_p);

/** The same, but one that this side has opened: so the other side does not
 *  hang up while this side needs it */
ucs_status_t xshm_local_link_get_own(xshm_local_t *local, uint64_t process,
                                     xshm_local_link_t **link_p);

/** Take over a socket that was accepted. It is closed on failure. */
ucs_status_t xshm_local_link_accept(xshm_local_t *local, int fd);

/** Close the socket, and report the end of all channels on it */
void xshm_local_link_close(xshm_local_link_t *link);

/** Close the socket if nobody needs it */
void xshm_local_link_release(xshm_local_link_t *link);

/**
 * Ask the other side for a channel.
 *
 * @return UCS_ERR_NO_RESOURCE: not now, ask again later.
 */
ucs_status_t
xshm_local_link_request(xshm_local_link_t *link, const xshm_local_conn_t *conn);

/** Send a message about a channel; it is kept if it cannot go out now.
 *  @a is_sender tells whether this side is the channel's sender. */
void xshm_local_link_send(xshm_local_link_t *link, xshm_local_msg_type_t type,
                          uint32_t channel, int is_sender,
                          xshm_reason_t reason);

/** Ask the other side to look at our line of a channel, and let it wake
 *  @a wake, or nothing */
void xshm_local_link_send_event(xshm_local_link_t *link, uint32_t channel,
                                int is_sender, xshm_wake_t *wake);


/** Fill the fields that all messages have */
void xshm_local_msg_init(xshm_local_msg_t *msg, const xshm_local_link_t *link,
                         xshm_local_msg_type_t type);

/** Send a message; it is kept if it cannot go out now */
void xshm_local_link_post(xshm_local_link_t *link, const xshm_local_msg_t *msg);

/**
 * Send a message with a descriptor, which stays the caller's.
 *
 * @return UCS_ERR_NO_RESOURCE: not now.
 */
ucs_status_t xshm_local_link_send_fd(xshm_local_link_t      *link,
                                     const xshm_local_msg_t *msg, int fd);

/** Send what was kept */
void xshm_local_link_flush(xshm_local_link_t *link);

/** Read all messages, at most a bounded number at a time */
void xshm_local_link_receive(xshm_local_link_t *link);

/** A message has arrived (implemented in local.c). The callee sets the
 *  descriptors that it keeps to -1. */
void xshm_local_handle_msg(xshm_local_link_t *link, const xshm_local_msg_t *msg,
                           int *fds);

/** The link has ended below this channel (implemented in local.c) */
void xshm_local_handle_link_down(xshm_local_conn_t *conn);

#endif
