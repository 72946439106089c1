/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The ring against a model of it: a queue of messages. The consumer has the
 * ring read-only and the producer the return page, with guard pages around
 * both, in all these tests: a write or a read where there must be none crashes.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() */
#endif

#include "test_util.h"

#include <uct/xshm/ring/ring.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define TEST_MIN_SIZE XSHM_ABI_RING_MIN_SIZE
/* Long enough for records that may not begin with a page */
#define TEST_LONG_SIZE (4 * TEST_MIN_SIZE)
#define TEST_MODEL_MAX 65536

/* Shortest message that has a line for itself */
#define TEST_LINE (XSHM_ABI_UNITS_PAYLOAD + 1)

/* Counters start here for tests that run them through 2^32 */
#define TEST_NEAR_WRAP (UINT32_MAX - 1000)

/* Start values of the lap near its end */
#define TEST_NEAR_LAP_MAX (XSHM_ABI_LAP_MAX - 3)


/* A message that was sent and not received yet */
typedef struct test_message {
    uint32_t size;
    uint8_t  id;
    uint64_t seed;
} test_message_t;


typedef struct test_ring {
    size_t             size;
    size_t             max_payload;
    uint32_t           num_lines;
    uint8_t           *tx_data;
    const uint8_t     *rx_data; /* Read-only */
    xshm_abi_return_t *rx_ret;
    const void        *tx_ret; /* Read-only */
    uint64_t          *dirty;
    xshm_ring_tx_t     tx;
    xshm_ring_rx_t     rx;
    xshm_test_random_t random;

    test_message_t model[TEST_MODEL_MAX];
    unsigned       head; /* Next to be received */
    unsigned       tail;
    uint64_t       sent;
} test_ring_t;


