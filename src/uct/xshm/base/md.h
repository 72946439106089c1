/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_MD_H_
#define XSHM_MD_H_

#include "../service/allow.h"

#include <uct/base/uct_md.h>


/** Name of the component and of the transport */
#define XSHM_NAME "xshm"


typedef struct xshm_md {
    uct_md_t     super;
    xshm_allow_t allow; /**< With whom memory is shared */
} xshm_md_t;


/** Settings of the memory domain: UCX_XSHM_... */
typedef struct xshm_md_config {
    uct_md_config_t         super;
    ucs_config_allow_list_t allow;
} xshm_md_config_t;


/** The component. It is registered when the library is loaded. */
extern uct_component_t xshm_component;

/** See uct_component_t::md_open */
ucs_status_t xshm_md_open(uct_component_t *component, const char *md_name,
                          const uct_md_config_t *config, uct_md_h *md_p);

/** See uct_component_t::query_md_resources: none, if no device is usable */
ucs_status_t xshm_md_query_resources(uct_component_t         *component,
                                     uct_md_resource_desc_t **resources_p,
                                     unsigned                *num_resources_p);

/** Settings of the memory domain */
extern ucs_config_field_t xshm_md_config_table[];

#endif
