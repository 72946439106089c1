/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "ep.h"
#include "gather.h"
#include "rma.h"
#include "../platform/fdset.h"

#include <ucs/arch/cpu.h>
#include <ucs/debug/log.h>

#include <limits.h>
#include <stddef.h>


/* What UCP 1.13 itself returns for an endpoint that has failed: operations
 * before and after its error handler has run shall end alike */
#define XSHM_EP_FAILURE UCS_ERR_ENDPOINT_TIMEOUT


static UCS_F_ALWAYS_INLINE xshm_iface_t *xshm_ep_iface(const xshm_ep_t *ep)
{
    return ucs_derived_of(ep->super.super.iface, xshm_iface_t);
}

/* What waits goes first, and then that which is being sent: those behind it in
 * the queue are no reason to wait */
int xshm_ep_must_wait(const xshm_ep_t *ep)
{
    return !ucs_queue_is_empty(&ep->pending) && !ep->is_sending;
}

void xshm_ep_update_ring(xshm_ep_t *ep)
{
    xshm_tx_t *tx = ep->peer->tx;

    ep->ring        = ((ep->status == UCS_OK) && (tx->state != XSHM_TX_IDLE) &&
                !xshm_ep_must_wait(ep) && !ep->peer->is_held) ?
                              &tx->ring :
                              &xshm_ring_tx_none;
    ep->direct_mask = ((ep->status == UCS_OK) && ep->peer->is_watched &&
                       !ep->peer->is_indirect && !xshm_ep_must_wait(ep)) ?
                              UINT64_MAX :
                              0;
}

/* No request waits any more */
static void xshm_ep_stop_waiting(xshm_ep_t *ep)
{
    ucs_list_del(&ep->waiting);
    ucs_list_head_init(&ep->waiting);
    if (ucs_list_is_empty(&ep->peer->waiting)) {
        ucs_list_del(&ep->peer->blocked);
        ucs_list_head_init(&ep->peer->blocked);
    }
}

static UCS_CLASS_INIT_FUNC(xshm_ep_t, const uct_ep_params_t *params)
{
    xshm_iface_t *iface = ucs_derived_of(params->iface, xshm_iface_t);
    ucs_status_t  status;

    UCT_EP_PARAMS_CHECK_DEV_IFACE_ADDRS(params);
    UCS_CLASS_CALL_SUPER_INIT(uct_base_ep_t, &iface->super);

    status = xshm_peer_get(iface, params->dev_addr,
                           (const xshm_iface_addr_t *)params->iface_addr,
                           &self->peer);
    if (status != UCS_OK) {
        return status;
    }

    self->status     = UCS_OK;
    self->rma_status = UCS_OK;
    self->is_sending = 0;
    self->is_gone_p  = NULL;
    ucs_queue_head_init(&self->pending);
    ucs_list_head_init(&self->waiting);
    ucs_list_head_init(&self->failed);
    ucs_list_add_tail(&self->peer->eps, &self->list);
    xshm_ep_update_ring(self);
    return UCS_OK;
}

static UCS_CLASS_CLEANUP_FUNC(xshm_ep_t)
{
    /* A forked child has no shared memory, and no thread to give it to */
    if (xshm_fdset_is_child()) {
        return;
    }

    if (self->is_gone_p != NULL) {
        *self->is_gone_p = 1;
    }

    xshm_ep_pending_purge(&self->super.super, NULL, NULL);
    xshm_ep_stop_waiting(self);
    xshm_rma_purge(self, UCS_ERR_CANCELED);
    xshm_peer_finish_flushes(self->peer, self, UCS_ERR_CANCELED);
    ucs_list_del(&self->failed);
    ucs_list_del(&self->list);
    xshm_peer_put(self->peer);
}

UCS_CLASS_DEFINE(xshm_ep_t, uct_base_ep_t)
UCS_CLASS_DEFINE_NEW_FUNC(xshm_ep_t, uct_ep_t, const uct_ep_params_t *);
UCS_CLASS_DEFINE_DELETE_FUNC(xshm_ep_t, uct_ep_t);


