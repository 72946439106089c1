/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "iface.h"
#include "peer.h"
#include "stats.h"
#include "../platform/fdset.h"

#include <ucs/debug/log.h>
#include <ucs/vfs/base/vfs_obj.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>


/* All interfaces of this process. The lock is also that of their channels. */
static struct {
    pthread_mutex_t lock;
    ucs_list_link_t list;
} xshm_all_stats = {.lock = PTHREAD_MUTEX_INITIALIZER,
                    .list = UCS_LIST_INITIALIZER(&xshm_all_stats.list,
                                                 &xshm_all_stats.list)};


/* Put something into one of the lists */
static void xshm_stats_insert(ucs_list_link_t *list, ucs_list_link_t *link)
{
    pthread_mutex_lock(&xshm_all_stats.lock);
    ucs_list_add_tail(list, link);
    pthread_mutex_unlock(&xshm_all_stats.lock);
}

void xshm_stats_init(xshm_iface_t *iface, int is_wanted)
{
    memset(&iface->stats, 0, sizeof(iface->stats));
    ucs_list_head_init(&iface->stats.rx);
    ucs_list_head_init(&iface->stats.peers);
    iface->stats.is_wanted = is_wanted;
    xshm_stats_insert(&xshm_all_stats.list, &iface->stats.list);
}

static void
xshm_stats_add(xshm_counters_t *sum, const xshm_counters_t *counters)
{
    sum->sent += counters->sent;
    sum->sent_bytes += counters->sent_bytes;
    sum->received += counters->received;
    sum->received_bytes += counters->received_bytes;
    sum->stalls += counters->stalls;
    sum->notified += counters->notified;
}

static void xshm_stats_get_rx(const xshm_rx_t *rx, xshm_counters_t *counters)
{
    memset(counters, 0, sizeof(*counters));
    counters->received       = rx->received;
    counters->received_bytes = rx->bytes;
    counters->notified       = rx->sleeper.num_notified;
}

static void xshm_stats_get_tx(const xshm_tx_t *tx, xshm_counters_t *counters)
{
    memset(counters, 0, sizeof(*counters));
    counters->sent       = tx->ring.num_records - tx->ring.num_fillers;
    counters->sent_bytes = tx->ring.num_bytes;
    counters->stalls     = tx->num_stalls;
    counters->notified   = tx->sleeper.num_notified;
}

void xshm_stats_begin_rx(xshm_stats_t *stats, xshm_rx_t *rx)
{
    xshm_stats_insert(&stats->rx, &rx->counted);
}

void xshm_stats_begin_tx(xshm_stats_t *stats, xshm_peer_t *peer)
{
    xshm_stats_insert(&stats->peers, &peer->counted);
}

static void xshm_stats_end(xshm_stats_t *stats, ucs_list_link_t *link,
                           const xshm_counters_t *counters)
{
    pthread_mutex_lock(&xshm_all_stats.lock);
    ucs_list_del(link);
    xshm_stats_add(&stats->ended, counters);
    ++stats->num_ended;
    pthread_mutex_unlock(&xshm_all_stats.lock);
}

void xshm_stats_end_rx(xshm_stats_t *stats, xshm_rx_t *rx)
{
    xshm_counters_t counters;

    xshm_stats_get_rx(rx, &counters);
    xshm_stats_end(stats, &rx->counted, &counters);
}

void xshm_stats_end_tx(xshm_stats_t *stats, xshm_peer_t *peer)
{
    xshm_counters_t counters;

    xshm_stats_get_tx(peer->tx, &counters);
    xshm_stats_end(stats, &peer->counted, &counters);
}

static void xshm_stats_print_counters(ucs_string_buffer_t   *strb,
                                      const xshm_counters_t *counters)
{
    ucs_string_buffer_appendf(strb,
                              " sent=%" PRIu64 " sent_bytes=%" PRIu64
                              " received=%" PRIu64 " received_bytes=%" PRIu64
                              " stalls=%" PRIu64 " notifications_sent=%" PRIu64
                              "\n",
                              counters->sent, counters->sent_bytes,
                              counters->received, counters->received_bytes,
                              counters->stalls, counters->notified);
}

static void xshm_stats_print_rx(const xshm_iface_t  *iface,
                                ucs_string_buffer_t *strb, xshm_counters_t *sum)
{
    xshm_counters_t  counters;
    const xshm_rx_t *rx;
    unsigned         number = 0;

    ucs_list_for_each(rx, &iface->stats.rx, counted) {
        xshm_stats_get_rx(rx, &counters);
        xshm_stats_add(sum, &counters);
        ucs_string_buffer_appendf(strb, "  channel in %u:", number++);
        xshm_stats_print_counters(strb, &counters);
    }
}

