/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The consumer of a ring, and of the turn line of its pair, whose memory holds
 * anything and changes at any time. The input says what is written and when the
 * consumer looks; one in four inputs also runs a thread that writes into both all
 * the time.
 */

#include "fuzz_input.h"

#include <uct/xshm/ring/turn.h>

#include <pthread.h>


#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define FUZZ_NUM_LINES (FUZZ_RING_SIZE / XSHM_ABI_LINE_SIZE)
#define FUZZ_NUM_WORDS (FUZZ_RING_SIZE / sizeof(uint64_t))
#define FUZZ_NUM_TYPES (XSHM_RECORD_TURN + 1)


enum {
    FUZZ_OP_WORD,    /* Write any word anywhere */
    FUZZ_OP_RECORD,  /* Write a likely header where the consumer looks next */
    FUZZ_OP_START,   /* The same at the start of the ring, of the next lap */
    FUZZ_OP_RECEIVE, /* Look, and take what is there */
    FUZZ_OP_OTHER,   /* Write a likely header at the other place */
    FUZZ_OP_HEAD,    /* Write a likely head into the turn line */
    FUZZ_OP_TURN,    /* Write any word there */
    FUZZ_OP_PASS,    /* It is the other side's turn, if it was ours */
    FUZZ_OP_LAST
};


/* This side: what it receives by, and a ring that nobody reads */
typedef struct fuzz_consumer {
    xshm_ring_rx_t rx;
    xshm_ring_tx_t tx;
    xshm_turn_t    turn;
} fuzz_consumer_t;

/* What there is for the consumer, by the rules */
typedef struct fuzz_verdict {
    xshm_ring_peek_t  found;
    xshm_abi_record_t record;
    int               is_followed; /* It leads to another one, not judged */
} fuzz_verdict_t;


static uint8_t           *fuzz_ring;
static xshm_abi_return_t *fuzz_ret;
static volatile uint8_t   fuzz_sink;
static int                fuzz_is_disturbed;
static uint64_t           fuzz_hint; /* A head that the consumer looks for */


static void fuzz_store(size_t index, uint64_t word)
{
    __atomic_store_n((uint64_t *)fuzz_ring + (index % FUZZ_NUM_WORDS), word,
                     __ATOMIC_RELAXED);
}

static void fuzz_store_turn(size_t index, uint64_t word)
{
    uint64_t *line = (uint64_t *)&fuzz_ret->turn;

    __atomic_store_n(line + (index % (sizeof(fuzz_ret->turn) / sizeof(word))),
                     word, __ATOMIC_RELAXED);
}

static uint8_t fuzz_type(uint8_t byte)
{
    return ((byte & ~XSHM_RECORD_AFTER_TURN) % FUZZ_NUM_TYPES) |
           (byte & XSHM_RECORD_AFTER_TURN);
}

static void
fuzz_store_header(const uint8_t *pos, fuzz_input_t *input, uint16_t lap)
{
    xshm_abi_record_t record = {{.type = fuzz_type(fuzz_take(input, 1)),
                                 .size = (uint32_t)fuzz_take(input, 2)}};

    record.lap = lap;
    fuzz_store((size_t)(pos - fuzz_ring) / sizeof(uint64_t), record.word);
}

/* What the consumer looks for, or nearly so */
static xshm_abi_turn_head_t fuzz_next_head(const xshm_ring_rx_t *rx)
{
    xshm_abi_turn_head_t head = {
            {.sequence = rx->num_records, .number = rx->turn_number}};

    return head;
}

static void fuzz_store_head(const xshm_ring_rx_t *rx, fuzz_input_t *input)
{
    xshm_abi_turn_head_t head = fuzz_next_head(rx);

    head.sequence += (int8_t)fuzz_take(input, 1);
    head.number += (uint16_t)(int8_t)fuzz_take(input, 1);
    head.size = (uint8_t)fuzz_take(input, 1);
    head.id   = (uint8_t)fuzz_take(input, 1);
    fuzz_store_turn(0, head.word);
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
               (rx->pos <= fuzz_ring + FUZZ_RING_SIZE - XSHM_ABI_UNIT_SIZE));
    fuzz_check(((size_t)(rx->pos - fuzz_ring) % XSHM_ABI_UNIT_SIZE) == 0);
    fuzz_check((rx->consumed - rx->given_back) < rx->batch);
    fuzz_check(rx->lap != 0);
}

