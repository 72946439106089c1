/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "rma.h"
#include "../service/service.h"

#include <ucs/debug/log.h>
#include <ucs/debug/memtrack_int.h>


int xshm_key_is_valid(const xshm_abi_key_t *key)
{
    return (key->magic == XSHM_ABI_KEY_MAGIC) &&
           (key->version == XSHM_ABI_VERSION) &&
           !(key->rights & ~XSHM_RIGHT_ALL) &&
           !(key->flags & ~XSHM_KEY_COPY_INSTEAD) && (key->unused == 0) &&
           (key->base + key->length >= key->base);
}

/* Is the key of memory that this process can map, wherever it is used? It is
 * here, or was granted to this machine. */
static int xshm_key_is_near(const xshm_abi_key_t *key)
{
    int      own = xshm_service_domain();
    uint16_t domain =
            (own == XSHM_DOMAIN_SAME) ? XSHM_ABI_NO_DOMAIN : (uint16_t)own;

    return (key->region != 0) &&
           ((key->owner == domain) ||
            ((key->granted == domain) && (own != XSHM_DOMAIN_SAME)));
}

/* Nothing is asked for, as nobody knows yet whom to ask: an operation does. */
ucs_status_t xshm_rkey_unpack(uct_component_t *component,
                              const void *rkey_buffer, uct_rkey_t *rkey_p,
                              void **handle_p)
{
    xshm_rkey_t *rkey;

    rkey = ucs_malloc(sizeof(*rkey), "xshm_rkey");
    if (rkey == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a key", sizeof(*rkey));
        return UCS_ERR_NO_MEMORY;
    }

    memcpy(&rkey->key, rkey_buffer, sizeof(rkey->key));
    if (!xshm_key_is_valid(&rkey->key)) {
        ucs_error("xshm: a remote key is malformed (magic 0x%x, version %u)",
                  rkey->key.magic, rkey->key.version);
        ucs_free(rkey);
        return UCS_ERR_INVALID_PARAM;
    }

    /* UCP takes that as a hint to go on without the key */
    if ((rkey->key.flags & XSHM_KEY_COPY_INSTEAD) &&
        !xshm_key_is_near(&rkey->key)) {
        ucs_free(rkey);
        return UCS_ERR_UNREACHABLE;
    }

    rkey->view = NULL;
    memset(rkey->reach, 0, sizeof(rkey->reach));
    rkey->delta = 0;
    *rkey_p     = (uintptr_t)rkey;
    *handle_p   = NULL;
    return UCS_OK;
}

ucs_status_t
xshm_rkey_release(uct_component_t *component, uct_rkey_t tl_rkey, void *handle)
{
    xshm_rkey_t *rkey = (xshm_rkey_t *)tl_rkey;

    if (rkey->view != NULL) {
        xshm_view_put(rkey->view);
    }

    ucs_free(rkey);
    return UCS_OK;
}

/* A peer may lie about where a registration is, but only what it gave is used.
 * @return Zero: the key does not fit what was mapped. */
static int xshm_rkey_set_direct(xshm_rkey_t *rkey, const xshm_view_t *view)
{
    const xshm_region_info_t *info   = &view->info;
    uint64_t                  offset = rkey->key.base - info->base;
    unsigned                  i;

    if ((offset > info->length) || (rkey->key.length > info->length - offset)) {
        return 0;
    }

    __atomic_store_n(&rkey->delta,
                     (intptr_t)((uintptr_t)info->address - info->base),
                     __ATOMIC_RELAXED);
    for (i = 0; i < XSHM_RKEY_NUM_RIGHTS; ++i) {
        if (rkey->key.rights & info->rights & UCS_BIT(i)) {
            /* DIRECT_SET: pairs with DIRECT_SEE. After the mapping's place. */
            __atomic_store_n(&rkey->reach[i], rkey->key.length,
                             __ATOMIC_RELEASE);
        }
    }

    return 1;
}

static xshm_view_t *xshm_rkey_view(const xshm_rkey_t *rkey)
{
    /* VIEW_SEE: pairs with VIEW_SET */
    return __atomic_load_n(&rkey->view, __ATOMIC_ACQUIRE);
}

/* Is it known where it is mapped, with any right? */
static int xshm_rkey_is_direct(const xshm_rkey_t *rkey)
{
    uint64_t reach = 0;
    unsigned i;

    for (i = 0; i < XSHM_RKEY_NUM_RIGHTS; ++i) {
        reach |= xshm_rkey_reach(rkey, UCS_BIT(i));
    }

    return reach != 0;
}

static int xshm_rkey_is_mapped(xshm_rkey_t *rkey)
{
    xshm_view_t *view = xshm_rkey_view(rkey);

    return xshm_rkey_is_direct(rkey) ||
           ((view != NULL) && (xshm_view_state(view) == XSHM_VIEW_MAPPED) &&
            xshm_rkey_set_direct(rkey, view));
}