static void *test_map_guarded(int fd, size_t size, int prot)
{
    uint8_t *area;

    area = mmap(NULL, size + (2 * XSHM_ABI_PAGE_SIZE), PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(area, MAP_FAILED);
    area = mmap(area + XSHM_ABI_PAGE_SIZE, size, prot, MAP_SHARED | MAP_FIXED,
                fd, 0);
    assert_ptr_not_equal(area, MAP_FAILED);
    return area;
}

static void test_unmap_guarded(const void *area, size_t size)
{
    munmap((uint8_t *)area - XSHM_ABI_PAGE_SIZE,
           size + (2 * XSHM_ABI_PAGE_SIZE));
}

/* The same memory twice, as the two sides see it */
static void
test_map_both(size_t size, void **writable_p, const void **readable_p)
{
    int fd = memfd_create("test", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    *writable_p = test_map_guarded(fd, size, PROT_READ | PROT_WRITE);
    *readable_p = test_map_guarded(fd, size, PROT_READ);
    close(fd);
}

static test_ring_t *test_ring_create(size_t size)
{
    test_ring_t *ring = calloc(1, sizeof(*ring));
    const void  *readable;
    void        *writable;

    assert_non_null(ring);
    ring->size        = size;
    ring->num_lines   = (uint32_t)(size / XSHM_ABI_LINE_SIZE);
    ring->max_payload = xshm_ring_max_payload(size);
    xshm_test_random_init(&ring->random);

    test_map_both(size, &writable, &readable);
    ring->tx_data = writable;
    ring->rx_data = readable;
    test_map_both(XSHM_ABI_RETURN_SIZE, &writable, &readable);
    ring->rx_ret = writable;
    ring->tx_ret = readable;
    ring->dirty  = malloc(xshm_ring_dirty_size(size));
    assert_non_null(ring->dirty);
    return ring;
}

static void test_ring_destroy(test_ring_t *ring)
{
    test_unmap_guarded(ring->tx_data, ring->size);
    test_unmap_guarded(ring->rx_data, ring->size);
    test_unmap_guarded(ring->rx_ret, XSHM_ABI_RETURN_SIZE);
    test_unmap_guarded(ring->tx_ret, XSHM_ABI_RETURN_SIZE);
    free(ring->dirty);
    free(ring);
}

/* Start as after a long life: at this line of the ring, in this lap, with this
 * count of lines. The memory is as fresh. */
static void
test_ring_start(test_ring_t *ring, uint32_t line, uint16_t lap, uint32_t count)
{
    memset(ring->tx_data, 0, ring->size);
    memset(ring->rx_ret, 0, XSHM_ABI_RETURN_SIZE);
    memset(ring->dirty, 0, xshm_ring_dirty_size(ring->size));
    xshm_ring_tx_init(&ring->tx, ring->tx_data, ring->size, ring->dirty,
                      ring->tx_ret);
    xshm_ring_rx_init(&ring->rx, ring->rx_data, ring->size, ring->rx_ret);

    ring->tx.pos += (size_t)line * XSHM_ABI_LINE_SIZE;
    ring->rx.pos += (size_t)line * XSHM_ABI_LINE_SIZE;
    ring->tx.lap           = lap;
    ring->rx.lap           = lap;
    ring->tx.produced      = count;
    ring->tx.consumed      = count;
    ring->rx.consumed      = count;
    ring->rx.given_back    = count;
    ring->rx_ret->consumed = count;
    ring->head             = 0;
    ring->tail             = 0;
}

static unsigned test_ring_pending(const test_ring_t *ring)
{
    return ring->tail - ring->head;
}

/* A word of payload that looks like a header: mostly of the lap in which this
 * line is a header again, sometimes of any other */
static uint64_t test_ring_evil_word(test_ring_t *ring)
{
    uint32_t          choice = xshm_test_random_below(&ring->random, 8);
    xshm_abi_record_t record = {
            {.size = (choice & 1) ? 0 : 100,
             .type = (choice == 7) ? XSHM_RECORD_CLOSE : XSHM_RECORD_AM}};

    record.lap = ring->tx.lap;
    if (choice < 6) {
        record.lap = xshm_ring_next_lap(ring->tx.lap);
    } else if (choice == 6) {
        record.lap = (uint16_t)xshm_test_random_next(&ring->random);
    }
    return record.word;
}

static void test_ring_write_payload(test_ring_t *ring, uint8_t *payload,
                                    size_t length, test_message_t *message)
{
    size_t   room = length - XSHM_RING_HEADER_SIZE;
    uint64_t word;
    size_t   i;

    /* All of it, as a sender may that knows the length only later */
    message->seed = test_ring_evil_word(ring);
    for (i = 0; i < room; i += sizeof(word)) {
        word = message->seed ^ ((uint64_t)(i & 0x38) << 8);
        memcpy(payload + i, &word, sizeof(word));
    }
}

static void
test_ring_check_payload(const uint8_t *payload, const test_message_t *message)
{
    uint64_t word;
    size_t   i, length;

    for (i = 0; i < message->size; i += sizeof(word)) {
        word   = message->seed ^ ((uint64_t)(i & 0x38) << 8);
        length = message->size - i;
        assert_memory_equal(payload + i, &word,
                            (length < sizeof(word)) ? length : sizeof(word));
    }
}

/* As the fast path does, or as it is done where the length is not known */
static uint8_t *
test_ring_reserve(test_ring_t *ring, uint32_t size, size_t *length_p)
{
    uint32_t lines = xshm_ring_lines(size);
    uint8_t *payload;

    *length_p = (size_t)lines * XSHM_ABI_LINE_SIZE;
    if ((lines == 1) && (xshm_test_random_below(&ring->random, 4) > 0)) {
        if (xshm_ring_is_short(size)) {
            *length_p = xshm_ring_short_length(size);
        }
        payload = xshm_ring_tx_reserve_line(&ring->tx, *length_p);
    } else {
        payload = xshm_ring_tx_reserve(&ring->tx, lines);
    }

    return (payload != NULL) ? payload :
                               xshm_ring_tx_reserve_slow(&ring->tx, lines);
}

static int test_ring_send(test_ring_t *ring, uint32_t size)
{
    uint32_t          lines   = xshm_ring_lines(size);
    xshm_abi_record_t record  = {{.size = size, .type = XSHM_RECORD_AM}};
    test_message_t   *message = &ring->model[ring->tail % TEST_MODEL_MAX];
    uint8_t          *payload;
    size_t            length;

    payload = test_ring_reserve(ring, size, &length);
    if (payload == NULL) {
        return 0;
    }

    assert_true(payload >= ring->tx_data);
    assert_true(payload - XSHM_RING_HEADER_SIZE + length <=
                ring->tx_data + ring->size);
    if (lines == 1) {
        assert_true(xshm_ring_line_offset(payload - XSHM_RING_HEADER_SIZE) +
                            length <=
                    XSHM_ABI_LINE_SIZE);
    }
    assert_true(test_ring_pending(ring) < TEST_MODEL_MAX);

    message->size = size;
    message->id   = (uint8_t)ring->sent;
    record.id     = message->id;
    test_ring_write_payload(ring, payload, length, message);
    if (lines == 1) {
        xshm_ring_tx_commit_line(&ring->tx, record);
    } else {
        xshm_ring_tx_commit(&ring->tx, lines, record);
    }

    ++ring->tail;
    ++ring->sent;
    return 1;
}

/* Look once, and compare with the model */
static int test_ring_receive(test_ring_t *ring)
{
    test_message_t   *message = &ring->model[ring->head % TEST_MODEL_MAX];
    xshm_abi_record_t record;
    xshm_ring_peek_t  found;

    found = xshm_ring_rx_peek(&ring->rx, &record);
    if (test_ring_pending(ring) == 0) {
        assert_int_equal(found, XSHM_RING_EMPTY);
        return 0;
    }

    assert_int_equal(found, XSHM_RING_RECORD);
    assert_int_equal(record.type, XSHM_RECORD_AM);
    assert_int_equal(record.size, message->size);
    assert_int_equal(record.id, message->id);
    test_ring_check_payload(xshm_ring_rx_payload(&ring->rx), message);
    xshm_ring_rx_release_any(&ring->rx, record.size);
    ++ring->head;
    return 1;
}

/* Does the consumer stand behind a short record, in a line that it has not
 * given back yet? */
static int test_ring_is_in_line(const test_ring_t *ring)
{
    return xshm_ring_line_offset(ring->rx.pos) != 0;
}

static void test_ring_drain(test_ring_t *ring)
{
    while (test_ring_receive(ring)) {
    }
}

/* Sizes at the edges of lines and of the ring as often as any other */
static uint32_t test_ring_random_size(test_ring_t *ring)
{
    uint32_t max  = (uint32_t)ring->max_payload;
    uint32_t size = xshm_test_random_below(&ring->random, max + 1);

    switch (xshm_test_random_below(&ring->random, 8)) {
    case 0:
        return 0;
    case 1:
        return max;
    case 2:
        return XSHM_RING_LINE_PAYLOAD +
               xshm_test_random_below(&ring->random, 2);
    case 3:
        return size % (XSHM_RING_LINE_PAYLOAD + 1);
    case 4:
        return size % (XSHM_ABI_UNITS_PAYLOAD + 2);
    case 5:
        return size % (4 * XSHM_ABI_LINE_SIZE);
    default:
        return size;
    }
}

/* Send and receive at random: in each phase with other odds, so that the ring
 * is sometimes full and sometimes empty for long */
static void test_ring_exchange(test_ring_t *ring, unsigned num_messages)
{
    uint64_t end  = ring->sent + num_messages;
    uint32_t odds = 8;

    while (ring->sent < end) {
        if (xshm_test_random_below(&ring->random, 256) == 0) {
            odds = xshm_test_random_below(&ring->random, 16) + 1;
        }

        if (xshm_test_random_below(&ring->random, 16) < odds) {
            if (!test_ring_send(ring, test_ring_random_size(ring))) {
                test_ring_receive(ring);
            }
        } else {
            test_ring_receive(ring);
        }
    }

    test_ring_drain(ring);
}

static void test_model(void **state)
{
    static const size_t sizes[] = {TEST_MIN_SIZE, 2 * TEST_MIN_SIZE,
                                   3 * TEST_MIN_SIZE, 56 * 1024,
                                   XSHM_ABI_RING_MAX_SIZE};
    test_ring_t        *ring;
    unsigned            i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sizes); ++i) {
        ring = test_ring_create(sizes[i]);
        test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
        test_ring_exchange(ring, xshm_test_scale(2000));
        test_ring_destroy(ring);
    }
}

