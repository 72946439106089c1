/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "registry.h"
#include "view.h"
#include "../service/service.h"

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>


/* The table grows by chunks, which stay: so who has a pointer into it may
 * always read there */
#define XSHM_REG_CHUNK_BITS 8u
#define XSHM_REG_CHUNK_SIZE (1u << XSHM_REG_CHUNK_BITS)
#define XSHM_REG_CHUNK_MASK (XSHM_REG_CHUNK_SIZE - 1)
#define XSHM_REG_MAX_CHUNKS 4096u

/* Regions that the first table of them has room for; later ones have twice the
 * room of the one before */
#define XSHM_REG_MIN_REGIONS 16u

/* What getrandom(2) gives without fail: 256 bytes */
#define XSHM_REG_NUM_RANDOM 32u


static struct {
    pthread_mutex_t lock;
    xshm_reg_t     *chunks[XSHM_REG_MAX_CHUNKS];
    unsigned        num_chunks;
    xshm_reg_t     *free;
    xshm_region_t **regions; /* By address */
    unsigned        num_regions;
    unsigned        max_regions;
    uint64_t        random[XSHM_REG_NUM_RANDOM];
    unsigned        num_random;
    uint64_t        process;
    int             is_fork_handled;
} xshm_registry = {.lock = PTHREAD_MUTEX_INITIALIZER};


/* A system call for each would take longer than all the rest */
static uint64_t xshm_registry_random_locked(void)
{
    uint64_t value = 0;

    while (value == 0) {
        if (xshm_registry.num_random == 0) {
            if (getrandom(xshm_registry.random, sizeof(xshm_registry.random),
                          0) != sizeof(xshm_registry.random)) {
                ucs_error("xshm: cannot get random numbers: %m");
                return 0;
            }
            xshm_registry.num_random = XSHM_REG_NUM_RANDOM;
        }

        value = xshm_registry.random[--xshm_registry.num_random];
    }

    return value;
}

uint64_t xshm_reg_random(void)
{
    uint64_t value;

    pthread_mutex_lock(&xshm_registry.lock);
    value = xshm_registry_random_locked();
    pthread_mutex_unlock(&xshm_registry.lock);
    return value;
}

/* A child is another process, and its random numbers are others, too. A thread
 * that does not exist in it may have had the lock. */
static void xshm_registry_handle_fork(void)
{
    pthread_mutex_init(&xshm_registry.lock, NULL);
    xshm_registry.num_random = 0;
    xshm_registry.process    = 0;
}

uint64_t xshm_process_name(void)
{
    uint64_t process;

    pthread_mutex_lock(&xshm_registry.lock);
    if (!xshm_registry.is_fork_handled) {
        xshm_registry.is_fork_handled = 1;
        pthread_atfork(NULL, NULL, xshm_registry_handle_fork);
    }

    if (xshm_registry.process == 0) {
        xshm_registry.process = xshm_registry_random_locked();
    }
    process = xshm_registry.process;
    pthread_mutex_unlock(&xshm_registry.lock);
    return process;
}

static ucs_status_t xshm_registry_grow(void)
{
    unsigned    index = xshm_registry.num_chunks;
    xshm_reg_t *chunk;
    unsigned    i;

    if (index == XSHM_REG_MAX_CHUNKS) {
        ucs_error("xshm: %u pieces of memory are registered, and no more can "
                  "be: end some registrations",
                  XSHM_REG_MAX_CHUNKS * XSHM_REG_CHUNK_SIZE);
        return UCS_ERR_NO_MEMORY;
    }

    chunk = calloc(XSHM_REG_CHUNK_SIZE, sizeof(*chunk));
    if (chunk == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for registrations",
                  XSHM_REG_CHUNK_SIZE * sizeof(*chunk));
        return UCS_ERR_NO_MEMORY;
    }

    for (i = 0; i < XSHM_REG_CHUNK_SIZE; ++i) {
        chunk[i].slot      = (index << XSHM_REG_CHUNK_BITS) + i;
        chunk[i].next      = xshm_registry.free;
        xshm_registry.free = &chunk[i];
    }

    /* Pairs with the load in xshm_reg_find(): filled before it can be found */
    __atomic_store_n(&xshm_registry.chunks[index], chunk, __ATOMIC_RELEASE);
    ++xshm_registry.num_chunks;
    return UCS_OK;
}

