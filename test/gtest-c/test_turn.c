/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The turn line together with the rings of its two sides. Size and contents of
 * each message follow from its number, so that a receiver can tell by itself
 * whether all of them come, whole and in their order.
 */

#include "test_util.h"

#include <uct/xshm/ring/turn.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>


#define TEST_MIN_SIZE XSHM_ABI_RING_MIN_SIZE
/* Long enough for records that may not begin with a page */
#define TEST_LONG_SIZE (4 * TEST_MIN_SIZE)

/* Counters start here for tests that run them through their ends */
#define TEST_NEAR_WRAP        (UINT32_MAX - 1000)
#define TEST_NEAR_LAP_MAX     (XSHM_ABI_LAP_MAX - 3)
#define TEST_NEAR_LAST_NUMBER (UINT16_MAX - 20)

#define TEST_PAIR         0x0123456789abcdefull
#define TEST_NUM_MESSAGES 20000
#define TEST_NUM_THREADED 100000
#define TEST_NO_SIDE      2u /* Nobody has the turn: a message is on its way */


typedef struct test_side {
    struct test_side  *other;
    xshm_ring_tx_t     tx;
    xshm_ring_rx_t     rx;
    xshm_turn_t        turn;
    unsigned           index;
    uint8_t           *data; /* The ring that it produces into */
    xshm_abi_return_t *ret;
    uint64_t          *dirty;
    xshm_test_random_t random;
    uint64_t           sent;
    uint64_t           sent_by_turn;
    uint64_t           received;
    uint64_t           received_by_turn;
    uint64_t           wanted;      /* Messages each way, for the threads */
    int                is_withheld; /* As a cold channel is */
} test_side_t;

typedef struct test_pair {
    size_t           size;
    uint32_t         num_lines;
    xshm_abi_turn_t *line;
    unsigned         owner; /* Whose turn it is, or TEST_NO_SIDE */
    test_side_t      side[2];
} test_pair_t;


static void *test_alloc(size_t size)
{
    void *memory = NULL;

    assert_int_equal(posix_memalign(&memory, XSHM_ABI_PAGE_SIZE, size), 0);
    memset(memory, 0, size);
    return memory;
}

static test_pair_t *test_create(size_t size)
{
    test_pair_t *pair = calloc(1, sizeof(*pair));
    unsigned     i;

    assert_non_null(pair);
    pair->size      = size;
    pair->num_lines = (uint32_t)(size / XSHM_ABI_LINE_SIZE);
    pair->line      = test_alloc(sizeof(*pair->line));
    for (i = 0; i < 2; ++i) {
        pair->side[i].index = i;
        pair->side[i].other = &pair->side[!i];
        pair->side[i].data  = test_alloc(size);
        pair->side[i].ret   = test_alloc(XSHM_ABI_RETURN_SIZE);
        pair->side[i].dirty = test_alloc(xshm_ring_dirty_size(size));
        xshm_test_random_init(&pair->side[i].random);
        pair->side[i].random.state += i;
    }
    return pair;
}

static void test_destroy(test_pair_t *pair)
{
    unsigned i;

    for (i = 0; i < 2; ++i) {
        free(pair->side[i].data);
        free(pair->side[i].ret);
        free(pair->side[i].dirty);
    }
    free(pair->line);
    free(pair);
}

static void test_start_ring(test_pair_t *pair, test_side_t *side, uint32_t line,
                            uint16_t lap, uint32_t count)
{
    test_side_t *other = side->other;

    memset(side->data, 0, pair->size);
    memset(side->dirty, 0, xshm_ring_dirty_size(pair->size));
    xshm_ring_tx_init(&side->tx, side->data, pair->size, side->dirty,
                      side->ret);
    xshm_ring_rx_init(&other->rx, side->data, pair->size, side->ret);
    xshm_ring_tx_begin_at(&side->tx, line);
    xshm_ring_rx_begin_at(&other->rx, line);
    side->tx.lap          = lap;
    other->rx.lap         = lap;
    side->tx.produced     = count;
    side->tx.consumed     = count;
    side->tx.num_records  = count;
    other->rx.consumed    = count;
    other->rx.num_records = count;
    other->rx.given_back  = count;
    side->ret->consumed   = count;
}

/* Two rings as after a long life, and no turn line yet */
static void
test_start_rings(test_pair_t *pair, uint32_t line, uint16_t lap, uint32_t count)
{
    test_side_t *side;
    unsigned     i;

    memset(pair->line, 0, sizeof(*pair->line));
    for (i = 0; i < 2; ++i) {
        side = &pair->side[i];
        test_start_ring(pair, side, line, lap, count + i);
        side->sent             = 0;
        side->sent_by_turn     = 0;
        side->received         = 0;
        side->received_by_turn = 0;
        side->is_withheld      = 0;
    }
}

/* Side 0 has the turn. The line, too, may have had a long life: so many messages
 * went by it. */
