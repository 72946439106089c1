/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_region.h"
#include "xen_wake.h"
#include "../complain.h"
#include "../gntalloc.h"
#include "../grant_limit.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xen/gntalloc.h>

/*
 * Who maps, unmaps first: pages that are freed while a peer has them mapped
 * are kept back by the kernel, which looks at ten of them a second. They wait
 * in a quarantine here until the peer's live byte is gone, up to a limit for
 * each domain.
 *
 * That byte is the peer's word only: one that lies has them mapped still, and
 * the kernel would keep more and more of them. So pages that a peer was told of
 * are not freed at once, but wait in a pool for the next channel to the same
 * domain. Those that nobody needs are freed after a while, but no more of one
 * domain than a limit, until it has ended: then they stay in the pool. What a
 * peer can keep is so bounded by that limit, and by what this side itself has
 * used at once. Pages never go to another domain.
 *
 * But a domain's number can become another machine's, which can map all that
 * was granted to the one before. So nothing that was sent stays in the pool;
 * and when a machine seems to end, what it has kept is cleared, too.
 *
 * Only the hypervisor's word is taken for a domain's end: what its nodes in
 * xenstore say, the domain can write itself.
 */

/* Longest command that a complaint names */
#define XSHM_XEN_MEM_COMMAND_MAX 128

/* Pages that a domain may keep from being freed, besides its channels */
#define XSHM_XEN_MEM_QUARANTINE_MAX 256

/* Pages of channels that this side has closed and the domain keeps open: for
 * some hundred that are about to be drained */
#define XSHM_XEN_MEM_LINGER_MAX 8192

static size_t xshm_xen_mem_num_pages(const xshm_xen_mem_t *mem)
{
    return (mem->super.data_size + XSHM_ABI_RETURN_SIZE) / XSHM_ABI_PAGE_SIZE;
}

/* A child has neither use for the pages, nor may it keep them from being
 * unmapped when its parent dies */
static void *xshm_xen_mmap(int fd, uint64_t index, size_t size, int prot)
{
    void *addr = mmap(NULL, size, prot, MAP_SHARED, fd, (off_t)index);

    if (addr == MAP_FAILED) {
        return NULL;
    }

    (void)madvise(addr, size, MADV_DONTFORK);
    return addr;
}

/* When this process dies, the kernel clears the byte that says it lives */
static int xshm_xen_mem_set_notify(xshm_xen_mem_t *mem)
{
    return xshm_gntalloc_clear_at_end(mem->xen->gntalloc_fd,
                                      mem->data_index +
                                              offsetof(xshm_abi_data_t, live));
}

static ucs_status_t xshm_xen_mem_grant_return(xshm_xen_mem_t *mem)
{
    xshm_abi_data_t *data = mem->super.data;
    uint32_t        *grefs;
    ucs_status_t     status;

    status = xshm_gntalloc_grant(mem->xen->gntalloc_fd, mem->domid,
                                 GNTALLOC_FLAG_WRITABLE, 1, &mem->ret_index,
                                 &grefs);
    if (status != UCS_OK) {
        return status;
    }

    data->return_ref = grefs[0];
    free(grefs);
    mem->super.ret =
            xshm_xen_mmap(mem->xen->gntalloc_fd, mem->ret_index,
                          XSHM_ABI_RETURN_SIZE, PROT_READ | PROT_WRITE);
    if (mem->super.ret == NULL) {
        xshm_gntalloc_ungrant(mem->xen->gntalloc_fd, mem->ret_index, 1);
        return UCS_ERR_NO_MEMORY;
    }

    return UCS_OK;
}

/* The first page names all that follow it */
static void xshm_xen_mem_put_refs(xshm_xen_mem_t *mem, const uint32_t *grefs,
                                  uint32_t num_pages)
{
    uint32_t *refs =
            (uint32_t *)((char *)mem->super.data + XSHM_ABI_PAGE_REF_OFFSET);

    mem->gref = grefs[0];
    memcpy(refs, grefs + 1, (num_pages - 1) * sizeof(*refs));
}

