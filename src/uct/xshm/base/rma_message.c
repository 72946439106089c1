/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "gather.h"
#include "rma.h"

#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>


/* Lines of the reply room, and the parts of a get: two can be under way */
#define XSHM_RMA_REPLY_LINES (XSHM_ABI_REPLY_SIZE / XSHM_ABI_LINE_SIZE)
#define XSHM_RMA_GET_PART    (XSHM_ABI_REPLY_SIZE / 2)

/* Operations that are allocated at a time */
#define XSHM_RMA_OP_GROW 32


static ucs_mpool_ops_t xshm_rma_op_mpool_ops = {.chunk_alloc =
                                                        ucs_mpool_chunk_malloc,
                                                .chunk_release =
                                                        ucs_mpool_chunk_free,
                                                .obj_init    = NULL,
                                                .obj_cleanup = NULL,
                                                .obj_str     = NULL};

ucs_status_t xshm_rma_init_iface(xshm_iface_t *iface)
{
    ucs_status_t status;

    iface->bounce = ucs_malloc(iface->config.seg_size, "xshm_bounce");
    if (iface->bounce == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for an interface",
                  iface->config.seg_size);
        return UCS_ERR_NO_MEMORY;
    }

    status = ucs_mpool_init(&iface->rma_mp, 0, sizeof(xshm_rma_op_t), 0,
                            XSHM_ABI_LINE_SIZE, XSHM_RMA_OP_GROW, UINT_MAX,
                            &xshm_rma_op_mpool_ops, "xshm_rma_op");
    if (status != UCS_OK) {
        ucs_free(iface->bounce);
    }

    return status;
}

void xshm_rma_cleanup_iface(xshm_iface_t *iface)
{
    ucs_mpool_cleanup(&iface->rma_mp, 1);
    ucs_free(iface->bounce);
}

/* Each operation takes a line of the ring at least, so there are never more
 * than lines that wait. How many lines there are, is known once the channel is
 * open. */
static UCS_F_NOINLINE ucs_status_t xshm_rma_peer_create(xshm_ep_t *ep)
{
    xshm_peer_t     *peer = ep->peer;
    xshm_rma_peer_t *rma;
    ucs_status_t     status;
    uint32_t         num_entries;

    status = xshm_ep_check_sendable(ep);
    if (status != UCS_OK) {
        return status;
    }

    num_entries = ucs_roundup_pow2(peer->tx->ring_size / XSHM_ABI_LINE_SIZE);
    rma = ucs_calloc(1, sizeof(*rma) + (num_entries * sizeof(*rma->entries)),
                     "xshm_rma_peer");
    if (rma == NULL) {
        ucs_error("xshm: cannot allocate memory for access to a peer");
        return UCS_ERR_NO_MEMORY;
    }

    rma->num_entries = num_entries;
    rma->peer        = peer;
    ucs_list_head_init(&rma->list);
    peer->rma = rma;
    return UCS_OK;
}

static ucs_status_t xshm_rma_peer_get(xshm_ep_t *ep, xshm_rma_peer_t **rma_p)
{
    ucs_status_t status = UCS_OK;

    if (ucs_unlikely(ep->peer->rma == NULL)) {
        status = xshm_rma_peer_create(ep);
    }

    *rma_p = ep->peer->rma;
    return status;
}

static xshm_rma_sent_t *xshm_rma_entry(xshm_rma_peer_t *rma, uint32_t number)
{
    return &rma->entries[number & (rma->num_entries - 1)];
}

static int xshm_rma_peer_is_busy(const xshm_rma_peer_t *rma)
{
    return (rma->sent != rma->done) || (rma->sending != NULL);
}

int xshm_rma_is_busy(const xshm_peer_t *peer)
{
    return (peer->rma != NULL) && xshm_rma_peer_is_busy(peer->rma);
}

int xshm_rma_is_sending(const xshm_ep_t *ep)
{
    const xshm_rma_peer_t *rma = ep->peer->rma;

    return (rma != NULL) && (rma->sending != NULL) && (rma->sending->ep == ep);
}

uint32_t xshm_rma_mark(const xshm_peer_t *peer)
{
    return (peer->rma == NULL) ? 0 : peer->rma->sent;
}