static void test_share_line(test_pair_t *pair, uint16_t number)
{
    test_side_t *side = pair->side;
    unsigned     i;

    pair->line->head.number = number;
    for (i = 0; i < 2; ++i) {
        xshm_turn_init(&side[i].turn, pair->line, &side[i].tx, &side[i].rx);
        side[i].turn.number = number;
    }
    xshm_turn_show(&side[1].turn);
    xshm_turn_grab(&side[0].turn);
    pair->owner = 0;
}

static void test_start(test_pair_t *pair, uint32_t line)
{
    test_start_rings(pair, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    test_share_line(pair, TEST_NEAR_LAST_NUMBER);
}

static uint64_t test_seed(const test_side_t *sender, uint64_t number)
{
    return (number * 2) + sender->index;
}

/* Half of the messages are short enough for the turn line */
static uint32_t test_message_size(const test_side_t *sender, uint64_t number)
{
    xshm_test_random_t random = {test_seed(sender, number)};
    size_t             size   = (size_t)(sender->tx.end - sender->tx.base);
    uint32_t           max    = (uint32_t)xshm_ring_max_payload(size);

    switch (xshm_test_random_below(&random, 8)) {
    case 0:
        return max;
    case 1:
        return XSHM_ABI_TURN_PAYLOAD + 1;
    case 2:
        return XSHM_ABI_TURN_PAYLOAD;
    case 3:
    case 4:
        return xshm_test_random_below(&random, XSHM_ABI_TURN_PAYLOAD + 1);
    case 5:
        return xshm_test_random_below(&random, XSHM_ABI_UNITS_PAYLOAD + 2);
    default:
        return xshm_test_random_below(&random, max + 1);
    }
}

static uint8_t test_message_id(uint64_t number)
{
    return (uint8_t)(number % 31);
}

/* As am_short does, or, if it is longer, as all others */
static uint8_t *test_reserve(test_side_t *side, uint32_t size)
{
    uint32_t lines  = xshm_ring_lines(size);
    size_t   length = xshm_ring_is_short(size) ? xshm_ring_short_length(size) :
                                                 XSHM_ABI_LINE_SIZE;
    uint8_t *payload;

    payload = (lines == 1) ? xshm_ring_tx_reserve_line(&side->tx, length) :
                             xshm_ring_tx_reserve(&side->tx, lines);
    return (payload != NULL) ? payload :
                               xshm_ring_tx_reserve_slow(&side->tx, lines);
}

/* @return Zero: there is no room */
static int test_send_by_ring(test_side_t *side, uint32_t size)
{
    uint32_t          lines  = xshm_ring_lines(size);
    xshm_abi_record_t record = {{.size = size, .type = XSHM_RECORD_AM}};
    uint8_t          *payload;

    payload = test_reserve(side, size);
    if (payload == NULL) {
        return 0;
    }

    xshm_test_fill(payload, size, test_seed(side, side->sent));
    record.id = test_message_id(side->sent++);
    xshm_ring_tx_commit(&side->tx, lines, record);
    return 1;
}

static void test_send_by_turn(test_side_t *side, uint32_t size)
{
    const uint8_t *place = side->tx.pos;

    xshm_test_check(xshm_turn_is_ours(&side->tx));
    xshm_test_fill(xshm_turn_payload(&side->tx), size,
                   test_seed(side, side->sent));
    xshm_test_check(xshm_turn_pass(&side->tx, test_message_id(side->sent),
                                   size) == NULL);
    ++side->sent;
    ++side->sent_by_turn;
    xshm_test_check(!xshm_turn_is_ours(&side->tx));
    xshm_test_check(side->tx.pos == place);
}

/* The way that am_short goes: what is short does so by the turn line, if it may,
 * or if @a is_by_turn is not set, by the ring nevertheless */
static int test_send(test_side_t *side, int is_by_turn)
{
    uint32_t size = test_message_size(side, side->sent);

    if (is_by_turn && xshm_turn_is_ours(&side->tx) &&
        (size <= XSHM_ABI_TURN_PAYLOAD)) {
        test_send_by_turn(side, size);
        return 1;
    }

    return test_send_by_ring(side, size);
}

static void test_take_turn(test_side_t *side, uint32_t size, uint64_t seed)
{
    uint8_t payload[XSHM_ABI_TURN_PAYLOAD];

    xshm_turn_take(&side->rx, payload);
    ++side->received_by_turn;
    xshm_test_check(xshm_test_is_filled(payload, size, seed));
}

static void test_take_record(test_side_t *side, uint32_t size, uint64_t seed)
{
    xshm_test_check(
            xshm_test_is_filled(xshm_ring_rx_payload(&side->rx), size, seed));
    xshm_ring_rx_release_any(&side->rx, size);
}

/* The other side's next message of this size, whichever way it comes. @return How
 * it was found. */
static xshm_ring_peek_t test_receive_size(test_side_t *side, uint32_t size)
{
    uint64_t          seed = test_seed(side->other, side->received);
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;

    found = xshm_ring_rx_peek(&side->rx, &record);
    if (found == XSHM_RING_EMPTY) {
        return found;
    }

    xshm_test_check((found == XSHM_RING_RECORD) || (found == XSHM_RING_TURN));
    xshm_test_check(record.type == XSHM_RECORD_AM);
    xshm_test_check(record.id == test_message_id(side->received));
    xshm_test_check(record.size == size);
    if (found == XSHM_RING_TURN) {
        test_take_turn(side, size, seed);
    } else {
        test_take_record(side, size, seed);
    }
    ++side->received;
    return found;
}

static xshm_ring_peek_t test_receive(test_side_t *side)
{
    return test_receive_size(side,
                             test_message_size(side->other, side->received));
}

/* A message of the ring, however long. @return Zero: there is none. */
static int test_receive_any(test_side_t *side)
{
    xshm_abi_record_t record;

    return (xshm_ring_rx_peek(&side->rx, &record) == XSHM_RING_RECORD) &&
           (test_receive_size(side, record.size) == XSHM_RING_RECORD);
}

/* As the pollset does: a channel that is read is not cold */
static void test_withhold(test_side_t *side)
{
    xshm_turn_withhold(&side->rx);
    side->is_withheld = 1;
}

static void test_resume(test_side_t *side)
{
    if (side->is_withheld) {
        xshm_turn_resume(&side->rx);
        side->is_withheld = 0;
    }
}

/* Whose turn it is, both sides must know at any time */
static void test_check_turn(const test_pair_t *pair)
{
    const test_side_t *side;
    unsigned           i;

    for (i = 0; i < 2; ++i) {
        side = &pair->side[i];
        assert_int_equal(xshm_turn_is_ours(&side->tx),
                         (pair->owner == i) && !side->is_withheld);
        assert_int_equal(xshm_turn_is_shown(&side->rx), pair->owner != i);
    }
}

static void test_step_send(test_pair_t *pair, test_side_t *side)
{
    uint64_t by_turn = side->sent_by_turn;

    (void)test_send(side, xshm_test_random_below(&side->random, 4) != 0);
    if (side->sent_by_turn != by_turn) {
        pair->owner = TEST_NO_SIDE;
    }
}

static void test_step_receive(test_pair_t *pair, test_side_t *side)
{
    uint64_t         pending = side->other->sent - side->received;
    xshm_ring_peek_t found;

    test_resume(side);
    assert_int_equal(xshm_ring_rx_has_news(&side->rx),
                     (pending > 0) ||
                             (side->rx.consumed != side->rx.given_back));
    assert_int_equal(xshm_ring_rx_is_empty(&side->rx), pending == 0);
    found = test_receive(side);
    assert_int_equal(found == XSHM_RING_EMPTY, pending == 0);
    if (found == XSHM_RING_TURN) {
        pair->owner = side->index;
    }
}

/* At random: in each phase with other odds, so that a ring is sometimes full and
 * sometimes empty for long, and the turn changes often or seldom */
static void test_exchange(test_pair_t *pair, uint64_t num_messages)
{
    xshm_test_random_t *random  = &pair->side[0].random;
    uint32_t            odds[2] = {8, 8};
    test_side_t        *side;

    while (pair->side[0].sent + pair->side[1].sent < num_messages) {
        side = &pair->side[xshm_test_random_below(random, 2)];
        if (xshm_test_random_below(random, 128) == 0) {
            odds[side->index] = xshm_test_random_below(random, 16) + 1;
        }

        if (xshm_test_random_below(random, 64) == 0) {
            test_withhold(side);
        } else if (xshm_test_random_below(random, 16) < odds[side->index]) {
            test_step_send(pair, side);
        } else {
            test_step_receive(pair, side);
        }
        test_check_turn(pair);
    }
}

static void test_drain(test_pair_t *pair)
{
    test_side_t *side;
    unsigned     i;

    for (i = 0; i < 2; ++i) {
        side = &pair->side[i];
        while (side->received < side->other->sent) {
            test_step_receive(pair, side);
        }
        assert_int_equal(test_receive(side), XSHM_RING_EMPTY);
        assert_true(xshm_ring_rx_is_empty(&side->rx));
        assert_int_equal(side->received_by_turn, side->other->sent_by_turn);
    }
}

static void test_order_is_kept(void **state)
{
    static const size_t sizes[] = {TEST_MIN_SIZE, TEST_LONG_SIZE};
    test_pair_t        *pair;
    unsigned            i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sizes); ++i) {
        pair = test_create(sizes[i]);
        test_start_rings(pair, 0, XSHM_ABI_LAP_FIRST, 0);
        test_share_line(pair, 0);
        test_exchange(pair, xshm_test_scale(TEST_NUM_MESSAGES));
        test_drain(pair);
        /* Neither way is forgotten */
        assert_in_range(pair->side[0].sent_by_turn, 1, pair->side[0].sent - 1);
        assert_in_range(pair->side[1].sent_by_turn, 1, pair->side[1].sent - 1);
        test_destroy(pair);
    }
}

