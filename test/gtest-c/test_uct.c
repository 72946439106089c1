/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What callbacks may do, through UCT's public interface.
 */

/* First, since it chooses what the C library's headers declare */
#include "uct_common.c"

#include "test_util.h"

#include <uct/xshm/platform/complain.h>

#include <dirent.h>
#include <dlfcn.h>


#define TEST_AM_ID         3
#define TEST_NUM_SENDS     20000
#define TEST_IN_FLIGHT     64
#define TEST_NUM_KEPT      300
#define TEST_SHORT_MAX     32
#define TEST_NUM_ADDRESSES 100
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
    uint8_t data[8192];

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
            cmocka_unit_test(test_other_versions)};
    const char *library = getenv("XSHM_TEST_LIBRARY");

    if ((library == NULL) || (dlopen(library, RTLD_NOW) == NULL)) {
        utest_fail("cannot load the library: set XSHM_TEST_LIBRARY to its "
                   "name (%s)",
                   dlerror());
    }
    xshm_test_log_start();
    return xshm_test_run_on_devices("uct", tests, XSHM_TEST_ARRAY_SIZE(tests));
}
