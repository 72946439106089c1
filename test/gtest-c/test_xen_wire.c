/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Names and values of the nodes by which virtual machines find each other, and
 * the list of those that may. Needs no Xen.
 */

#include "test_util.h"

#include <uct/xshm/platform/xen/xen_wire.h>
#include <uct/xshm/service/allow.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>


#define TEST_TARGET 0x0123456789abcdefull
#define TEST_SENDER 0xfedcba9876543210ull

/* What xenstore allows in a name (docs/misc/xenstore.txt of Xen) */
#define TEST_NAME_CHARACTERS \
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_@"

/* Of C xenstored: length of a node, of which the children's names are a part */
#define TEST_NODE_SIZE 2048

/* Requests that may wait at the same time, to one domain */
#define TEST_NUM_REQUESTS 100


static const xshm_xen_ask_t test_ask = {.version   = XSHM_ABI_VERSION,
                                        .time      = 4000000000u,
                                        .gref      = UINT32_MAX,
                                        .num_pages = 15,
                                        .target = {.version = XSHM_ABI_VERSION,
                                                   .process = TEST_TARGET,
                                                   .iface   = 7,
                                                   .token   = {0, 1, 2, 0xff,
                                                               0xa0, 0x0a}}};


static void test_names_are_unique(void **state)
{
    char name[XSHM_XEN_NAME_MAX], other[XSHM_XEN_NAME_MAX];

    (void)state;

    xshm_xen_name_format(name, TEST_TARGET, TEST_SENDER, 5);
    xshm_xen_name_format(other, TEST_TARGET, TEST_SENDER, 6);
    assert_string_not_equal(name, other);
    xshm_xen_name_format(other, TEST_TARGET, TEST_SENDER, 5 + 64);
    assert_string_not_equal(name, other);
    xshm_xen_name_format(other, TEST_TARGET, TEST_SENDER + 1, 5);
    assert_string_not_equal(name, other);
    xshm_xen_name_format(other, TEST_TARGET + 1, TEST_SENDER, 5);
    assert_string_not_equal(name, other);
}

static void test_names_tell_whose_they_are(void **state)
{
    char name[XSHM_XEN_NAME_MAX];

    (void)state;

    xshm_xen_name_format(name, TEST_TARGET, TEST_SENDER, UINT32_MAX);
    assert_true(xshm_xen_name_is_for(name, TEST_TARGET));
    assert_false(xshm_xen_name_is_for(name, TEST_SENDER));
    assert_true(xshm_xen_name_is_from(name, TEST_SENDER));
    assert_false(xshm_xen_name_is_from(name, TEST_TARGET));
}

/* A hostile peer chooses any name */
static void test_short_names_are_nobodys(void **state)
{
    char     name[XSHM_XEN_NAME_MAX];
    unsigned length;

    (void)state;

    for (length = 0; length < 5; ++length) {
        xshm_xen_name_format(name, TEST_TARGET, TEST_SENDER, 0);
        name[length] = '\0';
        assert_false(xshm_xen_name_is_for(name, TEST_TARGET));
        assert_false(xshm_xen_name_is_from(name, TEST_SENDER));
    }
}

static void test_a_hundred_names_fit_in_a_node(void **state)
{
    char     name[XSHM_XEN_NAME_MAX];
    size_t   total = 0;
    unsigned i;

    (void)state;

    for (i = 0; i < TEST_NUM_REQUESTS; ++i) {
        xshm_xen_name_format(name, TEST_TARGET, TEST_SENDER, 100000 + i);
        assert_int_equal(strspn(name, TEST_NAME_CHARACTERS), strlen(name));
        total += strlen(name) + 1;
    }

    assert_true(total < TEST_NODE_SIZE);
}

static void test_paths_are_taken_apart(void **state)
{
    xshm_xen_path_t path;
    uint32_t        domid;

    (void)state;

    assert_true(
            xshm_xen_path_parse("/local/domain/3/data/xshm/c/12/aB-_9", &path));
    assert_int_equal(path.domid, 3);
    assert_int_equal(path.folder, XSHM_XEN_REQUESTS);
    assert_int_equal(path.peer, 12);
    assert_string_equal(path.name, "aB-_9");
    assert_true(
            xshm_xen_path_parse("/local/domain/0/data/xshm/r/32751/x", &path));
    assert_int_equal(path.folder, XSHM_XEN_REFUSALS);
    assert_true(xshm_xen_id_path_parse("/local/domain/3/data/xshm/id", &domid));
    assert_int_equal(domid, 3);
}

