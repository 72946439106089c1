/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_GATHER_H_
#define XSHM_GATHER_H_

#include "peer.h"
#include "../ring/nt_copy.h"

#include <uct/base/uct_iov.inl>

/**
 * Longer data of the user, on its way into a ring. It goes through the caches,
 * or past them if it is long enough: docs/performance.md has which is faster
 * where.
 */

/** Has the payload of a record of @a size bytes to go past the caches? */
static inline int xshm_gather_is_nt(const xshm_peer_t *peer, size_t size)
{
    return size >= peer->nt_min;
}

/** Copy data to a ring, past the caches if @a is_nt */
static inline void
xshm_gather_copy(void *dst, const void *src, size_t length, int is_nt)
{
    if (length == 0) {
        return; /* It may point to nothing */
    }

    if (is_nt) {
        xshm_nt_copy(dst, src, length);
    } else {
        memcpy(dst, src, length);
    }
}

/**
 * The same from a list.
 *
 * @param [in]     length  Bytes, at most those that are left.
 * @param [in,out] iter    Where to begin; then where to go on.
 */
static inline void xshm_gather_iov(void *dst, const uct_iov_t *iov,
                                   ucs_iov_iter_t *iter, size_t length,
                                   int is_nt)
{
    const void *src;
    size_t      part;

    while (length > 0) {
        src  = UCS_PTR_BYTE_OFFSET(iov[iter->iov_index].buffer,
                                   iter->buffer_offset);
        part = uct_iov_get_length(&iov[iter->iov_index]) - iter->buffer_offset;
        if (part > length) {
            part = length;
            iter->buffer_offset += part;
        } else {
            ++iter->iov_index;
            iter->buffer_offset = 0;
        }

        xshm_gather_copy(dst, src, part, is_nt);
        dst = UCS_PTR_BYTE_OFFSET(dst, part);
        length -= part;
    }
}

/** Publish the record that was filled so */
static inline void
xshm_gather_commit(const xshm_peer_t *peer, xshm_abi_record_t record)
{
    xshm_ring_tx_t *ring  = &peer->tx->ring;
    uint32_t        lines = xshm_ring_lines(record.size);

    if ((lines > 1) && xshm_gather_is_nt(peer, record.size)) {
        xshm_ring_tx_commit_nt(ring, lines, record);
    } else {
        xshm_ring_tx_commit(ring, lines, record);
    }
}

#endif