static void test_counters_and_numbers_wrap(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    uint32_t     i;

    for (i = 0; i < 100; ++i) {
        test_start(pair, i % pair->num_lines);
        test_exchange(pair, 3000);
        test_drain(pair);
        assert_true(pair->side[0].tx.produced < TEST_NEAR_WRAP);
        assert_true(pair->side[1].tx.produced < TEST_NEAR_WRAP);
        assert_true(pair->side[0].tx.num_records > UINT32_MAX);
        assert_true(pair->side[1].tx.num_records > UINT32_MAX);
        assert_true(pair->line->head.number < TEST_NEAR_LAST_NUMBER);
    }
    test_destroy(pair);
}

/* All numbers, by the turn line only: also the one that a fresh line has */
static void test_all_numbers(void **state)
{
    test_pair_t *pair  = test_create(TEST_MIN_SIZE);
    unsigned     count = xshm_test_scale(2 * UINT16_MAX);
    test_side_t *from, *to;
    unsigned     i;

    test_start_rings(pair, 0, XSHM_ABI_LAP_FIRST, 0);
    test_share_line(pair, 0);
    for (i = 0; i < count; ++i) {
        from = &pair->side[i % 2];
        to   = &pair->side[!(i % 2)];
        test_send_by_turn(from, 8);
        assert_int_equal(test_receive_size(to, 8), XSHM_RING_TURN);
        assert_int_equal(test_receive_size(to, 8), XSHM_RING_EMPTY);
        assert_int_equal(test_receive_size(from, 8), XSHM_RING_EMPTY);
    }
    test_destroy(pair);
}

