/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * UCT's events, through its public interface: what arming returns, and when the
 * descriptor is readable.
 */

/* First, since it chooses what the C library's headers declare */
#include "uct_common.c"

#include "test_util.h"

#include <uct/xshm/platform/platform.h>

#include <ucs/datastruct/string_buffer.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <dlfcn.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>


#define TEST_AM_ID      3
#define TEST_WAIT_MSEC  60000
#define TEST_QUIET_MSEC 50      /* Nothing happens for so long */
#define TEST_MAX_BUSY   1000000 /* More than arming may ever say BUSY */
#define TEST_MAX_LINES  100     /* Of the log, about one thing */
#define TEST_NUM_PEERS  40
#define TEST_NUM_EPS    500
#define TEST_NUM_ROUNDS 200
#define TEST_FREED      0xa5
#define TEST_NUM_POLLS  2000000
#define TEST_STATS      "xshm_stats"
#define TEST_PATH_MAX   256
#define TEST_MAX_PATHS  4096
#define TEST_EVENTS     (UCT_EVENT_RECV | UCT_EVENT_SEND_COMP)


/* Interface 0 sends to interface 1, which sleeps */
static struct {
    utest_context_t   context[2];
    utest_iface_t     iface[2];
    uct_ep_h          ep;
    int               fd[2];
    unsigned          received;
    unsigned          failed; /* Endpoints */
    unsigned          num_sent;
    uct_pending_req_t req;
} test;


static ucs_status_t
test_handle_am(void *arg, void *data, size_t length, unsigned flags)
{
    ++test.received;
    return UCS_OK;
}

static ucs_status_t
test_handle_error(void *arg, uct_ep_h ep, ucs_status_t status)
{
    ++test.failed;
    return UCS_OK;
}

