/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The producer of a ring whose consumer gives back anything: it never writes
 * outside, never over what was not given back, and a wrong count ends it.
 */

#include "fuzz_input.h"

#include <uct/xshm/ring/ring.h>


#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define FUZZ_NUM_LINES (FUZZ_RING_SIZE / XSHM_ABI_LINE_SIZE)
#define FUZZ_PATTERN   0xc5


enum {
    FUZZ_OP_GIVE,  /* Give back some of what was produced */
    FUZZ_OP_COUNT, /* Any count */
    FUZZ_OP_SEND,
    FUZZ_OP_SEND_TOO, /* Sending is what is to be tested most */
    FUZZ_OP_ANNOUNCE, /* The record that always has room, once */
    FUZZ_OP_LAST
};


/* What the model knows: the count that was last given back rightly */
typedef struct fuzz_producer {
    xshm_ring_tx_t     tx;
    xshm_abi_return_t *ret;
    uint32_t           believed;
    int                is_failed;
    int                is_announced;
} fuzz_producer_t;


static uint8_t *fuzz_ring;
static uint8_t *fuzz_ret;
static uint64_t fuzz_dirty[FUZZ_NUM_LINES / 64];


/* Is a count one that the producer may believe, now that it may look? */
static int fuzz_is_right(const fuzz_producer_t *producer)
{
    return (producer->ret->consumed - producer->believed) <=
           (producer->tx.produced - producer->believed);
}

/* The rest of a line that was begun is the producer's anyway */
static void fuzz_check_sent(const fuzz_producer_t *producer, uint8_t *payload,
                            size_t length)
{
    uint8_t *start = payload - XSHM_RING_HEADER_SIZE;
    uint32_t lines = (xshm_ring_line_offset(start) == 0) ?
                             xshm_ring_length_lines(length) :
                             0;

    fuzz_check(!producer->is_failed);
    fuzz_check(start >= fuzz_ring);
    fuzz_check(start + length <= fuzz_ring + FUZZ_RING_SIZE);
    fuzz_check((lines > 0) || (length <= xshm_ring_line_rest(start)));
    fuzz_check((producer->tx.produced - producer->tx.consumed) + lines +
                       XSHM_RING_KEEP_LINES <=
               FUZZ_NUM_LINES);
}

/* Neither where the consumer looks next, nor at the next line behind that */
static void fuzz_check_next(const xshm_ring_tx_t *tx)
{
    const uint8_t *next = tx->pos + xshm_ring_line_rest(tx->pos);
    uint16_t       lap  = tx->lap;

    fuzz_check(((const xshm_abi_record_t *)tx->pos)->lap != tx->lap);
    if (xshm_ring_line_offset(tx->pos) != 0) {
        if (next == tx->end) {
            next = tx->base;
            lap  = xshm_ring_next_lap(lap);
        }
        fuzz_check(((const xshm_abi_record_t *)next)->lap != lap);
    }
}

static void fuzz_send(fuzz_producer_t *producer, uint32_t size)
{
    xshm_abi_record_t record = {{.size = size, .type = XSHM_RECORD_AM}};
    uint32_t          lines  = xshm_ring_lines(size);
    size_t            length = (size_t)lines * XSHM_ABI_LINE_SIZE;
    uint8_t          *payload;

    if (xshm_ring_is_short(size)) {
        length = xshm_ring_short_length(size);
    }

    payload = (lines == 1) ? xshm_ring_tx_reserve_line(&producer->tx, length) :
                             xshm_ring_tx_reserve(&producer->tx, lines);
    if (payload == NULL) {
        payload = xshm_ring_tx_reserve_slow(&producer->tx, lines);
        if (producer->tx.violation && !producer->is_failed) {
            fuzz_check(!fuzz_is_right(producer));
            producer->is_failed = 1;
        }
    }

    if (payload != NULL) {
        fuzz_check_sent(producer, payload, length);
        memset(payload, FUZZ_PATTERN, size);
        xshm_ring_tx_commit(&producer->tx, lines, record);
        fuzz_check_next(&producer->tx);
    }

    if (!producer->is_failed) {
        producer->believed = producer->tx.consumed;
    } else {
        fuzz_check(producer->tx.room == 0);
    }
}

/* However full the ring is. The next header is never one that was not given back. */
static void fuzz_announce(fuzz_producer_t *producer)
{
    if (producer->is_failed || producer->is_announced) {
        return;
    }

    producer->is_announced = 1;
    xshm_ring_tx_announce_turn(&producer->tx, 0);
    fuzz_check(producer->tx.produced - producer->tx.consumed <
               FUZZ_NUM_LINES - 1);
    fuzz_check_next(&producer->tx);
}

static void fuzz_close(fuzz_producer_t *producer)
{
    if (producer->is_failed) {
        return;
    }

    xshm_ring_tx_close(&producer->tx);
    fuzz_check(producer->tx.produced - producer->tx.consumed < FUZZ_NUM_LINES);
    fuzz_check_next(&producer->tx);
}

static void fuzz_step(fuzz_producer_t *producer, fuzz_input_t *input)
{
    uint32_t pending = producer->tx.produced - producer->believed;
    size_t   max     = xshm_ring_max_payload(FUZZ_RING_SIZE);

    switch (fuzz_take(input, 1) % FUZZ_OP_LAST) {
    case FUZZ_OP_GIVE:
        producer->ret->consumed =
                producer->believed +
                ((uint32_t)fuzz_take(input, 1) % (pending + 1));
        break;
    case FUZZ_OP_COUNT:
        producer->ret->consumed = (uint32_t)fuzz_take(input, 4);
        break;
    case FUZZ_OP_ANNOUNCE:
        fuzz_announce(producer);
        break;
    default:
        fuzz_send(producer, (uint32_t)(fuzz_take(input, 2) % (max + 1)));
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t    input    = {data, size};
    fuzz_producer_t producer = {0};

    if (fuzz_ring == NULL) {
        fuzz_ring = fuzz_map(FUZZ_RING_SIZE, XSHM_ABI_PAGE_SIZE);
        fuzz_ret  = fuzz_map(XSHM_ABI_RETURN_SIZE, XSHM_ABI_PAGE_SIZE);
    }

    memset(fuzz_ring, 0, FUZZ_RING_SIZE);
    memset(fuzz_dirty, 0, sizeof(fuzz_dirty));
    producer.ret = (xshm_abi_return_t *)fuzz_ret;
    xshm_ring_tx_init(&producer.tx, fuzz_ring, FUZZ_RING_SIZE, fuzz_dirty,
                      producer.ret);
    producer.believed      = (uint32_t)fuzz_take(&input, 4);
    producer.tx.produced   = producer.believed;
    producer.tx.consumed   = producer.believed;
    producer.ret->consumed = producer.believed;
    while (input.size > 0) {
        fuzz_step(&producer, &input);
    }

    fuzz_close(&producer);
    return 0;
}