/* Two threads, as the two processes: nothing but the rings and the line is shared */
static void *test_thread_main(void *arg)
{
    test_side_t *side = arg;
    int          is_by_turn, has_done;

    while ((side->sent < side->wanted) || (side->received < side->wanted)) {
        is_by_turn = xshm_test_random_below(&side->random, 4) != 0;
        has_done   = (side->sent < side->wanted) && test_send(side, is_by_turn);
        if (test_receive(side) != XSHM_RING_EMPTY) {
            has_done = 1;
        }
        if (!has_done) {
            sched_yield();
        }
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    pthread_t    thread;

    test_start(pair, 0);
    pair->side[0].wanted = xshm_test_scale(TEST_NUM_THREADED);
    pair->side[1].wanted = pair->side[0].wanted;
    assert_int_equal(pthread_create(&thread, NULL, test_thread_main,
                                    &pair->side[1]),
                     0);
    (void)test_thread_main(&pair->side[0]);
    pthread_join(thread, NULL);
    assert_int_not_equal(pair->side[0].sent_by_turn, 0);
    assert_int_equal(pair->side[0].received_by_turn,
                     pair->side[1].sent_by_turn);
    assert_int_equal(pair->side[1].received_by_turn,
                     pair->side[0].sent_by_turn);
    test_destroy(pair);
}

static xshm_abi_record_t test_load(const uint8_t *line)
{
    xshm_abi_record_t record;

    memcpy(&record, line, sizeof(record));
    return record;
}

/* What must be the other side's last record */
static void test_expect_close(test_side_t *side)
{
    xshm_abi_record_t record;

    assert_false(xshm_ring_rx_is_empty(&side->rx));
    assert_int_equal(xshm_ring_rx_peek(&side->rx, &record), XSHM_RING_RECORD);
    assert_int_equal(record.type, XSHM_RECORD_CLOSE);
}

/* A side that ends leaves the line first */
static void test_close_comes_after_the_message(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;
    uint32_t     line;
    uint8_t     *close;

    for (line = 0; line < pair->num_lines; ++line) {
        test_start(pair, line);
        test_send_by_turn(&side[0], 8);
        xshm_turn_leave_tx(&side[0].turn);
        close = side[0].tx.pos;
        xshm_ring_tx_close(&side[0].tx);
        assert_int_equal(test_load(close).type,
                         XSHM_RECORD_CLOSE | XSHM_RECORD_AFTER_TURN);
        assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
        test_expect_close(&side[1]);
    }
    test_destroy(pair);
}

/* A record of @a type leads to the next message */
static void
test_message_and_then(test_pair_t *pair, uint32_t line, uint8_t type)
{
    test_side_t *side = pair->side;
    uint32_t     max  = (uint32_t)xshm_ring_max_payload(pair->size);
    uint8_t     *filler;

    test_start(pair, line);
    test_send_by_turn(&side[0], 8);
    filler = side[0].tx.pos;
    assert_true(test_send_by_ring(&side[0], max));
    assert_int_equal(test_load(filler).type, type | XSHM_RECORD_AFTER_TURN);

    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    assert_int_equal(test_receive_size(&side[1], max), XSHM_RING_RECORD);
    assert_int_equal(test_receive_size(&side[1], 0), XSHM_RING_EMPTY);
}

static void test_wrap_comes_after_the_message(void **state)
{
    test_pair_t *pair  = test_create(TEST_MIN_SIZE);
    uint32_t     lines = xshm_ring_lines(xshm_ring_max_payload(pair->size));
    uint32_t     line;

    for (line = pair->num_lines - lines + 1; line < pair->num_lines; ++line) {
        test_message_and_then(pair, line, XSHM_RECORD_WRAP);
    }
    test_destroy(pair);
}

static void test_skip_comes_after_the_message(void **state)
{
    test_pair_t *pair = test_create(TEST_LONG_SIZE);

    test_message_and_then(pair, 0, XSHM_RECORD_SKIP);
    test_message_and_then(pair, XSHM_ABI_PAGE_SIZE / XSHM_ABI_LINE_SIZE,
                          XSHM_RECORD_SKIP);
    test_destroy(pair);
}

/* Else a message of one line is published without saying what precedes it, or
 * goes by the ring though it could go by the line */
static void test_fast_path_is_closed(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    test_start(pair, 0);
    assert_null(xshm_ring_tx_reserve_line(&side[0].tx, XSHM_ABI_UNIT_SIZE));
    test_send_by_turn(&side[0], 8);
    assert_null(xshm_ring_tx_reserve_line(&side[0].tx, XSHM_ABI_UNIT_SIZE));
    assert_true(test_send_by_ring(&side[0], 8));
    assert_non_null(xshm_ring_tx_reserve_line(&side[0].tx, XSHM_ABI_UNIT_SIZE));
    assert_non_null(xshm_ring_tx_reserve_line(&side[1].tx, XSHM_ABI_UNIT_SIZE));
    test_destroy(pair);
}

/* However long it is full: the next record only says that a message precedes */
static void test_full_ring_leaves_the_line(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;
    uint64_t     before;

    test_start(pair, 7);
    while (test_send_by_ring(&side[0], 300)) {
    }
    while (test_send_by_ring(&side[0], 8)) {
    }
    before = side[0].sent;
    test_send_by_turn(&side[0], 8);

    while (side[1].received < before) {
        assert_true(test_receive_any(&side[1]));
    }
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    assert_true(test_send_by_ring(&side[0], 8));
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_RECORD);
    test_destroy(pair);
}