static void test_other_paths_are_refused(void **state)
{
    static const char *paths[] = {
            "",
            "/local/domain",
            "/local/domain/",
            "/local/domain/3",
            "/local/domain/-3/data/xshm/c/1/x",
            "/local/domain/+3/data/xshm/c/1/x",
            "/local/domain/ 3/data/xshm/c/1/x",
            "/local/domain/32752/data/xshm/c/1/x",
            "/local/domain/99999999999999999999/data/xshm/c/1/x",
            "/local/domain/3/data/xshm/c",
            "/local/domain/3/data/xshm/c/1",
            "/local/domain/3/data/xshm/c/1/",
            "/local/domain/3/data/xshm/c//x",
            "/local/domain/3/data/xshm/c/1x/x",
            "/local/domain/3/data/xshm/c/1/x/y",
            "/local/domain/3/data/xshm/c/1/../../id",
            "/local/domain/3/data/xshm/c/1/x\n",
            "/local/domain/3/data/xshm/c/1/01234567890123456789",
            "/local/domain/3/data/xshm/d/1/x",
            "/local/domain/3/device/vif/0/state",
            "data/xshm/c/1/x"};
    xshm_xen_path_t path;
    unsigned        i;

    (void)state;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(paths); ++i) {
        if (xshm_xen_path_parse(paths[i], &path)) {
            fail_msg("\"%s\" is accepted", paths[i]);
        }
    }
}

static void test_requests_survive(void **state)
{
    char           value[XSHM_XEN_VALUE_MAX];
    xshm_xen_ask_t ask;

    (void)state;

    xshm_xen_ask_format(value, &test_ask);
    assert_true(xshm_xen_ask_parse(value, &ask));
    assert_memory_equal(&ask, &test_ask, sizeof(ask));
}

/* A request of a later version may look as it likes but for its start */
static void test_requests_of_other_versions_tell_it(void **state)
{
    xshm_xen_ask_t ask;

    (void)state;

    assert_true(xshm_xen_ask_parse("77 12 whatever", &ask));
    assert_int_equal(ask.version, 77);
    assert_int_equal(ask.time, 12);
}

/* Cut anywhere, with anything appended, or with any character replaced: it is
 * refused, or says something else that can be written */
static void test_damaged_requests(void **state)
{
    char           value[XSHM_XEN_VALUE_MAX], damaged[XSHM_XEN_VALUE_MAX];
    char           again[XSHM_XEN_VALUE_MAX];
    xshm_xen_ask_t ask;
    size_t         i;
    int            c;

    (void)state;

    xshm_xen_ask_format(value, &test_ask);
    for (i = strlen("1 4"); i < strlen(value); ++i) {
        strcpy(damaged, value);
        damaged[i] = '\0';
        assert_false(xshm_xen_ask_parse(damaged, &ask));
    }

    strcpy(damaged, value);
    strcat(damaged, " ");
    assert_false(xshm_xen_ask_parse(damaged, &ask));

    for (i = 2; i < strlen(value); ++i) {
        for (c = 1; c < 256; ++c) {
            strcpy(damaged, value);
            damaged[i] = (char)c;
            if (xshm_xen_ask_parse(damaged, &ask)) {
                xshm_xen_ask_format(again, &ask);
                assert_true(xshm_xen_ask_parse(again, &ask));
                assert_true(ask.num_pages <= XSHM_ABI_MAX_PAGE_REFS + 1);
            }
        }
    }
}

static void test_refusals_survive(void **state)
{
    static const char *malformed[] = {"",      "1",      "1 2",
                                      "1 2 ",  "1 2 3 ", "1 2 99",
                                      "a 2 3", "1 2 -1", "1  2 3"};
    xshm_xen_refusal_t refusal     = {.version = 3,
                                      .time    = 4,
                                      .reason  = XSHM_REASON_VERSION};
    xshm_xen_refusal_t copy;
    char               value[XSHM_XEN_VALUE_MAX];
    unsigned           i;

    (void)state;

    xshm_xen_refusal_format(value, &refusal);
    assert_true(xshm_xen_refusal_parse(value, &copy));
    assert_memory_equal(&copy, &refusal, sizeof(copy));

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(malformed); ++i) {
        if (xshm_xen_refusal_parse(malformed[i], &copy)) {
            fail_msg("\"%s\" is accepted", malformed[i]);
        }
    }
}

