/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Processes of a machine that find out at the same moment how many pages can be
 * granted. They lock the device's file; here it is an ordinary one. And to what the
 * limit can be raised.
 */

#include "test_util.h"

#include <uct/xshm/platform/gntalloc.h>
#include <uct/xshm/platform/grant_limit.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>


/* As long as some ranks take on a slow machine, one after the other */
#define TEST_TRY_NSEC 300000000

static char test_path[] = "/tmp/test_gntalloc.XXXXXX";


static int test_setup(void **state)
{
    int fd = mkstemp(test_path);

    (void)state;
    return (fd < 0) ? -1 : close(fd);
}

static int test_teardown(void **state)
{
    (void)state;
    return unlink(test_path);
}

/* A lock belongs to the open file: each process opens its own */
static int test_open(void)
{
    int fd = open(test_path, O_RDWR | O_CLOEXEC);

    xshm_test_check(fd >= 0);
    return fd;
}

static void test_hold(int fd, void *arg)
{
    const struct timespec duration = {.tv_nsec = TEST_TRY_NSEC};
    char                  ready    = 1;
    int                   file     = test_open();

    xshm_test_check(xshm_gntalloc_begin_try(file));
    xshm_test_put(fd, &ready, sizeof(ready));
    if (arg != NULL) {
        pause();
    }

    nanosleep(&duration, NULL);
    xshm_gntalloc_end_try(file);
}

/* Another process has the lock when this returns, and keeps it for a while, or
 * until it is killed. @return A file of our own. */
static int test_start_holder(xshm_test_peer_t *peer, int for_ever)
{
    char ready;

    xshm_test_peer_start(peer, test_hold, for_ever ? &ready : NULL);
    xshm_test_get(peer->fd, &ready, sizeof(ready));
    return test_open();
}

static void test_waits_for_others(void **state)
{
    xshm_test_peer_t peer;
    int              fd = test_start_holder(&peer, 0);

    (void)state;
    assert_true(xshm_gntalloc_begin_try(fd));
    xshm_gntalloc_end_try(fd);
    xshm_test_peer_join(&peer);
    close(fd);
}

/* A process that was stopped holds up the others, but not for ever */
static void test_gives_up(void **state)
{
    xshm_test_peer_t peer;
    int              fd = test_start_holder(&peer, 1);

    (void)state;
    assert_false(xshm_gntalloc_begin_try(fd));
    xshm_gntalloc_await_try(fd);
    xshm_test_peer_kill(&peer);
    assert_true(xshm_gntalloc_begin_try(fd));
    close(fd);
}

/* Never beyond what the grant table has room for */
static void test_raises_the_limit(void **state)
{
    (void)state;
    assert_int_equal(xshm_grant_limit_raised(1024), XSHM_GRANT_LIMIT_WANTED);
    assert_int_equal(xshm_grant_limit_raised(10000), 20000);
    assert_int_equal(xshm_grant_limit_raised(16384), 24576);
    assert_int_equal(xshm_grant_limit_raised(24576), -1);
    assert_int_equal(xshm_grant_limit_raised(65536), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_waits_for_others),
                                       cmocka_unit_test(test_gives_up),
                                       cmocka_unit_test(test_raises_the_limit)};

    return cmocka_run_group_tests_name("gntalloc", tests, test_setup,
                                       test_teardown);
}