/* It keeps the turn, and reads no message twice */
static void test_side_without_a_producer(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;
    unsigned     i;

    test_start(pair, 0);
    xshm_turn_init(&side[1].turn, pair->line, NULL, &side[1].rx);
    side[1].tx.turn_line = NULL;
    side[1].turn.number  = TEST_NEAR_LAST_NUMBER;
    test_send_by_turn(&side[0], 8);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    assert_false(xshm_turn_is_ours(&side[1].tx));
    for (i = 0; i < 100; ++i) {
        assert_int_equal(test_receive_size(&side[0], 8), XSHM_RING_EMPTY);
        assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_EMPTY);
        assert_true(test_send_by_ring(&side[0], 8));
        assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_RECORD);
    }
    test_destroy(pair);
}

/* It sends once, and does not hear of the answer */
static void test_side_without_a_consumer(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    test_start(pair, 0);
    xshm_turn_init(&side[0].turn, pair->line, &side[0].tx, NULL);
    side[0].rx.turn_line = NULL;
    side[0].turn.number  = TEST_NEAR_LAST_NUMBER;
    test_send_by_turn(&side[0], 8);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    test_send_by_turn(&side[1], 8);
    assert_false(xshm_turn_is_shown(&side[0].rx));
    assert_int_equal(test_receive_size(&side[0], 8), XSHM_RING_EMPTY);
    assert_true(xshm_ring_rx_is_empty(&side[0].rx));
    assert_false(xshm_turn_is_ours(&side[0].tx));
    test_destroy(pair);
}

static void test_producer_that_has_left(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    /* With the turn, and while the other side has it */
    test_start(pair, 0);
    xshm_turn_leave_tx(&side[0].turn);
    assert_false(xshm_turn_is_ours(&side[0].tx));
    assert_null(side[0].tx.turn_line);
    assert_non_null(xshm_ring_tx_reserve_line(&side[0].tx, XSHM_ABI_UNIT_SIZE));

    test_start(pair, 0);
    test_send_by_turn(&side[0], 8);
    xshm_turn_leave_tx(&side[0].turn);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    test_send_by_turn(&side[1], 8);
    assert_int_equal(test_receive_size(&side[0], 8), XSHM_RING_TURN);
    assert_false(xshm_turn_is_ours(&side[0].tx));
    xshm_turn_withhold(&side[0].rx);
    xshm_turn_resume(&side[0].rx);
    assert_false(xshm_turn_is_ours(&side[0].tx));
    test_destroy(pair);
}

static void test_consumer_that_has_left(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    test_start(pair, 0);
    test_send_by_turn(&side[0], 8);
    xshm_turn_leave_rx(&side[1].turn);
    assert_null(side[1].rx.turn_line);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_EMPTY);
    assert_true(xshm_ring_rx_is_empty(&side[1].rx));
    /* The ring is its own affair */
    ++side[1].received;
    assert_true(test_send_by_ring(&side[0], 8));
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_RECORD);
    xshm_turn_resume(&side[1].rx);
    assert_false(xshm_turn_is_ours(&side[1].tx));
    test_destroy(pair);
}

