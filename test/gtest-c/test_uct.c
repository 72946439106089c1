/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What callbacks may do, through UCT's public interface; and the turn line between
 * two interfaces.
 */

/* First, since it chooses what the C library's headers declare */
#include "uct_common.c"

#include "test_util.h"

/* To see which way messages went */
#include <uct/xshm/base/ep.h>
#include <uct/xshm/base/ring_size.h>
#include <uct/xshm/platform/complain.h>

#include <dirent.h>
#include <dlfcn.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>


#define TEST_AM_ID         3
#define TEST_NUM_SENDS     20000
#define TEST_IN_FLIGHT     64
#define TEST_NUM_KEPT      300
#define TEST_SHORT_MAX     32
#define TEST_NUM_ADDRESSES 100
#define TEST_IOV_STEP      37
#define TEST_NUM_RINGS     (XSHM_RING_SIZE_MAX_LARGE + 2)
#define TEST_LINE_MAX      48 /* With UCT's 8 bytes, a record of one line */


/* Two interfaces of one worker, connected both ways */
typedef struct test_pair {
    utest_context_t context;
    utest_iface_t   iface[2];
    uct_ep_h        ep[2]; /* From this one to the other */
    unsigned        received[2];
    unsigned        owed[2]; /* Replies for which there was no room */
    unsigned        num_sent;
    unsigned        num_kept;
    void           *kept[TEST_NUM_KEPT];
    unsigned        cb_flags; /* Of all callbacks, together */
} test_pair_t;

static test_pair_t test_pair;


static void test_connect(unsigned from, unsigned to)
{
    utest_address_t address;

    utest_address_get(&test_pair.iface[to], &address);
    assert_true(utest_is_reachable(&test_pair.iface[from], &address));
    assert_int_equal(utest_connect(&test_pair.iface[from], &address,
                                   &test_pair.ep[from]),
                     UCS_OK);
}

static void test_open(uct_am_callback_t callback)
{
    uintptr_t i;

    memset(&test_pair, 0, sizeof(test_pair));
    utest_context_open(&test_pair.context, "xshm", xshm_test_device);
    for (i = 0; i < 2; ++i) {
        utest_iface_open(&test_pair.iface[i], &test_pair.context, NULL, NULL);
        assert_int_equal(uct_iface_set_am_handler(test_pair.iface[i].iface,
                                                  TEST_AM_ID, callback,
                                                  (void *)i, 0),
                         UCS_OK);
    }
    test_connect(0, 1);
    test_connect(1, 0);
}

static void test_destroy_ep(unsigned side)
{
    if (test_pair.ep[side] != NULL) {
        uct_ep_destroy(test_pair.ep[side]);
        test_pair.ep[side] = NULL;
    }
}

static void test_close(void)
{
    unsigned i;

    for (i = 0; i < 2; ++i) {
        test_destroy_ep(i);
        utest_iface_close(&test_pair.iface[i]);
    }
    utest_context_close(&test_pair.context);
}

static void test_progress(void)
{
    uct_worker_progress(test_pair.context.worker);
}

#define test_wait_for(_cond) \
    do { \
        double _end = utest_now() + XSHM_TEST_DEADLINE; \
        while (!(_cond)) { \
            assert_true(utest_now() < _end); \
            test_progress(); \
        } \
    } while (0)

/* Numbers and contents of messages follow from each other */
static ucs_status_t test_try(unsigned side, unsigned number, size_t length)
{
    uint8_t data[8192] = {0};

    utest_fill(data, length, number);
    return utest_try_send(&test_pair.iface[side], test_pair.ep[side],
                          TEST_AM_ID,
                          (length <= TEST_SHORT_MAX) ? UTEST_SHORT :
                                                       UTEST_BCOPY,
                          number, data, length);
}

