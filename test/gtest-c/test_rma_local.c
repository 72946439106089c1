/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Memory that peers map on the device "local": an owner that is asked for what
 * is not there any more, and owners that give what is not as it must be.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create() and seals */
#endif

#include "test_raw.h"
#include "test_side.h"

#include <uct/xshm/memory/registry.h>
#include <uct/xshm/memory/view.h>
#include <uct/xshm/platform/local/local.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


#define TEST_SEALS   (F_SEAL_SHRINK | F_SEAL_GROW)
#define TEST_LENGTH  (3 * XSHM_ABI_PAGE_SIZE)
#define TEST_PROCESS 0x1234567890abcdeful
#define TEST_BASE    0x7000000ul


static xshm_reg_t *test_alloc(void)
{
    xshm_region_spec_t spec = {.length = TEST_LENGTH,
                               .rights = XSHM_RIGHT_ALL,
                               .domain = XSHM_DOMAIN_SAME};
    xshm_reg_t        *reg;

    assert_int_equal(xshm_reg_alloc(&xshm_local_ops, &spec, &reg), UCS_OK);
    return reg;
}

static xshm_reg_t *test_add(void *address, size_t length)
{
    xshm_reg_t *reg;

    assert_int_equal(xshm_reg_add(address, length, XSHM_RIGHT_ALL, 0, &reg),
                     UCS_OK);
    return reg;
}

/* Ask as a user of that registration would */
static void
test_map(int fd, uint32_t slot, uint64_t id, xshm_local_msg_t *answer)
{
    xshm_local_msg_t msg = {.magic   = XSHM_LOCAL_MAGIC,
                            .version = XSHM_ABI_VERSION,
                            .type    = XSHM_LOCAL_MSG_MAP,
                            .slot    = slot,
                            .id      = id};

    xshm_raw_send(fd, &msg, sizeof(msg), NULL, 0);
    xshm_raw_receive(fd, answer);
    assert_int_equal(answer->slot, slot);
    assert_true(answer->id == id);
}

static void test_expect_no_region(int fd, uint32_t slot, uint64_t id)
{
    xshm_local_msg_t answer;

    test_map(fd, slot, id, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_NO_REGION);
    assert_true(answer.region == 0);
}

static void test_expect_region(int fd, const xshm_reg_t *reg)
{
    xshm_local_msg_t answer;

    test_map(fd, reg->slot, reg->id, &answer);
    assert_int_equal(answer.type, XSHM_LOCAL_MSG_REGION);
    assert_true(answer.region == reg->region->id);
    assert_true(answer.base == (uintptr_t)reg->region->address);
    assert_true(answer.length == TEST_LENGTH);
    assert_int_equal(answer.rights, XSHM_RIGHT_ALL);
}

/* Names of what is there, of nothing, and of what cannot be mapped */
static void test_wrong_names(void **state)
{
    char            *buffer = malloc(TEST_LENGTH);
    xshm_test_side_t side;
    xshm_reg_t      *all, *other;
    int              fd;

    xshm_test_side_open(&side);
    fd    = xshm_raw_connect(side.platform->process);
    all   = test_alloc();
    other = test_add(buffer, TEST_LENGTH);
    test_expect_region(fd, all);
    test_expect_no_region(fd, all->slot, all->id + 1);
    test_expect_no_region(fd, all->slot, other->id);
    test_expect_no_region(fd, other->slot, all->id);
    test_expect_no_region(fd, all->slot + 1000, all->id);
    test_expect_no_region(fd, UINT32_MAX, all->id);
    test_expect_no_region(fd, all->slot, 0);
    test_expect_no_region(fd, other->slot, other->id);
    test_expect_region(fd, all);
    xshm_reg_remove(other);
    xshm_reg_remove(all);
    close(fd);
    xshm_test_side_close(&side);
    free(buffer);
}

/* A registration that has ended, in memory that is still there; then its place is
 * another's */