static int fuzz_is_message(uint8_t type)
{
    return (type == XSHM_RECORD_AM) ||
           ((type >= XSHM_RECORD_PUT) && (type <= XSHM_RECORD_ATOMIC));
}

/* A WRAP or SKIP that stands where it may: what counts is what it leads to */
static int fuzz_is_followed(size_t offset, xshm_abi_record_t record)
{
    return ((record.type == XSHM_RECORD_WRAP) &&
            (offset >= XSHM_ABI_FIRST_WRAP_LINE * XSHM_ABI_LINE_SIZE) &&
            ((offset % XSHM_ABI_LINE_SIZE) == 0)) ||
           ((record.type == XSHM_RECORD_SKIP) && (record.size == 0) &&
            ((offset % XSHM_ABI_PAGE_SIZE) == 0));
}

/* Only short records stand in the rest of a line that another one has begun */
static size_t fuzz_room(size_t offset)
{
    size_t rest = XSHM_ABI_LINE_SIZE - (offset % XSHM_ABI_LINE_SIZE);

    if (rest == XSHM_ABI_LINE_SIZE) {
        return FUZZ_RING_SIZE - offset - XSHM_RING_HEADER_SIZE;
    }

    return (rest == XSHM_ABI_UNIT_SIZE) ? XSHM_ABI_UNIT_PAYLOAD :
                                          XSHM_ABI_UNITS_PAYLOAD;
}

static int fuzz_is_right(size_t offset, xshm_abi_record_t record)
{
    return (fuzz_is_message(record.type) &&
            (record.size <= fuzz_room(offset))) ||
           ((record.type == XSHM_RECORD_CLOSE) && (record.size == 0)) ||
           ((record.type == XSHM_RECORD_TURN) &&
            (record.size == sizeof(uint64_t)));
}

/* What the rules say about the turn line */
static fuzz_verdict_t fuzz_judge_turn(const xshm_ring_rx_t *rx)
{
    xshm_abi_turn_head_t head    = fuzz_ret->turn.head;
    fuzz_verdict_t       verdict = {.found = XSHM_RING_EMPTY};

    if (!xshm_turn_is_shown(rx) || (head.number != rx->turn_number) ||
        (head.sequence != rx->num_records)) {
        return verdict;
    }

    verdict.found = (head.size <= XSHM_ABI_TURN_PAYLOAD) ? XSHM_RING_TURN :
                                                           XSHM_RING_VIOLATION;
    verdict.record.size = head.size;
    verdict.record.type = XSHM_RECORD_AM;
    verdict.record.id   = head.id;
    verdict.record.lap  = 0;
    return verdict;
}

/* The same about a header at a place */
static fuzz_verdict_t fuzz_judge_record(const xshm_ring_rx_t *rx, size_t offset,
                                        xshm_abi_record_t record)
{
    fuzz_verdict_t verdict = fuzz_judge_turn(rx);

    if ((record.type & XSHM_RECORD_AFTER_TURN) &&
        (verdict.found != XSHM_RING_EMPTY)) {
        return verdict;
    }

    record.type &= (uint8_t)~XSHM_RECORD_AFTER_TURN;
    verdict.record      = record;
    verdict.is_followed = fuzz_is_followed(offset, record);
    verdict.found       = fuzz_is_right(offset, record) ? XSHM_RING_RECORD :
                                                          XSHM_RING_VIOLATION;
    return verdict;
}

static xshm_abi_record_t fuzz_load(size_t offset)
{
    xshm_abi_record_t record;

    memcpy(&record, fuzz_ring + offset, sizeof(record));
    return record;
}

/* The start of the next line, and its lap. At the start of a line: that. */
static size_t
fuzz_other_place(const xshm_ring_rx_t *rx, size_t offset, uint16_t *lap_p)
{
    *lap_p = rx->lap;
    offset = (offset + XSHM_ABI_LINE_SIZE - 1) & ~(XSHM_ABI_LINE_SIZE - 1ul);
    if (offset == FUZZ_RING_SIZE) {
        *lap_p = (rx->lap == XSHM_ABI_LAP_MAX) ? XSHM_ABI_LAP_FIRST :
                                                 (uint16_t)(rx->lap + 1);
        offset = 0;
    }
    return offset;
}

