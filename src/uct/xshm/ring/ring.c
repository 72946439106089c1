/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "turn.h"


/* The consumer gives back a quarter of the ring at a time: docs/performance.md
 * has the figures of other parts. */
#define XSHM_RING_BATCH_DIVISOR 4u

/* Lines in a word of the bitmap */
#define XSHM_RING_DIRTY_BITS 64u

/* So many lines are fetched before they are written: docs/performance.md has
 * what it gains, by length of messages */
#define XSHM_RING_MAX_PREFETCH 64u

/* 1 KiB and its header: UCP's own messages must fit */
#define XSHM_RING_MIN_RECORD_LINES 17u


/* A ring without room: all sends through it take the slow path */
xshm_ring_tx_t xshm_ring_tx_none;

/* Where a consumer looks that reads no more: a header of no lap */
static const uint8_t xshm_ring_dead_line[XSHM_ABI_LINE_SIZE]
        __attribute__((aligned(XSHM_ABI_LINE_SIZE)));

const xshm_abi_turn_t xshm_turn_none
        __attribute__((aligned(XSHM_ABI_LINE_SIZE)));


uint32_t xshm_ring_batch(size_t ring_size)
{
    return (uint32_t)(ring_size / XSHM_ABI_LINE_SIZE) / XSHM_RING_BATCH_DIVISOR;
}

/* Largest record + wrap waste + kept lines <= ring - credit batch: of what is
 * left, half holds the longest record L, with a waste of at most L and a SKIP
 * in front of it. That must be useful even for the smallest ring. */
XSHM_ABI_ASSERT((XSHM_ABI_RING_MIN_SIZE / XSHM_ABI_LINE_SIZE) -
                        (XSHM_ABI_RING_MIN_SIZE / XSHM_ABI_LINE_SIZE /
                         XSHM_RING_BATCH_DIVISOR) -
                        XSHM_RING_KEEP_LINES >=
                (2 * XSHM_RING_MIN_RECORD_LINES) + 1);

size_t xshm_ring_max_payload(size_t ring_size)
{
    uint32_t num_lines = (uint32_t)(ring_size / XSHM_ABI_LINE_SIZE);
    uint32_t usable =
            num_lines - xshm_ring_batch(ring_size) - XSHM_RING_KEEP_LINES;
    uint32_t longest = (usable - 1) / 2;

    return ((size_t)longest * XSHM_ABI_LINE_SIZE) - XSHM_RING_HEADER_SIZE;
}

size_t xshm_ring_dirty_size(size_t ring_size)
{
    size_t num_lines = ring_size / XSHM_ABI_LINE_SIZE;

    return ((num_lines + XSHM_RING_DIRTY_BITS - 1) / XSHM_RING_DIRTY_BITS) *
           sizeof(uint64_t);
}

/* How many lines can be taken at once, from private values only */
static void xshm_ring_tx_update_room(xshm_ring_tx_t *tx)
{
    uint32_t free_lines = tx->num_lines - (tx->produced - tx->consumed);

    tx->room = (free_lines > XSHM_RING_KEEP_LINES) ?
                       (free_lines - XSHM_RING_KEEP_LINES) :
                       0;
}

void xshm_ring_tx_init(xshm_ring_tx_t *tx, void *ring, size_t size,
                       uint64_t *dirty, const xshm_abi_return_t *ret)
{
    tx->base        = ring;
    tx->pos         = tx->base;
    tx->end         = tx->base + size;
    tx->num_lines   = (uint32_t)(size / XSHM_ABI_LINE_SIZE);
    tx->produced    = 0;
    tx->consumed    = 0;
    tx->gate        = 0;
    tx->turn_line   = NULL;
    tx->lap         = XSHM_ABI_LAP_FIRST;
    tx->dirty       = dirty;
    tx->ret         = ret;
    tx->violation   = 0;
    tx->hook        = NULL;
    tx->num_records = 0;
    tx->num_bytes   = 0;
    tx->num_fillers = 0;
    xshm_ring_tx_update_room(tx);
}

