/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The two channels of a pair, and the turn line that they share: how they find
 * each other, and what becomes of the line when one of them ends. Both sides are
 * in this process. Side 0 has the lower address.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test_side.h"

#include <uct/xshm/channel/pair.h>

#include <string.h>


#define TEST_NUM_TURNS  200
#define TEST_NUM_CYCLES 100
#define TEST_SIZE       40

/* A domain that is not that of the tests */
#define TEST_OTHER_DOMAIN 7

/* Lines that a consumer cannot have given back */
#define TEST_BAD_COUNT 1000


/* Where the turn is */
typedef enum {
    TEST_AT_0,
    TEST_AT_1,
    TEST_ON_ITS_WAY_TO_0,
    TEST_ON_ITS_WAY_TO_1,
    TEST_NUM_PLACES
} test_place_t;

typedef struct test_pair {
    xshm_test_side_t side[2];
    xshm_tx_t       *tx[2]; /* From this side to the other, or NULL */
    xshm_rx_t       *rx[2]; /* On this side */
    uint64_t         num_sent[2];
    uint64_t         num_received[2];
    unsigned         start_fds;
    unsigned         start_maps;
    unsigned         maps; /* Without any channel */
} test_pair_t;


static void test_wait_for_maps(unsigned count)
{
    xshm_test_wait(xshm_test_count_shared_maps() == count);
}

static void test_open_sides(test_pair_t *pair)
{
    unsigned i;

    memset(pair, 0, sizeof(*pair));
    pair->start_fds  = xshm_test_count_fds();
    pair->start_maps = xshm_test_count_shared_maps();
    for (i = 0; i < 2; ++i) {
        xshm_test_side_open(&pair->side[i]);
    }
    pair->maps = xshm_test_count_shared_maps();
    assert_true(pair->side[0].mailbox->addr.iface <
                pair->side[1].mailbox->addr.iface);
}

/* Open the channel from one side to the other, and wait for both its ends */
static void test_connect(test_pair_t *pair, unsigned from)
{
    xshm_test_side_t *sender   = &pair->side[from];
    xshm_test_side_t *receiver = &pair->side[!from];
    unsigned          accepted = sender->num_accepted + 1;
    unsigned          num_rx   = receiver->num_rx + 1;

    pair->tx[from] = xshm_test_tx_open(sender, &receiver->mailbox->addr);
    xshm_test_side_wait(sender, sender->num_accepted == accepted);
    xshm_test_side_wait(receiver, receiver->num_rx == num_rx);
    pair->rx[!from]           = receiver->rx[num_rx - 1];
    pair->num_sent[from]      = 0;
    pair->num_received[!from] = 0;
}

static void test_open(test_pair_t *pair)
{
    test_open_sides(pair);
    test_connect(pair, 0);
    test_connect(pair, 1);
}

static void test_release(test_pair_t *pair, unsigned side)
{
    unsigned i;

    for (i = 0; pair->side[side].rx[i] != pair->rx[side]; ++i) {
        assert_true(i < pair->side[side].num_rx);
    }
    xshm_test_side_release(&pair->side[side], i);
    pair->rx[side] = NULL;
}

static void test_close(test_pair_t *pair, unsigned from)
{
    xshm_tx_close(pair->tx[from]);
    pair->tx[from] = NULL;
}

/* This side has read all, up to the end */
static void test_read_end(test_pair_t *pair, unsigned side)
{
    assert_true(xshm_test_rx_is_closed(pair->rx[side]));
    test_release(pair, side);
}

/* All memory of the channels is freed while the service runs on, and then there
 * is nothing left at all */
static void test_end(test_pair_t *pair)
{
    unsigned i;

    for (i = 0; i < 2; ++i) {
        if (pair->tx[i] != NULL) {
            test_close(pair, i);
        }
        if (pair->rx[i] != NULL) {
            test_release(pair, i);
        }
    }
    test_wait_for_maps(pair->maps);
    xshm_test_side_leave(&pair->side[1]);
    xshm_test_side_close(&pair->side[0]);
    test_wait_for_maps(pair->start_maps);
    xshm_test_wait(xshm_test_count_fds() <= pair->start_fds);
}

