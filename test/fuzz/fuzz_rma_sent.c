/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Operations by message, and a target that may write anything into the return
 * page at any time: counts, what it says to have refused, and replies. Each
 * operation ends once, nothing is written but what it asked for and not after its
 * end, and what was never consumed is never taken for done.
 */

#include "fuzz_side.h"


#define FUZZ_MAX_OPS    256
#define FUZZ_MAX_LENGTH 8000
#define FUZZ_ADDRESS    0x10000ul

enum {
    FUZZ_STEP_PUT_SHORT,
    FUZZ_STEP_PUT_BCOPY,
    FUZZ_STEP_PUT_ZCOPY,
    FUZZ_STEP_GET_BCOPY,
    FUZZ_STEP_GET_ZCOPY,
    FUZZ_STEP_POST,
    FUZZ_STEP_FETCH,
    FUZZ_STEP_CSWAP,
    FUZZ_STEP_FLUSH,
    FUZZ_STEP_FENCE,
    FUZZ_STEP_CONSUME, /* Some of what was sent */
    FUZZ_STEP_CONSUMED,
    FUZZ_STEP_REFUSE, /* Some of what was sent */
    FUZZ_STEP_REFUSED,
    FUZZ_STEP_REFUSED_OP,
    FUZZ_STEP_REPLY,
    FUZZ_STEP_PROGRESS,
    FUZZ_STEP_LAST
};

/* Of which the completion comes, and its memory. That is freed at its end, so
 * that a sanitizer sees what is written later. */
typedef struct fuzz_op {
    uct_completion_t comp;
    uint8_t         *buffer;
    uint32_t         produced; /* Lines, with it or a part of it */
    unsigned         num_ended;
} fuzz_op_t;


static fuzz_side_t fuzz_side;
static xshm_rkey_t fuzz_rkey;
static fuzz_op_t   fuzz_ops[FUZZ_MAX_OPS];
static unsigned    fuzz_num_ops;
static uint8_t     fuzz_data[FUZZ_MAX_LENGTH];
static int         fuzz_is_closing;


static void fuzz_ended(uct_completion_t *comp)
{
    fuzz_op_t *op = (fuzz_op_t *)comp;

    fuzz_check(++op->num_ended == 1);
    /* Good only if all of it has been consumed, by a count that can be */
    fuzz_check((comp->status != UCS_OK) ||
               (!fuzz_is_closing && (fuzz_side.ep.status == UCS_OK) &&
                ((int32_t)(fuzz_side.tx.ring.consumed - op->produced) >= 0)));
    free(op->buffer);
    op->buffer = NULL;
}

static fuzz_op_t *fuzz_op_new(size_t length)
{
    fuzz_op_t *op = &fuzz_ops[fuzz_num_ops++];

    memset(op, 0, sizeof(*op));
    op->comp.func   = fuzz_ended;
    op->comp.count  = 1;
    op->comp.status = UCS_OK;
    op->buffer      = malloc(length + (length == 0));
    fuzz_check(op->buffer != NULL);
    return op;
}

/* If it is under way its completion comes, else never */
static void fuzz_op_begun(fuzz_op_t *op, ucs_status_t status)
{
    if (status == UCS_INPROGRESS) {
        op->produced = fuzz_side.tx.ring.produced;
        return;
    }

    fuzz_check(op->num_ended == 0);
    free(op->buffer);
    --fuzz_num_ops;
}

static size_t fuzz_pack(void *dest, void *arg)
{
    size_t length = *(size_t *)arg;

    memcpy(dest, fuzz_data, length);
    return length;
}

static void fuzz_unpack(void *arg, const void *data, size_t length)
{
    memcpy(arg, data, length);
}

