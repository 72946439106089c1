/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_region.h"
#include "xen_grant.h"
#include "xen_wake.h"
#include "../complain.h"
#include "../fdset.h"
#include "../gntalloc.h"
#include "../region.h"

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/gntalloc.h>
#include <xen/xen.h>

/*
 * The pages of a region belong to a file of their own, so that it can be passed
 * to processes of this machine. Its table and its mappers' page belong to a
 * file that is never passed on.
 *
 * What is freed is revoked at once, and then treated as the memory of channels
 * (xen_mem.c): it waits until the peers say, by the mappers' page, that they
 * have unmapped it; then it can become another region for the same domain, or
 * is freed, if no more than a limit of that domain's pages were freed on its
 * word. When too much waits, nothing more is granted to that domain: memory is
 * not mapped then, and accessed by message.
 */

/* A region shall not take the pages that channels need: so much of the limit is
 * left to them */
#define XSHM_XEN_REGION_RESERVE_SHARE 8

/* What may wait to be unmapped by one domain, or to be used again: so much of
 * the limit */
#define XSHM_XEN_REGION_KEPT_SHARE 4

/* Larger ones are not made to smaller ones, unless half of it is used */
#define XSHM_XEN_REGION_MAX_WASTE 2


typedef struct xshm_xen_region {
    xshm_region_t     super;
    ucs_list_link_t   list;      /* In xshm_xen_regions_t::regions */
    uint32_t          domid;     /* To whom it is granted */
    uint32_t          num_pages; /* Data pages, of which fewer may be used */
    int               is_writable;
    int               is_freed;
    int               is_doubtful; /* Its domain seems to be gone ... */
    int               is_orphan;   /* ... and is, for sure */
    int               is_clear;    /* Nobody but its domain has written there
                                      since it was cleared */
    uint64_t          freed;       /* When, ms */
    xshm_abi_table_t *table;
    uint32_t          num_table_pages;
    uint64_t          table_index; /* In the file of tables */
    uint8_t          *mappers;
    uint64_t          mappers_index;
    uint32_t          mappers_ref;
} xshm_xen_region_t;


/* Pages of one domain that were freed on its word */
typedef struct xshm_xen_debt {
    ucs_list_link_t list;
    uint32_t        domid;
    uint32_t        num_unproved;
} xshm_xen_debt_t;


static struct {
    pthread_mutex_t lock;
    ucs_list_link_t regions;
    ucs_list_link_t debts;
    int             fd;      /* Of tables; -1: not open yet */
    uint64_t    num_refused; /* Allocations, of domains that keep too much; read
                             without the lock */
    xshm_xen_t *xen;
} xshm_xen_regions = {.lock = PTHREAD_MUTEX_INITIALIZER,
                      .regions =
                              UCS_LIST_INITIALIZER(&xshm_xen_regions.regions,
                                                   &xshm_xen_regions.regions),
                      .debts = UCS_LIST_INITIALIZER(&xshm_xen_regions.debts,
                                                    &xshm_xen_regions.debts),
                      .fd    = -1};


void xshm_xen_region_attach(xshm_xen_t *xen)
{
    pthread_mutex_lock(&xshm_xen_regions.lock);
    xshm_xen_regions.xen = xen;
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}

uint64_t xshm_xen_region_num_refused(void)
{
    return __atomic_load_n(&xshm_xen_regions.num_refused, __ATOMIC_RELAXED);
}

/* All pages that a region has been granted with */
static uint32_t xshm_xen_region_all_pages(const xshm_xen_region_t *region)
{
    return region->num_pages + region->num_table_pages + 1;
}

/* Under the lock. NULL: no memory. */
static xshm_xen_debt_t *xshm_xen_debt_get(uint32_t domid)
{
    xshm_xen_debt_t *debt;

    ucs_list_for_each(debt, &xshm_xen_regions.debts, list) {
        if (debt->domid == domid) {
            return debt;
        }
    }

    debt = calloc(1, sizeof(*debt));
    if (debt != NULL) {
        debt->domid = domid;
        ucs_list_add_tail(&xshm_xen_regions.debts, &debt->list);
    }

    return debt;
}