static void test_counters_wrap(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     i;

    for (i = 0; i < 100; ++i) {
        test_ring_start(ring, i % ring->num_lines, XSHM_ABI_LAP_FIRST,
                        TEST_NEAR_WRAP + i);
        test_ring_exchange(ring, 500);
        assert_true(ring->tx.produced < TEST_NEAR_WRAP);
        assert_int_equal(ring->rx.consumed + test_ring_is_in_line(ring),
                         ring->tx.produced);
        assert_int_equal(ring->rx.num_records, ring->tx.num_records);
    }
    test_ring_destroy(ring);
}

static void test_laps_wrap(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     i;

    for (i = 0; i < 100; ++i) {
        test_ring_start(ring, i % ring->num_lines, TEST_NEAR_LAP_MAX, 0);
        test_ring_exchange(ring, 200);
        assert_true(ring->tx.lap < TEST_NEAR_LAP_MAX);
        assert_int_equal(ring->tx.lap, ring->rx.lap);
        assert_int_not_equal(ring->tx.lap, 0);
    }
    test_ring_destroy(ring);
}

/* Every header that was ever written could be met again when its lap comes
 * round: live through all laps, and some more */
static void test_all_laps(void **state)
{
    test_ring_t *ring      = test_ring_create(TEST_MIN_SIZE);
    unsigned     last_lap  = 0;
    uint64_t     num_laps  = 0;
    uint64_t     wanted    = xshm_test_scale(XSHM_ABI_LAP_MAX + 100);
    uint32_t     max_lines = ring->num_lines / 4;
    uint32_t     size;

    test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
    while (num_laps < wanted) {
        size = xshm_test_random_below(&ring->random,
                                      max_lines * XSHM_ABI_LINE_SIZE);
        if (!test_ring_send(ring, size)) {
            test_ring_drain(ring);
        }
        num_laps += (ring->tx.lap != last_lap);
        last_lap = ring->tx.lap;
    }
    test_ring_drain(ring);
    test_ring_destroy(ring);
}

