/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_WIRE_H_
#define XSHM_XEN_WIRE_H_

#include "../platform.h"

/**
 * What two domains say to each other by nodes of xenstore. Each writes its own
 * tree only, and the path of a node proves who wrote it:
 *
 *     /local/domain/<me>/data/xshm/id              who this virtual machine is;
 *                                                  readable by all
 *     /local/domain/<me>/data/xshm/c/<peer>/<name> request for a channel;
 *                                                  readable by that peer
 *     /local/domain/<me>/data/xshm/r/<peer>/<name> refusal of that peer's
 *                                                  request; readable by it
 *
 * A request is removed by who wrote it, when it was answered or given up; the
 * refusal is removed when the request is. An acceptance needs no node: it is
 * in the return page.
 *
 * Nothing here calls Xen: names and values only. What is parsed may come from
 * a hostile peer.
 */

/** Below a domain's own tree (relative paths are) */
#define XSHM_XEN_DIR        "data/xshm"
#define XSHM_XEN_ID_PATH    XSHM_XEN_DIR "/id"
#define XSHM_XEN_DOMAINS    "/local/domain"
#define XSHM_XEN_DOMAIN_FMT XSHM_XEN_DOMAINS "/%u/"

/** Folders of requests and refusals */
#define XSHM_XEN_REQUESTS 'c'
#define XSHM_XEN_REFUSALS 'r'

/** Domains that are not special have lower numbers (xen/xen.h) */
#define XSHM_XEN_DOMID_MAX 0x7fefu

/** Longest path here, and longest value, with the final zero, bytes */
#define XSHM_XEN_PATH_MAX  96
#define XSHM_XEN_VALUE_MAX 160

/** Longest name of a request, with the final zero. Names are short: C
 *  xenstored counts the names of all children in a node's 2048 bytes. */
#define XSHM_XEN_NAME_MAX 20

/** Characters of a process in a name: 30 bits of its 64 */
#define XSHM_XEN_NAME_PROCESS 5

/** Identity of a virtual machine, from one start of its kernel to its end */
#define XSHM_XEN_IDENTITY_SIZE 16


/** Device address: a virtual machine that may be on this host */
typedef struct xshm_xen_dev_addr {
    uint8_t  identity[XSHM_XEN_IDENTITY_SIZE];
    uint16_t domid;
} __attribute__((packed)) xshm_xen_dev_addr_t;

XSHM_ABI_ASSERT(sizeof(xshm_xen_dev_addr_t) <= XSHM_DEV_ADDR_MAX);


/** Value of a request */
typedef struct xshm_xen_ask {
    uint32_t          version;   /**< XSHM_ABI_VERSION of the sender */
    uint32_t          time;      /**< Of the sender's kernel, seconds */
    uint32_t          gref;      /**< Grant reference of the first data page */
    uint32_t          num_pages; /**< Data pages */
    xshm_iface_addr_t target;    /**< Whom it is for */
} xshm_xen_ask_t;


/** Value of a refusal */
typedef struct xshm_xen_refusal {
    uint32_t version; /**< XSHM_ABI_VERSION of the receiver */
    uint32_t time;    /**< Of the receiver's kernel, seconds */
    uint32_t reason;  /**< xshm_reason_t */
} xshm_xen_refusal_t;


/** A node's path, taken apart */
typedef struct xshm_xen_path {
    uint32_t    domid;  /**< Whose tree it is in */
    char        folder; /**< XSHM_XEN_REQUESTS or XSHM_XEN_REFUSALS */
    uint32_t    peer;   /**< Whom it is for */
    const char *name;   /**< In the path */
} xshm_xen_path_t;


/**
 * Make the name of a request: it tells the peer's processes whose it is, and
 * is unique among all requests of this domain.
 *
 * @param [out] name    XSHM_XEN_NAME_MAX bytes.
 * @param [in]  target  Process that the request is for.
 * @param [in]  sender  This process.
 * @param [in]  number  Of the request in this process.
 */
void xshm_xen_name_format(char *name, uint64_t target, uint64_t sender,
                          uint32_t number);

/** Is a request with this name for this process (or for one with a similar
 *  name: its value tells)? */
int xshm_xen_name_is_for(const char *name, uint64_t target);

/** Was a request with this name sent by this process? */
int xshm_xen_name_is_from(const char *name, uint64_t sender);

/** The part of a name that stands for its target or, if @a is_sender, for its
 *  sender: XSHM_XEN_NAME_PROCESS characters and the final zero */
void xshm_xen_name_process(char *process, const char *name, int is_sender);

/** Take a path apart. @return Zero if it is none of a request or refusal. */
int xshm_xen_path_parse(const char *path, xshm_xen_path_t *parsed);

/** Is this the path of a domain's identity? @return Zero if not. */
int xshm_xen_id_path_parse(const char *path, uint32_t *domid);

/** Write a request's value: at most XSHM_XEN_VALUE_MAX bytes */
void xshm_xen_ask_format(char *value, const xshm_xen_ask_t *ask);

/**
 * Read a request's value, which a peer wrote.
 *
 * @return Zero if it is malformed. Of another version only that and the time
 *         are read, and filled in.
 */
int xshm_xen_ask_parse(const char *value, xshm_xen_ask_t *ask);

/** Write a refusal's value: at most XSHM_XEN_VALUE_MAX bytes */
void xshm_xen_refusal_format(char *value, const xshm_xen_refusal_t *refusal);

/** Read a refusal's value, which a peer wrote. @return Zero: malformed. */
int xshm_xen_refusal_parse(const char *value, xshm_xen_refusal_t *refusal);

/** Write an identity: at most XSHM_XEN_VALUE_MAX bytes */
void xshm_xen_identity_format(char *value, const uint8_t *identity);

#endif
