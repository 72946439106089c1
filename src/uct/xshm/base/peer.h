/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_PEER_H_
#define XSHM_PEER_H_

#include "iface.h"

typedef struct xshm_rma_peer xshm_rma_peer_t;


/**
 * An interface that this one sends to: one channel, and all endpoints to it.
 *
 * Threads: the worker's.
 */
struct xshm_peer {
    xshm_tx_t        *tx;
    xshm_iface_t     *iface;
    xshm_iface_addr_t addr;
    size_t            nt_min;  /**< Shortest record to it that goes past the
                                    caches, bytes. None does to the interface
                                    itself: it would leave the cache that it is
                                    read from. */
    ucs_list_link_t   eps;     /**< All endpoints to this peer */
    ucs_list_link_t   waiting; /**< Those with pending requests, in turn */
    ucs_list_link_t   blocked; /**< In xshm_iface_t::blocked, if any waits */
    ucs_list_link_t   flushes; /**< Completions that wait for acceptance */
    ucs_list_link_t   counted; /**< In xshm_stats_t::peers */
    unsigned          refs;    /**< Endpoints, and who is at work on it */
    xshm_rma_peer_t  *rma;     /**< Access by message, NULL: never yet */
    int               is_indirect; /**< Access by message only: so that it is
                                        done after what was sent before */
    int               is_watched;  /**< Its end is told, as far as it can be:
                                       its memory may be accessed directly */
    int               is_large; /**< Has one of the interface's large rings */
    int               is_held; /**< Nothing else is sent before the rest of what
                                    was begun before a fence */
};

struct xshm_ep;


/** Find the peer with this address, or prepare to send to it */
ucs_status_t xshm_peer_get(xshm_iface_t *iface, const void *dev_addr,
                           const xshm_iface_addr_t *addr, xshm_peer_t **peer_p);

/** Find the peer that this channel leads to, or NULL: none any more */
xshm_peer_t *xshm_peer_find(const xshm_iface_t *iface, const xshm_tx_t *tx);

/** One endpoint less. The last one closes the channel. */
void xshm_peer_put(xshm_peer_t *peer);

/** Open its channel, which must be idle. The first ones of an interface may
 *  have a large ring (ring_size.h). */
ucs_status_t xshm_peer_open(xshm_peer_t *peer);

/** Let its end be told, though nothing was sent to it: open the channel.
 *  Without memory for that nobody tells. */
void xshm_peer_watch(xshm_peer_t *peer);

/** Call @a comp when the peer has accepted and has done what was sent, or has
 *  failed */
ucs_status_t xshm_peer_add_flush(xshm_peer_t *peer, struct xshm_ep *ep,
                                 uct_completion_t *comp);

/** Complete the flushes that have nothing more to wait for */
void xshm_peer_complete_flushes(xshm_peer_t *peer);

/** Complete the flushes of an endpoint that has failed or is destroyed */
void xshm_peer_finish_flushes(xshm_peer_t *peer, const struct xshm_ep *ep,
                              ucs_status_t status);

/** Its channel may be in another state: let those who wait for that know */
void xshm_peer_handle_state(xshm_peer_t *peer);

/** Fail all endpoints to this peer; their users are told in progress */
void xshm_peer_fail(xshm_peer_t *peer);

/** Send what waits, as far as there is room. @return Requests sent. */
unsigned xshm_peer_dispatch(xshm_peer_t *peer);

#endif
