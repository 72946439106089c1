/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * When to look for the next message, with a clock of the test's own.
 */

#include "test_util.h"

#include <ucs/sys/math.h>
#include <uct/xshm/base/pace.h>


/* In ticks */
#define TEST_MAX_WAIT 500u
#define TEST_CALL     10u /* A call of progress takes so long */

#define TEST_MAX_POLL 16u
#define TEST_MESSAGES 5000u


typedef struct test_clock {
    xshm_pace_t pace;
    ucs_time_t  now;
    unsigned    num_idle;  /* Calls in a row without a message */
    unsigned    num_vain;  /* Looks in vain */
    unsigned    max_taken; /* Most that one look would have taken */
} test_clock_t;


static void test_clock_init(test_clock_t *clock, ucs_time_t max_wait)
{
    memset(clock, 0, sizeof(*clock));
    clock->now = 1000;
    xshm_pace_init(&clock->pace, max_wait);
}

/* A call of progress: @a is_there messages could be found.
 * @return How many were. */
static unsigned test_call(test_clock_t *clock, unsigned num_there)
{
    unsigned limit = xshm_pace_limit(&clock->pace, TEST_MAX_POLL);
    unsigned count;

    clock->now += TEST_CALL;
    if (!xshm_pace_is_now(&clock->pace) &&
        !xshm_pace_is_due_at(&clock->pace, clock->now)) {
        ++clock->num_idle;
        return 0;
    }

    count            = ucs_min(num_there, limit);
    clock->max_taken = ucs_max(clock->max_taken, count);
    clock->num_vain += (count == 0);
    xshm_pace_looked(&clock->pace, count, 1, clock->num_idle);
    clock->num_idle = (count > 0) ? 0 : (clock->num_idle + 1);
    return count;
}

/* One message @a later ticks from now. @return Ticks that it lay there. */
static ucs_time_t test_message(test_clock_t *clock, ucs_time_t later)
{
    ucs_time_t there = clock->now + later;

    while (test_call(clock, clock->now + TEST_CALL >= there) == 0) {
        assert_true(clock->now < there + (2 * TEST_MAX_WAIT));
    }

    return clock->now - there;
}

static void test_answers(test_clock_t *clock, ucs_time_t later, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        test_message(clock, later);
    }
}

/* The time is learned, whatever it is: few looks are in vain, and messages do
 * not lie there for long */
static void test_learns(void **state)
{
    static const ucs_time_t later[] = {50, 200, 450, 100};
    test_clock_t            clock;
    ucs_time_t              late;
    unsigned                i, j;

    test_clock_init(&clock, TEST_MAX_WAIT);
    for (i = 0; i < ucs_static_array_size(later); ++i) {
        test_answers(&clock, later[i], TEST_MESSAGES);
        assert_true(clock.pace.num_alone > XSHM_PACE_ALONE);

        clock.num_vain = 0;
        late           = 0;
        for (j = 0; j < TEST_MESSAGES; ++j) {
            late += test_message(&clock, later[i]);
        }
        assert_true(clock.num_vain < TEST_MESSAGES);
        assert_true(late < (ucs_time_t)TEST_MESSAGES * 3 * TEST_CALL);
    }
}

/* Later than the longest wait: it is not exceeded */
static void test_is_bounded(void **state)
{
    test_clock_t clock;
    unsigned     num_calls = 0;

    test_clock_init(&clock, TEST_MAX_WAIT);
    test_answers(&clock, 2 * TEST_MAX_WAIT, TEST_MESSAGES);
    assert_true(clock.pace.wait <=
                ((ucs_time_t)TEST_MAX_WAIT << XSHM_PACE_SHIFT));

    /* A message that is there at once */
    while (test_call(&clock, 1) == 0) {
        ++num_calls;
    }
    assert_true(num_calls <= (TEST_MAX_WAIT / TEST_CALL) + 1);
}

/* Where messages come together, all are taken, and no call waits */
static void test_streams_do_not_wait(void **state)
{
    test_clock_t clock;
    unsigned     i;

    test_clock_init(&clock, TEST_MAX_WAIT);
    test_answers(&clock, 200, TEST_MESSAGES);
    clock.max_taken = 0;
    for (i = 0; (i < 2 * XSHM_PACE_LOOK_BEHIND) && (clock.max_taken <= 1);) {
        i += test_call(&clock, TEST_MAX_POLL) > 0;
    }

    assert_int_equal(clock.max_taken, TEST_MAX_POLL);
    for (i = 0; i < TEST_MESSAGES; ++i) {
        assert_int_equal(test_call(&clock, TEST_MAX_POLL), TEST_MAX_POLL);
    }
}

/* Messages that come long after each other are no answers */
static void test_rare_ones_do_not_wait(void **state)
{
    test_clock_t clock;
    unsigned     i, j;

    test_clock_init(&clock, TEST_MAX_WAIT);
    test_answers(&clock, 200, TEST_MESSAGES);
    for (i = 0; i < 2 * XSHM_PACE_ALONE; ++i) {
        for (j = 0; j < 2 * XSHM_PACE_MAX_VAIN; ++j) {
            assert_int_equal(test_call(&clock, 0), 0);
        }
        assert_int_equal(test_call(&clock, 1), 1);
        assert_int_equal(clock.pace.state, XSHM_PACE_NOW);
    }
}

/* Who has given up the processor meanwhile has waited for long, however few calls
 * it was since */
static void test_none_after_yielding(void **state)
{
    test_clock_t clock;
    unsigned     i;

    test_clock_init(&clock, TEST_MAX_WAIT);
    test_answers(&clock, 200, TEST_MESSAGES);
    for (i = 0; i < 2 * XSHM_PACE_ALONE; ++i) {
        xshm_pace_forget(&clock.pace);
        assert_int_equal(clock.pace.state, XSHM_PACE_NOW);
        assert_int_equal(test_call(&clock, 1), 1);
        assert_int_equal(clock.pace.state, XSHM_PACE_NOW);
    }
}

/* Several channels at once have no common pace */
static void test_takes_one_channel(void **state)
{
    xshm_pace_t pace;
    unsigned    i;

    xshm_pace_init(&pace, TEST_MAX_WAIT);
    for (i = 0; i < 2 * XSHM_PACE_ALONE; ++i) {
        xshm_pace_looked(&pace, 1, 2, 0);
        assert_int_equal(pace.state, XSHM_PACE_NOW);
    }
}

static void test_can_be_switched_off(void **state)
{
    test_clock_t clock;

    test_clock_init(&clock, 0);
    test_answers(&clock, 200, TEST_MESSAGES);
    assert_int_equal(clock.pace.state, XSHM_PACE_NOW);
    assert_int_equal(xshm_pace_limit(&clock.pace, TEST_MAX_POLL),
                     TEST_MAX_POLL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_learns),
            cmocka_unit_test(test_is_bounded),
            cmocka_unit_test(test_streams_do_not_wait),
            cmocka_unit_test(test_rare_ones_do_not_wait),
            cmocka_unit_test(test_none_after_yielding),
            cmocka_unit_test(test_takes_one_channel),
            cmocka_unit_test(test_can_be_switched_off)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