static void test_stale_names(void **state)
{
    xshm_test_side_t side;
    xshm_reg_t      *all, *part;
    uint64_t         id;
    uint32_t         slot;
    int              fd;

    xshm_test_side_open(&side);
    fd   = xshm_raw_connect(side.platform->process);
    all  = test_alloc();
    part = test_add((void *)(uintptr_t)all->base, 100);
    slot = part->slot;
    id   = part->id;
    test_expect_region(fd, part);
    xshm_reg_remove(part);
    test_expect_no_region(fd, slot, id);

    part = test_add((void *)(uintptr_t)all->base, 100);
    assert_int_equal(part->slot, slot);
    test_expect_no_region(fd, slot, id);
    test_expect_region(fd, part);
    xshm_reg_remove(part);
    test_expect_region(fd, all);
    slot = all->slot;
    id   = all->id;
    xshm_reg_remove(all);
    close(fd);

    /* All of it is freed */
    fd = xshm_raw_connect(side.platform->process);
    test_expect_no_region(fd, slot, id);
    close(fd);
    xshm_test_side_close(&side);
}


/* Somebody who asks an owner that is written by hand */
typedef struct test_user {
    xshm_test_side_t side;
    int              listener;
    int              fd; /* The owner's end of the socket */
    unsigned         maps;
    unsigned         fds;
    xshm_abi_key_t   key;
    xshm_view_t     *view;
} test_user_t;

static void test_user_open(test_user_t *user)
{
    memset(user, 0, sizeof(*user));
    xshm_test_side_open(&user->side);
    user->listener = xshm_raw_listen(TEST_PROCESS);
    user->maps     = xshm_test_count_shared_maps();
    user->fds      = xshm_test_count_fds();
    user->fd       = -1;
}

/* The owner gets the question. Each is about other memory. */
static void test_user_ask(test_user_t *user, xshm_local_msg_t *msg)
{
    ++user->key.region;
    user->key.process = TEST_PROCESS;
    user->key.id      = 5;
    user->key.slot    = 6;
    user->view        = xshm_view_get(&user->key, XSHM_DOMAIN_SAME);
    assert_non_null(user->view);
    xshm_view_ask(user->view, user->side.platform, user->side.dev_addr,
                  &user->key);
    if (user->fd < 0) {
        user->fd = xshm_raw_accept(user->listener);
        xshm_raw_receive(user->fd, msg);
        assert_int_equal(msg->type, XSHM_LOCAL_MSG_HELLO);
    }
    xshm_raw_receive(user->fd, msg);
    assert_int_equal(msg->type, XSHM_LOCAL_MSG_MAP);
    assert_true((msg->slot == user->key.slot) && (msg->id == user->key.id));
    msg->type   = XSHM_LOCAL_MSG_REGION;
    msg->region = user->key.region;
    msg->rights = XSHM_RIGHT_ALL;
    msg->base   = TEST_BASE;
    msg->length = TEST_LENGTH;
}

/* It is not mapped: access goes by message. No descriptor stays. */
static void test_user_expect_none(test_user_t *user)
{
    xshm_test_wait(xshm_view_state(user->view) != XSHM_VIEW_ASKING);
    assert_int_equal(xshm_view_state(user->view), XSHM_VIEW_NONE);
    xshm_view_put(user->view);
    xshm_test_wait(xshm_test_count_shared_maps() == user->maps);
    if (user->fd >= 0) {
        close(user->fd);
        user->fd = -1;
    }
    xshm_test_wait(xshm_test_count_fds() == user->fds);
}

static void
test_user_expect_refused(test_user_t *user, const xshm_local_msg_t *msg, int fd)
{
    xshm_raw_send(user->fd, msg, sizeof(*msg), &fd, fd >= 0);
    if (fd >= 0) {
        close(fd);
    }
    test_user_expect_none(user);
}

static void test_user_close(test_user_t *user)
{
    close(user->listener);
    xshm_test_side_close(&user->side);
}

/* What the other tests change in one point is mapped as it is, and let go when
 * its owner says so */
