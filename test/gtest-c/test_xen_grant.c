/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * What two machines say to each other about granted memory, and to whom memory
 * is granted. Calls nothing of Xen.
 */

#include "test_util.h"

#include <uct/xshm/platform/xen/xen_grant.h>

#include <stdlib.h>
#include <string.h>


#define TEST_NAME  0x1122334455667788ul
#define TEST_BASE  0x7f0000000000ul
#define TEST_PAGES 5u

/* References in the first page of a table, and in each other */
#define TEST_FIRST_REFS 768u
#define TEST_PAGE_REFS  1024u


static xshm_abi_table_t test_table;


static const xshm_xen_table_t test_content = {.base   = TEST_BASE,
                                              .length = TEST_PAGES *
                                                        XSHM_ABI_PAGE_SIZE,
                                              .rights = XSHM_RIGHT_PUT |
                                                        XSHM_RIGHT_GET,
                                              .mappers_ref = 77};


static int test_setup(void **state)
{
    (void)state;

    memset(&test_table, 0, sizeof(test_table));
    xshm_xen_table_write(&test_table, TEST_NAME, &test_content);
    return 0;
}

static void test_only_domain(void **state)
{
    (void)state;

    assert_int_equal(xshm_xen_domain_only(XSHM_DOMAIN_SAME, 3), 3);
    assert_int_equal(xshm_xen_domain_only(3, 3), 3);
    assert_int_equal(xshm_xen_domain_only(3, XSHM_DOMAIN_SAME), 3);
    assert_int_equal(xshm_xen_domain_only(3, 4), XSHM_XEN_DOMAIN_MANY);
    assert_int_equal(xshm_xen_domain_only(XSHM_XEN_DOMAIN_MANY, 3),
                     XSHM_XEN_DOMAIN_MANY);
    assert_int_equal(xshm_xen_domain_only(XSHM_XEN_DOMAIN_MANY,
                                          XSHM_DOMAIN_SAME),
                     XSHM_XEN_DOMAIN_MANY);
}

static void test_table_says_what_was_written(void **state)
{
    xshm_xen_table_t content;

    (void)state;

    assert_true(xshm_xen_table_read(&test_table, TEST_NAME, &content));
    assert_int_equal(content.base, TEST_BASE);
    assert_int_equal(content.length, TEST_PAGES * XSHM_ABI_PAGE_SIZE);
    assert_int_equal(content.rights, XSHM_RIGHT_PUT | XSHM_RIGHT_GET);
    assert_int_equal(content.mappers_ref, 77);
    assert_int_equal(content.num_pages, TEST_PAGES);
    assert_int_equal(content.num_more, 0);
    assert_true(xshm_xen_table_is_current(&test_table, TEST_NAME));
}

static void test_table_of_other_memory(void **state)
{
    xshm_xen_table_t content;

    (void)state;

    assert_false(xshm_xen_table_read(&test_table, TEST_NAME + 1, &content));
    assert_false(xshm_xen_table_is_current(&test_table, TEST_NAME + 1));
}

static void test_freed_memory(void **state)
{
    xshm_xen_table_t content;

    (void)state;

    xshm_xen_table_revoke(&test_table);
    assert_false(xshm_xen_table_read(&test_table, TEST_NAME, &content));
    assert_false(xshm_xen_table_read(&test_table, 0, &content));
    assert_false(xshm_xen_table_is_current(&test_table, TEST_NAME));
    xshm_xen_table_write(&test_table, TEST_NAME + 1, &test_content);
    assert_false(xshm_xen_table_is_current(&test_table, TEST_NAME));
    assert_true(xshm_xen_table_is_current(&test_table, TEST_NAME + 1));
}

/* The kernel does so when the owner dies */
static void test_owner_that_died(void **state)
{
    (void)state;

    test_table.live = 0;
    assert_false(xshm_xen_table_is_current(&test_table, TEST_NAME));
}

#define test_refuses(_field, _value) \
    do { \
        xshm_xen_table_t _content; \
\
        test_setup(NULL); \
        test_table._field = (_value); \
        assert_false(xshm_xen_table_read(&test_table, TEST_NAME, &_content)); \
    } while (0)

