/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_MAILBOX_H_
#define XSHM_MAILBOX_H_

#include "allow.h"
#include "../platform/platform.h"

#include <ucs/datastruct/list.h>

#include <pthread.h>

/**
 * How the service reports to an interface: events of channels, which the
 * interface takes in its progress. A mailbox also is what a peer's request is
 * addressed to: it has the interface's number and token.
 *
 * Threads: all functions from any thread, but for take, close and those about
 * waking up, which belong to the interface.
 */

/** News of a channel. Part of the channel, so that it needs no memory. */
typedef struct xshm_event {
    ucs_list_link_t list;
    unsigned        flags; /**< What has happened since it was taken */
    int             is_queued;
    int             is_forgotten; /**< The channel wants no more news */
} xshm_event_t;


/** What can happen to a channel */
enum {
    XSHM_EVENT_RX_NEW   = 1u << 0, /**< A peer sends to us */
    XSHM_EVENT_RX_GONE  = 1u << 1, /**< It will send no more than is there */
    XSHM_EVENT_ACCEPTED = 1u << 2, /**< The peer has mapped what we send */
    XSHM_EVENT_TX_GONE  = 1u << 3  /**< The peer takes no more */
};


typedef struct xshm_mailbox {
    ucs_list_link_t   list; /**< In the table of all mailboxes */
    pthread_mutex_t   lock;
    pthread_cond_t    cond; /**< num_asking has become less */
    ucs_list_link_t   events;
    volatile unsigned has_events; /**< A hint, read without the lock */
    int               is_closed;
    unsigned          num_asking; /**< Requests of ours without an answer */
    unsigned          refs;
    uint64_t          num_refused; /**< Requests with a wrong token, or of
                                        domains that are not allowed */
    xshm_allow_t      allow;
    int               signal_fd; /**< Readable when something was put in
                                        while it was armed; or -1 */
    int               is_armed;
    int               is_signalled; /**< The descriptor is readable */
    xshm_wake_t      *wake;         /**< Peers wake the interface by it; or
                                         NULL: none may */
    xshm_platform_t  *platform;
    xshm_iface_addr_t addr; /**< Number and token */
} xshm_mailbox_t;


/**
 * Open a mailbox for an interface on @a platform.
 *
 * @param [in] allow  Domains whose requests it takes; copied. NULL: all.
 */
ucs_status_t xshm_mailbox_create(xshm_platform_t    *platform,
                                 const xshm_allow_t *allow,
                                 xshm_mailbox_t    **mailbox_p);

/**
 * Accept no more requests and events, and wait until those requests that this
 * side has sent are answered, so that what was sent is safe.
 *
 * @param [in] timeout  Longest time to wait, seconds.
 *
 * @return Zero if a request was not answered in time.
 */
int xshm_mailbox_close(xshm_mailbox_t *mailbox, double timeout);

/** Keep the mailbox's memory while it is referred to */
void xshm_mailbox_get(xshm_mailbox_t *mailbox);

/** Free it, if this was the last reference */
void xshm_mailbox_put(xshm_mailbox_t *mailbox);

/** Find, and get, who is meant by an address that @a domain (or
 *  XSHM_DOMAIN_SAME) has sent. NULL: nobody, or the domain is not allowed. */
xshm_mailbox_t *xshm_mailbox_find(xshm_platform_t *platform, int domain,
                                  const xshm_iface_addr_t *addr);

/** Put an event in. @return Zero if the mailbox is closed. */
int xshm_mailbox_post(xshm_mailbox_t *mailbox, xshm_event_t *event,
                      unsigned flags);

/** Take the oldest event out. @return Its flags; zero: there is none. */
unsigned xshm_mailbox_take(xshm_mailbox_t *mailbox, xshm_event_t **event_p);

/** Take this event out if it is in, and let it never in again */
void xshm_mailbox_forget(xshm_mailbox_t *mailbox, xshm_event_t *event);

/** Let the mailbox have a descriptor that tells of its events: signal_fd */
ucs_status_t xshm_mailbox_open_signal(xshm_mailbox_t *mailbox);

/** Let peers wake the interface: by the descriptor of `wake` */
ucs_status_t xshm_mailbox_open_wake(xshm_mailbox_t *mailbox);

/** Make signal_fd unreadable, until the next event is put in.
 *  @return Zero if there are events, or it was readable: then it is not armed. */
int xshm_mailbox_arm(xshm_mailbox_t *mailbox);

/** New events need not be told any more: signal_fd is not readable */
void xshm_mailbox_disarm(xshm_mailbox_t *mailbox);

/** Make signal_fd readable, until it is armed again */
void xshm_mailbox_signal(xshm_mailbox_t *mailbox);

/** Count a request that was sent, or that was answered */
void xshm_mailbox_ask(xshm_mailbox_t *mailbox);
void xshm_mailbox_answered(xshm_mailbox_t *mailbox);

#endif
