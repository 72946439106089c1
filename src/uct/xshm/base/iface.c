/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "ep.h"
#include "iface.h"
#include "md.h"
#include "rma.h"
#include "../channel/pair.h"
#include "ring_size.h"
#include "../platform/fdset.h"
#include "../platform/complain.h"

#include <ucs/arch/cpu.h>
#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>
#include <ucs/sys/string.h>

#include <sched.h>


/* What UCP compares transports by. Measured by contrib/bench on the machine of
 * docs/performance.md: the time of a call, a short message one way, and two
 * copies at once through a ring. */
#define XSHM_IFACE_OVERHEAD  10e-9
#define XSHM_IFACE_LATENCY   40e-9
#define XSHM_IFACE_BANDWIDTH (9000.0 * UCS_MBYTE)

/* News of channels that are taken in one call of progress */
#define XSHM_IFACE_MAX_EVENTS 64

/* Buffers of copies that are allocated at a time */
#define XSHM_IFACE_DESC_GROW 64


/* Ways of access to peers' memory */
enum {
    XSHM_IFACE_RMA_AUTO,
    XSHM_IFACE_RMA_MESSAGE,
    XSHM_IFACE_RMA_LAST
};

static const char *xshm_iface_rma_names[] = {[XSHM_IFACE_RMA_AUTO] = "auto",
                                             [XSHM_IFACE_RMA_MESSAGE] =
                                                     "message",
                                             [XSHM_IFACE_RMA_LAST] = NULL};


/* The help texts are not to be torn apart */
/* clang-format off */
ucs_config_field_t xshm_iface_config_table[] = {
    {"", "", NULL, ucs_offsetof(xshm_iface_config_t, super),
     UCS_CONFIG_TYPE_TABLE(uct_iface_config_table)},

    {"RING_SIZE", "56k",
     "Size of the ring through which one peer sends to another, rounded up to\n"
     "whole pages of 4 KiB. Two more pages are needed for each ring. A peer\n"
     "to which nothing was sent, and whose memory was not accessed, has none.\n"
     "\"auto\" is 56 KiB, but 512 KiB for the first 8 that an interface opens\n"
     "on the device \"local\": faster for long messages that are copied.",
     ucs_offsetof(xshm_iface_config_t, ring_size), UCS_CONFIG_TYPE_MEMUNITS},

    {"SEG_SIZE", "auto",
     "Longest message that is sent in one piece. At most about 3/8 of the\n"
     "ring, or of 56 KiB if RING_SIZE is \"auto\"; \"auto\" is 16 KiB, or less\n"
     "for a small ring.",
     ucs_offsetof(xshm_iface_config_t, seg_size), UCS_CONFIG_TYPE_MEMUNITS},

    {"MAX_SHORT", "auto",
     "Longest message that is sent by a plain copy instead of a pack\n"
     "function. At most the segment size; \"auto\" is 2 KiB.",
     ucs_offsetof(xshm_iface_config_t, max_short), UCS_CONFIG_TYPE_MEMUNITS},

    {"NT_MIN", "auto",
     "Shortest message that is written past the processor's caches, if it\n"
     "is sent from the user's buffer (zcopy) or put by message. \"auto\" is\n"
     "4 KiB on processors of AMD, where long messages are 1.6 to 7 times as\n"
     "fast so, and \"inf\" on others.",
     ucs_offsetof(xshm_iface_config_t, nt_min), UCS_CONFIG_TYPE_MEMUNITS},

    {"MAX_POLL", "16",
     "Most messages of one peer that are received in one call of progress.",
     ucs_offsetof(xshm_iface_config_t, max_poll), UCS_CONFIG_TYPE_UINT},

    {"POLL_GAP", "0.2us",
     "Longest time after a message in which progress does not look for the next\n"
     "one. How long it is within that is learned from messages that come alone,\n"
     "as answers do: looking too early takes away the line that the sender is\n"
     "about to write. 0 is to look always.",
     ucs_offsetof(xshm_iface_config_t, poll_gap), UCS_CONFIG_TYPE_TIME},

    {"YIELD", "300",
     "Number of calls of progress in a row that find nothing, after which the\n"
     "processor is offered to other processes. 0 is never.",
     ucs_offsetof(xshm_iface_config_t, yield_after), UCS_CONFIG_TYPE_UINT},

    {"COPY_OUT", "auto",
     "Copy each message out of shared memory before it is handed up, so that\n"
     "the peer cannot change it any more. Messages of one cache line always\n"
     "are. \"auto\" does so for peers in other virtual machines.",
     ucs_offsetof(xshm_iface_config_t, copy_out), UCS_CONFIG_TYPE_ON_OFF_AUTO},

    {"LINGER", "2s",
     "Longest time to wait, when an interface is closed, for peers to accept\n"
     "what was sent to them and not flushed.",
     ucs_offsetof(xshm_iface_config_t, linger), UCS_CONFIG_TYPE_TIME},

    {"SPIN", "20us",
     "Time for which an interface that had messages says that it is busy when\n"
     "it is asked to sleep. A message that comes in this time needs no system\n"
     "call of either side.",
     ucs_offsetof(xshm_iface_config_t, spin), UCS_CONFIG_TYPE_TIME},

    {"STATS", "n",
     "Write counters of each interface and channel to the standard error when\n"
     "the interface is closed, or at the end of the process.",
     ucs_offsetof(xshm_iface_config_t, stats), UCS_CONFIG_TYPE_BOOL},

    {"RMA", "auto",
     "How put, get and atomic operations access a peer's memory. \"auto\" is\n"
     "directly where the memory can be mapped (it was allocated by UCX from\n"
     "xshm, and the device can share it), else by message. \"message\" is\n"
     "always by message, so that the peer's progress carries them out.",
     ucs_offsetof(xshm_iface_config_t, rma),
     UCS_CONFIG_TYPE_ENUM(xshm_iface_rma_names)},

    {NULL}
};
/* clang-format on */


ucs_status_t xshm_iface_query_devices(uct_md_h                   md,
                                      uct_tl_device_resource_t **devices_p,
                                      unsigned                  *num_devices_p)
{
    uct_tl_device_resource_t *devices;
    unsigned                  num_devices = 0;
    char                      reason[XSHM_UNUSABLE_MAX];
    int                       i;

    for (i = 0; xshm_platforms[i] != NULL; ++i) {
    }

    devices = ucs_calloc(i, sizeof(*devices), "xshm_devices");
    if (devices == NULL) {
        ucs_error("xshm: cannot allocate memory for %d devices", i);
        return UCS_ERR_NO_MEMORY;
    }

    for (i = 0; xshm_platforms[i] != NULL; ++i) {
        if (!xshm_platforms[i]->probe(reason, sizeof(reason))) {
            continue;
        }

        /* Only the addresses of network devices are sent to MPI ranks on
         * other nodes */
        ucs_snprintf_zero(devices[num_devices].name,
                          sizeof(devices[num_devices].name), "%s",
                          xshm_platforms[i]->device);
        devices[num_devices].type       = UCT_DEVICE_TYPE_NET;
        devices[num_devices].sys_device = UCS_SYS_DEVICE_ID_UNKNOWN;
        ++num_devices;
    }

    *devices_p     = devices;
    *num_devices_p = num_devices;
    return UCS_OK;
}