/* As the interface does when it has both channels */
static void test_offer(test_pair_t *pair, unsigned side)
{
    assert_true(xshm_pair_is_claimed(pair->tx[side], pair->rx[side]));
    xshm_pair_offer(pair->tx[side], pair->rx[side]);
}

/* As the interface does with a TURN record. @return What joining returned. */
static int test_join(test_pair_t *pair, unsigned side)
{
    xshm_rx_t        *rx = pair->rx[side];
    xshm_tx_t        *tx = pair->tx[side];
    xshm_abi_record_t record;
    uint64_t          name;

    assert_int_equal(xshm_ring_rx_peek(&rx->ring, &record), XSHM_RING_RECORD);
    assert_int_equal(record.type, XSHM_RECORD_TURN);
    memcpy(&name, xshm_ring_rx_payload(&rx->ring), sizeof(name));
    xshm_ring_rx_release_any(&rx->ring, record.size);
    if ((tx != NULL) && !xshm_pair_is_named(tx, rx, name)) {
        tx = NULL;
    }
    return xshm_pair_join(rx, tx);
}

static void test_meet(test_pair_t *pair)
{
    test_offer(pair, 0);
    assert_int_equal(test_join(pair, 1), 1);
}

static void test_pass(test_pair_t *pair, unsigned from)
{
    xshm_test_tx_pass(pair->tx[from], TEST_SIZE, pair->num_sent[from]++);
}

static void test_take(test_pair_t *pair, unsigned side)
{
    assert_true(xshm_test_rx_take(pair->rx[side], TEST_SIZE,
                                  pair->num_received[side]++));
}

static void test_send_by_ring(test_pair_t *pair, unsigned from)
{
    xshm_test_tx_send(pair->tx[from], TEST_SIZE, pair->num_sent[from]++);
    assert_true(xshm_test_rx_receive(pair->rx[!from], TEST_SIZE,
                                     pair->num_received[!from]++));
}

/* A message goes by the line, there and back, and nothing by the rings */
static void test_take_turns(test_pair_t *pair, unsigned count)
{
    const uint8_t *place[2] = {pair->tx[0]->ring.pos, pair->tx[1]->ring.pos};
    unsigned       i;

    for (i = 0; i < count; ++i) {
        test_pass(pair, 0);
        test_take(pair, 1);
        test_pass(pair, 1);
        test_take(pair, 0);
    }
    assert_ptr_equal(pair->tx[0]->ring.pos, place[0]);
    assert_ptr_equal(pair->tx[1]->ring.pos, place[1]);
}

/* The turn is at side 0 before */
static void test_bring_turn(test_pair_t *pair, test_place_t place)
{
    if (place != TEST_AT_0) {
        test_pass(pair, 0);
    }
    if ((place == TEST_AT_1) || (place == TEST_ON_ITS_WAY_TO_0)) {
        test_take(pair, 1);
    }
    if (place == TEST_ON_ITS_WAY_TO_0) {
        test_pass(pair, 1);
    }
}

static void test_receive_rest(test_pair_t *pair, test_place_t place)
{
    if (place == TEST_ON_ITS_WAY_TO_0) {
        test_take(pair, 0);
    } else if (place == TEST_ON_ITS_WAY_TO_1) {
        test_take(pair, 1);
    }
}

static test_pair_t test_pair;

static void test_lower_address_offers(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_offer(pair, 1);
    assert_null(pair->tx[1]->ring.turn_line);
    assert_int_equal(pair->tx[1]->ring.produced, 0);
    assert_true(xshm_ring_rx_is_empty(&pair->rx[0]->ring));

    test_offer(pair, 0);
    assert_ptr_equal(pair->tx[0]->ring.turn_line, &pair->tx[0]->turn);
    assert_true(xshm_turn_is_ours(&pair->tx[0]->ring));
    assert_int_equal(test_join(pair, 1), 1);
    assert_ptr_equal(pair->tx[1]->ring.turn_line, &pair->rx[1]->turn);
    assert_false(xshm_turn_is_ours(&pair->tx[1]->ring));
    test_take_turns(pair, TEST_NUM_TURNS);
    test_end(pair);
}

