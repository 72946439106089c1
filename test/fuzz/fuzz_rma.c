/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Records that access memory, and keys, from a peer that may write anything: what
 * docs/abi.md allows is done, just that, and all else refused. Around each
 * registration lies memory that is not, and around what can be mapped nothing.
 */

#include "fuzz_side.h"


#define FUZZ_NUM_REGS 4
#define FUZZ_GAP      256
#define FUZZ_REG_SIZE 256
#define FUZZ_STRIDE   (FUZZ_GAP + FUZZ_REG_SIZE)
#define FUZZ_ARENA    (FUZZ_NUM_REGS * FUZZ_STRIDE + FUZZ_GAP)
#define FUZZ_SECRET   0xa5 /* What is not to be read or changed */

/* What is registered of memory that can be mapped, and accesses to it */
#define FUZZ_PART_PLACE   1024
#define FUZZ_PART_SIZE    2048
#define FUZZ_NUM_ACCESSES 4


static const unsigned fuzz_rights[FUZZ_NUM_REGS] = {XSHM_RIGHT_PUT,
                                                    XSHM_RIGHT_GET,
                                                    XSHM_RIGHT_ATOMIC,
                                                    XSHM_RIGHT_ALL};

static uint8_t           *fuzz_arena;
static uint8_t            fuzz_before[FUZZ_ARENA];
static xshm_reg_t        *fuzz_regs[FUZZ_NUM_REGS];
static uint8_t           *fuzz_ring;
static xshm_abi_return_t *fuzz_ret;
static fuzz_side_t        fuzz_side;
static uint8_t           *fuzz_page; /* Memory that can be mapped */
static xshm_reg_t        *fuzz_part; /* Registration in it */


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

/* What a record asks for, as it stands in the ring */
typedef struct fuzz_request {
    xshm_abi_rma_t      rma;
    xshm_abi_operands_t operands; /* ATOMIC, if it has two */
    uint8_t             type;
    uint8_t             op;
    uint32_t            data_size; /* Behind the first part */
    int                 is_whole;  /* It has that part */
} fuzz_request_t;

static int fuzz_may_reply(const xshm_abi_rma_t *rma)
{
    return ((rma->reply % 8) == 0) &&
           ((uint64_t)rma->reply + rma->length <= XSHM_ABI_REPLY_SIZE);
}

/* Is it as docs/abi.md says? */
static int fuzz_is_formed(const fuzz_request_t *request)
{
    const xshm_abi_rma_t *rma = &request->rma;

    if (!request->is_whole || (rma->unused != 0)) {
        return 0;
    }

    switch (request->type) {
    case XSHM_RECORD_PUT:
        return (request->op == 0) && (rma->reply == XSHM_ABI_NO_REPLY) &&
               (rma->length == request->data_size);
    case XSHM_RECORD_GET:
        return (request->op == 0) && (request->data_size == 0) &&
               fuzz_may_reply(rma);
    default:
        return (request->data_size == sizeof(request->operands)) &&
               (request->op <= 5) &&
               ((request->op == 5) || (request->operands.compare == 0)) &&
               ((rma->length == 4) || (rma->length == 8)) &&
               ((rma->address % rma->length) == 0) &&
               ((rma->reply == XSHM_ABI_NO_REPLY) || fuzz_may_reply(rma));
    }
}

/* Where in the arena it is done, or NULL: it is to be refused. Just one right is
 * for each type. */
static uint8_t *fuzz_where(const fuzz_request_t *request)
{
    static const unsigned rights[] = {XSHM_RIGHT_PUT, XSHM_RIGHT_GET,
                                      XSHM_RIGHT_ATOMIC};
    const xshm_abi_rma_t *rma      = &request->rma;
    uint64_t              offset;
    unsigned              i;

    for (i = 0; i < FUZZ_NUM_REGS; ++i) {
        offset = rma->address - (uintptr_t)fuzz_base(i);
        if (fuzz_is_formed(request) && (rma->id == fuzz_regs[i]->id) &&
            (rma->slot == fuzz_regs[i]->slot) && (offset <= FUZZ_REG_SIZE) &&
            (rma->length <= FUZZ_REG_SIZE - offset) &&
            (fuzz_rights[i] & rights[request->type - XSHM_RECORD_PUT])) {
            return fuzz_base(i) + offset;
        }
    }

    return NULL;
}

