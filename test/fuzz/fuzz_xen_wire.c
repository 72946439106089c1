/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Nodes of xenstore that a hostile virtual machine has written: any path that
 * its name leads to, and any value. What is accepted must say the same after it
 * was written and read again.
 */

#include "fuzz_input.h"

#include <uct/xshm/platform/xen/xen_wire.h>


static void fuzz_ask(const char *value)
{
    char           text[XSHM_XEN_VALUE_MAX];
    xshm_xen_ask_t ask, again;

    if (!xshm_xen_ask_parse(value, &ask) || (ask.version != XSHM_ABI_VERSION)) {
        return;
    }

    fuzz_check(ask.num_pages <= XSHM_ABI_MAX_PAGE_REFS + 1);
    xshm_xen_ask_format(text, &ask);
    fuzz_check(xshm_xen_ask_parse(text, &again));
    fuzz_check(!memcmp(&ask, &again, sizeof(ask)));
}

static void fuzz_refusal(const char *value)
{
    xshm_xen_refusal_t refusal, again;
    char               text[XSHM_XEN_VALUE_MAX];

    if (!xshm_xen_refusal_parse(value, &refusal)) {
        return;
    }

    fuzz_check(refusal.reason < XSHM_REASON_LAST);
    xshm_xen_refusal_format(text, &refusal);
    fuzz_check(xshm_xen_refusal_parse(text, &again));
    fuzz_check(!memcmp(&refusal, &again, sizeof(refusal)));
}

static void fuzz_path(const char *text)
{
    xshm_xen_path_t path;
    uint32_t        domid;

    if (xshm_xen_id_path_parse(text, &domid)) {
        fuzz_check(domid <= XSHM_XEN_DOMID_MAX);
    }

    if (!xshm_xen_path_parse(text, &path)) {
        return;
    }

    fuzz_check(path.domid <= XSHM_XEN_DOMID_MAX);
    fuzz_check(path.peer <= XSHM_XEN_DOMID_MAX);
    fuzz_check(strlen(path.name) < XSHM_XEN_NAME_MAX);
    fuzz_check(strchr(path.name, '/') == NULL);
    (void)xshm_xen_name_is_for(path.name, 0);
    (void)xshm_xen_name_is_from(path.name, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);

    fuzz_check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    fuzz_ask(text);
    fuzz_refusal(text);
    fuzz_path(text);
    free(text);
    return 0;
}