static void test_withheld_turn_comes_back(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    test_start(pair, 0);
    xshm_turn_withhold(&side[0].rx);
    assert_false(xshm_turn_is_ours(&side[0].tx));
    assert_true(test_send_by_ring(&side[0], 8));
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_RECORD);
    xshm_turn_resume(&side[0].rx);
    test_send_by_turn(&side[0], 8);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    test_destroy(pair);
}

/* Also not after a message of ours: it is the other side's then */
static void test_resuming_gives_no_turn(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    test_side_t *side = pair->side;

    test_start(pair, 0);
    xshm_turn_withhold(&side[1].rx);
    xshm_turn_resume(&side[1].rx);
    assert_false(xshm_turn_is_ours(&side[1].tx));
    test_send_by_turn(&side[0], 8);
    xshm_turn_withhold(&side[0].rx);
    xshm_turn_resume(&side[0].rx);
    assert_false(xshm_turn_is_ours(&side[0].tx));
    /* What has to be said of the message is not forgotten meanwhile */
    assert_true(test_send_by_ring(&side[0], 8));
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_RECORD);
    test_destroy(pair);
}

/* Receives what the ring was filled with, the announcement, a message by the
 * line, and the end */
static void test_expect_announced(test_side_t *side, uint64_t num_before)
{
    uint64_t          name = TEST_PAIR;
    xshm_abi_record_t record;

    while (side->received < num_before) {
        assert_true(test_receive_any(side));
    }
    assert_int_equal(xshm_ring_rx_peek(&side->rx, &record), XSHM_RING_RECORD);
    assert_int_equal(record.type, XSHM_RECORD_TURN);
    assert_int_equal(record.size, sizeof(name));
    assert_memory_equal(xshm_ring_rx_payload(&side->rx), &name, sizeof(name));
    xshm_ring_rx_release_any(&side->rx, record.size);
    assert_int_equal(test_receive_size(side, 8), XSHM_RING_TURN);
    test_expect_close(side);
}

static void test_announce_from(test_pair_t *pair, uint32_t line, uint32_t size)
{
    test_side_t *side = pair->side;
    uint64_t     num_before;

    test_start_rings(pair, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    while (test_send_by_ring(&side[0], size)) {
    }
    while (test_send_by_ring(&side[0], 8)) {
    }
    num_before = side[0].sent;
    xshm_ring_tx_announce_turn(&side[0].tx, TEST_PAIR);
    assert_int_equal(side[0].tx.room, 0);
    assert_false(test_send_by_ring(&side[0], 0));

    test_share_line(pair, 0);
    test_send_by_turn(&side[0], 8);
    xshm_turn_leave_tx(&side[0].turn);
    xshm_ring_tx_close(&side[0].tx);
    /* The next header is still nobody's */
    assert_true(side[0].tx.produced - side[1].rx.consumed < pair->num_lines);
    assert_int_not_equal(test_load(side[0].tx.pos).lap, side[0].tx.lap);
    test_expect_announced(&side[1], num_before);
}

/* In a full ring, from each line: there is room for it, and for the end */
static void test_announcement_needs_no_room(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);
    uint32_t     line, size;

    for (line = 0; line < pair->num_lines; ++line) {
        for (size = 8; size < pair->size / 4; size += 200) {
            test_announce_from(pair, line, size);
        }
    }
    test_destroy(pair);
}

