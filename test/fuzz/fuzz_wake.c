/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * One end of a channel whose peer writes anything into its line for waking up:
 * that line is only read, this side's own says what it should, and however the
 * peer's changes, each piece of news costs one notification at most, and none
 * before the peer was heard.
 */

#include "fuzz_input.h"

#include <uct/xshm/channel/sleeper.h>
#include <uct/xshm/service/barrier.h>

#include <ucs/sys/compiler.h>

#include <unistd.h>


#define FUZZ_RING_SIZE XSHM_ABI_RING_MIN_SIZE
#define FUZZ_NUM_LINES (FUZZ_RING_SIZE / XSHM_ABI_LINE_SIZE)


enum {
    FUZZ_OP_LINE,        /* The peer writes a field of its line */
    FUZZ_OP_FALL_ASLEEP, /* It does what is right */
    FUZZ_OP_NEWS,
    FUZZ_OP_ATTENTION,
    FUZZ_OP_BEGIN,
    FUZZ_OP_END,
    FUZZ_OP_ASK,
    FUZZ_OP_LEAVE,
    FUZZ_OP_LAST
};


/* The producer's end: that of the consumer has the same sleeper */
typedef struct fuzz_end {
    xshm_ring_tx_t tx; /* The first, as in xshm_tx_t */
    xshm_sleeper_t sleeper;
    int            is_heard;    /* The peer has asked to be woken */
    uint32_t       last_served; /* Of its sleeps, when it was last notified */
} fuzz_end_t;


static xshm_abi_wake_t  *fuzz_peer;      /* As the peer has it */
static xshm_abi_wake_t  *fuzz_peer_seen; /* As this side has it */
static xshm_abi_wake_t   fuzz_own;
static xshm_abi_return_t fuzz_ret;
static uint8_t           fuzz_ring[FUZZ_RING_SIZE]
        __attribute__((aligned(XSHM_ABI_LINE_SIZE)));
static uint64_t fuzz_dirty[FUZZ_NUM_LINES / 64];
static unsigned fuzz_num_notified;


static void fuzz_notify(xshm_conn_t *conn)
{
    (void)conn;
    ++fuzz_num_notified;
}

static const xshm_platform_ops_t fuzz_ops      = {.notify = fuzz_notify};
static xshm_platform_t           fuzz_platform = {.ops = &fuzz_ops};
static xshm_mailbox_t            fuzz_mailbox  = {.platform = &fuzz_platform};
static xshm_conn_t               fuzz_conn     = {.platform = &fuzz_platform};


/* The same page twice: whoever writes into the peer's line dies of it */
static void fuzz_map_line(void)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    fuzz_check((fd >= 0) && (ftruncate(fd, XSHM_ABI_PAGE_SIZE) == 0));
    fuzz_peer = mmap(NULL, XSHM_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE,
                     MAP_SHARED, fd, 0);
    fuzz_peer_seen =
            mmap(NULL, XSHM_ABI_PAGE_SIZE, PROT_READ, MAP_SHARED, fd, 0);
    fuzz_check((fuzz_peer != MAP_FAILED) && (fuzz_peer_seen != MAP_FAILED));
    close(fd);
}

static void fuzz_hook(void *ring)
{
    xshm_sleeper_wake_peer(&ucs_container_of(ring, fuzz_end_t, tx)->sleeper);
}

static void fuzz_start(fuzz_end_t *end)
{
    memset(fuzz_peer, 0, sizeof(*fuzz_peer));
    memset(&fuzz_own, 0, sizeof(fuzz_own));
    memset(&fuzz_ret, 0, sizeof(fuzz_ret));
    memset(fuzz_ring, 0, sizeof(fuzz_ring));
    memset(fuzz_dirty, 0, sizeof(fuzz_dirty));
    xshm_ring_tx_init(&end->tx, fuzz_ring, FUZZ_RING_SIZE, fuzz_dirty,
                      &fuzz_ret);
    xshm_sleeper_init(&end->sleeper, &fuzz_mailbox, &fuzz_own, fuzz_peer_seen);
    xshm_sleeper_set_conn(&end->sleeper, &fuzz_conn);
}

