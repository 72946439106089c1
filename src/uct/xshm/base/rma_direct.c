/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "rma.h"


XSHM_ABI_ASSERT((int)XSHM_ATOMIC_ADD == (int)UCT_ATOMIC_OP_ADD);
XSHM_ABI_ASSERT((int)XSHM_ATOMIC_AND == (int)UCT_ATOMIC_OP_AND);
XSHM_ABI_ASSERT((int)XSHM_ATOMIC_OR == (int)UCT_ATOMIC_OP_OR);
XSHM_ABI_ASSERT((int)XSHM_ATOMIC_XOR == (int)UCT_ATOMIC_OP_XOR);
XSHM_ABI_ASSERT((int)XSHM_ATOMIC_SWAP == (int)UCT_ATOMIC_OP_SWAP);
XSHM_ABI_ASSERT((int)XSHM_ATOMIC_CSWAP == (int)UCT_ATOMIC_OP_CSWAP);


static UCS_F_ALWAYS_INLINE xshm_iface_t *xshm_rma_iface(const xshm_ep_t *ep)
{
    return ucs_derived_of(ep->super.super.iface, xshm_iface_t);
}

static UCS_F_ALWAYS_INLINE void xshm_rma_count_direct(xshm_ep_t *ep)
{
    ++xshm_rma_iface(ep)->num_direct;
}

/* The ways that are not known to be direct are functions of their own: so those
 * that are save no registers and are short */
static UCS_F_NOINLINE ucs_status_t xshm_ep_put_short_slow(xshm_ep_t   *ep,
                                                          const void  *buffer,
                                                          unsigned     length,
                                                          uint64_t     address,
                                                          xshm_rkey_t *rkey)
{
    ucs_status_t status;
    void        *ptr;

    UCT_CHECK_LENGTH(length, 0, xshm_rma_max_put(xshm_rma_iface(ep)),
                     "put_short");
    if (length == 0) {
        return UCS_OK;
    }

    status = xshm_rma_find(ep, rkey, address, length, XSHM_RIGHT_PUT, &ptr);
    if (status == UCS_OK) {
        memcpy(ptr, buffer, length);
        xshm_rma_count_direct(ep);
    } else if (status == UCS_INPROGRESS) {
        status = xshm_rma_send_put(ep, buffer, length, address, rkey);
    }

    return status;
}

ucs_status_t xshm_ep_put_short(uct_ep_h tl_ep, const void *buffer,
                               unsigned length, uint64_t remote_addr,
                               uct_rkey_t tl_rkey)
{
    xshm_ep_t   *ep   = ucs_derived_of(tl_ep, xshm_ep_t);
    xshm_rkey_t *rkey = (xshm_rkey_t *)tl_rkey;

    UCT_TL_EP_STAT_OP(&ep->super, PUT, SHORT, length);

    if (ucs_unlikely(!xshm_rma_is_direct(ep, rkey, remote_addr, length,
                                         XSHM_RIGHT_PUT))) {
        return xshm_ep_put_short_slow(ep, buffer, length, remote_addr, rkey);
    }

    xshm_rma_count_direct(ep);
    memcpy(xshm_rkey_to_local(rkey, remote_addr), buffer, length);
    return UCS_OK;
}

/* How long it is, is known only when it has been packed: so it is checked
 * before it goes where it shall. Without a key nothing can be put but
 * nothing. */
static UCS_F_NOINLINE ssize_t
xshm_ep_put_bcopy_bounce(xshm_ep_t *ep, uct_pack_callback_t pack_cb, void *arg,
                         uint64_t address, xshm_rkey_t *rkey)
{
    void        *bounce = xshm_rma_iface(ep)->bounce;
    size_t       length = pack_cb(bounce, arg);
    ucs_status_t status;

    status = xshm_ep_put_short(&ep->super.super, bounce, (unsigned)length,
                               address, (uct_rkey_t)rkey);
    return (status == UCS_OK) ? (ssize_t)length : (ssize_t)status;
}

static UCS_F_NOINLINE ssize_t
xshm_ep_put_bcopy_slow(xshm_ep_t *ep, uct_pack_callback_t pack_cb, void *arg,
                       uint64_t address, xshm_rkey_t *rkey)
{
    ucs_status_t status;
    void        *ptr;

    /* Near the end of what the key names, the longest has no room */
    if (((uct_rkey_t)rkey == UCT_INVALID_RKEY) ||
        xshm_rma_is_direct(ep, rkey, address, 1, XSHM_RIGHT_PUT)) {
        return xshm_ep_put_bcopy_bounce(ep, pack_cb, arg, address, rkey);
    }

    status = xshm_rma_find(ep, rkey, address, 0, XSHM_RIGHT_PUT, &ptr);
    if (status == UCS_INPROGRESS) {
        return xshm_rma_send_put_bcopy(ep, pack_cb, arg, address, rkey);
    }

    return (status == UCS_OK) ?
                   xshm_ep_put_bcopy_bounce(ep, pack_cb, arg, address, rkey) :
                   (ssize_t)status;
}

