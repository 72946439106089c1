/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_NT_COPY_H_
#define XSHM_NT_COPY_H_

#include <stddef.h>

/**
 * Copy into a ring past the caches, by non-temporal stores, where the processor
 * has them.
 *
 * Lines that one processor has just written, and another one reads, travel from
 * the one's cache to the other's, and back when they are written again. For
 * long streams that is slower on some processors than the way by the memory,
 * and several times slower where the two share no cache (docs/performance.md,
 * "Past the caches").
 *
 * Only whole lines of @a dst go that way. All is ordered before what the caller
 * publishes next.
 */
void xshm_nt_copy(void *dst, const void *src, size_t length);

#endif
