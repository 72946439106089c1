/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_TEST_SIDE_H_
#define XSHM_TEST_SIDE_H_

#include "test_util.h"

#include <uct/xshm/channel/pair.h>
#include <uct/xshm/channel/rx.h>
#include <uct/xshm/channel/tx.h>

#define XSHM_TEST_SIDE_MAX  1024
#define XSHM_TEST_RING_SIZE (2 * XSHM_ABI_RING_MIN_SIZE)

/** What an interface does for its channels, without UCX: one mailbox */
typedef struct xshm_test_side {
    xshm_platform_t *platform;
    xshm_mailbox_t  *mailbox;
    uint8_t          dev_addr[XSHM_DEV_ADDR_MAX];
    xshm_rx_t *rx[XSHM_TEST_SIDE_MAX]; /**< In the order of their coming */
    unsigned   num_rx;
    unsigned   num_rx_gone;
    unsigned   num_accepted;
    unsigned   num_tx_gone;
} xshm_test_side_t;


/** Start the service, and open a mailbox on the device of this test */
void xshm_test_side_open(xshm_test_side_t *side);

/** Release what was received, close the mailbox and stop the service */
void xshm_test_side_close(xshm_test_side_t *side);

/** The same, but the service runs on: for another side in this process */
void xshm_test_side_leave(xshm_test_side_t *side);

/** Take all events. @return Their number. */
unsigned xshm_test_side_progress(xshm_test_side_t *side);

/** Progress until a condition comes true */
#define xshm_test_side_wait(_side, _cond) \
    xshm_test_wait((xshm_test_side_progress(_side), (_cond)))

/** Release a channel on which we receive */
void xshm_test_side_release(xshm_test_side_t *side, unsigned index);

/** Open a channel to a mailbox */
xshm_tx_t *
xshm_test_tx_open(xshm_test_side_t *side, const xshm_iface_addr_t *target);

/** Send one message; there must be room */
void xshm_test_tx_send(xshm_tx_t *tx, uint32_t size, uint64_t seed);

/** Receive one message if there is one, and check it. @return Was there one? */
int xshm_test_rx_receive(xshm_rx_t *rx, uint32_t size, uint64_t seed);

/** Send one message by the turn line; it must be ours */
void xshm_test_tx_pass(xshm_tx_t *tx, uint32_t size, uint64_t seed);

/** Receive the message that comes next, if that is in the turn line, and check it.
 *  @return Was there one? */
int xshm_test_rx_take(xshm_rx_t *rx, uint32_t size, uint64_t seed);

/** Take the sender's last record if it is there */
int xshm_test_rx_is_closed(xshm_rx_t *rx);

#endif