ssize_t xshm_ep_put_bcopy(uct_ep_h tl_ep, uct_pack_callback_t pack_cb,
                          void *arg, uint64_t remote_addr, uct_rkey_t tl_rkey)
{
    xshm_ep_t   *ep   = ucs_derived_of(tl_ep, xshm_ep_t);
    xshm_rkey_t *rkey = (xshm_rkey_t *)tl_rkey;

    /* Only where there is room for the longest that can be packed */
    if (ucs_unlikely((tl_rkey == UCT_INVALID_RKEY) ||
                     !xshm_rma_is_direct(ep, rkey, remote_addr,
                                         XSHM_RMA_MAX_PUT_BCOPY,
                                         XSHM_RIGHT_PUT))) {
        return xshm_ep_put_bcopy_slow(ep, pack_cb, arg, remote_addr, rkey);
    }

    xshm_rma_count_direct(ep);
    return pack_cb(xshm_rkey_to_local(rkey, remote_addr), arg);
}

static void xshm_rma_copy_iov(xshm_rma_kind_t kind, const uct_iov_t *iov,
                              size_t iovcnt, uint8_t *ptr)
{
    size_t i, length;

    for (i = 0; i < iovcnt; ++i) {
        length = uct_iov_get_length(&iov[i]);
        if (length == 0) {
            continue;
        }

        if (kind == XSHM_RMA_PUT) {
            memcpy(ptr, iov[i].buffer, length);
        } else {
            memcpy(iov[i].buffer, ptr, length);
        }
        ptr += length;
    }
}

/* Directly it is complete at once, and comp is not called */
static UCS_F_ALWAYS_INLINE ucs_status_t
xshm_rma_zcopy(xshm_ep_t *ep, xshm_rma_kind_t kind, unsigned right,
               const uct_iov_t *iov, size_t iovcnt, size_t length,
               uint64_t address, xshm_rkey_t *rkey, uct_completion_t *comp)
{
    ucs_status_t status;
    void        *ptr;

    if (length == 0) {
        return UCS_OK;
    }

    status = xshm_rma_find(ep, rkey, address, length, right, &ptr);
    if (ucs_likely(status == UCS_OK)) {
        xshm_rma_copy_iov(kind, iov, iovcnt, ptr);
        xshm_rma_count_direct(ep);
    } else if (status == UCS_INPROGRESS) {
        status =
                xshm_rma_send_zcopy(ep, kind, iov, iovcnt, address, rkey, comp);
    }

    return status;
}

ucs_status_t xshm_ep_put_zcopy(uct_ep_h tl_ep, const uct_iov_t *iov,
                               size_t iovcnt, uint64_t remote_addr,
                               uct_rkey_t rkey, uct_completion_t *comp)
{
    xshm_ep_t   *ep     = ucs_derived_of(tl_ep, xshm_ep_t);
    size_t       length = uct_iov_total_length(iov, iovcnt);
    ucs_status_t status;

    UCT_CHECK_IOV_SIZE(iovcnt, (size_t)XSHM_IFACE_MAX_IOV, "put_zcopy");
    UCT_CHECK_LENGTH(length, 0, XSHM_IFACE_MAX_ZCOPY, "put_zcopy");
    status = xshm_rma_zcopy(ep, XSHM_RMA_PUT, XSHM_RIGHT_PUT, iov, iovcnt,
                            length, remote_addr, (xshm_rkey_t *)rkey, comp);
    UCT_TL_EP_STAT_OP_IF_SUCCESS(status, &ep->super, PUT, ZCOPY, length);
    return status;
}

ucs_status_t xshm_ep_get_zcopy(uct_ep_h tl_ep, const uct_iov_t *iov,
                               size_t iovcnt, uint64_t remote_addr,
                               uct_rkey_t rkey, uct_completion_t *comp)
{
    xshm_ep_t   *ep     = ucs_derived_of(tl_ep, xshm_ep_t);
    size_t       length = uct_iov_total_length(iov, iovcnt);
    ucs_status_t status;

    UCT_CHECK_IOV_SIZE(iovcnt, (size_t)XSHM_IFACE_MAX_IOV, "get_zcopy");
    UCT_CHECK_LENGTH(length, 0, XSHM_IFACE_MAX_ZCOPY, "get_zcopy");
    status = xshm_rma_zcopy(ep, XSHM_RMA_GET, XSHM_RIGHT_GET, iov, iovcnt,
                            length, remote_addr, (xshm_rkey_t *)rkey, comp);
    UCT_TL_EP_STAT_OP_IF_SUCCESS(status, &ep->super, GET, ZCOPY, length);
    return status;
}