static void
xshm_iface_query_rma(const xshm_iface_t *iface, uct_iface_attr_t *attr)
{
    const uint64_t post =
            UCS_BIT(UCT_ATOMIC_OP_ADD) | UCS_BIT(UCT_ATOMIC_OP_AND) |
            UCS_BIT(UCT_ATOMIC_OP_OR) | UCS_BIT(UCT_ATOMIC_OP_XOR);
    const uint64_t fetch =
            post | UCS_BIT(UCT_ATOMIC_OP_SWAP) | UCS_BIT(UCT_ATOMIC_OP_CSWAP);

    attr->cap.put.max_short       = xshm_rma_max_put(iface);
    attr->cap.put.max_bcopy       = xshm_rma_max_put_bcopy(iface);
    attr->cap.put.max_zcopy       = XSHM_IFACE_MAX_ZCOPY;
    attr->cap.put.max_iov         = XSHM_IFACE_MAX_IOV;
    attr->cap.put.opt_zcopy_align = 1;
    attr->cap.put.align_mtu       = 1;
    attr->cap.get.max_bcopy       = XSHM_RMA_MAX_GET;
    attr->cap.get.max_zcopy       = XSHM_IFACE_MAX_ZCOPY;
    attr->cap.get.max_iov         = XSHM_IFACE_MAX_IOV;
    attr->cap.get.opt_zcopy_align = 1;
    attr->cap.get.align_mtu       = 1;
    attr->cap.atomic32.op_flags   = post;
    attr->cap.atomic64.op_flags   = post;
    attr->cap.atomic32.fop_flags  = fetch;
    attr->cap.atomic64.fop_flags  = fetch;
}

static ucs_status_t
xshm_iface_query(uct_iface_h tl_iface, uct_iface_attr_t *attr)
{
    xshm_iface_t *iface = ucs_derived_of(tl_iface, xshm_iface_t);

    uct_base_iface_query(&iface->super, attr);

    attr->cap.flags = UCT_IFACE_FLAG_CONNECT_TO_IFACE |
                      UCT_IFACE_FLAG_AM_SHORT | UCT_IFACE_FLAG_AM_BCOPY |
                      UCT_IFACE_FLAG_AM_ZCOPY | UCT_IFACE_FLAG_PUT_SHORT |
                      UCT_IFACE_FLAG_PUT_BCOPY | UCT_IFACE_FLAG_PUT_ZCOPY |
                      UCT_IFACE_FLAG_GET_BCOPY | UCT_IFACE_FLAG_GET_ZCOPY |
                      UCT_IFACE_FLAG_ATOMIC_CPU | UCT_IFACE_FLAG_PENDING |
                      UCT_IFACE_FLAG_CB_SYNC | UCT_IFACE_FLAG_EP_CHECK |
                      UCT_IFACE_FLAG_ERRHANDLE_PEER_FAILURE;
    attr->cap.am.max_short       = iface->config.max_short;
    attr->cap.am.max_bcopy       = iface->config.seg_size;
    attr->cap.am.max_zcopy       = iface->config.seg_size;
    attr->cap.am.max_hdr         = iface->config.max_hdr;
    attr->cap.am.max_iov         = XSHM_IFACE_MAX_IOV;
    attr->cap.am.opt_zcopy_align = 1;
    attr->cap.am.align_mtu       = 1;
    xshm_iface_query_rma(iface, attr);
    attr->device_addr_len     = xshm_iface_platform(iface)->ops->dev_addr_size;
    attr->iface_addr_len      = sizeof(xshm_iface_addr_t);
    attr->overhead            = XSHM_IFACE_OVERHEAD;
    attr->latency             = ucs_linear_func_make(XSHM_IFACE_LATENCY, 0);
    attr->bandwidth.dedicated = XSHM_IFACE_BANDWIDTH;
    attr->cap.event_flags     = xshm_event_flags(iface);
    return UCS_OK;
}

/* Can memory be shared with somebody? If not, this has said why. */
static int
xshm_iface_has_memory(xshm_iface_t *iface, const uct_device_addr_t *dev_addr)
{
    xshm_platform_t *platform = xshm_iface_platform(iface);

    return (platform->ops->mem_check == NULL) ||
           platform->ops->mem_check(platform, dev_addr,
                                    XSHM_ABI_RING_OFFSET +
                                            iface->config.ring_size);
}

/* Who cannot send, or cannot be asked, has an address that nobody reaches, and
 * reaches nobody: UCX may have another transport, but UCP does not finish to
 * connect when only one of two sides takes that. */
static ucs_status_t
xshm_iface_get_device_address(uct_iface_h tl_iface, uct_device_addr_t *addr)
{
    static const uint8_t nobody[XSHM_DEV_ADDR_MAX];
    xshm_iface_t        *iface    = ucs_derived_of(tl_iface, xshm_iface_t);
    xshm_platform_t     *platform = xshm_iface_platform(iface);
    size_t               size     = platform->ops->dev_addr_size;

    platform->ops->get_dev_addr(platform, addr);
    if (!xshm_iface_has_memory(iface, addr)) {
        memset(addr, 0, size);
    }

    iface->is_alone = !memcmp(addr, nobody, size);
    return UCS_OK;
}

static ucs_status_t
xshm_iface_get_address(uct_iface_h tl_iface, uct_iface_addr_t *addr)
{
    xshm_iface_t *iface = ucs_derived_of(tl_iface, xshm_iface_t);

    memcpy(addr, &iface->mailbox->addr, sizeof(iface->mailbox->addr));
    return UCS_OK;
}

static int xshm_iface_is_reachable(const uct_iface_h        tl_iface,
                                   const uct_device_addr_t *dev_addr,
                                   const uct_iface_addr_t  *tl_addr)
{
    xshm_iface_t            *iface    = ucs_derived_of(tl_iface, xshm_iface_t);
    xshm_platform_t         *platform = xshm_iface_platform(iface);
    const xshm_iface_addr_t *addr     = (const xshm_iface_addr_t *)tl_addr;

    if (iface->is_alone ||
        !xshm_allow_has(&iface->mailbox->allow,
                        platform->ops->domain(dev_addr)) ||
        !platform->ops->is_reachable(platform, dev_addr)) {
        return 0;
    }

    if ((addr != NULL) && (addr->version != XSHM_ABI_VERSION)) {
        xshm_complain(
                "xshm: a peer uses version %u of the shared layout, and this "
                "process version %u: install the same version of xshm for both",
                addr->version, XSHM_ABI_VERSION);
        return 0;
    }

    return 1;
}