static void test_send_and_drain(test_ring_t *ring, uint32_t lines)
{
    assert_true(test_ring_send(ring, (lines * XSHM_ABI_LINE_SIZE) -
                                             XSHM_RING_HEADER_SIZE));
    test_ring_drain(ring);
}

/* Headers near the end of the ring are passed over by a WRAP in each lap, until
 * the lap in which they were written comes again */
static void test_passed_over_for_all_laps(void **state)
{
    test_ring_t *ring       = test_ring_create(TEST_MIN_SIZE);
    uint32_t     long_lines = xshm_ring_lines(ring->max_payload) - 3;
    uint32_t     rest       = ring->num_lines % long_lines;
    uint32_t     i, lap;

    test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
    for (i = 0; i < ring->num_lines / long_lines; ++i) {
        test_send_and_drain(ring, long_lines);
    }
    for (i = 0; i < rest; ++i) {
        test_send_and_drain(ring, 1);
    }

    assert_true(rest > 2);
    for (lap = 2; lap <= XSHM_ABI_LAP_MAX + 1; ++lap) {
        for (i = 0; i < ring->num_lines / long_lines; ++i) {
            test_send_and_drain(ring, long_lines);
        }
    }

    assert_int_equal(ring->tx.lap, XSHM_ABI_LAP_FIRST);
    for (i = 0; i < rest; ++i) {
        test_send_and_drain(ring, 1);
    }
    test_ring_destroy(ring);
}

/* The longest message always fits once the consumer has taken all, even if it
 * has not noticed yet that the ring is empty */
static void test_longest_fits_in(size_t size)
{
    test_ring_t *ring = test_ring_create(size);
    uint32_t     line, i;

    for (line = 0; line < ring->num_lines; ++line) {
        test_ring_start(ring, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
        for (i = 0; i < 200; ++i) {
            while (test_ring_send(ring, test_ring_random_size(ring)) &&
                   (xshm_test_random_below(&ring->random, 4) > 0)) {
            }
            while (test_ring_pending(ring) > 0) {
                assert_true(test_ring_receive(ring));
            }
            assert_true(test_ring_send(ring, (uint32_t)ring->max_payload));
        }
    }
    test_ring_destroy(ring);
}

static void test_longest_fits(void **state)
{
    test_longest_fits_in(TEST_MIN_SIZE);
    test_longest_fits_in(TEST_LONG_SIZE);
}

/* The rule behind it, for each size that a ring can have */
static void test_invariant(void **state)
{
    uint32_t num_lines, longest;
    size_t   size;

    for (size = XSHM_ABI_RING_MIN_SIZE; size <= XSHM_ABI_RING_MAX_SIZE;
         size += XSHM_ABI_PAGE_SIZE) {
        num_lines = (uint32_t)(size / XSHM_ABI_LINE_SIZE);
        longest   = xshm_ring_lines(xshm_ring_max_payload(size));
        assert_true(longest + 1 + longest + XSHM_RING_KEEP_LINES <=
                    num_lines - xshm_ring_batch(size));
        assert_int_equal(xshm_ring_lines(xshm_ring_max_payload(size) + 1),
                         longest + 1);
        assert_true(xshm_ring_dirty_size(size) * 8 >= num_lines);
        assert_true(xshm_ring_batch(size) > 0);
    }
}

/* From each line: fill it to the last line, close it, and find all of it */
static void
test_full_and_closed(test_ring_t *ring, uint32_t line, uint32_t max_lines)
{
    xshm_abi_record_t record;
    uint32_t          lines;

    test_ring_start(ring, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    for (;;) {
        lines = xshm_test_random_below(&ring->random, max_lines) + 1;
        if (test_ring_send(ring, (lines * XSHM_ABI_LINE_SIZE) -
                                         XSHM_RING_HEADER_SIZE)) {
            continue;
        }
        if (lines == 1) {
            break;
        }
    }

    assert_false(xshm_ring_tx_can_reserve(&ring->tx, 1));
    assert_int_equal(ring->tx.produced - ring->rx.consumed,
                     ring->num_lines - XSHM_RING_KEEP_LINES);

    xshm_ring_tx_close(&ring->tx);
    while (test_ring_pending(ring) > 0) {
        assert_true(test_ring_receive(ring));
    }
    assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record), XSHM_RING_RECORD);
    assert_int_equal(record.type, XSHM_RECORD_CLOSE);
    xshm_ring_rx_release_any(&ring->rx, record.size);
    assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record), XSHM_RING_EMPTY);
}

