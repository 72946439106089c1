/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "rx.h"
#include "pair.h"
#include "../platform/fdset.h"
#include "../service/barrier.h"
#include "../platform/complain.h"

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <stdlib.h>


/* What the sender wrote in the first line, read once */
typedef struct xshm_rx_layout {
    uint32_t magic;
    uint32_t version;
    uint32_t ring_size;
    uint32_t max_payload;
    uint32_t num_pages;
    uint32_t first_line;
    uint32_t iface;
    uint64_t process;
    uint64_t pair;
} xshm_rx_layout_t;


/* The ring is the first in the channel's end */
static void xshm_rx_hook(void *ring)
{
    xshm_sleeper_wake_peer(&ucs_container_of(ring, xshm_rx_t, ring)->sleeper);
}

static void xshm_rx_read_layout(const volatile xshm_abi_data_t *data,
                                xshm_rx_layout_t               *layout)
{
    layout->magic       = data->magic;
    layout->version     = data->version;
    layout->ring_size   = data->ring_size;
    layout->max_payload = data->max_payload;
    layout->num_pages   = data->num_pages;
    layout->first_line  = data->first_line;
    layout->iface       = data->iface;
    layout->process     = data->process;
    layout->pair        = data->pair;
}

static int xshm_rx_data_size_is_valid(size_t data_size)
{
    return ((data_size % XSHM_ABI_PAGE_SIZE) == 0) &&
           (data_size >= XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MIN_SIZE) &&
           (data_size <= XSHM_ABI_RING_OFFSET + XSHM_ABI_RING_MAX_SIZE);
}

/* @a data_size is what was mapped; all else is only claimed */
static int
xshm_rx_layout_is_valid(const xshm_rx_layout_t *layout, size_t data_size)
{
    return (layout->magic == XSHM_ABI_MAGIC) &&
           (layout->version == XSHM_ABI_VERSION) &&
           (layout->num_pages == data_size / XSHM_ABI_PAGE_SIZE) &&
           (layout->ring_size == data_size - XSHM_ABI_RING_OFFSET) &&
           (layout->first_line < layout->ring_size / XSHM_ABI_LINE_SIZE) &&
           (layout->max_payload <= xshm_ring_max_payload(layout->ring_size));
}

static void
xshm_rx_complain_layout(const xshm_rx_layout_t *layout, size_t data_size)
{
    xshm_complain("xshm: refused a peer's channel: magic 0x%x version %u ring "
                  "%u bytes, longest message %u bytes, %u pages, first line %u "
                  "do not fit %zu bytes of memory",
                  layout->magic, layout->version, layout->ring_size,
                  layout->max_payload, layout->num_pages, layout->first_line,
                  data_size);
}

/* Begin to read a ring whose layout has been checked */
static void xshm_rx_begin(xshm_rx_t *rx, const xshm_rx_layout_t *layout)
{
    xshm_ring_rx_init(&rx->ring,
                      UCS_PTR_BYTE_OFFSET(rx->mem->data, XSHM_ABI_RING_OFFSET),
                      layout->ring_size, rx->mem->ret);
    xshm_ring_rx_begin_at(&rx->ring, layout->first_line);
    rx->max_payload = layout->max_payload;
    rx->iface       = layout->iface;
    rx->process     = layout->process;
    rx->pair        = layout->pair;
    rx->ring.hook   = xshm_barrier_is_available() ? NULL : xshm_rx_hook;
    xshm_sleeper_init(&rx->sleeper, rx->mailbox,
                      &((xshm_abi_return_t *)rx->mem->ret)->wake,
                      &((const xshm_abi_data_t *)rx->mem->data)->wake);
    xshm_sleeper_set_conn(&rx->sleeper, rx->conn);
}