static void test_send(unsigned side, unsigned number, size_t length)
{
    double       end = utest_now() + XSHM_TEST_DEADLINE;
    ucs_status_t status;

    while ((status = test_try(side, number, length)) == UCS_ERR_NO_RESOURCE) {
        assert_true(utest_now() < end);
        test_progress();
    }
    assert_int_equal(status, UCS_OK);
}

static void test_reply(unsigned side)
{
    ucs_status_t status;

    status = test_try(side, test_pair.num_sent, test_pair.num_sent % 100);
    if (status == UCS_ERR_NO_RESOURCE) {
        ++test_pair.owed[side];
        return;
    }

    assert_int_equal(status, UCS_OK);
    ++test_pair.num_sent;
}

static ucs_status_t
test_reply_callback(void *arg, void *data, size_t length, unsigned flags)
{
    unsigned side = (unsigned)(uintptr_t)arg;
    uint64_t number;

    memcpy(&number, data, sizeof(number));
    assert_int_equal(length, sizeof(number) + (number % 100));
    assert_true(utest_is_filled((char *)data + sizeof(number),
                                length - sizeof(number), number));
    ++test_pair.received[side];
    if (test_pair.num_sent < TEST_NUM_SENDS) {
        test_reply(side);
    }
    return UCS_OK;
}

/* Both callbacks answer each message on the same pair of endpoints */
static void test_callback_sends(void **state)
{
    unsigned side, i;

    test_open(test_reply_callback);
    for (i = 0; i < TEST_IN_FLIGHT; ++i) {
        test_reply(i % 2);
    }

    while (test_pair.num_sent < TEST_NUM_SENDS) {
        test_progress();
        for (side = 0; side < 2; ++side) {
            while (test_pair.owed[side] > 0) {
                i = test_pair.owed[side];
                test_reply(side);
                --test_pair.owed[side];
                if (test_pair.owed[side] == i) {
                    break;
                }
            }
        }
    }

    test_wait_for(test_pair.received[0] + test_pair.received[1] ==
                  test_pair.num_sent);
    test_close();
}

static ucs_status_t
test_destroy_callback(void *arg, void *data, size_t length, unsigned flags)
{
    ++test_pair.received[(uintptr_t)arg];
    test_destroy_ep(0);
    test_destroy_ep(1);
    return UCS_OK;
}

/* The first of many messages destroys both endpoints, the one that it came on and
 * the one to its sender. The others are still delivered. */
static void test_callback_destroys(void **state)
{
    unsigned i;

    test_open(test_destroy_callback);
    for (i = 0; i < TEST_IN_FLIGHT; ++i) {
        assert_int_equal(test_try(0, i, 0), UCS_OK);
    }
    test_wait_for(test_pair.received[1] == TEST_IN_FLIGHT);
    assert_null(test_pair.ep[0]);
    for (i = 0; i < 1000; ++i) {
        test_progress();
    }
    test_close();
}

/* The same on an endpoint of an interface to itself */
static void test_callback_destroys_loopback(void **state)
{
    unsigned i;

    test_open(test_destroy_callback);
    test_destroy_ep(0);
    test_connect(0, 0);
    for (i = 0; i < TEST_IN_FLIGHT; ++i) {
        assert_int_equal(test_try(0, i, 0), UCS_OK);
    }
    test_wait_for(test_pair.received[0] == TEST_IN_FLIGHT);
    assert_null(test_pair.ep[0]);
    test_close();
}

static size_t test_kept_length(unsigned number)
{
    return (number * 37) % 4000;
}

static ucs_status_t
test_keep_callback(void *arg, void *data, size_t length, unsigned flags)
{
    uint64_t number = ++test_pair.received[(uintptr_t)arg] - 1;

    test_pair.cb_flags |= flags;
    assert_memory_equal(data, &number, sizeof(number));
    assert_int_equal(length, sizeof(number) + test_kept_length(number));
    assert_true(utest_is_filled((char *)data + sizeof(number),
                                length - sizeof(number), number));
    if (!(flags & UCT_CB_PARAM_FLAG_DESC)) {
        return UCS_OK;
    }

    test_pair.kept[test_pair.num_kept++] = data;
    return UCS_INPROGRESS;
}