static ucs_status_t xshm_xen_mem_grant(xshm_xen_mem_t *mem)
{
    uint32_t num_pages = (uint32_t)(mem->super.data_size / XSHM_ABI_PAGE_SIZE);
    ucs_status_t status;
    uint32_t    *grefs;

    status = xshm_gntalloc_grant(mem->xen->gntalloc_fd, mem->domid, 0,
                                 num_pages, &mem->data_index, &grefs);
    if (status != UCS_OK) {
        return status;
    }

    mem->super.data =
            xshm_xen_mmap(mem->xen->gntalloc_fd, mem->data_index,
                          mem->super.data_size, PROT_READ | PROT_WRITE);
    if (mem->super.data == NULL) {
        status = UCS_ERR_NO_MEMORY;
        goto err_ungrant;
    }

    xshm_xen_mem_put_refs(mem, grefs, num_pages);
    status = xshm_xen_mem_set_notify(mem) ? xshm_xen_mem_grant_return(mem) :
                                            UCS_ERR_IO_ERROR;
    if (status != UCS_OK) {
        goto err_unmap;
    }

    free(grefs);
    return UCS_OK;

err_unmap:
    munmap(mem->super.data, mem->super.data_size);
err_ungrant:
    xshm_gntalloc_ungrant(mem->xen->gntalloc_fd, mem->data_index, num_pages);
    free(grefs);
    return status;
}

/* Another process may have taken the pages for a moment only */
static ucs_status_t xshm_xen_mem_grant_again(xshm_xen_mem_t *mem)
{
    ucs_status_t status = xshm_xen_mem_grant(mem);

    if ((status == UCS_OK) || (errno != ENOSPC)) {
        return status;
    }

    xshm_gntalloc_await_try(mem->xen->gntalloc_fd);
    return xshm_xen_mem_grant(mem);
}

/* Both limits end in the same error: what is known of either is told */
static void xshm_xen_mem_complain_limit(const xshm_xen_mem_t *mem)
{
    long limit                             = xshm_gntalloc_limit();
    long raised                            = xshm_grant_limit_raised(limit);
    char command[XSHM_XEN_MEM_COMMAND_MAX] = "";

    if (raised > 0) {
        snprintf(command, sizeof(command),
                 ": \"echo %ld | sudo tee %s\" raises that", raised,
                 XSHM_GRANT_LIMIT_PATH);
    }

    ucs_error("xshm: cannot grant %zu pages to domain %u: all programs of this "
              "virtual machine together may grant %ld (%s)%s. They have to "
              "fit into its grant table, beside disks and network: %d entries "
              "by default, 512 for each of max_grant_frames in its xl.cfg",
              xshm_xen_mem_num_pages(mem), mem->domid, limit,
              XSHM_GRANT_LIMIT_PATH, command, XSHM_GRANT_LIMIT_TABLE);
}

/* Once until it works again: UCX asks many times */
static void xshm_xen_mem_complain(const xshm_xen_mem_t *mem, int error)
{
    if (__atomic_exchange_n(&mem->xen->has_complained, 1, __ATOMIC_RELAXED)) {
        return;
    }

    if (error == ENOSPC) {
        xshm_xen_mem_complain_limit(mem);
        return;
    }

    errno = error;
    ucs_error("xshm: cannot grant %zu pages to domain %u: %m",
              xshm_xen_mem_num_pages(mem), mem->domid);
}

/* Under the lock */
static size_t
xshm_xen_mem_list_pages(const ucs_list_link_t *list, uint32_t domid)
{
    size_t          num_pages = 0;
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, list, list) {
        if (mem->domid == domid) {
            num_pages += xshm_xen_mem_num_pages(mem);
        }
    }

    return num_pages;
}

/* Does the domain keep as much from being freed as it may? */
static int xshm_xen_mem_is_kept(xshm_xen_t *xen, uint32_t domid)
{
    size_t num_quarantined, num_lingering;

    pthread_mutex_lock(&xen->lock);
    num_quarantined = xshm_xen_mem_list_pages(&xen->quarantine, domid);
    num_lingering   = xshm_xen_mem_list_pages(&xen->lingering, domid);
    pthread_mutex_unlock(&xen->lock);
    if ((num_quarantined < XSHM_XEN_MEM_QUARANTINE_MAX) &&
        (num_lingering < XSHM_XEN_MEM_LINGER_MAX)) {
        return 0;
    }

    xshm_complain("xshm: domain %u has not unmapped %zu pages of channels that "
                  "were closed: no new channel to it until it does",
                  domid, num_quarantined + num_lingering);
    return 1;
}

