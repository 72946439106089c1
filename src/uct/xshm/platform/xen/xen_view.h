/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_VIEW_H_
#define XSHM_XEN_VIEW_H_

#include "xen_priv.h"

/**
 * Memory of other machines' processes that is mapped here: see xen_grant.h.
 *
 * Threads: the service's.
 */

/** See xshm_platform_ops_t::region_ask */
void xshm_xen_region_ask(xshm_platform_t *platform, xshm_region_ask_t *ask);

/** See xshm_platform_ops_t::region_unmap */
void xshm_xen_region_unmap(const xshm_region_info_t *info);

/** Tell of what owners have freed, or died with */
void xshm_xen_view_scan(xshm_xen_domain_t *domain);

/** A machine is gone: tell of all that it owned */
void xshm_xen_view_fail(xshm_xen_domain_t *domain);

#endif