static void fuzz_put(fuzz_input_t *input, unsigned step)
{
    size_t     max    = xshm_rma_max_put(&fuzz_side.iface);
    size_t     length = (size_t)fuzz_take(input, 2);
    uct_ep_h   ep     = fuzz_side_ep(&fuzz_side);
    uct_rkey_t rkey   = (uintptr_t)&fuzz_rkey;
    uct_iov_t  iov    = {.count = 1};
    fuzz_op_t *op;

    if (step == FUZZ_STEP_PUT_SHORT) {
        (void)xshm_ep_put_short(ep, fuzz_data, (unsigned)(length % (max + 1)),
                                FUZZ_ADDRESS, rkey);
    } else if (step == FUZZ_STEP_PUT_BCOPY) {
        length %= max + 1;
        (void)xshm_ep_put_bcopy(ep, fuzz_pack, &length, FUZZ_ADDRESS, rkey);
    } else {
        iov.length = length % (FUZZ_MAX_LENGTH + 1);
        op         = fuzz_op_new(iov.length);
        memset(op->buffer, 0, iov.length);
        iov.buffer = op->buffer;
        fuzz_op_begun(op, xshm_ep_put_zcopy(ep, &iov, 1, FUZZ_ADDRESS, rkey,
                                            &op->comp));
    }
}

static void fuzz_get(fuzz_input_t *input, unsigned step)
{
    size_t     length = (size_t)fuzz_take(input, 2) % (FUZZ_MAX_LENGTH + 1);
    uct_ep_h   ep     = fuzz_side_ep(&fuzz_side);
    uct_rkey_t rkey   = (uintptr_t)&fuzz_rkey;
    uct_iov_t  iov[2] = {{.count = 1}, {.count = 1}};
    fuzz_op_t *op;

    if (step == FUZZ_STEP_GET_BCOPY) {
        length %= XSHM_RMA_MAX_GET + 1;
        op = fuzz_op_new(length);
        fuzz_op_begun(op, xshm_ep_get_bcopy(ep, fuzz_unpack, op->buffer, length,
                                            FUZZ_ADDRESS, rkey, &op->comp));
        return;
    }

    op            = fuzz_op_new(length);
    iov[0].buffer = op->buffer;
    iov[0].length = length / 3;
    iov[1].buffer = op->buffer + iov[0].length;
    iov[1].length = length - iov[0].length;
    fuzz_op_begun(op,
                  xshm_ep_get_zcopy(ep, iov, 2, FUZZ_ADDRESS, rkey, &op->comp));
}

static void fuzz_atomic(fuzz_input_t *input, unsigned step)
{
    int          is_long = (fuzz_take(input, 1) % 2) != 0;
    uct_ep_h     ep      = fuzz_side_ep(&fuzz_side);
    uct_rkey_t   rkey    = (uintptr_t)&fuzz_rkey;
    ucs_status_t status;
    fuzz_op_t   *op;

    if (step == FUZZ_STEP_POST) {
        (void)xshm_ep_atomic64_post(ep, UCT_ATOMIC_OP_ADD, 1, FUZZ_ADDRESS,
                                    rkey);
        return;
    }

    op = fuzz_op_new(is_long ? sizeof(uint64_t) : sizeof(uint32_t));
    if (step == FUZZ_STEP_FETCH) {
        status = is_long ?
                         xshm_ep_atomic64_fetch(ep, UCT_ATOMIC_OP_ADD, 1,
                                                (uint64_t *)op->buffer,
                                                FUZZ_ADDRESS, rkey, &op->comp) :
                         xshm_ep_atomic32_fetch(ep, UCT_ATOMIC_OP_ADD, 1,
                                                (uint32_t *)op->buffer,
                                                FUZZ_ADDRESS, rkey, &op->comp);
    } else {
        status = is_long ? xshm_ep_atomic_cswap64(ep, 1, 2, FUZZ_ADDRESS, rkey,
                                                  (uint64_t *)op->buffer,
                                                  &op->comp) :
                           xshm_ep_atomic_cswap32(ep, 1, 2, FUZZ_ADDRESS, rkey,
                                                  (uint32_t *)op->buffer,
                                                  &op->comp);
    }
    fuzz_op_begun(op, status);
}

static void fuzz_flush(void)
{
    fuzz_op_t *op = fuzz_op_new(0);

    fuzz_op_begun(op, xshm_ep_flush(fuzz_side_ep(&fuzz_side), 0, &op->comp));
}

