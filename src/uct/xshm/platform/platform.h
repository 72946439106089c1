/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_PLATFORM_H_
#define XSHM_PLATFORM_H_

#include <xshm/xshm_abi.h>

#include <ucs/datastruct/list.h>
#include <ucs/type/status.h>

#include <stddef.h>
#include <stdint.h>

/**
 * What a channel needs of the world outside: memory that one peer can map, a
 * place where the two meet, and news of the other's end. Everything above
 * (channel, iface, ep) uses this table only, and does not know which platform
 * it is on.
 *
 * The shape is that of Xen's grants, which is the narrower one: memory is
 * granted to one peer at its allocation, a request waits somewhere until the
 * peer has accepted or refused it, and nothing blocks.
 *
 * Threads: mem_check, mem_alloc, mem_free, domain, own_domain, get_dev_addr and
 * is_reachable may be called from any thread; so may wake_open, wake_fd,
 * wake_drain and wake_close, for one wake by one thread at a time, and notify,
 * by the thread that the channel's end belongs to. All others, and all calls of
 * the sink, belong to the service thread.
 */

/** Longest device address that UCP 1.13 can pack (address format v1), bytes */
#define XSHM_DEV_ADDR_MAX 31

/** Longest name of a device, with the final zero */
#define XSHM_DEVICE_NAME_MAX 16

/** Room for the reason why a device cannot be used, with the final zero */
#define XSHM_UNUSABLE_MAX 256

typedef struct xshm_platform     xshm_platform_t;
typedef struct xshm_platform_ops xshm_platform_ops_t;

/** What wakes an interface: an object of the platform with a descriptor */
typedef struct xshm_wake xshm_wake_t;


/**
 * Where a receiver can be found, inside what the device address names. This is
 * UCX's interface address, as it travels.
 */
typedef struct xshm_iface_addr {
    uint8_t  version;                    /**< XSHM_ABI_VERSION */
    uint64_t process;                    /**< Random name of the process */
    uint32_t iface;                      /**< Interface in that process */
    uint8_t  token[XSHM_ABI_TOKEN_SIZE]; /**< Who has it, may connect */
} __attribute__((packed)) xshm_iface_addr_t;


/** Why a channel ended, or never came to be */
typedef enum {
    XSHM_REASON_NONE,
    XSHM_REASON_VERSION,  /**< The peer uses another layout */
    XSHM_REASON_UNKNOWN,  /**< No such interface, or a wrong token */
    XSHM_REASON_INVALID,  /**< The offered memory is not as it must be */
    XSHM_REASON_RESOURCE, /**< The peer is out of some resource */
    XSHM_REASON_GONE,     /**< The peer closed, or died */
    XSHM_REASON_LAST
} xshm_reason_t;


/** No domain: a peer in the same virtual machine */
#define XSHM_DOMAIN_SAME (-1)


/** A sender's wish to open a channel */
typedef struct xshm_request {
    xshm_iface_addr_t target;    /**< Whom it is for */
    uint32_t          data_size; /**< Length of the data pages, bytes */
    int               domain;    /**< Who asks: its domain id, known for sure,
                                      or XSHM_DOMAIN_SAME */
} xshm_request_t;


/** Memory of one channel, in this address space */
typedef struct xshm_mem {
    void  *data;      /**< Data pages */
    size_t data_size; /**< Their length, bytes */
    void  *ret;       /**< Return page, XSHM_ABI_RETURN_SIZE bytes */
} xshm_mem_t;


/** One end of one channel, as the platform knows it */
typedef struct xshm_conn {
    xshm_platform_t *platform;
    int              is_sender; /**< This side is the sender */
    void            *owner;     /**< Channel that it belongs to, or NULL */
} xshm_conn_t;


/** Memory to be allocated, for peers to map */
typedef struct xshm_region_spec {
    uint64_t id;       /**< Random name */
    size_t   length;   /**< Bytes, whole pages */
    void    *address;  /**< Where it should be, or NULL */
    int      is_fixed; /**< Nowhere else */
    unsigned rights;   /**< XSHM_RIGHT_xx */
    int      domain;   /**< The only domain that peers can be in, besides this
                            one, or XSHM_DOMAIN_SAME: not known */
} xshm_region_spec_t;


/** Memory that this process has allocated, and that peers may map */
typedef struct xshm_region {
    void                      *address;
    size_t                     length;
    const xshm_platform_ops_t *ops;     /**< Who has allocated it */
    uint64_t                   id;      /**< Random name */
    unsigned                   rights;  /**< XSHM_RIGHT_xx */
    int                        fd;      /**< Its file, for peers in the same
                                             virtual machine */
    uint16_t                   granted; /**< Domain that can map it, or
                                             XSHM_ABI_NO_DOMAIN */
    uint32_t                   gref;    /**< By this grant, then */
    unsigned                   refs;    /**< Registrations, and who looks at
                                             it */
    xshm_platform_t           *shared;  /**< Where peers were given the file, or
                                             NULL */
} xshm_region_t;


