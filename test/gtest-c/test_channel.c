/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Channels between processes: set-up, refusal, death, and what is left behind.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test_side.h"

#include <uct/xshm/platform/fdset.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>


#define TEST_NUM_MESSAGES 40
#define TEST_NUM_CYCLES   300
#define TEST_NUM_CHANNELS 300
#define TEST_MESSAGE_SIZE 150
#define TEST_NUM_PIPES    16

/* How long a process stays without descriptors, and how many lines it may write
 * about that: some, but not one each time that it tries */
#define TEST_OUT_OF_FDS_USEC 300000
#define TEST_OUT_OF_FDS_LOG  10


/* What a process has open before it uses the transport */
typedef struct test_usage {
    unsigned fds;
    unsigned maps;
} test_usage_t;


static test_usage_t test_usage(void)
{
    test_usage_t usage = {xshm_test_count_fds(), xshm_test_count_shared_maps()};

    return usage;
}

/* Memory is freed by the service, a little later */
static void test_usage_returns(const test_usage_t *start)
{
    xshm_test_wait((xshm_test_count_fds() <= start->fds) &&
                   (xshm_test_count_shared_maps() <= start->maps));
}

static void test_side_start(xshm_test_side_t *side, test_usage_t *usage)
{
    *usage = test_usage();
    xshm_test_side_open(side);
}

static void test_side_end(xshm_test_side_t *side, const test_usage_t *usage)
{
    xshm_test_side_close(side);
    test_usage_returns(usage);
}

static void test_receive_all(xshm_rx_t *rx, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        xshm_test_wait(xshm_test_rx_receive(rx, TEST_MESSAGE_SIZE, i));
    }
}

static void test_send_all(xshm_tx_t *tx, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; ++i) {
        xshm_test_tx_send(tx, TEST_MESSAGE_SIZE, i);
    }
}

/* The other process: waits for an address, and sends to it. More of it is in
 * the tests. */
typedef struct test_sender {
    xshm_test_side_t side;
    xshm_tx_t       *tx;
} test_sender_t;

static void test_sender_start(test_sender_t *sender, int fd)
{
    xshm_iface_addr_t target;

    xshm_test_side_open(&sender->side);
    xshm_test_get(fd, &target, sizeof(target));
    sender->tx = xshm_test_tx_open(&sender->side, &target);
}

/* Filled before anybody has answered, then an orderly end */
static void test_peer_send_and_exit(int fd, void *arg)
{
    test_sender_t sender;

    test_sender_start(&sender, fd);
    test_send_all(sender.tx, TEST_NUM_MESSAGES);
    xshm_tx_close(sender.tx);
    xshm_test_side_close(&sender.side);
}

static void test_messages(void **state)
{
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;

    xshm_test_peer_start(&peer, test_peer_send_and_exit, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));

    xshm_test_side_wait(&side, side.num_rx == 1);
    test_receive_all(side.rx[0], TEST_NUM_MESSAGES);
    xshm_test_wait(xshm_test_rx_is_closed(side.rx[0]));

    test_side_end(&side, &usage);
    xshm_test_peer_join(&peer);
}

/* The sender has long gone when the receiver looks for the first time */
static void test_late_receiver(void **state)
{
    unsigned         fds = xshm_test_count_fds();
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;

    xshm_test_peer_start(&peer, test_peer_send_and_exit, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));
    xshm_test_peer_join(&peer);
    usage.fds = fds;

    xshm_test_side_wait(&side, side.num_rx_gone == 1);
    assert_int_equal(side.num_rx, 1);
    test_receive_all(side.rx[0], TEST_NUM_MESSAGES);
    xshm_test_wait(xshm_test_rx_is_closed(side.rx[0]));
    test_side_end(&side, &usage);
}