static void test_exchange_kept(void)
{
    unsigned i;

    test_open(test_keep_callback);
    for (i = 0; i < TEST_NUM_KEPT; ++i) {
        test_send(0, i, test_kept_length(i));
    }
    test_wait_for(test_pair.received[1] == TEST_NUM_KEPT);
}

/* What is kept stays as it is after the ring has gone round many times, and can
 * be written, too */
static void test_callback_keeps(void **state)
{
    unsigned i, num_long = 0;
    uint64_t number;
    char    *data;

    setenv("UCX_XSHM_COPY_OUT", "y", 1);
    test_exchange_kept();
    unsetenv("UCX_XSHM_COPY_OUT");
    /* Those of one line are handed up in a copy on the stack */
    for (i = 0; i < TEST_NUM_KEPT; ++i) {
        num_long += (test_kept_length(i) > TEST_LINE_MAX);
    }

    assert_int_equal(test_pair.num_kept, num_long);
    for (i = 0; i < num_long; ++i) {
        data = test_pair.kept[i];
        memcpy(&number, data, sizeof(number));
        assert_true(utest_is_filled(data + sizeof(number),
                                    test_kept_length(number), number));
        memset(data, 0, sizeof(number) + test_kept_length(number));
        uct_iface_release_desc(data);
    }
    test_close();
}

/* Without a private copy nothing may be kept: the memory is the sender's */
static void test_callback_may_not_keep(void **state)
{
    setenv("UCX_XSHM_COPY_OUT", "n", 1);
    test_exchange_kept();
    unsetenv("UCX_XSHM_COPY_OUT");
    assert_false(test_pair.cb_flags & UCT_CB_PARAM_FLAG_DESC);
    assert_int_equal(test_pair.num_kept, 0);
    test_close();
}

static xshm_peer_t *test_peer(unsigned side)
{
    return ucs_derived_of(test_pair.ep[side], xshm_ep_t)->peer;
}

static ucs_status_t test_try_zcopy(unsigned side, uint64_t number,
                                   const uint8_t *data, size_t length)
{
    uct_iov_t iov[UTEST_IOV_COUNT];

    utest_iov_init(iov, data, length);
    return uct_ep_am_zcopy(test_pair.ep[side], TEST_AM_ID, &number,
                           sizeof(number), iov, UTEST_IOV_COUNT, 0, NULL);
}

static ucs_status_t
test_iov_callback(void *arg, void *data, size_t length, unsigned flags)
{
    uint64_t number;

    memcpy(&number, data, sizeof(number));
    assert_int_equal(number, test_pair.received[(uintptr_t)arg]++);
    assert_int_equal(length - sizeof(number), number * TEST_IOV_STEP);
    assert_true(utest_is_filled((char *)data + sizeof(number),
                                length - sizeof(number), number));
    return UCS_OK;
}

typedef ucs_status_t (*test_try_func_t)(unsigned side, uint64_t number,
                                        const uint8_t *data, size_t length);

/* Messages of all lengths, many times around the ring */
static void
test_send_lengths(unsigned to, test_try_func_t try, size_t max_length)
{
    uint8_t *data   = malloc(max_length);
    uint64_t number = 0;
    size_t   length = 0;

    while (length + sizeof(number) <= max_length) {
        utest_fill(data, length, number);
        while (try(0, number, data, length) == UCS_ERR_NO_RESOURCE) {
            test_progress();
        }
        ++number;
        length += TEST_IOV_STEP;
    }
    test_wait_for(test_pair.received[to] == number);
    free(data);
}

static void test_zcopy(unsigned to)
{
    test_send_lengths(to, test_try_zcopy,
                      test_pair.iface[0].attr.cap.am.max_zcopy);
}

/* The way of the data follows from the setting; but what an interface sends to
 * itself always goes through the caches */
