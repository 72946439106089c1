/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "md.h"
#include "../platform/platform.h"

#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>
#include <ucs/sys/compiler.h>


ucs_config_field_t xshm_md_config_table[] = {
        {"", "", NULL, ucs_offsetof(xshm_md_config_t, super),
         UCS_CONFIG_TYPE_TABLE(uct_md_config_table)},

        {NULL}};


ucs_status_t xshm_md_query_resources(uct_component_t         *component,
                                     uct_md_resource_desc_t **resources_p,
                                     unsigned                *num_resources_p)
{
    char reason[256];
    int  i;

    for (i = 0; xshm_platforms[i] != NULL; ++i) {
        if (xshm_platforms[i]->probe(reason, sizeof(reason))) {
            return uct_md_query_single_md_resource(component, resources_p,
                                                   num_resources_p);
        }

        ucs_debug("xshm: device %s cannot be used: %s",
                  xshm_platforms[i]->device, reason);
    }

    return uct_md_query_empty_md_resource(resources_p, num_resources_p);
}

static void xshm_md_close(uct_md_h md)
{
    ucs_free(ucs_derived_of(md, xshm_md_t));
}

static ucs_status_t xshm_md_query(uct_md_h md, uct_md_attr_t *attr)
{
    attr->cap.flags            = UCT_MD_FLAG_REG;
    attr->cap.max_alloc        = ULONG_MAX;
    attr->cap.max_reg          = SIZE_MAX;
    attr->cap.reg_mem_types    = UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->cap.alloc_mem_types  = 0;
    attr->cap.detect_mem_types = 0;
    attr->cap.access_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->rkey_packed_size     = 0;
    attr->reg_cost             = ucs_linear_func_make(0, 0);
    memset(&attr->local_cpus, 0xff, sizeof(attr->local_cpus));
    return UCS_OK;
}

/* Messages are copied, so any memory can be sent from: there is nothing to
 * register, and all handles are the same one. */
static ucs_status_t xshm_md_mem_reg(uct_md_h md, void *address, size_t length,
                                    unsigned flags, uct_mem_h *memh_p)
{
    static char memh;

    *memh_p = &memh;
    return UCS_OK;
}

static ucs_status_t
xshm_md_mem_dereg(uct_md_h md, const uct_md_mem_dereg_params_t *params)
{
    UCT_MD_MEM_DEREG_CHECK_PARAMS(params, 0);
    return UCS_OK;
}

static uct_md_ops_t xshm_md_ops = {
        .close = xshm_md_close,
        .query = xshm_md_query,
        .mem_alloc =
                (uct_md_mem_alloc_func_t)ucs_empty_function_return_unsupported,
        .mem_free =
                (uct_md_mem_free_func_t)ucs_empty_function_return_unsupported,
        .mem_advise =
                (uct_md_mem_advise_func_t)ucs_empty_function_return_unsupported,
        .mem_reg   = xshm_md_mem_reg,
        .mem_dereg = xshm_md_mem_dereg,
        .mem_query =
                (uct_md_mem_query_func_t)ucs_empty_function_return_unsupported,
        .mkey_pack = (uct_md_mkey_pack_func_t)ucs_empty_function_return_success,
        .is_sockaddr_accessible = (uct_md_is_sockaddr_accessible_func_t)
                ucs_empty_function_return_zero_int,
        .detect_memory_type = (uct_md_detect_memory_type_func_t)
                ucs_empty_function_return_unsupported};

ucs_status_t xshm_md_open(uct_component_t *component, const char *md_name,
                          const uct_md_config_t *config, uct_md_h *md_p)
{
    xshm_md_t *md;

    md = ucs_malloc(sizeof(*md), "xshm_md");
    if (md == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a memory domain",
                  sizeof(*md));
        return UCS_ERR_NO_MEMORY;
    }

    md->super.ops       = &xshm_md_ops;
    md->super.component = component;
    *md_p               = &md->super;
    return UCS_OK;
}
