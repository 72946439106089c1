/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_PRIV_H_
#define XSHM_XEN_PRIV_H_

#include "xen_lookup.h"
#include "xen_news.h"
#include "xen_store.h"
#include "xen_wire.h"

#include <ucs/datastruct/list.h>

#include <pthread.h>
#include <xengnttab.h>
#include <xentoollog.h>

/**
 * What the files of this platform share.
 *
 * Threads: all belongs to the service, but for what the lock protects.
 */

/** State of the platform in this process */
typedef struct xshm_xen {
    xshm_platform_t    super;
    xshm_xen_store_t   store;
    xengnttab_handle  *gnttab;      /**< Maps what peers grant */
    xentoollog_logger *logger;      /**< Where its library complains */
    int                gntalloc_fd; /**< Grants pages to peers */
    int                epoll_fd;
    int                kick_fd;      /**< Another thread wants something */
    uint32_t           next_request; /**< Number of the next request */
    uint64_t           next_scan;    /**< Milliseconds */
    uint64_t           next_listen;  /**< When to try again to be found, ms */
    uint64_t           listen_pause; /**< After the last try that failed, ms */
    int                is_listening; /**< The watch on all machines has fired
                                         for the first time */
    int                was_resumed;  /**< This machine; to be handled */
    xshm_xen_news_t    news;         /**< What has changed elsewhere */
    int                is_short;     /**< Watches have run out */
    int                is_full;      /**< Nodes have run out */
    ucs_list_link_t    domains;
    ucs_list_link_t    refusals; /**< Nodes that refuse a request */
    unsigned           num_refusals;

    ucs_list_link_t          bells;        /**< Ports of peers that are bound */
    struct xenevtchn_handle *evtchn;       /**< For them; NULL: none yet */
    int                      has_no_ports; /**< Event channels have run out */
    uint32_t                 epoch; /**< Changes when this machine has moved */
    int has_complained; /**< Of pages that could not be granted; any thread */

    pthread_mutex_t lock; /**< Protects what follows */
    pthread_cond_t  cond; /**< A lookup has an answer */
    int is_deaf;   /**< No requests are heard of. Written by the service. */
    int is_hidden; /**< No room in xenstore for what peers look for. The same. */
    xshm_xen_dev_addr_t addr;
    xshm_xen_lookups_t  lookups;    /**< Virtual machines that were asked for */
    ucs_list_link_t     quarantine; /**< Memory that a peer has still mapped */
    ucs_list_link_t     pool;      /**< Memory for the next channel to a peer */
    ucs_list_link_t     lingering; /**< Memory of channels that this side has
                                        closed, and the peer has not */
    int                 connected; /**< The only domain with which there are
                                        channels: see xshm_xen_domain_only() */
} xshm_xen_t;


/** Another virtual machine with which there are, or were, channels */
typedef struct xshm_xen_domain {
    ucs_list_link_t list;
    uint32_t        domid;
    int             is_watched;   /**< Its end is told by a watch */
    int             is_prepared;  /**< The folder for requests to it is there */
    uint64_t        next_check;   /**< Else: when to look, milliseconds */
    unsigned        num_offered;  /**< Channels that it sends by */
    uint32_t        num_mapped;   /**< Pages of them, and of views */
    uint32_t        num_unproved; /**< Pages that were freed on its word */
    unsigned        num_ports;   /**< Event channels that it made us allocate */
    int             has_ended;   /**< So it seems; the next one may have come */
    int             is_doubtful; /**< The hypervisor has not said so yet */
    uint32_t        num_ended;   /**< How often another one has come, by its
                                        own word, or it was gone for sure */
    uint32_t        num_gone;    /**< num_ended, when it was gone for sure */
    ucs_list_link_t conns;
    ucs_list_link_t views; /**< Memory of it: see xen_view.c */
    char            identity[XSHM_XEN_VALUE_MAX]; /**< Last one, or empty */
} xshm_xen_domain_t;


/** Memory of a channel */
typedef struct xshm_xen_mem {
    xshm_mem_t      super;
    ucs_list_link_t list; /**< Lingering, in the quarantine, or in the pool */
    xshm_xen_t     *xen;
    uint32_t        domid;    /**< The other machine */
    int             is_ours;  /**< Granted by this machine, not mapped */
    int             is_asked; /**< The peer was told of it */
    int             is_told;  /**< The same, of any channel that used it */
    uint64_t        pooled;   /**< When it was put in the pool, ms */
    int             is_lingering;
    int             is_doubtful; /**< The peer's machine seemed to end ... */
    uint32_t        num_ended;   /**< ... when its domain had this */
    int             is_orphan;   /**< It has ended, or ours has moved */
    uint32_t        gref;        /**< Of the first data page */
    uint64_t        data_index;  /**< In gntalloc, if ours */
    uint64_t        ret_index;
} xshm_xen_mem_t;


typedef enum {
    XSHM_XEN_CONN_WAITING,  /**< Sender: the request is yet to be written */
    XSHM_XEN_CONN_ASKING,   /**< Sender: the request is there */
    XSHM_XEN_CONN_OFFERED,  /**< Receiver: asked, not answered */
    XSHM_XEN_CONN_ACCEPTED, /**< Mapped */
    XSHM_XEN_CONN_CLOSED    /**< Ended: in no list any more */
} xshm_xen_conn_state_t;


