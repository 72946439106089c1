/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_SLEEPER_H_
#define XSHM_SLEEPER_H_

#include "../ring/ring.h"
#include "../ring/sleep.h"
#include "../service/mailbox.h"
#include "../service/service.h"

/**
 * One end of a channel, as it sleeps and is woken, and as it wakes the other:
 * the protocol is in ring/sleep.h. Until an end asks for it, the other does not
 * look whether it sleeps, and neither has a descriptor for it.
 *
 * Threads: the interface's, but for what is marked as the service's.
 */
typedef struct xshm_sleeper {
    xshm_sleep_t    sleep;
    xshm_mailbox_t *mailbox;
    xshm_conn_t    *conn;        /**< The service's; ours once attached */
    int             is_attached; /**< notify() wakes the peer; any thread */
    int             is_posted;   /**< The work is queued; any thread */
    uint32_t        last_wants;  /**< Last number that we asked with */
    xshm_work_t     work;
    uint64_t        num_notified; /**< Notifications sent */
} xshm_sleeper_t;


/** @a own and @a peer are the lines of this and of the other side */
void xshm_sleeper_init(xshm_sleeper_t *sleeper, xshm_mailbox_t *mailbox,
                       xshm_abi_wake_t *own, const xshm_abi_wake_t *peer);

/**
 * Ask the other side to wake us. Its acknowledgement comes later
 * (xshm_sleep_is_acked). The mailbox must have a wake.
 */
void xshm_sleeper_ask(xshm_sleeper_t *sleeper);

/** Ask it to do so no more: it saves a fence for each message */
void xshm_sleeper_leave(xshm_sleeper_t *sleeper);

/** There is news: wake the other side, if it sleeps. What a hook does. */
void xshm_sleeper_wake_peer(xshm_sleeper_t *sleeper);

/** The channel can be spoken of with the peer from now on (service thread) */
void xshm_sleeper_set_conn(xshm_sleeper_t *sleeper, xshm_conn_t *conn);

/**
 * The peer asks, or has changed its mind (service thread).
 *
 * @param [in] hook_p  The ring's hook.
 * @param [in] hook    What to set it to while the peer wants to be woken.
 */
void xshm_sleeper_handle_attention(xshm_sleeper_t   *sleeper,
                                   xshm_ring_hook_t *hook_p,
                                   xshm_ring_hook_t  hook);

#endif