static ucs_status_t xshm_rx_map(xshm_rx_t *rx, size_t data_size)
{
    const xshm_platform_ops_t *ops = rx->mailbox->platform->ops;
    xshm_rx_layout_t           layout;
    ucs_status_t               status;

    if (!xshm_rx_data_size_is_valid(data_size)) {
        xshm_complain("xshm: refused a peer that offers %zu bytes of memory, "
                      "which is no size of a channel",
                      data_size);
        return UCS_ERR_INVALID_PARAM;
    }

    status = ops->map(rx->conn, data_size, &rx->mem);
    if (status != UCS_OK) {
        return status;
    }

    xshm_rx_read_layout(rx->mem->data, &layout);
    if (!xshm_rx_layout_is_valid(&layout, data_size)) {
        xshm_rx_complain_layout(&layout, data_size);
        ops->mem_free(rx->mem);
        return UCS_ERR_INVALID_PARAM;
    }

    xshm_rx_begin(rx, &layout);
    return UCS_OK;
}

/* In this order: a sender may look at any time */
static void xshm_rx_set_live(volatile xshm_abi_return_t *ret)
{
    ret->live     = 1;
    ret->was_live = 1;
}

/* Takes over the reference to the mailbox, but not on failure */
static ucs_status_t xshm_rx_create(xshm_mailbox_t *mailbox, xshm_conn_t *conn,
                                   const xshm_request_t *request,
                                   xshm_rx_t           **rx_p)
{
    ucs_status_t status;
    xshm_rx_t   *rx;

    rx = calloc(1, sizeof(*rx));
    if (rx == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel", sizeof(*rx));
        return UCS_ERR_NO_MEMORY;
    }

    rx->mailbox = mailbox;
    rx->conn    = conn;
    rx->domain  = request->domain;
    status      = xshm_rx_map(rx, request->data_size);
    if (status != UCS_OK) {
        free(rx);
        return status;
    }

    xshm_rx_set_live(rx->mem->ret);
    conn->owner = rx;
    *rx_p       = rx;
    return UCS_OK;
}

static void xshm_rx_free(xshm_rx_t *rx)
{
    const xshm_platform_ops_t *ops = rx->mailbox->platform->ops;

    /* The mapper unmaps first, then the owner is told and frees */
    ops->mem_free(rx->mem);
    ops->disconnect(rx->conn);
    xshm_mailbox_put(rx->mailbox);
    free(rx);
}

void xshm_rx_handle_request(xshm_conn_t *conn, const xshm_request_t *request)
{
    const xshm_platform_ops_t *ops = conn->platform->ops;
    xshm_mailbox_t            *mailbox;
    ucs_status_t               status;
    xshm_rx_t                 *rx;

    /* Nothing is mapped before the token matched */
    mailbox = xshm_mailbox_find(conn->platform, request->domain,
                                &request->target);
    if (mailbox == NULL) {
        ops->refuse(conn, XSHM_REASON_UNKNOWN);
        return;
    }

    status = xshm_rx_create(mailbox, conn, request, &rx);
    if (status != UCS_OK) {
        ops->refuse(conn, (status == UCS_ERR_INVALID_PARAM) ?
                                  XSHM_REASON_INVALID :
                                  XSHM_REASON_RESOURCE);
        xshm_mailbox_put(mailbox);
        return;
    }

    ops->accept(conn);
    if (!xshm_mailbox_post(mailbox, &rx->event, XSHM_EVENT_RX_NEW)) {
        xshm_rx_free(rx);
    }
}

void xshm_rx_handle_closed(xshm_rx_t *rx)
{
    xshm_mailbox_post(rx->mailbox, &rx->event, XSHM_EVENT_RX_GONE);
}

void xshm_rx_handle_attention(xshm_rx_t *rx)
{
    xshm_sleeper_handle_attention(&rx->sleeper, &rx->ring.hook, xshm_rx_hook);
}

void xshm_rx_handle_event(xshm_rx_t *rx, unsigned flags)
{
    if (flags & XSHM_EVENT_RX_GONE) {
        rx->is_gone = 1;
    }
}

static void xshm_rx_do_release(xshm_work_t *work)
{
    xshm_rx_free(ucs_container_of(work, xshm_rx_t, release));
}

void xshm_rx_release(xshm_rx_t *rx)
{
    /* A forked child has no thread to give it to */
    if (xshm_fdset_is_child()) {
        return;
    }

    xshm_mailbox_forget(rx->mailbox, &rx->event);
    xshm_pair_leave_rx(rx);
    xshm_service_post(&rx->release, xshm_rx_do_release);
}