static void test_good_owner(void **state)
{
    int              fd = xshm_raw_memfd(TEST_LENGTH, TEST_SEALS);
    xshm_local_msg_t msg;
    test_user_t      user;

    test_user_open(&user);
    test_user_ask(&user, &msg);
    xshm_raw_send(user.fd, &msg, sizeof(msg), &fd, 1);
    xshm_test_wait(xshm_view_state(user.view) == XSHM_VIEW_MAPPED);
    assert_true(user.view->info.base == TEST_BASE);
    assert_true(user.view->info.length == TEST_LENGTH);
    assert_int_equal(xshm_test_count_shared_maps(), user.maps + 1);
    memset(user.view->info.address, 1, TEST_LENGTH);
    xshm_view_put(user.view);

    msg.type = XSHM_LOCAL_MSG_FORGET;
    xshm_raw_send(user.fd, &msg, sizeof(msg), NULL, 0);
    xshm_test_wait(xshm_test_count_shared_maps() == user.maps);
    close(fd);
    close(user.fd);
    test_user_close(&user);
}

/* Files that could be cut off, have not all that was said, or cannot be mapped */
static void test_wrong_files(void **state)
{
    xshm_local_msg_t msg;
    test_user_t      user;
    char             path[64];
    unsigned         i;
    int              fd, other;

    test_user_open(&user);
    for (i = 0; i < 9; ++i) {
        test_user_ask(&user, &msg);
        switch (i) {
        case 0:
            fd = -1;
            break;
        case 1:
            fd = xshm_raw_memfd(TEST_LENGTH, 0);
            break;
        case 2:
            fd = xshm_raw_memfd(TEST_LENGTH, F_SEAL_SHRINK);
            break;
        case 3:
            fd = xshm_raw_memfd(TEST_LENGTH, F_SEAL_GROW);
            break;
        case 4:
            fd = xshm_raw_memfd(TEST_LENGTH - 1, TEST_SEALS);
            break;
        case 5:
            fd = xshm_raw_memfd(TEST_LENGTH + XSHM_ABI_PAGE_SIZE, TEST_SEALS);
            break;
        case 6:
            fd = memfd_create("sparse", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            assert_int_equal(ftruncate(fd, TEST_LENGTH), 0);
            assert_int_equal(fcntl(fd, F_ADD_SEALS, TEST_SEALS), 0);
            break;
        case 7:
            fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
            break;
        default:
            /* It says that it may be written */
            other = xshm_raw_memfd(TEST_LENGTH, TEST_SEALS);
            snprintf(path, sizeof(path), "/proc/self/fd/%d", other);
            fd = open(path, O_RDONLY | O_CLOEXEC);
            close(other);
            break;
        }
        test_user_expect_refused(&user, &msg, fd);
    }
    test_user_close(&user);
}

static void test_wrong_words(void **state)
{
    xshm_local_msg_t msg;
    test_user_t      user;
    unsigned         i;

    test_user_open(&user);
    for (i = 0; i < 8; ++i) {
        test_user_ask(&user, &msg);
        switch (i) {
        case 0:
            msg.length = 0;
            break;
        case 1:
            msg.length = UINT64_MAX;
            break;
        case 2:
            msg.base = UINT64_MAX - TEST_LENGTH + 1;
            msg.base += XSHM_ABI_PAGE_SIZE;
            break;
        case 3:
            msg.rights = XSHM_RIGHT_ALL + 1;
            break;
        case 4:
            msg.region += 1000;
            break;
        case 5:
            msg.type = XSHM_LOCAL_MSG_NO_REGION;
            break;
        case 6:
            /* The answer to no question: the socket is closed */
            msg.id += 1;
            break;
        default:
            msg.slot += 1;
            break;
        }
        test_user_expect_refused(&user, &msg,
                                 (i == 5) ? -1 :
                                            xshm_raw_memfd(TEST_LENGTH,
                                                           TEST_SEALS));
    }
    test_user_close(&user);
}

/* No answer at all, but an end */
static void test_no_answer(void **state)
{
    xshm_local_msg_t msg;
    test_user_t      user;

    test_user_open(&user);
    test_user_ask(&user, &msg);
    close(user.fd);
    user.fd = -1;
    test_user_expect_none(&user);
    test_user_close(&user);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_wrong_names),
            cmocka_unit_test(test_stale_names),
            cmocka_unit_test(test_good_owner),
            cmocka_unit_test(test_wrong_files),
            cmocka_unit_test(test_wrong_words),
            cmocka_unit_test(test_no_answer)};

    xshm_test_log_start();
    xshm_test_reset = xshm_service_stop;
    return xshm_test_run_on_devices("rma_local", tests,
                                    XSHM_TEST_ARRAY_SIZE(tests));
}