/* Once is enough: a second record would be a violation */
static void test_line_is_offered_once(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    test_offer(pair, 0);
    test_offer(pair, 1);
    assert_int_equal(pair->tx[0]->ring.num_fillers, 1);
    assert_int_equal(pair->tx[1]->ring.produced, 0);
    test_take_turns(pair, 1);
    test_end(pair);
}

static void test_line_is_not_offered_to_who_has_not_accepted(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open_sides(pair);
    test_connect(pair, 1);
    pair->tx[0] =
            xshm_test_tx_open(&pair->side[0], &pair->side[1].mailbox->addr);
    test_offer(pair, 0);
    assert_null(pair->tx[0]->ring.turn_line);
    assert_int_equal(pair->tx[0]->ring.produced, 0);

    xshm_test_side_wait(&pair->side[0], pair->side[0].num_accepted == 1);
    xshm_test_side_wait(&pair->side[1], pair->side[1].num_rx == 1);
    pair->rx[1] = pair->side[1].rx[0];
    test_meet(pair);
    test_take_turns(pair, 1);
    test_end(pair);
}

static void test_interface_to_itself_has_no_line(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open_sides(pair);
    pair->tx[0] =
            xshm_test_tx_open(&pair->side[0], &pair->side[0].mailbox->addr);
    xshm_test_side_wait(&pair->side[0], (pair->side[0].num_accepted == 1) &&
                                                (pair->side[0].num_rx == 1));
    pair->rx[0] = pair->side[0].rx[0];
    test_offer(pair, 0);
    assert_null(pair->tx[0]->ring.turn_line);
    assert_int_equal(pair->tx[0]->ring.produced, 0);
    test_end(pair);
}

/* A receiver that broke the rules gets nothing any more */
static void test_line_is_not_offered_after_a_violation(void **state)
{
    test_pair_t    *pair = &test_pair;
    xshm_ring_tx_t *ring;

    test_open(pair);
    ring                                                   = &pair->tx[0]->ring;
    ((xshm_abi_return_t *)pair->rx[1]->mem->ret)->consumed = 1;
    assert_false(xshm_ring_tx_can_reserve(ring, XSHM_TEST_RING_SIZE));
    assert_true(ring->violation);
    test_offer(pair, 0);
    assert_null(ring->turn_line);
    assert_int_equal(ring->produced, 0);
    assert_int_equal(ring->room, 0);
    test_end(pair);
}

/* The peer may still write by the line of a channel on which it broke the rules, and
 * the pollset may look there: so its memory stays as long */
static void test_memory_stays_after_a_violation(void **state)
{
    test_pair_t    *pair = &test_pair;
    xshm_tx_t      *second;
    xshm_rx_t      *rx;
    xshm_ring_tx_t *ring;

    test_open(pair);
    test_meet(pair);
    test_pass(pair, 0);
    test_take(pair, 1);
    rx                                                     = pair->rx[0];
    ring                                                   = &pair->tx[0]->ring;
    ((xshm_abi_return_t *)pair->rx[1]->mem->ret)->consumed = TEST_BAD_COUNT;
    xshm_ring_tx_take_back(ring);
    assert_true(ring->violation);

    test_pass(pair, 1);
    test_close(pair, 0);
    /* When this one is there, the service has been told of that */
    second = xshm_test_tx_open(&pair->side[0], &pair->side[1].mailbox->addr);
    xshm_test_side_wait(&pair->side[1], pair->side[1].num_rx == 2);
    assert_true(xshm_turn_is_shown(&rx->ring));
    test_take(pair, 0);
    assert_null(rx->ring.turn_line);
    xshm_test_side_release(&pair->side[1], 1);
    xshm_tx_close(second);
    test_end(pair);
}

/* Does a TURN record that comes to this side name its channel? */
static int test_is_named(const test_pair_t *pair, unsigned side, uint64_t name)
{
    return xshm_pair_is_named(pair->tx[side], pair->rx[side], name);
}