/* To the same process and back: what is opened is closed, again and again */
static void test_cycles(void **state)
{
    unsigned         num_cycles = xshm_test_scale(TEST_NUM_CYCLES);
    test_usage_t     usage, open_usage;
    xshm_test_side_t side;
    xshm_tx_t       *tx;
    unsigned         i;

    test_side_start(&side, &usage);
    open_usage = test_usage();
    for (i = 0; i < num_cycles; ++i) {
        tx = xshm_test_tx_open(&side, &side.mailbox->addr);
        xshm_test_tx_send(tx, 1, i);
        xshm_test_side_wait(&side, (side.num_rx == 1) &&
                                           (tx->state == XSHM_TX_ACCEPTED));
        assert_true(xshm_test_rx_receive(side.rx[0], 1, i));
        xshm_tx_close(tx);
        xshm_test_wait(xshm_test_rx_is_closed(side.rx[0]));
        xshm_test_side_release(&side, 0);
        side.num_rx = 0;
    }

    /* One socket to oneself, of two ends, may be kept */
    xshm_test_wait(xshm_test_count_shared_maps() == open_usage.maps);
    xshm_test_wait(xshm_test_count_fds() <= open_usage.fds + 2);
    test_side_end(&side, &usage);
}

/* A request that nobody takes: the sender learns of it, and can be closed */
static void test_is_refused(xshm_test_side_t        *side,
                            const xshm_iface_addr_t *target,
                            xshm_reason_t            reason)
{
    unsigned   num_gone = side->num_tx_gone;
    xshm_tx_t *tx;

    tx = xshm_test_tx_open(side, target);
    test_send_all(tx, 3);
    xshm_test_side_wait(side, side->num_tx_gone == num_gone + 1);
    assert_int_equal(tx->service.reason, reason);
    assert_int_equal(tx->state, XSHM_TX_FAILED);
    assert_int_equal(side->num_accepted, 0);
    assert_int_equal(side->num_rx, 0);
    xshm_tx_close(tx);
}

static void test_wrong_token(void **state)
{
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    test_usage_t      usage;
    unsigned          i;

    test_side_start(&side, &usage);
    for (i = 0; i < XSHM_ABI_TOKEN_SIZE; ++i) {
        target = side.mailbox->addr;
        target.token[i] ^= 1u << (i % 8);
        test_is_refused(&side, &target, XSHM_REASON_UNKNOWN);
        assert_int_equal(side.mailbox->num_refused, i + 1);
    }
    test_side_end(&side, &usage);
}

static void test_unknown_iface(void **state)
{
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    test_usage_t      usage;

    test_side_start(&side, &usage);
    target = side.mailbox->addr;
    target.iface += 1;
    test_is_refused(&side, &target, XSHM_REASON_UNKNOWN);
    test_side_end(&side, &usage);
}

static void test_closed_iface(void **state)
{
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    xshm_mailbox_t   *other;
    test_usage_t      usage;

    test_side_start(&side, &usage);
    assert_int_equal(xshm_mailbox_create(side.platform, NULL, &other), UCS_OK);
    target = other->addr;
    assert_true(xshm_mailbox_close(other, 1));
    xshm_mailbox_put(other);
    test_is_refused(&side, &target, XSHM_REASON_UNKNOWN);
    test_side_end(&side, &usage);
}

static void test_no_process(void **state)
{
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    test_usage_t      usage;

    test_side_start(&side, &usage);
    target = side.mailbox->addr;
    target.process ^= 1;
    test_is_refused(&side, &target, XSHM_REASON_GONE);
    test_side_end(&side, &usage);
}

/* Both directions between two processes, until something ends it */
static void test_peer_both_ways(int fd, void *arg)
{
    test_sender_t sender;

    test_sender_start(&sender, fd);
    xshm_test_put(fd, &sender.side.mailbox->addr,
                  sizeof(sender.side.mailbox->addr));
    test_send_all(sender.tx, TEST_NUM_MESSAGES);
    xshm_test_side_wait(&sender.side, (sender.side.num_accepted == 1) &&
                                              (sender.side.num_rx == 1));
    xshm_test_signal(fd);
    xshm_test_await(fd);
}

static void test_open_both_ways(xshm_test_side_t *side, int fd, xshm_tx_t **tx)
{
    xshm_iface_addr_t target;

    xshm_test_put(fd, &side->mailbox->addr, sizeof(side->mailbox->addr));
    xshm_test_get(fd, &target, sizeof(target));
    *tx = xshm_test_tx_open(side, &target);
    xshm_test_await(fd);
    xshm_test_side_wait(side, side->num_accepted == 1);
}

/* SIGKILL: both channels end, what was sent before is still there, and nothing
 * else is */