static ucs_status_t
xshm_iface_flush(uct_iface_h tl_iface, unsigned flags, uct_completion_t *comp)
{
    xshm_iface_t *iface = ucs_derived_of(tl_iface, xshm_iface_t);
    ucs_status_t  status;
    xshm_peer_t  *peer;

    if (comp != NULL) {
        return UCS_ERR_UNSUPPORTED;
    }

    UCT_TL_IFACE_STAT_FLUSH(&iface->super);

    /* UCP 1.13 counts on that for operations which it has left pending */
    if (!ucs_list_is_empty(&iface->blocked)) {
        UCT_TL_IFACE_STAT_FLUSH_WAIT(&iface->super);
        return UCS_INPROGRESS;
    }

    kh_foreach_value(&iface->peers, peer, {
        if (xshm_tx_is_unsafe(peer->tx) || xshm_rma_is_busy(peer)) {
            UCT_TL_IFACE_STAT_FLUSH_WAIT(&iface->super);
            return UCS_INPROGRESS;
        }
    });

    /* As in xshm_ep_flush() */
    ucs_memory_cpu_store_fence();
    status            = iface->rma_status;
    iface->rma_status = UCS_OK;
    return status;
}

static ucs_status_t xshm_iface_fence(uct_iface_h tl_iface, unsigned flags)
{
    xshm_iface_t *iface = ucs_derived_of(tl_iface, xshm_iface_t);
    xshm_peer_t  *peer;

    ucs_memory_cpu_fence();
    kh_foreach_value(&iface->peers, peer, xshm_rma_fence(peer));
    UCT_TL_IFACE_STAT_FENCE(&iface->super);
    return UCS_OK;
}

/* Give a message to its handler from a copy of its own, which the handler may
 * keep. @return Zero if there is no memory: the message stays. */
static int xshm_iface_deliver_desc(xshm_iface_t *iface, xshm_rx_t *rx,
                                   const xshm_abi_record_t *record)
{
    void        *headroom, *data, *obj;
    ucs_status_t status;

    obj = ucs_mpool_get(&iface->desc_mp);
    if (obj == NULL) {
        return 0;
    }

    headroom = UCS_PTR_BYTE_OFFSET(obj, sizeof(uct_recv_desc_t *));
    data     = UCS_PTR_BYTE_OFFSET(headroom, iface->rx_headroom);
    memcpy(data, xshm_ring_rx_payload(&rx->ring), record->size);
    status = uct_iface_invoke_am(&iface->super, record->id, data, record->size,
                                 UCT_CB_PARAM_FLAG_DESC);
    if (status == UCS_INPROGRESS) {
        uct_recv_desc(headroom) = &iface->release_desc;
    } else {
        ucs_mpool_put(obj);
    }

    return 1;
}

/* The same for a message of a peer with larger settings than ours: such a copy
 * is ours only */
static int xshm_iface_deliver_large(xshm_iface_t *iface, xshm_rx_t *rx,
                                    const xshm_abi_record_t *record)
{
    void *data = ucs_malloc(record->size, "xshm_large");

    if (data == NULL) {
        return 0;
    }

    memcpy(data, xshm_ring_rx_payload(&rx->ring), record->size);
    uct_iface_invoke_am(&iface->super, record->id, data, record->size, 0);
    ucs_free(data);
    return 1;
}

static int xshm_iface_deliver_copy(xshm_iface_t *iface, xshm_rx_t *rx,
                                   const xshm_abi_record_t *record)
{
    int is_delivered;

    is_delivered = (record->size <= iface->config.seg_size) ?
                           xshm_iface_deliver_desc(iface, rx, record) :
                           xshm_iface_deliver_large(iface, rx, record);
    if (!is_delivered) {
        ucs_debug("xshm: no memory to copy a message of %u bytes: it waits",
                  record->size);
    }

    return is_delivered;
}

static UCS_F_NOINLINE void xshm_iface_end_rx(xshm_iface_t *iface, xshm_rx_t *rx)
{
    rx->is_ended = 1;
    xshm_iface_schedule(iface, XSHM_IFACE_WORK_ENDED);
}

/* A peer that broke the rules is not read any more */
static UCS_F_NOINLINE void xshm_iface_violation(xshm_iface_t            *iface,
                                                xshm_rx_t               *rx,
                                                const xshm_abi_record_t *record)
{
    xshm_complain(
            "xshm: a peer sent a record of type %u, id %u, and %u bytes at "
            "offset %zu of its ring, which cannot be: the channel is closed",
            record->type, record->id, record->size,
            (size_t)(rx->ring.pos - rx->ring.base));
    ++iface->num_violations;
    xshm_pair_leave_rx(rx);
    xshm_ring_rx_stop(&rx->ring);
    xshm_iface_end_rx(iface, rx);
}

static int xshm_iface_is_rma(const xshm_abi_record_t *record)
{
    return (record->type == XSHM_RECORD_PUT) ||
           (record->type == XSHM_RECORD_GET) ||
           (record->type == XSHM_RECORD_ATOMIC);
}

/* The turn line that a peer offers. @return Zero: it had done so before. */
static int xshm_iface_join(xshm_iface_t *iface, xshm_rx_t *rx)
{
    xshm_tx_t   *tx = NULL;
    xshm_peer_t *peer;
    uint64_t     pair;

    memcpy(&pair, xshm_ring_rx_payload(&rx->ring), sizeof(pair));
    kh_foreach_value(&iface->peers, peer, {
        if (xshm_pair_is_named(peer->tx, rx, pair)) {
            tx = peer->tx;
        }
    });

    if (!xshm_pair_join(rx, tx)) {
        return 0;
    }

    xshm_ring_rx_release_any(&rx->ring, sizeof(pair));
    return 1;
}

/* Anything but a short message. @return Zero: nothing more to read here. */
static UCS_F_NOINLINE int
xshm_iface_deliver_long(xshm_iface_t *iface, xshm_rx_t *rx,
                        const xshm_abi_record_t *record)
{
    if (record->type == XSHM_RECORD_CLOSE) {
        xshm_iface_end_rx(iface, rx);
        return 0;
    }

    if (record->size > rx->max_payload) {
        xshm_iface_violation(iface, rx, record);
        return 0;
    }

    rx->bytes += record->size;
    if (xshm_iface_is_rma(record)) {
        xshm_rma_execute(rx, record);
        return 1;
    }

    if (iface->config.copy_out) {
        if (!xshm_iface_deliver_copy(iface, rx, record)) {
            return 0;
        }
    } else {
        uct_iface_invoke_am(&iface->super, record->id,
                            (void *)xshm_ring_rx_payload(&rx->ring),
                            record->size, 0);
    }

    xshm_ring_rx_release(&rx->ring, xshm_ring_lines(record->size));
    return 1;
}

