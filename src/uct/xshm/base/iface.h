/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_IFACE_H_
#define XSHM_IFACE_H_

#include "event.h"
#include "pace.h"
#include "pollset.h"
#include "stats.h"
#include "../channel/tx.h"
#include "../service/mailbox.h"

#include <ucs/config/types.h>
#include <ucs/datastruct/khash.h>
#include <ucs/datastruct/list.h>
#include <ucs/datastruct/mpool.h>
#include <ucs/time/time.h>
#include <uct/base/uct_iface.h>


typedef struct xshm_peer xshm_peer_t;


/** Any number would do, but users size arrays by it */
#define XSHM_IFACE_MAX_IOV 16

/** Longest put or get: so that no copy keeps progress long, bytes */
#define XSHM_IFACE_MAX_ZCOPY (1ul << 20)

/** What progress has to do besides looking for messages */
enum {
    XSHM_IFACE_WORK_PENDING = 1u << 0, /**< Endpoints wait for room */
    XSHM_IFACE_WORK_ENDED   = 1u << 1, /**< Receiving channels have ended */
    XSHM_IFACE_WORK_FAILED  = 1u << 2, /**< Endpoints have failed */
    XSHM_IFACE_WORK_ARMED   = 1u << 3, /**< Peers may think that we sleep */
    XSHM_IFACE_WORK_RMA     = 1u << 4  /**< Access by message is under way */
};


/** All of an address. Another machine may know, and give away as its own, what
 *  is the interface's part. */
typedef struct xshm_peer_name {
    xshm_iface_addr_t addr;
    uint8_t           dev_addr[XSHM_DEV_ADDR_MAX]; /**< Zeros behind it */
} __attribute__((packed)) xshm_peer_name_t;


static inline khint_t xshm_peer_name_hash(xshm_peer_name_t name)
{
    return kh_int64_hash_func(name.addr.process ^ name.addr.iface);
}

static inline int xshm_peer_name_equal(xshm_peer_name_t a, xshm_peer_name_t b)
{
    return !memcmp(&a, &b, sizeof(a));
}

/* Those that this interface sends to */
KHASH_INIT(xshm_peers, xshm_peer_name_t, xshm_peer_t *, 1, xshm_peer_name_hash,
           xshm_peer_name_equal)


/** Settings of an interface, UCX_XSHM_..., as UCX's parser leaves them */
typedef struct xshm_iface_config {
    uct_iface_config_t      super;
    size_t                  ring_size;   /**< Bytes, or UCS_MEMUNITS_AUTO */
    size_t                  seg_size;    /**< Bytes, or UCS_MEMUNITS_AUTO */
    size_t                  max_short;   /**< Bytes, or UCS_MEMUNITS_AUTO */
    size_t                  nt_min;      /**< Bytes, or UCS_MEMUNITS_AUTO */
    unsigned                max_poll;    /**< Messages of a channel at a time */
    unsigned                yield_after; /**< Empty calls, or 0: never */
    double                  poll_gap;    /**< Seconds */
    ucs_on_off_auto_value_t copy_out;
    double                  linger; /**< Seconds */
    double                  spin;   /**< Seconds */
    int                     stats;
    unsigned                rma; /**< One of the names "auto", "message" */
} xshm_iface_config_t;


/** One per UCX worker and device */
typedef struct xshm_iface {
    uct_base_iface_t super;
    xshm_pollset_t   pollset;
    xshm_pace_t      pace;
    xshm_mailbox_t  *mailbox;
    xshm_events_t    events;
    xshm_stats_t     stats;
    unsigned         work;       /**< XSHM_IFACE_WORK_xx */
    unsigned         idle_polls; /**< Empty calls of progress in a row */
    unsigned         rx_headroom;
    unsigned         num_large;  /**< Channels with a large ring */
    ucs_list_link_t  blocked;    /**< Peers with endpoints that wait */
    ucs_list_link_t  failed;     /**< Endpoints to be reported */
    ucs_list_link_t  rma_active; /**< Peers with access by message */
    ucs_mpool_t      rma_mp;     /**< Of xshm_rma_op_t */
    void            *bounce;     /**< What a put packs, for a while */
    khash_t(xshm_peers) peers;
    ucs_mpool_t     desc_mp; /**< For copies of what was received */
    uct_recv_desc_t release_desc;
    uint64_t        num_events;     /**< News from the service */
    uint64_t        num_yields;     /**< Times the processor was given up */
    uint64_t        num_violations; /**< Channels that broke the rules */
    int             is_alone;       /**< The last address given is nobody's */
    uint64_t        num_direct;     /**< Put, get and atomics: directly */
    uint64_t        num_messages;   /**< The same by message, in records */
    ucs_status_t    rma_status;     /**< That a target has refused what has no
                                         completion, for the next flush of all */

    struct {
        size_t   ring_size;       /**< Of those that are not large, bytes */
        unsigned max_large;       /**< At most so many have a large ring;
                                       less once there was no memory */
        size_t   seg_size;        /**< Longest message, bytes */
        size_t   max_short;       /**< Longest short message, bytes */
        size_t   max_hdr;         /**< Longest header of am_zcopy, bytes */
        uint32_t seg_lines;       /**< Lines of the longest message */
        size_t   nt_min;          /**< Shortest record that goes past the
                                       caches, bytes */
        unsigned max_poll;        /**< Messages of a channel at a time */
        unsigned yield_after;     /**< Empty calls, or UINT_MAX: never */
        int      copy_out;        /**< Copy before handing up */
        double   linger;          /**< Seconds */
        int      is_message_only; /**< No direct access */
    } config;
} xshm_iface_t;


/** Settings, as UCX's parser wants them */
extern ucs_config_field_t xshm_iface_config_table[];

UCS_CLASS_DECLARE_NEW_FUNC(xshm_iface_t, uct_iface_t, uct_md_h, uct_worker_h,
                           const uct_iface_params_t *,
                           const uct_iface_config_t *);

/** See uct_tl_t::query_devices */
ucs_status_t xshm_iface_query_devices(uct_md_h                   md,
                                      uct_tl_device_resource_t **devices_p,
                                      unsigned                  *num_devices_p);

/** See uct_iface_ops_t::iface_progress
 *  @return Number of messages that were received or sent from a queue. */
unsigned xshm_iface_progress(uct_iface_h tl_iface);

/** Let progress do something besides looking for messages */
static inline void xshm_iface_schedule(xshm_iface_t *iface, unsigned work)
{
    iface->work |= work;
}

/** The platform that this interface is on */
static inline xshm_platform_t *xshm_iface_platform(const xshm_iface_t *iface)
{
    return iface->mailbox->platform;
}

#endif