static void test_peer_killed(void **state)
{
    unsigned         fds = xshm_test_count_fds();
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;
    xshm_tx_t       *tx;

    xshm_test_peer_start(&peer, test_peer_both_ways, NULL);
    test_side_start(&side, &usage);
    test_open_both_ways(&side, peer.fd, &tx);
    xshm_test_peer_kill(&peer);
    usage.fds = fds;

    xshm_test_side_wait(&side,
                        (side.num_tx_gone == 1) && (side.num_rx_gone == 1));
    assert_int_equal(tx->state, XSHM_TX_FAILED);
    assert_int_equal(side.num_rx, 1);
    assert_true(side.rx[0]->is_gone);
    test_receive_all(side.rx[0], TEST_NUM_MESSAGES);
    assert_false(xshm_test_rx_receive(side.rx[0], 0, 0));
    assert_false(xshm_test_rx_is_closed(side.rx[0]));

    xshm_tx_close(tx);
    test_side_end(&side, &usage);
}

static void test_peer_fork_and_die(int fd, void *arg)
{
    unsigned      fds  = xshm_test_count_fds();
    unsigned      maps = xshm_test_count_shared_maps();
    unsigned      child_fds;
    test_sender_t sender;
    pid_t         pid;

    test_sender_start(&sender, fd);
    xshm_test_side_wait(&sender.side, sender.side.num_accepted == 1);
    pid = fork();
    if (pid == 0) {
        pid       = getpid();
        child_fds = xshm_test_count_fds();
        xshm_test_check(child_fds == fds);
        xshm_test_check(xshm_fdset_count() == 0);
        xshm_test_check(xshm_test_count_shared_maps() == maps);
        xshm_test_check(xshm_service_start() == UCS_ERR_UNSUPPORTED);
        xshm_test_put(fd, &pid, sizeof(pid));
        for (;;) {
            pause();
        }
    }

    /* Until it is killed, or something is wrong with the child */
    xshm_test_check(waitpid(pid, NULL, 0) < 0);
}

/* A child of the peer that lives on does not hide the peer's death */
static void test_forked_child_lives(void **state)
{
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;
    pid_t            child;

    xshm_test_peer_start(&peer, test_peer_fork_and_die, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));
    xshm_test_side_wait(&side, side.num_rx == 1);
    xshm_test_get(peer.fd, &child, sizeof(child));
    assert_int_equal(side.num_rx_gone, 0);

    kill(peer.pid, SIGKILL);
    assert_int_equal(waitpid(peer.pid, NULL, 0), peer.pid);
    xshm_test_side_wait(&side, side.num_rx_gone == 1);
    assert_int_equal(kill(child, 0), 0);

    kill(child, SIGKILL);
    test_side_end(&side, &usage);
    close(peer.fd);
}

/* Of what belongs to its parent, a child may free nothing and write nothing:
 * the numbers of the descriptors may be somebody else's now */
static void test_peer_child_closes(int fd, void *arg)
{
    int           pipes[TEST_NUM_PIPES][2];
    test_sender_t sender;
    int           status, i;
    char          byte;
    pid_t         pid;

    test_sender_start(&sender, fd);
    xshm_test_side_wait(&sender.side, sender.side.num_accepted == 1);
    pid = fork();
    if (pid == 0) {
        for (i = 0; i < TEST_NUM_PIPES; ++i) {
            xshm_test_check(pipe2(pipes[i], O_NONBLOCK) == 0);
        }
        xshm_tx_close(sender.tx);
        xshm_service_stop();
        for (i = 0; i < TEST_NUM_PIPES; ++i) {
            xshm_test_check(read(pipes[i][0], &byte, 1) < 0);
        }
        _exit(EXIT_SUCCESS);
    }

    xshm_test_check(waitpid(pid, &status, 0) == pid);
    xshm_test_check(status == 0);
    xshm_tx_close(sender.tx);
    xshm_test_side_close(&sender.side);
}

static void test_forked_child_closes(void **state)
{
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;

    xshm_test_peer_start(&peer, test_peer_child_closes, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));
    xshm_test_side_wait(&side, side.num_rx_gone == 1);
    test_side_end(&side, &usage);
    xshm_test_peer_join(&peer);
}

