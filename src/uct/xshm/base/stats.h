/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_STATS_H_
#define XSHM_STATS_H_

#include "../channel/rx.h"
#include "../channel/tx.h"

#include <ucs/datastruct/list.h>
#include <ucs/datastruct/string_buffer.h>

/**
 * Counters for users: of each interface, and of each of its channels. They are
 * plain numbers that the worker's thread counts for itself; who reads them from
 * another thread may see some of them a message late.
 *
 * They can be read in UCX's virtual file system, as the file "xshm_stats" of
 * the interface; and with UCX_XSHM_STATS=y they are written to the standard
 * error when the interface is closed, or at the end of a process that does not
 * close it.
 *
 * Threads: UCX reads a file without a lock, also while what it is of is being
 * destroyed. So there is a list of all interfaces and their channels with a
 * lock of its own, which the reader takes, and the worker when an interface or
 * a channel begins or ends: nothing is done for a message.
 */

struct xshm_iface;
struct xshm_peer;


/** What is counted of channels */
typedef struct xshm_counters {
    uint64_t sent;           /**< Records with a payload, by their sender */
    uint64_t sent_bytes;     /**< Their payload */
    uint64_t received;       /**< Messages, and operations on memory */
    uint64_t received_bytes; /**< Their payload */
    uint64_t stalls;         /**< Sends that found no room */
    uint64_t notified;       /**< Notifications sent */
} xshm_counters_t;


/** Statistics of an interface */
typedef struct xshm_stats {
    ucs_list_link_t list;      /**< All interfaces */
    ucs_list_link_t rx;        /**< Channels, by their `counted` */
    ucs_list_link_t peers;     /**< The same of those that we send to */
    int             is_wanted; /**< UCX_XSHM_STATS */
    xshm_counters_t ended;     /**< Of channels that are gone */
    uint64_t        num_ended;
} xshm_stats_t;


/** Begin to count, from zero. @a is_wanted: UCX_XSHM_STATS. */
void xshm_stats_init(struct xshm_iface *iface, int is_wanted);

/** The interface closes: write its counters, if they are wanted. Nobody reads
 *  them after that. */
void xshm_stats_cleanup(struct xshm_iface *iface);

/** Write those of all interfaces that were not closed: the process ends */
void xshm_stats_finish(void);

/** A channel begins */
void xshm_stats_begin_rx(xshm_stats_t *stats, xshm_rx_t *rx);
void xshm_stats_begin_tx(xshm_stats_t *stats, struct xshm_peer *peer);

/** A channel ends: keep its counters in those of the interface */
void xshm_stats_end_rx(xshm_stats_t *stats, xshm_rx_t *rx);
void xshm_stats_end_tx(xshm_stats_t *stats, struct xshm_peer *peer);

/** See uct_iface_internal_ops_t::iface_vfs_refresh */
void xshm_stats_vfs_refresh(uct_iface_h tl_iface);

#endif