ucs_status_t xshm_ep_check_sendable(xshm_ep_t *ep)
{
    if (ep->status != UCS_OK) {
        return ep->status;
    }

    if (xshm_ep_must_wait(ep) || ep->peer->is_held) {
        return UCS_ERR_NO_RESOURCE;
    }

    return (ep->peer->tx->state == XSHM_TX_IDLE) ? xshm_peer_open(ep->peer) :
                                                   UCS_OK;
}

/* The slow way to find room. On success ep->ring is the channel's. */
static UCS_F_NOINLINE ucs_status_t xshm_ep_reserve_slow(xshm_ep_t *ep,
                                                        uint32_t   lines,
                                                        void     **payload_p)
{
    ucs_status_t status;
    xshm_tx_t   *tx;

    status = xshm_ep_check_sendable(ep);
    if (status != UCS_OK) {
        return status;
    }

    tx         = ep->peer->tx;
    ep->ring   = &tx->ring;
    *payload_p = xshm_ring_tx_reserve_slow(&tx->ring, lines);
    if (*payload_p != NULL) {
        return UCS_OK;
    }

    if (tx->ring.violation) {
        ++xshm_ep_iface(ep)->num_violations;
        xshm_peer_fail(ep->peer);
        return ep->status;
    }

    ++tx->num_stalls;
    return UCS_ERR_NO_RESOURCE;
}

/* Find room for a record */
static UCS_F_ALWAYS_INLINE ucs_status_t xshm_ep_reserve(xshm_ep_t *ep,
                                                        uint32_t   lines,
                                                        void     **payload_p)
{
    *payload_p = xshm_ring_tx_reserve(ep->ring, lines);
    return ucs_likely(*payload_p != NULL) ?
                   UCS_OK :
                   xshm_ep_reserve_slow(ep, lines, payload_p);
}

ucs_status_t
xshm_ep_reserve_record(xshm_ep_t *ep, uint32_t lines, void **payload_p)
{
    return xshm_ep_reserve(ep, lines, payload_p);
}

/* Place of a field of a record in its word, bits */
#define XSHM_EP_RECORD_SHIFT(_field) \
    (CHAR_BIT * offsetof(xshm_abi_record_t, _field))

static UCS_F_ALWAYS_INLINE xshm_abi_record_t xshm_ep_record(uint8_t id,
                                                            size_t  size)
{
    xshm_abi_record_t record;

    record.word = (uint64_t)size |
                  ((uint64_t)XSHM_RECORD_AM << XSHM_EP_RECORD_SHIFT(type)) |
                  ((uint64_t)id << XSHM_EP_RECORD_SHIFT(id));
    return record;
}

static UCS_F_ALWAYS_INLINE void xshm_ep_trace(xshm_ep_t *ep, uint8_t id,
                                              const void *payload,
                                              size_t length, const char *kind)
{
    uct_iface_trace_am(&xshm_ep_iface(ep)->super, UCT_AM_TRACE_TYPE_SEND, id,
                       payload, length, "TX: AM_%s", kind);
}

/* Copies of a few bytes, without a call: the sizes overlap instead of being
 * looped over */
static UCS_F_ALWAYS_INLINE void
xshm_ep_copy_line(uint8_t *dst, const uint8_t *src, size_t length)
{
    if (length >= 16) {
        memcpy(dst, src, 16);
        if (length > 32) {
            memcpy(dst + 16, src + 16, 16);
        }
        memcpy(dst + length - 16, src + length - 16, 16);
    } else if (length >= 8) {
        memcpy(dst, src, 8);
        memcpy(dst + length - 8, src + length - 8, 8);
    } else if (length >= 4) {
        memcpy(dst, src, 4);
        memcpy(dst + length - 4, src + length - 4, 4);
    } else if (length > 0) {
        dst[0]          = src[0];
        dst[length / 2] = src[length / 2];
        dst[length - 1] = src[length - 1];
    }
}