static void test_zcopy_past_caches(void **state)
{
    const size_t auto_min =
            (ucs_arch_get_cpu_vendor() == UCS_CPU_VENDOR_AMD) ? 4096 : SIZE_MAX;
    const struct {
        const char *setting;
        size_t      nt_min;
    } cases[] = {{"0", 0},
                 {"5000", 5000},
                 {"inf", SIZE_MAX},
                 {"auto", auto_min}};
    size_t i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(cases); ++i) {
        setenv("UCX_XSHM_NT_MIN", cases[i].setting, 1);
        test_open(test_iov_callback);
        assert_int_equal(test_peer(0)->nt_min, cases[i].nt_min);
        test_zcopy(1);
        test_destroy_ep(0);
        test_connect(0, 0);
        assert_int_equal(test_peer(0)->nt_min, SIZE_MAX);
        test_zcopy(0);
        test_close();
    }
    unsetenv("UCX_XSHM_NT_MIN");
}

/* Peers of one interface */
typedef struct test_rings {
    utest_iface_t ifaces[TEST_NUM_RINGS];
    uct_ep_h      eps[TEST_NUM_RINGS];
} test_rings_t;

static const xshm_ep_t *test_rings_ep(const test_rings_t *rings, unsigned i)
{
    return ucs_derived_of(rings->eps[i], xshm_ep_t);
}

static void test_rings_connect(test_rings_t *rings, unsigned i)
{
    utest_address_t address;

    utest_address_get(&rings->ifaces[i], &address);
    assert_int_equal(utest_connect(&test_pair.iface[0], &address,
                                   &rings->eps[i]),
                     UCS_OK);
}

static void
test_rings_open_channel(test_rings_t *rings, unsigned i, size_t size)
{
    assert_int_equal(test_rings_ep(rings, i)->peer->tx->state, XSHM_TX_IDLE);
    assert_int_equal(uct_ep_check(rings->eps[i], 0, NULL), UCS_OK);
    assert_int_equal(test_rings_ep(rings, i)->peer->tx->ring_size, size);
}

/* Close the channel that has the first large ring, if there is any, and another
 * one: who opens one next has a large one, and who comes after that has not */
static void
test_rings_close_two(test_rings_t *rings, size_t large, size_t small)
{
    const unsigned last = TEST_NUM_RINGS - 1;

    uct_ep_destroy(rings->eps[0]);
    uct_ep_destroy(rings->eps[last]);
    test_rings_connect(rings, 0);
    test_rings_connect(rings, last);
    test_rings_open_channel(rings, last, large);
    test_rings_open_channel(rings, 0, small);

    /* As before */
    uct_ep_destroy(rings->eps[0]);
    uct_ep_destroy(rings->eps[last]);
    test_rings_connect(rings, 0);
    test_rings_connect(rings, last);
    test_rings_open_channel(rings, 0, large);
    test_rings_open_channel(rings, last, small);
}

static void test_rings_fail(test_rings_t *rings, unsigned i)
{
    utest_iface_close(&rings->ifaces[i]);
    test_wait_for(test_rings_ep(rings, i)->status != UCS_OK);
    utest_iface_open(&rings->ifaces[i], &test_pair.context, NULL, NULL);
}

/* With memory for a small ring only */
static void test_no_memory_for_large_ring(void **state)
{
    struct rlimit limit, old;
    void (*handler)(int);

    setenv("UCX_XSHM_RING_SIZE", "auto", 1);
    test_open(test_iov_callback);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    limit          = old;
    limit.rlim_cur = XSHM_RING_SIZE_LARGE / 2;
    handler        = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);

    assert_int_equal(uct_ep_check(test_pair.ep[0], 0, NULL), UCS_OK);
    assert_int_equal(test_peer(0)->tx->ring_size, XSHM_RING_SIZE_SMALL);
    test_zcopy(1);

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, handler);
    test_close();
    unsetenv("UCX_XSHM_RING_SIZE");
}