/* Under the lock */
static int xshm_xen_region_open_tables(void)
{
    if (xshm_xen_regions.fd < 0) {
        xshm_xen_regions.fd = xshm_gntalloc_open();
    }

    return xshm_xen_regions.fd >= 0;
}

/* Grant pages of the file of tables, and map them. A child must not keep them:
 * they tell of this process' end. @return NULL, with errno. */
static void *xshm_xen_region_add_pages(uint32_t domid, uint16_t flags,
                                       uint32_t count, uint64_t *index_p,
                                       uint32_t **grefs_p)
{
    int prot = PROT_READ | ((flags & GNTALLOC_FLAG_WRITABLE) ? 0 : PROT_WRITE);
    void *ptr;

    if (xshm_gntalloc_grant(xshm_xen_regions.fd, domid, flags, count, index_p,
                            grefs_p) != UCS_OK) {
        return NULL;
    }

    ptr = mmap(NULL, (size_t)count * XSHM_ABI_PAGE_SIZE, prot, MAP_SHARED,
               xshm_xen_regions.fd, (off_t)*index_p);
    if (ptr == MAP_FAILED) {
        xshm_gntalloc_ungrant(xshm_xen_regions.fd, *index_p, count);
        free(*grefs_p);
        return NULL;
    }

    (void)madvise(ptr, (size_t)count * XSHM_ABI_PAGE_SIZE, MADV_DONTFORK);
    return ptr;
}

static void xshm_xen_region_del_pages(void *ptr, uint64_t index, uint32_t count)
{
    munmap(ptr, (size_t)count * XSHM_ABI_PAGE_SIZE);
    xshm_gntalloc_ungrant(xshm_xen_regions.fd, index, count);
}

static int xshm_xen_region_add_mappers(xshm_xen_region_t *region)
{
    uint32_t *grefs;

    region->mappers =
            xshm_xen_region_add_pages(region->domid, GNTALLOC_FLAG_WRITABLE, 1,
                                      &region->mappers_index, &grefs);
    if (region->mappers == NULL) {
        return 0;
    }

    region->mappers_ref = grefs[0];
    free(grefs);
    return 1;
}

/* The first page names the others, and all of them the data pages */
static void xshm_xen_region_put_refs(xshm_xen_region_t *region,
                                     const uint32_t    *table_refs,
                                     const uint32_t    *data_refs)
{
    region->super.gref = table_refs[0];
    memcpy(region->table->more_refs, table_refs + 1,
           (region->num_table_pages - 1) * sizeof(*table_refs));
    memcpy((char *)region->table + XSHM_ABI_TABLE_REFS_OFFSET, data_refs,
           region->num_pages * sizeof(*data_refs));
}

static int
xshm_xen_region_add_table(xshm_xen_region_t *region, const uint32_t *data_refs)
{
    uint32_t *grefs;

    region->num_table_pages = 1 + xshm_xen_table_num_more(region->num_pages);
    region->table =
            xshm_xen_region_add_pages(region->domid, 0, region->num_table_pages,
                                      &region->table_index, &grefs);
    if (region->table == NULL) {
        return 0;
    }

    xshm_xen_region_put_refs(region, grefs, data_refs);
    free(grefs);
    if (xshm_gntalloc_clear_at_end(xshm_xen_regions.fd,
                                   region->table_index +
                                           offsetof(xshm_abi_table_t, live)) &&
        xshm_xen_region_add_mappers(region)) {
        return 1;
    }

    xshm_xen_region_del_pages(region->table, region->table_index,
                              region->num_table_pages);
    return 0;
}

/* A file of its own begins with its only pages */
static int xshm_xen_region_add_data(xshm_xen_region_t *region)
{
    uint16_t  flags = region->is_writable ? GNTALLOC_FLAG_WRITABLE : 0;
    uint64_t  index;
    uint32_t *grefs;
    int       is_done;

    region->super.fd = xshm_gntalloc_open();
    if (region->super.fd < 0) {
        return 0;
    }

    if (xshm_gntalloc_grant(region->super.fd, region->domid, flags,
                            region->num_pages, &index, &grefs) != UCS_OK) {
        goto err_close;
    }

    is_done = (index == 0) && xshm_xen_region_add_table(region, grefs);
    free(grefs);
    if (is_done) {
        return 1;
    }

err_close:
    xshm_fdset_close(region->super.fd);
    return 0;
}

