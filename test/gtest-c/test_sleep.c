/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Sleeping and waking up, step by step: each moment between two steps at which
 * the other side can come. One process talks to itself.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test_side.h"

#include <uct/xshm/platform/local/local_wake.h>
#include <uct/xshm/service/barrier.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>


#define TEST_SIZE      100
#define TEST_WAIT_MSEC 60000
#define TEST_NUM_RACES 3000
#define TEST_MAX_GAP   3000 /* Turns of an empty loop between two messages */
#define TEST_PERIOD    256  /* Messages, of which the first awaits a sleep */
#define TEST_NUM_FLOOD 200


static struct {
    xshm_test_side_t side;
    xshm_tx_t       *tx;
    xshm_rx_t       *rx;
    unsigned         sent;
    unsigned         received;
    unsigned         num_slept;
    unsigned asleep_at; /* Messages until it fell asleep, and one; else 0 */
    int      is_over;
} test;


static void test_open(void)
{
    memset(&test, 0, sizeof(test));
    xshm_test_side_open(&test.side);
    assert_int_equal(xshm_mailbox_open_signal(test.side.mailbox), UCS_OK);
    assert_int_equal(xshm_mailbox_open_wake(test.side.mailbox), UCS_OK);
    test.tx = xshm_test_tx_open(&test.side, &test.side.mailbox->addr);
    xshm_test_side_wait(&test.side, (test.side.num_rx == 1) &&
                                            (test.side.num_accepted == 1));
    test.rx = test.side.rx[0];
}

static void test_close(void)
{
    xshm_tx_close(test.tx);
    xshm_test_side_close(&test.side);
}

/* Was there a notification? */
static int test_was_woken(void)
{
    return test.side.platform->ops->wake_drain(test.side.mailbox->wake);
}

static int test_wake_fd(void)
{
    return test.side.platform->ops->wake_fd(test.side.mailbox->wake);
}

static void test_send(void)
{
    xshm_test_tx_send(test.tx, TEST_SIZE, test.sent++);
}

static int test_receive(void)
{
    int is_there = xshm_test_rx_receive(test.rx, TEST_SIZE, test.received);

    test.received += is_there;
    return is_there;
}

static void test_receive_all(void)
{
    while (test_receive()) {
    }
}

static void test_ask(xshm_sleeper_t *sleeper)
{
    xshm_sleeper_ask(sleeper);
    xshm_test_wait(xshm_sleep_is_acked(&sleeper->sleep));
}

static void test_sleep(xshm_sleeper_t *sleeper)
{
    xshm_sleep_begin(&sleeper->sleep);
    xshm_sleep_fence();
}

static void test_who_polls_pays_nothing(void **state)
{
    (void)state;

    test_open();
    test_send();
    assert_true(test_receive());
    if (xshm_barrier_is_available()) {
        assert_null(test.tx->ring.hook);
        assert_null(test.rx->ring.hook);
    }
    assert_false(xshm_sleep_is_acked(&test.rx->sleeper.sleep));

    /* Asleep, but it has not asked */
    test_sleep(&test.rx->sleeper);
    test_send();
    assert_false(test_was_woken());
    test_receive_all();
    test_close();
}

static void test_wakes_for_message(void **state)
{
    unsigned i;

    (void)state;

    test_open();
    test_ask(&test.rx->sleeper);
    for (i = 0; i < 3; ++i) {
        test_sleep(&test.rx->sleeper);
        assert_true(xshm_ring_rx_is_empty(&test.rx->ring));
        assert_false(test_was_woken());
        test_send();
        assert_true(test_was_woken());

        /* Once for each time that it sleeps */
        test_send();
        assert_false(test_was_woken());
        test_receive_all();
    }
    assert_int_equal(test.tx->sleeper.num_notified, 3);
    test_close();
}

static void test_comes_before_look(void **state)
{
    (void)state;

    test_open();
    test_ask(&test.rx->sleeper);

    /* Before SLEEP */
    test_send();
    test_sleep(&test.rx->sleeper);
    assert_false(test_was_woken());
    assert_false(xshm_ring_rx_is_empty(&test.rx->ring));
    xshm_sleep_end(&test.rx->sleeper.sleep);
    test_receive_all();

    /* Between SLEEP and LOOK_AGAIN */
    test_sleep(&test.rx->sleeper);
    test_send();
    assert_false(xshm_ring_rx_is_empty(&test.rx->ring));
    assert_true(test_was_woken());
    test_receive_all();

    /* After waking up: the last state is stale, and served */
    test_sleep(&test.rx->sleeper);
    assert_true(xshm_ring_rx_is_empty(&test.rx->ring));
    test_send();
    assert_true(test_was_woken());
    test_close();
}