static void
test_allow(const char *setting, ucs_status_t expected, xshm_allow_t *allow)
{
    ucs_config_allow_list_t config;
    char                   *names[XSHM_ALLOW_MAX + 2];
    char                    text[1024];
    char                   *save = NULL;
    char                   *name;

    config.mode        = UCS_CONFIG_ALLOW_LIST_ALLOW;
    config.array.names = names;
    config.array.count = 0;
    config.array.pad   = 0;
    if (*setting == '^') {
        config.mode = UCS_CONFIG_ALLOW_LIST_NEGATE;
        ++setting;
    }

    snprintf(text, sizeof(text), "%s", setting);
    for (name = strtok_r(text, ",", &save); name != NULL;
         name = strtok_r(NULL, ",", &save)) {
        names[config.array.count++] = name;
    }

    if (!strcmp(setting, "all")) {
        config.mode = UCS_CONFIG_ALLOW_LIST_ALLOW_ALL;
    }

    assert_int_equal(xshm_allow_init(allow, &config), expected);
}

static void test_allowed_domains(void **state)
{
    xshm_allow_t allow;

    (void)state;

    test_allow("all", UCS_OK, &allow);
    assert_true(xshm_allow_has(&allow, 0));
    assert_true(xshm_allow_has(&allow, 32000));
    test_allow("2,30", UCS_OK, &allow);
    assert_true(xshm_allow_has(&allow, 2));
    assert_true(xshm_allow_has(&allow, 30));
    assert_false(xshm_allow_has(&allow, 3));
    assert_true(xshm_allow_has(&allow, XSHM_DOMAIN_SAME));
    test_allow("^2,30", UCS_OK, &allow);
    assert_false(xshm_allow_has(&allow, 2));
    assert_true(xshm_allow_has(&allow, 3));
    assert_true(xshm_allow_has(&allow, XSHM_DOMAIN_SAME));
}

/* Only what is surely one: allocated memory is granted to it */
static void test_only_allowed_domain(void **state)
{
    xshm_allow_t allow;

    (void)state;

    test_allow("7", UCS_OK, &allow);
    assert_int_equal(xshm_allow_only(&allow, XSHM_DOMAIN_SAME), 7);
    assert_int_equal(xshm_allow_only(&allow, 7), XSHM_DOMAIN_SAME);
    test_allow("7,8", UCS_OK, &allow);
    assert_int_equal(xshm_allow_only(&allow, XSHM_DOMAIN_SAME),
                     XSHM_DOMAIN_SAME);
    assert_int_equal(xshm_allow_only(&allow, 7), 8);
    assert_int_equal(xshm_allow_only(&allow, 8), 7);
    assert_int_equal(xshm_allow_only(&allow, 9), XSHM_DOMAIN_SAME);
    test_allow("^7", UCS_OK, &allow);
    assert_int_equal(xshm_allow_only(&allow, 8), XSHM_DOMAIN_SAME);
    test_allow("all", UCS_OK, &allow);
    assert_int_equal(xshm_allow_only(&allow, 8), XSHM_DOMAIN_SAME);
}

static void test_what_is_no_domain(void **state)
{
    xshm_allow_t allow;
    char         many[1024] = "";
    unsigned     i;

    (void)state;

    test_allow("guest1", UCS_ERR_INVALID_PARAM, &allow);
    test_allow("1,-1", UCS_ERR_INVALID_PARAM, &allow);
    test_allow("65536", UCS_ERR_INVALID_PARAM, &allow);
    test_allow("1x", UCS_ERR_INVALID_PARAM, &allow);

    for (i = 0; i <= XSHM_ALLOW_MAX; ++i) {
        sprintf(many + strlen(many), "%u,", i);
    }
    test_allow(many, UCS_ERR_INVALID_PARAM, &allow);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
            cmocka_unit_test(test_names_are_unique),
            cmocka_unit_test(test_names_tell_whose_they_are),
            cmocka_unit_test(test_short_names_are_nobodys),
            cmocka_unit_test(test_a_hundred_names_fit_in_a_node),
            cmocka_unit_test(test_paths_are_taken_apart),
            cmocka_unit_test(test_other_paths_are_refused),
            cmocka_unit_test(test_requests_survive),
            cmocka_unit_test(test_requests_of_other_versions_tell_it),
            cmocka_unit_test(test_damaged_requests),
            cmocka_unit_test(test_refusals_survive),
            cmocka_unit_test(test_allowed_domains),
            cmocka_unit_test(test_only_allowed_domain),
            cmocka_unit_test(test_what_is_no_domain)};

    return cmocka_run_group_tests_name("xen_wire", tests, NULL, NULL);
}