static UCS_F_NOINLINE ucs_status_t
xshm_ep_get_bcopy_slow(xshm_ep_t *ep, uct_unpack_callback_t unpack_cb,
                       void *arg, size_t length, uint64_t address,
                       xshm_rkey_t *rkey, uct_completion_t *comp)
{
    ucs_status_t status;
    void        *ptr;

    UCT_CHECK_LENGTH(length, 0, XSHM_RMA_MAX_GET, "get_bcopy");
    if (length == 0) {
        return UCS_OK;
    }

    status = xshm_rma_find(ep, rkey, address, length, XSHM_RIGHT_GET, &ptr);
    if (status == UCS_OK) {
        unpack_cb(arg, ptr, length);
        xshm_rma_count_direct(ep);
    } else if (status == UCS_INPROGRESS) {
        status = xshm_rma_send_get_bcopy(ep, unpack_cb, arg, length, address,
                                         rkey, comp);
    }

    return status;
}

ucs_status_t xshm_ep_get_bcopy(uct_ep_h tl_ep, uct_unpack_callback_t unpack_cb,
                               void *arg, size_t length, uint64_t remote_addr,
                               uct_rkey_t tl_rkey, uct_completion_t *comp)
{
    xshm_ep_t   *ep   = ucs_derived_of(tl_ep, xshm_ep_t);
    xshm_rkey_t *rkey = (xshm_rkey_t *)tl_rkey;

    UCT_TL_EP_STAT_OP(&ep->super, GET, BCOPY, length);

    if (ucs_likely(xshm_rma_is_direct(ep, rkey, remote_addr, length,
                                      XSHM_RIGHT_GET))) {
        xshm_rma_count_direct(ep);
        unpack_cb(arg, xshm_rkey_to_local(rkey, remote_addr), length);
        return UCS_OK;
    }

    return xshm_ep_get_bcopy_slow(ep, unpack_cb, arg, length, remote_addr, rkey,
                                  comp);
}

/* One function for each width: the builtins are generic, functions are not.
 * They are the processor's, so they are atomic for all that map the memory. */
#define XSHM_RMA_DEFINE_ATOMIC(_bits) \
    static UCS_F_ALWAYS_INLINE uint64_t xshm_rma_atomic##_bits( \
            unsigned op, uint##_bits##_t *ptr, uint##_bits##_t value, \
            uint##_bits##_t compare) \
    { \
        switch (op) { \
        case XSHM_ATOMIC_ADD: \
            return __atomic_fetch_add(ptr, value, __ATOMIC_SEQ_CST); \
        case XSHM_ATOMIC_AND: \
            return __atomic_fetch_and(ptr, value, __ATOMIC_SEQ_CST); \
        case XSHM_ATOMIC_OR: \
            return __atomic_fetch_or(ptr, value, __ATOMIC_SEQ_CST); \
        case XSHM_ATOMIC_XOR: \
            return __atomic_fetch_xor(ptr, value, __ATOMIC_SEQ_CST); \
        case XSHM_ATOMIC_SWAP: \
            return __atomic_exchange_n(ptr, value, __ATOMIC_SEQ_CST); \
        default: \
            __atomic_compare_exchange_n(ptr, &compare, value, 0, \
                                        __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
            return compare; \
        } \
    }

XSHM_RMA_DEFINE_ATOMIC(32)
XSHM_RMA_DEFINE_ATOMIC(64)

uint64_t xshm_rma_do_atomic(unsigned op, unsigned size, void *ptr,
                            uint64_t value, uint64_t compare)
{
    return (size == sizeof(uint64_t)) ?
                   xshm_rma_atomic64(op, ptr, value, compare) :
                   xshm_rma_atomic32(op, ptr, (uint32_t)value,
                                     (uint32_t)compare);
}

static UCS_F_ALWAYS_INLINE int
xshm_rma_is_aligned(uint64_t address, unsigned size)
{
    return (address % size) == 0;
}

/* Is an atomic operation known to go directly? Then *ptr_p is the memory. */
static UCS_F_ALWAYS_INLINE int
xshm_rma_is_direct_atomic(const xshm_ep_t *ep, uct_rkey_t tl_rkey,
                          uint64_t address, unsigned size, void **ptr_p)
{
    const xshm_rkey_t *rkey = (const xshm_rkey_t *)tl_rkey;

    if (!xshm_rma_is_aligned(address, size) ||
        !xshm_rma_is_direct(ep, rkey, address, size, XSHM_RIGHT_ATOMIC)) {
        return 0;
    }

    *ptr_p = xshm_rkey_to_local(rkey, address);
    return 1;
}

static void xshm_rma_set_result(void *result, unsigned size, uint64_t old)
{
    if (result == NULL) {
        return;
    }

    if (size == sizeof(uint64_t)) {
        *(uint64_t *)result = old;
    } else {
        *(uint32_t *)result = (uint32_t)old;
    }
}

/* Whatever the fast way below does not know to be direct */
static UCS_F_NOINLINE ucs_status_t
xshm_rma_atomic_slow(xshm_ep_t *ep, unsigned op, unsigned size, uint64_t value,
                     uint64_t compare, void *result, uint64_t address,
                     uct_rkey_t tl_rkey, uct_completion_t *comp)
{
    xshm_abi_operands_t operands = {.value = value, .compare = compare};
    xshm_rkey_t        *rkey     = (xshm_rkey_t *)tl_rkey;
    ucs_status_t        status;
    uint64_t            old;
    void               *ptr;

    if (!xshm_rma_is_aligned(address, size)) {
        return UCS_ERR_INVALID_ADDR;
    }

    status = xshm_rma_find(ep, rkey, address, size, XSHM_RIGHT_ATOMIC, &ptr);
    if (status == UCS_INPROGRESS) {
        return xshm_rma_send_atomic(ep, op, size, &operands, result, address,
                                    rkey, comp);
    }

    if (status == UCS_OK) {
        old = xshm_rma_do_atomic(op, size, ptr, value, compare);
        xshm_rma_set_result(result, size, old);
        xshm_rma_count_direct(ep);
    }

    return status;
}

/* Functions that call nobody in the usual case, and so save no registers */
#define XSHM_RMA_DEFINE_EP_ATOMICS(_bits) \
    ucs_status_t xshm_ep_atomic##_bits##_post(uct_ep_h tl_ep, unsigned opcode, \
                                              uint##_bits##_t value, \
                                              uint64_t        remote_addr, \
                                              uct_rkey_t      rkey) \
    { \
        xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t); \
        void      *ptr; \
