/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_REGION_H_
#define XSHM_REGION_H_

#include "platform.h"

/** Do these rights (XSHM_RIGHT_xx) let a peer write? */
static inline int xshm_rights_write(unsigned rights)
{
    return (rights & (XSHM_RIGHT_PUT | XSHM_RIGHT_ATOMIC)) != 0;
}

/**
 * Map the start of a region's file where its user wants it, and note where that
 * is.
 *
 * @return UCS_ERR_NO_MEMORY: it cannot be there.
 */
ucs_status_t
xshm_region_map(xshm_region_t *region, const xshm_region_spec_t *spec);

#endif
