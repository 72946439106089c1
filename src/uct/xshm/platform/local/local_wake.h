/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_LOCAL_WAKE_H_
#define XSHM_LOCAL_WAKE_H_

#include "../platform.h"

#include <ucs/datastruct/list.h>

/**
 * How processes on one kernel wake each other: an interface has a pair of
 * sockets, its wake; each peer that shall wake it gets a copy of one of them,
 * its bell.
 *
 * Threads: bells belong to the service thread, but for ringing.
 */

/** A peer's descriptor. All channels of a link that wake the same interface
 *  share one. */
typedef struct xshm_local_bell {
    ucs_list_link_t list;   /**< In the link's bells */
    uint32_t        number; /**< Given by the peer */
    unsigned        refs;   /**< Channels */
    int             fd;
} xshm_local_bell_t;


/** See xshm_platform_ops_t::wake_open */
ucs_status_t
xshm_local_wake_open(xshm_platform_t *platform, xshm_wake_t **wake_p);

/** See xshm_platform_ops_t::wake_fd */
int xshm_local_wake_fd(const xshm_wake_t *wake);

/** What peers are given */
int xshm_local_wake_peer_fd(const xshm_wake_t *wake);

/** See xshm_platform_ops_t::wake_drain */
int xshm_local_wake_drain(xshm_wake_t *wake);

/** Number by which peers know it; not zero */
uint32_t xshm_local_wake_number(const xshm_wake_t *wake);

/** Keep it open while it waits to be sent. Any thread. */
void xshm_local_wake_get(xshm_wake_t *wake);

/** Close it, if nobody else keeps it open. Any thread. */
void xshm_local_wake_put(xshm_wake_t *wake);

/**
 * Find, or make, the bell of a peer.
 *
 * @param [in]     bells   Those of the link.
 * @param [in]     number  Given by the peer.
 * @param [in,out] fds     The descriptor that came with it; -1 if it was kept.
 *
 * @return NULL if the descriptor is not what it must be.
 */
xshm_local_bell_t *
xshm_local_bell_get(ucs_list_link_t *bells, uint32_t number, int *fds);

/** One channel less that uses it */
void xshm_local_bell_put(xshm_local_bell_t *bell);

/** The link ends: its bells live on with their channels */
void xshm_local_bells_forget(ucs_list_link_t *bells);

/** Wake the peer. Does not block. The thread of a channel that uses it. */
void xshm_local_bell_ring(const xshm_local_bell_t *bell);

#endif