static xshm_reg_t *xshm_reg_find(uint32_t slot)
{
    uint32_t    index = slot >> XSHM_REG_CHUNK_BITS;
    xshm_reg_t *chunk;

    if (index >= XSHM_REG_MAX_CHUNKS) {
        return NULL;
    }

    /* Pairs with the store in xshm_registry_grow() */
    chunk = __atomic_load_n(&xshm_registry.chunks[index], __ATOMIC_ACQUIRE);
    return (chunk == NULL) ? NULL : &chunk[slot & XSHM_REG_CHUNK_MASK];
}

/* Number of regions that start at or below @a address */
static unsigned xshm_registry_upper(uint64_t address)
{
    unsigned low  = 0;
    unsigned high = xshm_registry.num_regions;
    unsigned middle;

    while (low < high) {
        middle = (low + high) / 2;
        if ((uintptr_t)xshm_registry.regions[middle]->address <= address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }

    return low;
}

static xshm_region_t *
xshm_registry_find_region(uint64_t address, uint64_t length)
{
    unsigned       upper = xshm_registry_upper(address);
    xshm_region_t *region;
    uint64_t       offset;

    if (upper == 0) {
        return NULL;
    }

    region = xshm_registry.regions[upper - 1];
    offset = address - (uintptr_t)region->address;
    return ((offset <= region->length) && (length <= region->length - offset)) ?
                   region :
                   NULL;
}

static ucs_status_t xshm_registry_add_region(xshm_region_t *region)
{
    unsigned        max_regions = xshm_registry.max_regions;
    unsigned        upper;
    xshm_region_t **regions;

    if (xshm_registry.num_regions == max_regions) {
        max_regions =
                (max_regions == 0) ? XSHM_REG_MIN_REGIONS : (2 * max_regions);
        regions =
                realloc(xshm_registry.regions, max_regions * sizeof(*regions));
        if (regions == NULL) {
            ucs_error("xshm: cannot allocate %zu bytes for a table of memory",
                      max_regions * sizeof(*regions));
            return UCS_ERR_NO_MEMORY;
        }

        xshm_registry.regions     = regions;
        xshm_registry.max_regions = max_regions;
    }

    regions = xshm_registry.regions;
    upper   = xshm_registry_upper((uintptr_t)region->address);
    memmove(&regions[upper + 1], &regions[upper],
            (xshm_registry.num_regions - upper) * sizeof(*regions));
    regions[upper] = region;
    ++xshm_registry.num_regions;
    return UCS_OK;
}

static void xshm_registry_remove_region(xshm_region_t *region)
{
    unsigned index = xshm_registry_upper((uintptr_t)region->address) - 1;

    --xshm_registry.num_regions;
    memmove(&xshm_registry.regions[index], &xshm_registry.regions[index + 1],
            (xshm_registry.num_regions - index) *
                    sizeof(*xshm_registry.regions));
}

/* Takes over a reference to the region */
static ucs_status_t xshm_registry_add(uint64_t base, uint64_t length,
                                      unsigned rights, xshm_region_t *region,
                                      int is_owner, xshm_reg_t **reg_p)
{
    ucs_status_t status;
    xshm_reg_t  *reg;
    uint64_t     id;

    if (xshm_registry.free == NULL) {
        status = xshm_registry_grow();
        if (status != UCS_OK) {
            return status;
        }
    }

    id = xshm_registry_random_locked();
    if (id == 0) {
        return UCS_ERR_IO_ERROR;
    }

    reg                = xshm_registry.free;
    xshm_registry.free = reg->next;
    reg->base          = base;
    reg->length        = length;
    reg->rights        = rights;
    reg->region        = region;
    reg->is_owner      = is_owner;
    reg->flags         = 0;
    /* Pairs with PIN: all else is there when the name is */
    __atomic_store_n(&reg->id, id, __ATOMIC_RELEASE);
    *reg_p = reg;
    return UCS_OK;
}

ucs_status_t xshm_reg_add(void *address, size_t length, unsigned rights,
                          unsigned flags, xshm_reg_t **reg_p)
{
    xshm_region_t *region;
    ucs_status_t   status;

    pthread_mutex_lock(&xshm_registry.lock);
    region = xshm_registry_find_region((uintptr_t)address, length);
    status = xshm_registry_add((uintptr_t)address, length, rights, region, 0,
                               reg_p);
    if (status == UCS_OK) {
        (*reg_p)->flags = flags;
    }
    if ((status == UCS_OK) && (region != NULL)) {
        ++region->refs;
    }
    pthread_mutex_unlock(&xshm_registry.lock);
    return status;
}

ucs_status_t xshm_reg_alloc(const xshm_platform_ops_t *ops,
                            xshm_region_spec_t *spec, xshm_reg_t **reg_p)
{
    xshm_region_t *region;
    ucs_status_t   status;

    spec->id = xshm_reg_random();
    if (spec->id == 0) {
        return UCS_ERR_IO_ERROR;
    }

    status = ops->region_alloc(xshm_service_platform(ops), spec, &region);
    if (status != UCS_OK) {
        return status;
    }

    region->ops    = ops;
    region->id     = spec->id;
    region->rights = spec->rights;
    region->refs   = 1;

    pthread_mutex_lock(&xshm_registry.lock);
    status = xshm_registry_add_region(region);
    if (status != UCS_OK) {
        goto err_unlock;
    }

    status = xshm_registry_add((uintptr_t)region->address, region->length,
                               spec->rights, region, 1, reg_p);
    if (status != UCS_OK) {
        goto err_remove_region;
    }

    pthread_mutex_unlock(&xshm_registry.lock);
    return UCS_OK;

err_remove_region:
    xshm_registry_remove_region(region);
err_unlock:
    pthread_mutex_unlock(&xshm_registry.lock);
    ops->region_free(region);
    return status;
}

/* Peers that have the region mapped are to let it go */
typedef struct xshm_reg_news {
    xshm_work_t      work;
    xshm_platform_t *platform;
    uint64_t         region;
} xshm_reg_news_t;

static void xshm_reg_do_tell(xshm_work_t *work)
{
    xshm_reg_news_t *news = ucs_container_of(work, xshm_reg_news_t, work);

    news->platform->ops->region_forget(news->platform, news->region);
    free(news);
}

static void xshm_reg_tell(const xshm_region_t *region)
{
    xshm_reg_news_t *news = malloc(sizeof(*news));

    if (news == NULL) {
        ucs_debug("xshm: no memory to tell peers of memory that is freed: they "
                  "have it until they end");
        return;
    }

    news->platform = region->shared;
    news->region   = region->id;
    xshm_service_post(&news->work, xshm_reg_do_tell);
}

static void xshm_reg_free_region(xshm_region_t *region)
{
    if (region->shared != NULL) {
        xshm_reg_tell(region);
    }

    region->ops->region_free(region);
}

static int xshm_registry_put_region(xshm_region_t *region)
{
    return --region->refs == 0;
}

void xshm_reg_put_region(xshm_region_t *region)
{
    int is_last;

    pthread_mutex_lock(&xshm_registry.lock);
    is_last = xshm_registry_put_region(region);
    pthread_mutex_unlock(&xshm_registry.lock);
    if (is_last) {
        xshm_reg_free_region(region);
    }
}

void xshm_reg_remove(xshm_reg_t *reg)
{
    xshm_region_t *region = reg->region;
    uint64_t       id     = reg->is_owner ? region->id : 0;
    int            is_last;

    /* RETIRE: pairs with PIN */
    __atomic_store_n(&reg->id, 0, __ATOMIC_SEQ_CST);
    /* DRAIN: pairs with UNPIN. As long as one copy at most. */
    while (__atomic_load_n(&reg->num_pins, __ATOMIC_SEQ_CST) > 0) {
        sched_yield();
    }

    pthread_mutex_lock(&xshm_registry.lock);
    if (reg->is_owner) {
        xshm_registry_remove_region(region);
    }
    is_last            = (region != NULL) && xshm_registry_put_region(region);
    reg->next          = xshm_registry.free;
    xshm_registry.free = reg;
    pthread_mutex_unlock(&xshm_registry.lock);

    if (is_last) {
        xshm_reg_free_region(region);
    } else if (id != 0) {
        /* This process itself may have a view of it, and keep it */
        xshm_view_gone(xshm_process_name(), id, XSHM_DOMAIN_SAME);
    }
}

/* Whom it is granted to can end at any time, by that machine's end */
static void
xshm_reg_key_region(const xshm_region_t *region, xshm_abi_key_t *key)
{
    key->region  = region->id;
    key->gref    = region->gref;
    key->granted = __atomic_load_n(&region->granted, __ATOMIC_RELAXED);
}

void xshm_reg_key(const xshm_reg_t *reg, uint64_t process, int domain,
                  xshm_abi_key_t *key)
{
    memset(key, 0, sizeof(*key));
    key->magic   = XSHM_ABI_KEY_MAGIC;
    key->version = XSHM_ABI_VERSION;
    key->rights  = (uint8_t)reg->rights;
    key->flags   = (uint16_t)reg->flags;
    key->process = process;
    key->id      = reg->id;
    key->base    = reg->base;
    key->length  = reg->length;
    key->slot    = reg->slot;
    key->granted = XSHM_ABI_NO_DOMAIN;
    key->owner   = (domain == XSHM_DOMAIN_SAME) ? XSHM_ABI_NO_DOMAIN :
                                                  (uint16_t)domain;
    if (reg->region != NULL) {
        xshm_reg_key_region(reg->region, key);
    }
}

/* Compared before anything is added: a sum could overflow */
static int xshm_reg_allows(const xshm_reg_t *reg, uint64_t address,
                           uint64_t length, unsigned rights)
{
    uint64_t offset = address - reg->base;

    return ((reg->rights & rights) == rights) && (address >= reg->base) &&
           (offset <= reg->length) && (length <= reg->length - offset);
}

static xshm_reg_t *xshm_reg_pin_any(uint32_t slot, uint64_t id)
{
    xshm_reg_t *reg = xshm_reg_find(slot);

    if ((reg == NULL) || (id == 0)) {
        return NULL;
    }

    /* PIN: pairs with RETIRE */
    __atomic_add_fetch(&reg->num_pins, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&reg->id, __ATOMIC_SEQ_CST) == id) {
        return reg;
    }

    xshm_reg_unpin(reg);
    return NULL;
}

xshm_reg_t *xshm_reg_pin(uint32_t slot, uint64_t id, uint64_t address,
                         uint64_t length, unsigned rights)
{
    xshm_reg_t *reg = xshm_reg_pin_any(slot, id);

    if ((reg != NULL) && !xshm_reg_allows(reg, address, length, rights)) {
        xshm_reg_unpin(reg);
        return NULL;
    }

    return reg;
}

xshm_region_t *xshm_reg_get_region(uint32_t slot, uint64_t id)
{
    xshm_reg_t    *reg    = xshm_reg_pin_any(slot, id);
    xshm_region_t *region = NULL;

    if (reg == NULL) {
        return NULL;
    }

    pthread_mutex_lock(&xshm_registry.lock);
    if (reg->region != NULL) {
        region = reg->region;
        ++region->refs;
    }
    pthread_mutex_unlock(&xshm_registry.lock);
    xshm_reg_unpin(reg);
    return region;
}