int xshm_rma_is_done(const xshm_peer_t *peer, uint32_t mark)
{
    return (peer->rma == NULL) || ((int32_t)(peer->rma->done - mark) >= 0);
}

/* There is a line in the ring for each entry, but some of those lines carry
 * other messages: so it is full only if somebody does not get on */
static int xshm_rma_is_full(const xshm_rma_peer_t *rma)
{
    return (rma->sent - rma->done) >= rma->num_entries;
}

int xshm_rma_has_room(const xshm_peer_t *peer)
{
    const xshm_rma_peer_t *rma = peer->rma;

    if (xshm_view_is_asking()) {
        return 0;
    }

    return (rma == NULL) || ((rma->sending == NULL) && (rma->reply_used == 0) &&
                             !xshm_rma_is_full(rma));
}

void xshm_rma_fence(xshm_peer_t *peer)
{
    xshm_ep_t *ep;

    if (!xshm_rma_is_busy(peer)) {
        return;
    }

    /* The ring keeps the order, but for what is not in it yet */
    peer->is_indirect = 1;
    peer->is_held     = (peer->rma->sending != NULL);
    ucs_list_for_each(ep, &peer->eps, list) {
        xshm_ep_update_ring(ep);
    }
}

/* Nothing is under way any more */
static void xshm_rma_set_idle(xshm_peer_t *peer)
{
    xshm_ep_t *ep;

    ucs_list_del(&peer->rma->list);
    ucs_list_head_init(&peer->rma->list);
    if (peer->is_indirect) {
        peer->is_indirect = 0;
        ucs_list_for_each(ep, &peer->eps, list) {
            xshm_ep_update_ring(ep);
        }
    }
}

static void xshm_rma_set_active(xshm_peer_t *peer)
{
    if (ucs_list_is_empty(&peer->rma->list)) {
        ucs_list_add_tail(&peer->iface->rma_active, &peer->rma->list);
    }

    xshm_iface_schedule(peer->iface, XSHM_IFACE_WORK_RMA);
}

/* Find a place in the reply room, which is contiguous, so that there may be
 * waste at the end. @return Zero: no room. */
static int xshm_rma_reserve_reply(xshm_rma_peer_t *rma, uint32_t length,
                                  xshm_rma_sent_t *entry)
{
    uint32_t lines = (length + XSHM_ABI_LINE_SIZE - 1) / XSHM_ABI_LINE_SIZE;
    uint32_t head  = (rma->reply_used == 0) ? 0 : rma->reply_head;
    uint32_t left  = XSHM_RMA_REPLY_LINES - head;
    uint32_t waste = (lines > left) ? left : 0;

    entry->length      = length;
    entry->reply       = XSHM_ABI_NO_REPLY;
    entry->reply_lines = 0;
    if (length == 0) {
        return 1;
    }

    if (waste + lines > XSHM_RMA_REPLY_LINES - rma->reply_used) {
        return 0;
    }

    entry->reply       = ((waste > 0) ? 0 : head) * XSHM_ABI_LINE_SIZE;
    entry->reply_lines = waste + lines;
    return 1;
}

static void
xshm_rma_commit_reply(xshm_rma_peer_t *rma, const xshm_rma_sent_t *entry)
{
    if (entry->reply_lines == 0) {
        return;
    }

    rma->reply_used += entry->reply_lines;
    rma->reply_head = (entry->reply + entry->length + XSHM_ABI_LINE_SIZE - 1) /
                      XSHM_ABI_LINE_SIZE;
    if (rma->reply_head == XSHM_RMA_REPLY_LINES) {
        rma->reply_head = 0;
    }
}

/* Room for one more, but for that in the ring. @return NULL: none. */
static xshm_rma_sent_t *
xshm_rma_reserve_entry(xshm_rma_peer_t *rma, uint32_t reply_length)
{
    xshm_rma_sent_t *entry = xshm_rma_entry(rma, rma->sent);

    if (xshm_rma_is_full(rma) ||
        !xshm_rma_reserve_reply(rma, reply_length, entry)) {
        return NULL;
    }

    entry->is_refused = 0;
    entry->op         = NULL;
    entry->comp       = NULL;
    return entry;
}

