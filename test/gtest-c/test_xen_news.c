/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What other virtual machines change in xenstore, however fast they do it. Needs
 * no Xen.
 */

#include "test_util.h"

#include <uct/xshm/platform/xen/xen_news.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define TEST_HOSTILE 3
#define TEST_GOOD    4
#define TEST_NOW     1000000

/* After so long, a domain has its whole budget again, ms */
#define TEST_LONG (XSHM_XEN_NEWS_BURST / XSHM_XEN_NEWS_RATE)


static xshm_xen_news_t      test_news;
static xshm_xen_news_item_t test_item;


static int test_setup(void **state)
{
    (void)state;

    xshm_xen_news_init(&test_news);
    return 0;
}

static int test_teardown(void **state)
{
    (void)state;

    xshm_xen_news_cleanup(&test_news);
    return 0;
}

static int test_add(uint32_t domid, const char *name)
{
    return xshm_xen_news_add(&test_news, domid, XSHM_XEN_REQUESTS, name,
                             TEST_NOW);
}

static int test_add_number(uint32_t domid, unsigned number)
{
    char name[XSHM_XEN_NAME_MAX];

    snprintf(name, sizeof(name), "%u", number);
    return test_add(domid, name);
}

static int test_take(uint64_t now_ms)
{
    return xshm_xen_news_take(&test_news, now_ms, &test_item);
}

static unsigned test_take_all(uint64_t now_ms)
{
    unsigned count = 0;

    while (test_take(now_ms)) {
        ++count;
    }

    return count;
}

/* All of its budget is used */
static void test_exhaust(uint32_t domid)
{
    unsigned i;

    for (i = 0; i < XSHM_XEN_NEWS_BURST; ++i) {
        assert_true(test_add_number(domid, i));
        assert_true(test_take(TEST_NOW));
        assert_int_equal(test_item.domid, domid);
    }
}

static void test_nothing(void **state)
{
    (void)state;

    assert_false(test_take(TEST_NOW));
    assert_int_equal(xshm_xen_news_wait(&test_news, TEST_NOW), -1);
}

static void test_in_order(void **state)
{
    (void)state;

    assert_true(test_add(TEST_GOOD, "a"));
    assert_true(xshm_xen_news_add(&test_news, TEST_GOOD, XSHM_XEN_REFUSALS, "a",
                                  TEST_NOW));
    assert_int_equal(xshm_xen_news_wait(&test_news, TEST_NOW), 0);

    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.domid, TEST_GOOD);
    assert_int_equal(test_item.folder, XSHM_XEN_REQUESTS);
    assert_string_equal(test_item.name, "a");
    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.folder, XSHM_XEN_REFUSALS);
    assert_string_equal(test_item.name, "a");
    assert_false(test_take(TEST_NOW));
    assert_int_equal(xshm_xen_news_wait(&test_news, TEST_NOW), -1);
}

/* A node is looked at once, however often it changes; and again if it changes
 * after that */
static void test_equal_changes_are_one(void **state)
{
    unsigned i;

    (void)state;

    for (i = 0; i < 100000; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i % 7));
        assert_true(xshm_xen_news_add(&test_news, TEST_HOSTILE,
                                      XSHM_XEN_IDENTITY, "", TEST_NOW));
    }

    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.folder, XSHM_XEN_IDENTITY);
    assert_int_equal(test_take_all(TEST_NOW), 7);

    assert_true(test_add_number(TEST_HOSTILE, 0));
    assert_int_equal(test_take_all(TEST_NOW), 1);
}

/* Whatever a domain does, so many are kept; the place of those that were taken
 * is used again */