static void test_only_who_claims_it_is_taken_for_the_peer(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    assert_true(xshm_pair_is_claimed(pair->tx[0], pair->rx[0]));
    assert_true(xshm_pair_is_claimed(pair->tx[1], pair->rx[1]));
    assert_false(xshm_pair_is_claimed(pair->tx[0], pair->rx[1]));
    assert_false(xshm_pair_is_claimed(pair->tx[1], pair->rx[0]));
    pair->rx[0]->process ^= 1;
    assert_false(xshm_pair_is_claimed(pair->tx[0], pair->rx[0]));
    test_end(pair);
}

static void test_name_is_that_of_an_open_channel(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    assert_int_not_equal(pair->tx[0]->pair, pair->tx[1]->pair);
    assert_true(test_is_named(pair, 1, pair->rx[0]->pair));
    assert_false(test_is_named(pair, 1, pair->rx[1]->pair));
    /* That one is for us to offer */
    assert_false(test_is_named(pair, 0, pair->rx[1]->pair));
    xshm_tx_fail(pair->tx[1]);
    assert_false(test_is_named(pair, 1, pair->rx[0]->pair));
    test_end(pair);
}

/* Who learns a name is not who has it: neither is a line offered to another
 * domain than that which the channel comes from, nor is one joined that is in the
 * memory of another domain than that which the channel leads to */
static void test_other_domain_is_no_pair(void **state)
{
    test_pair_t *pair = &test_pair;
    unsigned     side;

    test_open(pair);
    for (side = 0; side < 2; ++side) {
        pair->rx[side]->domain = TEST_OTHER_DOMAIN;
        assert_false(xshm_pair_is_claimed(pair->tx[side], pair->rx[side]));
    }
    assert_false(xshm_pair_offer(pair->tx[0], pair->rx[0]));
    assert_null(pair->tx[0]->ring.turn_line);
    assert_int_equal(pair->tx[0]->ring.produced, 0);
    assert_false(test_is_named(pair, 1, pair->rx[0]->pair));
    test_end(pair);
}

/* What somebody else claims takes no line away from those who have one */
static void test_line_is_not_taken_away(void **state)
{
    test_pair_t *pair = &test_pair;
    xshm_tx_t   *second;

    test_open(pair);
    test_meet(pair);
    second = xshm_test_tx_open(&pair->side[0], &pair->side[1].mailbox->addr);
    xshm_test_side_wait(&pair->side[0], pair->side[0].num_accepted == 2);
    xshm_test_side_wait(&pair->side[1], pair->side[1].num_rx == 2);
    assert_int_equal(second->state, XSHM_TX_ACCEPTED);
    assert_false(xshm_pair_offer(second, pair->rx[0]));
    test_take_turns(pair, 2);
    xshm_test_side_release(&pair->side[1], 1);
    xshm_tx_close(second);
    test_end(pair);
}

/* Nothing of it comes back, and all else goes on */
static void test_wrong_name_joins_without_a_sender(void **state)
{
    test_pair_t *pair = &test_pair;
    unsigned     i;

    test_open(pair);
    pair->rx[0]->pair ^= 1;
    test_offer(pair, 0);
    assert_int_equal(test_join(pair, 1), 1);
    assert_null(pair->tx[1]->ring.turn_line);

    test_pass(pair, 0);
    test_take(pair, 1);
    assert_false(xshm_turn_is_ours(&pair->tx[1]->ring));
    for (i = 0; i < TEST_NUM_TURNS; ++i) {
        test_send_by_ring(pair, 0);
        test_send_by_ring(pair, 1);
    }
    test_end(pair);
}

static void test_joining_twice_is_refused(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    assert_int_equal(xshm_pair_join(pair->rx[1], pair->tx[1]), 0);
    assert_int_equal(xshm_pair_join(pair->rx[1], NULL), 0);
    /* Also on the side that has offered */
    assert_int_equal(xshm_pair_join(pair->rx[0], pair->tx[0]), 0);
    test_take_turns(pair, 1);
    test_end(pair);
}

