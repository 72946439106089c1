/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The virtual machines that were looked for, of which peers can name any number.
 * Needs no Xen.
 */

#include "test_util.h"

#include <uct/xshm/platform/xen/xen_lookup.h>

#include <string.h>


#define TEST_DOMID 5


static xshm_xen_lookups_t test_lookups;


static int test_setup(void **state)
{
    (void)state;

    xshm_xen_lookups_init(&test_lookups);
    return 0;
}

static int test_teardown(void **state)
{
    (void)state;

    xshm_xen_lookups_cleanup(&test_lookups);
    return 0;
}

static xshm_xen_lookup_t *test_get(uint32_t identity)
{
    xshm_xen_dev_addr_t addr = {.domid = TEST_DOMID};

    memcpy(addr.identity, &identity, sizeof(identity));
    return xshm_xen_lookup_get(&test_lookups, &addr);
}

/* As many as there may be, in this state */
static void test_fill(xshm_xen_lookup_state_t state)
{
    xshm_xen_lookup_t *lookup;
    uint32_t           i;

    for (i = 0; i < XSHM_XEN_LOOKUP_MAX; ++i) {
        lookup = test_get(i);
        assert_non_null(lookup);
        assert_int_equal(lookup->state, XSHM_XEN_LOOKUP_FORGOTTEN);
        lookup->state = state;
    }

    assert_int_equal(ucs_list_length(&test_lookups.list), XSHM_XEN_LOOKUP_MAX);
}

static void test_answers_are_kept(void **state)
{
    (void)state;

    test_get(1)->state = XSHM_XEN_LOOKUP_YES;
    test_get(2)->state = XSHM_XEN_LOOKUP_NO;
    assert_int_equal(test_get(1)->state, XSHM_XEN_LOOKUP_YES);
    assert_int_equal(test_get(2)->state, XSHM_XEN_LOOKUP_NO);
    assert_null(xshm_xen_lookup_next(&test_lookups));
}

static void test_who_is_asked_for(void **state)
{
    xshm_xen_lookup_t *lookup;

    (void)state;

    test_get(1)->state = XSHM_XEN_LOOKUP_YES;
    lookup             = test_get(2);
    lookup->state      = XSHM_XEN_LOOKUP_ASKED;
    assert_ptr_equal(xshm_xen_lookup_next(&test_lookups), lookup);
}

static void test_answers_are_forgotten(void **state)
{
    (void)state;

    test_get(1)->state = XSHM_XEN_LOOKUP_YES;
    test_get(2)->state = XSHM_XEN_LOOKUP_ASKED;
    xshm_xen_lookups_forget(&test_lookups, TEST_DOMID + 1);
    assert_int_equal(test_get(1)->state, XSHM_XEN_LOOKUP_YES);

    xshm_xen_lookups_forget(&test_lookups, TEST_DOMID);
    assert_int_equal(test_get(1)->state, XSHM_XEN_LOOKUP_FORGOTTEN);
    assert_int_equal(test_get(2)->state, XSHM_XEN_LOOKUP_ASKED);

    test_get(1)->state = XSHM_XEN_LOOKUP_NO;
    xshm_xen_lookups_forget(&test_lookups, UINT32_MAX);
    assert_int_equal(test_get(1)->state, XSHM_XEN_LOOKUP_FORGOTTEN);
}

/* The one that was asked for the longest time ago makes room */
static void test_there_are_so_many_at_most(void **state)
{
    (void)state;

    test_fill(XSHM_XEN_LOOKUP_NO);
    assert_int_equal(test_get(0)->state, XSHM_XEN_LOOKUP_NO);
    assert_int_equal(test_get(XSHM_XEN_LOOKUP_MAX)->state,
                     XSHM_XEN_LOOKUP_FORGOTTEN);
    assert_int_equal(ucs_list_length(&test_lookups.list), XSHM_XEN_LOOKUP_MAX);

    assert_int_equal(test_get(0)->state, XSHM_XEN_LOOKUP_NO);
    assert_int_equal(test_get(2)->state, XSHM_XEN_LOOKUP_NO);
    assert_int_equal(test_get(1)->state, XSHM_XEN_LOOKUP_FORGOTTEN);
}

/* Nobody finds another machine's answer in its place */
static void test_who_is_waited_for_stays(void **state)
{
    xshm_xen_lookup_t *first;
    uint32_t           i;

    (void)state;

    test_fill(XSHM_XEN_LOOKUP_YES);
    first = ucs_list_head(&test_lookups.list, xshm_xen_lookup_t, list);
    first->num_waiting = 1;
    for (i = 0; i < 2 * XSHM_XEN_LOOKUP_MAX; ++i) {
        assert_ptr_not_equal(test_get(XSHM_XEN_LOOKUP_MAX + i), first);
    }

    assert_int_equal(first->state, XSHM_XEN_LOOKUP_YES);
    assert_ptr_equal(test_get(0), first);
}

/* All are being asked for: not now, but as soon as one has its answer */
static void test_no_room_for_now(void **state)
{
    xshm_xen_lookup_t *lookup;

    (void)state;

    test_fill(XSHM_XEN_LOOKUP_ASKED);
    assert_null(test_get(XSHM_XEN_LOOKUP_MAX));
    assert_non_null(test_get(0));

    lookup        = xshm_xen_lookup_next(&test_lookups);
    lookup->state = XSHM_XEN_LOOKUP_NO;
    assert_ptr_equal(test_get(XSHM_XEN_LOOKUP_MAX), lookup);
    assert_int_equal(lookup->state, XSHM_XEN_LOOKUP_FORGOTTEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test_setup_teardown(test_answers_are_kept, test_setup,
                                            test_teardown),
            cmocka_unit_test_setup_teardown(test_who_is_asked_for, test_setup,
                                            test_teardown),
            cmocka_unit_test_setup_teardown(test_answers_are_forgotten,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(test_there_are_so_many_at_most,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(test_who_is_waited_for_stays,
                                            test_setup, test_teardown),
            cmocka_unit_test_setup_teardown(test_no_room_for_now, test_setup,
                                            test_teardown)};

    return cmocka_run_group_tests_name("xen_lookup", tests, NULL, NULL);
}