static void test_awake_is_left_alone(void **state)
{
    (void)state;

    test_open();
    test_ask(&test.rx->sleeper);
    test_sleep(&test.rx->sleeper);
    xshm_sleep_end(&test.rx->sleeper.sleep);
    test_send();
    assert_false(test_was_woken());
    assert_int_equal(test.tx->sleeper.num_notified, 0);
    test_close();
}

static void test_fill(void)
{
    while (xshm_ring_tx_can_reserve(&test.tx->ring,
                                    xshm_ring_lines(TEST_SIZE))) {
        test_send();
    }
}

static void test_wakes_for_room(void **state)
{
    (void)state;

    test_open();
    test_ask(&test.tx->sleeper);
    test_fill();
    test_sleep(&test.tx->sleeper);
    assert_false(xshm_ring_tx_can_reserve(&test.tx->ring,
                                          xshm_ring_lines(TEST_SIZE)));
    test_receive_all();
    assert_true(test_was_woken());
    assert_int_equal(test.rx->sleeper.num_notified, 1);
    assert_true(xshm_ring_tx_can_reserve(&test.tx->ring,
                                         xshm_ring_lines(TEST_SIZE)));

    /* Room between SLEEP and LOOK_AGAIN */
    test_fill();
    test_sleep(&test.tx->sleeper);
    test_receive_all();
    assert_true(xshm_ring_tx_can_reserve(&test.tx->ring,
                                         xshm_ring_lines(TEST_SIZE)));
    test_close();
}

/* Who goes to sleep gives back all that it has consumed: the other side may
 * wait for that */
static void test_sleeper_gives_back(void **state)
{
    (void)state;

    test_open();
    test_ask(&test.tx->sleeper);
    test_sleep(&test.tx->sleeper);
    test_send();
    assert_true(test_receive());
    assert_false(test_was_woken());
    assert_true(xshm_ring_rx_is_empty(&test.rx->ring));
    assert_true(test_was_woken());
    test_close();
}

static void test_leaves_and_asks_again(void **state)
{
    xshm_sleeper_t *sleeper;
    uint32_t        wants;
    unsigned        i;

    (void)state;

    test_open();
    sleeper = &test.rx->sleeper;
    for (i = 0; i < 10; ++i) {
        test_ask(sleeper);
        wants = sleeper->sleep.wants;
        xshm_sleeper_leave(sleeper);
        assert_false(xshm_sleep_is_acked(&sleeper->sleep));
        xshm_test_wait(!xshm_barrier_is_available() ||
                       (__atomic_load_n(&test.tx->ring.hook,
                                        __ATOMIC_ACQUIRE) == NULL));

        /* An acknowledgement of the last time is none */
        xshm_sleep_want(&sleeper->sleep, wants + 1);
        assert_false(xshm_sleep_is_acked(&sleeper->sleep));
        xshm_sleep_want(&sleeper->sleep, 0);
    }

    test_ask(sleeper);
    test_sleep(sleeper);
    test_send();
    assert_true(test_was_woken());
    test_close();
}

/* Messages about it that come faster than they are handled */
static void test_many_wishes(void **state)
{
    unsigned i;

    (void)state;

    test_open();
    for (i = 0; i < TEST_NUM_FLOOD; ++i) {
        xshm_sleeper_ask(&test.rx->sleeper);
        xshm_sleeper_leave(&test.rx->sleeper);
    }
    test_ask(&test.rx->sleeper);
    test_sleep(&test.rx->sleeper);
    test_send();
    assert_true(test_was_woken());
    test_close();
}

static int test_is_over(void)
{
    return __atomic_load_n(&test.is_over, __ATOMIC_ACQUIRE);
}

/* With all received: left to itself, a sender on a slow machine may come before
 * each sleep, and one that went on anyhow would wake who was not woken */
static void test_await_sleep(void)
{
    while ((__atomic_load_n(&test.asleep_at, __ATOMIC_ACQUIRE) !=
            test.sent + 1) &&
           !test_is_over()) {
        sched_yield();
    }
}

/* Sends at random times, while the receiver begins and ends to ask */
static void *test_sender(void *arg)
{
    xshm_test_random_t random;
    unsigned           gap;
    unsigned           i;

    (void)arg;

    xshm_test_random_init(&random);
    for (i = 0; !test_is_over(); ++i) {
        if (i % TEST_PERIOD == 0) {
            test_await_sleep();
        }
        for (gap = xshm_test_random_below(&random, TEST_MAX_GAP); gap > 0;
             --gap) {
            __asm__ volatile("");
        }
        if (xshm_ring_tx_can_reserve(&test.tx->ring,
                                     xshm_ring_lines(TEST_SIZE))) {
            test_send();
        }
    }
    return NULL;
}