/* As a target would, but for what the input wants */
static void fuzz_answer(fuzz_input_t *input, unsigned step)
{
    xshm_abi_return_t *ret  = fuzz_side.ret;
    xshm_ring_tx_t    *ring = &fuzz_side.tx.ring;
    uint32_t           sent = xshm_rma_mark(&fuzz_side.peer);
    uint32_t           pending;

    switch (step) {
    case FUZZ_STEP_CONSUME:
        pending       = ring->produced - ring->consumed;
        ret->consumed = ring->consumed +
                        ((uint32_t)fuzz_take(input, 1) % (pending + 1));
        break;
    case FUZZ_STEP_CONSUMED:
        ret->consumed = (uint32_t)fuzz_take(input, 4);
        break;
    case FUZZ_STEP_REFUSE:
        ret->refused_op[ret->refused++ % XSHM_ABI_NUM_REFUSED] =
                sent - (uint32_t)fuzz_take(input, 1) % 8;
        break;
    case FUZZ_STEP_REFUSED:
        ret->refused = (uint32_t)fuzz_take(input, 4);
        break;
    case FUZZ_STEP_REFUSED_OP:
        ret->refused_op[fuzz_take(input, 1) % XSHM_ABI_NUM_REFUSED] =
                (uint32_t)fuzz_take(input, 4);
        break;
    default:
        memset(ret->reply, (int)fuzz_take(input, 1), sizeof(ret->reply));
        break;
    }
}

static void fuzz_step(fuzz_input_t *input)
{
    unsigned step = (unsigned)fuzz_take(input, 1) % FUZZ_STEP_LAST;

    switch (step) {
    case FUZZ_STEP_PUT_SHORT:
    case FUZZ_STEP_PUT_BCOPY:
    case FUZZ_STEP_PUT_ZCOPY:
        fuzz_put(input, step);
        break;
    case FUZZ_STEP_GET_BCOPY:
    case FUZZ_STEP_GET_ZCOPY:
        fuzz_get(input, step);
        break;
    case FUZZ_STEP_POST:
    case FUZZ_STEP_FETCH:
    case FUZZ_STEP_CSWAP:
        fuzz_atomic(input, step);
        break;
    case FUZZ_STEP_FLUSH:
        fuzz_flush();
        break;
    case FUZZ_STEP_FENCE:
        (void)xshm_ep_fence(fuzz_side_ep(&fuzz_side), 0);
        break;
    case FUZZ_STEP_PROGRESS:
        (void)xshm_rma_progress(&fuzz_side.iface);
        break;
    default:
        fuzz_answer(input, step);
        break;
    }
}

/* Replies lie in the reply room, no two at the same place */
static void fuzz_check_replies(void)
{
    uint8_t is_used[XSHM_ABI_REPLY_SIZE / XSHM_ABI_LINE_SIZE] = {0};
    const xshm_rma_peer_t *rma = fuzz_side.peer.rma;
    const xshm_rma_sent_t *entry;
    uint32_t               i, line, end;

    if (rma == NULL) {
        return;
    }

    fuzz_check(rma->sent - rma->done <= rma->num_entries);
    for (i = rma->done; i != rma->sent; ++i) {
        entry = &rma->entries[i % rma->num_entries];
        end   = entry->reply + entry->length;
        fuzz_check((entry->length == 0) || (end <= XSHM_ABI_REPLY_SIZE));
        for (line = entry->reply / XSHM_ABI_LINE_SIZE;
             (entry->length > 0) && (line * XSHM_ABI_LINE_SIZE < end); ++line) {
            fuzz_check(!is_used[line]);
            is_used[line] = 1;
        }
    }
}

/* What has begun has ended, once */
static void fuzz_check_ended(void)
{
    unsigned i;

    for (i = 0; i < fuzz_num_ops; ++i) {
        fuzz_check(fuzz_ops[i].num_ended == 1);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};

    if (fuzz_side.ring == NULL) {
        ucs_global_opts.log_component.log_level = UCS_LOG_LEVEL_FATAL;
        fuzz_side_init(&fuzz_side);
        fuzz_rkey.key.length = UINT64_MAX;
        fuzz_rkey.key.rights = XSHM_RIGHT_ALL;
    }

    fuzz_num_ops    = 0;
    fuzz_is_closing = 0;
    fuzz_side_open(&fuzz_side, (uint32_t)fuzz_take(&input, 4));
    while ((input.size > 0) && (fuzz_num_ops < FUZZ_MAX_OPS)) {
        fuzz_step(&input);
        fuzz_check_replies();
    }

    fuzz_is_closing = 1;
    fuzz_side_close(&fuzz_side);
    fuzz_check_ended();
    return 0;
}
