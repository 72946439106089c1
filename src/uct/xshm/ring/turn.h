/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_TURN_H_
#define XSHM_TURN_H_

#include "ring.h"

/**
 * The turn line of a pair (xshm_abi_turn_t): the two rings of this side, one
 * that it produces into and one that it consumes, and the line that both may
 * use. Either ring may be missing: without a producer the turn, once it is
 * ours, stays here; without a consumer it does not come back.
 *
 * Threads: as those of the rings, which belong to one thread here.
 */
struct xshm_turn {
    xshm_abi_turn_t *line;
    uint16_t         number; /**< Of the last message there, either way */
    xshm_ring_tx_t  *tx;     /**< Sends by it, or NULL */
    xshm_ring_rx_t  *rx;     /**< Receives by it, or NULL */
};


/** A line in which there never is a message */
extern const xshm_abi_turn_t xshm_turn_none;


/** Do not look at the turn line */
static inline void xshm_turn_hide(xshm_ring_rx_t *rx)
{
    rx->turn        = &xshm_turn_none;
    rx->turn_number = 1;
}

/** Look at it: the other side may write */
static inline void xshm_turn_show(const xshm_turn_t *turn)
{
    turn->rx->turn        = turn->line;
    turn->rx->turn_number = (uint16_t)(turn->number + 1);
}

/**
 * Begin to use the line.
 *
 * @param [in] line  Zeroed; in memory that both sides write.
 * @param [in] tx    May be NULL.
 * @param [in] rx    May be NULL.
 */
static inline void xshm_turn_init(xshm_turn_t *turn, xshm_abi_turn_t *line,
                                  xshm_ring_tx_t *tx, xshm_ring_rx_t *rx)
{
    turn->line   = line;
    turn->number = 0;
    turn->tx     = tx;
    turn->rx     = rx;
    if (tx != NULL) {
        tx->turn_line = turn;
    }

    if (rx != NULL) {
        rx->turn_line = turn;
    }
}

/** It is our turn: what the producer sends next may go there.
 *  @return Is there one? */
static inline int xshm_turn_grab(const xshm_turn_t *turn)
{
    if (turn->tx == NULL) {
        return 0;
    }

    turn->tx->gate |= XSHM_RING_TURN_IS_OURS;
    return 1;
}

/** Send nothing there for a while, though it may be our turn */
static inline void xshm_turn_withhold(const xshm_ring_rx_t *rx)
{
    if ((rx->turn_line != NULL) && (rx->turn_line->tx != NULL)) {
        rx->turn_line->tx->gate &= ~XSHM_RING_TURN_IS_OURS;
    }
}

/** The producer is gone, or may not use the line any more */
static inline void xshm_turn_leave_tx(xshm_turn_t *turn)
{
    if (turn->tx != NULL) {
        turn->tx->gate &= ~XSHM_RING_TURN_IS_OURS;
        turn->tx->turn_line = NULL;
        turn->tx            = NULL;
    }
}

/** The consumer is gone, or does not look at the line any more */
static inline void xshm_turn_leave_rx(xshm_turn_t *turn)
{
    if (turn->rx != NULL) {
        xshm_turn_hide(turn->rx);
        turn->rx->turn_line = NULL;
        turn->rx            = NULL;
    }
}

/** Is a message of the other side to be expected there? */
static inline int xshm_turn_is_shown(const xshm_ring_rx_t *rx)
{
    return rx->turn != &xshm_turn_none;
}

/** End of @ref xshm_turn_withhold */
static inline void xshm_turn_resume(const xshm_ring_rx_t *rx)
{
    if ((rx->turn_line != NULL) && !xshm_turn_is_shown(rx)) {
        (void)xshm_turn_grab(rx->turn_line);
    }
}

/** May this producer's next message go by the turn line? */
static inline int xshm_turn_is_ours(const xshm_ring_tx_t *tx)
{
    return (tx->gate & XSHM_RING_TURN_IS_OURS) != 0;
}

/** Place of the payload, to be filled before @ref xshm_turn_pass, if
 *  @ref xshm_turn_is_ours: XSHM_ABI_TURN_PAYLOAD bytes */
static inline uint8_t *xshm_turn_payload(const xshm_ring_tx_t *tx)
{
    return tx->turn_line->line->payload;
}

/**
 * Publish the message there, and give the turn to the other side.
 *
 * @param [in] size  Length of the payload, bytes.
 *
 * @return The hook to be called now, or NULL.
 */
static inline xshm_ring_hook_t
xshm_turn_pass(xshm_ring_tx_t *tx, uint8_t id, size_t size)
{
    xshm_turn_t         *turn = tx->turn_line;
    xshm_abi_turn_head_t head = {{.sequence = (uint32_t)tx->num_records,
                                  .size     = (uint8_t)size,
                                  .id       = id,
                                  .number   = ++turn->number}};

    /* PASS: pairs with GET */
    __atomic_store_n(&turn->line->head.word, head.word, __ATOMIC_RELEASE);

    tx->num_bytes += size;
    tx->num_records += 1;
    tx->gate = (tx->gate & ~XSHM_RING_TURN_IS_OURS) | XSHM_RING_TURN_PRECEDES;
    if (turn->rx != NULL) {
        xshm_turn_show(turn);
    }

    /* IS_HOOKED: after PASS in the program's order, for ALL_THREADS */
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    return __atomic_load_n(&tx->hook, __ATOMIC_RELAXED);
}

/**
 * Take the message that @ref xshm_ring_rx_peek has found there.
 *
 * @param [out] payload  XSHM_ABI_TURN_PAYLOAD bytes: the private copy.
 *
 * @return Is there a producer, to whom the line is open now?
 */
static inline int xshm_turn_take(xshm_ring_rx_t *rx, uint8_t *payload)
{
    xshm_turn_t *turn = rx->turn_line;

    memcpy(payload, rx->turn->payload, XSHM_ABI_TURN_PAYLOAD);
    turn->number = rx->turn_number;
    ++rx->num_records;
    xshm_turn_hide(rx);
    return xshm_turn_grab(turn);
}

#endif
