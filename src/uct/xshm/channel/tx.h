/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_TX_H_
#define XSHM_TX_H_

#include "sleeper.h"
#include "../ring/turn.h"
#include "../service/mailbox.h"
#include "../service/service.h"

/**
 * The sending end of a channel. It owns the channel's memory, which it
 * allocates when it is first opened, and may fill the ring before the peer
 * has answered.
 *
 * Threads: the interface's thread, but for what is marked as the service's.
 * When it is closed, it belongs to the service, which frees it as soon as the
 * peer has taken everything, or is gone. But its turn line may be read on
 * (xshm_tx_unbind): until then, that and `turn` are the interface's.
 */

typedef enum {
    XSHM_TX_IDLE,     /**< Nothing was sent: no memory */
    XSHM_TX_ASKING,   /**< The ring can be filled; the peer has not answered */
    XSHM_TX_ACCEPTED, /**< What is sent is safe, even if we die */
    XSHM_TX_FAILED    /**< The peer is gone, or broke the rules */
} xshm_tx_state_t;


typedef struct xshm_tx {
    xshm_ring_tx_t    ring; /**< First, for the fast path */
    xshm_tx_state_t   state;
    xshm_sleeper_t    sleeper; /**< We sleep until there is room */
    xshm_event_t      event;   /**< News from the service */
    xshm_mailbox_t   *mailbox; /**< Of the interface that sends */
    xshm_mem_t       *mem;
    uint64_t         *dirty; /**< The ring's bitmap */
    uint32_t          ring_size;
    uint32_t          max_payload;
    uint64_t          num_stalls; /**< Sends that found no room */
    uint64_t          pair;       /**< Random name of this channel */
    xshm_turn_t       turn;       /**< If this channel has the turn line */
    xshm_iface_addr_t target;
    uint8_t           dev_addr[XSHM_DEV_ADDR_MAX];

    struct {
        xshm_work_t   connect;
        xshm_work_t   close;
        xshm_conn_t  *conn;      /**< NULL: not yet, or not any more */
        xshm_reason_t reason;    /**< Why it ended */
        uint32_t      version;   /**< Peer's version, if that is why */
        int           is_asking; /**< Counted in the mailbox */
        xshm_work_t   unbind;
        int           is_bound;  /**< A receiving channel looks at the turn line
                                      in its memory. Set by the interface when
                                      it closes the channel. */
        int           is_closed; /**< Given up by the interface */
    } service;                   /**< The service thread's */
} xshm_tx_t;


/**
 * Prepare to send to a peer. Allocates nothing that is shared.
 *
 * @param [in] mailbox      Of the sending interface.
 * @param [in] dev_addr     Device address of the peer.
 * @param [in] target       Its interface address.
 * @param [in] max_payload  Longest message, bytes.
 */
ucs_status_t xshm_tx_create(xshm_mailbox_t *mailbox, const void *dev_addr,
                            const xshm_iface_addr_t *target, size_t max_payload,
                            xshm_tx_t **tx_p);

/**
 * Allocate the memory and ask the peer to map it. Does not wait: the ring can
 * be filled at once.
 *
 * @param [in] ring_size  Size of the ring, whole pages, bytes.
 */
ucs_status_t xshm_tx_open(xshm_tx_t *tx, size_t ring_size);

/** Was something sent that is not safe yet, as the peer has not answered? */
static inline int xshm_tx_is_unsafe(const xshm_tx_t *tx)
{
    return (tx->state == XSHM_TX_ASKING) && (tx->ring.produced > 0);
}

/** Take note of what the service reports */
void xshm_tx_handle_event(xshm_tx_t *tx, unsigned flags);

/** Say in the log why the channel has failed */
void xshm_tx_log_failure(const xshm_tx_t *tx);

/** The peer broke the rules: fail the channel */
void xshm_tx_fail(xshm_tx_t *tx);

/** Send no more. @a tx is the service's now. */
void xshm_tx_close(xshm_tx_t *tx);

/** No receiving channel looks any more at the turn line of a channel that was
 *  closed */
void xshm_tx_unbind(xshm_tx_t *tx);

/** The peer has accepted (service thread) */
void xshm_tx_handle_accepted(xshm_tx_t *tx);

/** The receiver asks to be woken, or not any more (service thread) */
void xshm_tx_handle_attention(xshm_tx_t *tx);

/** The channel has ended (service thread) */
void xshm_tx_handle_closed(xshm_tx_t *tx, xshm_reason_t reason,
                           uint32_t version);

#endif