static void test_open(void)
{
    utest_address_t address;
    unsigned        i;

    memset(&test, 0, sizeof(test));
    for (i = 0; i < 2; ++i) {
        utest_context_open(&test.context[i], "xshm", xshm_test_device);
        utest_iface_open(&test.iface[i], &test.context[i], test_handle_error,
                         NULL);
        uct_iface_progress_enable(test.iface[i].iface,
                                  UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
        assert_int_equal(uct_iface_set_am_handler(test.iface[i].iface,
                                                  TEST_AM_ID, test_handle_am,
                                                  NULL, 0),
                         UCS_OK);
        assert_int_equal(uct_iface_event_fd_get(test.iface[i].iface,
                                                &test.fd[i]),
                         UCS_OK);
    }
    utest_address_get(&test.iface[1], &address);
    assert_int_equal(utest_connect(&test.iface[0], &address, &test.ep), UCS_OK);
}

static void test_close(void)
{
    unsigned i;

    uct_ep_destroy(test.ep);
    for (i = 0; i < 2; ++i) {
        utest_iface_close(&test.iface[i]);
        utest_context_close(&test.context[i]);
    }
}

static unsigned test_progress(unsigned side)
{
    return uct_worker_progress(test.context[side].worker);
}

static ucs_status_t test_try_arm(unsigned side)
{
    ucs_status_t status =
            uct_iface_event_arm(test.iface[side].iface, TEST_EVENTS);

    assert_true((status == UCS_OK) || (status == UCS_ERR_BUSY));
    return status;
}

static void test_arm(unsigned side)
{
    while (test_progress(side) || (test_try_arm(side) == UCS_ERR_BUSY)) {
    }
}

static int test_is_readable(unsigned side, int timeout)
{
    struct pollfd pollfd = {.fd = test.fd[side], .events = POLLIN};

    return poll(&pollfd, 1, timeout) == 1;
}

static ucs_status_t test_try_send(void)
{
    ucs_status_t status;

    status = uct_ep_am_short(test.ep, TEST_AM_ID, test.num_sent, NULL, 0);
    test.num_sent += (status == UCS_OK);
    return status;
}

static void test_send(void)
{
    assert_int_equal(test_try_send(), UCS_OK);
}

static void test_receive_all(void)
{
    double end = utest_now() + XSHM_TEST_DEADLINE;

    while (test.received < test.num_sent) {
        assert_true(utest_now() < end);
        test_progress(1);
    }
}

/* UCX's virtual file system, visited folder by folder: what lists a folder may
 * not list another one meanwhile */
typedef struct test_vfs {
    char                paths[TEST_MAX_PATHS][TEST_PATH_MAX];
    unsigned            num_paths;
    unsigned            current;
    ucs_string_buffer_t text;
    unsigned            count; /* Files with counters */
} test_vfs_t;

static test_vfs_t test_vfs;

static void test_vfs_add(const char *name, void *arg)
{
    const char *folder = arg;
    char       *path   = test_vfs.paths[test_vfs.num_paths++];

    assert_true(test_vfs.num_paths < TEST_MAX_PATHS);
    assert_true(strlen(folder) + strlen(name) + 2 <= TEST_PATH_MAX);
    stpcpy(stpcpy(stpcpy(path, folder), "/"), name);
}

static void test_vfs_visit(const char *path)
{
    ucs_vfs_path_info_t info;

    if (strstr(path, "/" TEST_STATS) != NULL) {
        ++test_vfs.count;
        assert_int_equal(ucs_vfs_path_read_file(path, &test_vfs.text), UCS_OK);
        return;
    }

    /* Not links: they lead back */
    if ((test_vfs.current == 0) ||
        ((ucs_vfs_path_get_info(path, &info) == UCS_OK) &&
         S_ISDIR(info.mode))) {
        (void)ucs_vfs_path_list_dir((test_vfs.current == 0) ? "/" : path,
                                    test_vfs_add, (void *)path);
    }
}

static void test_vfs_visit_all(void)
{
    memset(&test_vfs, 0, sizeof(test_vfs));
    ucs_string_buffer_init(&test_vfs.text);
    for (test_vfs.num_paths = 1; test_vfs.current < test_vfs.num_paths;
         ++test_vfs.current) {
        test_vfs_visit(test_vfs.paths[test_vfs.current]);
    }
}

/* A counter of an interface, or the sum over its channels */
static unsigned long test_counter(unsigned side, const char *name)
{
    char            head[TEST_PATH_MAX], field[TEST_PATH_MAX];
    utest_address_t address;
    unsigned long   value;
    const char     *text;

    utest_address_get(&test.iface[side], &address);
    snprintf(head, sizeof(head), " interface %u on ",
             ((const xshm_iface_addr_t *)address.iface)->iface);
    snprintf(field, sizeof(field), " %s=", name);
    test_vfs_visit_all();
    text = strstr(ucs_string_buffer_cstr(&test_vfs.text), head);
    assert_non_null(text);
    text = strstr(strstr(text, "all channels:"), field);
    assert_non_null(text);
    value = strtoul(text + strlen(field), NULL, 10);
    ucs_string_buffer_cleanup(&test_vfs.text);
    return value;
}

/* Sleep, and not by a timer, as until the peer's service has said that it wakes this
 * side */
static void test_arm_for_good(unsigned side)
{
    double        end = utest_now() + XSHM_TEST_DEADLINE;
    unsigned long timeouts;

    do {
        assert_true(utest_now() < end);
        timeouts = test_counter(side, "timeouts");
        test_arm(side);
    } while (test_counter(side, "timeouts") != timeouts);
}

/* Both ends know each other, and the receiver has been asleep */
static void test_open_and_meet(void)
{
    test_open();
    test_send();
    test_receive_all();
    test_arm_for_good(1);
    test_arm(0);
    test_arm(1);
}

static void test_flags(void **state)
{
    test_open();
    assert_true((test.iface[0].attr.cap.event_flags &
                 (UCT_IFACE_FLAG_EVENT_SEND_COMP | UCT_IFACE_FLAG_EVENT_RECV |
                  UCT_IFACE_FLAG_EVENT_FD)) ==
                (UCT_IFACE_FLAG_EVENT_SEND_COMP | UCT_IFACE_FLAG_EVENT_RECV |
                 UCT_IFACE_FLAG_EVENT_FD));
    test_close();
}

static void test_wakes_for_request(void **state)
{
    test_open();
    test_arm(1);
    assert_false(test_is_readable(1, 0));
    test_send();
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    test_receive_all();
    test_close();
}

static void test_wakes_for_message(void **state)
{
    unsigned i;

    test_open_and_meet();
    for (i = 0; i < 100; ++i) {
        test_arm(1);
        assert_false(test_is_readable(1, 0));
        test_send();
        assert_true(test_is_readable(1, TEST_WAIT_MSEC));
        /* Something is there, so it cannot sleep */
        assert_int_equal(test_try_arm(1), UCS_ERR_BUSY);
        test_receive_all();
    }
    test_close();
}

/* UCX 1.13 leaves such an interface alone when arming says BUSY */
static void test_parked_is_never_busy(void **state)
{
    test_open_and_meet();
    uct_iface_progress_disable(test.iface[1].iface,
                               UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
    test_send();
    assert_int_equal(test_try_arm(1), UCS_OK);
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    while (test.received < test.num_sent) {
        uct_iface_progress(test.iface[1].iface);
    }
    test_close();
}

static ucs_status_t test_send_pending(uct_pending_req_t *req)
{
    return test_try_send();
}

static void test_wakes_for_room(void **state)
{
    test_open_and_meet();
    while (test_try_send() == UCS_OK) {
    }
    test.req.func = test_send_pending;
    assert_int_equal(uct_ep_pending_add(test.ep, &test.req, 0), UCS_OK);
    test_arm(0);
    assert_false(test_is_readable(0, 0));
    while (test.received < test.num_sent) {
        test_progress(1);
    }
    assert_true(test_is_readable(0, TEST_WAIT_MSEC));
    assert_int_equal(test_progress(0), 1);
    test_receive_all();
    test_close();
}

/* Arm, again and again, with @a prepare before each time, until it succeeds */
static void test_arm_bounded(void (*prepare)(void))
{
    unsigned i;

    prepare();
    for (i = 0; test_try_arm(1) == UCS_ERR_BUSY; ++i) {
        assert_true(i < TEST_MAX_BUSY);
        prepare();
    }
}

/* Sends as fast as it can */
static void *test_flood_sender(void *arg)
{
    const int *is_over = arg;

    while (!__atomic_load_n(is_over, __ATOMIC_ACQUIRE)) {
        if (test_try_send() != UCS_OK) {
            test_progress(0);
        }
    }
    return NULL;
}

static void test_receive_some(void)
{
    double   end    = utest_now() + XSHM_TEST_DEADLINE;
    unsigned before = test.received;

    while (test.received == before) {
        assert_true(utest_now() < end);
        test_progress(1);
    }
}

/* A peer that never stops, although progress takes what comes: arming succeeds
 * after all, and the descriptor is readable */
static void test_flood_with(const char *spin)
{
    int       is_over = 0;
    pthread_t thread;

    setenv("UCX_XSHM_SPIN", spin, 1);
    test_open_and_meet();
    unsetenv("UCX_XSHM_SPIN");
    assert_int_equal(pthread_create(&thread, NULL, test_flood_sender, &is_over),
                     0);
    test_arm_bounded(test_receive_some);
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    __atomic_store_n(&is_over, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    test_receive_all();
    test_close();
}

static void test_flood(void **state)
{
    test_flood_with("0");
}

static void test_flood_of_who_spins(void **state)
{
    test_flood_with("20us");
}

static void test_nothing(void)
{
}

/* The message is not taken */
static void test_unread(void **state)
{
    setenv("UCX_XSHM_SPIN", "0", 1);
    test_open_and_meet();
    unsetenv("UCX_XSHM_SPIN");
    test_send();
    test_arm_bounded(test_nothing);
    assert_true(test_is_readable(1, 0));
    test_receive_all();
    test_close();
}

static void test_spin_is_bounded(void **state)
{
    setenv("UCX_XSHM_SPIN", "1000s", 1);
    test_open();
    unsetenv("UCX_XSHM_SPIN");
    test_send();
    test_receive_all();
    test_arm_bounded(test_nothing);
    assert_true(test_is_readable(1, 0));
    test_progress(1);
    assert_false(test_is_readable(1, 0));
    test_close();
}

static struct rlimit test_file_limit;

/* Also after a test that failed */
static void test_allow_files(void)
{
    xshm_test_check(setrlimit(RLIMIT_NOFILE, &test_file_limit) == 0);
}

/* No file can be opened */
static void test_forbid_files(void)
{
    struct rlimit none = {.rlim_cur = 0, .rlim_max = test_file_limit.rlim_max};

    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
}

/* Arming succeeds, and whoever gets the descriptor later finds it readable */
static void test_no_descriptor(void **state)
{
    utest_iface_t first;

    test_open();
    first = test.iface[1];
    utest_iface_open(&test.iface[1], &test.context[1], NULL, NULL);
    uct_iface_progress_enable(test.iface[1].iface,
                              UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
    test_forbid_files();
    test_arm_bounded(test_nothing);
    test_allow_files();
    assert_in_range(xshm_test_log_count("too many open files"), 1,
                    TEST_MAX_LINES);

    assert_int_equal(uct_iface_event_fd_get(test.iface[1].iface, &test.fd[1]),
                     UCS_OK);
    assert_true(test_is_readable(1, 0));
    test_progress(1);
    assert_false(test_is_readable(1, 0));
    assert_int_equal(test_try_arm(1), UCS_OK);
    assert_false(test_is_readable(1, 0));
    utest_iface_close(&test.iface[1]);
    test.iface[1] = first;
    test_close();
}

/* There is nothing by which peers could wake it */
static void test_no_wake(void **state)
{
    test_open();
    test_send();
    test_receive_all();
    test_forbid_files();
    test_arm_bounded(test_nothing);
    test_allow_files();
    assert_in_range(xshm_test_log_count("too many open files"), 1,
                    TEST_MAX_LINES);
    assert_true(test_is_readable(1, 0));
    test_arm(1);
    assert_false(test_is_readable(1, 0));
    test_send();
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    test_receive_all();
    test_close();
}

/* The armed state is withdrawn by progress: nothing is notified then */
static void test_progress_withdraws(void **state)
{
    test_open_and_meet();
    test_arm(1);
    test_progress(1);
    test_send();
    assert_false(test_is_readable(1, 0));
    test_receive_all();
    test_close();
}

/* An interface that polls for long is not served any more, and asks again */
static void test_polls_and_sleeps(void **state)
{
    unsigned i;

    test_open_and_meet();
    for (i = 0; i < TEST_NUM_POLLS; ++i) {
        test_progress(1);
    }
    test_arm(1);
    test_send();
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    test_receive_all();
    test_close();
}

/* The message of a channel that is looked at seldom comes with the first
 * progress after waking up */
static void test_cold_channel_wakes(void **state)
{
    uct_ep_h        eps[TEST_NUM_PEERS];
    utest_iface_t   peers[TEST_NUM_PEERS];
    utest_address_t address;
    unsigned        i;

    test_open_and_meet();
    utest_address_get(&test.iface[1], &address);
    for (i = 0; i < TEST_NUM_PEERS; ++i) {
        utest_iface_open(&peers[i], &test.context[0], NULL, NULL);
        assert_int_equal(utest_connect(&peers[i], &address, &eps[i]), UCS_OK);
        assert_int_equal(uct_ep_am_short(eps[i], TEST_AM_ID, 0, NULL, 0),
                         UCS_OK);
        ++test.num_sent;
    }
    test_receive_all();
    for (i = 0; i < TEST_NUM_POLLS / 10; ++i) {
        test_progress(1);
    }

    for (i = 0; i < TEST_NUM_PEERS; ++i) {
        test_arm(1);
        assert_int_equal(uct_ep_am_short(eps[i], TEST_AM_ID, 0, NULL, 0),
                         UCS_OK);
        ++test.num_sent;
        assert_true(test_is_readable(1, TEST_WAIT_MSEC));
        assert_int_equal(test_progress(1), 1);
    }

    for (i = 0; i < TEST_NUM_PEERS; ++i) {
        uct_ep_destroy(eps[i]);
        utest_iface_close(&peers[i]);
    }
    test_close();
}

static void test_wakes_for_end(void **state)
{
    test_open_and_meet();
    test_arm(1);
    uct_ep_destroy(test.ep);
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    while (test_try_arm(1) == UCS_ERR_BUSY) {
        /* Control work is no message */
        assert_int_equal(test_progress(1), 0);
    }
    utest_iface_close(&test.iface[0]);
    utest_iface_close(&test.iface[1]);
    utest_context_close(&test.context[0]);
    utest_context_close(&test.context[1]);
}

/* News of peers is no message: UCP takes what progress returns for that */
static void test_new_channel_counts_nothing(void **state)
{
    test_open();
    test_arm(1);
    test_send();
    assert_true(test_is_readable(1, TEST_WAIT_MSEC));
    assert_int_equal(test_progress(1), 0);
    assert_int_equal(test.received, 0);
    assert_int_equal(test_progress(1), 1);
    assert_int_equal(test.received, 1);

    /* The other side hears that it is accepted */
    while (uct_ep_flush(test.ep, 0, NULL) == UCS_INPROGRESS) {
        assert_int_equal(test_progress(0), 0);
    }
    test_close();
}

/* Progress until an endpoint has failed */
static void test_await_failure(void)
{
    double end = utest_now() + XSHM_TEST_DEADLINE;

    while (test.failed == 0) {
        assert_true(utest_now() < end);
        assert_int_equal(test_progress(0), 0);
    }
}

static void test_gone_peer_counts_nothing(void **state)
{
    test_open_and_meet();
    test_arm(0);
    utest_iface_close(&test.iface[1]);
    assert_true(test_is_readable(0, TEST_WAIT_MSEC));
    test_await_failure();
    uct_ep_destroy(test.ep);
    utest_iface_close(&test.iface[0]);
    utest_context_close(&test.context[0]);
    utest_context_close(&test.context[1]);
}

static void test_refused_peer_counts_nothing(void **state)
{
    utest_address_t address;

    test_open();
    uct_ep_destroy(test.ep);
    utest_address_get(&test.iface[1], &address);
    ++((xshm_iface_addr_t *)address.iface)->token[0];
    assert_int_equal(utest_connect(&test.iface[0], &address, &test.ep), UCS_OK);
    test_arm(0);
    test_send();
    assert_true(test_is_readable(0, TEST_WAIT_MSEC));
    test_await_failure();
    test_close();
}

/* Memory of side 1 that side 0 accesses by message */
static struct {
    uint64_t          word;
    uct_mem_h         memh;
    uct_rkey_bundle_t rkey;
    uint64_t          result;
    uct_completion_t  comp;
} test_rma;

static void test_rma_done(uct_completion_t *comp)
{
}

static void test_rma_open(void)
{
    uint8_t       key[TEST_PATH_MAX];
    uct_md_attr_t attr;

    setenv("UCX_XSHM_RMA", "message", 1);
    test_open_and_meet();
    unsetenv("UCX_XSHM_RMA");
    memset(&test_rma, 0, sizeof(test_rma));
    test_rma.word = TEST_FREED;
    assert_int_equal(uct_md_query(test.context[1].md, &attr), UCS_OK);
    assert_true(attr.rkey_packed_size <= sizeof(key));
    assert_int_equal(uct_md_mem_reg(test.context[1].md, &test_rma.word,
                                    sizeof(test_rma.word),
                                    UCT_MD_MEM_ACCESS_ALL, &test_rma.memh),
                     UCS_OK);
    assert_int_equal(uct_md_mkey_pack(test.context[1].md, test_rma.memh, key),
                     UCS_OK);
    assert_int_equal(uct_rkey_unpack(test.context[0].component, key,
                                     &test_rma.rkey),
                     UCS_OK);
    test_rma.comp = (uct_completion_t){.func = test_rma_done, .count = 1};
}

static void test_rma_close(void)
{
    assert_int_equal(uct_rkey_release(test.context[0].component,
                                      &test_rma.rkey),
                     UCS_OK);
    assert_int_equal(uct_md_mem_dereg(test.context[1].md, test_rma.memh),
                     UCS_OK);
    test_close();
}

static void test_unpack(void *dst, const void *data, size_t length)
{
    memcpy(dst, data, length);
}

/* It sleeps until the peer has done what is under way, and is woken then */
static void test_rma_sleep(ucs_status_t status)
{
    double end = utest_now() + XSHM_TEST_DEADLINE;

    assert_int_equal(status, UCS_INPROGRESS);
    test_arm(0);
    /* It wakes by a timer until its peer's service has said that it will wake it */
    while (test_is_readable(0, TEST_QUIET_MSEC)) {
        assert_true(utest_now() < end);
        assert_int_equal(test_progress(0), 0);
        test_arm(0);
    }
    assert_int_equal(test_rma.comp.count, 1);
    while (!test_is_readable(0, 0)) {
        assert_true(utest_now() < end);
        test_progress(1);
        test_arm(1);
    }
    test_progress(0);
    assert_int_equal(test_rma.comp.count, 0);
    assert_int_equal(test_rma.comp.status, UCS_OK);
}

static void test_wakes_for_get(void **state)
{
    test_rma_open();
    test_rma_sleep(uct_ep_get_bcopy(test.ep, test_unpack, &test_rma.result,
                                    sizeof(test_rma.result),
                                    (uintptr_t)&test_rma.word,
                                    test_rma.rkey.rkey, &test_rma.comp));
    assert_int_equal(test_rma.result, TEST_FREED);
    test_rma_close();
}

static void test_wakes_for_atomic(void **state)
{
    test_rma_open();
    test_rma_sleep(uct_ep_atomic64_fetch(test.ep, UCT_ATOMIC_OP_ADD, 1,
                                         &test_rma.result,
                                         (uintptr_t)&test_rma.word,
                                         test_rma.rkey.rkey, &test_rma.comp));
    assert_int_equal(test_rma.result, TEST_FREED);
    assert_int_equal(test_rma.word, TEST_FREED + 1);
    test_rma_close();
}

static void test_wakes_for_flush(void **state)
{
    test_rma_open();
    assert_int_equal(uct_ep_put_short(test.ep, &test_rma.result,
                                      sizeof(test_rma.result),
                                      (uintptr_t)&test_rma.word,
                                      test_rma.rkey.rkey),
                     UCS_OK);
    test_rma_sleep(uct_ep_flush(test.ep, 0, &test_rma.comp));
    assert_int_equal(test_rma.word, 0);
    test_rma_close();
}

static void test_counters(void **state)
{
    const char *text;

    test_open_and_meet();
    test_send();
    test_receive_all();
    test_vfs_visit_all();
    assert_int_equal(test_vfs.count, 2);
    text = ucs_string_buffer_cstr(&test_vfs.text);
    assert_non_null(strstr(text, " sent=2 sent_bytes=16 received=0 "));
    assert_non_null(strstr(text, " sent=0 sent_bytes=0 received=2 "
                                 "received_bytes=16 "));
    assert_non_null(strstr(text, " violations=0"));
    ucs_string_buffer_cleanup(&test_vfs.text);
    test_close();
}

/* Channels that have come to an end */
static unsigned test_num_ended(unsigned num)
{
    char        text[TEST_PATH_MAX];
    unsigned    count = 0;
    const char *found;

    snprintf(text, sizeof(text), " %u ended channels:", num);
    test_vfs_visit_all();
    for (found = ucs_string_buffer_cstr(&test_vfs.text);
         (found = strstr(found, text)) != NULL; ++found) {
        ++count;
    }
    ucs_string_buffer_cleanup(&test_vfs.text);
    return count;
}

static void test_counts_stalls(void **state)
{
    test_open_and_meet();
    while (test_try_send() == UCS_OK) {
    }
    assert_int_equal(test_counter(0, "stalls"), 1);
    assert_int_equal(test_counter(1, "stalls"), 0);
    test_receive_all();
    test_close();
}

static void test_counts_notifications(void **state)
{
    unsigned long sleeps;

    test_open_and_meet();
    assert_int_equal(test_counter(0, "notifications_sent"), 0);
    sleeps = test_counter(1, "sleeps");
    test_arm(1);
    assert_int_equal(test_counter(1, "sleeps"), sleeps + 1);
    test_send();
    assert_int_equal(test_counter(0, "notifications_sent"), 1);
    assert_int_equal(test_counter(1, "notifications_received"), 0);
    test_receive_all();
    assert_int_equal(test_counter(1, "notifications_received"), 1);
    assert_int_equal(test_counter(1, "notifications_sent"), 0);
    assert_int_equal(test_counter(1, "wakes_without_work"), 0);
    test_close();
}

/* There is room, but not for what it has to send */
static ucs_status_t test_send_nothing(uct_pending_req_t *req)
{
    return UCS_ERR_NO_RESOURCE;
}

static void test_counts_wakes_without_work(void **state)
{
    test_open_and_meet();
    while (test_try_send() == UCS_OK) {
    }
    test.req.func = test_send_nothing;
    assert_int_equal(uct_ep_pending_add(test.ep, &test.req, 0), UCS_OK);
    test_arm_for_good(0);
    test_receive_all();
    assert_true(test_is_readable(0, TEST_WAIT_MSEC));
    assert_int_equal(test_counter(0, "wakes_without_work"), 0);
    assert_int_equal(test_progress(0), 0);
    assert_int_equal(test_counter(0, "wakes_without_work"), 1);
    test_close();
}

static void test_counts_refused(void **state)
{
    double          end = utest_now() + XSHM_TEST_DEADLINE;
    utest_address_t address;
    uct_ep_h        ep;

    test_open_and_meet();
    utest_address_get(&test.iface[1], &address);
    ++((xshm_iface_addr_t *)address.iface)->token[0];
    assert_int_equal(utest_connect(&test.iface[0], &address, &ep), UCS_OK);
    assert_int_equal(uct_ep_am_short(ep, TEST_AM_ID, 0, NULL, 0), UCS_OK);
    while (test_counter(1, "refused_requests") == 0) {
        assert_true(utest_now() < end);
    }
    assert_int_equal(test_counter(1, "refused_requests"), 1);
    assert_int_equal(test_counter(0, "refused_requests"), 0);
    uct_ep_destroy(ep);
    test_close();
}

/* More than the sender has said that its messages may have */
static size_t test_pack_too_much(void *dst, void *arg)
{
    return test.iface[0].attr.cap.am.max_bcopy + 1;
}

static void test_counts_violations(void **state)
{
    double end = utest_now() + XSHM_TEST_DEADLINE;

    test_open_and_meet();
    assert_int_equal(test_num_ended(0), 2);
    assert_int_equal(uct_ep_am_bcopy(test.ep, TEST_AM_ID, test_pack_too_much,
                                     NULL, 0),
                     test_pack_too_much(NULL, NULL));
    while (test_counter(1, "violations") == 0) {
        assert_true(utest_now() < end);
        test_progress(1);
    }
    assert_int_equal(test_counter(1, "violations"), 1);
    assert_int_equal(test_counter(0, "violations"), 0);
    assert_int_equal(test_num_ended(1), 1);
    test_close();
}

static void test_counts_yields(void **state)
{
    unsigned i;

    test_open_and_meet();
    assert_int_equal(test_counter(0, "yields"), 0);
    for (i = 0; i < TEST_NUM_POLLS / 10; ++i) {
        test_progress(0);
    }
    assert_true(test_counter(0, "yields") > 0);
    test_close();
}

/* Whose counters another thread reads, time and again */
static struct {
    pthread_mutex_t lock;
    char            path[TEST_PATH_MAX];
    int             is_over;
    unsigned        num_read;
} test_reader = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *test_read_counters(void *arg)
{
    /* A mutex is not fair: who takes it again at once, while the other one is
     * still waking up, could keep it for ever */
    const struct timespec pause = {.tv_nsec = 1};
    ucs_string_buffer_t   text;
    char                  path[TEST_PATH_MAX];

    while (!__atomic_load_n(&test_reader.is_over, __ATOMIC_ACQUIRE)) {
        pthread_mutex_lock(&test_reader.lock);
        memcpy(path, test_reader.path, sizeof(path));
        pthread_mutex_unlock(&test_reader.lock);
        ucs_string_buffer_init(&text);
        test_reader.num_read += (ucs_vfs_path_read_file(path, &text) == UCS_OK);
        ucs_string_buffer_cleanup(&text);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* Let it read those of the interface that was opened last: UCX lists it first */
static void test_show_reader(void)
{
    unsigned i = 0;

    test_vfs_visit_all();
    ucs_string_buffer_cleanup(&test_vfs.text);
    while (strstr(test_vfs.paths[i], "/" TEST_STATS) == NULL) {
        assert_true(++i < test_vfs.num_paths);
    }
    pthread_mutex_lock(&test_reader.lock);
    memcpy(test_reader.path, test_vfs.paths[i], TEST_PATH_MAX);
    pthread_mutex_unlock(&test_reader.lock);
}

/* Many peers, also those that do not exist: nothing is sent */
static void test_come_and_go(utest_iface_t *iface, utest_address_t *address)
{
    uct_ep_h eps[TEST_NUM_EPS];
    unsigned i;

    for (i = 0; i < TEST_NUM_EPS; ++i) {
        ((xshm_iface_addr_t *)address->iface)->iface = i;
        assert_int_equal(utest_connect(iface, address, &eps[i]), UCS_OK);
    }
    for (i = 0; i < TEST_NUM_EPS; ++i) {
        uct_ep_destroy(eps[i]);
    }
}

/* UCX does not keep channels from ending while the counters are read. What is
 * freed is overwritten, so that reading it does not go unnoticed. The interface
 * stays: when one ends meanwhile, UCX 1.13 itself reads what is freed. */
static void test_counters_of_what_ends(void **state)
{
    utest_address_t address;
    utest_iface_t   iface;
    pthread_t       thread;
    unsigned        i;

    (void)mallopt(M_PERTURB, TEST_FREED);
    test_open_and_meet();
    utest_iface_open(&iface, &test.context[1], NULL, NULL);
    utest_address_get(&test.iface[1], &address);
    test_reader.is_over  = 0;
    test_reader.num_read = 0;
    test_show_reader();
    assert_int_equal(pthread_create(&thread, NULL, test_read_counters, NULL),
                     0);
    for (i = 0; i < TEST_NUM_ROUNDS; ++i) {
        test_come_and_go(&iface, &address);
    }
    __atomic_store_n(&test_reader.is_over, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_true(test_reader.num_read > TEST_NUM_ROUNDS);
    utest_iface_close(&iface);
    test_close();
    (void)mallopt(M_PERTURB, 0);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_flags),
            cmocka_unit_test(test_wakes_for_request),
            cmocka_unit_test(test_wakes_for_message),
            cmocka_unit_test(test_parked_is_never_busy),
            cmocka_unit_test(test_wakes_for_room),
            cmocka_unit_test(test_flood),
            cmocka_unit_test(test_flood_of_who_spins),
            cmocka_unit_test(test_unread),
            cmocka_unit_test(test_spin_is_bounded),
            cmocka_unit_test(test_no_descriptor),
            cmocka_unit_test(test_no_wake),
            cmocka_unit_test(test_progress_withdraws),
            cmocka_unit_test(test_polls_and_sleeps),
            cmocka_unit_test(test_cold_channel_wakes),
            cmocka_unit_test(test_wakes_for_end),
            cmocka_unit_test(test_new_channel_counts_nothing),
            cmocka_unit_test(test_gone_peer_counts_nothing),
            cmocka_unit_test(test_refused_peer_counts_nothing),
            cmocka_unit_test(test_wakes_for_get),
            cmocka_unit_test(test_wakes_for_atomic),
            cmocka_unit_test(test_wakes_for_flush),
            cmocka_unit_test(test_counters),
            cmocka_unit_test(test_counts_stalls),
            cmocka_unit_test(test_counts_notifications),
            cmocka_unit_test(test_counts_wakes_without_work),
            cmocka_unit_test(test_counts_refused),
            cmocka_unit_test(test_counts_violations),
            cmocka_unit_test(test_counts_yields),
            cmocka_unit_test(test_counters_of_what_ends)};
    const char *library = getenv("XSHM_TEST_LIBRARY");

    if ((library == NULL) || (dlopen(library, RTLD_NOW) == NULL)) {
        utest_fail("cannot load the library: set XSHM_TEST_LIBRARY to its "
                   "name (%s)",
                   dlerror());
    }

    xshm_test_check(getrlimit(RLIMIT_NOFILE, &test_file_limit) == 0);
    xshm_test_reset = test_allow_files;
    xshm_test_log_start();
    return xshm_test_run_on_devices("event", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