static void fuzz_write_line(fuzz_input_t *input)
{
    uint32_t *fields[] = {&fuzz_peer->sleeps, &fuzz_peer->port,
                          &fuzz_peer->wants, &fuzz_peer->notifies};
    size_t    field    = fuzz_take(input, 1) % ucs_static_array_size(fields);

    *fields[field] = (uint32_t)fuzz_take(input, 4);
}

/* There is always room: the peer gives everything back */
static void fuzz_news(fuzz_end_t *end)
{
    xshm_abi_record_t record = {{.type = XSHM_RECORD_AM}};
    uint32_t          sleeps = fuzz_peer->sleeps;
    int               is_due =
            end->is_heard && (sleeps % 2 == 1) && (sleeps != end->last_served);
    unsigned before = fuzz_num_notified;

    fuzz_ret.consumed = end->tx.produced;
    xshm_ring_tx_take_back(&end->tx);
    fuzz_check(xshm_ring_tx_reserve_line(&end->tx, XSHM_ABI_UNIT_SIZE) != NULL);
    xshm_ring_tx_commit_line(&end->tx, record);

    fuzz_check(fuzz_num_notified == before + (is_due ? 1 : 0));
    end->last_served = is_due ? sleeps : end->last_served;
}

static void fuzz_attention(fuzz_end_t *end)
{
    xshm_sleeper_handle_attention(&end->sleeper, &end->tx.hook, fuzz_hook);
    end->is_heard = (fuzz_peer->wants != 0);
    fuzz_check(fuzz_own.notifies == fuzz_peer->wants);
    fuzz_check(end->tx.hook == (end->is_heard ? fuzz_hook : NULL));
}

/* A new number each time, since the last one may have been served */
static void fuzz_begin(fuzz_end_t *end)
{
    uint32_t before = fuzz_own.sleeps;

    xshm_sleep_begin(&end->sleeper.sleep);
    fuzz_check((fuzz_own.sleeps % 2 == 1) && (fuzz_own.sleeps != before));
}

static void fuzz_end_sleep(fuzz_end_t *end)
{
    xshm_sleep_end(&end->sleeper.sleep);
    fuzz_check(fuzz_own.sleeps % 2 == 0);
}

static void fuzz_ask(fuzz_end_t *end)
{
    uint32_t before = end->sleeper.last_wants;

    xshm_sleeper_ask(&end->sleeper);
    fuzz_check((fuzz_own.wants != 0) && (fuzz_own.wants != before));
}

static void fuzz_step(fuzz_end_t *end, fuzz_input_t *input)
{
    switch (fuzz_take(input, 1) % FUZZ_OP_LAST) {
    case FUZZ_OP_LINE:
        fuzz_write_line(input);
        break;
    case FUZZ_OP_FALL_ASLEEP:
        fuzz_peer->sleeps = (fuzz_peer->sleeps + 1) | 1;
        break;
    case FUZZ_OP_NEWS:
        fuzz_news(end);
        break;
    case FUZZ_OP_ATTENTION:
        fuzz_attention(end);
        break;
    case FUZZ_OP_BEGIN:
        fuzz_begin(end);
        break;
    case FUZZ_OP_END:
        fuzz_end_sleep(end);
        break;
    case FUZZ_OP_ASK:
        fuzz_ask(end);
        break;
    default:
        xshm_sleeper_leave(&end->sleeper);
        fuzz_check(fuzz_own.wants == 0);
        break;
    }
}

/* Only the very number that this side wants is an acknowledgement */
static void fuzz_check_acked(const fuzz_end_t *end)
{
    fuzz_check(
            xshm_sleep_is_acked(&end->sleeper.sleep) ==
            ((fuzz_own.wants != 0) && (fuzz_peer->notifies == fuzz_own.wants)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    fuzz_end_t   end   = {0};

    if (fuzz_peer == NULL) {
        fuzz_map_line();
        fuzz_check(xshm_barrier_init());
    }

    fuzz_start(&end);
    while (input.size > 0) {
        fuzz_step(&end, &input);
        fuzz_check_acked(&end);
    }
    return 0;
}
