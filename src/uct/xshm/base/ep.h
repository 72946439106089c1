/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_EP_H_
#define XSHM_EP_H_

#include "peer.h"

#include <ucs/datastruct/queue.h>

/**
 * An endpoint. While it may send at once it points to its channel's ring, else
 * to the ring that never has room: so the fast path has one test, and
 * everything else is out of line.
 */
typedef struct xshm_ep {
    uct_base_ep_t   super;
    xshm_ring_tx_t *ring; /**< The channel's, or xshm_ring_tx_none */
    xshm_peer_t    *peer;
    uint64_t        direct_mask; /**< All ones: may access directly now; or 0 */
    ucs_queue_head_t pending;    /**< Requests that wait for room */
    ucs_list_link_t  list;       /**< In xshm_peer_t::eps */
    ucs_list_link_t  waiting;    /**< In xshm_peer_t::waiting */
    ucs_list_link_t  failed;     /**< In xshm_iface_t::failed */
    ucs_status_t     status;     /**< Error, if it has failed */
    ucs_status_t     rma_status; /**< Error of an operation without completion,
                                       for the next flush */
    int              is_sending; /**< A pending request is being sent */
    int             *is_gone_p;  /**< Whom to tell that it was destroyed while
                                       the user's code ran, or NULL */
} xshm_ep_t;


UCS_CLASS_DECLARE_NEW_FUNC(xshm_ep_t, uct_ep_t, const uct_ep_params_t *);
UCS_CLASS_DECLARE_DELETE_FUNC(xshm_ep_t, uct_ep_t);

/*
 * What UCX calls of an endpoint: see the functions uct_ep_xx() of the same
 * names in uct/api/uct.h. All belong to the worker's thread. Data is copied
 * before they return: a completion of am_zcopy is never called.
 */

ucs_status_t xshm_ep_am_short(uct_ep_h tl_ep, uint8_t id, uint64_t header,
                              const void *payload, unsigned length);

ucs_status_t xshm_ep_am_short_iov(uct_ep_h tl_ep, uint8_t id,
                                  const uct_iov_t *iov, size_t iovcnt);

ssize_t xshm_ep_am_bcopy(uct_ep_h tl_ep, uint8_t id,
                         uct_pack_callback_t pack_cb, void *arg,
                         unsigned flags);

ucs_status_t xshm_ep_am_zcopy(uct_ep_h tl_ep, uint8_t id, const void *header,
                              unsigned header_length, const uct_iov_t *iov,
                              size_t iovcnt, unsigned flags,
                              uct_completion_t *comp);

ucs_status_t
xshm_ep_pending_add(uct_ep_h tl_ep, uct_pending_req_t *req, unsigned flags);

void xshm_ep_pending_purge(uct_ep_h tl_ep, uct_pending_purge_callback_t cb,
                           void *arg);

ucs_status_t
xshm_ep_flush(uct_ep_h tl_ep, unsigned flags, uct_completion_t *comp);

ucs_status_t xshm_ep_fence(uct_ep_h tl_ep, unsigned flags);

ucs_status_t
xshm_ep_check(uct_ep_h tl_ep, unsigned flags, uct_completion_t *comp);

ucs_status_t xshm_ep_invalidate(uct_ep_h tl_ep, unsigned flags);

/* For the other parts of base */

/** May this endpoint send now? Opens the channel at its first message. */
ucs_status_t xshm_ep_check_sendable(xshm_ep_t *ep);

/** Do others of this endpoint wait, who go first? */
int xshm_ep_must_wait(const xshm_ep_t *ep);

/** Find room for a record of @a lines lines, to be committed to ep->ring */
ucs_status_t
xshm_ep_reserve_record(xshm_ep_t *ep, uint32_t lines, void **payload_p);

/** Let the fast path send, if nothing else is in the way */
void xshm_ep_update_ring(xshm_ep_t *ep);

/** What went wrong since the last flush */
static inline ucs_status_t xshm_ep_take_rma_status(xshm_ep_t *ep)
{
    ucs_status_t status = ep->rma_status;

    ep->rma_status = UCS_OK;
    return status;
}

/** Mark the endpoint as failed; the user is told in progress */
void xshm_ep_set_failed(xshm_ep_t *ep);

/** Tell the user of the failure. The endpoint may be gone afterwards. */
void xshm_ep_report_failure(xshm_ep_t *ep);

/** Send this endpoint's oldest pending request.
 *  @return UCS_OK: sent; UCS_INPROGRESS: in part; else: no room. */
ucs_status_t xshm_ep_send_pending(xshm_ep_t *ep);

#endif
