/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_RX_H_
#define XSHM_RX_H_

#include "sleeper.h"
#include "../ring/turn.h"
#include "../service/mailbox.h"
#include "../service/service.h"

/**
 * The receiving end of a channel. The service maps it when a peer asks, and
 * hands it to the interface by its mailbox; the interface polls it, and gives
 * it back when it has ended.
 *
 * Threads: the interface's thread, but for what is marked as the service's.
 */
typedef struct xshm_rx {
    xshm_ring_rx_t  ring;    /**< First, for the fast path */
    xshm_sleeper_t  sleeper; /**< We sleep until there are messages */
    xshm_event_t    event;   /**< News from the service */
    xshm_mailbox_t *mailbox;
    xshm_mem_t     *mem;
    uint32_t        max_payload; /**< Longest message that was announced */
    int             is_gone;     /**< The sender will write no more */
    int             is_ended;    /**< For the interface: to be removed */
    uint64_t        received;    /**< Messages */
    uint64_t        bytes;       /**< Of their payload */
    int             domain;      /**< The sender's, known for sure, or
                                      XSHM_DOMAIN_SAME */
    uint64_t        process;     /**< Who the sender says that it is ... */
    uint32_t        iface;       /**< ... and its interface */
    uint64_t        pair;        /**< Random name of this channel */
    xshm_turn_t     turn;        /**< If this channel has the turn line */
    uint32_t        num_ops;     /**< Operations on memory, also refused ones */
    uint32_t        num_refused; /**< Those that were refused */
    uint64_t        seen;        /**< For the interface: messages at the last
                                     look whether it still has any */
    ucs_list_link_t counted;     /**< For the interface: of its counters */
    xshm_work_t     release;
    xshm_conn_t    *conn; /**< The service thread's */
} xshm_rx_t;


/** Take note of what the service reports */
void xshm_rx_handle_event(xshm_rx_t *rx, unsigned flags);

/** The interface reads no more. @a rx is the service's now. */
void xshm_rx_release(xshm_rx_t *rx);

/** A peer wants to send (service thread) */
void xshm_rx_handle_request(xshm_conn_t *conn, const xshm_request_t *request);

/** The sender is gone (service thread) */
void xshm_rx_handle_closed(xshm_rx_t *rx);

/** The sender asks to be woken, or not any more (service thread) */
void xshm_rx_handle_attention(xshm_rx_t *rx);

#endif