/* The payload of am_short, where it is to be sent from */
static UCS_F_ALWAYS_INLINE void
xshm_ep_fill_line(xshm_ep_t *ep, uint8_t id, uint8_t *dst, uint64_t header,
                  const void *payload, unsigned length)
{
    *(uint64_t *)dst = header;
    xshm_ep_copy_line(dst + sizeof(header), payload, length);
    xshm_ep_trace(ep, id, dst, sizeof(header) + length, "SHORT");
    UCT_TL_EP_STAT_OP(&ep->super, AM, SHORT, sizeof(header) + length);
}

/* What one line can carry behind the header of am_short, and so can the turn
 * line */
#define XSHM_EP_LINE_LENGTH (XSHM_RING_LINE_PAYLOAD - sizeof(uint64_t))
XSHM_ABI_ASSERT(XSHM_RING_LINE_PAYLOAD == XSHM_ABI_TURN_PAYLOAD);

/* Whatever am_short cannot do without a call */
static UCS_F_NOINLINE ucs_status_t xshm_ep_am_short_slow(xshm_ep_t  *ep,
                                                         uint8_t     id,
                                                         uint64_t    header,
                                                         const void *payload,
                                                         unsigned    length)
{
    size_t       size  = sizeof(header) + length;
    uint32_t     lines = xshm_ring_lines(size);
    ucs_status_t status;
    uint8_t     *dst;

    UCT_CHECK_AM_ID(id);
    UCT_CHECK_LENGTH(size, 0, xshm_ep_iface(ep)->config.max_short, "am_short");

    status = xshm_ep_reserve(ep, lines, (void **)&dst);
    if (status != UCS_OK) {
        return status;
    }

    memcpy(dst, &header, sizeof(header));
    if (length > 0) { /* Else it may point to nothing */
        memcpy(dst + sizeof(header), payload, length);
    }
    xshm_ep_trace(ep, id, dst, size, "SHORT");
    xshm_ring_tx_commit(ep->ring, lines, xshm_ep_record(id, size));
    UCT_TL_EP_STAT_OP(&ep->super, AM, SHORT, size);
    return UCS_OK;
}

/* Slow end of am_short */
static ucs_status_t
xshm_ep_call_hook(xshm_ring_tx_t *ring, xshm_ring_hook_t hook)
{
    hook(ring);
    return UCS_OK;
}

/* By the turn line, as a question and its answer go */
static ucs_status_t xshm_ep_am_short_turn(xshm_ep_t *ep, uint8_t id,
                                          uint64_t header, const void *payload,
                                          unsigned length)
{
    xshm_ring_tx_t  *ring = ep->ring;
    uint8_t         *dst  = xshm_turn_payload(ring);
    size_t           size = sizeof(header) + length;
    xshm_ring_hook_t hook;

    xshm_ep_fill_line(ep, id, dst, header, payload, length);
    hook = xshm_turn_pass(ring, id, size);
    return ucs_likely(hook == NULL) ? UCS_OK : xshm_ep_call_hook(ring, hook);
}

/* What does not go by a line of the ring */
static UCS_F_NOINLINE ucs_status_t xshm_ep_am_short_other(xshm_ep_t  *ep,
                                                          uint8_t     id,
                                                          uint64_t    header,
                                                          const void *payload,
                                                          unsigned    length)
{
    return (xshm_turn_is_ours(ep->ring) && (length <= XSHM_EP_LINE_LENGTH) &&
            (id < UCT_AM_ID_MAX)) ?
                   xshm_ep_am_short_turn(ep, id, header, payload, length) :
                   xshm_ep_am_short_slow(ep, id, header, payload, length);
}

/* Calls nobody but as its last step, so that no register has to be saved: each
 * store counts (xshm_ring_tx_advance). @a record_length is a constant. */
static UCS_F_ALWAYS_INLINE ucs_status_t xshm_ep_am_short_line(
        xshm_ep_t *ep, uint8_t id, uint64_t header, const void *payload,
        unsigned length, size_t record_length)
{
    xshm_ring_tx_t  *ring = ep->ring;
    uint8_t         *dst  = xshm_ring_tx_reserve_line(ring, record_length);
    size_t           size = sizeof(header) + length;
    xshm_ring_hook_t hook;

    if (ucs_unlikely((dst == NULL) || (id >= UCT_AM_ID_MAX))) {
        return xshm_ep_am_short_other(ep, id, header, payload, length);
    }

    xshm_ep_fill_line(ep, id, dst, header, payload, length);
    hook = xshm_ring_tx_advance(ring, record_length, xshm_ep_record(id, size));
    return ucs_likely(hook == NULL) ? UCS_OK : xshm_ep_call_hook(ring, hook);
}