/* First what stands where the consumer looks, then what may begin the next line,
 * then the turn line */
static fuzz_verdict_t fuzz_judge(const xshm_ring_rx_t *rx)
{
    size_t            offset = (size_t)(rx->pos - fuzz_ring);
    xshm_abi_record_t record = fuzz_load(offset);
    uint16_t          lap;

    if (record.lap == rx->lap) {
        return fuzz_judge_record(rx, offset, record);
    }

    offset = fuzz_other_place(rx, offset, &lap);
    record = fuzz_load(offset);
    return (record.lap == lap) ? fuzz_judge_record(rx, offset, record) :
                                 fuzz_judge_turn(rx);
}

static void fuzz_check_result(const fuzz_verdict_t *verdict, int is_empty,
                              xshm_ring_peek_t         found,
                              const xshm_abi_record_t *record)
{
    if (fuzz_is_disturbed || verdict->is_followed) {
        return;
    }

    fuzz_check(found == verdict->found);
    fuzz_check(is_empty == (found == XSHM_RING_EMPTY));
    if (found == XSHM_RING_RECORD) {
        fuzz_check(record->word == verdict->record.word);
    } else if (found == XSHM_RING_TURN) {
        fuzz_check(record->size == verdict->record.size);
        fuzz_check(record->type == verdict->record.type);
        fuzz_check(record->id == verdict->record.id);
    }
}

/* Once: from here on it is our turn, whatever stands there */
static void
fuzz_take_turn(fuzz_consumer_t *consumer, const xshm_abi_record_t *record)
{
    uint8_t payload[XSHM_ABI_TURN_PAYLOAD];

    fuzz_check(record->size <= sizeof(payload));
    fuzz_check(xshm_turn_is_shown(&consumer->rx));
    fuzz_check(!xshm_turn_is_ours(&consumer->tx));
    xshm_turn_take(&consumer->rx, payload);
    fuzz_check(!xshm_turn_is_shown(&consumer->rx));
    fuzz_check(xshm_turn_is_ours(&consumer->tx));
    fuzz_check(fuzz_is_disturbed ||
               !memcmp(payload, fuzz_ret->turn.payload, sizeof(payload)));
}

static int fuzz_take_record(xshm_ring_rx_t *rx, const xshm_abi_record_t *record)
{
    fuzz_read_payload(rx, record);
    if (record->type == XSHM_RECORD_CLOSE) {
        return 0;
    }

    fuzz_check(fuzz_is_message(record->type) ||
               (record->type == XSHM_RECORD_TURN));
    xshm_ring_rx_release_any(rx, record->size);
    fuzz_check_place(rx);
    return 1;
}

/* @return Zero when there is nothing more to be done with this ring */
static int fuzz_receive(fuzz_consumer_t *consumer)
{
    xshm_ring_rx_t   *rx       = &consumer->rx;
    int               is_empty = xshm_ring_rx_is_empty(rx);
    fuzz_verdict_t    verdict  = fuzz_judge(rx);
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;

    __atomic_store_n(&fuzz_hint, fuzz_next_head(rx).word, __ATOMIC_RELAXED);
    found = xshm_ring_rx_peek(rx, &record);
    fuzz_check_result(&verdict, is_empty, found, &record);
    fuzz_check_place(rx);
    switch (found) {
    case XSHM_RING_EMPTY:
        fuzz_check(rx->given_back == rx->consumed);
        fuzz_check(fuzz_ret->consumed == rx->consumed);
        return 1;
    case XSHM_RING_TURN:
        fuzz_take_turn(consumer, &record);
        return 1;
    case XSHM_RING_RECORD:
        return fuzz_take_record(rx, &record);
    default:
        fuzz_check(found == XSHM_RING_VIOLATION);
        xshm_ring_rx_stop(rx);
        fuzz_check(xshm_ring_rx_peek(rx, &record) == XSHM_RING_EMPTY);
        fuzz_check(xshm_ring_rx_is_empty(rx));
        return 0;
    }
}

/* We have sent something there */
static void fuzz_pass(fuzz_consumer_t *consumer)
{
    if (xshm_turn_is_ours(&consumer->tx)) {
        (void)xshm_turn_pass(&consumer->tx, 0, 0);
        fuzz_check(xshm_turn_is_shown(&consumer->rx));
    }
}

