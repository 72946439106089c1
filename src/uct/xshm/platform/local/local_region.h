/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_LOCAL_REGION_H_
#define XSHM_LOCAL_REGION_H_

#include "local_link.h"

/**
 * Memory that is allocated to be mapped by peers: one memory file each, whose
 * descriptor is passed to who names a registration in it. Memory that is
 * granted to another virtual machine is passed in the same way: its file is the
 * device by which it was granted (gntalloc.h), and the file's only pages, which
 * begin at its start, are that memory.
 */

/** A peer's region that is mapped here */
typedef struct xshm_local_view {
    ucs_list_link_t    list;
    xshm_local_link_t *link; /**< NULL: the peer is gone */
    uint64_t           process;
    uint64_t           region;
} xshm_local_view_t;


/** See xshm_platform_ops_t::region_alloc */
ucs_status_t xshm_local_region_alloc(xshm_platform_t          *platform,
                                     const xshm_region_spec_t *spec,
                                     xshm_region_t           **region_p);

/** See xshm_platform_ops_t::region_free */
void xshm_local_region_free(xshm_region_t *region);

/** See xshm_platform_ops_t::region_ask */
void xshm_local_region_ask(xshm_platform_t *platform, xshm_region_ask_t *ask);

/** See xshm_platform_ops_t::region_unmap */
void xshm_local_region_unmap(const xshm_region_info_t *info);

/** See xshm_platform_ops_t::region_forget */
void xshm_local_region_forget(xshm_platform_t *platform, uint64_t region);

/** A message about regions. The callee closes no descriptor. */
void xshm_local_region_handle_msg(xshm_local_link_t      *link,
                                  const xshm_local_msg_t *msg, const int *fds);

/** Answer what was asked on this link, and let its regions go */
void xshm_local_region_link_down(xshm_local_link_t *link);

#endif