ucs_status_t xshm_ep_am_short(uct_ep_h tl_ep, uint8_t id, uint64_t header,
                              const void *payload, unsigned length)
{
    xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t);

    if (length <= XSHM_ABI_UNIT_PAYLOAD - sizeof(header)) {
        return xshm_ep_am_short_line(ep, id, header, payload, 0,
                                     XSHM_ABI_UNIT_SIZE);
    } else if (length <= XSHM_ABI_UNITS_PAYLOAD - sizeof(header)) {
        return xshm_ep_am_short_line(ep, id, header, payload, length,
                                     2 * XSHM_ABI_UNIT_SIZE);
    } else if (length <= XSHM_EP_LINE_LENGTH) {
        return xshm_ep_am_short_line(ep, id, header, payload, length,
                                     XSHM_ABI_LINE_SIZE);
    }

    return xshm_ep_am_short_slow(ep, id, header, payload, length);
}

ucs_status_t xshm_ep_am_short_iov(uct_ep_h tl_ep, uint8_t id,
                                  const uct_iov_t *iov, size_t iovcnt)
{
    xshm_ep_t     *ep    = ucs_derived_of(tl_ep, xshm_ep_t);
    size_t         size  = uct_iov_total_length(iov, iovcnt);
    uint32_t       lines = xshm_ring_lines(size);
    ucs_iov_iter_t iter;
    ucs_status_t   status;
    void          *dst;

    UCT_CHECK_AM_ID(id);
    UCT_CHECK_LENGTH(size, 0, xshm_ep_iface(ep)->config.max_short,
                     "am_short_iov");

    status = xshm_ep_reserve(ep, lines, &dst);
    if (status != UCS_OK) {
        return status;
    }

    ucs_iov_iter_init(&iter);
    xshm_gather_iov(dst, iov, &iter, size, 0);
    xshm_ep_trace(ep, id, dst, size, "SHORT_IOV");
    xshm_ring_tx_commit(ep->ring, lines, xshm_ep_record(id, size));
    UCT_TL_EP_STAT_OP(&ep->super, AM, SHORT, size);
    return UCS_OK;
}

ssize_t xshm_ep_am_bcopy(uct_ep_h tl_ep, uint8_t id,
                         uct_pack_callback_t pack_cb, void *arg, unsigned flags)
{
    xshm_ep_t   *ep = ucs_derived_of(tl_ep, xshm_ep_t);
    ucs_status_t status;
    size_t       size;
    void        *dst;

    UCT_CHECK_AM_ID(id);

    /* How long it is, is known only when it has been packed */
    status = xshm_ep_reserve(ep, xshm_ep_iface(ep)->config.seg_lines, &dst);
    if (status != UCS_OK) {
        return status;
    }

    size = pack_cb(dst, arg);
    xshm_ep_trace(ep, id, dst, size, "BCOPY");
    xshm_ring_tx_commit(ep->ring, xshm_ring_lines(size),
                        xshm_ep_record(id, size));
    UCT_TL_EP_STAT_OP(&ep->super, AM, BCOPY, size);
    return size;
}