/* Copy a short message, and be done with it in the ring. @a length is a
 * constant: so nothing has to wait for the message's size. */
static UCS_F_ALWAYS_INLINE void
xshm_iface_take_short(xshm_rx_t *rx, uint8_t *line, size_t length)
{
    memcpy(line, rx->ring.pos, length);
    xshm_ring_rx_release_short(&rx->ring, length);
}

/* A line is always copied: the handler may read it more than once */
static UCS_F_ALWAYS_INLINE void
xshm_iface_deliver_line(xshm_iface_t *iface, xshm_rx_t *rx,
                        const xshm_abi_record_t *record)
{
    uint8_t line[XSHM_ABI_LINE_SIZE] UCS_V_ALIGNED(XSHM_ABI_LINE_SIZE);

    if (record->size <= XSHM_ABI_UNIT_PAYLOAD) {
        xshm_iface_take_short(rx, line, XSHM_ABI_UNIT_SIZE);
    } else if (record->size <= XSHM_ABI_UNITS_PAYLOAD) {
        xshm_iface_take_short(rx, line, 2 * XSHM_ABI_UNIT_SIZE);
    } else {
        memcpy(line, rx->ring.pos, sizeof(line));
        xshm_ring_rx_release(&rx->ring, 1);
    }

    /* Its place is free from here on */
    rx->bytes += record->size;
    uct_iface_invoke_am(&iface->super, record->id, line + XSHM_RING_HEADER_SIZE,
                        record->size, 0);
}

/* The same for the turn line */
static UCS_F_ALWAYS_INLINE void
xshm_iface_deliver_turn(xshm_iface_t *iface, xshm_rx_t *rx,
                        const xshm_abi_record_t *record)
{
    uint8_t payload[XSHM_ABI_TURN_PAYLOAD] UCS_V_ALIGNED(sizeof(uint64_t));

    if (ucs_unlikely(!xshm_turn_take(&rx->ring, payload))) {
        xshm_pair_taken(rx);
    }

    rx->bytes += record->size;
    uct_iface_invoke_am(&iface->super, record->id, payload, record->size, 0);
}

/* What follows from a record that is no message, or no short one */
typedef enum {
    XSHM_IFACE_POLL_STOP,    /* Nothing more to read here */
    XSHM_IFACE_POLL_MESSAGE, /* It was a message, or an operation */
    XSHM_IFACE_POLL_OTHER    /* It was none: not counted */
} xshm_iface_poll_t;

static UCS_F_NOINLINE xshm_iface_poll_t
xshm_iface_poll_special(xshm_iface_t *iface, xshm_rx_t *rx,
                        xshm_ring_peek_t peek, const xshm_abi_record_t *record)
{
    if ((peek == XSHM_RING_VIOLATION) || (record->id >= UCT_AM_ID_MAX)) {
        xshm_iface_violation(iface, rx, record);
        return XSHM_IFACE_POLL_STOP;
    }

    if (record->type == XSHM_RECORD_TURN) {
        if (xshm_iface_join(iface, rx)) {
            return XSHM_IFACE_POLL_OTHER;
        }

        xshm_iface_violation(iface, rx, record);
        return XSHM_IFACE_POLL_STOP;
    }

    return xshm_iface_deliver_long(iface, rx, record) ?
                   XSHM_IFACE_POLL_MESSAGE :
                   XSHM_IFACE_POLL_STOP;
}

/* Receive what a channel has, up to a bound. @return Messages. */
static UCS_F_ALWAYS_INLINE unsigned
xshm_iface_poll(xshm_iface_t *iface, xshm_rx_t *rx, unsigned max_poll)
{
    unsigned          count = 0;
    xshm_abi_record_t record;
    xshm_ring_peek_t  peek;
    xshm_iface_poll_t result;

    do {
        peek = xshm_ring_rx_peek(&rx->ring, &record);
        if (peek == XSHM_RING_EMPTY) {
            break;
        }

        if (ucs_likely((peek == XSHM_RING_RECORD) &&
                       (record.size <= XSHM_RING_LINE_PAYLOAD) &&
                       (record.type == XSHM_RECORD_AM) &&
                       (record.id < UCT_AM_ID_MAX))) {
            xshm_iface_deliver_line(iface, rx, &record);
        } else if ((peek == XSHM_RING_TURN) && (record.id < UCT_AM_ID_MAX)) {
            xshm_iface_deliver_turn(iface, rx, &record);
        } else {
            result = xshm_iface_poll_special(iface, rx, peek, &record);
            if (result == XSHM_IFACE_POLL_STOP) {
                break;
            }
            count -= (result == XSHM_IFACE_POLL_OTHER);
        }
    } while (++count < max_poll);

    rx->received += count;
    return count;
}

/* Not on the fast path */
static UCS_F_NOINLINE unsigned
xshm_iface_poll_once(xshm_iface_t *iface, xshm_rx_t *rx)
{
    return xshm_iface_poll(iface, rx, iface->config.max_poll);
}

static int xshm_rx_is_ended(const xshm_rx_t *rx)
{
    return rx->is_ended;
}

static void xshm_iface_remove_ended(xshm_iface_t *iface)
{
    xshm_rx_t *rx;

    while ((rx = xshm_pollset_find(&iface->pollset, xshm_rx_is_ended)) !=
           NULL) {
        xshm_pollset_remove(&iface->pollset, rx);
        xshm_stats_end_rx(&iface->stats, rx);
        xshm_rx_release(rx);
    }
}

/* The sender is gone, and what it published is still delivered: as much as a
 * ring and the turn line can hold, even if somebody goes on writing. */
static unsigned xshm_iface_drain(xshm_iface_t *iface, xshm_rx_t *rx)
{
    size_t max_msgs =
            ((size_t)(rx->ring.end - rx->ring.base) / XSHM_ABI_UNIT_SIZE) + 1;
    unsigned count = 0;
    unsigned polled;

    do {
        polled = rx->is_ended ? 0 : xshm_iface_poll_once(iface, rx);
        count += polled;
    } while ((polled > 0) && (count < max_msgs));

    xshm_iface_end_rx(iface, rx);
    return count;
}

