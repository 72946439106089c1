/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_LOOKUP_H_
#define XSHM_XEN_LOOKUP_H_

#include "xen_wire.h"

#include <ucs/datastruct/list.h>

/**
 * The machines that this process was asked to find, and what xenstore said.
 * Their addresses come from peers, so there can be any number of them: so many
 * are kept, and the one that was asked for the longest time ago is forgotten
 * for a new one.
 *
 * Nothing here calls Xen.
 *
 * Threads: the caller's lock protects all.
 */

#define XSHM_XEN_LOOKUP_MAX 1024u


typedef enum {
    XSHM_XEN_LOOKUP_ASKED,
    XSHM_XEN_LOOKUP_YES,
    XSHM_XEN_LOOKUP_NO,
    XSHM_XEN_LOOKUP_FORGOTTEN
} xshm_xen_lookup_state_t;


/** A machine that was asked for */
typedef struct xshm_xen_lookup {
    ucs_list_link_t         list;
    xshm_xen_dev_addr_t     addr;
    xshm_xen_lookup_state_t state;
    unsigned                num_waiting; /**< Threads that look at it */
} xshm_xen_lookup_t;


typedef struct xshm_xen_lookups {
    ucs_list_link_t list; /**< The one that was asked for last is the last */
    unsigned        count;
} xshm_xen_lookups_t;


void xshm_xen_lookups_init(xshm_xen_lookups_t *lookups);

void xshm_xen_lookups_cleanup(xshm_xen_lookups_t *lookups);

/**
 * Find a machine, or note it: FORGOTTEN then. It stays while it is ASKED, or
 * somebody is noted in num_waiting.
 *
 * @return NULL: no memory, or all others are still being asked for. It is to be
 *         tried again.
 */
xshm_xen_lookup_t *xshm_xen_lookup_get(xshm_xen_lookups_t        *lookups,
                                       const xshm_xen_dev_addr_t *addr);

/** One that is ASKED, or NULL */
xshm_xen_lookup_t *xshm_xen_lookup_next(xshm_xen_lookups_t *lookups);

/** The answers about a domain, or about all (UINT32_MAX), hold no longer */
void xshm_xen_lookups_forget(xshm_xen_lookups_t *lookups, uint32_t domid);

#endif
