/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "nt_copy.h"

#include <xshm/xshm_abi.h>

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__

/* What one store takes, bytes */
#define XSHM_NT_COPY_STORE sizeof(__m128i)

static void xshm_nt_copy_line(uint8_t *dst, const uint8_t *src)
{
    size_t i;

    for (i = 0; i < XSHM_ABI_LINE_SIZE; i += XSHM_NT_COPY_STORE) {
        _mm_stream_si128((__m128i *)(dst + i),
                         _mm_loadu_si128((const __m128i *)(src + i)));
    }
}

void xshm_nt_copy(void *dst, const void *src, size_t length)
{
    size_t         rest = -(uintptr_t)dst % XSHM_ABI_LINE_SIZE;
    uint8_t       *to   = dst;
    const uint8_t *from = src;
    const uint8_t *end  = from + length;

    if (rest >= length) {
        memcpy(to, from, length);
        return;
    }

    memcpy(to, from, rest);
    to += rest;
    for (from += rest; (size_t)(end - from) >= XSHM_ABI_LINE_SIZE;
         from += XSHM_ABI_LINE_SIZE) {
        xshm_nt_copy_line(to, from);
        to += XSHM_ABI_LINE_SIZE;
    }
    memcpy(to, from, (size_t)(end - from));
}

#else

void xshm_nt_copy(void *dst, const void *src, size_t length)
{
    memcpy(dst, src, length);
}

#endif
