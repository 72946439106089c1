/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "peer.h"
#include "ep.h"
#include "ring_size.h"
#include "rma.h"

#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>


/* A flush that waits for the peer to accept, and to do what was sent */
typedef struct xshm_flush {
    ucs_list_link_t   list;
    xshm_ep_t        *ep;
    uct_completion_t *comp;
    uint32_t          mark;
} xshm_flush_t;


static xshm_peer_name_t xshm_peer_name(const xshm_iface_t      *iface,
                                       const void              *dev_addr,
                                       const xshm_iface_addr_t *addr)
{
    xshm_peer_name_t name = {.addr = *addr};

    memcpy(name.dev_addr, dev_addr,
           xshm_iface_platform(iface)->ops->dev_addr_size);
    return name;
}

static int
xshm_peer_is_self(const xshm_iface_t *iface, const xshm_iface_addr_t *addr)
{
    return !memcmp(addr, &iface->mailbox->addr, sizeof(*addr));
}

static ucs_status_t xshm_peer_create(xshm_iface_t *iface, const void *dev_addr,
                                     const xshm_iface_addr_t *addr,
                                     xshm_peer_t            **peer_p)
{
    xshm_peer_t *peer;
    ucs_status_t status;

    peer = ucs_malloc(sizeof(*peer), "xshm_peer");
    if (peer == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a peer", sizeof(*peer));
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_tx_create(iface->mailbox, dev_addr, addr,
                            iface->config.seg_size, &peer->tx);
    if (status != UCS_OK) {
        ucs_free(peer);
        return status;
    }

    peer->iface = iface;
    peer->addr  = *addr;
    peer->nt_min =
            xshm_peer_is_self(iface, addr) ? SIZE_MAX : iface->config.nt_min;
    peer->refs        = 0;
    peer->is_large    = 0;
    peer->rma         = NULL;
    peer->is_indirect = 0;
    peer->is_watched  = 0;
    peer->is_held     = 0;
    ucs_list_head_init(&peer->eps);
    ucs_list_head_init(&peer->waiting);
    ucs_list_head_init(&peer->blocked);
    ucs_list_head_init(&peer->flushes);
    xshm_stats_begin_tx(&iface->stats, peer);

    *peer_p = peer;
    return UCS_OK;
}

ucs_status_t xshm_peer_get(xshm_iface_t *iface, const void *dev_addr,
                           const xshm_iface_addr_t *addr, xshm_peer_t **peer_p)
{
    ucs_status_t status;
    khiter_t     iter;
    int          ret;

    iter = kh_put(xshm_peers, &iface->peers,
                  xshm_peer_name(iface, dev_addr, addr), &ret);
    if (ret == UCS_KH_PUT_FAILED) {
        ucs_error("xshm: cannot allocate memory for a peer");
        return UCS_ERR_NO_MEMORY;
    }

    if (ret != UCS_KH_PUT_KEY_PRESENT) {
        status = xshm_peer_create(iface, dev_addr, addr,
                                  &kh_value(&iface->peers, iter));
        if (status != UCS_OK) {
            kh_del(xshm_peers, &iface->peers, iter);
            return status;
        }
    }

    *peer_p = kh_value(&iface->peers, iter);
    ++(*peer_p)->refs;
    return UCS_OK;
}

/* Is it to have one of the interface's large rings? */
static int xshm_peer_may_be_large(const xshm_peer_t *peer)
{
    const xshm_iface_t *iface = peer->iface;

    return (iface->num_large < iface->config.max_large) &&
           !xshm_peer_is_self(iface, &peer->addr);
}

ucs_status_t xshm_peer_open(xshm_peer_t *peer)
{
    xshm_iface_t *iface = peer->iface;
    ucs_status_t  status;

    if (xshm_peer_may_be_large(peer)) {
        status = xshm_tx_open(peer->tx, XSHM_RING_SIZE_LARGE);
        if (status == UCS_OK) {
            peer->is_large = 1;
            ++iface->num_large;
        }
        if (status != UCS_ERR_NO_MEMORY) {
            return status;
        }
        /* There may be enough for small ones: no more large ones are tried */
        iface->config.max_large = iface->num_large;
    }

    return xshm_tx_open(peer->tx, iface->config.ring_size);
}

static khiter_t xshm_peer_iter(const xshm_iface_t *iface, const xshm_tx_t *tx)
{
    return kh_get(xshm_peers, &iface->peers,
                  xshm_peer_name(iface, tx->dev_addr, &tx->target));
}

xshm_peer_t *xshm_peer_find(const xshm_iface_t *iface, const xshm_tx_t *tx)
{
    khiter_t     iter = xshm_peer_iter(iface, tx);
    xshm_peer_t *peer = (iter == kh_end(&iface->peers)) ?
                                NULL :
                                kh_value(&iface->peers, iter);

    return ((peer != NULL) && (peer->tx == tx)) ? peer : NULL;
}

/* A new endpoint to the same address starts anew */
static void xshm_peer_forget(xshm_peer_t *peer)
{
    if (xshm_peer_find(peer->iface, peer->tx) == peer) {
        kh_del(xshm_peers, &peer->iface->peers,
               xshm_peer_iter(peer->iface, peer->tx));
    }
}

void xshm_peer_put(xshm_peer_t *peer)
{
    if (--peer->refs > 0) {
        return;
    }

    xshm_peer_forget(peer);
    peer->iface->num_large -= peer->is_large;
    ucs_list_del(&peer->blocked);
    xshm_rma_cleanup_peer(peer);
    xshm_stats_end_tx(&peer->iface->stats, peer);
    xshm_tx_close(peer->tx);
    ucs_free(peer);
}

static int xshm_peer_is_own(const xshm_peer_t *peer)
{
    return peer->addr.process == xshm_iface_platform(peer->iface)->process;
}

/* Tried once: what is done directly needs no channel, and is not to be slowed
 * down where there can be none. The next message, or check, tries again. This
 * process itself needs no telling. */
void xshm_peer_watch(xshm_peer_t *peer)
{
    if (!peer->is_watched && !xshm_peer_is_own(peer) &&
        (peer->tx->state == XSHM_TX_IDLE)) {
        (void)xshm_peer_open(peer);
    }

    peer->is_watched = 1;
}

ucs_status_t
xshm_peer_add_flush(xshm_peer_t *peer, xshm_ep_t *ep, uct_completion_t *comp)
{
    xshm_flush_t *flush;

    if (comp == NULL) {
        return UCS_INPROGRESS;
    }

    flush = ucs_malloc(sizeof(*flush), "xshm_flush");
    if (flush == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to flush", sizeof(*flush));
        return UCS_ERR_NO_MEMORY;
    }

    flush->ep   = ep;
    flush->comp = comp;
    flush->mark = xshm_rma_mark(peer);
    ucs_list_add_tail(&peer->flushes, &flush->list);
    return UCS_INPROGRESS;
}

void xshm_peer_finish_flushes(xshm_peer_t *peer, const xshm_ep_t *ep,
                              ucs_status_t status)
{
    UCS_LIST_HEAD(finished);
    uct_completion_t *comp;
    xshm_flush_t     *flush, *tmp;

    ucs_list_for_each_safe(flush, tmp, &peer->flushes, list) {
        if (flush->ep == ep) {
            ucs_list_del(&flush->list);
            ucs_list_add_tail(&finished, &flush->list);
        }
    }

    /* A completion may destroy the endpoint */
    while (!ucs_list_is_empty(&finished)) {
        flush = ucs_list_extract_head(&finished, xshm_flush_t, list);
        comp  = flush->comp;
        ucs_free(flush);
        uct_invoke_completion(comp, status);
    }
}

/* They are in the order of their marks */
static int xshm_peer_is_flushed(xshm_peer_t *peer)
{
    return !ucs_list_is_empty(&peer->flushes) &&
           (peer->tx->state == XSHM_TX_ACCEPTED) &&
           xshm_rma_is_done(
                   peer,
                   ucs_list_head(&peer->flushes, xshm_flush_t, list)->mark);
}

void xshm_peer_complete_flushes(xshm_peer_t *peer)
{
    uct_completion_t *comp;
    xshm_flush_t     *flush;
    ucs_status_t      status;

    /* A completion may destroy all endpoints */
    ++peer->refs;
    while (xshm_peer_is_flushed(peer)) {
        flush  = ucs_list_extract_head(&peer->flushes, xshm_flush_t, list);
        comp   = flush->comp;
        status = xshm_ep_take_rma_status(flush->ep);
        ucs_free(flush);
        uct_invoke_completion(comp, status);
    }
    xshm_peer_put(peer);
}

void xshm_peer_fail(xshm_peer_t *peer)
{
    xshm_ep_t *ep;

    xshm_tx_fail(peer->tx);
    xshm_tx_log_failure(peer->tx);
    xshm_peer_forget(peer);

    /* What waits is purged by its user, not sent */
    ucs_list_del(&peer->blocked);
    ucs_list_head_init(&peer->blocked);

    ucs_list_for_each(ep, &peer->eps, list) {
        xshm_ep_set_failed(ep);
    }
}

void xshm_peer_handle_state(xshm_peer_t *peer)
{
    if (peer->tx->state == XSHM_TX_FAILED) {
        xshm_peer_fail(peer);
    } else if (peer->tx->state == XSHM_TX_ACCEPTED) {
        xshm_peer_complete_flushes(peer);
    }
}

unsigned xshm_peer_dispatch(xshm_peer_t *peer)
{
    unsigned     count = 0;
    ucs_status_t status;
    xshm_ep_t   *ep;

    /* The user's code may destroy all endpoints */
    ++peer->refs;
    while (!ucs_list_is_empty(&peer->waiting)) {
        ep     = ucs_list_head(&peer->waiting, xshm_ep_t, waiting);
        status = xshm_ep_send_pending(ep);
        if ((status != UCS_OK) && (status != UCS_INPROGRESS)) {
            break;
        }

        /* The others to this peer in turn */
        ++count;
        if (!ucs_list_is_empty(&peer->waiting) &&
            (ucs_list_head(&peer->waiting, xshm_ep_t, waiting) == ep)) {
            ucs_list_del(&ep->waiting);
            ucs_list_add_tail(&peer->waiting, &ep->waiting);
        }
    }
    xshm_peer_put(peer);

    return count;
}
