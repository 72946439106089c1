/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Peers' memory that is mapped, of a platform that is a function of this file:
 * who knows the names of another machine's memory does not get in its place.
 */

#include "test_util.h"

#include <uct/xshm/memory/view.h>
#include <uct/xshm/service/service.h>

#include <string.h>


#define TEST_OWNER   7 /* The machine that has the memory ... */
#define TEST_HOSTILE 8 /* ... and the one that knows its names */
#define TEST_PROCESS 0x1111
#define TEST_REGION  0x2222


/* Memory of each domain */
static char test_memory[2];

static unsigned test_num_asked;
static unsigned test_num_unmapped;

static int test_domain(const void *dev_addr)
{
    return *(const uint8_t *)dev_addr;
}

/* Each machine gives what it has */
static void test_ask(xshm_platform_t *platform, xshm_region_ask_t *ask)
{
    xshm_region_info_t info = {.base   = 0,
                               .length = 1,
                               .region = ask->region,
                               .rights = XSHM_RIGHT_ALL};

    (void)platform;

    ++test_num_asked;
    info.address = &test_memory[ask->dev_addr[0] - TEST_OWNER];
    xshm_view_answered(ask, &info);
}

static void test_unmap(const xshm_region_info_t *info)
{
    (void)info;

    __atomic_add_fetch(&test_num_unmapped, 1, __ATOMIC_SEQ_CST);
}

static const xshm_platform_ops_t test_ops = {.dev_addr_size = 1,
                                             .domain        = test_domain,
                                             .region_ask    = test_ask,
                                             .region_unmap  = test_unmap};

static xshm_platform_t test_platform = {.ops = &test_ops, .process = 1};


/* As an operation does, by an endpoint to that domain */
static xshm_view_t *test_map(uint8_t domain)
{
    xshm_abi_key_t key  = {.process = TEST_PROCESS, .region = TEST_REGION};
    xshm_view_t   *view = xshm_view_get(&key, domain);

    assert_non_null(view);
    if (xshm_view_state(view) == XSHM_VIEW_NEW) {
        xshm_view_ask(view, &test_platform, &domain, &key);
    }
    xshm_test_wait(xshm_view_state(view) == XSHM_VIEW_MAPPED);
    return view;
}

/* Its key comes first, and what it offers is mapped */
static void test_names_of_another_machine(void **state)
{
    xshm_view_t *hostile = test_map(TEST_HOSTILE);
    xshm_view_t *owner   = test_map(TEST_OWNER);

    (void)state;

    assert_ptr_equal(hostile->info.address, &test_memory[1]);
    assert_ptr_equal(owner->info.address, &test_memory[0]);
    xshm_view_put(hostile);
    xshm_view_put(owner);

    /* What has been mapped is found again, each by its own */
    test_num_asked = 0;
    owner          = test_map(TEST_OWNER);
    assert_int_equal(test_num_asked, 0);
    assert_ptr_equal(owner->info.address, &test_memory[0]);
    xshm_view_put(owner);
}

/* Nor can it have what is mapped be forgotten */
static void test_end_of_another_machine(void **state)
{
    (void)state;

    test_num_unmapped = 0;
    xshm_view_put(test_map(TEST_HOSTILE));
    xshm_view_put(test_map(TEST_OWNER));
    xshm_view_gone(TEST_PROCESS, TEST_REGION, TEST_HOSTILE);
    xshm_test_wait(__atomic_load_n(&test_num_unmapped, __ATOMIC_SEQ_CST) == 1);
    test_num_asked = 0;
    xshm_view_put(test_map(TEST_OWNER));
    assert_int_equal(test_num_asked, 0);

    xshm_view_gone(TEST_PROCESS, TEST_REGION, TEST_OWNER);
    xshm_test_wait(__atomic_load_n(&test_num_unmapped, __ATOMIC_SEQ_CST) == 2);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_names_of_another_machine),
            cmocka_unit_test(test_end_of_another_machine)};

    if (xshm_service_start() != UCS_OK) {
        return 1;
    }

    return cmocka_run_group_tests_name("view", tests, NULL, NULL);
}