/* Under the lock: pages that this domain had before */
static xshm_xen_mem_t *
xshm_xen_pool_find(xshm_xen_t *xen, uint32_t domid, size_t data_size)
{
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, &xen->pool, list) {
        if ((mem->domid == domid) && (mem->super.data_size == data_size) &&
            !mem->is_orphan) {
            return mem;
        }
    }

    return NULL;
}

/* All that we have written: as when it was new. The references stay, since the
 * peer can only read them, and what it writes, since that tells whether it
 * still has the memory. */
static void xshm_xen_mem_clean(xshm_xen_mem_t *mem)
{
    xshm_abi_data_t *data       = mem->super.data;
    uint32_t         return_ref = data->return_ref;
    xshm_abi_turn_t *turn       = &((xshm_abi_return_t *)mem->super.ret)->turn;

    memset(data, 0, sizeof(*data));
    memset((char *)data + XSHM_ABI_RING_OFFSET, 0,
           mem->super.data_size - XSHM_ABI_RING_OFFSET);
    data->return_ref = return_ref;
    memset(turn, 0, sizeof(*turn));
}

/* They may stay for long, and whoever gets the domain's number can map them:
 * what was sent to the one before is not for it. Under the lock. */
static void xshm_xen_mem_add_to_pool(xshm_xen_mem_t *mem)
{
    xshm_xen_mem_clean(mem);
    mem->pooled = xshm_xen_now_ms();
    ucs_list_add_tail(&mem->xen->pool, &mem->list);
}

static void xshm_xen_mem_put_in_pool(xshm_xen_mem_t *mem)
{
    xshm_xen_t *xen = mem->xen;

    pthread_mutex_lock(&xen->lock);
    xshm_xen_mem_add_to_pool(mem);
    pthread_mutex_unlock(&xen->lock);
}

static xshm_xen_mem_t *
xshm_xen_mem_take(xshm_xen_t *xen, uint32_t domid, size_t data_size)
{
    xshm_xen_mem_t *mem;

    pthread_mutex_lock(&xen->lock);
    mem = xshm_xen_pool_find(xen, domid, data_size);
    if (mem != NULL) {
        ucs_list_del(&mem->list);
    }
    pthread_mutex_unlock(&xen->lock);

    if (mem == NULL) {
        return NULL;
    }

    memset(mem->super.ret, 0, XSHM_ABI_RETURN_SIZE);
    mem->is_asked    = 0;
    mem->is_doubtful = 0;
    return mem;
}

static xshm_xen_mem_t *
xshm_xen_mem_new(xshm_xen_t *xen, uint32_t domid, size_t data_size)
{
    xshm_xen_mem_t *mem = calloc(1, sizeof(*mem));

    if (mem == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for a channel",
                  sizeof(*mem));
        return NULL;
    }

    mem->xen             = xen;
    mem->domid           = domid;
    mem->super.data_size = data_size;
    return mem;
}

