/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <inttypes.h>


static const char *xshm_info_state_text(xshm_info_state_t state)
{
    static const char *texts[] = {[XSHM_INFO_OK]      = "ok",
                                  [XSHM_INFO_MISSING] = "MISSING",
                                  [XSHM_INFO_NOTE]    = "note"};

    return texts[state];
}

static void xshm_info_print_facts(const xshm_info_section_t *section)
{
    const xshm_info_fact_t *fact;
    unsigned                i;

    for (i = 0; i < section->num_facts; ++i) {
        fact = &section->facts[i];
        printf("  %-8s %s\n", xshm_info_state_text(fact->state), fact->text);
        if (fact->fix != NULL) {
            printf("  %-8s   -> %s\n", "", fact->fix);
        }
    }
}

static void xshm_info_print_section(const xshm_info_section_t *section)
{
    printf("\n%s\n", section->title);
    xshm_info_print_facts(section);
}

static void xshm_info_print_device(const xshm_info_section_t *section)
{
    printf("\n%s: %s\n", section->title,
           xshm_info_section_is_ok(section) ? "usable" : "not usable");
    xshm_info_print_facts(section);
}

static void xshm_info_print_limit(const xshm_info_limit_t *limit)
{
    if (limit->value == XSHM_INFO_UNLIMITED) {
        printf("  no limit of %s\n", limit->text);
    } else {
        printf("  %" PRIu64 " %s\n", limit->value, limit->text);
    }

    if (limit->peers != XSHM_INFO_UNLIMITED) {
        printf("           allows %" PRIu64 " peers\n", limit->peers);
    }

    if (limit->fix != NULL) {
        printf("           to raise it -> %s\n", limit->fix);
    }
}

static void xshm_info_print_verdict(const xshm_info_t *info)
{
    if (info->is_usable) {
        printf("\nxshm can be used.\n");
    } else if (!xshm_info_section_is_ok(&info->ucx)) {
        printf("\nxshm cannot be used: see what is missing under UCX.\n");
    } else {
        printf("\nxshm cannot be used: no device is usable.\n");
    }
}

void xshm_info_print_text(const xshm_info_t *info)
{
    unsigned i;

    printf("%s %s, built for UCX %s\n", PACKAGE_NAME, PACKAGE_VERSION,
           XSHM_UCX_VERSION_STRING);
    xshm_info_print_section(&info->ucx);
    xshm_info_print_section(&info->xen);
    xshm_info_print_device(&info->device_local);
    xshm_info_print_device(&info->device_xen);

    printf("\nLimits\n");
    for (i = 0; i < info->num_limits; ++i) {
        xshm_info_print_limit(&info->limits[i]);
    }

    xshm_info_print_verdict(info);
}
