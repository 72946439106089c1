/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_lookup.h"
#include "../complain.h"

#include <ucs/debug/log.h>

#include <stdlib.h>
#include <string.h>


void xshm_xen_lookups_init(xshm_xen_lookups_t *lookups)
{
    ucs_list_head_init(&lookups->list);
    lookups->count = 0;
}

void xshm_xen_lookups_cleanup(xshm_xen_lookups_t *lookups)
{
    xshm_xen_lookup_t *lookup, *tmp;

    ucs_list_for_each_safe(lookup, tmp, &lookups->list, list) {
        free(lookup);
    }
}

static xshm_xen_lookup_t *xshm_xen_lookup_find(xshm_xen_lookups_t *lookups,
                                               const xshm_xen_dev_addr_t *addr)
{
    xshm_xen_lookup_t *lookup;

    ucs_list_for_each(lookup, &lookups->list, list) {
        if (!memcmp(&lookup->addr, addr, sizeof(*addr))) {
            return lookup;
        }
    }

    return NULL;
}

/* The oldest one that nobody looks at, or NULL */
static xshm_xen_lookup_t *xshm_xen_lookup_idle(xshm_xen_lookups_t *lookups)
{
    xshm_xen_lookup_t *lookup;

    ucs_list_for_each(lookup, &lookups->list, list) {
        if ((lookup->state != XSHM_XEN_LOOKUP_ASKED) &&
            (lookup->num_waiting == 0)) {
            return lookup;
        }
    }

    return NULL;
}

static void
xshm_xen_lookup_renew(xshm_xen_lookups_t *lookups, xshm_xen_lookup_t *lookup)
{
    ucs_list_del(&lookup->list);
    ucs_list_add_tail(&lookups->list, &lookup->list);
}

static xshm_xen_lookup_t *xshm_xen_lookup_new(xshm_xen_lookups_t *lookups)
{
    xshm_xen_lookup_t *lookup = calloc(1, sizeof(*lookup));

    if (lookup == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes to find a peer",
                  sizeof(*lookup));
        return NULL;
    }

    ++lookups->count;
    ucs_list_add_tail(&lookups->list, &lookup->list);
    return lookup;
}

static xshm_xen_lookup_t *xshm_xen_lookup_reuse(xshm_xen_lookups_t *lookups)
{
    xshm_xen_lookup_t *lookup = xshm_xen_lookup_idle(lookups);

    if (lookup == NULL) {
        xshm_complain("xshm: %u machines are being looked for in xenstore: "
                      "another one is taken for unreachable for now",
                      lookups->count);
        return NULL;
    }

    xshm_xen_lookup_renew(lookups, lookup);
    return lookup;
}

xshm_xen_lookup_t *xshm_xen_lookup_get(xshm_xen_lookups_t        *lookups,
                                       const xshm_xen_dev_addr_t *addr)
{
    xshm_xen_lookup_t *lookup = xshm_xen_lookup_find(lookups, addr);

    if (lookup != NULL) {
        xshm_xen_lookup_renew(lookups, lookup);
        return lookup;
    }

    lookup = (lookups->count < XSHM_XEN_LOOKUP_MAX) ?
                     xshm_xen_lookup_new(lookups) :
                     xshm_xen_lookup_reuse(lookups);
    if (lookup != NULL) {
        lookup->addr  = *addr;
        lookup->state = XSHM_XEN_LOOKUP_FORGOTTEN;
    }

    return lookup;
}

xshm_xen_lookup_t *xshm_xen_lookup_next(xshm_xen_lookups_t *lookups)
{
    xshm_xen_lookup_t *lookup;

    ucs_list_for_each(lookup, &lookups->list, list) {
        if (lookup->state == XSHM_XEN_LOOKUP_ASKED) {
            return lookup;
        }
    }

    return NULL;
}

void xshm_xen_lookups_forget(xshm_xen_lookups_t *lookups, uint32_t domid)
{
    xshm_xen_lookup_t *lookup;

    ucs_list_for_each(lookup, &lookups->list, list) {
        if ((lookup->state != XSHM_XEN_LOOKUP_ASKED) &&
            ((domid == UINT32_MAX) || (lookup->addr.domid == domid))) {
            lookup->state = XSHM_XEN_LOOKUP_FORGOTTEN;
        }
    }
}