/* The line that was kept for it is not lost, nor is one too many used */
static void test_room_after_the_announcement(void **state)
{
    test_pair_t      *pair = test_create(TEST_MIN_SIZE);
    test_side_t      *side = pair->side;
    uint32_t          line = XSHM_ABI_TURN_PAYLOAD;
    xshm_abi_record_t record;

    test_start_rings(pair, 5, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    xshm_ring_tx_announce_turn(&side[0].tx, TEST_PAIR);
    assert_int_equal(side[0].tx.num_fillers, 1);
    assert_int_equal(side[0].tx.room,
                     pair->num_lines - XSHM_RING_KEEP_LINES - 1);
    assert_true(test_send_by_ring(&side[0], line));

    assert_int_equal(xshm_ring_rx_peek(&side[1].rx, &record), XSHM_RING_RECORD);
    xshm_ring_rx_release_any(&side[1].rx, record.size);
    assert_int_equal(test_receive_size(&side[1], line), XSHM_RING_RECORD);
    assert_int_equal(test_receive_size(&side[1], line), XSHM_RING_EMPTY);
    assert_false(xshm_ring_tx_can_reserve(&side[0].tx, pair->num_lines));
    assert_int_equal(side[0].tx.room, pair->num_lines - XSHM_RING_KEEP_LINES);
    test_destroy(pair);
}

/* What side 1 makes of a head, where it looks for a message */
static xshm_ring_peek_t
test_peek_head(test_pair_t *pair, xshm_abi_turn_head_t head)
{
    xshm_ring_rx_t   *rx = &pair->side[1].rx;
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;

    pair->line->head = head;
    found            = xshm_ring_rx_peek(rx, &record);
    assert_int_equal(xshm_ring_rx_is_empty(rx), found == XSHM_RING_EMPTY);
    if (found == XSHM_RING_TURN) {
        assert_int_equal(record.size, head.size);
        assert_int_equal(record.id, head.id);
    }
    return found;
}

static xshm_abi_turn_head_t test_good_head(const test_pair_t *pair)
{
    xshm_abi_turn_head_t head = {{.sequence = pair->side[1].rx.num_records,
                                  .size     = 8,
                                  .id       = 3,
                                  .number   = pair->side[1].rx.turn_number}};

    return head;
}

static void test_violation_size(void **state)
{
    test_pair_t         *pair = test_create(TEST_MIN_SIZE);
    xshm_abi_turn_head_t head;
    unsigned             size;

    test_start(pair, 9);
    head = test_good_head(pair);
    for (size = 0; size <= UINT8_MAX; ++size) {
        head.size = (uint8_t)size;
        assert_int_equal(test_peek_head(pair, head),
                         (size <= XSHM_ABI_TURN_PAYLOAD) ? XSHM_RING_TURN :
                                                           XSHM_RING_VIOLATION);
    }
    test_destroy(pair);
}

/* Only its own place and number make it a message */
static void test_other_heads_are_no_message(void **state)
{
    test_pair_t         *pair = test_create(TEST_MIN_SIZE);
    xshm_abi_turn_head_t head, good;
    uint32_t             i;

    test_start(pair, 9);
    good = test_good_head(pair);
    for (i = 1; i <= UINT16_MAX; ++i) {
        head        = good;
        head.number = (uint16_t)(good.number + i);
        assert_int_equal(test_peek_head(pair, head), XSHM_RING_EMPTY);
        head          = good;
        head.sequence = good.sequence + i;
        assert_int_equal(test_peek_head(pair, head), XSHM_RING_EMPTY);
        head.sequence = good.sequence - i;
        assert_int_equal(test_peek_head(pair, head), XSHM_RING_EMPTY);
        head.sequence = good.sequence ^ (1u << (i % 32));
        assert_int_equal(test_peek_head(pair, head), XSHM_RING_EMPTY);
    }
    assert_int_equal(test_peek_head(pair, good), XSHM_RING_TURN);
    test_destroy(pair);
}

/* Whatever the other side writes there while it is our turn: also the head that
 * we would look for if it were not */
static void test_nothing_is_read_in_our_turn(void **state)
{
    test_pair_t         *pair = test_create(TEST_MIN_SIZE);
    test_side_t         *side = pair->side;
    xshm_abi_turn_head_t head;
    unsigned             number;

    test_start(pair, 9);
    test_send_by_turn(&side[0], 8);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    head = test_good_head(pair);
    for (number = 0; number <= UINT16_MAX; ++number) {
        head.number = (uint16_t)number;
        assert_int_equal(test_peek_head(pair, head), XSHM_RING_EMPTY);
    }
    /* It has had no effect: our message and the next one come as they should */
    test_send_by_turn(&side[1], 8);
    assert_int_equal(test_receive_size(&side[0], 8), XSHM_RING_TURN);
    test_send_by_turn(&side[0], 8);
    assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
    test_destroy(pair);
}

/* A consumer that reads no more looks there neither */
static void test_stopped_consumer_reads_nothing(void **state)
{
    test_pair_t *pair = test_create(TEST_MIN_SIZE);

    test_start(pair, 9);
    xshm_ring_rx_stop(&pair->side[1].rx);
    test_send_by_turn(&pair->side[0], 8);
    assert_int_equal(test_receive_size(&pair->side[1], 8), XSHM_RING_EMPTY);
    assert_true(xshm_ring_rx_is_empty(&pair->side[1].rx));
    test_destroy(pair);
}

static void test_put_record(test_side_t *side, uint8_t type, uint32_t size)
{
    xshm_abi_record_t record = {{.size = size, .type = type, .id = 3}};

    record.lap = side->tx.lap;
    memcpy(side->tx.pos, &record, sizeof(record));
}

/* What side 1 makes of a record, as such and with the flag */
static void test_same_with_flag(test_pair_t *pair, uint8_t type, uint32_t size)
{
    uint8_t           types[] = {type, type | XSHM_RECORD_AFTER_TURN};
    xshm_ring_peek_t  found[2];
    xshm_abi_record_t record[2];
    unsigned          i;

    for (i = 0; i < 2; ++i) {
        test_start(pair, 0);
        test_put_record(&pair->side[0], types[i], size);
        found[i] = xshm_ring_rx_peek(&pair->side[1].rx, &record[i]);
    }
    assert_int_equal(found[1], found[0]);
    if (found[0] == XSHM_RING_RECORD) {
        assert_int_equal(record[1].word, record[0].word);
    }
}

/* Its message is not there: it was received, or never sent */
static void test_flag_without_a_message(void **state)
{
    static const uint32_t sizes[] = {0,
                                     sizeof(uint64_t),
                                     XSHM_RING_LINE_PAYLOAD,
                                     XSHM_RING_LINE_PAYLOAD + 1,
                                     TEST_MIN_SIZE - XSHM_RING_HEADER_SIZE,
                                     TEST_MIN_SIZE,
                                     UINT32_MAX};
    test_pair_t          *pair    = test_create(TEST_MIN_SIZE);
    unsigned              i, type;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sizes); ++i) {
        for (type = 0; type < XSHM_RECORD_AFTER_TURN; ++type) {
            test_same_with_flag(pair, (uint8_t)type, sizes[i]);
        }
    }
    test_destroy(pair);
}