/* Room for an operation that is sent in one record: in all that it needs */
static ucs_status_t xshm_rma_reserve(xshm_ep_t *ep, size_t size,
                                     uint32_t          reply_length,
                                     xshm_rma_sent_t **entry_p, void **data_p)
{
    xshm_rma_peer_t *rma;
    ucs_status_t     status;

    status = xshm_rma_peer_get(ep, &rma);
    if (status != UCS_OK) {
        return status;
    }

    if (rma->sending != NULL) {
        return UCS_ERR_NO_RESOURCE;
    }

    *entry_p = xshm_rma_reserve_entry(rma, reply_length);
    if (*entry_p == NULL) {
        return UCS_ERR_NO_RESOURCE;
    }

    (*entry_p)->ep = ep;
    return xshm_ep_reserve_record(ep, xshm_ring_lines(size), data_p);
}

static void xshm_rma_fill(xshm_abi_rma_t *rma, uint32_t slot, uint64_t id,
                          uint64_t address, size_t length,
                          const xshm_rma_sent_t *entry)
{
    rma->id      = id;
    rma->address = address;
    rma->slot    = slot;
    rma->length  = (uint32_t)length;
    rma->reply   = entry->reply;
    rma->unused  = 0;
}

/* Publish the record, whose place was reserved and is filled */
static void xshm_rma_commit(xshm_peer_t *peer, xshm_rma_sent_t *entry,
                            uint8_t type, uint8_t op, size_t size)
{
    xshm_ring_tx_t   *ring   = &peer->tx->ring;
    xshm_rma_peer_t  *rma    = peer->rma;
    xshm_abi_record_t record = {
            {.size = (uint32_t)size, .type = type, .id = op}};

    xshm_gather_commit(peer, record);
    entry->end = ring->produced;
    xshm_rma_commit_reply(rma, entry);
    ++rma->sent;
    ++peer->iface->num_messages;
    xshm_rma_set_active(peer);
}

ucs_status_t xshm_rma_send_put(xshm_ep_t *ep, const void *buffer, size_t length,
                               uint64_t address, const xshm_rkey_t *rkey)
{
    size_t           size = sizeof(xshm_abi_rma_t) + length;
    xshm_rma_sent_t *entry;
    xshm_abi_rma_t  *rma;
    ucs_status_t     status;

    status = xshm_rma_reserve(ep, size, 0, &entry, (void **)&rma);
    if (status != UCS_OK) {
        return status;
    }

    xshm_rma_fill(rma, rkey->key.slot, rkey->key.id, address, length, entry);
    xshm_gather_copy(rma + 1, buffer, length,
                     xshm_gather_is_nt(ep->peer, size));
    entry->kind = XSHM_RMA_PUT;
    xshm_rma_commit(ep->peer, entry, XSHM_RECORD_PUT, 0, size);
    return UCS_OK;
}

/* Packing goes through the caches. A copy more, from there to where much of it
 * has to go past them, is the smaller evil. */
static size_t xshm_rma_pack(const xshm_peer_t *peer, void *dst,
                            uct_pack_callback_t pack_cb, void *arg)
{
    size_t max_length = xshm_rma_max_put_bcopy(peer->iface);
    size_t length;

    if (!xshm_gather_is_nt(peer, sizeof(xshm_abi_rma_t) + max_length)) {
        return pack_cb(dst, arg);
    }

    length = pack_cb(peer->iface->bounce, arg);
    xshm_gather_copy(dst, peer->iface->bounce, length,
                     xshm_gather_is_nt(peer, sizeof(xshm_abi_rma_t) + length));
    return length;
}

ssize_t xshm_rma_send_put_bcopy(xshm_ep_t *ep, uct_pack_callback_t pack_cb,
                                void *arg, uint64_t address,
                                const xshm_rkey_t *rkey)
{
    size_t           max_size = xshm_rma_max_put_bcopy(ep->peer->iface);
    xshm_rma_sent_t *entry;
    xshm_abi_rma_t  *rma;
    ucs_status_t     status;
    size_t           length;

    status = xshm_rma_reserve(ep, sizeof(*rma) + max_size, 0, &entry,
                              (void **)&rma);
    if (status != UCS_OK) {
        return status;
    }

    length = xshm_rma_pack(ep->peer, rma + 1, pack_cb, arg);
    xshm_rma_fill(rma, rkey->key.slot, rkey->key.id, address, length, entry);
    entry->kind = XSHM_RMA_PUT;
    xshm_rma_commit(ep->peer, entry, XSHM_RECORD_PUT, 0, sizeof(*rma) + length);
    return length;
}

