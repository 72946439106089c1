/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Copies past the caches: each byte arrives, and nothing beside it is written.
 */

#include "test_util.h"

#include <uct/xshm/ring/nt_copy.h>
#include <xshm/xshm_abi.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>


#define TEST_MAX_LENGTH (4 * XSHM_ABI_LINE_SIZE)
#define TEST_GUARD      XSHM_ABI_LINE_SIZE
#define TEST_SIZE       (TEST_MAX_LENGTH + XSHM_ABI_LINE_SIZE + 2 * TEST_GUARD)
#define TEST_PATTERN    0xa5
#define TEST_LONG       (1u << 20)


static uint8_t test_src[TEST_SIZE] __attribute__((aligned(XSHM_ABI_LINE_SIZE)));
static uint8_t test_dst[TEST_SIZE] __attribute__((aligned(XSHM_ABI_LINE_SIZE)));


static void test_copy(size_t to, size_t from, size_t length)
{
    uint8_t expected[TEST_SIZE];

    memset(test_dst, TEST_PATTERN, sizeof(test_dst));
    memset(expected, TEST_PATTERN, sizeof(expected));
    memcpy(expected + to, test_src + from, length);
    xshm_nt_copy(test_dst + to, test_src + from, length);
    assert_memory_equal(test_dst, expected, sizeof(expected));
}

static void test_all_places(void **state)
{
    static const size_t sources[] = {0, 1, 8, 63};
    size_t              to, i, length;

    xshm_test_fill(test_src, sizeof(test_src), 1);
    for (to = 0; to < XSHM_ABI_LINE_SIZE; ++to) {
        for (i = 0; i < XSHM_TEST_ARRAY_SIZE(sources); ++i) {
            for (length = 0; length <= TEST_MAX_LENGTH; ++length) {
                test_copy(TEST_GUARD + to, sources[i], length);
            }
        }
    }
}

static void test_long(void **state)
{
    uint8_t *src = malloc(TEST_LONG);
    uint8_t *dst = malloc(TEST_LONG);

    xshm_test_fill(src, TEST_LONG, 2);
    xshm_nt_copy(dst, src, TEST_LONG);
    assert_true(xshm_test_is_filled(dst, TEST_LONG, 2));
    free(src);
    free(dst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_places),
                                       cmocka_unit_test(test_long)};

    return cmocka_run_group_tests_name("nt_copy", tests, NULL, NULL);
}