static void test_full(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     line, max_lines;

    for (line = 0; line < ring->num_lines; ++line) {
        for (max_lines = 1; max_lines < ring->num_lines / 4; max_lines += 3) {
            test_full_and_closed(ring, line, max_lines);
        }
    }
    test_ring_destroy(ring);
}

/* A full ring stays full until a batch has been given back, and loses nothing
 * while the producer tries all the time */
static void test_slow_receiver(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    unsigned     i;

    test_ring_start(ring, 5, XSHM_ABI_LAP_MAX, TEST_NEAR_WRAP);
    for (i = 0; i < xshm_test_scale(20000); ++i) {
        while (test_ring_send(ring, test_ring_random_size(ring) % 300)) {
        }
        assert_true(test_ring_receive(ring));
    }
    test_ring_drain(ring);
    test_ring_destroy(ring);
}

static void test_empty_gives_back(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);

    test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
    assert_false(test_ring_receive(ring));
    assert_true(test_ring_send(ring, TEST_LINE));
    assert_true(test_ring_receive(ring));
    assert_int_equal(ring->rx_ret->consumed, 0);
    assert_false(test_ring_receive(ring));
    assert_int_equal(ring->rx_ret->consumed, 1);
    test_ring_destroy(ring);
}

/* The consumer tells of its progress in parts, not for each message */
static void test_batch(void **state)
{
    test_ring_t *ring  = test_ring_create(TEST_MIN_SIZE);
    uint32_t     batch = xshm_ring_batch(ring->size);
    uint32_t     i;

    test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
    for (i = 0; i < batch; ++i) {
        assert_true(test_ring_send(ring, TEST_LINE));
    }
    for (i = 0; i < batch; ++i) {
        assert_int_equal(ring->rx_ret->consumed, 0);
        assert_true(test_ring_receive(ring));
    }
    assert_int_equal(ring->rx_ret->consumed, batch);
    test_ring_destroy(ring);
}

static void test_stop(void **state)
{
    test_ring_t      *ring = test_ring_create(TEST_MIN_SIZE);
    xshm_abi_record_t record;

    test_ring_start(ring, 0, XSHM_ABI_LAP_FIRST, 0);
    assert_true(test_ring_send(ring, 1));
    assert_true(test_ring_send(ring, 1));
    assert_true(test_ring_receive(ring));
    xshm_ring_rx_stop(&ring->rx);
    assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record), XSHM_RING_EMPTY);
    assert_int_equal(ring->rx_ret->consumed, 0);
    test_ring_destroy(ring);
}

/* A record that must be there, of this size */
static void test_ring_take(test_ring_t *ring, uint32_t size)
{
    xshm_abi_record_t record;

    assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record), XSHM_RING_RECORD);
    assert_int_equal(record.size, size);
    xshm_ring_rx_release_any(&ring->rx, record.size);
}

static void test_none_has_no_room(void **state)
{
    assert_null(
            xshm_ring_tx_reserve_line(&xshm_ring_tx_none, XSHM_ABI_LINE_SIZE));
    assert_null(xshm_ring_tx_reserve(&xshm_ring_tx_none, 1));
    assert_null(xshm_ring_tx_reserve_slow(&xshm_ring_tx_none, 1));
    assert_false(xshm_ring_tx_can_reserve(&xshm_ring_tx_none, 1));
}