ucs_status_t xshm_xen_mem_alloc(xshm_platform_t *platform, const void *dev_addr,
                                size_t data_size, xshm_mem_t **mem_p)
{
    xshm_xen_t                *xen  = (xshm_xen_t *)platform;
    const xshm_xen_dev_addr_t *addr = dev_addr;
    xshm_xen_mem_t            *mem;

    if (xshm_xen_mem_is_kept(xen, addr->domid)) {
        return UCS_ERR_EXCEEDS_LIMIT;
    }

    mem = xshm_xen_mem_take(xen, addr->domid, data_size);
    if (mem != NULL) {
        *mem_p = &mem->super;
        return UCS_OK;
    }

    mem = xshm_xen_mem_new(xen, addr->domid, data_size);
    if (mem == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    mem->is_ours = 1;
    if (xshm_xen_mem_grant_again(mem) != UCS_OK) {
        xshm_xen_mem_complain(mem, errno);
        free(mem);
        return UCS_ERR_NO_MEMORY;
    }

    __atomic_store_n(&xen->has_complained, 0, __ATOMIC_RELAXED);
    *mem_p = &mem->super;
    return UCS_OK;
}

/* How much is left is nowhere to be read: it has to be tried */
int xshm_xen_mem_check(xshm_platform_t *platform, const void *dev_addr,
                       size_t data_size)
{
    xshm_xen_t                *xen  = (xshm_xen_t *)platform;
    const xshm_xen_dev_addr_t *addr = dev_addr;
    xshm_mem_t                *mem;
    int                        is_there;

    pthread_mutex_lock(&xen->lock);
    is_there = xshm_xen_pool_find(xen, addr->domid, data_size) != NULL;
    pthread_mutex_unlock(&xen->lock);
    if (is_there) {
        return 1;
    }

    if (xshm_xen_mem_alloc(platform, dev_addr, data_size, &mem) != UCS_OK) {
        return 0;
    }

    xshm_xen_mem_free(mem);
    return 1;
}

static void xshm_xen_mem_free_granted(xshm_xen_mem_t *mem)
{
    munmap(mem->super.ret, XSHM_ABI_RETURN_SIZE);
    munmap(mem->super.data, mem->super.data_size);
    xshm_gntalloc_ungrant(mem->xen->gntalloc_fd, mem->ret_index, 1);
    xshm_gntalloc_ungrant(mem->xen->gntalloc_fd, mem->data_index,
                          (uint32_t)(mem->super.data_size /
                                     XSHM_ABI_PAGE_SIZE));
    free(mem);
}

/* The return page last: its live byte tells the owner that all is unmapped */
static void xshm_xen_mem_unmap(xshm_xen_mem_t *mem)
{
    xengnttab_unmap(mem->xen->gnttab, mem->super.data,
                    (uint32_t)(mem->super.data_size / XSHM_ABI_PAGE_SIZE));
    xengnttab_unmap(mem->xen->gnttab, mem->super.ret, 1);
    free(mem);
}

/* Does the peer say that it has it mapped? */
static int xshm_xen_mem_is_mapped(const xshm_xen_mem_t *mem)
{
    const volatile xshm_abi_return_t *ret = mem->super.ret;

    return mem->is_asked && !mem->is_orphan && ret->live;
}

/* A request without an answer may still be in the hands of a peer that was
 * paused: what it maps must not be another channel then */
static int xshm_xen_mem_is_unanswered(const xshm_xen_mem_t *mem)
{
    const volatile xshm_abi_return_t *ret = mem->super.ret;

    return mem->is_asked && !mem->is_orphan && !ret->was_live;
}

void xshm_xen_mem_linger(xshm_mem_t *super)
{
    xshm_xen_mem_t *mem = (xshm_xen_mem_t *)super;

    pthread_mutex_lock(&mem->xen->lock);
    mem->is_lingering = 1;
    ucs_list_add_tail(&mem->xen->lingering, &mem->list);
    pthread_mutex_unlock(&mem->xen->lock);
}

static void xshm_xen_mem_end_linger(xshm_xen_mem_t *mem)
{
    pthread_mutex_lock(&mem->xen->lock);
    if (mem->is_lingering) {
        mem->is_lingering = 0;
        ucs_list_del(&mem->list);
    }
    pthread_mutex_unlock(&mem->xen->lock);
}

/* Of a peer that is there, it may still read what is in it */
static void xshm_xen_mem_put_in_quarantine(xshm_xen_mem_t *mem)
{
    pthread_mutex_lock(&mem->xen->lock);
    if (mem->is_doubtful) {
        xshm_xen_mem_clean(mem);
    }
    ucs_list_add_tail(&mem->xen->quarantine, &mem->list);
    pthread_mutex_unlock(&mem->xen->lock);
}

void xshm_xen_mem_free(xshm_mem_t *super)
{
    xshm_xen_mem_t *mem = (xshm_xen_mem_t *)super;
    xshm_xen_t     *xen = mem->xen;

    if (!mem->is_ours) {
        xshm_xen_mem_unmap(mem);
        return;
    }

    xshm_xen_mem_end_linger(mem);

    /* The peer, if it has mapped it, shall stop */
    ((volatile xshm_abi_data_t *)mem->super.data)->live = 0;
    mem->is_told = mem->is_told || mem->is_asked;
    if (!mem->is_told || mem->is_orphan) {
        xshm_xen_mem_free_granted(mem);
    } else if (!xshm_xen_mem_is_mapped(mem) &&
               !xshm_xen_mem_is_unanswered(mem)) {
        xshm_xen_mem_put_in_pool(mem);
        xshm_xen_kick(xen);
    } else {
        xshm_xen_mem_put_in_quarantine(mem);
        xshm_xen_kick(xen);
    }
}

/* May these pages be freed, although the peer may lie? */
static int xshm_xen_mem_may_free(const xshm_xen_mem_t *mem)
{
    const xshm_xen_domain_t *domain =
            xshm_xen_domain_find(mem->xen, mem->domid);

    return mem->is_orphan || (domain == NULL) ||
           (domain->num_unproved + xshm_xen_mem_num_pages(mem) <=
            XSHM_XEN_MEM_MAX_UNPROVED);
}

/* Under the lock */
static void xshm_xen_mem_give_back(xshm_xen_mem_t *mem)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_find(mem->xen, mem->domid);

    if ((domain != NULL) && !mem->is_orphan) {
        domain->num_unproved += (uint32_t)xshm_xen_mem_num_pages(mem);
    }

    ucs_list_del(&mem->list);
    xshm_xen_mem_free_granted(mem);
}