void xshm_ring_tx_begin_at(xshm_ring_tx_t *tx, uint32_t line)
{
    tx->pos = tx->base + ((size_t)line * XSHM_ABI_LINE_SIZE);
}

void xshm_ring_tx_mark_dirty(xshm_ring_tx_t *tx, uint32_t first, uint32_t count)
{
    uint32_t  bit, chunk;
    uint64_t *word, mask;

    while (count > 0) {
        bit   = first % XSHM_RING_DIRTY_BITS;
        chunk = XSHM_RING_DIRTY_BITS - bit;
        chunk = (count < chunk) ? count : chunk;
        mask  = (UINT64_MAX >> (XSHM_RING_DIRTY_BITS - chunk)) << bit;
        word  = &tx->dirty[first / XSHM_RING_DIRTY_BITS];

        tx->gate += (uint64_t)__builtin_popcountll(mask & ~*word);
        *word |= mask;
        first += chunk;
        count -= chunk;
    }
}

static void xshm_ring_tx_clean(xshm_ring_tx_t *tx, uint32_t lines)
{
    uint8_t  *first = tx->pos - xshm_ring_line_offset(tx->pos);
    uint8_t  *next  = first + ((size_t)lines * XSHM_ABI_LINE_SIZE);
    uint8_t  *line  = (next == tx->end) ? tx->base : next;
    uint32_t  index = xshm_ring_line_index(tx->base, line);
    uint64_t *word  = &tx->dirty[index / XSHM_RING_DIRTY_BITS];
    uint64_t  mask  = 1ull << (index % XSHM_RING_DIRTY_BITS);

    if (*word & mask) {
        *word &= ~mask;
        --tx->gate;
        /* A zeroed header is of no lap. Ordered by PUBLISH, which follows. */
        __atomic_store_n((uint64_t *)line, 0, __ATOMIC_RELAXED);
    }
}

xshm_abi_record_t xshm_ring_tx_prepare(xshm_ring_tx_t *tx, uint32_t lines,
                                       xshm_abi_record_t record)
{
    if (tx->gate & XSHM_RING_NUM_DIRTY) {
        xshm_ring_tx_clean(tx, lines);
    }

    if (tx->gate & XSHM_RING_TURN_PRECEDES) {
        tx->gate &= ~XSHM_RING_TURN_PRECEDES;
        record.type |= XSHM_RECORD_AFTER_TURN;
    }

    return record;
}

/* Of what the consumer has not given back yet, no line is taken away from it */
void xshm_ring_tx_prefetch_record(const xshm_ring_tx_t *tx, uint32_t lines)
{
    const uint8_t *line = tx->pos;
    uint32_t       i;

    lines = (lines < XSHM_RING_MAX_PREFETCH) ? lines : XSHM_RING_MAX_PREFETCH;
    lines = (lines < tx->room) ? lines : tx->room;
    for (i = 1; i < lines; ++i) {
        line += XSHM_ABI_LINE_SIZE;
        if (line == tx->end) {
            line = tx->base;
        }
        xshm_ring_tx_prefetch(line);
    }
}

/* Read the consumer's count once, and believe it only if it lies between what
 * it was and what there is to consume */
void xshm_ring_tx_take_back(xshm_ring_tx_t *tx)
{
    /* TAKE_BACK: pairs with GIVE_BACK */
    uint32_t consumed = __atomic_load_n(&tx->ret->consumed, __ATOMIC_ACQUIRE);

    if ((consumed - tx->consumed) > (tx->produced - tx->consumed)) {
        tx->violation = 1;
        tx->room      = 0;
        return;
    }

    tx->consumed = consumed;
    xshm_ring_tx_update_room(tx);
}

/* Lines that are left out from here before the end of the ring, if a record
 * does not fit in front of it */