/* Under the lock. Grant new pages, if @a share are left then: how many there
 * are cannot be read anywhere, so it is tried, by granting them to nobody. */
static int xshm_xen_region_try_grant(xshm_xen_region_t *region, uint32_t share)
{
    uint64_t  index;
    uint32_t *grefs;
    int       is_done;

    if (xshm_gntalloc_grant(xshm_xen_regions.fd, DOMID_INVALID, 0, share,
                            &index, &grefs) != UCS_OK) {
        return 0;
    }

    free(grefs);
    is_done = xshm_xen_region_add_data(region);
    xshm_gntalloc_ungrant(xshm_xen_regions.fd, index, share);
    return is_done;
}

/* Under the lock */
static int xshm_xen_region_grant(xshm_xen_region_t *region)
{
    long share = xshm_gntalloc_limit() / XSHM_XEN_REGION_RESERVE_SHARE;
    int  is_done;

    if ((share <= 0) || !xshm_gntalloc_begin_try(xshm_xen_regions.fd)) {
        return 0;
    }

    is_done = xshm_xen_region_try_grant(region, (uint32_t)share);
    xshm_gntalloc_end_try(xshm_xen_regions.fd);
    return is_done;
}

/* Under the lock */
static void xshm_xen_region_destroy(xshm_xen_region_t *region)
{
    xshm_xen_region_del_pages(region->mappers, region->mappers_index, 1);
    xshm_xen_region_del_pages(region->table, region->table_index,
                              region->num_table_pages);
    xshm_fdset_close(region->super.fd);
    ucs_list_del(&region->list);
    free(region);
}

/* Under the lock: pages of this domain that are freed, but cannot be yet */
static size_t xshm_xen_region_num_kept(uint32_t domid)
{
    size_t             num_pages = 0;
    xshm_xen_region_t *region;

    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        if (region->is_freed && (region->domid == domid)) {
            num_pages += xshm_xen_region_all_pages(region);
        }
    }

    return num_pages;
}

/* Under the lock */
static int xshm_xen_region_may_grant(uint32_t domid)
{
    long limit = xshm_gntalloc_limit();

    if ((long)xshm_xen_region_num_kept(domid) <=
        limit / XSHM_XEN_REGION_KEPT_SHARE) {
        return 1;
    }

    __atomic_fetch_add(&xshm_xen_regions.num_refused, 1, __ATOMIC_RELAXED);
    xshm_complain("xshm: domain %u has not unmapped, or may keep, %zu pages of "
                  "memory that was freed: new memory is not granted to it, and "
                  "accessed by message",
                  domid, xshm_xen_region_num_kept(domid));
    return 0;
}

/* Under the lock */
static xshm_xen_region_t *
xshm_xen_region_new(uint32_t domid, uint32_t num_pages, int is_writable)
{
    xshm_xen_region_t *region;

    if (!xshm_xen_region_open_tables() || !xshm_xen_region_may_grant(domid)) {
        return NULL;
    }

    region = calloc(1, sizeof(*region));
    if (region == NULL) {
        return NULL;
    }

    region->domid       = domid;
    region->num_pages   = num_pages;
    region->is_writable = is_writable;
    if (!xshm_xen_region_grant(region)) {
        ucs_debug("xshm: cannot grant %u pages to domain %u, or too few would "
                  "be left: %m. Access is by message",
                  num_pages, domid);
        free(region);
        return NULL;
    }

    ucs_list_add_tail(&xshm_xen_regions.regions, &region->list);
    return region;
}

static int xshm_xen_region_fits(const xshm_xen_region_t *region, uint32_t domid,
                                uint32_t num_pages, int is_writable)
{
    return region->is_freed && !region->is_orphan && (region->domid == domid) &&
           (region->is_writable == is_writable) &&
           (region->num_pages >= num_pages) &&
           (region->num_pages <= num_pages * XSHM_XEN_REGION_MAX_WASTE) &&
           xshm_xen_mappers_is_empty(region->mappers);
}

/* Under the lock: the smallest that fits, of those that this domain had
 * before */
static xshm_xen_region_t *
xshm_xen_region_find(uint32_t domid, uint32_t num_pages, int is_writable)
{
    xshm_xen_region_t *best = NULL;
    xshm_xen_region_t *region;

    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        if (xshm_xen_region_fits(region, domid, num_pages, is_writable) &&
            ((best == NULL) || (region->num_pages < best->num_pages))) {
            best = region;
        }
    }

    return best;
}