ucs_status_t
xshm_rma_send_get_bcopy(xshm_ep_t *ep, uct_unpack_callback_t unpack_cb,
                        void *arg, size_t length, uint64_t address,
                        const xshm_rkey_t *rkey, uct_completion_t *comp)
{
    xshm_rma_sent_t *entry;
    xshm_abi_rma_t  *rma;
    ucs_status_t     status;

    status = xshm_rma_reserve(ep, sizeof(*rma), (uint32_t)length, &entry,
                              (void **)&rma);
    if (status != UCS_OK) {
        return status;
    }

    xshm_rma_fill(rma, rkey->key.slot, rkey->key.id, address, length, entry);
    entry->kind   = XSHM_RMA_GET_BCOPY;
    entry->unpack = unpack_cb;
    entry->dst    = arg;
    entry->comp   = comp;
    xshm_rma_commit(ep->peer, entry, XSHM_RECORD_GET, 0, sizeof(*rma));
    return UCS_INPROGRESS;
}

ucs_status_t xshm_rma_send_atomic(xshm_ep_t *ep, unsigned op, unsigned size,
                                  const xshm_abi_operands_t *operands,
                                  void *result, uint64_t address,
                                  const xshm_rkey_t *rkey,
                                  uct_completion_t  *comp)
{
    xshm_rma_sent_t *entry;
    xshm_abi_rma_t  *rma;
    ucs_status_t     status;

    status = xshm_rma_reserve(ep, sizeof(*rma) + sizeof(*operands),
                              (result == NULL) ? 0 : size, &entry,
                              (void **)&rma);
    if (status != UCS_OK) {
        return status;
    }

    xshm_rma_fill(rma, rkey->key.slot, rkey->key.id, address, size, entry);
    memcpy(rma + 1, operands, sizeof(*operands));
    entry->kind = (result == NULL) ? XSHM_RMA_PUT : XSHM_RMA_FETCH;
    entry->dst  = result;
    entry->comp = comp;
    xshm_rma_commit(ep->peer, entry, XSHM_RECORD_ATOMIC, (uint8_t)op,
                    sizeof(*rma) + sizeof(*operands));
    return (result == NULL) ? UCS_OK : UCS_INPROGRESS;
}

/* That of the endpoint, and that of the interface, as each user asks one of
 * them: UCP asks both, and forgets what endpoints say when it flushes all. What
 * has failed with its endpoint is told by that. */
static void xshm_rma_keep_error(xshm_ep_t *ep, ucs_status_t status)
{
    xshm_iface_t *iface = ep->peer->iface;

    if (ep->rma_status == UCS_OK) {
        ep->rma_status = status;
    }

    if ((status == UCS_ERR_REJECTED) && (iface->rma_status == UCS_OK)) {
        iface->rma_status = status;
    }
}

/* An error that no completion tells, tells the next flush */
static void
xshm_rma_complete(xshm_ep_t *ep, uct_completion_t *comp, ucs_status_t status)
{
    if (comp != NULL) {
        uct_invoke_completion(comp, status);
    } else if (status != UCS_OK) {
        xshm_rma_keep_error(ep, status);
    }
}

static void xshm_rma_op_end(xshm_rma_op_t *op)
{
    uct_completion_t *comp   = op->comp;
    xshm_ep_t        *ep     = op->ep;
    ucs_status_t      status = op->status;

    ucs_mpool_put(op);
    xshm_rma_complete(ep, comp, status);
}

static void xshm_rma_op_part_done(xshm_rma_op_t *op, ucs_status_t status)
{
    if (op->status == UCS_OK) {
        op->status = status;
    }

    if ((--op->num_parts == 0) && (op->remaining == 0)) {
        xshm_rma_op_end(op);
    }
}

/* Room in the ring, for a part of an operation that goes before all that is
 * pending. @return NULL: none now. */
static void *xshm_rma_op_reserve(xshm_ring_tx_t *ring, size_t size)
{
    uint32_t lines = xshm_ring_lines(size);
    void    *payload;

    payload = xshm_ring_tx_reserve(ring, lines);
    return (payload != NULL) ? payload : xshm_ring_tx_reserve_slow(ring, lines);
}