/* A channel that has a line keeps it: another one that names it has no sender */
static void test_sender_with_a_line_joins_no_other(void **state)
{
    test_pair_t *pair = &test_pair;
    xshm_tx_t   *second;

    test_open(pair);
    test_meet(pair);
    second = xshm_test_tx_open(&pair->side[0], &pair->side[1].mailbox->addr);
    xshm_test_side_wait(&pair->side[1], pair->side[1].num_rx == 2);
    assert_int_equal(xshm_pair_join(pair->side[1].rx[1], pair->tx[1]), 1);
    assert_ptr_equal(pair->tx[1]->ring.turn_line, &pair->rx[1]->turn);
    test_take_turns(pair, 1);
    xshm_test_side_release(&pair->side[1], 1);
    test_take_turns(pair, 1);
    xshm_tx_close(second);
    test_end(pair);
}

/* A message of side 1 by its own line, which it may not have: as a peer does that
 * keeps to no rule */
static void test_forge_message(test_pair_t *pair)
{
    xshm_turn_t turn;

    xshm_turn_init(&turn, &((xshm_abi_return_t *)pair->tx[1]->mem->ret)->turn,
                   &pair->tx[1]->ring, NULL);
    xshm_turn_grab(&turn);
    test_pass(pair, 1);
    xshm_turn_leave_tx(&turn);
}

/* Somebody with two addresses lets a channel from the one join with ours to the
 * other, before ours to the one has been accepted. When that channel ends, none of
 * ours may still write into its memory. */
static void test_line_that_joins_others_is_left(void **state)
{
    test_pair_t *pair = &test_pair;
    xshm_tx_t   *third;

    test_open(pair);
    third = xshm_test_tx_open(&pair->side[0], &pair->side[1].mailbox->addr);
    xshm_test_side_wait(&pair->side[0], pair->side[0].num_accepted == 2);
    assert_int_equal(xshm_pair_join(pair->rx[0], third), 1);
    test_forge_message(pair);
    test_take(pair, 0);
    assert_true(xshm_turn_is_ours(&third->ring));

    test_offer(pair, 0);
    test_release(pair, 0);
    assert_false(xshm_turn_is_ours(&third->ring));
    assert_null(third->ring.turn_line);
    xshm_tx_close(third);
    xshm_test_side_wait(&pair->side[1], pair->side[1].num_rx == 2);
    xshm_test_side_release(&pair->side[1], 1);
    test_end(pair);
}

/* The last one by the line, which stays with a side that cannot answer */
static void test_last_word(test_pair_t *pair, unsigned from)
{
    if (xshm_turn_is_ours(&pair->tx[from]->ring)) {
        test_pass(pair, from);
        test_take(pair, !from);
        assert_false(xshm_turn_is_ours(&pair->tx[from]->ring));
    }
}

/* One side closes its channel, and the other one goes on for a while */
static void
test_close_one_by_one(test_pair_t *pair, unsigned first, test_place_t place)
{
    test_open(pair);
    test_meet(pair);
    test_take_turns(pair, 3);
    test_bring_turn(pair, place);
    test_close(pair, first);
    test_receive_rest(pair, place);
    test_read_end(pair, !first);

    test_send_by_ring(pair, !first);
    test_last_word(pair, !first);
    test_send_by_ring(pair, !first);
    test_close(pair, !first);
    test_read_end(pair, first);
    test_end(pair);
}

static void test_channels_end_one_by_one(void **state)
{
    test_place_t place;
    unsigned     first;

    for (first = 0; first < 2; ++first) {
        for (place = 0; place < TEST_NUM_PLACES; ++place) {
            test_close_one_by_one(&test_pair, first, place);
        }
    }
}

/* Both close before either looks */
static void test_channels_end_together(void **state)
{
    test_pair_t *pair = &test_pair;
    test_place_t place;

    for (place = 0; place < TEST_NUM_PLACES; ++place) {
        test_open(pair);
        test_meet(pair);
        test_bring_turn(pair, place);
        test_close(pair, 0);
        test_close(pair, 1);
        test_receive_rest(pair, place);
        test_read_end(pair, 0);
        test_read_end(pair, 1);
        test_end(pair);
    }
}