static uint32_t xshm_ring_tx_waste(const xshm_ring_tx_t *tx, uint32_t lines)
{
    uint32_t contiguous = xshm_ring_line_index(tx->pos, tx->end);

    lines += xshm_ring_is_bad_start(tx->base, tx->pos, lines);
    return (lines > contiguous) ? contiguous : 0;
}

/* Lines that a record takes from here, with those that are left out */
static uint32_t xshm_ring_tx_needed(const xshm_ring_tx_t *tx, uint32_t lines)
{
    uint32_t       waste = xshm_ring_tx_waste(tx, lines);
    const uint8_t *start = (waste > 0) ? tx->base : tx->pos;

    return waste + xshm_ring_is_bad_start(tx->base, start, lines) + lines;
}

int xshm_ring_tx_can_reserve(xshm_ring_tx_t *tx, uint32_t lines)
{
    uint32_t needed;

    xshm_ring_tx_begin_line(tx);
    needed = xshm_ring_tx_needed(tx, lines);
    if ((needed > tx->room) && !tx->violation && (tx->ret != NULL)) {
        xshm_ring_tx_take_back(tx);
    }

    return needed <= tx->room;
}

/* Send the consumer to the start of the ring. What lies between keeps headers
 * of older laps, which would be taken for new ones after all laps have come
 * round: it counts as dirty. */
static void xshm_ring_tx_wrap(xshm_ring_tx_t *tx, uint32_t waste)
{
    xshm_abi_record_t record = {{.type = XSHM_RECORD_WRAP}};

    ++tx->num_fillers;
    if (waste > 1) {
        xshm_ring_tx_mark_dirty(tx, xshm_ring_line_index(tx->base, tx->pos) + 1,
                                waste - 1);
    }

    xshm_ring_tx_publish(tx, (size_t)waste * XSHM_ABI_LINE_SIZE, record);
}

static void xshm_ring_tx_skip(xshm_ring_tx_t *tx)
{
    xshm_abi_record_t record = {{.type = XSHM_RECORD_SKIP}};

    ++tx->num_fillers;
    xshm_ring_tx_publish(tx, XSHM_ABI_LINE_SIZE, record);
}

void *xshm_ring_tx_reserve_slow(xshm_ring_tx_t *tx, uint32_t lines)
{
    uint32_t waste;

    if (!xshm_ring_tx_can_reserve(tx, lines)) {
        return NULL;
    }

    waste = xshm_ring_tx_waste(tx, lines);
    if (waste > 0) {
        xshm_ring_tx_wrap(tx, waste);
    }

    if (xshm_ring_is_bad_start(tx->base, tx->pos, lines)) {
        xshm_ring_tx_skip(tx);
    }

    return tx->pos + XSHM_RING_HEADER_SIZE;
}

void xshm_ring_tx_close(xshm_ring_tx_t *tx)
{
    xshm_abi_record_t record = {{.type = XSHM_RECORD_CLOSE}};

    xshm_ring_tx_begin_line(tx);
    xshm_ring_tx_commit_line(tx, record);
    tx->room = 0;
}

void xshm_ring_tx_announce_turn(xshm_ring_tx_t *tx, uint64_t pair)
{
    xshm_abi_record_t record = {
            {.type = XSHM_RECORD_TURN, .size = sizeof(pair)}};

    /* What it is counted for are messages */
    ++tx->num_fillers;
    tx->num_bytes -= sizeof(pair);
    xshm_ring_tx_begin_line(tx);
    memcpy(tx->pos + XSHM_RING_HEADER_SIZE, &pair, sizeof(pair));
    xshm_ring_tx_commit_line(tx, record);
    xshm_ring_tx_update_room(tx);
}

void xshm_ring_rx_init(xshm_ring_rx_t *rx, const void *ring, size_t size,
                       xshm_abi_return_t *ret)
{
    rx->base        = ring;
    rx->pos         = rx->base;
    rx->end         = rx->base + size;
    rx->consumed    = 0;
    rx->given_back  = 0;
    rx->num_records = 0;
    rx->lap         = XSHM_ABI_LAP_FIRST;
    rx->batch       = xshm_ring_batch(size);
    rx->ret         = ret;
    rx->hook        = NULL;
    xshm_turn_hide(rx);
    rx->turn_line = NULL;
}