/* What the consumer makes of a header at a line of the ring */
static xshm_ring_peek_t
test_peek_at(test_ring_t *ring, uint32_t line, uint8_t type, uint32_t size)
{
    xshm_abi_record_t record = {{.size = size, .type = type, .id = 3}};
    xshm_abi_record_t found;
    xshm_ring_peek_t  result;

    test_ring_start(ring, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    record.lap = ring->rx.lap;
    memcpy(ring->tx.pos, &record, sizeof(record));
    result = xshm_ring_rx_peek(&ring->rx, &found);
    if (result == XSHM_RING_RECORD) {
        assert_int_equal(found.word, record.word);
    }
    return result;
}

static void test_violation_type(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     line;
    int          type, base;

    for (line = 0; line < ring->num_lines; ++line) {
        for (type = 0; type <= UINT8_MAX; ++type) {
            base = type & ~XSHM_RECORD_AFTER_TURN;
            if ((base < XSHM_RECORD_AM) || (base > XSHM_RECORD_SKIP)) {
                assert_int_equal(test_peek_at(ring, line, (uint8_t)type, 0),
                                 XSHM_RING_VIOLATION);
            }
        }
    }
    test_ring_destroy(ring);
}

/* What the consumer makes of a record behind a short one, in the same line */
static xshm_ring_peek_t
test_peek_behind(test_ring_t *ring, uint32_t units, uint8_t type, uint32_t size)
{
    xshm_abi_record_t record = {{.size = 0, .type = XSHM_RECORD_AM}};
    xshm_abi_record_t found;
    uint32_t          unit;

    test_ring_start(ring, 5, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    record.lap = ring->rx.lap;
    for (unit = 0; unit < units; ++unit) {
        memcpy(ring->tx.pos + (unit * XSHM_ABI_UNIT_SIZE), &record,
               sizeof(record));
        assert_int_equal(xshm_ring_rx_peek(&ring->rx, &found),
                         XSHM_RING_RECORD);
        xshm_ring_rx_release_any(&ring->rx, found.size);
    }

    record.size = size;
    record.type = type;
    memcpy(ring->tx.pos + (units * XSHM_ABI_UNIT_SIZE), &record,
           sizeof(record));
    return xshm_ring_rx_peek(&ring->rx, &found);
}

/* In the rest of a line there is only what fits there, and no record that leads
 * elsewhere, or is longer */
static void test_violation_unit(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     units, size, type;

    for (units = 1; units < XSHM_ABI_LINE_SIZE / XSHM_ABI_UNIT_SIZE; ++units) {
        for (size = 0; size <= TEST_MIN_SIZE; ++size) {
            assert_int_equal(
                    test_peek_behind(ring, units, XSHM_RECORD_AM, size),
                    ((size <= XSHM_ABI_UNIT_PAYLOAD) ||
                     ((size <= XSHM_ABI_UNITS_PAYLOAD) && (units <= 2))) ?
                            XSHM_RING_RECORD :
                            XSHM_RING_VIOLATION);
        }
        for (type = XSHM_RECORD_PUT; type <= XSHM_RECORD_ATOMIC; ++type) {
            assert_int_equal(test_peek_behind(ring, units, (uint8_t)type,
                                              sizeof(xshm_abi_rma_t)),
                             XSHM_RING_VIOLATION);
        }
        assert_int_equal(test_peek_behind(ring, units, XSHM_RECORD_WRAP, 0),
                         XSHM_RING_VIOLATION);
        assert_int_equal(test_peek_behind(ring, units, XSHM_RECORD_SKIP, 0),
                         XSHM_RING_VIOLATION);
        assert_int_equal(test_peek_behind(ring, units, XSHM_RECORD_CLOSE, 0),
                         XSHM_RING_RECORD);
    }
    test_ring_destroy(ring);
}

/* Short records share a line: from each line, and for each number of them in
 * one, the next one that begins a line is found there */
static void test_share_line(void **state)
{
    const uint32_t most = XSHM_ABI_LINE_SIZE / XSHM_ABI_UNIT_SIZE;
    test_ring_t   *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t       line, count, i;

    for (line = 0; line < ring->num_lines; ++line) {
        for (count = 1; count <= most; ++count) {
            test_ring_start(ring, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
            for (i = 0; i < count; ++i) {
                assert_non_null(xshm_ring_tx_reserve_line(&ring->tx,
                                                          XSHM_ABI_UNIT_SIZE));
                xshm_ring_tx_commit_line(&ring->tx,
                                         (xshm_abi_record_t){
                                                 {.type = XSHM_RECORD_AM}});
            }
            assert_int_equal(ring->tx.produced, TEST_NEAR_WRAP + 1);
            for (i = 0; i < count; ++i) {
                assert_false(xshm_ring_rx_is_empty(&ring->rx));
                test_ring_take(ring, 0);
            }
            assert_true(xshm_ring_rx_is_empty(&ring->rx));
            assert_int_equal(ring->rx.consumed,
                             TEST_NEAR_WRAP + (count == most));

            assert_true(test_ring_send(ring, TEST_LINE));
            assert_false(xshm_ring_rx_is_empty(&ring->rx));
            assert_true(test_ring_receive(ring));
            assert_int_equal(ring->rx.consumed, ring->tx.produced);
            assert_int_equal(ring->tx.produced, TEST_NEAR_WRAP + 2);
        }
    }
    test_ring_destroy(ring);
}

static void test_violation_size(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);
    uint32_t     line, bit, most;

    for (line = 0; line < ring->num_lines; ++line) {
        most = ((ring->num_lines - line) * XSHM_ABI_LINE_SIZE) -
               XSHM_RING_HEADER_SIZE;
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_AM, most),
                         XSHM_RING_RECORD);
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_AM, most + 1),
                         XSHM_RING_VIOLATION);
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_AM, UINT32_MAX),
                         XSHM_RING_VIOLATION);
        for (bit = ring->num_lines * XSHM_ABI_LINE_SIZE; bit != 0; bit <<= 1) {
            assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_AM, bit),
                             XSHM_RING_VIOLATION);
        }
    }
    test_ring_destroy(ring);
}

