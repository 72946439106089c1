/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "md.h"
#include "../memory/registry.h"
#include "../platform/fdset.h"
#include "../service/service.h"

#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>
#include <ucs/sys/compiler.h>
#include <ucs/sys/math.h>
#include <ucs/sys/sys.h>


/* What a file can be long */
#define XSHM_MD_MAX_ALLOC ((size_t)LONG_MAX / 2)

/* A place in a table, seconds */
#define XSHM_MD_REG_COST 50e-9


ucs_config_field_t xshm_md_config_table[] = {
        {"", "", NULL, ucs_offsetof(xshm_md_config_t, super),
         UCS_CONFIG_TYPE_TABLE(uct_md_config_table)},

        {"ALLOW", "all",
         "Ids of the domains (virtual machines) with which memory is shared:\n"
         "\"all\", a list as in \"2,3\", or all but those of a list as in\n"
         "\"^4,5\". If it is only one besides this one, allocated memory is\n"
         "granted to it, so that its processes access it directly.",
         ucs_offsetof(xshm_md_config_t, allow), UCS_CONFIG_TYPE_ALLOW_LIST},

        {NULL}};


ucs_status_t xshm_md_query_resources(uct_component_t         *component,
                                     uct_md_resource_desc_t **resources_p,
                                     unsigned                *num_resources_p)
{
    char reason[XSHM_UNUSABLE_MAX];
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

static int xshm_md_has_regions(const xshm_platform_ops_t *ops)
{
    char reason[XSHM_UNUSABLE_MAX];

    return (ops->region_alloc != NULL) && ops->probe(reason, sizeof(reason));
}

/* Can memory be allocated that peers can map? */
static int xshm_md_can_alloc(void)
{
    int i;

    for (i = 0; xshm_platforms[i] != NULL; ++i) {
        if (xshm_md_has_regions(xshm_platforms[i])) {
            return 1;
        }
    }

    return 0;
}

static ucs_status_t
xshm_md_alloc_by(int is_foreign, xshm_region_spec_t *spec, xshm_reg_t **reg_p)
{
    ucs_status_t status = UCS_ERR_UNSUPPORTED;
    int          i;

    for (i = 0; (xshm_platforms[i] != NULL) && (status != UCS_OK); ++i) {
        if ((xshm_platforms[i]->is_foreign == is_foreign) &&
            xshm_md_has_regions(xshm_platforms[i])) {
            status = xshm_reg_alloc(xshm_platforms[i], spec, reg_p);
        }
    }

    return status;
}

/* What peers in another virtual machine can map, those in this one can map,
 * too; and not the other way round */
static ucs_status_t xshm_md_alloc(xshm_region_spec_t *spec, xshm_reg_t **reg_p)
{
    ucs_status_t status = xshm_md_alloc_by(1, spec, reg_p);

    return (status == UCS_OK) ? status : xshm_md_alloc_by(0, spec, reg_p);
}

static void xshm_md_close(uct_md_h md)
{
    ucs_free(ucs_derived_of(md, xshm_md_t));
}

static ucs_status_t xshm_md_query(uct_md_h md, uct_md_attr_t *attr)
{
    /* No RKEY_PTR: together with REG, UCP 1.13 takes it to mean that all
     * registered memory can be mapped. No INVALIDATE: what a peer has mapped,
     * it can go on to access. */
    attr->cap.flags = UCT_MD_FLAG_REG | UCT_MD_FLAG_NEED_RKEY;
    if (xshm_md_can_alloc()) {
        attr->cap.flags |= UCT_MD_FLAG_ALLOC | UCT_MD_FLAG_FIXED;
    }

    attr->cap.max_alloc        = XSHM_MD_MAX_ALLOC;
    attr->cap.max_reg          = ULONG_MAX;
    attr->cap.reg_mem_types    = UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->cap.alloc_mem_types  = UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->cap.detect_mem_types = 0;
    attr->cap.access_mem_types = UCS_BIT(UCS_MEMORY_TYPE_HOST);
    attr->rkey_packed_size     = sizeof(xshm_abi_key_t);
    attr->reg_cost             = ucs_linear_func_make(XSHM_MD_REG_COST, 0);
    memset(&attr->local_cpus, 0xff, sizeof(attr->local_cpus));
    return UCS_OK;
}

static unsigned xshm_md_rights(unsigned flags)
{
    return ((flags & UCT_MD_MEM_ACCESS_REMOTE_PUT) ? XSHM_RIGHT_PUT : 0) |
           ((flags & UCT_MD_MEM_ACCESS_REMOTE_GET) ? XSHM_RIGHT_GET : 0) |
           ((flags & UCT_MD_MEM_ACCESS_REMOTE_ATOMIC) ? XSHM_RIGHT_ATOMIC : 0);
}

/* A list may name this machine, too. Who that is only the service knows, and
 * UCP allocates before it opens an interface, which starts it. */
static int xshm_md_only_domain(const xshm_md_t *md)
{
    if (md->allow.is_listed && !xshm_fdset_is_child()) {
        (void)xshm_service_start();
    }

    return xshm_allow_only(&md->allow, xshm_service_domain());
}

static ucs_status_t
xshm_md_mem_alloc(uct_md_h md, size_t *length_p, void **address_p,
                  ucs_memory_type_t mem_type, unsigned flags,
                  const char *alloc_name, uct_mem_h *memh_p)
{
    const xshm_md_t   *xshm_md = ucs_derived_of(md, xshm_md_t);
    xshm_region_spec_t spec;
    ucs_status_t       status;
    xshm_reg_t        *reg;

    if ((mem_type != UCS_MEMORY_TYPE_HOST) || (*length_p > XSHM_MD_MAX_ALLOC)) {
        return UCS_ERR_UNSUPPORTED;
    }

    spec.length   = ucs_align_up_pow2(*length_p, ucs_get_page_size());
    spec.address  = *address_p;
    spec.is_fixed = (flags & UCT_MD_MEM_FLAG_FIXED) != 0;
    spec.rights   = xshm_md_rights(flags);
    spec.domain   = xshm_md_only_domain(xshm_md);
    status        = xshm_md_alloc(&spec, &reg);
    if (status != UCS_OK) {
        return status;
    }

    *length_p  = spec.length;
    *address_p = (void *)(uintptr_t)reg->base;
    *memh_p    = reg;
    return UCS_OK;
}

static ucs_status_t xshm_md_mem_free(uct_md_h md, uct_mem_h memh)
{
    xshm_reg_remove(memh);
    return UCS_OK;
}

static ucs_status_t xshm_md_mem_reg(uct_md_h md, void *address, size_t length,
                                    unsigned flags, uct_mem_h *memh_p)
{
    if ((uintptr_t)address + length < (uintptr_t)address) {
        ucs_error("xshm: cannot register %zu bytes at %p: there is no such "
                  "memory",
                  length, address);
        return UCS_ERR_INVALID_PARAM;
    }

    /* UCP hides errors where it registers a buffer for one large message, and
     * can go on without. Whoever cannot map the memory does better with UCP's
     * own messages than with access by ours: see xshm_rkey_unpack(). */
    return xshm_reg_add(address, length, xshm_md_rights(flags),
                        (flags & UCT_MD_MEM_FLAG_HIDE_ERRORS) ?
                                XSHM_KEY_COPY_INSTEAD :
                                0,
                        (xshm_reg_t **)memh_p);
}

static ucs_status_t
xshm_md_mem_dereg(uct_md_h md, const uct_md_mem_dereg_params_t *params)
{
    UCT_MD_MEM_DEREG_CHECK_PARAMS(params, 0);
    xshm_reg_remove(params->memh);
    return UCS_OK;
}

static ucs_status_t xshm_md_mkey_pack(uct_md_h md, uct_mem_h memh,
                                      const uct_md_mkey_pack_params_t *params,
                                      void *rkey_buffer)
{
    xshm_abi_key_t key;

    xshm_reg_key(memh, xshm_process_name(), xshm_service_domain(), &key);
    memcpy(rkey_buffer, &key, sizeof(key));
    return UCS_OK;
}

static uct_md_ops_t xshm_md_ops = {
        .close     = xshm_md_close,
        .query     = xshm_md_query,
        .mem_alloc = xshm_md_mem_alloc,
        .mem_free  = xshm_md_mem_free,
        .mem_advise =
                (uct_md_mem_advise_func_t)ucs_empty_function_return_unsupported,
        .mem_reg   = xshm_md_mem_reg,
        .mem_dereg = xshm_md_mem_dereg,
        .mem_query =
                (uct_md_mem_query_func_t)ucs_empty_function_return_unsupported,
        .mkey_pack              = xshm_md_mkey_pack,
        .is_sockaddr_accessible = (uct_md_is_sockaddr_accessible_func_t)
                ucs_empty_function_return_zero_int,
        .detect_memory_type = (uct_md_detect_memory_type_func_t)
                ucs_empty_function_return_unsupported};

ucs_status_t xshm_md_open(uct_component_t *component, const char *md_name,
                          const uct_md_config_t *tl_config, uct_md_h *md_p)
{
    const xshm_md_config_t *config =
            ucs_derived_of(tl_config, xshm_md_config_t);
    ucs_status_t status;
    xshm_md_t   *md;

    md = ucs_malloc(sizeof(*md), "xshm_md");
    if (md == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a memory domain",
                  sizeof(*md));
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_allow_init(&md->allow, &config->allow);
    if (status != UCS_OK) {
        ucs_free(md);
        return status;
    }

    md->super.ops       = &xshm_md_ops;
    md->super.component = component;
    *md_p               = &md->super;
    return UCS_OK;
}