ucs_status_t xshm_ep_am_zcopy(uct_ep_h tl_ep, uint8_t id, const void *header,
                              unsigned header_length, const uct_iov_t *iov,
                              size_t iovcnt, unsigned flags,
                              uct_completion_t *comp)
{
    xshm_ep_t     *ep    = ucs_derived_of(tl_ep, xshm_ep_t);
    size_t         size  = header_length + uct_iov_total_length(iov, iovcnt);
    uint32_t       lines = xshm_ring_lines(size);
    ucs_iov_iter_t iter;
    ucs_status_t   status;
    void          *dst;

    UCT_CHECK_AM_ID(id);
    UCT_CHECK_LENGTH(header_length, 0, xshm_ep_iface(ep)->config.max_hdr,
                     "am_zcopy header");
    UCT_CHECK_LENGTH(size, 0, xshm_ep_iface(ep)->config.seg_size, "am_zcopy");

    status = xshm_ep_reserve(ep, lines, &dst);
    if (status != UCS_OK) {
        return status;
    }

    /* Copied now, so it is complete, and comp is not called */
    memcpy(dst, header, header_length);
    ucs_iov_iter_init(&iter);
    xshm_gather_iov(UCS_PTR_BYTE_OFFSET(dst, header_length), iov, &iter,
                    size - header_length, xshm_gather_is_nt(ep->peer, size));
    xshm_ep_trace(ep, id, dst, size, "ZCOPY");
    xshm_gather_commit(ep->peer, xshm_ep_record(id, size));
    UCT_TL_EP_STAT_OP(&ep->super, AM, ZCOPY, size);
    return UCS_OK;
}

/* Room for any message, and any operation: only then can a request that found
 * none be tried again at once. */
static int xshm_ep_has_room(xshm_ep_t *ep)
{
    return xshm_rma_has_room(ep->peer) &&
           ((ep->peer->tx->state == XSHM_TX_IDLE) ||
            xshm_ring_tx_can_reserve(&ep->peer->tx->ring,
                                     xshm_ep_iface(ep)->config.seg_lines));
}

ucs_status_t
xshm_ep_pending_add(uct_ep_h tl_ep, uct_pending_req_t *req, unsigned flags)
{
    xshm_ep_t    *ep    = ucs_derived_of(tl_ep, xshm_ep_t);
    xshm_iface_t *iface = xshm_ep_iface(ep);

    if (ucs_queue_is_empty(&ep->pending) &&
        ((ep->status != UCS_OK) || xshm_ep_has_room(ep))) {
        return UCS_ERR_BUSY;
    }

    /* While a request is being sent, its endpoint is in the list even though
     * no other one waits */
    if (ucs_list_is_empty(&ep->waiting)) {
        ucs_list_add_tail(&ep->peer->waiting, &ep->waiting);
    }

    if (ucs_list_is_empty(&ep->peer->blocked)) {
        ucs_list_add_tail(&iface->blocked, &ep->peer->blocked);
    }

    uct_pending_req_queue_push(&ep->pending, req);
    xshm_ep_update_ring(ep);
    xshm_iface_schedule(iface, XSHM_IFACE_WORK_PENDING);
    UCT_TL_EP_STAT_PEND(&ep->super);
    return UCS_OK;
}

ucs_status_t xshm_ep_send_pending(xshm_ep_t *ep)
{
    uct_pending_req_priv_queue_t *priv;
    uct_pending_req_t            *req;
    ucs_status_t                  status;
    int                           is_gone = 0;

    /* The callback may use the request for something else, so it is not in
     * the queue meanwhile */
    priv = ucs_queue_pull_elem_non_empty(&ep->pending,
                                         uct_pending_req_priv_queue_t,
                                         queue_elem);
    req  = ucs_container_of(priv, uct_pending_req_t, priv);

    ep->is_sending = 1;
    ep->is_gone_p  = &is_gone;
    xshm_ep_update_ring(ep);
    status = req->func(req);
    if (is_gone) {
        return UCS_OK;
    }

    ep->is_gone_p  = NULL;
    ep->is_sending = 0;

    if (status != UCS_OK) {
        ucs_queue_push_head(&ep->pending, &priv->queue_elem);
    }

    xshm_ep_update_ring(ep);
    if (ucs_queue_is_empty(&ep->pending)) {
        xshm_ep_stop_waiting(ep);
    }

    return status;
}

