/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_NT_COPY_H_
#define XSHM_NT_COPY_H_

#include <stddef.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

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
 * Only whole lines of @a dst go that way. They are not there for others before
 * @ref xshm_nt_drain.
 */
void xshm_nt_copy(void *dst, const void *src, size_t length);

/** Let all that was copied so be there before what is stored next */
static inline void xshm_nt_drain(void)
{
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