/** One end of a channel */
typedef struct xshm_xen_conn {
    xshm_conn_t           super;
    ucs_list_link_t       list; /**< In xshm_xen_domain_t::conns */
    xshm_xen_domain_t    *domain;
    xshm_xen_conn_state_t state;
    xshm_xen_mem_t       *mem;
    xshm_request_t        request;
    uint32_t              gref;           /**< Receiver: what is offered */
    uint64_t              deadline;       /**< Sender: when to give up, ms */
    uint64_t              next_try;       /**< Sender: when to write, ms */
    int                   was_refused;    /**< Sender: for lack of room there */
    uint8_t peer[XSHM_XEN_IDENTITY_SIZE]; /**< Sender: for which machine */
    int     error;                        /**< Sender: why it could not, or 0 */
    struct xshm_xen_port *port;      /**< By which the peer wakes us, or NULL */
    struct xshm_xen_bell *bell;      /**< By which we wake it, or NULL */
    uint32_t              seen_port; /**< Peer's, when last looked at */
    uint32_t              seen_wants; /**< The same */
    char                  name[XSHM_XEN_NAME_MAX];
} xshm_xen_conn_t;


/** Pages of a domain that are freed on its word: it may have them mapped */
#define XSHM_XEN_MEM_MAX_UNPROVED 2048u

/** When to try again to be found by others, milliseconds */
#define XSHM_XEN_LISTEN_MS 1000

/** How long pages wait to be used again, if they can be freed, milliseconds */
#define XSHM_XEN_MEM_POOL_MS 1000


/** Time in milliseconds, of a clock that only goes forward */
uint64_t xshm_xen_now_ms(void);

/** The same in seconds since the kernel's start, as it stands in nodes */
uint32_t xshm_xen_now_s(void);

/** Let events of the store wake the service. It has another descriptor each
 *  time it is opened; the old one has left the set by being closed. */
ucs_status_t xshm_xen_poll_store(xshm_xen_t *xen);

/** Take events of xenstore out of libxenstore, which keeps them without a
 *  limit, and note what has changed. Nothing else is done, so it can be called
 *  amidst anything; and is to be, where xenstored is asked many things. */
void xshm_xen_note_events(xshm_xen_t *xen);

/** Let the service thread call dispatch soon. Any thread. */
void xshm_xen_kick(xshm_xen_t *xen);


/* Memory: xen_mem.c */

/** See xshm_platform_ops_t::mem_check */
int xshm_xen_mem_check(xshm_platform_t *platform, const void *dev_addr,
                       size_t data_size);

/** See xshm_platform_ops_t::mem_alloc */
ucs_status_t xshm_xen_mem_alloc(xshm_platform_t *platform, const void *dev_addr,
                                size_t data_size, xshm_mem_t **mem_p);

/** See xshm_platform_ops_t::mem_linger */
void xshm_xen_mem_linger(xshm_mem_t *mem);

/** See xshm_platform_ops_t::mem_free */
void xshm_xen_mem_free(xshm_mem_t *mem);

/**
 * Map what a peer grants.
 *
 * @param [in] domid      Its domain: a grant of another one is not mapped.
 * @param [in] gref       Reference of the first data page.
 * @param [in] data_size  Length of the data pages, bytes.
 */
ucs_status_t xshm_xen_mem_map(xshm_xen_t *xen, uint32_t domid, uint32_t gref,
                              size_t data_size, xshm_mem_t **mem_p);

/** Free, or keep for later, what peers have unmapped in the meantime.
 *  @return Zero if nothing is left to be done. */
int xshm_xen_mem_release(xshm_xen_t *xen);

/** A domain seems to be gone. What it was sent is cleared; what it had mapped
 *  is free once that is sure. */
void xshm_xen_mem_doubt(xshm_xen_t *xen, const xshm_xen_domain_t *domain);

/** The same of the memory of a channel that is still there */
void xshm_xen_mem_doubt_one(xshm_xen_mem_t          *mem,
                            const xshm_xen_domain_t *domain);

/** This machine has moved, and nobody has mapped anything of it any more */
void xshm_xen_mem_orphan(xshm_xen_t *xen);

/** Free all that is left (at the end) */
void xshm_xen_mem_cleanup(xshm_xen_t *xen);


/* Finding machines: xen_reach.c */

/** See xshm_platform_ops_t::get_dev_addr */
void xshm_xen_get_dev_addr(const xshm_platform_t *platform, void *dev_addr);

/** See xshm_platform_ops_t::is_reachable */
int xshm_xen_is_reachable(const xshm_platform_t *platform,
                          const void            *dev_addr);

/** Read the own domain id, and tell other machines who this one is.
 *  @return UCS_ERR_NO_RESOURCE if xenstore has no room for it. */
ucs_status_t xshm_xen_publish(xshm_xen_t *xen);

/** Can other machines not ask this one for channels? For the service. */
int xshm_xen_is_unreachable(const xshm_xen_t *xen);