/* Under the lock. @return Zero if nothing is left that can be freed. */
static int xshm_xen_mem_release_pool(xshm_xen_t *xen)
{
    uint64_t        now     = xshm_xen_now_ms();
    int             is_left = 0;
    xshm_xen_mem_t *mem, *tmp;

    ucs_list_for_each_safe(mem, tmp, &xen->pool, list) {
        if (!xshm_xen_mem_may_free(mem)) {
            continue;
        }

        if (mem->is_orphan || (now - mem->pooled >= XSHM_XEN_MEM_POOL_MS)) {
            xshm_xen_mem_give_back(mem);
        } else {
            is_left = 1;
        }
    }

    return is_left;
}

/* Under the lock. Does it depend on whether the domain is gone? */
static int xshm_xen_mem_list_has_doubts(const ucs_list_link_t   *list,
                                        const xshm_xen_domain_t *domain)
{
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, list, list) {
        if ((mem->domid == domain->domid) && mem->is_doubtful &&
            (mem->num_ended == domain->num_ended)) {
            return 1;
        }
    }

    return 0;
}

static int
xshm_xen_mem_has_doubts(xshm_xen_t *xen, const xshm_xen_domain_t *domain)
{
    int has_doubts;

    pthread_mutex_lock(&xen->lock);
    has_doubts = xshm_xen_mem_list_has_doubts(&xen->quarantine, domain) ||
                 xshm_xen_mem_list_has_doubts(&xen->pool, domain) ||
                 (domain->is_doubtful && (domain->num_unproved > 0));
    pthread_mutex_unlock(&xen->lock);
    return has_doubts;
}

/* Is a machine that seemed to end not there any more? Then it has nothing
 * mapped, nor will the next one with its number have. @return Not zero: not
 * known yet. */
static int xshm_xen_mem_settle_doubts(xshm_xen_t *xen)
{
    int                is_left = 0;
    int                has_doubts;
    xshm_xen_domain_t *domain;

    ucs_list_for_each(domain, &xen->domains, list) {
        has_doubts = xshm_xen_mem_has_doubts(xen, domain);
        if (!has_doubts && !domain->is_doubtful) {
            continue;
        }

        if (!xshm_xen_is_domain_gone(domain->domid)) {
            is_left |= has_doubts;
            continue;
        }

        domain->num_gone     = ++domain->num_ended;
        domain->num_unproved = 0;
        domain->is_doubtful  = 0;
        xshm_xen_region_settle(domain->domid);
    }

    return is_left;
}

/* Did the peer's machine end since it seemed to, for sure, or by the word of
 * the next one? Also of what was freed long after that. */