void xshm_ep_pending_purge(uct_ep_h tl_ep, uct_pending_purge_callback_t cb,
                           void *arg)
{
    xshm_ep_t                    *ep = ucs_derived_of(tl_ep, xshm_ep_t);
    uct_pending_req_priv_queue_t *priv;
    uct_pending_req_t            *req;

    if (ucs_queue_is_empty(&ep->pending)) {
        return;
    }

    while (!ucs_queue_is_empty(&ep->pending)) {
        priv = ucs_queue_pull_elem_non_empty(&ep->pending,
                                             uct_pending_req_priv_queue_t,
                                             queue_elem);
        req  = ucs_container_of(priv, uct_pending_req_t, priv);
        if (cb != NULL) {
            cb(req, arg);
        } else {
            ucs_warn("xshm: endpoint %p is destroyed with a pending request "
                     "%p",
                     ep, req);
        }
    }

    xshm_ep_stop_waiting(ep);
    xshm_ep_update_ring(ep);
}

ucs_status_t
xshm_ep_flush(uct_ep_h tl_ep, unsigned flags, uct_completion_t *comp)
{
    xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t);

    UCT_TL_EP_STAT_FLUSH(&ep->super);
    if (flags & UCT_FLUSH_FLAG_CANCEL) {
        xshm_rma_purge(ep, UCS_ERR_CANCELED);
        return UCS_OK;
    }

    if (ep->status != UCS_OK) {
        return ep->status;
    }

    if (xshm_ep_must_wait(ep) || xshm_rma_is_sending(ep)) {
        return UCS_ERR_NO_RESOURCE;
    }

    /* What was stored directly is there, for all that look for it */
    ucs_memory_cpu_store_fence();

    /* The memory is ours: what is in it is safe only when the peer has it. What
     * it is to do is done when it says so. */
    return (xshm_tx_is_unsafe(ep->peer->tx) || xshm_rma_is_busy(ep->peer)) ?
                   xshm_peer_add_flush(ep->peer, ep, comp) :
                   xshm_ep_take_rma_status(ep);
}

ucs_status_t xshm_ep_fence(uct_ep_h tl_ep, unsigned flags)
{
    /* What is sent is in order, and so is what is done directly */
    ucs_memory_cpu_fence();
    xshm_rma_fence(ucs_derived_of(tl_ep, xshm_ep_t)->peer);
    UCT_TL_EP_STAT_FENCE(ucs_derived_of(tl_ep, uct_base_ep_t));
    return UCS_OK;
}

ucs_status_t
xshm_ep_check(uct_ep_h tl_ep, unsigned flags, uct_completion_t *comp)
{
    xshm_ep_t *ep = ucs_derived_of(tl_ep, xshm_ep_t);

    UCT_EP_KEEPALIVE_CHECK_PARAM(flags, comp);

    /* The service notices the peer's end only once a channel is open */
    if ((ep->status == UCS_OK) && (ep->peer->tx->state == XSHM_TX_IDLE)) {
        return xshm_peer_open(ep->peer);
    }

    return UCS_OK;
}

void xshm_ep_set_failed(xshm_ep_t *ep)
{
    xshm_iface_t *iface = xshm_ep_iface(ep);

    if (ep->status != UCS_OK) {
        return;
    }

    ep->status = XSHM_EP_FAILURE;
    xshm_ep_update_ring(ep);
    ucs_list_add_tail(&iface->failed, &ep->failed);
    xshm_iface_schedule(iface, XSHM_IFACE_WORK_FAILED);
}

void xshm_ep_report_failure(xshm_ep_t *ep)
{
    xshm_iface_t *iface  = xshm_ep_iface(ep);
    ucs_status_t  status = ep->status;
    ucs_status_t  handler_status;
    int           is_gone = 0;

    ep->is_gone_p = &is_gone;
    xshm_rma_purge(ep, status);
    if (!is_gone) {
        xshm_peer_finish_flushes(ep->peer, ep, status);
    }

    if (is_gone) {
        return;
    }

    ep->is_gone_p  = NULL;
    handler_status = uct_iface_handle_ep_err(&iface->super.super,
                                             &ep->super.super, status);
    if (handler_status != UCS_OK) {
        ucs_log(iface->super.config.failure_level,
                "xshm: a peer is gone (%s), and nobody handles it",
                ucs_status_string(status));
    }
}

ucs_status_t xshm_ep_invalidate(uct_ep_h tl_ep, unsigned flags)
{
    xshm_ep_set_failed(ucs_derived_of(tl_ep, xshm_ep_t));
    return UCS_OK;
}
