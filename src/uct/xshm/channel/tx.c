/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "tx.h"
#include "channel.h"
#include "pair.h"
#include "../platform/fdset.h"
#include "../service/barrier.h"
#include "../platform/complain.h"

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>


/* 2^64 divided by the golden ratio, odd: near numbers go far apart (Knuth, The
 * Art of Computer Programming, 6.4) */
#define XSHM_TX_HASH_FACTOR 0x9e3779b97f4a7c15ull


ucs_status_t xshm_tx_create(xshm_mailbox_t *mailbox, const void *dev_addr,
                            const xshm_iface_addr_t *target, size_t max_payload,
                            xshm_tx_t **tx_p)
{
    const xshm_platform_ops_t *ops = mailbox->platform->ops;
    xshm_tx_t                 *tx;

    tx = calloc(1, sizeof(*tx));
    if (tx == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a peer", sizeof(*tx));
        return UCS_ERR_NO_MEMORY;
    }

    tx->state       = XSHM_TX_IDLE;
    tx->mailbox     = mailbox;
    tx->target      = *target;
    tx->max_payload = (uint32_t)max_payload;
    memcpy(tx->dev_addr, dev_addr, ops->dev_addr_size);
    xshm_mailbox_get(mailbox);

    *tx_p = tx;
    return UCS_OK;
}

static const xshm_platform_ops_t *xshm_tx_ops(const xshm_tx_t *tx)
{
    return tx->mailbox->platform->ops;
}

static void xshm_tx_free(xshm_tx_t *tx)
{
    if (tx->mem != NULL) {
        xshm_tx_ops(tx)->mem_free(tx->mem);
    }

    xshm_mailbox_put(tx->mailbox);
    free(tx->dirty);
    free(tx);
}

/* Rings begin on a page: if all of them began with their first line, the lines
 * that a receiver of many looks at would share one set of its cache */
static uint32_t xshm_tx_first_line(const xshm_tx_t *tx)
{
    uint64_t hash = tx->target.process ^ tx->mailbox->addr.process;

    hash += ((uint64_t)tx->target.iface << 32) + tx->mailbox->addr.iface;
    hash *= XSHM_TX_HASH_FACTOR;
    return (uint32_t)(hash >> 32) % (tx->ring_size / XSHM_ABI_LINE_SIZE);
}

/* Fill the first page before anybody can see it */
static void xshm_tx_init_header(xshm_tx_t *tx)
{
    xshm_abi_data_t *data = tx->mem->data;

    data->magic       = XSHM_ABI_MAGIC;
    data->version     = XSHM_ABI_VERSION;
    data->ring_size   = tx->ring_size;
    data->max_payload = tx->max_payload;
    data->num_pages   = (uint32_t)(tx->mem->data_size / XSHM_ABI_PAGE_SIZE);
    data->first_line  = xshm_tx_first_line(tx);
    data->iface       = tx->mailbox->addr.iface;
    data->process     = tx->mailbox->addr.process;
    data->pair        = tx->pair;
    data->live        = 1;
}

/* Service thread: the request has an answer */
static void xshm_tx_answered(xshm_tx_t *tx)
{
    if (tx->service.is_asking) {
        tx->service.is_asking = 0;
        xshm_mailbox_answered(tx->mailbox);
    }
}

static void xshm_tx_do_connect(xshm_work_t *work)
{
    xshm_tx_t     *tx      = ucs_container_of(work, xshm_tx_t, service.connect);
    xshm_request_t request = {.target    = tx->target,
                              .data_size = (uint32_t)tx->mem->data_size,
                              .domain    = XSHM_DOMAIN_SAME};
    ucs_status_t   status;

    status = xshm_tx_ops(tx)->connect(tx->mailbox->platform, tx->dev_addr,
                                      &request, tx->mem, tx, &tx->service.conn);
    if (status != UCS_OK) {
        xshm_tx_handle_closed(tx, XSHM_REASON_RESOURCE, 0);
    }
}

/* The ring is the first in the channel's end */
static void xshm_tx_hook(void *ring)
{
    xshm_sleeper_wake_peer(&ucs_container_of(ring, xshm_tx_t, ring)->sleeper);
}

static void xshm_tx_init_sleeper(xshm_tx_t *tx)
{
    tx->ring.hook = xshm_barrier_is_available() ? NULL : xshm_tx_hook;
    xshm_sleeper_init(&tx->sleeper, tx->mailbox,
                      &((xshm_abi_data_t *)tx->mem->data)->wake,
                      &((const xshm_abi_return_t *)tx->mem->ret)->wake);
}

ucs_status_t xshm_tx_open(xshm_tx_t *tx, size_t ring_size)
{
    xshm_platform_t *platform = tx->mailbox->platform;
    ucs_status_t     status;

    if (getrandom(&tx->pair, sizeof(tx->pair), 0) != sizeof(tx->pair)) {
        ucs_error("xshm: cannot get %zu random bytes for a channel: %m",
                  sizeof(tx->pair));
        return UCS_ERR_IO_ERROR;
    }

    tx->ring_size = (uint32_t)ring_size;
    tx->dirty     = calloc(1, xshm_ring_dirty_size(ring_size));
    if (tx->dirty == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel",
                  xshm_ring_dirty_size(ring_size));
        return UCS_ERR_NO_MEMORY;
    }

    status = platform->ops->mem_alloc(platform, tx->dev_addr,
                                      XSHM_ABI_RING_OFFSET + ring_size,
                                      &tx->mem);
    if (status != UCS_OK) {
        free(tx->dirty);
        tx->dirty = NULL;
        return status;
    }

    xshm_tx_init_header(tx);
    xshm_ring_tx_init(&tx->ring,
                      UCS_PTR_BYTE_OFFSET(tx->mem->data, XSHM_ABI_RING_OFFSET),
                      ring_size, tx->dirty, tx->mem->ret);
    xshm_ring_tx_begin_at(&tx->ring, xshm_tx_first_line(tx));
    xshm_tx_init_sleeper(tx);

    tx->state             = XSHM_TX_ASKING;
    tx->service.is_asking = 1;
    xshm_mailbox_ask(tx->mailbox);
    xshm_service_post(&tx->service.connect, xshm_tx_do_connect);
    return UCS_OK;
}