static int xshm_xen_mem_has_outlived(const xshm_xen_mem_t *mem, int is_for_sure)
{
    const xshm_xen_domain_t *domain =
            xshm_xen_domain_find(mem->xen, mem->domid);

    return mem->is_doubtful && (domain != NULL) &&
           (mem->num_ended <
            (is_for_sure ? domain->num_gone : domain->num_ended));
}

/* Under the lock */
static void xshm_xen_mem_find_orphans(const ucs_list_link_t *list)
{
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, list, list) {
        mem->is_orphan = mem->is_orphan || xshm_xen_mem_has_outlived(mem, 1);
    }
}

/* Under the lock */
static void xshm_xen_mem_release_quarantine(xshm_xen_t *xen)
{
    xshm_xen_mem_t *mem, *tmp;
    int             has_outlived;

    ucs_list_for_each_safe(mem, tmp, &xen->quarantine, list) {
        has_outlived = xshm_xen_mem_has_outlived(mem, 0);
        if (xshm_xen_mem_is_mapped(mem) && !has_outlived) {
            continue;
        }

        if (has_outlived || !xshm_xen_mem_is_unanswered(mem)) {
            ucs_list_del(&mem->list);
            xshm_xen_mem_add_to_pool(mem);
        } else if (xshm_xen_mem_may_free(mem)) {
            xshm_xen_mem_give_back(mem);
        }
    }
}

int xshm_xen_mem_release(xshm_xen_t *xen)
{
    int is_left = xshm_xen_mem_settle_doubts(xen);

    pthread_mutex_lock(&xen->lock);
    xshm_xen_mem_find_orphans(&xen->quarantine);
    xshm_xen_mem_find_orphans(&xen->pool);
    xshm_xen_mem_release_quarantine(xen);
    is_left = xshm_xen_mem_release_pool(xen) || is_left ||
              !ucs_list_is_empty(&xen->quarantine);
    pthread_mutex_unlock(&xen->lock);
    return is_left;
}

void xshm_xen_mem_doubt_one(xshm_xen_mem_t          *mem,
                            const xshm_xen_domain_t *domain)
{
    if (!mem->is_doubtful) {
        mem->is_doubtful = 1;
        mem->num_ended   = domain->num_ended;
    }
}

/* Under the lock */
static void xshm_xen_mem_doubt_list(const ucs_list_link_t   *list,
                                    const xshm_xen_domain_t *domain)
{
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, list, list) {
        if (mem->domid == domain->domid) {
            xshm_xen_mem_doubt_one(mem, domain);
            xshm_xen_mem_clean(mem);
        }
    }
}

void xshm_xen_mem_doubt(xshm_xen_t *xen, const xshm_xen_domain_t *domain)
{
    xshm_xen_mem_t *mem;

    pthread_mutex_lock(&xen->lock);
    /* Some may be without a connection, since somebody still reads the peer's
     * last messages in it. It is cleaned when it is freed. */
    ucs_list_for_each(mem, &xen->lingering, list) {
        if (mem->domid == domain->domid) {
            xshm_xen_mem_doubt_one(mem, domain);
        }
    }
    xshm_xen_mem_doubt_list(&xen->quarantine, domain);
    xshm_xen_mem_doubt_list(&xen->pool, domain);
    pthread_mutex_unlock(&xen->lock);
}

static void xshm_xen_mem_orphan_list(ucs_list_link_t *list)
{
    xshm_xen_mem_t *mem;

    ucs_list_for_each(mem, list, list) {
        mem->is_orphan = 1;
    }
}

void xshm_xen_mem_orphan(xshm_xen_t *xen)
{
    xshm_xen_domain_t *domain;
    xshm_xen_conn_t   *conn;

    pthread_mutex_lock(&xen->lock);
    xshm_xen_mem_orphan_list(&xen->quarantine);
    xshm_xen_mem_orphan_list(&xen->pool);
    xshm_xen_mem_orphan_list(&xen->lingering);
    ucs_list_for_each(domain, &xen->domains, list) {
        domain->num_unproved = 0;
        ucs_list_for_each(conn, &domain->conns, list) {
            if (conn->mem != NULL) {
                conn->mem->is_orphan = 1;
            }
        }
    }
    pthread_mutex_unlock(&xen->lock);
}

