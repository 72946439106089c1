/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The consumer of a ring whose memory holds anything, and changes at any time.
 * The input says what is written and when the consumer looks; one in four
 * inputs also runs a thread that writes into the ring all the time.
 */

#include "fuzz_input.h"

#include <uct/xshm/ring/ring.h>

#include <pthread.h>


#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define FUZZ_NUM_LINES (FUZZ_RING_SIZE / XSHM_ABI_LINE_SIZE)
#define FUZZ_NUM_WORDS (FUZZ_RING_SIZE / sizeof(uint64_t))


enum {
    FUZZ_OP_WORD,    /* Write any word anywhere */
    FUZZ_OP_RECORD,  /* Write a likely header where the consumer looks next */
    FUZZ_OP_START,   /* The same at the start of the ring, of the next lap */
    FUZZ_OP_RECEIVE, /* Look, and take what is there */
    FUZZ_OP_LAST
};


static uint8_t           *fuzz_ring;
static xshm_abi_return_t *fuzz_ret;
static volatile uint8_t   fuzz_sink;
static int                fuzz_is_disturbed;


static void fuzz_store(size_t index, uint64_t word)
{
    __atomic_store_n((uint64_t *)fuzz_ring + (index % FUZZ_NUM_WORDS), word,
                     __ATOMIC_RELAXED);
}

static void
fuzz_store_header(const uint8_t *pos, fuzz_input_t *input, uint16_t lap)
{
    xshm_abi_record_t record = {{.type = (uint8_t)fuzz_take(input, 1) % 8,
                                 .size = (uint32_t)fuzz_take(input, 2)}};

    record.lap = lap;
    fuzz_store((size_t)(pos - fuzz_ring) / sizeof(uint64_t), record.word);
}

/* A reader that is handed this record touches all of it */
static void
fuzz_read_payload(const xshm_ring_rx_t *rx, const xshm_abi_record_t *record)
{
    const volatile uint8_t *payload = xshm_ring_rx_payload(rx);
    uint32_t                i;

    fuzz_check((const uint8_t *)payload + record->size <= rx->end);
    for (i = 0; i < record->size; ++i) {
        fuzz_sink ^= payload[i];
    }
}

static void fuzz_check_place(const xshm_ring_rx_t *rx)
{
    fuzz_check((rx->pos >= fuzz_ring) &&
               (rx->pos <= fuzz_ring + FUZZ_RING_SIZE - XSHM_ABI_LINE_SIZE));
    fuzz_check(((size_t)(rx->pos - fuzz_ring) % XSHM_ABI_LINE_SIZE) == 0);
    fuzz_check((rx->consumed - rx->given_back) < rx->batch);
    fuzz_check(rx->lap != 0);
}

static int fuzz_is_message(uint8_t type)
{
    return (type == XSHM_RECORD_AM) ||
           ((type >= XSHM_RECORD_PUT) && (type <= XSHM_RECORD_ATOMIC));
}

/* A WRAP or SKIP that stands where it may: what counts is what it leads to */
static int fuzz_is_followed(const xshm_ring_rx_t *rx, xshm_abi_record_t record)
{
    size_t offset = (size_t)(rx->pos - fuzz_ring);

    if (record.lap != rx->lap) {
        return 0;
    }

    return ((record.type == XSHM_RECORD_WRAP) &&
            (offset >= XSHM_ABI_FIRST_WRAP_LINE * XSHM_ABI_LINE_SIZE)) ||
           ((record.type == XSHM_RECORD_SKIP) && (record.size == 0) &&
            ((offset % XSHM_ABI_PAGE_SIZE) == 0));
}

/* What the rules say about a header, where no WRAP or SKIP is involved */
static xshm_ring_peek_t
fuzz_judge(const xshm_ring_rx_t *rx, xshm_abi_record_t record)
{
    size_t room = (size_t)(rx->end - rx->pos) - XSHM_RING_HEADER_SIZE;

    if (record.lap != rx->lap) {
        return XSHM_RING_EMPTY;
    }

    return ((fuzz_is_message(record.type) && (record.size <= room)) ||
            ((record.type == XSHM_RECORD_CLOSE) && (record.size == 0))) ?
                   XSHM_RING_RECORD :
                   XSHM_RING_VIOLATION;
}

static void fuzz_check_result(const xshm_ring_rx_t *rx,
                              xshm_abi_record_t before, const uint8_t *pos,
                              uint16_t lap, xshm_ring_peek_t found)
{
    xshm_ring_rx_t old = *rx;

    old.pos = pos;
    old.lap = lap;
    if (fuzz_is_disturbed || fuzz_is_followed(&old, before)) {
        return;
    }

    fuzz_check(found == fuzz_judge(&old, before));
}

