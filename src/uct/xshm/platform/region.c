/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* MAP_FIXED_NOREPLACE */
#endif

#include "region.h"

#include <ucs/debug/log.h>

#include <sys/mman.h>


ucs_status_t
xshm_region_map(xshm_region_t *region, const xshm_region_spec_t *spec)
{
    int   flags = MAP_SHARED | (spec->is_fixed ? MAP_FIXED_NOREPLACE : 0);
    void *ptr = mmap(spec->address, spec->length, PROT_READ | PROT_WRITE, flags,
                     region->fd, 0);

    if (ptr == MAP_FAILED) {
        ucs_debug("xshm: cannot map %zu bytes at %p%s: %m", spec->length,
                  spec->address, spec->is_fixed ? " exactly" : "");
        return UCS_ERR_NO_MEMORY;
    }

    /* Kernels that do not know the flag take the address as a hint */
    if (spec->is_fixed && (ptr != spec->address)) {
        munmap(ptr, spec->length);
        return UCS_ERR_NO_MEMORY;
    }

    region->address = ptr;
    region->length  = spec->length;
    return UCS_OK;
}