static void xshm_xen_mem_free_list(ucs_list_link_t *list)
{
    xshm_xen_mem_t *mem;

    while (!ucs_list_is_empty(list)) {
        mem = ucs_list_extract_head(list, xshm_xen_mem_t, list);
        xshm_xen_mem_free_granted(mem);
    }
}

void xshm_xen_mem_cleanup(xshm_xen_t *xen)
{
    xshm_xen_mem_free_list(&xen->quarantine);
    xshm_xen_mem_free_list(&xen->pool);
}

/* Copy the references of all data pages from the first one, and that of the
 * return page. They are used only after that. */
static ucs_status_t xshm_xen_mem_read_refs(xshm_xen_t *xen, uint32_t domid,
                                           uint32_t *refs, uint32_t num_pages,
                                           uint32_t *return_ref_p)
{
    const volatile xshm_abi_data_t *data;
    const volatile uint32_t        *page_refs;
    uint32_t                        i;

    data = xengnttab_map_domain_grant_refs(xen->gnttab, 1, domid, refs,
                                           PROT_READ);
    if (data == NULL) {
        return UCS_ERR_INVALID_PARAM;
    }

    page_refs     = (const volatile uint32_t *)((const volatile char *)data +
                                            XSHM_ABI_PAGE_REF_OFFSET);
    *return_ref_p = data->return_ref;
    for (i = 1; i < num_pages; ++i) {
        refs[i] = page_refs[i - 1];
    }

    xengnttab_unmap(xen->gnttab, (void *)(uintptr_t)data, 1);
    return UCS_OK;
}

static ucs_status_t xshm_xen_mem_map_refs(xshm_xen_mem_t *mem, uint32_t *refs,
                                          uint32_t num_pages,
                                          uint32_t return_ref)
{
    xengnttab_handle *gnttab = mem->xen->gnttab;

    mem->super.data =
            xengnttab_map_domain_grant_refs(gnttab, num_pages, mem->domid, refs,
                                            PROT_READ);
    if (mem->super.data == NULL) {
        return UCS_ERR_INVALID_PARAM;
    }

    /* When this process dies, the kernel clears the byte that says it lives */
    mem->super.ret =
            xengnttab_map_grant_ref_notify(gnttab, mem->domid, return_ref,
                                           PROT_READ | PROT_WRITE,
                                           offsetof(xshm_abi_return_t, live),
                                           UINT32_MAX);
    if (mem->super.ret == NULL) {
        xengnttab_unmap(gnttab, mem->super.data, num_pages);
        return UCS_ERR_INVALID_PARAM;
    }

    (void)madvise(mem->super.data, mem->super.data_size, MADV_DONTFORK);
    (void)madvise(mem->super.ret, XSHM_ABI_RETURN_SIZE, MADV_DONTFORK);
    return UCS_OK;
}

static ucs_status_t xshm_xen_mem_map_all(xshm_xen_mem_t *mem, uint32_t gref)
{
    uint32_t num_pages = (uint32_t)(mem->super.data_size / XSHM_ABI_PAGE_SIZE);
    uint32_t return_ref;
    ucs_status_t status;
    uint32_t    *refs;

    refs = malloc(num_pages * sizeof(*refs));
    if (refs == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    refs[0] = gref;
    status  = xshm_xen_mem_read_refs(mem->xen, mem->domid, refs, num_pages,
                                     &return_ref);
    if (status == UCS_OK) {
        status = xshm_xen_mem_map_refs(mem, refs, num_pages, return_ref);
    }

    free(refs);
    return status;
}

ucs_status_t xshm_xen_mem_map(xshm_xen_t *xen, uint32_t domid, uint32_t gref,
                              size_t data_size, xshm_mem_t **mem_p)
{
    xshm_xen_mem_t *mem;
    ucs_status_t    status;

    mem = xshm_xen_mem_new(xen, domid, data_size);
    if (mem == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    status = xshm_xen_mem_map_all(mem, gref);
    if (status != UCS_OK) {
        ucs_debug("xshm: cannot map %zu bytes that domain %u grants by %u: %m",
                  data_size, domid, gref);
        free(mem);
        return status;
    }

    *mem_p = &mem->super;
    return UCS_OK;
}
