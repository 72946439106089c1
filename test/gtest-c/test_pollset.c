/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The set of channels that an interface polls.
 */

#include "test_util.h"

/* Not in the core library, and small: compiled here */
#include <uct/xshm/base/pollset.c>
#include <uct/xshm/ring/ring.c>

#include <stdlib.h>


#define TEST_NUM_CHANNELS 1024
#define TEST_NUM_STEPS    20000


/* A line of a ring, with a record in each unit */
typedef union test_ring_line {
    uint8_t bytes[XSHM_ABI_LINE_SIZE];
    struct {
        xshm_abi_record_t record;
        uint64_t          payload;
    } unit[XSHM_ABI_LINE_SIZE / XSHM_ABI_UNIT_SIZE];
} __attribute__((aligned(XSHM_ABI_LINE_SIZE))) test_ring_line_t;

/* Channels whose ring is one line; "received" is set by the tests */
typedef struct test_channels {
    xshm_pollset_t     set;
    xshm_rx_t         *rx;
    test_ring_line_t  *lines;
    uint8_t           *is_in;
    xshm_test_random_t random;
} test_channels_t;


static void test_init(test_channels_t *channels)
{
    unsigned i;

    xshm_test_random_init(&channels->random);
    channels->rx = calloc(TEST_NUM_CHANNELS, sizeof(*channels->rx));
    channels->lines =
            aligned_alloc(XSHM_ABI_LINE_SIZE,
                          TEST_NUM_CHANNELS * sizeof(*channels->lines));
    memset(channels->lines, 0, TEST_NUM_CHANNELS * sizeof(*channels->lines));
    channels->is_in = calloc(TEST_NUM_CHANNELS, 1);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        channels->rx[i].ring.base = channels->lines[i].bytes;
        channels->rx[i].ring.pos  = channels->lines[i].bytes;
        channels->rx[i].ring.end =
                channels->lines[i].bytes + sizeof(channels->lines[i]);
        channels->rx[i].ring.lap = XSHM_ABI_LAP_FIRST;
        xshm_turn_hide(&channels->rx[i].ring);
    }
    xshm_pollset_init(&channels->set);
}

static void test_cleanup(test_channels_t *channels)
{
    xshm_pollset_cleanup(&channels->set);
    free(channels->rx);
    free(channels->lines);
    free(channels->is_in);
}

static void test_add(test_channels_t *channels, unsigned index)
{
    assert_int_equal(xshm_pollset_add(&channels->set, &channels->rx[index]),
                     UCS_OK);
    channels->is_in[index] = 1;
}

static void test_add_all(test_channels_t *channels)
{
    unsigned i;

    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        test_add(channels, i);
    }
}

/* Each channel that was added is there once, and nothing else */
static void test_check(const test_channels_t *channels)
{
    uint8_t *seen  = calloc(TEST_NUM_CHANNELS, 1);
    unsigned count = channels->set.num_hot + channels->set.num_cold;
    unsigned i, index;

    for (i = 0; i < count; ++i) {
        index = (unsigned)(((i < channels->set.num_hot) ?
                                    channels->set.hot[i] :
                                    channels->set
                                            .cold[i - channels->set.num_hot]
                                            .rx) -
                           channels->rx);
        assert_true(index < TEST_NUM_CHANNELS);
        ++seen[index];
    }

    assert_memory_equal(seen, channels->is_in, TEST_NUM_CHANNELS);
    assert_true(count <= channels->set.capacity || count == 0);
    assert_true((channels->set.next_cold < channels->set.num_cold) ||
                (channels->set.next_cold == 0));
    free(seen);
}

static void
test_set_message(test_channels_t *channels, unsigned index, int is_there)
{
    channels->lines[index].unit[0].record.lap =
            is_there ? XSHM_ABI_LAP_FIRST : 0;
}

/* What progress does with the cold ones */
static xshm_rx_t *test_next_cold(xshm_pollset_t *set)
{
    unsigned index;

    return xshm_pollset_look_at_cold(set, &index) ?
                   xshm_pollset_heat(set, index) :
                   NULL;
}