\
        UCT_TL_EP_STAT_ATOMIC(&ep->super); \
        if (ucs_unlikely(opcode > UCT_ATOMIC_OP_XOR)) { \
            return UCS_ERR_UNSUPPORTED; \
        } \
\
        if (ucs_unlikely(!xshm_rma_is_direct_atomic(ep, rkey, remote_addr, \
                                                    sizeof(value), &ptr))) { \
            return xshm_rma_atomic_slow(ep, opcode, sizeof(value), value, 0, \
                                        NULL, remote_addr, rkey, NULL); \
        } \
\
        xshm_rma_count_direct(ep); \
        xshm_rma_atomic##_bits(opcode, ptr, value, 0); \
        return UCS_OK; \
    } \
\
    ucs_status_t xshm_ep_atomic##_bits##_fetch( \
            uct_ep_h tl_ep, unsigned opcode, uint##_bits##_t value, \
            uint##_bits##_t *result, uint64_t remote_addr, uct_rkey_t rkey, \
            uct_completion_t *comp) \
    { \
        xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t); \
        void      *ptr; \
\
        UCT_TL_EP_STAT_ATOMIC(&ep->super); \
        if (ucs_unlikely(opcode > UCT_ATOMIC_OP_SWAP)) { \
            return UCS_ERR_UNSUPPORTED; \
        } \
\
        if (ucs_unlikely(!xshm_rma_is_direct_atomic(ep, rkey, remote_addr, \
                                                    sizeof(value), &ptr))) { \
            return xshm_rma_atomic_slow(ep, opcode, sizeof(value), value, 0, \
                                        result, remote_addr, rkey, comp); \
        } \
\
        xshm_rma_count_direct(ep); \
        *result = xshm_rma_atomic##_bits(opcode, ptr, value, 0); \
        return UCS_OK; \
    } \
\
    ucs_status_t xshm_ep_atomic_cswap##_bits( \
            uct_ep_h tl_ep, uint##_bits##_t compare, uint##_bits##_t swap, \
            uint64_t remote_addr, uct_rkey_t rkey, uint##_bits##_t *result, \
            uct_completion_t *comp) \
    { \
        xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t); \
        void      *ptr; \
\
        UCT_TL_EP_STAT_ATOMIC(&ep->super); \
        if (ucs_unlikely(!xshm_rma_is_direct_atomic(ep, rkey, remote_addr, \
                                                    sizeof(swap), &ptr))) { \
            return xshm_rma_atomic_slow(ep, XSHM_ATOMIC_CSWAP, sizeof(swap), \
                                        swap, compare, result, remote_addr, \
                                        rkey, comp); \
        } \
\
        xshm_rma_count_direct(ep); \
        *result = \
                xshm_rma_atomic##_bits(XSHM_ATOMIC_CSWAP, ptr, swap, compare); \
        return UCS_OK; \
    }

XSHM_RMA_DEFINE_EP_ATOMICS(32)
XSHM_RMA_DEFINE_EP_ATOMICS(64)