static void test_sleep_for_message(void)
{
    struct pollfd pollfd = {.fd = test_wake_fd(), .events = POLLIN};

    (void)test_was_woken();
    test_sleep(&test.rx->sleeper);
    if (!xshm_sleep_is_acked(&test.rx->sleeper.sleep) ||
        !xshm_ring_rx_is_empty(&test.rx->ring)) {
        return;
    }

    ++test.num_slept;
    __atomic_store_n(&test.asleep_at, test.received + 1, __ATOMIC_RELEASE);
    xshm_test_check(poll(&pollfd, 1, TEST_WAIT_MSEC) == 1);
    __atomic_store_n(&test.asleep_at, 0, __ATOMIC_RELEASE);
}

static void test_asks_while_sending(void **state)
{
    pthread_t thread;
    unsigned  i;

    (void)state;

    test_open();
    assert_int_equal(pthread_create(&thread, NULL, test_sender, NULL), 0);
    for (i = 0; i < xshm_test_scale(TEST_NUM_RACES); ++i) {
        xshm_sleeper_ask(&test.rx->sleeper);
        /* Until the hook is there, and a little longer */
        do {
            test_sleep_for_message();
            test_receive_all();
        } while (!xshm_sleep_is_acked(&test.rx->sleeper.sleep));
        test_sleep_for_message();
        test_receive_all();
        xshm_sleeper_leave(&test.rx->sleeper);
    }

    __atomic_store_n(&test.is_over, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_true(test.num_slept > 0);
    test_close();
}

static void test_service_signals(void **state)
{
    xshm_mailbox_t *mailbox;
    struct pollfd   pollfd = {.events = POLLIN};
    xshm_tx_t      *tx;

    (void)state;

    test_open();
    mailbox   = test.side.mailbox;
    pollfd.fd = mailbox->signal_fd;
    assert_true(xshm_mailbox_arm(mailbox));
    assert_int_equal(poll(&pollfd, 1, 0), 0);

    /* A request, and its acceptance */
    tx = xshm_test_tx_open(&test.side, &mailbox->addr);
    assert_int_equal(poll(&pollfd, 1, TEST_WAIT_MSEC), 1);
    assert_false(xshm_mailbox_arm(mailbox));
    xshm_test_side_wait(&test.side, (test.side.num_rx == 2) &&
                                            (test.side.num_accepted == 2));
    xshm_mailbox_disarm(mailbox);
    assert_true(xshm_mailbox_arm(mailbox));
    assert_int_equal(poll(&pollfd, 1, 0), 0);

    /* Its end */
    xshm_test_side_release(&test.side, 1);
    assert_int_equal(poll(&pollfd, 1, TEST_WAIT_MSEC), 1);
    xshm_test_side_wait(&test.side, test.side.num_tx_gone == 1);
    xshm_tx_close(tx);

    /* Readable for whoever wants it */
    xshm_mailbox_signal(mailbox);
    assert_int_equal(poll(&pollfd, 1, 0), 1);
    test_close();
}

/* What a peer sends to be woken by must be a socket for it, and cannot block us:
 * its flags are the peer's, too */
static void test_bell_is_checked(void **state)
{
    UCS_LIST_HEAD(bells);
    const char         byte = 0;
    xshm_local_bell_t *bell;
    int                fds[2], pipe_fd;

    (void)state;

    assert_int_equal(pipe(fds), 0);
    pipe_fd = fds[0];
    assert_null(xshm_local_bell_get(&bells, 1, fds));
    assert_int_equal(fds[0], pipe_fd);
    assert_int_equal(xshm_test_log_count("is no socket for it"), 1);
    close(fds[0]);
    close(fds[1]);

    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    while (send(fds[0], &byte, sizeof(byte), MSG_DONTWAIT) >= 0) {
    }
    bell = xshm_local_bell_get(&bells, 1, fds);
    assert_non_null(bell);
    assert_int_equal(fds[0], -1);
    xshm_local_bell_ring(bell);

    /* The same number is the same bell */
    assert_ptr_equal(xshm_local_bell_get(&bells, 1, fds), bell);
    xshm_local_bell_put(bell);

    /* The link ends first */
    xshm_local_bells_forget(&bells);
    assert_true(ucs_list_is_empty(&bells));
    xshm_local_bell_put(bell);
    close(fds[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_who_polls_pays_nothing),
            cmocka_unit_test(test_wakes_for_message),
            cmocka_unit_test(test_comes_before_look),
            cmocka_unit_test(test_awake_is_left_alone),
            cmocka_unit_test(test_wakes_for_room),
            cmocka_unit_test(test_sleeper_gives_back),
            cmocka_unit_test(test_leaves_and_asks_again),
            cmocka_unit_test(test_many_wishes),
            cmocka_unit_test(test_asks_while_sending),
            cmocka_unit_test(test_service_signals),
            cmocka_unit_test(test_bell_is_checked)};

    xshm_test_log_start();
    return xshm_test_run_on_devices("sleep", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
