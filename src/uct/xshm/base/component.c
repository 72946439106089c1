/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "iface.h"
#include "md.h"
#include "rma.h"
#include "stats.h"
#include "../compat/compat.h"
#include "../service/service.h"


uct_component_t xshm_component = {
        .name               = XSHM_NAME,
        .query_md_resources = xshm_md_query_resources,
        .md_open            = xshm_md_open,
        .cm_open            = (uct_component_cm_open_func_t)
                ucs_empty_function_return_unsupported,
        .rkey_unpack  = xshm_rkey_unpack,
        .rkey_ptr     = xshm_rkey_ptr,
        .rkey_release = xshm_rkey_release,
        .md_config    = {.name   = "XSHM memory domain",
                         .prefix = "XSHM_",
                         .table  = xshm_md_config_table,
                         .size   = sizeof(xshm_md_config_t)},
        .cm_config    = UCS_CONFIG_EMPTY_GLOBAL_LIST_ENTRY,
        .tl_list      = UCT_COMPONENT_TL_LIST_INITIALIZER(&xshm_component),
        .flags        = 0,
        .md_vfs_init  = (uct_component_md_vfs_init_func_t)ucs_empty_function};

static UCT_TL_DEFINE_ENTRY(&xshm_component, xshm, xshm_iface_query_devices,
                           xshm_iface_t, "XSHM_", xshm_iface_config_table,
                           xshm_iface_config_t);

static int xshm_is_registered;


/* Runs when the library is loaded, also in programs that do not use UCX: it
 * opens nothing. */
UCS_F_CTOR static void xshm_component_init(void)
{
    if (xshm_compat_check()) {
        uct_component_register(&xshm_component);
        uct_tl_register(&xshm_component, &UCT_TL_NAME(xshm));
        xshm_is_registered = 1;
    }
}

UCS_F_DTOR static void xshm_component_cleanup(void)
{
    if (xshm_is_registered) {
        uct_tl_unregister(&UCT_TL_NAME(xshm));
        uct_component_unregister(&xshm_component);
    }

    xshm_stats_finish();
    xshm_service_stop();
}