/* The channels to and from a peer find each other, whichever comes first */
static void xshm_iface_pair_rx(xshm_iface_t *iface, xshm_rx_t *rx)
{
    xshm_peer_t *peer;

    kh_foreach_value(&iface->peers, peer, {
        if (xshm_pair_offer(peer->tx, rx)) {
            return;
        }
    });
}

static void xshm_iface_pair_tx(xshm_iface_t *iface, xshm_tx_t *tx)
{
    unsigned   i;
    xshm_rx_t *rx;

    for (i = 0; i < xshm_pollset_size(&iface->pollset); ++i) {
        rx = xshm_pollset_get(&iface->pollset, i);
        if (xshm_pair_offer(tx, rx)) {
            /* Nothing is sent by the line of a cold one */
            xshm_pollset_heat_rx(&iface->pollset, rx);
            return;
        }
    }
}

static unsigned
xshm_iface_handle_rx_event(xshm_iface_t *iface, xshm_rx_t *rx, unsigned flags)
{
    if (flags & XSHM_EVENT_RX_NEW) {
        if (xshm_pollset_add(&iface->pollset, rx) != UCS_OK) {
            xshm_rx_release(rx);
            return 0;
        }
        xshm_stats_begin_rx(&iface->stats, rx);
        xshm_iface_pair_rx(iface, rx);
    }

    xshm_rx_handle_event(rx, flags);
    return rx->is_gone ? xshm_iface_drain(iface, rx) : 0;
}

static void
xshm_iface_handle_tx_event(xshm_iface_t *iface, xshm_tx_t *tx, unsigned flags)
{
    xshm_peer_t *peer = xshm_peer_find(iface, tx);

    if (peer == NULL) {
        return;
    }

    xshm_tx_handle_event(tx, flags);
    if (flags & XSHM_EVENT_ACCEPTED) {
        xshm_iface_pair_tx(iface, tx);
    }

    xshm_peer_handle_state(peer);
}

static unsigned xshm_iface_handle_events(xshm_iface_t *iface)
{
    unsigned      count = 0;
    xshm_event_t *event;
    unsigned      flags, i;

    /* Peers come and go as fast as they like. The rest is still there then. */
    for (i = 0; i < XSHM_IFACE_MAX_EVENTS; ++i) {
        flags = xshm_mailbox_take(iface->mailbox, &event);
        if (flags == 0) {
            break;
        }

        ++iface->num_events;
        if (flags & (XSHM_EVENT_RX_NEW | XSHM_EVENT_RX_GONE)) {
            count += xshm_iface_handle_rx_event(
                    iface, ucs_container_of(event, xshm_rx_t, event), flags);
        } else {
            xshm_iface_handle_tx_event(
                    iface, ucs_container_of(event, xshm_tx_t, event), flags);
        }
    }

    return count;
}

static void xshm_iface_report_failed(xshm_iface_t *iface)
{
    xshm_ep_t *ep;

    while (!ucs_list_is_empty(&iface->failed)) {
        ep = ucs_list_extract_head(&iface->failed, xshm_ep_t, failed);
        ucs_list_head_init(&ep->failed);
        xshm_ep_report_failure(ep);
    }
}

static unsigned xshm_iface_dispatch_pending(xshm_iface_t *iface)
{
    UCS_LIST_HEAD(blocked);
    unsigned     count = 0;
    xshm_peer_t *peer;

    /* A peer that is destroyed meanwhile leaves whatever list it is in */
    ucs_list_splice_tail(&blocked, &iface->blocked);
    ucs_list_head_init(&iface->blocked);
    while (!ucs_list_is_empty(&blocked)) {
        peer = ucs_list_extract_head(&blocked, xshm_peer_t, blocked);
        ucs_list_add_tail(&iface->blocked, &peer->blocked);
        count += xshm_peer_dispatch(peer);
    }

    if (!ucs_list_is_empty(&iface->blocked)) {
        xshm_iface_schedule(iface, XSHM_IFACE_WORK_PENDING);
    }

    return count;
}

/* The first progress after it was armed. What woke us may be on a channel whose
 * turn would come late. @return Messages. */
static unsigned xshm_iface_wake_up(xshm_iface_t *iface)
{
    unsigned num_hot = iface->pollset.num_hot;
    unsigned count   = 0;

    if (!xshm_event_disarm(iface)) {
        return 0;
    }

    for (; num_hot < iface->pollset.num_hot; ++num_hot) {
        count += xshm_iface_poll_once(iface, iface->pollset.hot[num_hot]);
    }

    return count;
}

/* All that is rare. @a polled is what was received already. */
static UCS_F_NOINLINE unsigned
xshm_iface_progress_slow(xshm_iface_t *iface, unsigned polled)
{
    unsigned work       = iface->work;
    uint64_t num_events = iface->num_events;
    unsigned count      = 0;

    iface->work = 0;
    if (work & XSHM_IFACE_WORK_ARMED) {
        count += xshm_iface_wake_up(iface);
    }

    if (iface->mailbox->has_events) {
        count += xshm_iface_handle_events(iface);
    }

    if (work & XSHM_IFACE_WORK_RMA) {
        count += xshm_rma_progress(iface);
    }

    if (work & XSHM_IFACE_WORK_PENDING) {
        count += xshm_iface_dispatch_pending(iface);
    }

    if ((work | iface->work) & XSHM_IFACE_WORK_ENDED) {
        iface->work &= ~XSHM_IFACE_WORK_ENDED;
        xshm_iface_remove_ended(iface);
    }

    if ((work | iface->work) & XSHM_IFACE_WORK_FAILED) {
        iface->work &= ~XSHM_IFACE_WORK_FAILED;
        xshm_iface_report_failed(iface);
    }

    if ((work & XSHM_IFACE_WORK_ARMED) && ((polled + count) == 0) &&
        (num_events == iface->num_events)) {
        xshm_event_was_idle(iface);
    }

    return count;
}

/* Many processes on few processors: the one that is waited for may be waiting
 * for ours */
static UCS_F_NOINLINE void xshm_iface_yield(xshm_iface_t *iface)
{
    iface->idle_polls = 0;
    xshm_pace_forget(&iface->pace);
    ++iface->num_yields;
    sched_yield();
}

/* What is to be done in some calls only. @a count is what was received. */
static UCS_F_NOINLINE unsigned
xshm_iface_progress_rare(xshm_iface_t *iface, unsigned count)
{
    if (iface->pollset.countdown == 0) {
        xshm_pollset_cool(&iface->pollset);
        xshm_event_relax(iface);
    }

    if (iface->work | iface->mailbox->has_events) {
        count += xshm_iface_progress_slow(iface, count);
    }

    if (count > 0) {
        iface->idle_polls = 0;
    } else if (iface->idle_polls > iface->config.yield_after) {
        xshm_iface_yield(iface);
    }

    return count;
}

