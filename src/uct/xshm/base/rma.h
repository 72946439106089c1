/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_RMA_H_
#define XSHM_RMA_H_

#include "ep.h"
#include "../memory/view.h"

#include <uct/base/uct_iov.inl>

/**
 * Put, get and atomic operations, in one of two ways:
 *
 *   direct   where the target's memory is mapped: loads, stores and atomic
 *            operations of this processor (rma_direct.c)
 *   message  through the ring, carried out by the target's progress
 *            (rma_message.c and, at the target, rma_target.c)
 *
 * The target does what a record asks for before it gives the record's lines
 * back, and writes what was read to the reply room of the return page: so the
 * count of consumed lines completes an operation, nothing is sent back, and
 * nothing can wait for anything. What was refused is listed in the return page,
 * too (xshm_abi.h).
 */

/** Rights that a key can give: those of XSHM_RIGHT_ALL */
#define XSHM_RKEY_NUM_RIGHTS 3

XSHM_ABI_ASSERT(XSHM_RIGHT_ALL == UCS_MASK(XSHM_RKEY_NUM_RIGHTS));

/** A key that was unpacked. What is mapped does not change any more. Which
 *  region that is, is known at the first operation: the key alone does not say
 *  for sure whose it is. */
typedef struct xshm_rkey {
    uint64_t       reach[XSHM_RKEY_NUM_RIGHTS]; /**< Of each right: bytes from
                                                     the key's base that may be
                                                     accessed directly. Zero
                                                     until it is mapped. */
    ptrdiff_t      delta; /**< From their addresses to ours */
    xshm_view_t   *view;  /**< NULL: not known, or by message only */
    xshm_abi_key_t key;
} xshm_rkey_t;


/** What waits for its record to be consumed */
typedef enum {
    XSHM_RMA_PUT, /**< Nothing is returned; also posted atomics */
    XSHM_RMA_GET, /**< Part of a get_zcopy */
    XSHM_RMA_GET_BCOPY,
    XSHM_RMA_FETCH /**< Atomic operation with a result */
} xshm_rma_kind_t;


/** A put or get in parts */
typedef struct xshm_rma_op {
    xshm_rma_kind_t   kind;
    xshm_ep_t        *ep;
    uct_completion_t *comp;
    ucs_status_t      status;
    unsigned          num_parts; /**< Sent, and not completed */
    size_t            remaining; /**< Bytes that are not sent yet */
    uint64_t          address;   /**< Remote, of the next part */
    uint64_t          id;        /**< Registration */
    uint32_t          slot;
    ucs_iov_iter_t    iter;
    uct_iov_t         iov[XSHM_IFACE_MAX_IOV];
} xshm_rma_op_t;


/** A record that was sent, and is not consumed */
typedef struct xshm_rma_sent {
    xshm_rma_kind_t       kind;
    int                   is_refused;
    uint32_t              end;         /**< Lines produced after it */
    uint32_t              reply;       /**< Place in the reply room, bytes */
    uint32_t              reply_lines; /**< To be free then */
    uint32_t              length;      /**< Bytes that are returned */
    xshm_ep_t            *ep;          /**< NULL: nobody cares any more */
    xshm_rma_op_t        *op;          /**< It is a part of, or NULL */
    uct_completion_t     *comp;
    void                 *dst; /**< For what is returned; or for unpack */
    uct_unpack_callback_t unpack;
} xshm_rma_sent_t;


/** State of the messages to one peer. Counters of operations run modulo 2^32,
 *  and only differences of them are used. */
struct xshm_rma_peer {
    xshm_peer_t    *peer;
    uint32_t        sent;        /**< Operations sent */
    uint32_t        done;        /**< Operations completed */
    uint32_t        refused;     /**< Refused ones that were noted */
    uint32_t        reply_head;  /**< Next line of the reply room */
    uint32_t        reply_used;  /**< Lines of it that are in use */
    uint32_t        num_entries; /**< Power of two */
    xshm_rma_op_t  *sending;     /**< Of which parts are not sent yet */
    ucs_list_link_t list;        /**< In xshm_iface_t::rma_active */
    xshm_rma_sent_t entries[];
};


/** See uct_component_t */
ucs_status_t xshm_rkey_unpack(uct_component_t *component,
                              const void *rkey_buffer, uct_rkey_t *rkey_p,
                              void **handle_p);

ucs_status_t xshm_rkey_ptr(uct_component_t *component, uct_rkey_t rkey,
                           void *handle, uint64_t remote_addr,
                           void **local_addr_p);

ucs_status_t
xshm_rkey_release(uct_component_t *component, uct_rkey_t rkey, void *handle);

/** Is a packed key one that this version can have written? */
int xshm_key_is_valid(const xshm_abi_key_t *key);

