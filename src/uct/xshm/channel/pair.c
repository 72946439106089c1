/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "pair.h"

#include <ucs/sys/compiler.h>


/* Only the domain is known for sure, so only within it a peer may be taken for
 * another one */
static int xshm_pair_is_same_domain(const xshm_tx_t *tx, const xshm_rx_t *rx)
{
    return tx->mailbox->platform->ops->domain(tx->dev_addr) == rx->domain;
}

int xshm_pair_is_claimed(const xshm_tx_t *tx, const xshm_rx_t *rx)
{
    return (tx->target.process == rx->process) &&
           (tx->target.iface == rx->iface) && xshm_pair_is_same_domain(tx, rx);
}

/* Which of the two has the line: both sides must say the same, so it goes by
 * their addresses. An interface that sends to itself needs none. */
static int xshm_pair_is_owner(const xshm_tx_t *tx)
{
    const xshm_iface_addr_t *own = &tx->mailbox->addr;

    return (own->process != tx->target.process) ?
                   (own->process < tx->target.process) :
                   (own->iface < tx->target.iface);
}

/* The sending channel of ours whose line it is */
static xshm_tx_t *xshm_pair_owner(xshm_turn_t *turn)
{
    return ucs_container_of(turn, xshm_tx_t, turn);
}

/* Let go of the line of a sending channel of ours, if it has one */
static void xshm_pair_release(xshm_rx_t *rx)
{
    xshm_turn_t *turn = rx->ring.turn_line;
    int          is_closed;

    if (turn == NULL) {
        return;
    }

    is_closed = (turn->tx == NULL);
    xshm_turn_leave_rx(turn);
    if (is_closed) {
        xshm_tx_unbind(xshm_pair_owner(turn));
    }
}

/* May it have one: is there no line, or only that of a channel that was closed,
 * in which nobody may write any more? */
static int xshm_pair_is_free(const xshm_rx_t *rx)
{
    const xshm_turn_t *turn = rx->ring.turn_line;

    if (rx->is_gone || rx->is_ended) {
        return 0;
    }

    return (turn == NULL) || ((turn != &rx->turn) && (turn->tx == NULL) &&
                              !xshm_turn_is_shown(&rx->ring));
}

/* Who broke the rules gets nothing more */
static int xshm_pair_may_offer(const xshm_tx_t *tx)
{
    return (tx->state == XSHM_TX_ACCEPTED) && !tx->ring.violation &&
           (tx->ring.turn_line == NULL) && xshm_pair_is_owner(tx);
}

int xshm_pair_offer(xshm_tx_t *tx, xshm_rx_t *rx)
{
    xshm_abi_return_t *ret;

    if (!xshm_pair_may_offer(tx) || !xshm_pair_is_claimed(tx, rx) ||
        !xshm_pair_is_free(rx)) {
        return 0;
    }

    xshm_pair_release(rx);
    ret = tx->mem->ret;
    xshm_turn_init(&tx->turn, &ret->turn, &tx->ring, &rx->ring);
    xshm_ring_tx_announce_turn(&tx->ring, rx->pair);
    (void)xshm_turn_grab(&tx->turn);
    return 1;
}

int xshm_pair_is_named(const xshm_tx_t *tx, const xshm_rx_t *rx, uint64_t pair)
{
    return (tx->pair == pair) && xshm_pair_is_claimed(tx, rx) &&
           !xshm_pair_is_owner(tx) &&
           ((tx->state == XSHM_TX_ASKING) || (tx->state == XSHM_TX_ACCEPTED));
}

int xshm_pair_join(xshm_rx_t *rx, xshm_tx_t *tx)
{
    xshm_abi_return_t *ret = rx->mem->ret;

    if (rx->ring.turn_line != NULL) {
        return 0;
    }

    /* It may still have that of a channel whose end we have not read yet */
    if ((tx != NULL) && (tx->ring.turn_line != NULL)) {
        tx = NULL;
    }

    xshm_turn_init(&rx->turn, &ret->turn, (tx != NULL) ? &tx->ring : NULL,
                   &rx->ring);
    xshm_turn_show(&rx->turn);
    return 1;
}

/* As long as the peer may write, somebody has to read it */
int xshm_pair_leave_tx(xshm_tx_t *tx)
{
    xshm_turn_t *turn = tx->ring.turn_line;

    if (turn == NULL) {
        return 0;
    }

    xshm_turn_leave_tx(turn);
    if (turn != &tx->turn) {
        return 0;
    }

    if ((turn->rx != NULL) && !xshm_turn_is_shown(turn->rx)) {
        xshm_turn_leave_rx(turn);
    }

    return turn->rx != NULL;
}

void xshm_pair_taken(xshm_rx_t *rx)
{
    if (rx->ring.turn_line != &rx->turn) {
        xshm_pair_release(rx);
    }
}

void xshm_pair_leave_rx(xshm_rx_t *rx)
{
    if (rx->ring.turn_line == &rx->turn) {
        xshm_turn_leave_tx(&rx->turn);
        xshm_turn_leave_rx(&rx->turn);
    } else {
        xshm_pair_release(rx);
    }
}