/* The end of each call, after @a count messages */
static UCS_F_ALWAYS_INLINE unsigned
xshm_iface_progress_end(xshm_iface_t *iface, unsigned count)
{
    iface->idle_polls = (count > 0) ? 0 : (iface->idle_polls + 1);
    --iface->pollset.countdown;
    if (ucs_unlikely((iface->pollset.countdown == 0) ||
                     (iface->idle_polls > iface->config.yield_after) ||
                     (iface->work | iface->mailbox->has_events))) {
        return xshm_iface_progress_rare(iface, count);
    }

    return count;
}

/* Something is in a cold channel */
static UCS_F_NOINLINE unsigned
xshm_iface_progress_cold(xshm_iface_t *iface, unsigned index)
{
    xshm_rx_t *rx = xshm_pollset_heat(&iface->pollset, index);

    return xshm_iface_progress_end(iface, xshm_iface_poll_once(iface, rx));
}

/* Receive from the hot channels, those before @a index being empty */
static UCS_F_NOINLINE unsigned
xshm_iface_progress_hot(xshm_iface_t *iface, unsigned index)
{
    xshm_pollset_t *set = &iface->pollset;
    unsigned max_poll   = xshm_pace_limit(&iface->pace, iface->config.max_poll);
    unsigned count      = 0;

    for (; index < set->num_hot; ++index) {
        count += xshm_iface_poll(iface, set->hot[index], max_poll);
    }

    xshm_pace_looked(&iface->pace, count, index, iface->idle_polls);
    if (xshm_pollset_look_at_cold(set, &index)) {
        count += xshm_iface_poll_once(iface, xshm_pollset_heat(set, index));
    }

    return xshm_iface_progress_end(iface, count);
}

/* Nothing is in the hot channels, or they are not to be looked at yet */
static UCS_F_ALWAYS_INLINE unsigned
xshm_iface_progress_idle(xshm_iface_t *iface)
{
    unsigned index;

    if (xshm_pollset_look_at_cold(&iface->pollset, &index)) {
        return xshm_iface_progress_cold(iface, index);
    }

    return xshm_iface_progress_end(iface, 0);
}

/* There is a time to look at the hot channels */
static UCS_F_NOINLINE unsigned xshm_iface_progress_paced(xshm_iface_t *iface)
{
    return xshm_pace_is_due_at(&iface->pace, ucs_get_time()) ?
                   xshm_iface_progress_hot(iface, 0) :
                   xshm_iface_progress_idle(iface);
}

/* While there is nothing it calls nothing, and so saves no registers */
unsigned xshm_iface_progress(uct_iface_h tl_iface)
{
    xshm_iface_t         *iface = ucs_derived_of(tl_iface, xshm_iface_t);
    const xshm_pollset_t *set   = &iface->pollset;
    unsigned              i;

    if (ucs_unlikely(!xshm_pace_is_now(&iface->pace))) {
        return xshm_iface_progress_paced(iface);
    }

    for (i = 0; i < set->num_hot; ++i) {
        if (xshm_ring_rx_has_news(&set->hot[i]->ring)) {
            return xshm_iface_progress_hot(iface, i);
        }
    }

    return xshm_iface_progress_idle(iface);
}

static void xshm_iface_release_desc(uct_recv_desc_t *self, void *desc)
{
    ucs_mpool_put(UCS_PTR_BYTE_OFFSET(desc, -(ptrdiff_t)sizeof(self)));
}

static void xshm_iface_close(uct_iface_h tl_iface);

static uct_iface_ops_t xshm_iface_ops = {
        .ep_am_short              = xshm_ep_am_short,
        .ep_am_short_iov          = xshm_ep_am_short_iov,
        .ep_am_bcopy              = xshm_ep_am_bcopy,
        .ep_am_zcopy              = xshm_ep_am_zcopy,
        .ep_put_short             = xshm_ep_put_short,
        .ep_put_bcopy             = xshm_ep_put_bcopy,
        .ep_put_zcopy             = xshm_ep_put_zcopy,
        .ep_get_bcopy             = xshm_ep_get_bcopy,
        .ep_get_zcopy             = xshm_ep_get_zcopy,
        .ep_atomic32_post         = xshm_ep_atomic32_post,
        .ep_atomic64_post         = xshm_ep_atomic64_post,
        .ep_atomic32_fetch        = xshm_ep_atomic32_fetch,
        .ep_atomic64_fetch        = xshm_ep_atomic64_fetch,
        .ep_atomic_cswap32        = xshm_ep_atomic_cswap32,
        .ep_atomic_cswap64        = xshm_ep_atomic_cswap64,
        .ep_pending_add           = xshm_ep_pending_add,
        .ep_pending_purge         = xshm_ep_pending_purge,
        .ep_flush                 = xshm_ep_flush,
        .ep_fence                 = xshm_ep_fence,
        .ep_check                 = xshm_ep_check,
        .ep_create                = UCS_CLASS_NEW_FUNC_NAME(xshm_ep_t),
        .ep_destroy               = UCS_CLASS_DELETE_FUNC_NAME(xshm_ep_t),
        .iface_flush              = xshm_iface_flush,
        .iface_fence              = xshm_iface_fence,
        .iface_progress_enable    = uct_base_iface_progress_enable,
        .iface_progress_disable   = uct_base_iface_progress_disable,
        .iface_progress           = xshm_iface_progress,
        .iface_event_fd_get       = xshm_event_fd_get,
        .iface_event_arm          = xshm_event_arm,
        .iface_close              = xshm_iface_close,
        .iface_query              = xshm_iface_query,
        .iface_get_device_address = xshm_iface_get_device_address,
        .iface_get_address        = xshm_iface_get_address,
        .iface_is_reachable       = xshm_iface_is_reachable};

static uct_iface_internal_ops_t xshm_iface_internal_ops = {
        .iface_estimate_perf = uct_base_iface_estimate_perf,
        .iface_vfs_refresh   = xshm_stats_vfs_refresh,
        .ep_query = (uct_ep_query_func_t)ucs_empty_function_return_unsupported,
        .ep_invalidate = xshm_ep_invalidate};

/* A size that the user gave or left to us, at most @a max */
static ucs_status_t xshm_iface_config_size(const char *name, size_t value,
                                           size_t auto_value, size_t max,
                                           size_t *size_p)
{
    if (value == UCS_MEMUNITS_AUTO) {
        *size_p = ucs_min(auto_value, max);
        return UCS_OK;
    }

    if ((value < XSHM_RING_LINE_PAYLOAD) || (value > max)) {
        ucs_error("xshm: UCX_XSHM_%s is %zu bytes, and must be from %zu to %zu "
                  "with the other sizes as they are set",
                  name, value, XSHM_RING_LINE_PAYLOAD, max);
        return UCS_ERR_INVALID_PARAM;
    }

    *size_p = value;
    return UCS_OK;
}