/* As much of a get as goes to one place: into one element of the list */
static size_t xshm_rma_op_get_part(xshm_rma_op_t *op, void **dst_p)
{
    const uct_iov_t *iov = &op->iov[op->iter.iov_index];
    size_t           left;

    while (op->iter.buffer_offset == uct_iov_get_length(iov)) {
        ++iov;
        ++op->iter.iov_index;
        op->iter.buffer_offset = 0;
    }

    left   = uct_iov_get_length(iov) - op->iter.buffer_offset;
    *dst_p = UCS_PTR_BYTE_OFFSET(iov->buffer, op->iter.buffer_offset);
    return ucs_min(left, (size_t)XSHM_RMA_GET_PART);
}

static int xshm_rma_op_send_put(xshm_peer_t *peer, xshm_rma_op_t *op,
                                xshm_rma_sent_t *entry, size_t *length_p)
{
    size_t length = ucs_min(op->remaining, xshm_rma_max_put(peer->iface));
    xshm_abi_rma_t *rma;

    rma = xshm_rma_op_reserve(&peer->tx->ring, sizeof(*rma) + length);
    if (rma == NULL) {
        return 0;
    }

    xshm_rma_fill(rma, op->slot, op->id, op->address, length, entry);
    xshm_gather_iov(rma + 1, op->iov, &op->iter, length,
                    xshm_gather_is_nt(peer, sizeof(*rma) + length));
    xshm_rma_commit(peer, entry, XSHM_RECORD_PUT, 0, sizeof(*rma) + length);
    *length_p = length;
    return 1;
}

static int xshm_rma_op_send_get(xshm_peer_t *peer, xshm_rma_op_t *op,
                                xshm_rma_sent_t *entry)
{
    xshm_abi_rma_t *rma;

    rma = xshm_rma_op_reserve(&peer->tx->ring, sizeof(*rma));
    if (rma == NULL) {
        return 0;
    }

    xshm_rma_fill(rma, op->slot, op->id, op->address, entry->length, entry);
    op->iter.buffer_offset += entry->length;
    xshm_rma_commit(peer, entry, XSHM_RECORD_GET, 0, sizeof(*rma));
    return 1;
}

/* Send one part. @return Zero: no room. */
static int xshm_rma_op_send_part(xshm_peer_t *peer, xshm_rma_op_t *op)
{
    void            *dst    = NULL;
    size_t           length = 0;
    xshm_rma_sent_t *entry;

    if (op->kind == XSHM_RMA_GET) {
        length = xshm_rma_op_get_part(op, &dst);
    }

    entry = xshm_rma_reserve_entry(peer->rma, (uint32_t)length);
    if (entry == NULL) {
        return 0;
    }

    entry->kind = op->kind;
    entry->ep   = op->ep;
    entry->op   = op;
    entry->dst  = dst;
    if ((op->kind == XSHM_RMA_GET) ?
                !xshm_rma_op_send_get(peer, op, entry) :
                !xshm_rma_op_send_put(peer, op, entry, &length)) {
        return 0;
    }

    ++op->num_parts;
    op->address += length;
    op->remaining -= length;
    return 1;
}

/* Send as much as there is room for. What is refused in part is not sent on. */
static void xshm_rma_op_send(xshm_peer_t *peer, xshm_rma_op_t *op)
{
    xshm_rma_peer_t *rma = peer->rma;

    if (op->status != UCS_OK) {
        op->remaining = 0;
    }

    while ((op->remaining > 0) && xshm_rma_op_send_part(peer, op)) {
    }

    rma->sending = (op->remaining > 0) ? op : NULL;
    if (rma->sending == NULL) {
        peer->is_held = 0;
    }

    if ((op->remaining == 0) && (op->num_parts == 0)) {
        xshm_rma_op_end(op);
    }
}