/* @return Zero when there is nothing more to be done with this ring */
static int fuzz_receive(xshm_ring_rx_t *rx)
{
    const uint8_t    *pos = rx->pos;
    uint16_t          lap = rx->lap;
    xshm_abi_record_t record, before;
    xshm_ring_peek_t  found;

    memcpy(&before, pos, sizeof(before));
    found = xshm_ring_rx_peek(rx, &record);
    fuzz_check_result(rx, before, pos, lap, found);
    fuzz_check_place(rx);
    switch (found) {
    case XSHM_RING_EMPTY:
        fuzz_check(rx->given_back == rx->consumed);
        fuzz_check(fuzz_ret->consumed == rx->consumed);
        return 1;
    case XSHM_RING_RECORD:
        fuzz_read_payload(rx, &record);
        if (record.type == XSHM_RECORD_CLOSE) {
            return 0;
        }

        fuzz_check(fuzz_is_message(record.type));
        xshm_ring_rx_release(rx, xshm_ring_lines(record.size));
        fuzz_check_place(rx);
        return 1;
    default:
        fuzz_check(found == XSHM_RING_VIOLATION);
        xshm_ring_rx_stop(rx);
        fuzz_check(xshm_ring_rx_peek(rx, &record) == XSHM_RING_EMPTY);
        return 0;
    }
}

static int fuzz_step(xshm_ring_rx_t *rx, fuzz_input_t *input)
{
    uint16_t next_lap = xshm_ring_next_lap(rx->lap);

    switch (fuzz_take(input, 1) % FUZZ_OP_LAST) {
    case FUZZ_OP_WORD:
        fuzz_store((size_t)fuzz_take(input, 2), fuzz_take(input, 8));
        return 1;
    case FUZZ_OP_RECORD:
        fuzz_store_header(rx->pos, input, rx->lap);
        return 1;
    case FUZZ_OP_START:
        fuzz_store_header(fuzz_ring, input, next_lap);
        return 1;
    default:
        return fuzz_receive(rx);
    }
}

/* Headers of the first laps, likely ones and others, all over the ring */
static void *fuzz_disturb(void *arg)
{
    uint32_t          state = 1;
    xshm_abi_record_t record;

    while (__atomic_load_n(&fuzz_is_disturbed, __ATOMIC_RELAXED)) {
        state       = (state * 1664525u) + 1013904223u;
        record.word = 0;
        record.type = (state >> 8) % 8;
        record.size = (state >> 12) % (2 * FUZZ_RING_SIZE);
        record.lap  = XSHM_ABI_LAP_FIRST + ((state >> 16) % 4);
        fuzz_store((state >> 20) * (XSHM_ABI_LINE_SIZE / sizeof(uint64_t)),
                   record.word);
    }

    return arg;
}

static void fuzz_run(fuzz_input_t *input)
{
    uint16_t       lap = (uint16_t)fuzz_take(input, 2);
    xshm_ring_rx_t rx;

    memset(fuzz_ring, 0, FUZZ_RING_SIZE);
    xshm_ring_rx_init(&rx, fuzz_ring, FUZZ_RING_SIZE, fuzz_ret);
    rx.pos += (fuzz_take(input, 1) % FUZZ_NUM_LINES) * XSHM_ABI_LINE_SIZE;
    rx.consumed = rx.given_back = (uint32_t)fuzz_take(input, 4);

    fuzz_ret->consumed = rx.consumed;
    if (!fuzz_is_disturbed && (lap != 0)) {
        rx.lap = lap;
    }

    while ((input->size > 0) && fuzz_step(&rx, input)) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    pthread_t    thread;

    if (fuzz_ring == NULL) {
        fuzz_ring = fuzz_map(FUZZ_RING_SIZE, XSHM_ABI_PAGE_SIZE);
        fuzz_ret  = (xshm_abi_return_t *)fuzz_map(XSHM_ABI_RETURN_SIZE,
                                                  XSHM_ABI_PAGE_SIZE);
    }

    if ((fuzz_take(&input, 1) % 4) != 3) {
        fuzz_run(&input);
        return 0;
    }

    fuzz_is_disturbed = 1;
    fuzz_check(pthread_create(&thread, NULL, fuzz_disturb, NULL) == 0);
    fuzz_run(&input);
    __atomic_store_n(&fuzz_is_disturbed, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    return 0;
}