/* The message comes first, and then the record, whatever that is worth */
static void test_flag_with_a_message(void **state)
{
    test_pair_t      *pair = test_create(TEST_MIN_SIZE);
    test_side_t      *side = pair->side;
    xshm_abi_record_t record;
    unsigned          type;

    for (type = XSHM_RECORD_AFTER_TURN; type <= UINT8_MAX; ++type) {
        test_start(pair, 0);
        test_send_by_turn(&side[0], 8);
        test_put_record(&side[0], (uint8_t)type, 8);
        assert_int_equal(test_receive_size(&side[1], 8), XSHM_RING_TURN);
        assert_int_not_equal(xshm_ring_rx_peek(&side[1].rx, &record),
                             XSHM_RING_TURN);
    }

    test_start(pair, 0);
    test_put_record(&side[0], XSHM_RECORD_AM | XSHM_RECORD_AFTER_TURN, 8);
    pair->line->head      = test_good_head(pair);
    pair->line->head.size = XSHM_ABI_TURN_PAYLOAD + 1;
    assert_int_equal(xshm_ring_rx_peek(&side[1].rx, &record),
                     XSHM_RING_VIOLATION);
    test_destroy(pair);
}

/* A record without the flag comes before a message at its place: a sender that
 * forgets it is read nevertheless, in some order, and nothing else happens */
static void test_message_with_a_forgotten_flag(void **state)
{
    test_pair_t      *pair = test_create(TEST_MIN_SIZE);
    test_side_t      *side = pair->side;
    xshm_abi_record_t record;

    test_start(pair, 0);
    test_send_by_turn(&side[0], 8);
    side[0].tx.gate = 0;
    assert_true(test_send_by_ring(&side[0], 8));
    assert_int_equal(xshm_ring_rx_peek(&side[1].rx, &record), XSHM_RING_RECORD);
    xshm_ring_rx_release_any(&side[1].rx, record.size);
    /* It is at another place now */
    assert_int_equal(xshm_ring_rx_peek(&side[1].rx, &record), XSHM_RING_EMPTY);
    assert_true(xshm_ring_rx_is_empty(&side[1].rx));
    assert_true(xshm_turn_is_shown(&side[1].rx));
    test_destroy(pair);
}

static void test_announcement_of_another_size(void **state)
{
    test_pair_t      *pair = test_create(TEST_MIN_SIZE);
    xshm_abi_record_t record;
    uint32_t          size;

    for (size = 0; size < 2 * XSHM_ABI_LINE_SIZE; ++size) {
        test_start(pair, 0);
        test_put_record(&pair->side[0], XSHM_RECORD_TURN, size);
        assert_int_equal(xshm_ring_rx_peek(&pair->side[1].rx, &record),
                         (size == sizeof(uint64_t)) ? XSHM_RING_RECORD :
                                                      XSHM_RING_VIOLATION);
    }
    test_destroy(pair);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_order_is_kept),
            cmocka_unit_test(test_counters_and_numbers_wrap),
            cmocka_unit_test(test_all_numbers),
            cmocka_unit_test(test_close_comes_after_the_message),
            cmocka_unit_test(test_wrap_comes_after_the_message),
            cmocka_unit_test(test_skip_comes_after_the_message),
            cmocka_unit_test(test_fast_path_is_closed),
            cmocka_unit_test(test_full_ring_leaves_the_line),
            cmocka_unit_test(test_side_without_a_producer),
            cmocka_unit_test(test_side_without_a_consumer),
            cmocka_unit_test(test_producer_that_has_left),
            cmocka_unit_test(test_consumer_that_has_left),
            cmocka_unit_test(test_withheld_turn_comes_back),
            cmocka_unit_test(test_resuming_gives_no_turn),
            cmocka_unit_test(test_announcement_needs_no_room),
            cmocka_unit_test(test_room_after_the_announcement),
            cmocka_unit_test(test_violation_size),
            cmocka_unit_test(test_other_heads_are_no_message),
            cmocka_unit_test(test_nothing_is_read_in_our_turn),
            cmocka_unit_test(test_stopped_consumer_reads_nothing),
            cmocka_unit_test(test_flag_without_a_message),
            cmocka_unit_test(test_flag_with_a_message),
            cmocka_unit_test(test_message_with_a_forgotten_flag),
            cmocka_unit_test(test_announcement_of_another_size),
            cmocka_unit_test(test_two_threads)};

    return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