static uint64_t fuzz_atomic_result(const fuzz_request_t *request, uint64_t old)
{
    uint64_t value = request->operands.value;
    uint64_t mask  = (request->rma.length == 4) ? UINT32_MAX : UINT64_MAX;

    switch (request->op) {
    case 0:
        return old + value;
    case 1:
        return old & value;
    case 2:
        return old | value;
    case 3:
        return old ^ value;
    case 4:
        return value;
    default:
        return (((old ^ request->operands.compare) & mask) == 0) ? value : old;
    }
}

/* What it does, to the copies of arena and reply room. The data of a put is 1. */
static void
fuzz_model(const fuzz_request_t *request, const uint8_t *where, uint8_t *reply)
{
    uint8_t *copy = fuzz_before + (where - fuzz_arena);
    uint64_t old  = 0;
    uint64_t value;

    switch (request->type) {
    case XSHM_RECORD_PUT:
        memset(copy, 1, request->rma.length);
        break;
    case XSHM_RECORD_GET:
        memcpy(reply + request->rma.reply, copy, request->rma.length);
        break;
    default:
        memcpy(&old, copy, request->rma.length);
        value = fuzz_atomic_result(request, old);
        memcpy(copy, &value, request->rma.length);
        if (request->rma.reply != XSHM_ABI_NO_REPLY) {
            memcpy(reply + request->rma.reply, &old, request->rma.length);
        }
        break;
    }
}

/* A likely request, of which the input may change anything */
static void fuzz_fill(fuzz_input_t *input, xshm_abi_rma_t *rma)
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
        /* All that there is, to anywhere */
        rma->address = (uintptr_t)fuzz_base(index);
        rma->length  = FUZZ_REG_SIZE;
        rma->reply &= ~7u;
        break;
    case 8:
        rma->unused = (uint32_t)fuzz_take(input, 1);
        break;
    default:
        /* As it must be, but for the right and the range */
        rma->address =
                (uintptr_t)fuzz_base(index) + (rma->length % FUZZ_REG_SIZE);
        rma->length &= ~7u;
        rma->address &= ~7ul;
        rma->reply &= ~7u;
        break;
    }
}

/* The parts that belong together mostly do */
static void fuzz_make(fuzz_input_t *input, fuzz_request_t *request)
{
    unsigned how = (unsigned)fuzz_take(input, 1);

    request->type      = (uint8_t)(XSHM_RECORD_PUT + (fuzz_take(input, 1) % 3));
    request->op        = 0;
    request->data_size = 0;
    fuzz_fill(input, &request->rma);
    if (request->type == XSHM_RECORD_PUT) {
        request->data_size = request->rma.length;
        request->rma.reply = XSHM_ABI_NO_REPLY;
    } else if (request->type == XSHM_RECORD_ATOMIC) {
        request->op             = (uint8_t)fuzz_take(input, 1) % 8;
        request->data_size      = sizeof(request->operands);
        request->rma.length     = ((how & 1) != 0) ? 4 : 8;
        request->operands.value = fuzz_take(input, 2);
        request->operands.compare =
                (request->op == 5) ? fuzz_take(input, 1) % 2 : 0;
        if ((how & 2) != 0) {
            request->rma.reply = XSHM_ABI_NO_REPLY;
        }
    }

    switch ((how >> 2) % 16) {
    case 0:
        request->op = (uint8_t)fuzz_take(input, 1);
        break;
    case 1:
        request->data_size = (uint32_t)fuzz_take(input, 2) % 600;
        break;
    case 2:
        request->operands.compare = fuzz_take(input, 8);
        break;
    case 3:
        request->rma.length = (uint32_t)fuzz_take(input, 2);
        break;
    case 4:
        request->rma.reply = (uint32_t)fuzz_take(input, 4);
        break;
    case 5:
        request->is_whole = 0;
        break;
    default:
        break;
    }
}