/** A wish to map a peer's region. Part of the object that it is for. */
typedef struct xshm_region_ask {
    ucs_list_link_t list; /**< For the platform's use */
    uint64_t        process;
    uint64_t        region;  /**< Its name */
    uint64_t        id;      /**< Registration in it: random name ... */
    uint32_t        slot;    /**< ... and place in the owner's table */
    uint32_t        gref;    /**< What the key says of its grant ... */
    uint16_t        granted; /**< ... and to whom that is */
    uint8_t         dev_addr[XSHM_DEV_ADDR_MAX];
} xshm_region_ask_t;


/** A peer's region that is mapped here */
typedef struct xshm_region_info {
    void    *address; /**< In this address space */
    uint64_t base;    /**< In the owner's */
    size_t   length;  /**< Bytes, whole pages */
    uint64_t region;  /**< Its name */
    unsigned rights;  /**< XSHM_RIGHT_xx */
    void    *handle;  /**< The platform's */
} xshm_region_info_t;


/** What the platform tells. @a conn stays valid until it is disconnected. */
typedef struct xshm_platform_sink {
    /** A peer wants to send to us. Answer by accept or by refuse. */
    void (*request)(xshm_conn_t *conn, const xshm_request_t *request);

    /** The peer has mapped what we send: it is safe even if we die */
    void (*accepted)(xshm_conn_t *conn);

    /** The channel has ended or will not be; to be disconnected.
     *  @a version is the peer's, if the reason is VERSION. */
    void (*closed)(xshm_conn_t *conn, xshm_reason_t reason, uint32_t version);

    /**
     * The peer asks to look at `wants` in its line (xshm_abi_wake_t). If it is
     * not zero, notify() wakes the peer from now on. May come more often than
     * something has changed.
     */
    void (*attention)(xshm_conn_t *conn);
    /** A peer wants to map the region that a registration lies in. @return The
     *  region, to be put, or NULL: refused. */
    xshm_region_t *(*region_get)(uint32_t slot, uint64_t id);
    void (*region_put)(xshm_region_t *region);

    /** The answer to region_ask: NULL if it cannot be mapped */
    void (*region_answered)(xshm_region_ask_t        *ask,
                            const xshm_region_info_t *info);

    /** A region that was mapped has been freed by its owner, in this domain or
     *  XSHM_DOMAIN_SAME */
    void (*region_gone)(uint64_t process, uint64_t region, int domain);
} xshm_platform_sink_t;


/** Base of a platform's state in a process */
struct xshm_platform {
    const xshm_platform_ops_t  *ops;
    const xshm_platform_sink_t *sink;
    uint64_t                    process; /**< Random name of this process */
};


/** The table */
struct xshm_platform_ops {
    /** Name of the device, as users see it */
    char device[XSHM_DEVICE_NAME_MAX];

    /** Length of a device address, bytes */
    size_t dev_addr_size;

    /** Peers are not of this virtual machine: they are trusted less */
    int is_foreign;

    /** There is only so much memory for channels, however much the machine
     *  has: rings are small */
    int is_scarce;

    /** Is this system of the kind that the platform is for? If so, and probe
     *  says no, users are told what is missing. NULL: every system is. */
    int (*is_here)(void);

    /**
     * Can this platform be used here? Must be cheap, and may not start
     * anything. @a reason is filled when it can not.
     */
    int (*probe)(char *reason, size_t max);

    /** Start to listen for requests as the process @a process */
    ucs_status_t (*open)(uint64_t process, const xshm_platform_sink_t *sink,
                         xshm_platform_t **platform_p);

    /** Stop; all connections were disconnected before */
    void (*close)(xshm_platform_t *platform);

    /** Describe this side: dev_addr_size bytes */
    void (*get_dev_addr)(const xshm_platform_t *platform, void *dev_addr);

    /** Can memory be shared with whoever has this device address? May wait,
     *  within a bound, once for each such address. */
    int (*is_reachable)(const xshm_platform_t *platform, const void *dev_addr);

    /** Domain id in a device address, or XSHM_DOMAIN_SAME */
    int (*domain)(const void *dev_addr);

    /** Domain id of this virtual machine. NULL: it has none. */
    int (*own_domain)(const xshm_platform_t *platform);

    /** A descriptor that is readable when there is something to dispatch */
    int (*event_fd)(const xshm_platform_t *platform);

    /**
     * Handle what has happened, without waiting.
     *
     * @return Milliseconds until it wants to be called again in any case, or
     *         -1: when the descriptor is readable.
     */
    int (*dispatch)(xshm_platform_t *platform);

