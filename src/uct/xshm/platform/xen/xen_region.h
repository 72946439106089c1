/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_REGION_H_
#define XSHM_XEN_REGION_H_

#include "xen_priv.h"

/**
 * Memory that this process has allocated and granted to one other machine, so
 * that its processes can map it. See xen_grant.h for how they find it.
 *
 * It is of the process, not of the platform: there may be some before that was
 * opened.
 *
 * Threads: any.
 */

/** See xshm_platform_ops_t::region_alloc */
ucs_status_t xshm_xen_region_alloc(xshm_platform_t          *platform,
                                   const xshm_region_spec_t *spec,
                                   xshm_region_t           **region_p);

/** See xshm_platform_ops_t::region_free */
void xshm_xen_region_free(xshm_region_t *region);

/** See xshm_platform_ops_t::region_num_refused */
uint64_t xshm_xen_region_num_refused(void);

/** Let the service thread of this platform, or NULL, look after what is
 *  freed */
void xshm_xen_region_attach(xshm_xen_t *xen);

/** Free what peers have unmapped in the meantime. @return Zero if nothing is
 *  left to be done. */
int xshm_xen_region_release(void);

/** A domain seems to be gone: nothing more is offered to it, and what is freed
 *  is cleared. Whether it is, only the hypervisor knows for sure. */
void xshm_xen_region_doubt(uint32_t domid);

/** Another machine says that it has come in the place of a domain that seemed
 *  to be gone: that has nothing mapped any more */
void xshm_xen_region_disown(uint32_t domid);

/** A domain that seemed to be gone is so for sure */
void xshm_xen_region_settle(uint32_t domid);

/** This machine has moved: nothing that was granted is mapped */
void xshm_xen_region_orphan(void);

#endif