#define XSHM_IFACE_DEFAULT_SEG_SIZE  16384
#define XSHM_IFACE_DEFAULT_MAX_SHORT 2048
#define XSHM_IFACE_AMD_NT_MIN        4096

/* The size of rings that are not large */
static ucs_status_t
xshm_iface_config_rings(xshm_iface_t *iface, const xshm_iface_config_t *config)
{
    if (config->ring_size == UCS_MEMUNITS_AUTO) {
        iface->config.ring_size = XSHM_RING_SIZE_SMALL;
        return UCS_OK;
    }

    if ((config->ring_size < XSHM_ABI_RING_MIN_SIZE) ||
        (config->ring_size > XSHM_ABI_RING_MAX_SIZE)) {
        ucs_error("xshm: UCX_XSHM_RING_SIZE is %zu bytes, and must be from %u "
                  "to %u",
                  config->ring_size, XSHM_ABI_RING_MIN_SIZE,
                  XSHM_ABI_RING_MAX_SIZE);
        return UCS_ERR_INVALID_PARAM;
    }

    iface->config.ring_size =
            ucs_align_up_pow2(config->ring_size, XSHM_ABI_PAGE_SIZE);
    return UCS_OK;
}

static ucs_status_t
xshm_iface_config_sizes(xshm_iface_t *iface, const xshm_iface_config_t *config)
{
    ucs_status_t status;

    status = xshm_iface_config_rings(iface, config);
    if (status != UCS_OK) {
        return status;
    }

    status = xshm_iface_config_size("SEG_SIZE", config->seg_size,
                                    XSHM_IFACE_DEFAULT_SEG_SIZE,
                                    xshm_ring_max_payload(
                                            iface->config.ring_size),
                                    &iface->config.seg_size);
    if (status != UCS_OK) {
        return status;
    }

    iface->config.seg_lines = xshm_ring_lines(iface->config.seg_size);
    iface->config.max_hdr   = iface->config.seg_size / 2;
    return xshm_iface_config_size("MAX_SHORT", config->max_short,
                                  XSHM_IFACE_DEFAULT_MAX_SHORT,
                                  iface->config.seg_size,
                                  &iface->config.max_short);
}

/* From which length on data goes past the caches: docs/performance.md */
static size_t xshm_iface_default_nt_min(void)
{
    return (ucs_arch_get_cpu_vendor() == UCS_CPU_VENDOR_AMD) ?
                   XSHM_IFACE_AMD_NT_MIN :
                   SIZE_MAX;
}

/* The settings, but for what the platform decides */
static ucs_status_t
xshm_iface_config_init(xshm_iface_t *iface, const xshm_iface_config_t *config)
{
    iface->config.max_poll = ucs_max(config->max_poll, 1);
    iface->config.nt_min   = (config->nt_min == UCS_MEMUNITS_AUTO) ?
                                     xshm_iface_default_nt_min() :
                                     config->nt_min;
    iface->config.yield_after =
            (config->yield_after > 0) ? config->yield_after : UINT_MAX;
    iface->config.linger          = config->linger;
    iface->config.is_message_only = (config->rma == XSHM_IFACE_RMA_MESSAGE);
    return xshm_iface_config_sizes(iface, config);
}

/* What the platform decides, where the user does not */
static void xshm_iface_config_platform(xshm_iface_t              *iface,
                                       const xshm_iface_config_t *config)
{
    const xshm_platform_ops_t *ops = xshm_iface_platform(iface)->ops;

    iface->config.max_large =
            ((config->ring_size == UCS_MEMUNITS_AUTO) && !ops->is_scarce) ?
                    XSHM_RING_SIZE_MAX_LARGE :
                    0;
    iface->config.copy_out =
            (config->copy_out == UCS_CONFIG_ON) ||
            ((config->copy_out == UCS_CONFIG_AUTO) && ops->is_foreign);
}

static ucs_status_t
xshm_iface_check_params(uct_worker_h worker, const uct_iface_params_t *params)
{
    UCT_CHECK_PARAM(params->field_mask & UCT_IFACE_PARAM_FIELD_OPEN_MODE,
                    "UCT_IFACE_PARAM_FIELD_OPEN_MODE is not defined");

    if (!(params->open_mode & UCT_IFACE_OPEN_MODE_DEVICE)) {
        ucs_error("xshm: only UCT_IFACE_OPEN_MODE_DEVICE is supported");
        return UCS_ERR_UNSUPPORTED;
    }

    if (ucs_derived_of(worker, uct_priv_worker_t)->thread_mode ==
        UCS_THREAD_MODE_MULTI) {
        ucs_error("xshm: UCS_THREAD_MODE_MULTI is not supported for a UCT "
                  "worker");
        return UCS_ERR_INVALID_PARAM;
    }

    return UCS_OK;
}

static ucs_status_t xshm_iface_open_mailbox(xshm_iface_t       *iface,
                                            const char         *dev_name,
                                            const xshm_allow_t *allow)
{
    const xshm_platform_ops_t *ops = xshm_platform_find(dev_name);
    xshm_platform_t           *platform;
    ucs_status_t               status;

    if (ops == NULL) {
        ucs_error("xshm: there is no device %s", dev_name);
        return UCS_ERR_NO_DEVICE;
    }

    status = xshm_service_start();
    if (status != UCS_OK) {
        return status;
    }

    platform = xshm_service_platform(ops);
    if (platform == NULL) {
        ucs_error("xshm: device %s cannot be used here: xshm_info says why",
                  dev_name);
        return UCS_ERR_NO_DEVICE;
    }

    return xshm_mailbox_create(platform, allow, &iface->mailbox);
}

static ucs_mpool_ops_t xshm_iface_desc_mpool_ops = {
        .chunk_alloc   = ucs_mpool_chunk_malloc,
        .chunk_release = ucs_mpool_chunk_free,
        .obj_init      = NULL,
        .obj_cleanup   = NULL,
        .obj_str       = NULL};

/* Buffers look so:  pointer to release_desc | headroom | payload
 * The user gets a pointer to the payload, UCP writes in its headroom. */
static ucs_status_t xshm_iface_init_desc_mpool(xshm_iface_t             *iface,
                                               const uct_iface_params_t *params)
{
    size_t       offset = sizeof(uct_recv_desc_t *) + iface->rx_headroom;
    size_t       alignment, align_offset;
    ucs_status_t status;

    status =
            uct_iface_param_am_alignment(params, iface->config.seg_size, offset,
                                         offset, &alignment, &align_offset);
    if (status != UCS_OK) {
        return status;
    }

    return ucs_mpool_init(&iface->desc_mp, 0, offset + iface->config.seg_size,
                          align_offset, alignment, XSHM_IFACE_DESC_GROW,
                          UINT_MAX, &xshm_iface_desc_mpool_ops, "xshm_desc");
}

