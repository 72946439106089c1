/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_NEWS_H_
#define XSHM_XEN_NEWS_H_

#include "xen_wire.h"

#include <ucs/datastruct/list.h>

/**
 * What has changed in the trees of other domains, and was not looked at yet.
 *
 * A domain can change its own nodes as fast as xenstored lets it, and each
 * change is an event, which libxenstore keeps until it is taken. So events are
 * taken at once, and are noted here: the same node once, however often it
 * changes, and so many of a domain at most. Domains take turns, and each of
 * them has a budget: looking at a node costs a request to xenstored.
 *
 * Nothing here calls Xen.
 *
 * Threads: the service's.
 */

/** Nodes of a domain that wait at a time: as many as it may have channels. What
 *  has no room is a request that nobody answers. */
#define XSHM_XEN_NEWS_MAX 1024u

/** Nodes of a domain that are looked at without a pause: each channel is two
 *  changes, that its request is there and that it is gone */
#define XSHM_XEN_NEWS_BURST (2 * XSHM_XEN_NEWS_MAX)

/** Nodes that it may have looked at in each millisecond, after that */
#define XSHM_XEN_NEWS_RATE 1u

/** How long to wait for more of the budget, milliseconds */
#define XSHM_XEN_NEWS_PAUSE_MS 10

/** Folder of the node that says who a domain is; it has no name */
#define XSHM_XEN_IDENTITY 'i'


typedef struct xshm_xen_news {
    ucs_list_link_t sources; /**< Domains; whose turn it is first */
} xshm_xen_news_t;


/** A node that has changed */
typedef struct xshm_xen_news_item {
    uint32_t domid;  /**< Whose it is */
    char     folder; /**< XSHM_XEN_REQUESTS, _REFUSALS or _IDENTITY */
    char     name[XSHM_XEN_NAME_MAX];
} xshm_xen_news_item_t;


void xshm_xen_news_init(xshm_xen_news_t *news);

void xshm_xen_news_cleanup(xshm_xen_news_t *news);

/**
 * Note a change.
 *
 * @param [in] name  Shorter than XSHM_XEN_NAME_MAX.
 *
 * @return Zero: no room. There is always some for the identity of a domain that
 *         is known here.
 */
int xshm_xen_news_add(xshm_xen_news_t *news, uint32_t domid, char folder,
                      const char *name, uint64_t now_ms);

/** Take the next change that may be looked at now. @return Zero: none. */
int xshm_xen_news_take(xshm_xen_news_t *news, uint64_t now_ms,
                       xshm_xen_news_item_t *item);

/** @return Milliseconds until there is something to be taken, or -1: nothing is
 *          noted. */
int xshm_xen_news_wait(xshm_xen_news_t *news, uint64_t now_ms);

#endif