    /**
     * Could memory for a channel to the peer at @a dev_addr be allocated now?
     * If not, this has said why. NULL: it always can, as far as is known.
     */
    int (*mem_check)(xshm_platform_t *platform, const void *dev_addr,
                     size_t data_size);

    /**
     * Allocate zeroed memory of a channel, for the peer at @a dev_addr alone:
     * data pages read-only for it, a return page writable. Both are writable
     * here, the return page for the turn line.
     */
    ucs_status_t (*mem_alloc)(xshm_platform_t *platform, const void *dev_addr,
                              size_t data_size, xshm_mem_t **mem_p);

    /**
     * Nothing more is sent by it: it is kept until the peer has taken all and
     * unmaps it, which may be never. NULL: that costs the peer as much as this
     * side.
     */
    void (*mem_linger)(xshm_mem_t *mem);

    /** Free or unmap it */
    void (*mem_free)(xshm_mem_t *mem);

    /**
     * Ask the peer to receive from @a mem. The answer comes by the sink, also
     * when it is that there is nobody.
     */
    ucs_status_t (*connect)(xshm_platform_t *platform, const void *dev_addr,
                            const xshm_request_t *request, xshm_mem_t *mem,
                            void *owner, xshm_conn_t **conn_p);

    /** Map the memory that a request offers, after its token was checked */
    ucs_status_t (*map)(xshm_conn_t *conn, size_t data_size,
                        xshm_mem_t **mem_p);

    /** Tell the sender that its memory is mapped */
    void (*accept)(xshm_conn_t *conn);

    /** Tell the sender no, and forget the request: @a conn is gone */
    void (*refuse)(xshm_conn_t *conn, xshm_reason_t reason);

    /** Forget the channel, after its memory was unmapped if it was the peer's:
     *  the other side is told. @a conn is gone. */
    void (*disconnect)(xshm_conn_t *conn);

    /*
     * Sleeping and waking up. wake_open is NULL where the platform cannot do
     * it: then the others are not called, and interfaces have no events.
     */

    /** Make something by which peers can wake one interface */
    ucs_status_t (*wake_open)(xshm_platform_t *platform, xshm_wake_t **wake_p);

    /** A descriptor that is readable after a peer has notified */
    int (*wake_fd)(const xshm_wake_t *wake);

    /** Make the descriptor unreadable until the next notification.
     *  @return Not zero if there was one. */
    int (*wake_drain)(xshm_wake_t *wake);

    /** Close it. No connection with it is left, or all are without effect. */
    void (*wake_close)(xshm_wake_t *wake);

    /**
     * Let the peer of an accepted connection look at this side's line: there
     * its sink's `attention` is called, as soon as notify() of that side wakes
     * @a wake. NULL: this side wants to be woken no more. Never fails: when
     * the peer cannot be told, the connection ends.
     */
    void (*wake_attach)(xshm_conn_t *conn, xshm_wake_t *wake);

    /**
     * Wake the peer. Never blocks. Only after the sink's `attention` for this
     * connection, and only by the thread that owns this end of the channel.
     */
    void (*notify)(xshm_conn_t *conn);

    /**
     * Allocate zeroed memory that peers may be given later. Any thread.
     *
     * @param [in] platform  NULL: it was not opened yet.
     *
     * @return UCS_ERR_UNSUPPORTED: none that peers of this platform can map;
     *         another platform may have some.
     */
    ucs_status_t (*region_alloc)(xshm_platform_t          *platform,
                                 const xshm_region_spec_t *spec,
                                 xshm_region_t           **region_p);

    /** Free it. What peers have mapped stays theirs, without its content.
     *  Any thread. */
    void (*region_free)(xshm_region_t *region);

    /** Ask the owner for a region. The answer comes by the sink, once, maybe
     *  at once. */
    void (*region_ask)(xshm_platform_t *platform, xshm_region_ask_t *ask);

    /** Unmap a peer's region */
    void (*region_unmap)(const xshm_region_info_t *info);

    /** Tell all peers that a region is freed. NULL: they see it. */
    void (*region_forget)(xshm_platform_t *platform, uint64_t region);

    /** How often memory was not given to a domain, since that keeps too much of
     *  what was freed. Any thread. NULL: never. */
    uint64_t (*region_num_refused)(void);
};


/** All platforms, in the order in which they are offered; ends with NULL */
extern const xshm_platform_ops_t *const xshm_platforms[];

/** Find a platform by the name of its device, or NULL */
const xshm_platform_ops_t *xshm_platform_find(const char *device);

/** What a reason means, in words */
const char *xshm_reason_string(xshm_reason_t reason);

#endif