/* Write it, as far as there is room for it before the end of the ring */
static void fuzz_write(const xshm_rx_t *rx, fuzz_request_t *request,
                       xshm_abi_record_t *record)
{
    uint8_t *payload = (uint8_t *)xshm_ring_rx_payload(&rx->ring);
    size_t room = (size_t)(rx->ring.end - rx->ring.pos) - XSHM_RING_HEADER_SIZE;
    size_t size = sizeof(request->rma) + request->data_size;

    if (!request->is_whole || (room < sizeof(request->rma))) {
        size = (room < sizeof(request->rma)) ? room : sizeof(request->rma) - 1;
        request->is_whole = 0;
    } else if (size > room) {
        size               = room;
        request->data_size = (uint32_t)(room - sizeof(request->rma));
    }

    memset(payload, 1, room);
    if (request->is_whole) {
        memcpy(payload, &request->rma, sizeof(request->rma));
    }
    if ((request->type == XSHM_RECORD_ATOMIC) &&
        (request->data_size == sizeof(request->operands))) {
        memcpy(payload + sizeof(request->rma), &request->operands,
               sizeof(request->operands));
    }
    record->type = request->type;
    record->id   = request->op;
    record->size = (uint32_t)size;
}

/* Just that happens which the record asks for, or nothing */
static void fuzz_step(xshm_rx_t *rx, fuzz_input_t *input)
{
    static uint8_t    reply[XSHM_ABI_REPLY_SIZE];
    xshm_abi_record_t record  = {{.type = 0}};
    fuzz_request_t    request = {.is_whole = 1};
    uint32_t          refused = fuzz_ret->refused;
    uint32_t          num_ops = rx->num_ops;
    uint8_t          *where;

    fuzz_make(input, &request);
    fuzz_write(rx, &request, &record);
    memcpy(reply, fuzz_ret->reply, sizeof(reply));
    where = fuzz_where(&request);
    if (where != NULL) {
        fuzz_model(&request, where, reply);
    }

    xshm_rma_execute(rx, &record);
    fuzz_check(rx->num_ops == num_ops + 1);
    fuzz_check(fuzz_ret->refused == refused + (where == NULL));
    fuzz_check(
            (where != NULL) ||
            (fuzz_ret->refused_op[refused % XSHM_ABI_NUM_REFUSED] == num_ops));
    fuzz_check(!memcmp(fuzz_arena, fuzz_before, FUZZ_ARENA));
    fuzz_check(!memcmp(fuzz_ret->reply, reply, sizeof(reply)));
}

/* Memory that can be mapped: a page between two that nobody may touch */
static ucs_status_t fuzz_region_alloc(xshm_platform_t          *platform,
                                      const xshm_region_spec_t *spec,
                                      xshm_region_t           **region_p)
{
    static xshm_region_t region;

    (void)platform;

    region.address = fuzz_map(spec->length, XSHM_ABI_PAGE_SIZE);
    region.length  = spec->length;
    region.fd      = -1;
    region.granted = XSHM_ABI_NO_DOMAIN;
    *region_p      = &region;
    return UCS_OK;
}

static const xshm_platform_ops_t fuzz_region_ops = {.region_alloc =
                                                            fuzz_region_alloc};

/* A page, of which a part is registered once more */
static void fuzz_init_region(void)
{
    xshm_region_spec_t spec = {.length = XSHM_ABI_PAGE_SIZE,
                               .rights = XSHM_RIGHT_ALL};
    xshm_reg_t        *all;

    fuzz_side_init(&fuzz_side);
    fuzz_check(xshm_reg_alloc(&fuzz_region_ops, &spec, &all) == UCS_OK);
    fuzz_page = (uint8_t *)(uintptr_t)all->base;
    fuzz_check(xshm_reg_add(fuzz_page + FUZZ_PART_PLACE, FUZZ_PART_SIZE,
                            XSHM_RIGHT_ALL, 0, &fuzz_part) == UCS_OK);
}

static size_t fuzz_pack(void *dest, void *arg)
{
    size_t length = *(size_t *)arg;

    memset(dest, 1, length);
    return length;
}

static void fuzz_unpack(void *arg, const void *data, size_t length)
{
    memcpy(arg, data, length);
}