static void xshm_stats_print_tx(const xshm_iface_t  *iface,
                                ucs_string_buffer_t *strb, xshm_counters_t *sum)
{
    xshm_counters_t counters;
    xshm_peer_t    *peer;

    ucs_list_for_each(peer, &iface->stats.peers, counted) {
        xshm_stats_get_tx(peer->tx, &counters);
        xshm_stats_add(sum, &counters);
        ucs_string_buffer_appendf(strb, "  channel to %016" PRIx64 ".%u:",
                                  peer->addr.process, peer->addr.iface);
        xshm_stats_print_counters(strb, &counters);
    }
}

static void
xshm_stats_print_rma(const xshm_iface_t *iface, ucs_string_buffer_t *strb)
{
    const xshm_platform_ops_t *ops = xshm_iface_platform(iface)->ops;

    ucs_string_buffer_appendf(strb,
                              "  memory: rma_direct=%" PRIu64
                              " rma_message=%" PRIu64
                              " refused_allocations=%" PRIu64 "\n",
                              iface->num_direct, iface->num_messages,
                              (ops->region_num_refused == NULL) ?
                                      0 :
                                      ops->region_num_refused());
}

/* All counters of an interface as text. With the lock. */
static void
xshm_stats_print(const xshm_iface_t *iface, ucs_string_buffer_t *strb)
{
    const xshm_events_t *events = &iface->events;
    xshm_counters_t      sum    = iface->stats.ended;

    ucs_string_buffer_appendf(strb, "xshm: process %d interface %u on %s\n",
                              getpid(), iface->mailbox->addr.iface,
                              xshm_iface_platform(iface)->ops->device);
    xshm_stats_print_tx(iface, strb, &sum);
    xshm_stats_print_rx(iface, strb, &sum);
    ucs_string_buffer_appendf(strb, "  %" PRIu64 " ended channels:",
                              iface->stats.num_ended);
    xshm_stats_print_counters(strb, &iface->stats.ended);
    ucs_string_buffer_appendf(strb, "  all channels:");
    xshm_stats_print_counters(strb, &sum);
    ucs_string_buffer_appendf(strb,
                              "  interface: sleeps=%" PRIu64
                              " notifications_received=%" PRIu64
                              " wakes_without_work=%" PRIu64
                              " timeouts=%" PRIu64 " yields=%" PRIu64
                              " refused_requests=%" PRIu64
                              " violations=%" PRIu64 "\n",
                              events->num_sleeps, events->num_notified,
                              events->num_idle_wakes, events->num_timeouts,
                              iface->num_yields, iface->mailbox->num_refused,
                              iface->num_violations);
    xshm_stats_print_rma(iface, strb);
}

/* In one piece: other processes write to the same place. With the lock. */
static void xshm_stats_write(const xshm_iface_t *iface)
{
    ucs_string_buffer_t strb = UCS_STRING_BUFFER_INITIALIZER;

    if (!iface->stats.is_wanted) {
        return;
    }

    xshm_stats_print(iface, &strb);
    fputs(ucs_string_buffer_cstr(&strb), stderr);
    ucs_string_buffer_cleanup(&strb);
}

void xshm_stats_cleanup(xshm_iface_t *iface)
{
    pthread_mutex_lock(&xshm_all_stats.lock);
    xshm_stats_write(iface);
    ucs_list_del(&iface->stats.list);
    pthread_mutex_unlock(&xshm_all_stats.lock);
}

void xshm_stats_finish(void)
{
    xshm_stats_t *stats;

    /* They are the parent's */
    if (xshm_fdset_is_child()) {
        return;
    }

    pthread_mutex_lock(&xshm_all_stats.lock);
    ucs_list_for_each(stats, &xshm_all_stats.list, list) {
        xshm_stats_write(ucs_container_of(stats, xshm_iface_t, stats));
    }
    pthread_mutex_unlock(&xshm_all_stats.lock);
}

/* UCX calls this without a lock: the interface may be gone already */
static void xshm_stats_show(void *obj, ucs_string_buffer_t *strb, void *arg_ptr,
                            uint64_t arg_u64)
{
    xshm_stats_t *stats;

    pthread_mutex_lock(&xshm_all_stats.lock);
    ucs_list_for_each(stats, &xshm_all_stats.list, list) {
        if (ucs_container_of(stats, xshm_iface_t, stats) == obj) {
            xshm_stats_print(obj, strb);
        }
    }
    pthread_mutex_unlock(&xshm_all_stats.lock);
}

void xshm_stats_vfs_refresh(uct_iface_h tl_iface)
{
    ucs_vfs_obj_add_ro_file(ucs_derived_of(tl_iface, xshm_iface_t),
                            xshm_stats_show, NULL, 0, "xshm_stats");
}
