/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#ifdef HAVE_JANSSON

#include <jansson.h>


#define XSHM_INFO_JSON_INDENT 2


static const char *xshm_info_json_state(xshm_info_state_t state)
{
    static const char *names[] = {[XSHM_INFO_OK]      = "ok",
                                  [XSHM_INFO_MISSING] = "missing",
                                  [XSHM_INFO_NOTE]    = "note"};

    return names[state];
}

/* A path may be no UTF-8, which JSON cannot hold: such a value is left out */
static json_t *xshm_info_json_string(const char *text)
{
    json_t *string = (text == NULL) ? NULL : json_string(text);

    return (string == NULL) ? json_null() : string;
}

static json_t *xshm_info_json_section(const xshm_info_section_t *section)
{
    json_t                 *facts = json_object();
    const xshm_info_fact_t *fact;
    unsigned                i;

    for (i = 0; i < section->num_facts; ++i) {
        fact = &section->facts[i];
        json_object_set_new(facts, fact->name,
                            json_pack("{s:s, s:o, s:o, s:o}", "state",
                                      xshm_info_json_state(fact->state),
                                      "value",
                                      xshm_info_json_string(fact->value),
                                      "text", xshm_info_json_string(fact->text),
                                      "fix", xshm_info_json_string(fact->fix)));
    }

    return json_pack("{s:b, s:o}", "usable", xshm_info_section_is_ok(section),
                     "facts", facts);
}

static json_t *xshm_info_json_number(uint64_t value)
{
    return (value > INT64_MAX) ? json_null() : json_integer((json_int_t)value);
}

static json_t *xshm_info_json_limits(const xshm_info_t *info)
{
    json_t                  *limits = json_object();
    const xshm_info_limit_t *limit;
    unsigned                 i;

    for (i = 0; i < info->num_limits; ++i) {
        limit = &info->limits[i];
        json_object_set_new(limits, limit->name,
                            json_pack("{s:o, s:o, s:o, s:o}", "value",
                                      xshm_info_json_number(limit->value),
                                      "peers",
                                      xshm_info_json_number(limit->peers),
                                      "text",
                                      xshm_info_json_string(limit->text), "fix",
                                      xshm_info_json_string(limit->fix)));
    }

    return limits;
}

int xshm_info_print_json(const xshm_info_t *info)
{
    json_t *root;
    int     ret;

    root = json_pack("{s:s, s:s, s:b, s:b, s:o, s:o, s:{s:o, s:o}, s:o}",
                     "version", PACKAGE_VERSION, "built_for_ucx",
                     XSHM_UCX_VERSION_STRING, "usable", info->is_usable, "xen",
                     info->is_xen, "ucx", xshm_info_json_section(&info->ucx),
                     "hypervisor", xshm_info_json_section(&info->xen),
                     "devices", info->device_local.name,
                     xshm_info_json_section(&info->device_local),
                     info->device_xen.name,
                     xshm_info_json_section(&info->device_xen), "limits",
                     xshm_info_json_limits(info));
    ret  = (root == NULL) ?
                   -1 :
                   json_dumpf(root, stdout, JSON_INDENT(XSHM_INFO_JSON_INDENT));
    json_decref(root);
    if (ret != 0) {
        fprintf(stderr, "xshm_info: cannot print JSON\n");
        return 0;
    }

    putchar('\n');
    return 1;
}

#else

int xshm_info_print_json(const xshm_info_t *info)
{
    fprintf(stderr, "xshm_info: built without JSON: install the package "
                    "libjansson-dev, and configure and build xshm again\n");
    return 0;
}

#endif