/* By the user's functions. Those that are not done directly go nowhere. */
static void fuzz_access(fuzz_input_t *input, uct_rkey_t rkey, uint64_t address)
{
    static uint8_t buffer[XSHM_RMA_MAX_GET];
    uct_ep_h       ep     = fuzz_side_ep(&fuzz_side);
    size_t         length = (size_t)fuzz_take(input, 2) % 600;
    uct_iov_t      iov    = {.buffer = buffer, .length = length, .count = 1};
    void          *ptr;

    switch (fuzz_take(input, 1) % 8) {
    case 0:
        (void)xshm_ep_put_short(ep, buffer, (unsigned)length, address, rkey);
        break;
    case 1:
        (void)xshm_ep_put_bcopy(ep, fuzz_pack, &length, address, rkey);
        break;
    case 2:
        (void)xshm_ep_put_zcopy(ep, &iov, 1, address, rkey, NULL);
        break;
    case 3:
        (void)xshm_ep_get_bcopy(ep, fuzz_unpack, buffer, length, address, rkey,
                                NULL);
        break;
    case 4:
        (void)xshm_ep_get_zcopy(ep, &iov, 1, address, rkey, NULL);
        break;
    case 5:
        (void)xshm_ep_atomic64_post(ep, UCT_ATOMIC_OP_ADD, 1, address, rkey);
        break;
    case 6:
        (void)xshm_ep_atomic_cswap32(ep, 0, 1, address, rkey,
                                     (uint32_t *)buffer, NULL);
        break;
    default:
        (void)xshm_rkey_ptr(NULL, rkey, NULL, address, &ptr);
        break;
    }
}

/* Only what the key covers, if it says that it may be written */
static void fuzz_check_page(const xshm_abi_key_t *key)
{
    uint64_t offset;
    unsigned i;

    for (i = 0; i < XSHM_ABI_PAGE_SIZE; ++i) {
        if (fuzz_page[i] == FUZZ_SECRET) {
            continue;
        }

        offset = (uintptr_t)&fuzz_page[i] - key->base;
        fuzz_check(offset < key->length);
        fuzz_check(key->rights & (XSHM_RIGHT_PUT | XSHM_RIGHT_ATOMIC));
    }
}

/* Accesses through a key of which the input has changed some bytes. What the
 * owner would refuse is looked at in the steps; here it must be what is mapped. */
static void fuzz_key(fuzz_input_t *input)
{
    unsigned       count = (unsigned)fuzz_take(input, 1) % 4;
    uint64_t       address;
    uct_rkey_t     rkey;
    xshm_abi_key_t key;
    void          *handle;
    unsigned       i;

    xshm_reg_key(fuzz_part, xshm_process_name(), XSHM_DOMAIN_SAME, &key);
    for (i = 0; i < count; ++i) {
        ((uint8_t *)&key)[fuzz_take(input, 1) % sizeof(key)] ^=
                (uint8_t)fuzz_take(input, 1);
    }
    if (xshm_rkey_unpack(NULL, &key, &rkey, &handle) != UCS_OK) {
        return;
    }

    fuzz_check(xshm_key_is_valid(&key));
    memset(fuzz_page, FUZZ_SECRET, XSHM_ABI_PAGE_SIZE);
    fuzz_side_open(&fuzz_side, 0);
    for (i = 0; i < FUZZ_NUM_ACCESSES; ++i) {
        address = key.base + (int64_t)(int16_t)fuzz_take(input, 2);
        fuzz_access(input, rkey, address);
    }
    fuzz_check_page(&key);
    fuzz_side_close(&fuzz_side);
    fuzz_check(xshm_rkey_release(NULL, rkey, handle) == UCS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    xshm_rx_t    rx    = {.num_ops = 0};

    if (fuzz_arena == NULL) {
        ucs_global_opts.log_component.log_level = UCS_LOG_LEVEL_FATAL;
        fuzz_init();
        fuzz_init_region();
    }

    fuzz_reset();
    xshm_ring_rx_init(&rx.ring, fuzz_ring, FUZZ_RING_SIZE, fuzz_ret);
    fuzz_key(&input);
    while (input.size > 0) {
        fuzz_step(&rx, &input);
    }
    return 0;
}