/* UCX's own handler for ids without one writes a dozen lines for each message:
 * a peer could fill the disk */
static ucs_status_t
xshm_iface_no_handler(void *arg, void *data, size_t length, unsigned flags)
{
    xshm_complain("xshm: a peer sent an active message of %zu bytes whose id "
                  "has no handler: it is dropped",
                  length);
    return UCS_OK;
}

static void xshm_iface_init_handlers(xshm_iface_t *iface)
{
    unsigned id;

    for (id = 0; id < UCT_AM_ID_MAX; ++id) {
        iface->super.am[id].cb = xshm_iface_no_handler;
    }
}

/* What needs no setting, takes nothing that has to be given back, and cannot
 * fail */
static void xshm_iface_init_state(xshm_iface_t *iface)
{
    xshm_iface_init_handlers(iface);
    iface->work            = 0;
    iface->idle_polls      = 0;
    iface->num_yields      = 0;
    iface->num_events      = 0;
    iface->num_violations  = 0;
    iface->is_alone        = 0;
    iface->num_direct      = 0;
    iface->num_large       = 0;
    iface->num_messages    = 0;
    iface->rma_status      = UCS_OK;
    iface->release_desc.cb = xshm_iface_release_desc;
    xshm_pollset_init(&iface->pollset);
    kh_init_inplace(xshm_peers, &iface->peers);
    ucs_list_head_init(&iface->blocked);
    ucs_list_head_init(&iface->failed);
    ucs_list_head_init(&iface->rma_active);
}

static UCS_CLASS_INIT_FUNC(xshm_iface_t, uct_md_h md, uct_worker_h worker,
                           const uct_iface_params_t *params,
                           const uct_iface_config_t *tl_config)
{
    const xshm_iface_config_t *config =
            ucs_derived_of(tl_config, xshm_iface_config_t);
    ucs_status_t status;

    status = xshm_iface_check_params(worker, params);
    if (status != UCS_OK) {
        return status;
    }

    UCS_CLASS_CALL_SUPER_INIT(uct_base_iface_t, &xshm_iface_ops,
                              &xshm_iface_internal_ops, md, worker, params,
                              tl_config UCS_STATS_ARG(
                                      UCT_IFACE_PARAM_VALUE(params, stats_root,
                                                            STATS_ROOT, NULL))
                                      UCS_STATS_ARG(XSHM_NAME));

    xshm_iface_init_state(self);
    self->rx_headroom =
            UCT_IFACE_PARAM_VALUE(params, rx_headroom, RX_HEADROOM, 0);

    status = xshm_iface_config_init(self, config);
    if (status != UCS_OK) {
        goto err;
    }

    status = xshm_iface_init_desc_mpool(self, params);
    if (status != UCS_OK) {
        goto err;
    }

    status = xshm_rma_init_iface(self);
    if (status != UCS_OK) {
        goto err_cleanup_desc_mpool;
    }

    status = xshm_iface_open_mailbox(self, params->mode.device.dev_name,
                                     &ucs_derived_of(md, xshm_md_t)->allow);
    if (status != UCS_OK) {
        goto err_cleanup_rma;
    }

    xshm_iface_config_platform(self, config);
    xshm_event_init(&self->events, config->spin);
    xshm_stats_init(self, config->stats);
    xshm_pace_init(&self->pace, ucs_time_from_sec(config->poll_gap));
    return UCS_OK;

err_cleanup_rma:
    xshm_rma_cleanup_iface(self);
err_cleanup_desc_mpool:
    ucs_mpool_cleanup(&self->desc_mp, 0);
err:
    return status;
}

/* After this the mailbox has no events of receivers that nobody knows */
static void xshm_iface_close_mailbox(xshm_iface_t *iface)
{
    xshm_event_t *event;
    unsigned      flags;

    if (!xshm_mailbox_close(iface->mailbox, iface->config.linger)) {
        ucs_warn("xshm: some peers did not accept in %.1f seconds what was "
                 "sent to them: it may be lost. Flush before closing, or raise "
                 "UCX_XSHM_LINGER",
                 iface->config.linger);
    }

    while ((flags = xshm_mailbox_take(iface->mailbox, &event)) != 0) {
        if (flags & XSHM_EVENT_RX_NEW) {
            xshm_rx_release(ucs_container_of(event, xshm_rx_t, event));
        }
    }
}

static UCS_CLASS_CLEANUP_FUNC(xshm_iface_t)
{
    xshm_rx_t *rx;

    /* A forked child has nothing of the transport but this process' memory */
    if (xshm_fdset_is_child()) {
        return;
    }

    uct_base_iface_progress_disable(&self->super.super,
                                    UCT_PROGRESS_SEND | UCT_PROGRESS_RECV);
    xshm_stats_cleanup(self);
    xshm_iface_close_mailbox(self);

    while ((rx = xshm_pollset_any(&self->pollset)) != NULL) {
        xshm_pollset_remove(&self->pollset, rx);
        xshm_rx_release(rx);
    }

    ucs_debug("xshm: interface %p gave up the processor %" PRIu64 " times, "
              "closed %" PRIu64
              " channels that broke the rules, refused %" PRIu64 " requests",
              self, self->num_yields, self->num_violations,
              self->mailbox->num_refused);
    ucs_debug("xshm: interface %p of device %s made %" PRIu64
              " direct accesses and %" PRIu64 " by message",
              self, xshm_iface_platform(self)->ops->device, self->num_direct,
              self->num_messages);

    xshm_event_cleanup(&self->events);
    xshm_pollset_cleanup(&self->pollset);
    kh_destroy_inplace(xshm_peers, &self->peers);
    xshm_mailbox_put(self->mailbox);
    xshm_rma_cleanup_iface(self);
    ucs_mpool_cleanup(&self->desc_mp, 1);
}

UCS_CLASS_DEFINE(xshm_iface_t, uct_base_iface_t);
UCS_CLASS_DEFINE_NEW_FUNC(xshm_iface_t, uct_iface_t, uct_md_h, uct_worker_h,
                          const uct_iface_params_t *,
                          const uct_iface_config_t *);
static UCS_CLASS_DEFINE_DELETE_FUNC(xshm_iface_t, uct_iface_t);

static void xshm_iface_close(uct_iface_h tl_iface)
{
    UCS_CLASS_DELETE_FUNC_NAME(xshm_iface_t)(tl_iface);
}