/* The first @a num_large of its channels have a large ring, in the order in which
 * they are opened */
static void test_ring_sizes_of(unsigned num_large, size_t small)
{
    const size_t large = (num_large > 0) ? XSHM_RING_SIZE_LARGE : small;
    test_rings_t rings;
    unsigned     i;

    test_open(test_iov_callback);
    test_destroy_ep(0);
    test_connect(0, 0);
    assert_int_equal(uct_ep_check(test_pair.ep[0], 0, NULL), UCS_OK);
    assert_int_equal(test_peer(0)->tx->ring_size, small);
    for (i = 0; i < TEST_NUM_RINGS; ++i) {
        utest_iface_open(&rings.ifaces[i], &test_pair.context, NULL, NULL);
    }
    for (i = TEST_NUM_RINGS; i > 0; --i) {
        test_rings_connect(&rings, i - 1);
    }
    for (i = 0; i < TEST_NUM_RINGS; ++i) {
        test_rings_open_channel(&rings, i, (i < num_large) ? large : small);
    }

    test_rings_close_two(&rings, large, small);
    test_rings_fail(&rings, 0);
    test_rings_close_two(&rings, large, small);
    for (i = 0; i < TEST_NUM_RINGS; ++i) {
        uct_ep_destroy(rings.eps[i]);
        utest_iface_close(&rings.ifaces[i]);
    }
    test_close();
}

static void test_ring_sizes(void **state)
{
    int is_xen = !strcmp(xshm_test_device, "xen");

    test_ring_sizes_of(0, XSHM_RING_SIZE_SMALL);
    setenv("UCX_XSHM_RING_SIZE", "auto", 1);
    test_ring_sizes_of(is_xen ? 0 : XSHM_RING_SIZE_MAX_LARGE,
                       XSHM_RING_SIZE_SMALL);
    setenv("UCX_XSHM_RING_SIZE", "17k", 1);
    test_ring_sizes_of(0, 20 * 1024);
    unsetenv("UCX_XSHM_RING_SIZE");
}

static ucs_status_t test_try_short_iov(unsigned side, uint64_t number,
                                       const uint8_t *data, size_t length)
{
    uct_iov_t iov[1 + UTEST_IOV_COUNT] = {
            {.buffer = &number, .length = sizeof(number), .count = 1}};

    utest_iov_init(iov + 1, data, length);
    return uct_ep_am_short_iov(test_pair.ep[side], TEST_AM_ID, iov,
                               1 + UTEST_IOV_COUNT);
}

static void test_short_iov(void **state)
{
    test_open(test_iov_callback);
    test_send_lengths(1, test_try_short_iov,
                      test_pair.iface[0].attr.cap.am.max_short);
    test_close();
}

/* Addresses come from anybody: however many are of another version, few lines
 * are written */
static void test_other_versions(void **state)
{
    utest_address_t address;
    unsigned        i;

    test_open(test_keep_callback);
    utest_address_get(&test_pair.iface[1], &address);
    ++address.iface[0];
    for (i = 0; i < TEST_NUM_ADDRESSES; ++i) {
        assert_false(utest_is_reachable(&test_pair.iface[0], &address));
    }

    assert_int_equal(xshm_test_log_count("uses version"), XSHM_COMPLAIN_BURST);
    test_close();
}

static xshm_iface_t *test_iface(unsigned side)
{
    return (xshm_iface_t *)test_pair.iface[side].iface;
}

static xshm_tx_t *test_tx(unsigned side)
{
    return ((xshm_ep_t *)test_pair.ep[side])->peer->tx;
}

/* What goes by the ring moves that; what goes by the turn line does not */
static const uint8_t *test_place(unsigned side)
{
    return test_tx(side)->ring.pos;
}