/* Under the lock. What was used before is zeroed when it is mapped. */
static xshm_xen_region_t *xshm_xen_region_take(uint32_t domid,
                                               uint32_t num_pages,
                                               int is_writable, int *is_used_p)
{
    xshm_xen_region_t *region =
            xshm_xen_region_find(domid, num_pages, is_writable);

    *is_used_p = (region != NULL);
    if (region == NULL) {
        region = xshm_xen_region_new(domid, num_pages, is_writable);
    }

    if (region != NULL) {
        region->is_freed      = 0;
        region->is_doubtful   = 0;
        region->is_clear      = 0;
        region->super.granted = (uint16_t)domid;
        region->super.shared  = NULL;
    }

    return region;
}

static void xshm_xen_region_describe(xshm_xen_region_t        *region,
                                     const xshm_region_spec_t *spec)
{
    xshm_xen_table_t content = {.base        = (uintptr_t)region->super.address,
                                .length      = region->super.length,
                                .rights      = spec->rights,
                                .mappers_ref = region->mappers_ref};

    xshm_xen_table_write(region->table, spec->id, &content);
}

/* Under the lock. What stays may be mapped by whoever gets the domain's number:
 * what was in it is not for that. */
static void xshm_xen_region_clear(xshm_xen_region_t *region)
{
    size_t length = (size_t)region->num_pages * XSHM_ABI_PAGE_SIZE;
    void  *ptr;

    if (region->is_clear) {
        return;
    }

    ptr = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED,
               region->super.fd, 0);
    if (ptr != MAP_FAILED) {
        memset(ptr, 0, length);
        munmap(ptr, length);
        region->is_clear = 1;
    }
}