static void fuzz_write(xshm_ring_rx_t *rx, fuzz_input_t *input, unsigned op)
{
    uint16_t lap = rx->lap;
    size_t   offset;

    switch (op) {
    case FUZZ_OP_WORD:
        fuzz_store((size_t)fuzz_take(input, 2), fuzz_take(input, 8));
        break;
    case FUZZ_OP_RECORD:
        fuzz_store_header(rx->pos, input, lap);
        break;
    case FUZZ_OP_START:
        fuzz_store_header(fuzz_ring, input, xshm_ring_next_lap(lap));
        break;
    case FUZZ_OP_OTHER:
        offset = fuzz_other_place(rx, (size_t)(rx->pos - fuzz_ring), &lap);
        fuzz_store_header(fuzz_ring + offset, input, lap);
        break;
    case FUZZ_OP_HEAD:
        fuzz_store_head(rx, input);
        break;
    default:
        fuzz_store_turn((size_t)fuzz_take(input, 1), fuzz_take(input, 8));
        break;
    }
}

static int fuzz_step(fuzz_consumer_t *consumer, fuzz_input_t *input)
{
    unsigned op = fuzz_take(input, 1) % FUZZ_OP_LAST;

    if (op == FUZZ_OP_RECEIVE) {
        return fuzz_receive(consumer);
    } else if (op == FUZZ_OP_PASS) {
        fuzz_pass(consumer);
    } else {
        fuzz_write(&consumer->rx, input, op);
    }
    return 1;
}

/* What the consumer looks for, or nearly so, of any size */
static void fuzz_disturb_turn(uint32_t state)
{
    xshm_abi_turn_head_t head;

    head.word = __atomic_load_n(&fuzz_hint, __ATOMIC_RELAXED);
    head.size = (uint8_t)(state >> 8);
    head.id   = (uint8_t)(state >> 16);
    head.number += ((state >> 24) % 8) == 0;
    fuzz_store_turn(0, head.word);
    fuzz_store_turn(1 + (state % 7), ((uint64_t)state << 32) | state);
}

/* Headers of the first laps, likely ones and others, all over the ring */
static void *fuzz_disturb(void *arg)
{
    uint32_t          state = 1;
    xshm_abi_record_t record;

    while (__atomic_load_n(&fuzz_is_disturbed, __ATOMIC_RELAXED)) {
        state       = (state * 1664525u) + 1013904223u;
        record.word = 0;
        record.type = fuzz_type((uint8_t)(state >> 8));
        record.size = (state >> 12) % (2 * FUZZ_RING_SIZE);
        record.lap  = XSHM_ABI_LAP_FIRST + ((state >> 16) % 4);
        fuzz_store((state >> 20) * (XSHM_ABI_UNIT_SIZE / sizeof(uint64_t)),
                   record.word);
        fuzz_disturb_turn(state);
    }

    return arg;
}

static void fuzz_start(fuzz_consumer_t *consumer, fuzz_input_t *input)
{
    xshm_ring_rx_t *rx = &consumer->rx;

    memset(consumer, 0, sizeof(*consumer));
    memset(fuzz_ring, 0, FUZZ_RING_SIZE);
    memset(&fuzz_ret->turn, 0, sizeof(fuzz_ret->turn));
    xshm_ring_rx_init(rx, fuzz_ring, FUZZ_RING_SIZE, fuzz_ret);
    rx->pos += (fuzz_take(input, 1) % FUZZ_NUM_LINES) * XSHM_ABI_LINE_SIZE;
    rx->consumed = rx->given_back = (uint32_t)fuzz_take(input, 4);
    rx->num_records               = rx->consumed;
    fuzz_ret->consumed            = rx->consumed;
    xshm_turn_init(&consumer->turn, &fuzz_ret->turn, &consumer->tx, rx);
    consumer->turn.number = (uint16_t)rx->consumed;
    xshm_turn_show(&consumer->turn);
}

static void fuzz_run(fuzz_input_t *input)
{
    uint16_t        lap = (uint16_t)fuzz_take(input, 2);
    fuzz_consumer_t consumer;

    fuzz_start(&consumer, input);
    if (!fuzz_is_disturbed && (lap != 0)) {
        consumer.rx.lap = lap;
    }

    while ((input->size > 0) && fuzz_step(&consumer, input)) {
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
