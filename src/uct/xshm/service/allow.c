/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "allow.h"
#include "../platform/platform.h"

#include <ucs/debug/log.h>

#include <stdlib.h>


static ucs_status_t xshm_allow_add(xshm_allow_t *allow, const char *text)
{
    char *end;
    long  domain = strtol(text, &end, 10);

    if ((end == text) || (*end != '\0') || (domain < 0) ||
        (domain > UINT16_MAX)) {
        ucs_error(
                "xshm: \"%s\" in UCX_XSHM_ALLOW is no domain id: list numbers "
                "from 0 to %u, as in 2,3, or all but those, as in ^4,5",
                text, UINT16_MAX);
        return UCS_ERR_INVALID_PARAM;
    }

    if (allow->count == XSHM_ALLOW_MAX) {
        ucs_error("xshm: UCX_XSHM_ALLOW lists more than %u domains: if there "
                  "are fewer others, list those, behind a ^",
                  XSHM_ALLOW_MAX);
        return UCS_ERR_INVALID_PARAM;
    }

    allow->domains[allow->count++] = (uint16_t)domain;
    return UCS_OK;
}

ucs_status_t
xshm_allow_init(xshm_allow_t *allow, const ucs_config_allow_list_t *config)
{
    ucs_status_t status = UCS_OK;
    unsigned     i;

    allow->count     = 0;
    allow->is_listed = (config->mode == UCS_CONFIG_ALLOW_LIST_ALLOW);
    if (config->mode == UCS_CONFIG_ALLOW_LIST_ALLOW_ALL) {
        return UCS_OK;
    }

    for (i = 0; (i < config->array.count) && (status == UCS_OK); ++i) {
        status = xshm_allow_add(allow, config->array.names[i]);
    }

    return status;
}

int xshm_allow_only(const xshm_allow_t *allow, int own)
{
    int      only = XSHM_DOMAIN_SAME;
    unsigned i;

    for (i = 0; allow->is_listed && (i < allow->count); ++i) {
        if (allow->domains[i] == own) {
            continue;
        }

        if (only != XSHM_DOMAIN_SAME) {
            return XSHM_DOMAIN_SAME;
        }
        only = allow->domains[i];
    }

    return only;
}

int xshm_allow_has(const xshm_allow_t *allow, int domain)
{
    unsigned i;

    if (domain == XSHM_DOMAIN_SAME) {
        return 1;
    }

    for (i = 0; i < allow->count; ++i) {
        if (allow->domains[i] == domain) {
            return allow->is_listed;
        }
    }

    return !allow->is_listed;
}