/* Both keep the number of the message in them */
static ucs_status_t
test_count_callback(void *arg, void *data, size_t length, unsigned flags)
{
    unsigned side = (unsigned)(uintptr_t)arg;
    uint64_t number;

    memcpy(&number, data, sizeof(number));
    assert_int_equal(number, test_pair.received[side]);
    assert_true(utest_is_filled((char *)data + sizeof(number),
                                length - sizeof(number), number));
    ++test_pair.received[side];
    return UCS_OK;
}

/* One short message, and until it is there */
static void test_send_one(unsigned from)
{
    unsigned number = test_pair.received[!from];

    assert_int_equal(test_try(from, number, number % (TEST_SHORT_MAX + 1)),
                     UCS_OK);
    test_wait_for(test_pair.received[!from] == number + 1);
}

static int test_has_line(unsigned side)
{
    return test_tx(side)->ring.turn_line != NULL;
}

/* Both interfaces share a line: the first message each way opens a channel */
static void test_open_with_line(void)
{
    test_open(test_count_callback);
    test_send_one(0);
    test_send_one(1);
    test_wait_for(test_has_line(0) && test_has_line(1));
}

/* Whose turn it is, or 2 */
static unsigned test_whose_turn(void)
{
    unsigned side;

    for (side = 0; side < 2; ++side) {
        if (xshm_turn_is_ours(&test_tx(side)->ring)) {
            break;
        }
    }
    return side;
}

/* A question and its answer, over and over: nothing of it by the rings */
static void test_answers_go_by_the_turn_line(void **state)
{
    const uint8_t *place[2];
    unsigned       side, i;

    test_open_with_line();
    side     = test_whose_turn();
    place[0] = test_place(0);
    place[1] = test_place(1);
    for (i = 0; i < TEST_NUM_SENDS; ++i) {
        assert_int_equal(test_whose_turn(), side);
        test_send_one(side);
        side = !side;
    }
    assert_ptr_equal(test_place(0), place[0]);
    assert_ptr_equal(test_place(1), place[1]);
    test_close();
}

/* What is sent while it is not our turn, or is too long, or not short: it goes by
 * the ring, and comes in its order */
static void test_streams_go_by_the_ring(void **state)
{
    static const size_t lengths[] = {0, TEST_SHORT_MAX, TEST_SHORT_MAX + 1,
                                     3000};
    const uint8_t      *place;
    unsigned            side, count, i;

    test_open_with_line();
    for (i = 0; i < TEST_NUM_KEPT; ++i) {
        side  = test_whose_turn();
        place = test_place(side);
        assert_int_equal(test_try(side, test_pair.received[!side], 0), UCS_OK);
        assert_ptr_equal(test_place(side), place);
        assert_int_equal(test_try(side, test_pair.received[!side] + 1,
                                  lengths[i % 4]),
                         UCS_OK);
        assert_ptr_not_equal(test_place(side), place);
        count = test_pair.received[!side] + 2;
        test_wait_for(test_pair.received[!side] == count);
    }
    test_close();
}

static unsigned test_num_cold(unsigned side)
{
    return test_iface(side)->pollset.num_cold;
}

/* This side has heard of nobody for long */
static void test_cool(unsigned side)
{
    double end = utest_now() + XSHM_TEST_DEADLINE;

    while (test_num_cold(side) == 0) {
        assert_true(utest_now() < end);
        uct_iface_progress(test_pair.iface[side].iface);
    }
}

/* The one who has the turn sends to a cold channel of the other, both ways */
static void test_message_to_a_cold_channel_comes(void **state)
{
    const uint8_t *place;
    unsigned       side, i;

    test_open_with_line();
    for (i = 0; i < 4; ++i) {
        side = test_whose_turn();
        assert_int_not_equal(side, 2);
        test_cool(!side);
        assert_int_equal(test_num_cold(side), 0);
        place = test_place(side);
        test_send_one(side);
        assert_ptr_equal(test_place(side), place);
        assert_int_equal(test_num_cold(!side), 0);
    }
    test_close();
}

