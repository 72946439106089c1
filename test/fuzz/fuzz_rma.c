/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Records that access memory, and keys, from a peer that may write anything:
 * nothing changes but what is registered with that right, and nothing is read
 * but what is. Around each registration lies memory that is not.
 */

#include "fuzz_input.h"

#include <uct/xshm/base/rma.h>
#include <uct/xshm/memory/registry.h>


#define FUZZ_NUM_REGS  4
#define FUZZ_GAP       256
#define FUZZ_REG_SIZE  256
#define FUZZ_STRIDE    (FUZZ_GAP + FUZZ_REG_SIZE)
#define FUZZ_ARENA     (FUZZ_NUM_REGS * FUZZ_STRIDE + FUZZ_GAP)
#define FUZZ_SECRET    0xa5 /* What no reply may contain */
#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE


static const unsigned fuzz_rights[FUZZ_NUM_REGS] = {XSHM_RIGHT_PUT,
                                                    XSHM_RIGHT_GET,
                                                    XSHM_RIGHT_ATOMIC,
                                                    XSHM_RIGHT_ALL};

static uint8_t           *fuzz_arena;
static uint8_t            fuzz_before[FUZZ_ARENA];
static xshm_reg_t        *fuzz_regs[FUZZ_NUM_REGS];
static uint8_t           *fuzz_ring;
static xshm_abi_return_t *fuzz_ret;


static uint8_t *fuzz_base(unsigned index)
{
    return fuzz_arena + FUZZ_GAP + (index * FUZZ_STRIDE);
}

static void fuzz_init(void)
{
    unsigned i;

    fuzz_ring  = fuzz_map(FUZZ_RING_SIZE, XSHM_ABI_PAGE_SIZE);
    fuzz_ret   = (xshm_abi_return_t *)fuzz_map(XSHM_ABI_RETURN_SIZE,
                                               XSHM_ABI_PAGE_SIZE);
    fuzz_arena = fuzz_map(XSHM_ABI_PAGE_SIZE, XSHM_ABI_PAGE_SIZE);
    for (i = 0; i < FUZZ_NUM_REGS; ++i) {
        fuzz_check(xshm_reg_add(fuzz_base(i), FUZZ_REG_SIZE, fuzz_rights[i], 0,
                                &fuzz_regs[i]) == UCS_OK);
    }
}

/* What may be read is zero at first, all else is the secret */
static void fuzz_reset(void)
{
    unsigned i;

    memset(fuzz_arena, FUZZ_SECRET, FUZZ_ARENA);
    for (i = 0; i < FUZZ_NUM_REGS; ++i) {
        if (fuzz_rights[i] & (XSHM_RIGHT_GET | XSHM_RIGHT_ATOMIC)) {
            memset(fuzz_base(i), 0, FUZZ_REG_SIZE);
        }
    }
    memcpy(fuzz_before, fuzz_arena, FUZZ_ARENA);
    memset(fuzz_ret, 0, sizeof(*fuzz_ret));
}

/* Only what the right of each registration allows has changed */
static void fuzz_check_arena(void)
{
    size_t   i, place;
    unsigned index;

    for (i = 0; i < FUZZ_ARENA; ++i) {
        if (fuzz_arena[i] == fuzz_before[i]) {
            continue;
        }

        fuzz_check(i >= FUZZ_GAP);
        index = (unsigned)((i - FUZZ_GAP) / FUZZ_STRIDE);
        place = (i - FUZZ_GAP) % FUZZ_STRIDE;
        fuzz_check((index < FUZZ_NUM_REGS) && (place < FUZZ_REG_SIZE));
        fuzz_check(fuzz_rights[index] & (XSHM_RIGHT_PUT | XSHM_RIGHT_ATOMIC));
    }
}