static void test_peer_many_channels(int fd, void *arg)
{
    xshm_tx_t        *tx[TEST_NUM_CHANNELS];
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    unsigned          i;

    xshm_test_side_open(&side);
    xshm_test_get(fd, &target, sizeof(target));
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        tx[i] = xshm_test_tx_open(&side, &target);
        xshm_test_tx_send(tx[i], sizeof(i), i);
    }

    xshm_test_side_wait(&side, side.num_accepted == TEST_NUM_CHANNELS);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        xshm_tx_close(tx[i]);
    }
    xshm_test_await(fd);
    xshm_test_side_close(&side);
}

static void test_many_channels(void **state)
{
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;
    unsigned         i;

    xshm_test_peer_start(&peer, test_peer_many_channels, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));
    xshm_test_side_wait(&side, side.num_rx == TEST_NUM_CHANNELS);
    for (i = 0; i < TEST_NUM_CHANNELS; ++i) {
        xshm_test_wait(xshm_test_rx_receive(side.rx[i], sizeof(i), i));
        xshm_test_wait(xshm_test_rx_is_closed(side.rx[i]));
    }

    xshm_test_signal(peer.fd);
    test_side_end(&side, &usage);
    xshm_test_peer_join(&peer);
}

/* No more descriptors than are open now */
static void test_limit_fds(struct rlimit *old)
{
    struct rlimit limit;
    int           fd;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, old), 0);
    fd = dup(0);
    assert_true(fd >= 0);
    close(fd);
    limit          = *old;
    limit.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_sender_out_of_fds(void **state)
{
    struct rlimit    old;
    xshm_test_side_t side;
    test_usage_t     usage;
    xshm_tx_t       *tx;

    test_side_start(&side, &usage);
    assert_int_equal(xshm_tx_create(side.mailbox, side.dev_addr,
                                    &side.mailbox->addr,
                                    xshm_ring_max_payload(XSHM_TEST_RING_SIZE),
                                    &tx),
                     UCS_OK);
    test_limit_fds(&old);
    assert_int_not_equal(xshm_tx_open(tx, XSHM_TEST_RING_SIZE), UCS_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_not_equal(xshm_test_log_count("ulimit -n"), 0);

    assert_int_equal(xshm_tx_open(tx, XSHM_TEST_RING_SIZE), UCS_OK);
    xshm_test_side_wait(&side, side.num_rx == 1);
    xshm_tx_close(tx);
    test_side_end(&side, &usage);
}

static void test_peer_two_channels(int fd, void *arg)
{
    xshm_iface_addr_t target;
    test_sender_t     sender;
    xshm_tx_t        *second;

    test_sender_start(&sender, fd);
    xshm_test_side_wait(&sender.side, sender.side.num_accepted == 1);
    target = sender.tx->target;
    xshm_test_signal(fd);

    xshm_test_await(fd);
    second = xshm_test_tx_open(&sender.side, &target);
    xshm_test_tx_send(second, TEST_MESSAGE_SIZE, 2);
    xshm_test_signal(fd);
    xshm_test_side_wait(&sender.side, (sender.side.num_accepted == 2) ||
                                              (sender.side.num_tx_gone > 0));
    xshm_test_check(sender.tx->state == XSHM_TX_ACCEPTED);
    xshm_test_tx_send(sender.tx, TEST_MESSAGE_SIZE, 1);

    /* It was refused, or waits: in any case it works later */
    xshm_test_await(fd);
    if (second->state == XSHM_TX_FAILED) {
        xshm_tx_close(second);
        second = xshm_test_tx_open(&sender.side, &target);
        xshm_test_tx_send(second, TEST_MESSAGE_SIZE, 2);
    }
    xshm_test_side_wait(&sender.side, second->state == XSHM_TX_ACCEPTED);

    xshm_test_await(fd);
    xshm_tx_close(sender.tx);
    xshm_tx_close(second);
    xshm_test_side_close(&sender.side);
}

/* A receiver without descriptors for a new channel keeps those that it has, does
 * not fill the log, and takes the new one as soon as it can */
static void test_receiver_out_of_fds(void **state)
{
    struct rlimit    old;
    xshm_test_side_t side;
    xshm_test_peer_t peer;
    test_usage_t     usage;

    xshm_test_peer_start(&peer, test_peer_two_channels, NULL);
    test_side_start(&side, &usage);
    xshm_test_put(peer.fd, &side.mailbox->addr, sizeof(side.mailbox->addr));
    xshm_test_await(peer.fd);
    xshm_test_side_wait(&side, side.num_rx == 1);

    test_limit_fds(&old);
    xshm_test_signal(peer.fd);
    xshm_test_await(peer.fd);
    usleep(TEST_OUT_OF_FDS_USEC);
    xshm_test_side_progress(&side);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(side.num_rx_gone, 0);
    assert_true(xshm_test_log_count("xshm:") <= TEST_OUT_OF_FDS_LOG);
    xshm_test_signal(peer.fd);

    xshm_test_side_wait(&side, side.num_rx == 2);
    xshm_test_wait(xshm_test_rx_receive(side.rx[1], TEST_MESSAGE_SIZE, 2));
    xshm_test_wait(xshm_test_rx_receive(side.rx[0], TEST_MESSAGE_SIZE, 1));
    xshm_test_signal(peer.fd);
    test_side_end(&side, &usage);
    xshm_test_peer_join(&peer);
}

/* A receiver that gives back what it did not get: the sender is closed at once */
static void test_bad_receiver(void **state)
{
    xshm_test_side_t side;
    test_usage_t     usage;
    xshm_tx_t       *tx;

    test_side_start(&side, &usage);
    tx = xshm_test_tx_open(&side, &side.mailbox->addr);
    xshm_test_side_wait(&side, (side.num_rx == 1) && (side.num_accepted == 1));

    ((xshm_abi_return_t *)side.rx[0]->mem->ret)->consumed = 1;
    assert_false(xshm_ring_tx_can_reserve(&tx->ring, XSHM_TEST_RING_SIZE));
    assert_true(tx->ring.violation);
    xshm_tx_log_failure(tx);
    assert_int_equal(xshm_test_log_count("gave back room"), 1);
    xshm_tx_close(tx);
    xshm_test_side_wait(&side, side.num_rx_gone == 1);
    test_side_end(&side, &usage);
}

static unsigned test_count_files(const char *folder)
{
    DIR           *dir   = opendir(folder);
    unsigned       count = 0;
    struct dirent *entry;

    assert_non_null(dir);
    while ((entry = readdir(dir)) != NULL) {
        count += (strstr(entry->d_name, "xshm") != NULL);
    }
    closedir(dir);
    return count;
}

static void test_no_files(void **state)
{
    unsigned         num_shm = test_count_files("/dev/shm");
    unsigned         num_tmp = test_count_files("/tmp");
    xshm_test_side_t side;
    test_usage_t     usage;
    xshm_tx_t       *tx;

    test_side_start(&side, &usage);
    tx = xshm_test_tx_open(&side, &side.mailbox->addr);
    xshm_test_side_wait(&side, (side.num_rx == 1) && (side.num_accepted == 1));
    assert_int_equal(test_count_files("/dev/shm"), num_shm);
    assert_int_equal(test_count_files("/tmp"), num_tmp);
    xshm_tx_close(tx);
    test_side_end(&side, &usage);
}

/* Ended with a channel that nobody has answered, and one that nobody reads */
static void test_stop_with_open_channels(void **state)
{
    xshm_iface_addr_t target;
    xshm_test_side_t  side;
    test_usage_t      usage;
    xshm_tx_t        *tx;

    test_side_start(&side, &usage);
    target = side.mailbox->addr;
    tx     = xshm_test_tx_open(&side, &target);
    test_send_all(tx, TEST_NUM_MESSAGES);
    xshm_tx_close(tx);
    test_side_end(&side, &usage);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_messages),
            cmocka_unit_test(test_late_receiver),
            cmocka_unit_test(test_cycles),
            cmocka_unit_test(test_wrong_token),
            cmocka_unit_test(test_unknown_iface),
            cmocka_unit_test(test_closed_iface),
            cmocka_unit_test(test_no_process),
            cmocka_unit_test(test_peer_killed),
            cmocka_unit_test(test_forked_child_lives),
            cmocka_unit_test(test_forked_child_closes),
            cmocka_unit_test(test_many_channels),
            cmocka_unit_test(test_sender_out_of_fds),
            cmocka_unit_test(test_receiver_out_of_fds),
            cmocka_unit_test(test_bad_receiver),
            cmocka_unit_test(test_no_files),
            cmocka_unit_test(test_stop_with_open_channels)};

    xshm_test_log_start();
    xshm_test_reset = xshm_service_stop;
    return xshm_test_run_on_devices("channel", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