static void xshm_xen_region_put(xshm_xen_region_t *region)
{
    pthread_mutex_lock(&xshm_xen_regions.lock);
    region->is_freed = 1;
    region->freed    = xshm_xen_now_ms();
    if (region->is_doubtful) {
        xshm_xen_region_clear(region);
    }

    if (xshm_xen_regions.xen != NULL) {
        xshm_xen_kick(xshm_xen_regions.xen);
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}

static ucs_status_t xshm_xen_region_alloc_for(uint32_t                  domid,
                                              const xshm_region_spec_t *spec,
                                              xshm_region_t **region_p)
{
    size_t             num_pages = spec->length / XSHM_ABI_PAGE_SIZE;
    xshm_xen_region_t *region;
    ucs_status_t       status;
    int                is_used;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    region = xshm_xen_region_take(domid, (uint32_t)num_pages,
                                  xshm_rights_write(spec->rights), &is_used);
    pthread_mutex_unlock(&xshm_xen_regions.lock);
    if (region == NULL) {
        return UCS_ERR_UNSUPPORTED;
    }

    status = xshm_region_map(&region->super, spec);
    if (status != UCS_OK) {
        xshm_xen_region_put(region);
        return status;
    }

    if (is_used) {
        memset(region->super.address, 0, region->super.length);
    }

    xshm_xen_region_describe(region, spec);
    ucs_debug("xshm: %zu bytes are granted to domain %u", spec->length, domid);
    *region_p = &region->super;
    return UCS_OK;
}

/* In a child, a thread that does not exist there may have had the locks */
ucs_status_t xshm_xen_region_alloc(xshm_platform_t          *platform,
                                   const xshm_region_spec_t *spec,
                                   xshm_region_t           **region_p)
{
    int domain;

    if (xshm_fdset_is_child() || (spec->length == 0) ||
        (spec->length / XSHM_ABI_PAGE_SIZE > XSHM_ABI_TABLE_MAX_PAGES)) {
        return UCS_ERR_UNSUPPORTED;
    }

    domain = xshm_xen_region_domain(platform, spec->domain);
    if (domain < 0) {
        return UCS_ERR_UNSUPPORTED;
    }

    (void)xshm_xen_region_release();
    return xshm_xen_region_alloc_for((uint32_t)domain, spec, region_p);
}

/* A child has none of the pages by which peers are told, and what it has of the
 * memory ends with it */
void xshm_xen_region_free(xshm_region_t *super)
{
    xshm_xen_region_t *region = ucs_derived_of(super, xshm_xen_region_t);

    munmap(super->address, super->length);
    if (xshm_fdset_is_child()) {
        return;
    }

    xshm_xen_table_revoke(region->table);
    xshm_xen_region_put(region);
}

/* Under the lock. May it be freed, although its domain may lie? Then it
 * counts. */
static int xshm_xen_region_may_free(const xshm_xen_region_t *region)
{
    uint32_t         num_pages = xshm_xen_region_all_pages(region);
    xshm_xen_debt_t *debt;

    if (region->is_orphan) {
        return 1;
    }

    debt = xshm_xen_debt_get(region->domid);
    if ((debt == NULL) ||
        (debt->num_unproved + num_pages > XSHM_XEN_MEM_MAX_UNPROVED)) {
        return 0;
    }

    debt->num_unproved += num_pages;
    return 1;
}

/* Under the lock. @return Not zero: to be looked at again. */
static int xshm_xen_region_look_after(xshm_xen_region_t *region, uint64_t now)
{
    if (!region->is_orphan) {
        if (!xshm_xen_mappers_is_empty(region->mappers)) {
            region->freed = now;
            return 1;
        }

        if (now - region->freed < XSHM_XEN_MEM_POOL_MS) {
            return 1;
        }
    }

    if (xshm_xen_region_may_free(region)) {
        xshm_xen_region_destroy(region);
        return 0;
    }

    xshm_xen_region_clear(region);
    return region->is_doubtful;
}

int xshm_xen_region_release(void)
{
    uint64_t           now     = xshm_xen_now_ms();
    int                is_left = 0;
    xshm_xen_region_t *region, *tmp;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    ucs_list_for_each_safe(region, tmp, &xshm_xen_regions.regions, list) {
        if (region->is_freed) {
            is_left |= xshm_xen_region_look_after(region, now);
        }
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
    return is_left;
}

/* No key says any more that it can be mapped */
static void xshm_xen_region_withdraw(xshm_xen_region_t *region)
{
    __atomic_store_n(&region->super.granted, XSHM_ABI_NO_DOMAIN,
                     __ATOMIC_RELAXED);
}

void xshm_xen_region_doubt(uint32_t domid)
{
    xshm_xen_region_t *region;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        if (region->domid == domid) {
            region->is_doubtful = 1;
            xshm_xen_region_withdraw(region);
            if (region->is_freed) {
                xshm_xen_region_clear(region);
            }
        }
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}

/* Nobody is left who would clear these bytes */
static void xshm_xen_region_clear_mappers(xshm_xen_region_t *region)
{
    if (mprotect(region->mappers, XSHM_ABI_PAGE_SIZE, PROT_READ | PROT_WRITE) ==
        0) {
        memset(region->mappers, 0, XSHM_ABI_PAGE_SIZE);
        (void)mprotect(region->mappers, XSHM_ABI_PAGE_SIZE, PROT_READ);
    }
}

void xshm_xen_region_disown(uint32_t domid)
{
    xshm_xen_region_t *region;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        if ((region->domid == domid) && region->is_doubtful) {
            xshm_xen_region_clear_mappers(region);
            region->is_doubtful = 0;
        }
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}

void xshm_xen_region_settle(uint32_t domid)
{
    xshm_xen_region_t *region;
    xshm_xen_debt_t   *debt;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        region->is_orphan = region->is_orphan ||
                            ((region->domid == domid) && region->is_doubtful);
    }
    ucs_list_for_each(debt, &xshm_xen_regions.debts, list) {
        if (debt->domid == domid) {
            debt->num_unproved = 0;
        }
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}

void xshm_xen_region_orphan(void)
{
    xshm_xen_region_t *region;
    xshm_xen_debt_t   *debt;

    pthread_mutex_lock(&xshm_xen_regions.lock);
    ucs_list_for_each(region, &xshm_xen_regions.regions, list) {
        region->is_orphan = 1;
        xshm_xen_region_withdraw(region);
    }
    ucs_list_for_each(debt, &xshm_xen_regions.debts, list) {
        debt->num_unproved = 0;
    }
    pthread_mutex_unlock(&xshm_xen_regions.lock);
}
