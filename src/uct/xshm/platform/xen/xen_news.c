/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_news.h"

#include <ucs/debug/log.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>


typedef struct xshm_xen_news_node {
    char folder;
    char name[XSHM_XEN_NAME_MAX];
} xshm_xen_news_node_t;


/* A domain that has changed something lately. It is kept until its budget is as
 * large as that of one that is not known. */
typedef struct xshm_xen_source {
    ucs_list_link_t      list;
    uint32_t             domid;
    int                  has_identity; /* The node that says who it is, too */
    unsigned             credit;       /* Nodes that may be looked at */
    uint64_t             stamp;        /* When that was right, ms */
    unsigned             first;        /* The oldest one, in the array */
    unsigned             count;
    xshm_xen_news_node_t nodes[XSHM_XEN_NEWS_MAX];
} xshm_xen_source_t;


void xshm_xen_news_init(xshm_xen_news_t *news)
{
    ucs_list_head_init(&news->sources);
}

void xshm_xen_news_cleanup(xshm_xen_news_t *news)
{
    xshm_xen_source_t *source, *tmp;

    ucs_list_for_each_safe(source, tmp, &news->sources, list) {
        free(source);
    }
}

static xshm_xen_source_t *
xshm_xen_source_get(xshm_xen_news_t *news, uint32_t domid, uint64_t now_ms)
{
    xshm_xen_source_t *source;

    ucs_list_for_each(source, &news->sources, list) {
        if (source->domid == domid) {
            return source;
        }
    }

    source = calloc(1, sizeof(*source));
    if (source == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for what domain %u changes",
                  sizeof(*source), domid);
        return NULL;
    }

    source->domid  = domid;
    source->credit = XSHM_XEN_NEWS_BURST;
    source->stamp  = now_ms;
    ucs_list_add_tail(&news->sources, &source->list);
    return source;
}

static xshm_xen_news_node_t *
xshm_xen_source_node(xshm_xen_source_t *source, unsigned index)
{
    return &source->nodes[(source->first + index) % XSHM_XEN_NEWS_MAX];
}

/* From the newest one: a node that changes over and over is found soon */
static int
xshm_xen_source_has(xshm_xen_source_t *source, char folder, const char *name)
{
    const xshm_xen_news_node_t *node;
    unsigned                    i;

    for (i = source->count; i > 0; --i) {
        node = xshm_xen_source_node(source, i - 1);
        if ((node->folder == folder) && !strcmp(node->name, name)) {
            return 1;
        }
    }

    return 0;
}

static int
xshm_xen_source_add(xshm_xen_source_t *source, char folder, const char *name)
{
    xshm_xen_news_node_t *node;

    if (folder == XSHM_XEN_IDENTITY) {
        source->has_identity = 1;
        return 1;
    }

    if (xshm_xen_source_has(source, folder, name)) {
        return 1;
    }

    if (source->count == XSHM_XEN_NEWS_MAX) {
        return 0;
    }

    node         = xshm_xen_source_node(source, source->count++);
    node->folder = folder;
    snprintf(node->name, sizeof(node->name), "%s", name);
    return 1;
}

int xshm_xen_news_add(xshm_xen_news_t *news, uint32_t domid, char folder,
                      const char *name, uint64_t now_ms)
{
    xshm_xen_source_t *source = xshm_xen_source_get(news, domid, now_ms);

    return (source != NULL) && xshm_xen_source_add(source, folder, name);
}

static void xshm_xen_source_earn(xshm_xen_source_t *source, uint64_t now_ms)
{
    uint64_t earned = (now_ms - source->stamp) * XSHM_XEN_NEWS_RATE;

    source->stamp  = now_ms;
    source->credit = (earned < XSHM_XEN_NEWS_BURST - source->credit) ?
                             source->credit + (unsigned)earned :
                             XSHM_XEN_NEWS_BURST;
}

static int xshm_xen_source_is_empty(const xshm_xen_source_t *source)
{
    return !source->has_identity && (source->count == 0);
}

/* Who a domain is comes first: what else it says may be of another machine */
static void
xshm_xen_source_take(xshm_xen_source_t *source, xshm_xen_news_item_t *item)
{
    const xshm_xen_news_node_t *node;

    memset(item, 0, sizeof(*item));
    item->domid = source->domid;
    --source->credit;
    if (source->has_identity) {
        source->has_identity = 0;
        item->folder         = XSHM_XEN_IDENTITY;
        return;
    }

    node         = xshm_xen_source_node(source, 0);
    item->folder = node->folder;
    memcpy(item->name, node->name, sizeof(item->name));
    source->first = (source->first + 1) % XSHM_XEN_NEWS_MAX;
    --source->count;
}

/* Whose turn it is, or NULL */
static xshm_xen_source_t *
xshm_xen_news_next(xshm_xen_news_t *news, uint64_t now_ms)
{
    xshm_xen_source_t *source, *tmp;

    ucs_list_for_each_safe(source, tmp, &news->sources, list) {
        xshm_xen_source_earn(source, now_ms);
        if (!xshm_xen_source_is_empty(source)) {
            if (source->credit > 0) {
                return source;
            }
        } else if (source->credit == XSHM_XEN_NEWS_BURST) {
            ucs_list_del(&source->list);
            free(source);
        }
    }

    return NULL;
}

int xshm_xen_news_take(xshm_xen_news_t *news, uint64_t now_ms,
                       xshm_xen_news_item_t *item)
{
    xshm_xen_source_t *source = xshm_xen_news_next(news, now_ms);

    if (source == NULL) {
        return 0;
    }

    xshm_xen_source_take(source, item);
    ucs_list_del(&source->list);
    ucs_list_add_tail(&news->sources, &source->list);
    return 1;
}

int xshm_xen_news_wait(xshm_xen_news_t *news, uint64_t now_ms)
{
    xshm_xen_source_t *source;

    if (xshm_xen_news_next(news, now_ms) != NULL) {
        return 0;
    }

    ucs_list_for_each(source, &news->sources, list) {
        if (!xshm_xen_source_is_empty(source)) {
            return XSHM_XEN_NEWS_PAUSE_MS;
        }
    }

    return -1;
}