static void test_empty(void **state)
{
    xshm_pollset_t set;

    xshm_pollset_init(&set);
    assert_null(xshm_pollset_any(&set));
    assert_null(test_next_cold(&set));
    xshm_pollset_cool(&set);
    assert_int_equal(set.num_hot + set.num_cold, 0);
    xshm_pollset_cleanup(&set);
}

static void test_new_is_hot(void **state)
{
    test_channels_t channels;

    test_init(&channels);
    test_add_all(&channels);
    assert_int_equal(channels.set.num_hot, TEST_NUM_CHANNELS);
    test_check(&channels);
    test_cleanup(&channels);
}

/* Those with messages since the last time stay hot */
static void test_cool(void **state)
{
    test_channels_t channels;
    unsigned        i;

    test_init(&channels);
    test_add_all(&channels);
    for (i = 0; i < TEST_NUM_CHANNELS; i += 4) {
        ++channels.rx[i].received;
    }

    xshm_pollset_cool(&channels.set);
    assert_int_equal(channels.set.num_hot, TEST_NUM_CHANNELS / 4);
    assert_int_equal(channels.set.num_cold, TEST_NUM_CHANNELS * 3 / 4);
    test_check(&channels);

    xshm_pollset_cool(&channels.set);
    assert_int_equal(channels.set.num_hot, 0);
    test_check(&channels);
    test_cleanup(&channels);
}

/* Every cold channel gets its turn: each is found within as many calls as there
 * are cold channels */
static void test_each_gets_its_turn(void **state)
{
    test_channels_t channels;
    xshm_rx_t      *found;
    unsigned        i, turns;

    test_init(&channels);
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        assert_null(test_next_cold(&channels.set));
    }

    for (i = 0; i < TEST_NUM_CHANNELS; i += 7) {
        test_set_message(&channels, i, 1);
        found = NULL;
        for (turns = channels.set.num_cold; (turns > 0) && (found == NULL);
             --turns) {
            found = test_next_cold(&channels.set);
        }
        assert_ptr_equal(found, &channels.rx[i]);
        assert_ptr_equal(channels.set.hot[channels.set.num_hot - 1], found);
        test_set_message(&channels, i, 0);
        test_check(&channels);
    }
    test_cleanup(&channels);
}

static const xshm_rx_t *test_wanted;

static int test_match(const xshm_rx_t *rx)
{
    return rx == test_wanted;
}

static void test_find(void **state)
{
    test_channels_t channels;
    unsigned        i;

    test_init(&channels);
    test_add_all(&channels);
    for (i = 0; i < TEST_NUM_CHANNELS; i += 2) {
        ++channels.rx[i].received;
    }
    xshm_pollset_cool(&channels.set);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        test_wanted = &channels.rx[i];
        assert_ptr_equal(xshm_pollset_find(&channels.set, test_match),
                         test_wanted);
    }
    test_wanted = NULL;
    assert_null(xshm_pollset_find(&channels.set, test_match));
    test_cleanup(&channels);
}

/* What was received stays so, whichever channels are hot, cold or gone */
static void test_received(void **state)
{
    test_channels_t channels;
    unsigned        i;

    test_init(&channels);
    test_add_all(&channels);
    assert_int_equal(xshm_pollset_received(&channels.set), 0);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        channels.rx[i].received += i;
    }
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        assert_int_equal(xshm_pollset_received(&channels.set),
                         TEST_NUM_CHANNELS * (TEST_NUM_CHANNELS - 1) / 2);
        test_set_message(&channels, i, (i % 3) == 0);
        if ((i % 2) == 0) {
            xshm_pollset_cool(&channels.set);
        } else if ((i % 5) == 0) {
            xshm_pollset_remove(&channels.set, &channels.rx[i - 1]);
        } else {
            xshm_pollset_heat_all(&channels.set);
        }
    }
    test_cleanup(&channels);
}

/* A channel with the turn line of its pair, and the ring by which this side sends */
typedef struct test_line {
    xshm_abi_turn_t line;
    xshm_ring_tx_t  tx;
    xshm_turn_t     turn;
} test_line_t;