static void test_violation_wrap(void **state)
{
    test_ring_t      *ring   = test_ring_create(TEST_MIN_SIZE);
    xshm_abi_record_t record = {{.type = XSHM_RECORD_WRAP}};
    uint32_t          line;

    for (line = 0; line < XSHM_ABI_FIRST_WRAP_LINE; ++line) {
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_WRAP, 0),
                         XSHM_RING_VIOLATION);
    }
    for (; line < ring->num_lines; ++line) {
        /* The start holds nothing yet: no violation, but nothing either */
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_WRAP, 0),
                         XSHM_RING_EMPTY);
        assert_ptr_equal(ring->rx.pos, ring->rx.base);

        record.lap = ring->rx.lap;
        memcpy(ring->tx_data, &record, sizeof(record));
        assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record),
                         XSHM_RING_VIOLATION);
    }
    test_ring_destroy(ring);
}

static void test_violation_skip(void **state)
{
    test_ring_t *ring  = test_ring_create(2 * TEST_MIN_SIZE);
    uint32_t     pages = XSHM_ABI_PAGE_SIZE / XSHM_ABI_LINE_SIZE;
    uint32_t     line;

    for (line = 0; line < ring->num_lines; ++line) {
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_SKIP, 0),
                         ((line % pages) == 0) ? XSHM_RING_EMPTY :
                                                 XSHM_RING_VIOLATION);
        assert_int_equal(test_peek_at(ring, line, XSHM_RECORD_SKIP, 1),
                         XSHM_RING_VIOLATION);
    }
    test_ring_destroy(ring);
}

/* Else a sender that is quick enough leads the receiver around for ever */
static void test_violation_skip_wrap(void **state)
{
    test_ring_t      *ring   = test_ring_create(TEST_MIN_SIZE);
    xshm_abi_record_t record = {{.type = XSHM_RECORD_WRAP}};

    test_ring_start(ring, 0, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
    record.lap = ring->rx.lap;
    memcpy(ring->tx_data + XSHM_ABI_LINE_SIZE, &record, sizeof(record));
    record.type = XSHM_RECORD_SKIP;
    memcpy(ring->tx_data, &record, sizeof(record));
    assert_int_equal(xshm_ring_rx_peek(&ring->rx, &record),
                     XSHM_RING_VIOLATION);
    test_ring_destroy(ring);
}

/* From each line and for each length: where a record begins, and that it takes
 * what it needs only */
static void test_long_records(void **state)
{
    test_ring_t *ring       = test_ring_create(TEST_LONG_SIZE);
    uint32_t     max_lines  = xshm_ring_lines(ring->max_payload);
    uint32_t     page_lines = XSHM_ABI_PAGE_SIZE / XSHM_ABI_LINE_SIZE;
    uint32_t     line, lines, start;

    for (line = 0; line < ring->num_lines; ++line) {
        for (lines = 1; lines <= max_lines; ++lines) {
            test_ring_start(ring, line, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP);
            assert_true(test_ring_send(ring, (lines * XSHM_ABI_LINE_SIZE) -
                                                     XSHM_RING_HEADER_SIZE));
            start = (xshm_ring_line_index(ring->tx.base, ring->tx.pos) +
                     ring->num_lines - lines) %
                    ring->num_lines;
            if (lines >= XSHM_RING_LONG_LINES) {
                assert_int_not_equal(start % page_lines, 0);
                assert_true((start - line <= 1) || (start == 1));
            } else {
                assert_true((start == line) || (start == 0));
            }
            assert_true(test_ring_receive(ring));
            assert_ptr_equal(ring->rx.pos - ring->rx_data,
                             ring->tx.pos - ring->tx_data);
        }
    }
    test_ring_destroy(ring);
}

static void test_violation_close(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);

    assert_int_equal(test_peek_at(ring, 1, XSHM_RECORD_CLOSE, 0),
                     XSHM_RING_RECORD);
    assert_int_equal(test_peek_at(ring, 1, XSHM_RECORD_CLOSE, 1),
                     XSHM_RING_VIOLATION);
    assert_int_equal(test_peek_at(ring, 1, XSHM_RECORD_CLOSE, UINT32_MAX),
                     XSHM_RING_VIOLATION);
    test_ring_destroy(ring);
}

