/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "channel.h"
#include "rx.h"
#include "tx.h"
#include "../memory/registry.h"
#include "../memory/view.h"


static void xshm_channel_accepted(xshm_conn_t *conn)
{
    xshm_tx_handle_accepted(conn->owner);
}

static void
xshm_channel_closed(xshm_conn_t *conn, xshm_reason_t reason, uint32_t version)
{
    if (conn->is_sender) {
        xshm_tx_handle_closed(conn->owner, reason, version);
    } else {
        xshm_rx_handle_closed(conn->owner);
    }
}

static void xshm_channel_attention(xshm_conn_t *conn)
{
    if (conn->is_sender) {
        xshm_tx_handle_attention(conn->owner);
    } else {
        xshm_rx_handle_attention(conn->owner);
    }
}

/* clang-format off */
const xshm_platform_sink_t xshm_channel_sink = {
    .request         = xshm_rx_handle_request,
    .accepted        = xshm_channel_accepted,
    .closed          = xshm_channel_closed,
    .attention       = xshm_channel_attention,
    .region_get      = xshm_reg_get_region,
    .region_put      = xshm_reg_put_region,
    .region_answered = xshm_view_answered,
    .region_gone     = xshm_view_gone
};
/* clang-format on */