static void
test_share_line(test_channels_t *channels, unsigned index, test_line_t *line)
{
    memset(line, 0, sizeof(*line));
    xshm_turn_init(&line->turn, &line->line, &line->tx,
                   &channels->rx[index].ring);
}

/* What the other side writes there */
static void test_set_head(test_channels_t *channels, unsigned index,
                          test_line_t *line, uint16_t number)
{
    line->line.head.sequence = channels->rx[index].ring.num_records;
    line->line.head.number   = number;
}

static xshm_rx_t *test_find_cold(test_channels_t *channels)
{
    xshm_rx_t *found = NULL;
    unsigned   turns;

    for (turns = channels->set.num_cold; (turns > 0) && (found == NULL);
         --turns) {
        found = test_next_cold(&channels->set);
    }
    return found;
}

/* Behind a short record the next one stands in its line, or begins another one:
 * here the first one again, in the next lap */
static void test_record_at_either_place_makes_hot(void **state)
{
    static const unsigned places[] = {1, 0};
    test_channels_t       channels;
    xshm_abi_record_t    *record;
    unsigned              i;

    test_init(&channels);
    test_set_message(&channels, 3, 1);
    channels.rx[3].ring.pos += XSHM_ABI_UNIT_SIZE;
    test_add_all(&channels);
    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(places); ++i) {
        xshm_pollset_cool(&channels.set);
        assert_null(test_find_cold(&channels));
        record      = &channels.lines[3].unit[places[i]].record;
        record->lap = (uint16_t)(XSHM_ABI_LAP_FIRST + i);
        assert_ptr_equal(test_find_cold(&channels), &channels.rx[3]);
        record->lap = 0;
    }
    test_cleanup(&channels);
}

static void test_message_in_the_turn_line_makes_hot(void **state)
{
    test_channels_t channels;
    test_line_t     line;

    test_init(&channels);
    test_share_line(&channels, 3, &line);
    line.turn.number = UINT16_MAX;
    xshm_turn_show(&line.turn);
    line.line.head.number = UINT16_MAX;
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    assert_null(test_find_cold(&channels));

    /* It is the one after the last one: 0, if it is due */
    test_set_head(&channels, 3, &line, 0);
    ++line.line.head.sequence;
    assert_null(test_find_cold(&channels));
    test_set_head(&channels, 3, &line, 0);
    assert_ptr_equal(test_find_cold(&channels), &channels.rx[3]);
    assert_null(test_find_cold(&channels));
    assert_int_equal(channels.set.num_hot, 1);
    test_check(&channels);
    test_cleanup(&channels);
}

static void test_heat_all_looks_at_turn_lines(void **state)
{
    test_channels_t channels;
    test_line_t     lines[2];
    unsigned        i;

    test_init(&channels);
    for (i = 0; i < 2; ++i) {
        test_share_line(&channels, i, &lines[i]);
        xshm_turn_show(&lines[i].turn);
    }
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    test_set_head(&channels, 1, &lines[1], 1);
    xshm_pollset_heat_all(&channels.set);
    assert_int_equal(channels.set.num_hot, 1);
    assert_ptr_equal(channels.set.hot[0], &channels.rx[1]);
    test_check(&channels);
    test_cleanup(&channels);
}

/* In our turn nothing is looked for there, also while it is withheld */
static void test_our_turn_makes_not_hot(void **state)
{
    test_channels_t channels;
    test_line_t     line;
    unsigned        number;

    test_init(&channels);
    test_share_line(&channels, 3, &line);
    xshm_turn_grab(&line.turn);
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    for (number = 0; number < 8; ++number) {
        test_set_head(&channels, 3, &line, (uint16_t)number);
        assert_null(test_find_cold(&channels));
    }
    test_cleanup(&channels);
}