static void test_changes_of_a_domain_are_bounded(void **state)
{
    unsigned i;

    (void)state;

    for (i = 0; i < XSHM_XEN_NEWS_MAX; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i));
    }

    assert_false(test_add_number(TEST_HOSTILE, i));
    /* What is there already, and who it is, need no more room */
    assert_true(test_add_number(TEST_HOSTILE, 0));
    assert_true(xshm_xen_news_add(&test_news, TEST_HOSTILE, XSHM_XEN_IDENTITY,
                                  "", TEST_NOW));
    /* Others have their own */
    assert_true(test_add_number(TEST_GOOD, i));

    assert_int_equal(test_take_all(TEST_NOW), XSHM_XEN_NEWS_MAX + 2);
    for (i = 0; i < XSHM_XEN_NEWS_MAX / 2; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i));
        assert_true(test_take(TEST_NOW));
        assert_int_equal(strtoul(test_item.name, NULL, 10), i);
    }
}

static void test_domains_take_turns(void **state)
{
    unsigned i;

    (void)state;

    for (i = 0; i < XSHM_XEN_NEWS_MAX; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i));
    }

    assert_true(test_take(TEST_NOW));
    assert_true(test_add(TEST_GOOD, "a"));
    assert_true(test_add(TEST_GOOD, "b"));

    /* Each of them waits for one other at most */
    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.domid, TEST_HOSTILE);
    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.domid, TEST_GOOD);
    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.domid, TEST_HOSTILE);
    assert_true(test_take(TEST_NOW));
    assert_int_equal(test_item.domid, TEST_GOOD);
    assert_string_equal(test_item.name, "b");
}

static void test_a_flood_has_a_budget(void **state)
{
    unsigned i;

    (void)state;

    test_exhaust(TEST_HOSTILE);
    for (i = 0; i < XSHM_XEN_NEWS_MAX; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i));
    }

    assert_false(test_take(TEST_NOW));
    assert_int_equal(xshm_xen_news_wait(&test_news, TEST_NOW),
                     XSHM_XEN_NEWS_PAUSE_MS);
    assert_int_equal(test_take_all(TEST_NOW + XSHM_XEN_NEWS_PAUSE_MS),
                     XSHM_XEN_NEWS_PAUSE_MS * XSHM_XEN_NEWS_RATE);

    /* Others are not concerned */
    assert_true(test_add(TEST_GOOD, "a"));
    assert_int_equal(xshm_xen_news_wait(&test_news,
                                        TEST_NOW + XSHM_XEN_NEWS_PAUSE_MS),
                     0);
    assert_int_equal(test_take_all(TEST_NOW + XSHM_XEN_NEWS_PAUSE_MS), 1);
    assert_int_equal(test_item.domid, TEST_GOOD);
}

/* Neither a pause nor being forgotten gives more */
static void test_a_budget_does_not_grow(void **state)
{
    unsigned i;

    (void)state;

    test_exhaust(TEST_HOSTILE);
    assert_false(test_take(TEST_NOW + TEST_LONG / 4));
    for (i = 0; i < XSHM_XEN_NEWS_MAX; ++i) {
        assert_true(test_add_number(TEST_HOSTILE, i));
    }
    assert_int_equal(test_take_all(TEST_NOW + TEST_LONG / 4),
                     XSHM_XEN_NEWS_BURST / 4);
}

static void test_who_is_silent_is_forgotten(void **state)
{
    (void)state;

    test_exhaust(TEST_GOOD);
    assert_false(test_take(TEST_NOW + 3 * TEST_LONG));
    assert_true(ucs_list_is_empty(&test_news.sources));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_nothing, test_setup,
                                            test_teardown),
            cmocka_unit_test_setup_teardown(test_in_order, test_setup,
                                            test_teardown),
            cmocka_unit_test_setup_teardown(test_equal_changes_are_one,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(
                    test_changes_of_a_domain_are_bounded, test_setup,
                    test_teardown),
            cmocka_unit_test_setup_teardown(test_domains_take_turns, test_setup,
                                            test_teardown),
            cmocka_unit_test_setup_teardown(test_a_flood_has_a_budget,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(test_a_budget_does_not_grow,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(test_who_is_silent_is_forgotten,
                                            test_setup, test_teardown)};

    return cmocka_run_group_tests_name("xen_news", tests, NULL, NULL);
}
