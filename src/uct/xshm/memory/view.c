/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "view.h"
#include "registry.h"

#include <ucs/datastruct/khash.h>
#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>


static inline khint_t xshm_view_name_hash(xshm_view_name_t name)
{
    return kh_int64_hash_func(name.process ^ name.region);
}

static inline int xshm_view_name_equal(xshm_view_name_t a, xshm_view_name_t b)
{
    return (a.process == b.process) && (a.region == b.region) &&
           (a.domain == b.domain);
}

KHASH_INIT(xshm_views, xshm_view_name_t, xshm_view_t *, 1, xshm_view_name_hash,
           xshm_view_name_equal)


static struct {
    pthread_mutex_t lock;
    khash_t(xshm_views) views;
    unsigned num_asking;
} xshm_views = {.lock = PTHREAD_MUTEX_INITIALIZER};


int xshm_view_is_asking(void)
{
    return __atomic_load_n(&xshm_views.num_asking, __ATOMIC_RELAXED) > 0;
}

static void xshm_view_set_state(xshm_view_t *view, xshm_view_state_t state)
{
    /* Pairs with the load in xshm_view_state(): the mapping is described when
     * it is said to be there */
    __atomic_store_n(&view->state, state, __ATOMIC_RELEASE);
}

static xshm_view_t *xshm_view_new(const xshm_view_name_t *name)
{
    xshm_view_t *view = calloc(1, sizeof(*view));

    if (view == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a peer's memory",
                  sizeof(*view));
        return NULL;
    }

    view->name  = *name;
    view->state = XSHM_VIEW_NEW;
    return view;
}

/* With the lock */
static xshm_view_t *xshm_view_find_or_add(const xshm_view_name_t *name)
{
    xshm_view_t *view;
    khiter_t     iter;
    int          ret;

    iter = kh_put(xshm_views, &xshm_views.views, *name, &ret);
    if (ret == UCS_KH_PUT_FAILED) {
        ucs_error("xshm: cannot allocate memory for a table of peers' memory");
        return NULL;
    }

    if (ret == UCS_KH_PUT_KEY_PRESENT) {
        return kh_value(&xshm_views.views, iter);
    }

    view = xshm_view_new(name);
    if (view == NULL) {
        kh_del(xshm_views, &xshm_views.views, iter);
        return NULL;
    }

    view->is_listed                   = 1;
    kh_value(&xshm_views.views, iter) = view;
    return view;
}

xshm_view_t *xshm_view_get(const xshm_abi_key_t *key, int domain)
{
    xshm_view_name_t name = {.process = key->process,
                             .region  = key->region,
                             .domain  = domain};
    xshm_view_t     *view;

    pthread_mutex_lock(&xshm_views.lock);
    view = xshm_view_find_or_add(&name);
    if (view != NULL) {
        ++view->refs;
    }
    pthread_mutex_unlock(&xshm_views.lock);
    return view;
}

/* With the lock: nobody finds it any more */
static void xshm_view_unlist(xshm_view_t *view)
{
    if (view->is_listed) {
        view->is_listed = 0;
        kh_del(xshm_views, &xshm_views.views,
               kh_get(xshm_views, &xshm_views.views, view->name));
    }
}

static void xshm_view_do_free(xshm_work_t *work)
{
    xshm_view_t *view = ucs_container_of(work, xshm_view_t, work);

    view->platform->ops->region_unmap(&view->info);
    free(view);
}

static void xshm_view_free(xshm_view_t *view)
{
    if (view->region != NULL) {
        xshm_reg_put_region(view->region);
        free(view);
    } else if (view->state == XSHM_VIEW_MAPPED) {
        xshm_service_post(&view->work, xshm_view_do_free);
    } else {
        free(view);
    }
}

/* With the lock. What is mapped is kept for the next key of it.
 * @return Not zero: to be freed. */
static int xshm_view_unref(xshm_view_t *view)
{
    if (--view->refs > 0) {
        return 0;
    }

    if (view->state != XSHM_VIEW_MAPPED) {
        xshm_view_unlist(view);
    }

    return !view->is_listed;
}

void xshm_view_put(xshm_view_t *view)
{
    int is_free;

    pthread_mutex_lock(&xshm_views.lock);
    is_free = xshm_view_unref(view);
    pthread_mutex_unlock(&xshm_views.lock);
    if (is_free) {
        xshm_view_free(view);
    }
}