/* Else where to look for the answer changes while the channel is cold */
static void test_turn_is_withheld_while_cold(void **state)
{
    test_channels_t channels;
    test_line_t     line;

    test_init(&channels);
    test_share_line(&channels, 3, &line);
    xshm_turn_grab(&line.turn);
    test_add_all(&channels);
    ++channels.rx[3].received;
    xshm_pollset_cool(&channels.set);
    assert_true(xshm_turn_is_ours(&line.tx));
    xshm_pollset_cool(&channels.set);
    assert_false(xshm_turn_is_ours(&line.tx));

    test_set_message(&channels, 3, 1);
    assert_ptr_equal(test_find_cold(&channels), &channels.rx[3]);
    assert_true(xshm_turn_is_ours(&line.tx));
    test_check(&channels);
    test_cleanup(&channels);
}

/* If the turn is the other side's, it is so afterwards */
static void test_heating_gives_no_turn(void **state)
{
    test_channels_t channels;
    test_line_t     line;

    test_init(&channels);
    test_share_line(&channels, 3, &line);
    xshm_turn_show(&line.turn);
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    xshm_pollset_heat_rx(&channels.set, &channels.rx[3]);
    assert_false(xshm_turn_is_ours(&line.tx));
    assert_true(xshm_turn_is_shown(&channels.rx[3].ring));
    test_cleanup(&channels);
}

static void test_heat_rx(void **state)
{
    test_channels_t channels;
    unsigned        i;

    test_init(&channels);
    test_add_all(&channels);
    xshm_pollset_cool(&channels.set);
    for (i = 0; i < TEST_NUM_CHANNELS; i += 5) {
        xshm_pollset_heat_rx(&channels.set, &channels.rx[i]);
        assert_ptr_equal(channels.set.hot[i / 5], &channels.rx[i]);
        /* Of one that is hot already nothing changes */
        xshm_pollset_heat_rx(&channels.set, &channels.rx[i]);
        assert_int_equal(channels.set.num_hot, (i / 5) + 1);
        test_check(&channels);
    }
    test_cleanup(&channels);
}

static void test_random_step(test_channels_t *channels)
{
    unsigned index =
            xshm_test_random_below(&channels->random, TEST_NUM_CHANNELS);

    switch (xshm_test_random_below(&channels->random, 8)) {
    case 0:
        xshm_pollset_cool(&channels->set);
        break;
    case 1:
    case 2:
        ++channels->rx[index].received;
        test_set_message(channels, index, index & 1);
        break;
    case 3:
    case 4:
        (void)test_next_cold(&channels->set);
        break;
    default:
        if (channels->is_in[index]) {
            xshm_pollset_remove(&channels->set, &channels->rx[index]);
            channels->is_in[index] = 0;
        } else {
            test_add(channels, index);
        }
        break;
    }
}

static void test_random(void **state)
{
    test_channels_t channels;
    xshm_rx_t      *rx;
    unsigned        i;

    test_init(&channels);
    for (i = 0; i < xshm_test_scale(TEST_NUM_STEPS); ++i) {
        test_random_step(&channels);
        test_check(&channels);
    }

    while ((rx = xshm_pollset_any(&channels.set)) != NULL) {
        xshm_pollset_remove(&channels.set, rx);
        channels.is_in[rx - channels.rx] = 0;
    }
    test_check(&channels);
    test_cleanup(&channels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_empty),
            cmocka_unit_test(test_new_is_hot),
            cmocka_unit_test(test_cool),
            cmocka_unit_test(test_each_gets_its_turn),
            cmocka_unit_test(test_find),
            cmocka_unit_test(test_received),
            cmocka_unit_test(test_heat_rx),
            cmocka_unit_test(test_record_at_either_place_makes_hot),
            cmocka_unit_test(test_message_in_the_turn_line_makes_hot),
            cmocka_unit_test(test_heat_all_looks_at_turn_lines),
            cmocka_unit_test(test_our_turn_makes_not_hot),
            cmocka_unit_test(test_turn_is_withheld_while_cold),
            cmocka_unit_test(test_heating_gives_no_turn),
            cmocka_unit_test(test_random)};

    return cmocka_run_group_tests_name("pollset", tests, NULL, NULL);
}