void xshm_tx_handle_event(xshm_tx_t *tx, unsigned flags)
{
    if (flags & XSHM_EVENT_TX_GONE) {
        tx->state = XSHM_TX_FAILED;
    } else if ((flags & XSHM_EVENT_ACCEPTED) && (tx->state == XSHM_TX_ASKING)) {
        tx->state = XSHM_TX_ACCEPTED;
    }
}

void xshm_tx_fail(xshm_tx_t *tx)
{
    tx->state = XSHM_TX_FAILED;
}

void xshm_tx_log_failure(const xshm_tx_t *tx)
{
    if (tx->ring.violation) {
        xshm_complain("xshm: peer %016" PRIx64
                      ".%u gave back room that it did not "
                      "have: the channel is closed",
                      tx->target.process, tx->target.iface);
    } else if (tx->service.reason == XSHM_REASON_VERSION) {
        xshm_complain("xshm: peer %016" PRIx64
                      ".%u uses version %u of the shared "
                      "layout, and this process version %u: install the same "
                      "version of xshm for both",
                      tx->target.process, tx->target.iface, tx->service.version,
                      XSHM_ABI_VERSION);
    } else {
        ucs_debug("xshm: channel to peer %016" PRIx64 ".%u has ended: %s",
                  tx->target.process, tx->target.iface,
                  xshm_reason_string(tx->service.reason));
    }
}

/* Service thread: free it once nobody needs it any more */
static void xshm_tx_release(xshm_tx_t *tx)
{
    if (!tx->service.is_closed || tx->service.is_bound ||
        (tx->service.reason == XSHM_REASON_NONE)) {
        return;
    }

    if (tx->service.conn != NULL) {
        xshm_tx_ops(tx)->disconnect(tx->service.conn);
    }

    xshm_tx_free(tx);
}

/* Memory that is kept for the peer, or for what it may still send, counts to
 * what it keeps */
static void xshm_tx_linger(xshm_tx_t *tx)
{
    if (xshm_tx_ops(tx)->mem_linger != NULL) {
        xshm_tx_ops(tx)->mem_linger(tx->mem);
    }
}

static void xshm_tx_do_close(xshm_work_t *work)
{
    xshm_tx_t *tx = ucs_container_of(work, xshm_tx_t, service.close);

    xshm_tx_linger(tx);
    tx->service.is_closed = 1;
    xshm_tx_release(tx);
}

/* A peer that broke the rules is not waited for */
static void xshm_tx_do_abort(xshm_work_t *work)
{
    xshm_tx_t *tx = ucs_container_of(work, xshm_tx_t, service.close);

    xshm_tx_linger(tx);
    tx->service.is_closed = 1;
    xshm_tx_handle_closed(tx, XSHM_REASON_GONE, 0);
}

void xshm_tx_close(xshm_tx_t *tx)
{
    /* A forked child has none of the memory, and no thread to give it to */
    if (xshm_fdset_is_child()) {
        return;
    }

    xshm_mailbox_forget(tx->mailbox, &tx->event);
    tx->service.is_bound = xshm_pair_leave_tx(tx);
    if (tx->state == XSHM_TX_IDLE) {
        xshm_tx_free(tx);
        return;
    }

    if (tx->ring.violation) {
        xshm_service_post(&tx->service.close, xshm_tx_do_abort);
        return;
    }

    xshm_ring_tx_close(&tx->ring);
    xshm_service_post(&tx->service.close, xshm_tx_do_close);
}

static void xshm_tx_do_unbind(xshm_work_t *work)
{
    xshm_tx_t *tx = ucs_container_of(work, xshm_tx_t, service.unbind);

    tx->service.is_bound = 0;
    xshm_tx_release(tx);
}

void xshm_tx_unbind(xshm_tx_t *tx)
{
    xshm_service_post(&tx->service.unbind, xshm_tx_do_unbind);
}

void xshm_tx_handle_accepted(xshm_tx_t *tx)
{
    xshm_tx_answered(tx);
    xshm_sleeper_set_conn(&tx->sleeper, tx->service.conn);
    if (!tx->service.is_closed) {
        xshm_mailbox_post(tx->mailbox, &tx->event, XSHM_EVENT_ACCEPTED);
    }
}

void xshm_tx_handle_attention(xshm_tx_t *tx)
{
    xshm_sleeper_set_conn(&tx->sleeper, tx->service.conn);
    xshm_sleeper_handle_attention(&tx->sleeper, &tx->ring.hook, xshm_tx_hook);
}

void xshm_tx_handle_closed(xshm_tx_t *tx, xshm_reason_t reason,
                           uint32_t version)
{
    /* Without a reason it would not have ended */
    tx->service.reason =
            (reason == XSHM_REASON_NONE) ? XSHM_REASON_GONE : reason;
    tx->service.version = version;
    xshm_tx_answered(tx);
    if (!tx->service.is_closed) {
        xshm_mailbox_post(tx->mailbox, &tx->event, XSHM_EVENT_TX_GONE);
    }

    xshm_tx_release(tx);
}