ucs_status_t xshm_rma_send_zcopy(xshm_ep_t *ep, xshm_rma_kind_t kind,
                                 const uct_iov_t *iov, size_t iovcnt,
                                 uint64_t address, const xshm_rkey_t *rkey,
                                 uct_completion_t *comp)
{
    xshm_rma_peer_t *rma;
    ucs_status_t     status;
    xshm_rma_op_t   *op;

    status = xshm_ep_check_sendable(ep);
    if (status != UCS_OK) {
        return status;
    }

    status = xshm_rma_peer_get(ep, &rma);
    if (status != UCS_OK) {
        return status;
    }

    if ((rma->sending != NULL) || xshm_rma_is_full(rma)) {
        return UCS_ERR_NO_RESOURCE;
    }

    op = ucs_mpool_get(&ep->peer->iface->rma_mp);
    if (op == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    op->kind      = kind;
    op->ep        = ep;
    op->comp      = comp;
    op->status    = UCS_OK;
    op->num_parts = 0;
    op->remaining = uct_iov_total_length(iov, iovcnt);
    op->address   = address;
    op->id        = rkey->key.id;
    op->slot      = rkey->key.slot;
    ucs_iov_iter_init(&op->iter);
    memcpy(op->iov, iov, iovcnt * sizeof(*iov));

    xshm_rma_op_send(ep->peer, op);
    xshm_rma_set_active(ep->peer);
    return UCS_INPROGRESS;
}

/* A copy of its own, since the callback may put by bcopy, which uses the
 * interface's buffer */
static UCS_F_NOINLINE void
xshm_rma_unpack_reply(const xshm_rma_sent_t *entry, const uint8_t *reply)
{
    uint8_t data[XSHM_ABI_REPLY_SIZE];

    memcpy(data, reply, entry->length);
    entry->unpack(entry->dst, data, entry->length);
}

/* What the peer has put in the reply room is copied once */
static void xshm_rma_take_reply(xshm_peer_t *peer, const xshm_rma_sent_t *entry)
{
    const xshm_abi_return_t *ret   = peer->tx->mem->ret;
    const uint8_t           *reply = ret->reply + entry->reply;

    if (entry->kind == XSHM_RMA_GET_BCOPY) {
        xshm_rma_unpack_reply(entry, reply);
    } else {
        memcpy(entry->dst, reply, entry->length);
    }
}

/* The endpoint may be gone afterwards */
static void
xshm_rma_end_entry(const xshm_rma_sent_t *entry, ucs_status_t status)
{
    if (entry->op != NULL) {
        xshm_rma_op_part_done(entry->op, status);
    } else {
        xshm_rma_complete(entry->ep, entry->comp, status);
    }
}

static void xshm_rma_finish_oldest(xshm_peer_t *peer)
{
    xshm_rma_peer_t *rma   = peer->rma;
    xshm_rma_sent_t  entry = *xshm_rma_entry(rma, rma->done);

    if ((entry.ep != NULL) && !entry.is_refused &&
        (entry.kind != XSHM_RMA_PUT)) {
        xshm_rma_take_reply(peer, &entry);
    }

    rma->reply_used -= entry.reply_lines;
    ++rma->done;
    if (entry.ep != NULL) {
        xshm_rma_end_entry(&entry,
                           entry.is_refused ? UCS_ERR_REJECTED : UCS_OK);
    }
}

/* Note what was refused. If the list does not have all of it any more, all that
 * is under way counts as refused: nothing is taken for done that was not. */
static void xshm_rma_take_refused(xshm_peer_t *peer)
{
    const xshm_abi_return_t *ret = peer->tx->mem->ret;
    xshm_rma_peer_t         *rma = peer->rma;
    uint32_t                 refused, number;

    refused = __atomic_load_n(&ret->refused, __ATOMIC_ACQUIRE);
    if (ucs_likely(refused == rma->refused)) {
        return;
    }

    if ((refused - rma->refused) > XSHM_ABI_NUM_REFUSED) {
        rma->refused = refused;
        for (number = rma->done; number != rma->sent; ++number) {
            xshm_rma_entry(rma, number)->is_refused = 1;
        }
        return;
    }

    for (; rma->refused != refused; ++rma->refused) {
        number = __atomic_load_n(
                &ret->refused_op[rma->refused % XSHM_ABI_NUM_REFUSED],
                __ATOMIC_RELAXED);
        if ((number - rma->done) < (rma->sent - rma->done)) {
            xshm_rma_entry(rma, number)->is_refused = 1;
        }
    }
}

static int xshm_rma_oldest_is_consumed(const xshm_peer_t *peer)
{
    xshm_rma_peer_t *rma = peer->rma;

    return (rma->done != rma->sent) &&
           ((int32_t)(peer->tx->ring.consumed -
                      xshm_rma_entry(rma, rma->done)->end) >= 0);
}

int xshm_rma_has_news(xshm_peer_t *peer)
{
    xshm_ring_tx_take_back(&peer->tx->ring);
    return peer->tx->ring.violation || xshm_rma_oldest_is_consumed(peer) ||
           (peer->rma->done == peer->rma->sent);
}

/* Completions may destroy all endpoints, but the peer is kept */
static unsigned xshm_rma_peer_progress(xshm_peer_t *peer)
{
    xshm_rma_peer_t *rma   = peer->rma;
    unsigned         count = 0;

    xshm_ring_tx_take_back(&peer->tx->ring);
    if (peer->tx->ring.violation) {
        ++peer->iface->num_violations;
        xshm_peer_fail(peer);
        return 0;
    }

    xshm_rma_take_refused(peer);
    while ((peer->tx->state != XSHM_TX_FAILED) &&
           xshm_rma_oldest_is_consumed(peer)) {
        xshm_rma_finish_oldest(peer);
        ++count;
    }

    if ((rma->sending != NULL) && (peer->tx->state != XSHM_TX_FAILED)) {
        xshm_rma_op_send(peer, rma->sending);
    }

    return count;
}

unsigned xshm_rma_progress(xshm_iface_t *iface)
{
    UCS_LIST_HEAD(active);
    unsigned         count = 0;
    xshm_rma_peer_t *rma;
    xshm_peer_t     *peer;

    /* A peer that is destroyed meanwhile leaves whatever list it is in */
    ucs_list_splice_tail(&active, &iface->rma_active);
    ucs_list_head_init(&iface->rma_active);
    while (!ucs_list_is_empty(&active)) {
        rma  = ucs_list_extract_head(&active, xshm_rma_peer_t, list);
        peer = rma->peer;
        ucs_list_add_tail(&iface->rma_active, &rma->list);

        ++peer->refs;
        if (peer->tx->state != XSHM_TX_FAILED) {
            count += xshm_rma_peer_progress(peer);
        }

        if (!xshm_rma_peer_is_busy(rma) ||
            (peer->tx->state == XSHM_TX_FAILED)) {
            xshm_rma_set_idle(peer);
        }

        xshm_peer_complete_flushes(peer);
        xshm_peer_put(peer);
    }

    if (!ucs_list_is_empty(&iface->rma_active)) {
        xshm_iface_schedule(iface, XSHM_IFACE_WORK_RMA);
    }

    return count;
}

/* What is sent of an operation is forgotten part by part: it ends with the
 * last one, or with what is not sent */
static void xshm_rma_purge_sending(xshm_ep_t *ep, ucs_status_t status)
{
    xshm_rma_peer_t *rma = ep->peer->rma;
    xshm_rma_op_t   *op  = rma->sending;

    if ((op == NULL) || (op->ep != ep)) {
        return;
    }

    rma->sending      = NULL;
    ep->peer->is_held = 0;
    op->remaining     = 0;
    op->status        = status;
    if (op->num_parts == 0) {
        xshm_rma_op_end(op);
    }
}

void xshm_rma_purge(xshm_ep_t *ep, ucs_status_t status)
{
    xshm_peer_t     *peer = ep->peer;
    xshm_rma_peer_t *rma  = peer->rma;
    xshm_rma_sent_t *entry, copy;
    uint32_t         number;

    if (rma == NULL) {
        return;
    }

    /* A completion may destroy the endpoint */
    ++peer->refs;
    xshm_rma_purge_sending(ep, status);
    for (number = rma->done; number != rma->sent; ++number) {
        entry = xshm_rma_entry(rma, number);
        if (entry->ep == ep) {
            copy      = *entry;
            entry->ep = NULL;
            entry->op = NULL;
            xshm_rma_end_entry(&copy, status);
        }
    }
    xshm_peer_put(peer);
}

void xshm_rma_cleanup_peer(xshm_peer_t *peer)
{
    if (peer->rma != NULL) {
        ucs_list_del(&peer->rma->list);
        ucs_free(peer->rma);
    }
}