/* Nobody reads the end: the receiving ends are given back as they are */
static void test_channels_end_unread(void **state)
{
    test_pair_t *pair = &test_pair;
    test_place_t place;
    unsigned     first;

    for (first = 0; first < 2; ++first) {
        for (place = 0; place < TEST_NUM_PLACES; ++place) {
            test_open(pair);
            test_meet(pair);
            test_bring_turn(pair, place);
            test_release(pair, first);
            test_release(pair, !first);
            assert_false(xshm_turn_is_ours(&pair->tx[1]->ring));
            test_end(pair);
        }
    }
}

/* Side 0 has closed its channel, in whose memory the line is. Side 1 answers, and
 * gives that memory up. */
static void test_close_before_the_answer(test_pair_t *pair)
{
    xshm_tx_t *tx = pair->tx[0];

    test_bring_turn(pair, TEST_AT_1);
    test_close(pair, 0);
    test_pass(pair, 1);
    test_read_end(pair, 1);
    /* Nobody else needs it from here on */
    xshm_test_wait(__atomic_load_n(&tx->service.reason, __ATOMIC_ACQUIRE) !=
                   XSHM_REASON_NONE);
}

static void test_answer_comes_after_the_owner_has_closed(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    test_close_before_the_answer(pair);
    test_take(pair, 0);
    test_send_by_ring(pair, 1);
    test_end(pair);
}

/* The memory is there for as long as the other channel, and no longer */
static void test_unread_answer_is_freed(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    test_close_before_the_answer(pair);
    test_wait_for_maps(pair->maps + 6);
    test_release(pair, 0);
    test_wait_for_maps(pair->maps + 2);
    test_end(pair);
}

/* Nobody may write there any more: the other channel does not keep it */
static void test_memory_goes_with_our_turn(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    test_take_turns(pair, 1);
    test_close(pair, 0);
    test_read_end(pair, 1);
    test_wait_for_maps(pair->maps + 4);
    test_send_by_ring(pair, 1);
    test_end(pair);
}

static void test_reopened_pair_shares_a_line(void **state)
{
    test_pair_t *pair = &test_pair;
    unsigned     i;

    test_open(pair);
    test_meet(pair);
    for (i = 0; i < xshm_test_scale(TEST_NUM_CYCLES); ++i) {
        test_take_turns(pair, 2);
        test_close(pair, 0);
        test_read_end(pair, 1);
        test_connect(pair, 0);
        test_meet(pair);
    }
    test_take_turns(pair, 2);
    /* The other one's was never closed */
    test_wait_for_maps(pair->maps + 8);
    test_end(pair);
}

/* As long as it may still write into the old line, there is no new one */
static void test_new_line_comes_after_the_old_one(void **state)
{
    test_pair_t *pair = &test_pair;

    test_open(pair);
    test_meet(pair);
    test_close_before_the_answer(pair);
    test_connect(pair, 0);
    test_offer(pair, 0);
    assert_null(pair->tx[0]->ring.turn_line);

    test_take(pair, 0);
    test_meet(pair);
    test_take_turns(pair, 2);
    test_wait_for_maps(pair->maps + 8);
    test_end(pair);
}

/* Again and again, wherever the turn was in the end */
static void test_cycles_of_pairs(void **state)
{
    test_pair_t *pair = &test_pair;
    test_place_t place;
    unsigned     i;

    test_open_sides(pair);
    for (i = 0; i < xshm_test_scale(TEST_NUM_CYCLES); ++i) {
        place = i % TEST_NUM_PLACES;
        test_connect(pair, 0);
        test_connect(pair, 1);
        test_meet(pair);
        test_bring_turn(pair, place);
        test_close(pair, i % 2);
        test_receive_rest(pair, place);
        test_read_end(pair, !(i % 2));
        test_close(pair, !(i % 2));
        test_read_end(pair, i % 2);
    }
    test_end(pair);
}