static void test_malformed_tables(void **state)
{
    (void)state;

    test_refuses(magic, XSHM_ABI_MAGIC);
    test_refuses(version, XSHM_ABI_VERSION + 1);
    test_refuses(length, 0);
    test_refuses(length, XSHM_ABI_PAGE_SIZE + 1);
    test_refuses(length, (XSHM_ABI_TABLE_MAX_PAGES + 1ul) * XSHM_ABI_PAGE_SIZE);
    test_refuses(length, UINT64_MAX - XSHM_ABI_PAGE_SIZE + 1);
    test_refuses(base, UINT64_MAX - XSHM_ABI_PAGE_SIZE);
    test_refuses(rights, XSHM_RIGHT_ALL + 1);
}

static void test_pages_of_a_table(void **state)
{
    (void)state;

    assert_int_equal(xshm_xen_table_num_more(1), 0);
    assert_int_equal(xshm_xen_table_num_more(TEST_FIRST_REFS), 0);
    assert_int_equal(xshm_xen_table_num_more(TEST_FIRST_REFS + 1), 1);
    assert_int_equal(xshm_xen_table_num_more(TEST_FIRST_REFS + TEST_PAGE_REFS),
                     1);
    assert_int_equal(xshm_xen_table_num_more(TEST_FIRST_REFS + TEST_PAGE_REFS +
                                             1),
                     2);
    assert_int_equal(xshm_xen_table_num_more(XSHM_ABI_TABLE_MAX_PAGES),
                     XSHM_ABI_TABLE_MAX_MORE);
}

/* As the owner lays them out: one behind the other */
static void test_references(void **state)
{
    static const uint32_t counts[] = {1, TEST_FIRST_REFS, TEST_FIRST_REFS + 1,
                                      TEST_FIRST_REFS + (2 * TEST_PAGE_REFS)};
    uint32_t             *table    = calloc(3, XSHM_ABI_PAGE_SIZE);
    uint32_t             *more     = table + TEST_PAGE_REFS;
    uint32_t *refs = table + (XSHM_ABI_TABLE_REFS_OFFSET / sizeof(*refs));
    uint32_t *copy;
    size_t    size;
    uint32_t  i, j;

    (void)state;

    for (i = 0; i < TEST_FIRST_REFS + (2 * TEST_PAGE_REFS); ++i) {
        refs[i] = 1000 + i;
    }

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(counts); ++i) {
        size = counts[i] * sizeof(*copy);
        copy = malloc(size);
        xshm_xen_table_copy_refs((xshm_abi_table_t *)table, more, counts[i],
                                 copy);
        for (j = 0; j < counts[i]; ++j) {
            assert_int_equal(copy[j], 1000 + j);
        }
        free(copy);
    }
    free(table);
}

static void test_mappers_take_different_bytes(void **state)
{
    static uint8_t mappers[XSHM_ABI_NUM_MAPPERS];
    int            first, second, third;

    (void)state;

    assert_true(xshm_xen_mappers_is_empty(mappers));
    first  = xshm_xen_mappers_take(mappers, XSHM_ABI_NUM_MAPPERS - 1);
    second = xshm_xen_mappers_take(mappers, XSHM_ABI_NUM_MAPPERS - 1);
    third  = xshm_xen_mappers_take(mappers, UINT32_MAX);
    assert_int_equal(first, XSHM_ABI_NUM_MAPPERS - 1);
    assert_int_equal(second, 0);
    assert_int_equal(third, 1);

    mappers[first] = mappers[second] = 0;
    assert_false(xshm_xen_mappers_is_empty(mappers));
    mappers[third] = 0;
    assert_true(xshm_xen_mappers_is_empty(mappers));
}

/* A page that somebody has filled */
static void test_no_byte_is_left(void **state)
{
    static uint8_t mappers[XSHM_ABI_NUM_MAPPERS];

    (void)state;

    memset(mappers, 0xff, sizeof(mappers));
    assert_int_equal(xshm_xen_mappers_take(mappers, 0), -1);
    assert_false(xshm_xen_mappers_is_empty(mappers));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_only_domain),
            cmocka_unit_test_setup(test_table_says_what_was_written,
                                   test_setup),
            cmocka_unit_test_setup(test_table_of_other_memory, test_setup),
            cmocka_unit_test_setup(test_freed_memory, test_setup),
            cmocka_unit_test_setup(test_owner_that_died, test_setup),
            cmocka_unit_test(test_malformed_tables),
            cmocka_unit_test(test_pages_of_a_table),
            cmocka_unit_test(test_references),
            cmocka_unit_test(test_mappers_take_different_bytes),
            cmocka_unit_test(test_no_byte_is_left)};

    return cmocka_run_group_tests_name("xen_grant", tests, NULL, NULL);
}