/* A likely request, of which the input may change anything */
static void fuzz_request(fuzz_input_t *input, xshm_abi_rma_t *rma)
{
    unsigned index = (unsigned)fuzz_take(input, 1) % FUZZ_NUM_REGS;

    rma->id   = fuzz_regs[index]->id;
    rma->slot = fuzz_regs[index]->slot;
    rma->address =
            (uintptr_t)fuzz_base(index) + (int64_t)(int16_t)fuzz_take(input, 2);
    rma->length = (uint32_t)fuzz_take(input, 2) % 600;
    rma->reply  = (uint32_t)fuzz_take(input, 2) % 5000;
    rma->unused = 0;
    switch (fuzz_take(input, 1) % 16) {
    case 0:
        rma->id = fuzz_take(input, 8);
        break;
    case 1:
        rma->slot = (uint32_t)fuzz_take(input, 4);
        break;
    case 2:
        rma->address = fuzz_take(input, 8);
        break;
    case 3:
        rma->length = (uint32_t)fuzz_take(input, 4);
        break;
    case 4:
        rma->reply = (uint32_t)fuzz_take(input, 4);
        break;
    case 5:
        rma->length = (uint32_t)fuzz_take(input, 1) % 16;
        rma->reply  = 0;
        break;
    case 6:
    case 7:
    case 8:
        /* All that there is, to anywhere */
        rma->address = (uintptr_t)fuzz_base(index);
        rma->length  = FUZZ_REG_SIZE;
        rma->reply &= ~7u;
        break;
    default:
        /* As it must be, but for the right and the range */
        rma->length &= ~7u;
        rma->address &= ~7ul;
        rma->reply &= ~7u;
        break;
    }
}

/* The data of a put never is the secret */
static void fuzz_step(xshm_rx_t *rx, fuzz_input_t *input)
{
    xshm_abi_record_t record  = {{.type = 0}};
    uint8_t          *payload = (uint8_t *)xshm_ring_rx_payload(&rx->ring);
    size_t room = (size_t)(rx->ring.end - rx->ring.pos) - XSHM_RING_HEADER_SIZE;
    uint32_t refused = fuzz_ret->refused;
    uint32_t num_ops = rx->num_ops;
    size_t   i;

    record.type = (uint8_t)(XSHM_RECORD_PUT + (fuzz_take(input, 1) % 3));
    record.id   = (uint8_t)fuzz_take(input, 1) % 8;
    record.size =
            (uint32_t)(sizeof(xshm_abi_rma_t) + (fuzz_take(input, 2) % 300));
    if ((fuzz_take(input, 1) % 4) == 0) {
        record.size = sizeof(xshm_abi_rma_t) + sizeof(xshm_abi_operands_t);
    } else if ((record.size % 16) == 0) {
        record.size %= 64;
    }
    record.size = (record.size < room) ? record.size : (uint32_t)room;

    memset(payload, 1, room);
    if (room >= sizeof(xshm_abi_rma_t)) {
        fuzz_request(input, (xshm_abi_rma_t *)payload);
    }

    xshm_rma_execute(rx, &record);
    fuzz_check(rx->num_ops == num_ops + 1);
    fuzz_check((fuzz_ret->refused == refused) ||
               ((fuzz_ret->refused == refused + 1) &&
                (fuzz_ret->refused_op[refused % XSHM_ABI_NUM_REFUSED] ==
                 num_ops)));
    fuzz_check_arena();
    for (i = 0; i < XSHM_ABI_REPLY_SIZE; ++i) {
        fuzz_check(fuzz_ret->reply[i] != FUZZ_SECRET);
    }
    /* Else atomics could make the secret of what may be read */
    memcpy(fuzz_arena, fuzz_before, FUZZ_ARENA);
}

static void fuzz_key(fuzz_input_t *input)
{
    uct_rkey_t     rkey;
    xshm_abi_key_t key;
    void          *handle;

    xshm_reg_key(fuzz_regs[0], 1, XSHM_DOMAIN_SAME, &key);
    ((uint8_t *)&key)[fuzz_take(input, 1) % sizeof(key)] ^=
            (uint8_t)fuzz_take(input, 1);
    if (xshm_rkey_unpack(NULL, &key, &rkey, &handle) == UCS_OK) {
        fuzz_check(xshm_key_is_valid(&key));
        fuzz_check(xshm_rkey_release(NULL, rkey, handle) == UCS_OK);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    xshm_rx_t    rx    = {.num_ops = 0};

    if (fuzz_arena == NULL) {
        ucs_global_opts.log_component.log_level = UCS_LOG_LEVEL_FATAL;
        fuzz_init();
    }

    fuzz_reset();
    xshm_ring_rx_init(&rx.ring, fuzz_ring, FUZZ_RING_SIZE, fuzz_ret);
    fuzz_key(&input);
    while (input.size > 0) {
        fuzz_step(&rx, &input);
    }
    return 0;
}