static void xshm_view_do_ask(xshm_work_t *work)
{
    xshm_view_t *view = ucs_container_of(work, xshm_view_t, work);

    view->platform->ops->region_ask(view->platform, &view->ask);
}

/* Memory of this process is there already. It stays until nobody refers to the
 * view. */
static void xshm_view_find_own(xshm_view_t *view, const xshm_abi_key_t *key)
{
    xshm_region_t *region = xshm_reg_get_region(key->slot, key->id);
    int            is_good;

    pthread_mutex_lock(&xshm_views.lock);
    is_good = (region != NULL) && (region->id == view->name.region) &&
              (view->state == XSHM_VIEW_NEW);
    if (is_good) {
        view->region       = region;
        view->info.address = region->address;
        view->info.base    = (uintptr_t)region->address;
        view->info.length  = region->length;
        view->info.region  = region->id;
        view->info.rights  = region->rights;
    }

    if (view->state == XSHM_VIEW_NEW) {
        xshm_view_set_state(view, is_good ? XSHM_VIEW_MAPPED : XSHM_VIEW_NONE);
    }
    pthread_mutex_unlock(&xshm_views.lock);

    if ((region != NULL) && !is_good) {
        xshm_reg_put_region(region);
    }
}

void xshm_view_ask(xshm_view_t *view, xshm_platform_t *platform,
                   const void *dev_addr, const xshm_abi_key_t *key)
{
    int is_new;

    if ((key->process == platform->process) &&
        (view->name.domain == XSHM_DOMAIN_SAME)) {
        xshm_view_find_own(view, key);
        return;
    }

    pthread_mutex_lock(&xshm_views.lock);
    is_new = (view->state == XSHM_VIEW_NEW);
    if (is_new) {
        /* For who answers */
        ++view->refs;
        ++xshm_views.num_asking;
        view->platform    = platform;
        view->ask.process = key->process;
        view->ask.region  = key->region;
        view->ask.id      = key->id;
        view->ask.slot    = key->slot;
        view->ask.gref    = key->gref;
        view->ask.granted = key->granted;
        memcpy(view->ask.dev_addr, dev_addr, platform->ops->dev_addr_size);
        xshm_view_set_state(view, XSHM_VIEW_ASKING);
    }
    pthread_mutex_unlock(&xshm_views.lock);

    if (is_new) {
        xshm_service_post(&view->work, xshm_view_do_ask);
    }
}

void xshm_view_answered(xshm_region_ask_t *ask, const xshm_region_info_t *info)
{
    xshm_view_t *view = ucs_container_of(ask, xshm_view_t, ask);
    int is_good       = (info != NULL) && (info->region == view->name.region);
    int is_free;

    ucs_debug("xshm: region %016" PRIx64 " of process %016" PRIx64
              " in domain %d %s",
              view->name.region, view->name.process, view->name.domain,
              is_good ? "is mapped: direct access" :
                        "cannot be mapped: access by message");

    if ((info != NULL) && !is_good) {
        view->platform->ops->region_unmap(info);
    }

    pthread_mutex_lock(&xshm_views.lock);
    if (is_good) {
        view->info = *info;
    }
    --xshm_views.num_asking;
    xshm_view_set_state(view, is_good ? XSHM_VIEW_MAPPED : XSHM_VIEW_NONE);
    is_free = xshm_view_unref(view);
    pthread_mutex_unlock(&xshm_views.lock);
    if (is_free) {
        xshm_view_free(view);
    }
}

void xshm_view_gone(uint64_t process, uint64_t region, int domain)
{
    xshm_view_name_t name = {.process = process,
                             .region  = region,
                             .domain  = domain};
    xshm_view_t     *view = NULL;
    khiter_t         iter;

    pthread_mutex_lock(&xshm_views.lock);
    iter = kh_get(xshm_views, &xshm_views.views, name);
    if (iter != kh_end(&xshm_views.views)) {
        view = kh_value(&xshm_views.views, iter);
        ++view->refs;
        xshm_view_unlist(view);
    }
    pthread_mutex_unlock(&xshm_views.lock);

    if (view != NULL) {
        xshm_view_put(view);
    }
}