/* A header of another lap is none, whatever else it says */
static void test_other_lap(void **state)
{
    test_ring_t      *ring = test_ring_create(TEST_MIN_SIZE);
    xshm_abi_record_t record, found;
    uint32_t          lap;

    test_ring_start(ring, 7, TEST_NEAR_LAP_MAX, 0);
    for (lap = 0; lap <= XSHM_ABI_LAP_MAX; ++lap) {
        record.word = xshm_test_random_next(&ring->random);
        record.lap  = (uint16_t)lap;
        if (lap != TEST_NEAR_LAP_MAX) {
            memcpy(ring->tx.pos, &record, sizeof(record));
            assert_int_equal(xshm_ring_rx_peek(&ring->rx, &found),
                             XSHM_RING_EMPTY);
        }
    }
    test_ring_destroy(ring);
}

/* After a wrong count of the consumer there is no room, ever again */
static void test_bad_count(test_ring_t *ring, uint32_t difference)
{
    unsigned i;

    test_ring_start(ring, 3, TEST_NEAR_LAP_MAX, TEST_NEAR_WRAP + 990);
    for (i = 0; i < 8; ++i) {
        assert_true(test_ring_send(ring, TEST_LINE));
    }
    for (i = 0; i < 4; ++i) {
        assert_true(test_ring_receive(ring));
    }
    xshm_ring_rx_give_back(&ring->rx);
    assert_false(xshm_ring_tx_can_reserve(&ring->tx, ring->num_lines));
    assert_int_equal(ring->tx.produced - ring->tx.consumed, 4);

    ring->rx_ret->consumed = ring->tx.consumed + difference;
    assert_false(xshm_ring_tx_can_reserve(&ring->tx, ring->num_lines));
    assert_true(ring->tx.violation);

    ring->rx_ret->consumed = ring->tx.consumed;
    assert_false(xshm_ring_tx_can_reserve(&ring->tx, 1));
    assert_null(xshm_ring_tx_reserve_line(&ring->tx, XSHM_ABI_LINE_SIZE));
    assert_null(xshm_ring_tx_reserve(&ring->tx, 2));
    assert_null(xshm_ring_tx_reserve_slow(&ring->tx, 1));
}

static void test_violation_count(void **state)
{
    static const uint32_t bad[] = {/* 4 lines are there to be consumed */
                                   5,           6,          64,
                                   0x7fffffff,  0x80000000, (uint32_t)-64,
                                   (uint32_t)-1};
    test_ring_t          *ring  = test_ring_create(TEST_MIN_SIZE);
    unsigned              i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(bad); ++i) {
        test_bad_count(ring, bad[i]);
    }
    test_ring_destroy(ring);
}

/* All that was sent may be reported as consumed, but nothing more */
static void test_exact_count(void **state)
{
    test_ring_t *ring = test_ring_create(TEST_MIN_SIZE);

    test_ring_start(ring, 3, TEST_NEAR_LAP_MAX, UINT32_MAX - 1);
    assert_true(test_ring_send(ring, 1));
    assert_true(test_ring_send(ring, 200));
    ring->rx_ret->consumed = ring->tx.produced;
    assert_false(xshm_ring_tx_can_reserve(&ring->tx, ring->num_lines));
    assert_false(ring->tx.violation);
    assert_int_equal(ring->tx.room, ring->num_lines - XSHM_RING_KEEP_LINES);
    test_ring_destroy(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_model),
            cmocka_unit_test(test_counters_wrap),
            cmocka_unit_test(test_laps_wrap),
            cmocka_unit_test(test_all_laps),
            cmocka_unit_test(test_passed_over_for_all_laps),
            cmocka_unit_test(test_longest_fits),
            cmocka_unit_test(test_long_records),
            cmocka_unit_test(test_invariant),
            cmocka_unit_test(test_full),
            cmocka_unit_test(test_slow_receiver),
            cmocka_unit_test(test_empty_gives_back),
            cmocka_unit_test(test_batch),
            cmocka_unit_test(test_stop),
            cmocka_unit_test(test_none_has_no_room),
            cmocka_unit_test(test_share_line),
            cmocka_unit_test(test_violation_type),
            cmocka_unit_test(test_violation_unit),
            cmocka_unit_test(test_violation_size),
            cmocka_unit_test(test_violation_wrap),
            cmocka_unit_test(test_violation_skip),
            cmocka_unit_test(test_violation_skip_wrap),
            cmocka_unit_test(test_violation_close),
            cmocka_unit_test(test_other_lap),
            cmocka_unit_test(test_violation_count),
            cmocka_unit_test(test_exact_count)};

    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
