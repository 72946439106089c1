/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "test_side.h"

#include <ucs/sys/compiler.h>

#include <string.h>


/* Nothing in these tests takes that long */
#define TEST_LINGER 30.0

#define TEST_AM_ID 7


void xshm_test_side_open(xshm_test_side_t *side)
{
    const xshm_platform_ops_t *ops = xshm_platform_find(xshm_test_device);

    memset(side, 0, sizeof(*side));
    xshm_test_check(ops != NULL);
    xshm_test_check(xshm_service_start() == UCS_OK);
    side->platform = xshm_service_platform(ops);
    xshm_test_check(side->platform != NULL);
    ops->get_dev_addr(side->platform, side->dev_addr);
    xshm_test_check(xshm_mailbox_create(side->platform, NULL, &side->mailbox) ==
                    UCS_OK);
}

void xshm_test_side_leave(xshm_test_side_t *side)
{
    unsigned i;

    xshm_test_check(xshm_mailbox_close(side->mailbox, TEST_LINGER));
    /* Somebody may have asked until then */
    xshm_test_side_progress(side);
    for (i = 0; i < side->num_rx; ++i) {
        if (side->rx[i] != NULL) {
            xshm_test_side_release(side, i);
        }
    }

    xshm_mailbox_put(side->mailbox);
}

void xshm_test_side_close(xshm_test_side_t *side)
{
    xshm_test_side_leave(side);
    xshm_service_stop();
}

static void
xshm_test_side_rx_event(xshm_test_side_t *side, xshm_rx_t *rx, unsigned flags)
{
    if (flags & XSHM_EVENT_RX_NEW) {
        xshm_test_check(side->num_rx < XSHM_TEST_SIDE_MAX);
        side->rx[side->num_rx++] = rx;
    }

    side->num_rx_gone += !!(flags & XSHM_EVENT_RX_GONE);
    xshm_rx_handle_event(rx, flags);
}

static void
xshm_test_side_tx_event(xshm_test_side_t *side, xshm_tx_t *tx, unsigned flags)
{
    side->num_accepted += !!(flags & XSHM_EVENT_ACCEPTED);
    side->num_tx_gone += !!(flags & XSHM_EVENT_TX_GONE);
    xshm_tx_handle_event(tx, flags);
}

unsigned xshm_test_side_progress(xshm_test_side_t *side)
{
    unsigned      count = 0;
    xshm_event_t *event;
    unsigned      flags;

    while ((flags = xshm_mailbox_take(side->mailbox, &event)) != 0) {
        ++count;
        if (flags & (XSHM_EVENT_RX_NEW | XSHM_EVENT_RX_GONE)) {
            xshm_test_side_rx_event(side,
                                    ucs_container_of(event, xshm_rx_t, event),
                                    flags);
        } else {
            xshm_test_side_tx_event(side,
                                    ucs_container_of(event, xshm_tx_t, event),
                                    flags);
        }
    }

    return count;
}

void xshm_test_side_release(xshm_test_side_t *side, unsigned index)
{
    xshm_rx_release(side->rx[index]);
    side->rx[index] = NULL;
}

xshm_tx_t *
xshm_test_tx_open(xshm_test_side_t *side, const xshm_iface_addr_t *target)
{
    xshm_tx_t *tx;

    xshm_test_check(xshm_tx_create(side->mailbox, side->dev_addr, target,
                                   xshm_ring_max_payload(XSHM_TEST_RING_SIZE),
                                   &tx) == UCS_OK);
    xshm_test_check(xshm_tx_open(tx, XSHM_TEST_RING_SIZE) == UCS_OK);
    return tx;
}

void xshm_test_tx_send(xshm_tx_t *tx, uint32_t size, uint64_t seed)
{
    xshm_abi_record_t record = {
            {.size = size, .type = XSHM_RECORD_AM, .id = TEST_AM_ID}};
    uint32_t lines = xshm_ring_lines(size);
    void    *payload;

    payload = xshm_ring_tx_reserve_slow(&tx->ring, lines);
    xshm_test_check(payload != NULL);
    xshm_test_fill(payload, size, seed);
    xshm_ring_tx_commit(&tx->ring, lines, record);
}

int xshm_test_rx_receive(xshm_rx_t *rx, uint32_t size, uint64_t seed)
{
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;

    found = xshm_ring_rx_peek(&rx->ring, &record);
    if (found == XSHM_RING_EMPTY) {
        return 0;
    }

    xshm_test_check(found == XSHM_RING_RECORD);
    xshm_test_check(record.type == XSHM_RECORD_AM);
    xshm_test_check(record.id == TEST_AM_ID);
    xshm_test_check(record.size == size);
    xshm_test_check(
            xshm_test_is_filled(xshm_ring_rx_payload(&rx->ring), size, seed));
    xshm_ring_rx_release_any(&rx->ring, size);
    ++rx->received;
    return 1;
}

void xshm_test_tx_pass(xshm_tx_t *tx, uint32_t size, uint64_t seed)
{
    xshm_ring_hook_t hook;

    xshm_test_check(xshm_turn_is_ours(&tx->ring));
    xshm_test_fill(xshm_turn_payload(&tx->ring), size, seed);
    hook = xshm_turn_pass(&tx->ring, TEST_AM_ID, size);
    if (hook != NULL) {
        hook(&tx->ring);
    }
}

int xshm_test_rx_take(xshm_rx_t *rx, uint32_t size, uint64_t seed)
{
    uint8_t           payload[XSHM_ABI_TURN_PAYLOAD];
    xshm_abi_record_t record;

    if (xshm_ring_rx_peek(&rx->ring, &record) != XSHM_RING_TURN) {
        return 0;
    }

    xshm_test_check(record.id == TEST_AM_ID);
    xshm_test_check(record.size == size);
    if (!xshm_turn_take(&rx->ring, payload)) {
        xshm_pair_taken(rx);
    }
    xshm_test_check(xshm_test_is_filled(payload, size, seed));
    ++rx->received;
    return 1;
}

int xshm_test_rx_is_closed(xshm_rx_t *rx)
{
    xshm_abi_record_t record;

    return (xshm_ring_rx_peek(&rx->ring, &record) == XSHM_RING_RECORD) &&
           (record.type == XSHM_RECORD_CLOSE);
}
