/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_FUZZ_SIDE_H_
#define XSHM_FUZZ_SIDE_H_

#include "fuzz_input.h"

#include <uct/xshm/base/rma.h>
#include <uct/xshm/memory/registry.h>

/**
 * The initiator's side of access to memory: an endpoint whose channel the peer
 * has accepted. The peer is nobody: its return page is the input's to write.
 * There is no service and no worker, so that each input finds the same.
 */

#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define FUZZ_SEG_SIZE  1024

typedef struct fuzz_side {
    xshm_iface_t       iface;
    xshm_mailbox_t     mailbox;
    xshm_platform_t    platform;
    xshm_peer_t        peer;
    xshm_tx_t          tx;
    xshm_mem_t         mem;
    xshm_ep_t          ep;
    uint8_t           *ring;
    xshm_abi_return_t *ret;
    uint64_t           dirty[FUZZ_RING_SIZE / XSHM_ABI_LINE_SIZE / 64];
} fuzz_side_t;


static inline int fuzz_side_domain(const void *dev_addr)
{
    (void)dev_addr;

    return XSHM_DOMAIN_SAME;
}

/* Memory of this process is all that is mapped */
static inline void
fuzz_side_ask(xshm_platform_t *platform, xshm_region_ask_t *ask)
{
    (void)platform;
    (void)ask;

    fuzz_check(!"nobody else is asked");
}

static const xshm_platform_ops_t fuzz_side_ops = {.domain = fuzz_side_domain,
                                                  .region_ask = fuzz_side_ask};

/** What stays the same for all inputs */
static inline void fuzz_side_init(fuzz_side_t *side)
{
    memset(side, 0, sizeof(*side));
    side->platform.ops          = &fuzz_side_ops;
    side->platform.process      = xshm_process_name();
    side->mailbox.platform      = &side->platform;
    side->iface.mailbox         = &side->mailbox;
    side->iface.config.seg_size = FUZZ_SEG_SIZE;
    side->ring                  = fuzz_map(FUZZ_RING_SIZE, XSHM_ABI_PAGE_SIZE);
    side->ret = (xshm_abi_return_t *)fuzz_map(XSHM_ABI_RETURN_SIZE,
                                              XSHM_ABI_PAGE_SIZE);
    kh_init_inplace(xshm_peers, &side->iface.peers);
    fuzz_check(xshm_rma_init_iface(&side->iface) == UCS_OK);
}

/** A new channel, whose count of lines starts at @a produced */
static inline void fuzz_side_open(fuzz_side_t *side, uint32_t produced)
{
    xshm_tx_t *tx = &side->tx;

    memset(side->ring, 0, FUZZ_RING_SIZE);
    memset(side->dirty, 0, sizeof(side->dirty));
    memset(side->ret, 0, sizeof(*side->ret));
    memset(tx, 0, sizeof(*tx));
    memset(&side->peer, 0, sizeof(side->peer));
    memset(&side->ep, 0, sizeof(side->ep));
    side->mem.ret       = side->ret;
    tx->mem             = &side->mem;
    tx->ring_size       = FUZZ_RING_SIZE;
    tx->state           = XSHM_TX_ACCEPTED;
    side->ret->consumed = produced;
    xshm_ring_tx_init(&tx->ring, side->ring, FUZZ_RING_SIZE, side->dirty,
                      side->ret);
    tx->ring.produced = produced;
    tx->ring.consumed = produced;

    side->iface.work = 0;
    ucs_list_head_init(&side->iface.blocked);
    ucs_list_head_init(&side->iface.failed);
    ucs_list_head_init(&side->iface.rma_active);
    side->peer.tx           = tx;
    side->peer.iface        = &side->iface;
    side->peer.refs         = 1;
    side->peer.addr.process = side->platform.process;
    ucs_list_head_init(&side->peer.eps);
    ucs_list_head_init(&side->peer.waiting);
    ucs_list_head_init(&side->peer.blocked);
    ucs_list_head_init(&side->peer.flushes);
    side->ep.super.super.iface = &side->iface.super.super;
    side->ep.peer              = &side->peer;
    ucs_queue_head_init(&side->ep.pending);
    ucs_list_head_init(&side->ep.waiting);
    ucs_list_head_init(&side->ep.failed);
    ucs_list_add_tail(&side->peer.eps, &side->ep.list);
    xshm_ep_update_ring(&side->ep);
}

/** As the endpoint is destroyed: all that is under way ends, and what the peer
 *  does of it afterwards is nobody's */
static inline void fuzz_side_close(fuzz_side_t *side)
{
    xshm_rma_purge(&side->ep, UCS_ERR_CANCELED);
    xshm_peer_finish_flushes(&side->peer, &side->ep, UCS_ERR_CANCELED);
    ucs_list_del(&side->ep.list);
    memset(&side->ep, 0, sizeof(side->ep));
    side->ret->consumed = side->tx.ring.produced;
    (void)xshm_rma_progress(&side->iface);
    xshm_rma_cleanup_peer(&side->peer);
}

static inline uct_ep_h fuzz_side_ep(fuzz_side_t *side)
{
    return &side->ep.super.super;
}

#endif
