/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_PAIR_H_
#define XSHM_PAIR_H_

#include "rx.h"
#include "tx.h"

/**
 * Two channels between the same two interfaces, one for each direction, and the
 * turn line that they share (xshm_abi_turn_t). It is in the return page of the
 * channel whose sender has the lower address. That side offers it, when its
 * channel was accepted and it has the other one: by a TURN record, which names
 * the other channel. The other side joins.
 *
 * Who a receiving channel comes from is only claimed, but for its domain. It is
 * proven to who joins by the TURN record: the name of a channel is random, and
 * is in memory that only its two sides have. Who offers needs no proof, since
 * the line is in memory that only the peer has to which its messages go. It
 * tells the name to that peer, so it offers only to the domain that the other
 * channel comes from: a name is no secret within a domain.
 *
 * A pair of which one channel ends, and is opened again while the other one
 * goes on, has no turn line, or has none until the other one is opened again,
 * too.
 *
 * Threads: the interface's thread.
 */

/** Does @a rx claim to come from where @a tx leads to? */
int xshm_pair_is_claimed(const xshm_tx_t *tx, const xshm_rx_t *rx);

/** Offer the turn line, if it is for this side to do so, the two are a pair,
 *  and all is ready. @return Was it offered? */
int xshm_pair_offer(xshm_tx_t *tx, xshm_rx_t *rx);

/** Is this the channel that a TURN record in @a rx names, is it open, and is it
 *  for the other side to offer? */
int xshm_pair_is_named(const xshm_tx_t *tx, const xshm_rx_t *rx, uint64_t pair);

/** The sender of @a rx has offered its turn line.
 *
 *  @param [in] tx  The channel that it has named, or NULL: there is none (any
 *                  more).
 *
 *  @return Zero: it had done so before. */
int xshm_pair_join(xshm_rx_t *rx, xshm_tx_t *tx);

/** @a tx sends no more.
 *  @return Not zero: its memory is needed until @ref xshm_tx_unbind. */
int xshm_pair_leave_tx(xshm_tx_t *tx);

/** A message was taken from the line, and there is nobody to send by it: if the
 *  channel that has it was closed, it is needed no more */
void xshm_pair_taken(xshm_rx_t *rx);

/** @a rx is not read any more */
void xshm_pair_leave_rx(xshm_rx_t *rx);

#endif
