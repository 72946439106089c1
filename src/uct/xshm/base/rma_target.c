/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "rma.h"
#include "../memory/registry.h"

#include <ucs/debug/log.h>


/* A record as it was read, once */
typedef struct xshm_rma_request {
    xshm_abi_rma_t      rma;
    xshm_abi_operands_t operands; /**< ATOMIC only */
    uint8_t             type;
    uint8_t             op;
    const uint8_t      *data;      /**< PUT: in the ring */
    size_t              data_size; /**< PUT: what there is of it */
} xshm_rma_request_t;


/* Does what the peer wants returned lie in the reply room? */
static int xshm_rma_reply_is_valid(const xshm_abi_rma_t *rma)
{
    return ((rma->reply % sizeof(uint64_t)) == 0) &&
           (rma->reply <= XSHM_ABI_REPLY_SIZE) &&
           (rma->length <= XSHM_ABI_REPLY_SIZE - rma->reply);
}

static int xshm_rma_put_is_valid(const xshm_rma_request_t *request)
{
    return (request->op == 0) && (request->rma.reply == XSHM_ABI_NO_REPLY) &&
           (request->rma.length == request->data_size);
}

static int xshm_rma_get_is_valid(const xshm_rma_request_t *request)
{
    return (request->op == 0) && (request->data_size == 0) &&
           xshm_rma_reply_is_valid(&request->rma);
}

static int xshm_rma_atomic_is_valid(const xshm_rma_request_t *request)
{
    const xshm_abi_rma_t *rma = &request->rma;

    return (request->data_size == sizeof(request->operands)) &&
           (request->op < XSHM_ATOMIC_LAST) &&
           ((request->op == XSHM_ATOMIC_CSWAP) ||
            (request->operands.compare == 0)) &&
           ((rma->length == sizeof(uint32_t)) ||
            (rma->length == sizeof(uint64_t))) &&
           ((rma->address % rma->length) == 0) &&
           ((rma->reply == XSHM_ABI_NO_REPLY) || xshm_rma_reply_is_valid(rma));
}

static unsigned xshm_rma_right(const xshm_rma_request_t *request)
{
    switch (request->type) {
    case XSHM_RECORD_PUT:
        return XSHM_RIGHT_PUT;
    case XSHM_RECORD_GET:
        return XSHM_RIGHT_GET;
    default:
        return XSHM_RIGHT_ATOMIC;
    }
}

static int xshm_rma_request_is_valid(const xshm_rma_request_t *request)
{
    if (request->rma.unused != 0) {
        return 0;
    }

    switch (request->type) {
    case XSHM_RECORD_PUT:
        return xshm_rma_put_is_valid(request);
    case XSHM_RECORD_GET:
        return xshm_rma_get_is_valid(request);
    default:
        return xshm_rma_atomic_is_valid(request);
    }
}

/* @return Zero: too short to be one */
static int xshm_rma_read_request(const xshm_rx_t         *rx,
                                 const xshm_abi_record_t *record,
                                 xshm_rma_request_t      *request)
{
    const uint8_t *payload = xshm_ring_rx_payload(&rx->ring);

    if (record->size < sizeof(request->rma)) {
        return 0;
    }

    memcpy(&request->rma, payload, sizeof(request->rma));
    request->type      = record->type;
    request->op        = record->id;
    request->data      = payload + sizeof(request->rma);
    request->data_size = record->size - sizeof(request->rma);
    if ((request->type == XSHM_RECORD_ATOMIC) &&
        (request->data_size == sizeof(request->operands))) {
        memcpy(&request->operands, request->data, sizeof(request->operands));
    }

    return 1;
}

static void xshm_rma_execute_atomic(const xshm_rma_request_t *request,
                                    void *ptr, uint8_t *reply)
{
    uint64_t value;

    value = xshm_rma_do_atomic(request->op, request->rma.length, ptr,
                               request->operands.value,
                               request->operands.compare);
    if (request->rma.reply != XSHM_ABI_NO_REPLY) {
        memcpy(reply + request->rma.reply, &value, request->rma.length);
    }
}

/* The registration stays while it is pinned */
static void
xshm_rma_execute_pinned(xshm_rx_t *rx, const xshm_rma_request_t *request)
{
    xshm_abi_return_t *ret = rx->ring.ret;
    void              *ptr = (void *)(uintptr_t)request->rma.address;

    switch (request->type) {
    case XSHM_RECORD_PUT:
        memcpy(ptr, request->data, request->rma.length);
        break;
    case XSHM_RECORD_GET:
        memcpy(ret->reply + request->rma.reply, ptr, request->rma.length);
        break;
    default:
        xshm_rma_execute_atomic(request, ptr, ret->reply);
        break;
    }
}

/* The sender sees it, at the latest, when it sees that the record is consumed:
 * ordered by GIVE_BACK, which follows */
static UCS_F_NOINLINE void
xshm_rma_refuse(xshm_rx_t *rx, const xshm_rma_request_t *request)
{
    xshm_abi_return_t *ret = rx->ring.ret;

    ucs_debug("xshm: refused a peer's operation of type %u on %u bytes at "
              "0x%" PRIx64 ": no such registration, or it does not allow that",
              request->type, request->rma.length, request->rma.address);
    ret->refused_op[rx->num_refused % XSHM_ABI_NUM_REFUSED] = rx->num_ops;
    ++rx->num_refused;
    __atomic_store_n(&ret->refused, rx->num_refused, __ATOMIC_RELEASE);
}

void xshm_rma_execute(xshm_rx_t *rx, const xshm_abi_record_t *record)
{
    xshm_rma_request_t request = {{0}};
    xshm_reg_t        *reg     = NULL;

    if (xshm_rma_read_request(rx, record, &request) &&
        xshm_rma_request_is_valid(&request)) {
        reg = xshm_reg_pin(request.rma.slot, request.rma.id,
                           request.rma.address, request.rma.length,
                           xshm_rma_right(&request));
    }

    if (reg != NULL) {
        xshm_rma_execute_pinned(rx, &request);
        xshm_reg_unpin(reg);
    } else {
        xshm_rma_refuse(rx, &request);
    }

    ++rx->num_ops;
    xshm_ring_rx_release_any(&rx->ring, record->size);

    /* Who waits for an answer shall not wait for a batch */
    if ((record->type != XSHM_RECORD_PUT) &&
        (rx->ring.consumed != rx->ring.given_back)) {
        xshm_ring_rx_give_back(&rx->ring);
    }
}
