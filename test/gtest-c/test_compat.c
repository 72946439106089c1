/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The library in a process whose UCX is another one than it was built for. This
 * program pretends: it exports what another UCX would.
 */

#include "test_util.h"

#include <uct/api/uct.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define TEST_EXPORT __attribute__((visibility("default")))

#ifdef TEST_OTHER_LIBUCT
#define TEST_COMPLAINT "this process has UCX 1.14 or later"

/* Newer than 1.13 */
TEST_EXPORT void uct_md_query_v2(void);

void uct_md_query_v2(void)
{
}
#else
#define TEST_COMPLAINT "this process has UCX 1.12.3"

TEST_EXPORT void
ucp_get_version(unsigned *major, unsigned *minor, unsigned *release);

void ucp_get_version(unsigned *major, unsigned *minor, unsigned *release)
{
    *major   = 1;
    *minor   = 12;
    *release = 3;
}
#endif


/* Load the library, and keep what it says */
static void test_load(char *text, size_t max)
{
    const char *library    = getenv("XSHM_TEST_LIBRARY");
    FILE       *file       = tmpfile();
    int         old_stderr = dup(STDERR_FILENO);
    void       *handle;
    size_t      length;

    assert_non_null(library);
    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL);
    dup2(old_stderr, STDERR_FILENO);
    close(old_stderr);
    assert_non_null(handle);

    rewind(file);
    length       = fread(text, 1, max - 1, file);
    text[length] = '\0';
    fclose(file);
}

static int test_is_registered(void)
{
    uct_component_attr_t attr = {.field_mask = UCT_COMPONENT_ATTR_FIELD_NAME};
    int                  is_found = 0;
    uct_component_h     *components;
    unsigned             count, i;

    assert_int_equal(uct_query_components(&components, &count), UCS_OK);
    for (i = 0; i < count; ++i) {
        assert_int_equal(uct_component_query(components[i], &attr), UCS_OK);
        is_found |= !strcmp(attr.name, "xshm");
    }
    uct_release_component_list(components);
    return is_found;
}

static void test_is_refused(void **state)
{
    char text[1024];

    test_load(text, sizeof(text));
    assert_non_null(strstr(text, "this library was built for UCX"));
    assert_non_null(strstr(text, TEST_COMPLAINT));
    assert_false(test_is_registered());
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_is_refused)};

    return cmocka_run_group_tests_name("compat", tests, NULL, NULL);
}