void xshm_ring_rx_begin_at(xshm_ring_rx_t *rx, uint32_t line)
{
    rx->pos = rx->base + ((size_t)line * XSHM_ABI_LINE_SIZE);
}

void xshm_ring_rx_stop(xshm_ring_rx_t *rx)
{
    rx->pos        = xshm_ring_dead_line;
    rx->given_back = rx->consumed;
    xshm_turn_hide(rx);
}

/* A message may be as long as the ring is from here. Compared before anything
 * is added to it: a sum could overflow. */
static int
xshm_ring_rx_fits(const xshm_ring_rx_t *rx, const xshm_abi_record_t *record)
{
    return xshm_ring_rx_is_placed(rx, record->size) &&
           (record->size <=
            ((size_t)(rx->end - rx->pos) - XSHM_RING_HEADER_SIZE));
}

static xshm_ring_peek_t
xshm_ring_rx_follow_wrap(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    /* At the start a WRAP is not accepted, nor behind a SKIP there, so this
     * does not repeat: who changes headers while they are read could else lead
     * us around the ring for ever */
    if ((xshm_ring_line_index(rx->base, rx->pos) < XSHM_ABI_FIRST_WRAP_LINE) ||
        (xshm_ring_line_offset(rx->pos) != 0)) {
        return XSHM_RING_VIOLATION;
    }

    xshm_ring_rx_release(rx, xshm_ring_line_index(rx->pos, rx->end));
    return xshm_ring_rx_peek(rx, record);
}

/* The next line does not start a page, so this does not repeat */
static xshm_ring_peek_t
xshm_ring_rx_follow_skip(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    if (!xshm_ring_is_page_start(rx->base, rx->pos)) {
        return XSHM_RING_VIOLATION;
    }

    xshm_ring_rx_release(rx, 1);
    return xshm_ring_rx_peek(rx, record);
}

/* A record that comes after a message in the turn line. If that is not there,
 * it has been received. */
static xshm_ring_peek_t
xshm_ring_rx_peek_after_turn(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    xshm_abi_record_t turn_record;
    xshm_ring_peek_t  found = xshm_ring_rx_peek_turn(rx, &turn_record);

    if (found != XSHM_RING_EMPTY) {
        *record = turn_record;
        return found;
    }

    record->type &= (uint8_t)~XSHM_RECORD_AFTER_TURN;
    return xshm_ring_rx_peek_slow(rx, record);
}

xshm_ring_peek_t
xshm_ring_rx_peek_slow(xshm_ring_rx_t *rx, xshm_abi_record_t *record)
{
    if (record->type & XSHM_RECORD_AFTER_TURN) {
        return xshm_ring_rx_peek_after_turn(rx, record);
    }

    switch (record->type) {
    case XSHM_RECORD_TURN:
        return (record->size == sizeof(uint64_t)) ? XSHM_RING_RECORD :
                                                    XSHM_RING_VIOLATION;
    case XSHM_RECORD_AM:
    case XSHM_RECORD_PUT:
    case XSHM_RECORD_GET:
    case XSHM_RECORD_ATOMIC:
        return xshm_ring_rx_fits(rx, record) ? XSHM_RING_RECORD :
                                               XSHM_RING_VIOLATION;
    case XSHM_RECORD_CLOSE:
        return (record->size == 0) ? XSHM_RING_RECORD : XSHM_RING_VIOLATION;
    case XSHM_RECORD_WRAP:
        return xshm_ring_rx_follow_wrap(rx, record);
    case XSHM_RECORD_SKIP:
        return (record->size == 0) ? xshm_ring_rx_follow_skip(rx, record) :
                                     XSHM_RING_VIOLATION;
    default:
        return XSHM_RING_VIOLATION;
    }
}