/* One side of a pair between two processes; this side's part of it is number 0 */
static void test_open_to_process(test_pair_t *pair, int fd)
{
    xshm_iface_addr_t target;
    xshm_test_side_t *side = &pair->side[0];

    memset(pair, 0, sizeof(*pair));
    xshm_test_side_open(side);
    xshm_test_put(fd, &side->mailbox->addr, sizeof(side->mailbox->addr));
    xshm_test_get(fd, &target, sizeof(target));
    pair->tx[0] = xshm_test_tx_open(side, &target);
    xshm_test_side_wait(side, (side->num_accepted == 1) && (side->num_rx == 1));
    pair->rx[0] = side->rx[0];
    test_offer(pair, 0);
    if (pair->tx[0]->ring.turn_line == NULL) {
        xshm_test_wait(!xshm_ring_rx_is_empty(&pair->rx[0]->ring));
        xshm_test_check(test_join(pair, 0));
    }
}

/* It begins, or answers, and is killed then */
static void test_peer_passes(int fd, void *arg)
{
    test_pair_t *pair = &test_pair;

    test_open_to_process(pair, fd);
    if (!xshm_turn_is_ours(&pair->tx[0]->ring)) {
        xshm_test_wait(xshm_test_rx_take(pair->rx[0], TEST_SIZE, 0));
    }
    xshm_test_tx_pass(pair->tx[0], TEST_SIZE, 1);
    xshm_test_signal(fd);
    xshm_test_await(fd);
}

static void test_message_of_a_dead_peer_comes(void **state)
{
    test_pair_t     *pair = &test_pair;
    unsigned         maps = xshm_test_count_shared_maps();
    xshm_test_peer_t peer;

    xshm_test_peer_start(&peer, test_peer_passes, NULL);
    test_open_to_process(pair, peer.fd);
    if (xshm_turn_is_ours(&pair->tx[0]->ring)) {
        xshm_test_tx_pass(pair->tx[0], TEST_SIZE, 0);
    }
    xshm_test_await(peer.fd);
    xshm_test_peer_kill(&peer);
    xshm_test_side_wait(&pair->side[0],
                        (pair->side[0].num_tx_gone == 1) &&
                                (pair->side[0].num_rx_gone == 1));
    /* The user may learn of the end first, and close */
    test_close(pair, 0);
    assert_true(xshm_test_rx_take(pair->rx[0], TEST_SIZE, 1));
    xshm_test_side_close(&pair->side[0]);
    test_wait_for_maps(maps);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_lower_address_offers),
            cmocka_unit_test(test_line_is_offered_once),
            cmocka_unit_test(test_line_is_not_offered_to_who_has_not_accepted),
            cmocka_unit_test(test_line_is_not_offered_after_a_violation),
            cmocka_unit_test(test_memory_stays_after_a_violation),
            cmocka_unit_test(test_interface_to_itself_has_no_line),
            cmocka_unit_test(test_only_who_claims_it_is_taken_for_the_peer),
            cmocka_unit_test(test_name_is_that_of_an_open_channel),
            cmocka_unit_test(test_other_domain_is_no_pair),
            cmocka_unit_test(test_line_is_not_taken_away),
            cmocka_unit_test(test_wrong_name_joins_without_a_sender),
            cmocka_unit_test(test_joining_twice_is_refused),
            cmocka_unit_test(test_sender_with_a_line_joins_no_other),
            cmocka_unit_test(test_line_that_joins_others_is_left),
            cmocka_unit_test(test_channels_end_one_by_one),
            cmocka_unit_test(test_channels_end_together),
            cmocka_unit_test(test_channels_end_unread),
            cmocka_unit_test(test_answer_comes_after_the_owner_has_closed),
            cmocka_unit_test(test_unread_answer_is_freed),
            cmocka_unit_test(test_memory_goes_with_our_turn),
            cmocka_unit_test(test_reopened_pair_shares_a_line),
            cmocka_unit_test(test_new_line_comes_after_the_old_one),
            cmocka_unit_test(test_cycles_of_pairs),
            cmocka_unit_test(test_message_of_a_dead_peer_comes)};

    xshm_test_log_start();
    xshm_test_reset = xshm_service_stop;
    return xshm_test_run_on_devices("pair", tests, XSHM_TEST_ARRAY_SIZE(tests));
}