/* Both have heard nothing for long. Who has the turn sends by the ring until there
 * is an answer, and by the line again then. */
static void test_cold_turn_is_withheld(void **state)
{
    const uint8_t *place;
    unsigned       side, i;

    test_open_with_line();
    for (i = 0; i < 4; ++i) {
        side = test_whose_turn();
        test_cool(side);
        test_cool(!side);
        assert_int_equal(test_whose_turn(), 2);
        place = test_place(side);
        test_send_one(side);
        assert_ptr_not_equal(test_place(side), place);
        test_send_one(!side);

        assert_int_equal(test_whose_turn(), side);
        place = test_place(side);
        test_send_one(side);
        assert_ptr_equal(test_place(side), place);
    }
    test_close();
}

static void test_try_arm_until(unsigned side, ucs_status_t wanted)
{
    double       end = utest_now() + XSHM_TEST_DEADLINE;
    ucs_status_t status;

    do {
        assert_true(utest_now() < end);
        test_progress();
        status = uct_iface_event_arm(test_pair.iface[side].iface,
                                     UCT_EVENT_RECV);
    } while (status != wanted);
}

static int test_event_fd(unsigned side)
{
    int fd;

    assert_int_equal(uct_iface_event_fd_get(test_pair.iface[side].iface, &fd),
                     UCS_OK);
    return fd;
}

/* It sleeps, and is woken by what is not in its ring */
static void test_turn_line_wakes(void **state)
{
    struct pollfd  pollfd = {.events = POLLIN};
    const uint8_t *place;
    unsigned       side, count, i;

    test_open_with_line();
    for (i = 0; i < 20; ++i) {
        side      = test_whose_turn();
        pollfd.fd = test_event_fd(!side);
        test_try_arm_until(!side, UCS_OK);
        assert_int_equal(poll(&pollfd, 1, 0), 0);
        place = test_place(side);
        assert_int_equal(test_try(side, test_pair.received[!side], 0), UCS_OK);
        assert_ptr_equal(test_place(side), place);
        assert_int_equal(poll(&pollfd, 1, (int)(XSHM_TEST_DEADLINE * 1e3)), 1);
        count = test_pair.received[!side] + 1;
        test_wait_for(test_pair.received[!side] == count);
    }
    test_close();
}

/* A message that is there already keeps it awake. It has slept before: else there
 * is more that it could wait for. */
static void test_turn_line_keeps_awake(void **state)
{
    uct_iface_h iface;
    uint64_t    slept;
    unsigned    side, i;

    setenv("UCX_XSHM_SPIN", "0", 1);
    test_open_with_line();
    unsetenv("UCX_XSHM_SPIN");
    side  = test_whose_turn();
    iface = test_pair.iface[!side].iface;
    (void)test_event_fd(!side);
    test_try_arm_until(!side, UCS_OK);
    test_progress();
    test_progress();
    slept = test_iface(!side)->events.num_sleeps;
    assert_int_equal(test_try(side, test_pair.received[!side], 0), UCS_OK);
    for (i = 0; i < 100; ++i) {
        assert_int_equal(uct_iface_event_arm(iface, UCT_EVENT_RECV),
                         UCS_ERR_BUSY);
    }
    assert_int_equal(test_iface(!side)->events.num_sleeps, slept);
    test_wait_for(test_pair.received[!side] == 2);
    test_close();
}

/* Somebody who keeps to no rule offers a line twice */
static void test_announce_again(unsigned side)
{
    xshm_ring_tx_t   *ring   = &test_tx(side)->ring;
    xshm_abi_record_t record = {
            {.type = XSHM_RECORD_TURN, .size = sizeof(uint64_t)}};
    void *payload = xshm_ring_tx_reserve(ring, 1);

    assert_non_null(payload);
    memset(payload, 0, sizeof(uint64_t));
    (void)xshm_ring_tx_advance(ring, XSHM_ABI_LINE_SIZE, record);
}

