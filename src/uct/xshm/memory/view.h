/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_VIEW_H_
#define XSHM_VIEW_H_

#include "../platform/platform.h"
#include "../service/service.h"

/**
 * Peers' regions, as they are mapped in this process: each one once, and for
 * as long as its owner has it, since the next key of it comes soon. What was
 * asked for is answered by the service thread; nobody waits for it.
 *
 * Threads: any, but for what is marked as the service's.
 */

typedef enum {
    XSHM_VIEW_NEW,    /**< Nobody has asked for it yet */
    XSHM_VIEW_ASKING, /**< The answer will come */
    XSHM_VIEW_MAPPED, /**< It is there, and stays while it is referred to */
    XSHM_VIEW_NONE    /**< It cannot be mapped */
} xshm_view_state_t;


/** What identifies a region. Other machines may know the names, so they count
 *  only together with where they were heard of: a machine that offers its own
 *  memory by the names of another one's does not get what is meant for that. */
typedef struct xshm_view_name {
    uint64_t process;
    uint64_t region;
    int      domain; /**< Of the owner, by the address of the endpoint, or
                          XSHM_DOMAIN_SAME */
} xshm_view_name_t;


typedef struct xshm_view {
    xshm_view_name_t   name;
    xshm_view_state_t  state; /**< See xshm_view_state() */
    xshm_region_info_t info;  /**< While it is mapped */
    unsigned           refs;
    int                is_listed; /**< Others can find it */
    xshm_region_t     *region;    /**< It is this process' own, or NULL */
    xshm_platform_t   *platform;  /**< Who was asked */
    xshm_region_ask_t  ask;
    xshm_work_t        work;
} xshm_view_t;


/** Get the view that a key is about, if its owner is in @a domain, and keep it.
 *  It may be new. @return NULL: no memory. */
xshm_view_t *xshm_view_get(const xshm_abi_key_t *key, int domain);

/** Be done with a view */
void xshm_view_put(xshm_view_t *view);

/** Ask the owner for the region that @a key names, if nobody has asked yet */
void xshm_view_ask(xshm_view_t *view, xshm_platform_t *platform,
                   const void *dev_addr, const xshm_abi_key_t *key);

/** How far it is. What is there once it is mapped may be read then. */
static inline xshm_view_state_t xshm_view_state(const xshm_view_t *view)
{
    /* Pairs with the store in xshm_view_set_state() */
    return __atomic_load_n(&view->state, __ATOMIC_ACQUIRE);
}

/** Is any answer awaited? A hint: may be out of date. */
int xshm_view_is_asking(void);

/** An answer (service thread). @a info is NULL if it is no. */
void xshm_view_answered(xshm_region_ask_t *ask, const xshm_region_info_t *info);

/** The owner of a region, in @a domain, has freed it, or is gone (service
 *  thread) */
void xshm_view_gone(uint64_t process, uint64_t region, int domain);

#endif