/* What may be done directly with a key that is mapped */
static unsigned xshm_rkey_direct_rights(const xshm_rkey_t *rkey)
{
    return rkey->key.rights & xshm_rkey_view(rkey)->info.rights;
}

/* The first operation decides, of whichever thread. Without memory for the
 * view, it goes by message, as it does if the key is used for another machine
 * then. */
static xshm_view_t *xshm_rkey_find_view(xshm_rkey_t *rkey, int domain)
{
    xshm_view_t *view  = xshm_rkey_view(rkey);
    xshm_view_t *other = NULL;

    if (view == NULL) {
        view = xshm_view_get(&rkey->key, domain);
        if (view == NULL) {
            return NULL;
        }

        /* VIEW_SET: pairs with VIEW_SEE. After what is in it. */
        if (!__atomic_compare_exchange_n(&rkey->view, &other, view, 0,
                                         __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
            xshm_view_put(view);
            view = other;
        }
    }

    return (view->name.domain == domain) ? view : NULL;
}

ucs_status_t xshm_rkey_ptr(uct_component_t *component, uct_rkey_t tl_rkey,
                           void *handle, uint64_t remote_addr,
                           void **local_addr_p)
{
    xshm_rkey_t *rkey = (xshm_rkey_t *)tl_rkey;

    /* Only what can be both read and written is of use as a pointer */
    if (!xshm_rkey_is_mapped(rkey) ||
        !ucs_test_all_flags(xshm_rkey_direct_rights(rkey),
                            XSHM_RIGHT_PUT | XSHM_RIGHT_GET)) {
        return UCS_ERR_UNREACHABLE;
    }

    if (!xshm_rkey_covers(rkey, remote_addr, 0)) {
        return UCS_ERR_INVALID_ADDR;
    }

    *local_addr_p = xshm_rkey_to_local(rkey, remote_addr);
    return UCS_OK;
}

/* Can it be mapped by who this endpoint leads to? */
static int xshm_rma_may_map(const xshm_ep_t *ep, const xshm_rkey_t *rkey)
{
    const xshm_iface_t *iface =
            ucs_derived_of(ep->super.super.iface, xshm_iface_t);

    return (rkey->key.region != 0) && !iface->config.is_message_only &&
           (rkey->key.process == ep->peer->addr.process) &&
           (xshm_iface_platform(iface)->ops->region_ask != NULL);
}

static ucs_status_t
xshm_rma_find_view(xshm_ep_t *ep, xshm_rkey_t *rkey, unsigned right)
{
    xshm_platform_t *platform = xshm_iface_platform(
            ucs_derived_of(ep->super.super.iface, xshm_iface_t));
    const void  *dev_addr = ep->peer->tx->dev_addr;
    xshm_view_t *view;

    view = xshm_rkey_find_view(rkey, platform->ops->domain(dev_addr));
    if (view == NULL) {
        return UCS_INPROGRESS;
    }

    if (xshm_view_state(view) == XSHM_VIEW_NEW) {
        xshm_view_ask(view, platform, dev_addr, &rkey->key);
    }

    switch (xshm_view_state(view)) {
    case XSHM_VIEW_ASKING:
        return UCS_ERR_NO_RESOURCE;
    case XSHM_VIEW_MAPPED:
        if (xshm_rkey_is_mapped(rkey) &&
            (xshm_rkey_direct_rights(rkey) & right) && !ep->peer->is_indirect) {
            return UCS_OK;
        }
        return UCS_INPROGRESS;
    default:
        return UCS_INPROGRESS;
    }
}

UCS_F_NOINLINE ucs_status_t xshm_rma_find_slow(xshm_ep_t *ep, xshm_rkey_t *rkey,
                                               uint64_t address, size_t length,
                                               unsigned right, void **ptr_p)
{
    ucs_status_t status;

    if (ep->status != UCS_OK) {
        return ep->status;
    }

    if (xshm_ep_must_wait(ep)) {
        return UCS_ERR_NO_RESOURCE;
    }

    /* The target would refuse it, too */
    if (!xshm_rkey_covers(rkey, address, length) ||
        !(rkey->key.rights & right)) {
        ucs_debug("xshm: %zu bytes at 0x%" PRIx64 " are not what the key "
                  "allows (0x%" PRIx64 " bytes at 0x%" PRIx64 ", rights 0x%x)",
                  length, address, rkey->key.length, rkey->key.base,
                  rkey->key.rights);
        return UCS_ERR_REJECTED;
    }

    if (!xshm_rma_may_map(ep, rkey)) {
        return UCS_INPROGRESS;
    }

    status = xshm_rma_find_view(ep, rkey, right);
    if (status == UCS_OK) {
        /* The fast way is open only to whom the owner's end is told */
        xshm_peer_watch(ep->peer);
        xshm_ep_update_ring(ep);
        *ptr_p = xshm_rkey_to_local(rkey, address);
    }

    return status;
}