/** Slow part of @ref xshm_rma_find */
ucs_status_t xshm_rma_find_slow(xshm_ep_t *ep, xshm_rkey_t *rkey,
                                uint64_t address, size_t length, unsigned right,
                                void **ptr_p);

/** Does a range lie in what the key names? */
static UCS_F_ALWAYS_INLINE int
xshm_rkey_covers(const xshm_rkey_t *rkey, uint64_t address, size_t length)
{
    uint64_t offset = address - rkey->key.base;

    return (offset <= rkey->key.length) &&
           (length <= rkey->key.length - offset);
}

/** How far a key lets others, in any thread, go directly by a right: bytes from
 *  its base */
static UCS_F_ALWAYS_INLINE uint64_t xshm_rkey_reach(const xshm_rkey_t *rkey,
                                                    unsigned           right)
{
    /* DIRECT_SEE: pairs with DIRECT_SET. The mapping's place is known then. */
    return __atomic_load_n(&rkey->reach[ucs_ilog2(right)], __ATOMIC_ACQUIRE);
}

/** Is an operation one of those that are known to go directly? One of no bytes
 *  is not, and may be without a key. What is allowed and what is in range is one
 *  test: a key that allows nothing, or an endpoint that must not, has no
 *  range. */
static UCS_F_ALWAYS_INLINE int
xshm_rma_is_direct(const xshm_ep_t *ep, const xshm_rkey_t *rkey,
                   uint64_t address, size_t length, unsigned right)
{
    uint64_t offset, room;

    if (length == 0) {
        return 0;
    }

    offset = address - rkey->key.base;
    room   = xshm_rkey_reach(rkey, right) & ep->direct_mask;
    return !__builtin_sub_overflow(room, offset, &room) && (length <= room);
}

/** Where memory is in this address space, if the way is direct */
static UCS_F_ALWAYS_INLINE void *
xshm_rkey_to_local(const xshm_rkey_t *rkey, uint64_t address)
{
    /* Ordered by DIRECT_SEE; threads that set it at once set the same */
    return (void *)(uintptr_t)(address +
                               __atomic_load_n(&rkey->delta, __ATOMIC_RELAXED));
}

/**
 * Find the way for an operation.
 *
 * @param [out] ptr_p  Where the memory is in this address space.
 *
 * @return UCS_OK: directly; UCS_INPROGRESS: by message; UCS_ERR_NO_RESOURCE:
 *         not known yet; other: it cannot be.
 */
static UCS_F_ALWAYS_INLINE ucs_status_t
xshm_rma_find(xshm_ep_t *ep, xshm_rkey_t *rkey, uint64_t address, size_t length,
              unsigned right, void **ptr_p)
{
    if (ucs_likely(xshm_rma_is_direct(ep, rkey, address, length, right))) {
        *ptr_p = xshm_rkey_to_local(rkey, address);
        return UCS_OK;
    }

    return xshm_rma_find_slow(ep, rkey, address, length, right, ptr_p);
}

/** The operations, as in uct_iface_ops_t */
ucs_status_t xshm_ep_put_short(uct_ep_h tl_ep, const void *buffer,
                               unsigned length, uint64_t remote_addr,
                               uct_rkey_t rkey);

ssize_t xshm_ep_put_bcopy(uct_ep_h tl_ep, uct_pack_callback_t pack_cb,
                          void *arg, uint64_t remote_addr, uct_rkey_t rkey);

ucs_status_t xshm_ep_put_zcopy(uct_ep_h tl_ep, const uct_iov_t *iov,
                               size_t iovcnt, uint64_t remote_addr,
                               uct_rkey_t rkey, uct_completion_t *comp);

ucs_status_t xshm_ep_get_bcopy(uct_ep_h tl_ep, uct_unpack_callback_t unpack_cb,
                               void *arg, size_t length, uint64_t remote_addr,
                               uct_rkey_t rkey, uct_completion_t *comp);

ucs_status_t xshm_ep_get_zcopy(uct_ep_h tl_ep, const uct_iov_t *iov,
                               size_t iovcnt, uint64_t remote_addr,
                               uct_rkey_t rkey, uct_completion_t *comp);

ucs_status_t xshm_ep_atomic32_post(uct_ep_h tl_ep, unsigned opcode,
                                   uint32_t value, uint64_t remote_addr,
                                   uct_rkey_t rkey);

ucs_status_t xshm_ep_atomic64_post(uct_ep_h tl_ep, unsigned opcode,
                                   uint64_t value, uint64_t remote_addr,
                                   uct_rkey_t rkey);

ucs_status_t xshm_ep_atomic32_fetch(uct_ep_h tl_ep, unsigned opcode,
                                    uint32_t value, uint32_t *result,
                                    uint64_t remote_addr, uct_rkey_t rkey,
                                    uct_completion_t *comp);

