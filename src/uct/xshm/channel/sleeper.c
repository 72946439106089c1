/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "sleeper.h"
#include "../service/barrier.h"

#include <ucs/sys/compiler.h>


void xshm_sleeper_init(xshm_sleeper_t *sleeper, xshm_mailbox_t *mailbox,
                       xshm_abi_wake_t *own, const xshm_abi_wake_t *peer)
{
    xshm_sleep_init(&sleeper->sleep, own, peer);
    sleeper->mailbox      = mailbox;
    sleeper->conn         = NULL;
    sleeper->is_attached  = 0;
    sleeper->is_posted    = 0;
    sleeper->last_wants   = 0;
    sleeper->num_notified = 0;
}

/* Service thread. What is wanted is read now: it may have changed since. */
static void xshm_sleeper_do_attach(xshm_work_t *work)
{
    xshm_sleeper_t *sleeper = ucs_container_of(work, xshm_sleeper_t, work);
    xshm_mailbox_t *mailbox = sleeper->mailbox;
    uint32_t        wants;

    /* REPOST: pairs with POST. An exchange, not a store: whoever finds that
     * this is posted already has written what is wanted before, and it is read
     * below. */
    (void)__atomic_exchange_n(&sleeper->is_posted, 0, __ATOMIC_SEQ_CST);
    if (sleeper->conn == NULL) {
        return;
    }

    wants = __atomic_load_n(&sleeper->sleep.own->wants, __ATOMIC_ACQUIRE);
    mailbox->platform->ops->wake_attach(sleeper->conn,
                                        (wants != 0) ? mailbox->wake : NULL);
}

static void xshm_sleeper_post(xshm_sleeper_t *sleeper)
{
    /* POST: pairs with REPOST */
    if (!__atomic_exchange_n(&sleeper->is_posted, 1, __ATOMIC_SEQ_CST)) {
        xshm_service_post(&sleeper->work, xshm_sleeper_do_attach);
    }
}

void xshm_sleeper_ask(xshm_sleeper_t *sleeper)
{
    sleeper->last_wants += (sleeper->last_wants == UINT32_MAX) ? 2 : 1;
    xshm_sleep_want(&sleeper->sleep, sleeper->last_wants);
    xshm_sleeper_post(sleeper);
}

void xshm_sleeper_leave(xshm_sleeper_t *sleeper)
{
    xshm_sleep_want(&sleeper->sleep, 0);
    xshm_sleeper_post(sleeper);
}

void xshm_sleeper_wake_peer(xshm_sleeper_t *sleeper)
{
    /* Not attached: where there are no barriers for all threads, the hook is
     * there from the start. The peer is not served yet, and knows it. */
    if (!xshm_sleep_must_notify(&sleeper->sleep) ||
        !__atomic_load_n(&sleeper->is_attached, __ATOMIC_ACQUIRE)) {
        return;
    }

    xshm_sleep_serve(&sleeper->sleep);
    ++sleeper->num_notified;
    sleeper->mailbox->platform->ops->notify(sleeper->conn);
}

void xshm_sleeper_set_conn(xshm_sleeper_t *sleeper, xshm_conn_t *conn)
{
    /* Once attached, the interface's thread may be reading it */
    if (sleeper->conn != conn) {
        sleeper->conn = conn;
    }
}

void xshm_sleeper_handle_attention(xshm_sleeper_t   *sleeper,
                                   xshm_ring_hook_t *hook_p,
                                   xshm_ring_hook_t  hook)
{
    uint32_t wants = xshm_sleep_peer_wants(&sleeper->sleep);

    if (wants != 0) {
        __atomic_store_n(&sleeper->is_attached, 1, __ATOMIC_RELEASE);
        /* HOOK */
        __atomic_store_n(hook_p, hook, __ATOMIC_RELEASE);
    } else if (xshm_barrier_is_available()) {
        __atomic_store_n(hook_p, NULL, __ATOMIC_RELAXED);
    }

    /* ALL_THREADS: between HOOK and ACK */
    xshm_barrier_all_threads();
    xshm_sleep_ack(&sleeper->sleep, wants);
}