/* The channel ends, and what is no message is not counted as one */
static void test_second_line_is_refused(void **state)
{
    xshm_iface_t *iface;
    unsigned      owner;

    test_open_with_line();
    owner = (test_tx(0)->ring.turn_line == &test_tx(0)->turn) ? 0 : 1;
    iface = test_iface(!owner);
    assert_int_equal(xshm_pollset_get(&iface->pollset, 0)->received, 1);
    test_announce_again(owner);
    test_wait_for(iface->num_violations == 1);
    assert_int_equal(xshm_test_log_count("which cannot be"), 1);
    assert_int_equal(iface->stats.ended.received, 1);
    test_close();
}

static unsigned test_count_threads(void)
{
    DIR           *dir   = opendir("/proc/self/task");
    unsigned       count = 0;
    struct dirent *entry;

    while ((entry = readdir(dir)) != NULL) {
        count += (entry->d_name[0] != '.');
    }
    closedir(dir);
    return count;
}

/* Threads that run after memory was allocated with this setting */
static unsigned test_alloc_allowed(const char *allowed)
{
    uct_alloc_method_t     method = UCT_ALLOC_METHOD_MD;
    utest_context_t        context;
    uct_allocated_memory_t memory;
    uct_mem_alloc_params_t params = {.field_mask =
                                             UCT_MEM_ALLOC_PARAM_FIELD_FLAGS |
                                             UCT_MEM_ALLOC_PARAM_FIELD_MDS,
                                     .flags = UCT_MD_MEM_ACCESS_ALL,
                                     .mds   = {.mds = &context.md, .count = 1}};
    unsigned               count;

    assert_int_equal(setenv("UCX_XSHM_ALLOW", allowed, 1), 0);
    memset(&context, 0, sizeof(context));
    utest_context_open(&context, "xshm", xshm_test_device);
    assert_int_equal(uct_mem_alloc(1, &method, 1, &params, &memory), UCS_OK);
    count = test_count_threads();
    uct_mem_free(&memory);
    utest_context_close(&context);
    unsetenv("UCX_XSHM_ALLOW");
    return count;
}

/* To be the first: no service runs yet. Who of the list is this machine only that
 * can tell. */
static void test_alloc_asks_who_it_is(void **state)
{
    unsigned before = test_count_threads();

    assert_int_equal(test_alloc_allowed("all"), before);
    assert_int_equal(test_alloc_allowed("1,2"), before + 1);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_alloc_asks_who_it_is),
            cmocka_unit_test(test_callback_sends),
            cmocka_unit_test(test_callback_destroys),
            cmocka_unit_test(test_callback_destroys_loopback),
            cmocka_unit_test(test_callback_keeps),
            cmocka_unit_test(test_callback_may_not_keep),
            cmocka_unit_test(test_zcopy_past_caches),
            cmocka_unit_test(test_ring_sizes),
            cmocka_unit_test(test_no_memory_for_large_ring),
            cmocka_unit_test(test_short_iov),
            cmocka_unit_test(test_other_versions),
            cmocka_unit_test(test_answers_go_by_the_turn_line),
            cmocka_unit_test(test_streams_go_by_the_ring),
            cmocka_unit_test(test_message_to_a_cold_channel_comes),
            cmocka_unit_test(test_cold_turn_is_withheld),
            cmocka_unit_test(test_turn_line_wakes),
            cmocka_unit_test(test_turn_line_keeps_awake),
            cmocka_unit_test(test_second_line_is_refused)};
    const char *library = getenv("XSHM_TEST_LIBRARY");

    if ((library == NULL) || (dlopen(library, RTLD_NOW) == NULL)) {
        utest_fail("cannot load the library: set XSHM_TEST_LIBRARY to its "
                   "name (%s)",
                   dlerror());
    }
    xshm_test_log_start();
    return xshm_test_run_on_devices("uct", tests, XSHM_TEST_ARRAY_SIZE(tests));
}