/** Answer the lookups that wait */
void xshm_xen_answer_lookups(xshm_xen_t *xen);

/** Forget what was found out about a domain, or about all (UINT32_MAX) */
void xshm_xen_forget_lookups(xshm_xen_t *xen, uint32_t domid);

/** Own domain id (service thread) */
uint32_t xshm_xen_domid(const xshm_xen_t *xen);

/** See xshm_platform_ops_t::own_domain */
int xshm_xen_own_domain(const xshm_platform_t *platform);

/**
 * The only other machine that can map what this process allocates now.
 *
 * @param [in] platform  NULL: not open, nobody is known.
 * @param [in] allowed   The only one that is allowed, or XSHM_DOMAIN_SAME.
 *
 * @return Negative: none, or more than one.
 */
int xshm_xen_region_domain(xshm_platform_t *platform, int allowed);


/* Other machines: xen_domain.c */

/** Find a domain, or note it. @return NULL: no memory. */
xshm_xen_domain_t *xshm_xen_domain_get(xshm_xen_t *xen, uint32_t domid);

/** Find a domain that was noted, or NULL */
xshm_xen_domain_t *xshm_xen_domain_find(xshm_xen_t *xen, uint32_t domid);

/** Is there anything that would end with it? */
int xshm_xen_domain_is_used(xshm_xen_domain_t *domain);

/** May so many more of its pages be mapped? */
int xshm_xen_domain_may_map(const xshm_xen_domain_t *domain,
                            uint32_t                 num_pages);

/** Note with whom there are channels now, for who allocates memory */
void xshm_xen_domain_note(xshm_xen_t *xen);

/** Is it still there, and the same machine? If not, its channels end, and what
 *  it was sent is cleared: also if there are no channels. */
void xshm_xen_domain_check(xshm_xen_t *xen, xshm_xen_domain_t *domain);

/** Is it there, as far as is known, and which machine it is? */
int xshm_xen_domain_is_known(const xshm_xen_domain_t *domain);

/** There are channels, or will be: learn who it is, and of its end from now
 *  on */
void xshm_xen_domain_scan_used(xshm_xen_t *xen, xshm_xen_domain_t *domain,
                               uint64_t now);

/**
 * There are no channels, but there may be pages that it was sent something in:
 * learn of its end, too.
 *
 * @return Milliseconds until it is to be looked at again, or -1: a watch tells.
 */
int xshm_xen_domain_scan_unused(xshm_xen_t *xen, xshm_xen_domain_t *domain,
                                uint64_t now);

/** End all channels with it */
void xshm_xen_domain_fail(xshm_xen_t *xen, xshm_xen_domain_t *domain);

/** Listen to requests, and watch all domains that were watched before; after
 *  the store was opened */
ucs_status_t xshm_xen_listen(xshm_xen_t *xen);

/** Open the store and listen, after it was closed by an error */
void xshm_xen_listen_again(xshm_xen_t *xen);

/** Free all domains (at the end) */
void xshm_xen_domain_cleanup(xshm_xen_t *xen);


/* Channels: xen_conn.c */

/** See xshm_platform_ops_t */
ucs_status_t xshm_xen_connect(xshm_platform_t *platform, const void *dev_addr,
                              const xshm_request_t *request, xshm_mem_t *mem,
                              void *owner, xshm_conn_t **conn_p);
ucs_status_t
     xshm_xen_map(xshm_conn_t *conn, size_t data_size, xshm_mem_t **mem_p);
void xshm_xen_accept(xshm_conn_t *conn);
void xshm_xen_refuse(xshm_conn_t *conn, xshm_reason_t reason);
void xshm_xen_disconnect(xshm_conn_t *conn);

/** End a channel, and tell its owner */
void xshm_xen_conn_report(xshm_xen_conn_t *conn, xshm_reason_t reason,
                          uint32_t version);

/** Is there room in xenstore to ask machines for channels? If not, this has
 *  said why. */
int xshm_xen_can_ask(xshm_xen_t *xen);

/** A node could not be written: tell why (errno), once until there is room */
void xshm_xen_complain_nodes(xshm_xen_t *xen);

/** A request of a peer has appeared, changed, or gone */
void xshm_xen_handle_request(xshm_xen_t *xen, const xshm_xen_path_t *path);

/** A peer has refused a request of ours */
void xshm_xen_handle_refusal(xshm_xen_t *xen, const xshm_xen_path_t *path);

/**
 * Look at everything that nobody tells of: answers, ends of processes, what is
 * to be tried again.
 *
 * @return Milliseconds until it wants to be called again, or -1.
 */
int xshm_xen_scan(xshm_xen_t *xen);

/** Remove the nodes below which requests to a domain, and refusals of its own,
 *  are */
void xshm_xen_remove_folders(xshm_xen_t *xen, uint32_t peer);

/** Remove what requests and refusals a process that died has left */
void xshm_xen_collect_garbage(xshm_xen_t *xen);

/** Remove all refusals (at the end) */
void xshm_xen_refusal_cleanup(xshm_xen_t *xen);

#endif