ucs_status_t xshm_ep_atomic64_fetch(uct_ep_h tl_ep, unsigned opcode,
                                    uint64_t value, uint64_t *result,
                                    uint64_t remote_addr, uct_rkey_t rkey,
                                    uct_completion_t *comp);

ucs_status_t xshm_ep_atomic_cswap32(uct_ep_h tl_ep, uint32_t compare,
                                    uint32_t swap, uint64_t remote_addr,
                                    uct_rkey_t rkey, uint32_t *result,
                                    uct_completion_t *comp);

ucs_status_t xshm_ep_atomic_cswap64(uct_ep_h tl_ep, uint64_t compare,
                                    uint64_t swap, uint64_t remote_addr,
                                    uct_rkey_t rkey, uint64_t *result,
                                    uct_completion_t *comp);

/** The same by message. Lengths and alignment were checked. */
ucs_status_t xshm_rma_send_put(xshm_ep_t *ep, const void *buffer, size_t length,
                               uint64_t address, const xshm_rkey_t *rkey);

ssize_t xshm_rma_send_put_bcopy(xshm_ep_t *ep, uct_pack_callback_t pack_cb,
                                void *arg, uint64_t address,
                                const xshm_rkey_t *rkey);

ucs_status_t
xshm_rma_send_get_bcopy(xshm_ep_t *ep, uct_unpack_callback_t unpack_cb,
                        void *arg, size_t length, uint64_t address,
                        const xshm_rkey_t *rkey, uct_completion_t *comp);

ucs_status_t xshm_rma_send_zcopy(xshm_ep_t *ep, xshm_rma_kind_t kind,
                                 const uct_iov_t *iov, size_t iovcnt,
                                 uint64_t address, const xshm_rkey_t *rkey,
                                 uct_completion_t *comp);

/** @a result is NULL if it is not wanted, else it has @a size bytes */
ucs_status_t xshm_rma_send_atomic(xshm_ep_t *ep, unsigned op, unsigned size,
                                  const xshm_abi_operands_t *operands,
                                  void *result, uint64_t address,
                                  const xshm_rkey_t *rkey,
                                  uct_completion_t  *comp);

/** Longest put of one record, and longest get_bcopy, bytes */
static inline size_t xshm_rma_max_put(const xshm_iface_t *iface)
{
    return iface->config.seg_size - sizeof(xshm_abi_rma_t);
}

/** Longest put_bcopy, bytes. Directly, the data is packed where it shall go if
 *  the longest would have room there, as nobody knows before how long it is;
 *  else it is copied once more. So the limit is a small one. */
#define XSHM_RMA_MAX_PUT_BCOPY 8192ul

static inline size_t xshm_rma_max_put_bcopy(const xshm_iface_t *iface)
{
    return ucs_min(xshm_rma_max_put(iface), XSHM_RMA_MAX_PUT_BCOPY);
}
#define XSHM_RMA_MAX_GET XSHM_ABI_REPLY_SIZE

/** Can any operation be sent now? */
int xshm_rma_has_room(const xshm_peer_t *peer);

/** Are there operations that are not completed? */
int xshm_rma_is_busy(const xshm_peer_t *peer);

/** Is an operation of this endpoint sent in part only? */
int xshm_rma_is_sending(const xshm_ep_t *ep);

/** Has progress something to do for this peer? Looks at what it gave back. */
int xshm_rma_has_news(xshm_peer_t *peer);

/** Number of operations sent to this peer, for xshm_rma_is_done() */
uint32_t xshm_rma_mark(const xshm_peer_t *peer);

/** Are those that were sent before the mark completed? */
int xshm_rma_is_done(const xshm_peer_t *peer, uint32_t mark);

/** What follows is done after all that was sent */
void xshm_rma_fence(xshm_peer_t *peer);

/** End all operations of an endpoint with @a status */
void xshm_rma_purge(xshm_ep_t *ep, ucs_status_t status);

/** No operations with this peer any more */
void xshm_rma_cleanup_peer(xshm_peer_t *peer);

/** Complete what has been done, and send what waits.
 *  @return Operations completed. */
unsigned xshm_rma_progress(xshm_iface_t *iface);

/** Operations on memory, atomic also towards the other processors */
uint64_t xshm_rma_do_atomic(unsigned op, unsigned size, void *ptr,
                            uint64_t value, uint64_t compare);

/**
 * Carry out what a record asks for, or refuse it.
 *
 * @param [in] record  Checked: it lies in the ring, and is one of ours.
 */
void xshm_rma_execute(xshm_rx_t *rx, const xshm_abi_record_t *record);

/** Buffers for operations in parts: see ucs_mpool_init() */
ucs_status_t xshm_rma_init_iface(xshm_iface_t *iface);
void         xshm_rma_cleanup_iface(xshm_iface_t *iface);

#endif
