/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_view.h"
#include "xen_grant.h"
#include "../region.h"

#include <ucs/debug/log.h>

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <xen/gntdev.h>

/*
 * The owner is not asked: its machine may be busy with other things. A key says
 * by which grant the table of the memory can be mapped. Nothing of it is
 * believed: what is mapped are grants of the machine that the endpoint leads
 * to, and they are what was looked for only if the table has the random name
 * that the key has. The table may be anything at any time, so it is copied, and
 * the copy is checked.
 */

typedef struct xshm_xen_view {
    ucs_list_link_t         list; /* In xshm_xen_domain_t::views */
    xshm_xen_t             *xen;
    xshm_xen_domain_t      *domain;
    uint64_t                process;
    uint64_t                region;
    const xshm_abi_table_t *table;   /* First page of it */
    uint8_t                *mappers; /* Ours is one byte of it */
    void                   *data;
    uint32_t                num_pages;
    int                     is_gone; /* It was told that it has ended */
} xshm_xen_view_t;


static void *xshm_xen_view_map(const xshm_xen_view_t *view, uint32_t *refs,
                               uint32_t count, int prot)
{
    void *ptr =
            xengnttab_map_domain_grant_refs(view->xen->gnttab, count,
                                            view->domain->domid, refs, prot);

    if (ptr != NULL) {
        (void)madvise(ptr, (size_t)count * XSHM_ABI_PAGE_SIZE, MADV_DONTFORK);
    }

    return ptr;
}

static void xshm_xen_view_unmap_pages(const xshm_xen_view_t *view,
                                      const void *ptr, uint32_t count)
{
    if (ptr != NULL) {
        xengnttab_unmap(view->xen->gnttab, (void *)(uintptr_t)ptr, count);
    }
}

/* The mappers' page last: its byte tells the owner that all is unmapped */
static void xshm_xen_view_unmap(const xshm_xen_view_t *view)
{
    xshm_xen_view_unmap_pages(view, view->data, view->num_pages);
    xshm_xen_view_unmap_pages(view, view->table, 1);
    xshm_xen_view_unmap_pages(view, view->mappers, 1);
}

/* From now on the kernel clears the byte when the page is unmapped. Not before
 * the byte is ours: it would be another process' one. */
static int xshm_xen_view_set_notify(const xshm_xen_view_t *view, int place)
{
    int fd = xengnttab_fd(view->xen->gnttab);
    struct ioctl_gntdev_get_offset_for_vaddr where = {
            .vaddr = (uintptr_t)view->mappers};
    struct ioctl_gntdev_unmap_notify notify = {.action =
                                                       UNMAP_NOTIFY_CLEAR_BYTE};

    if (ioctl(fd, IOCTL_GNTDEV_GET_OFFSET_FOR_VADDR, &where) != 0) {
        return 0;
    }

    notify.index = where.offset + (uint64_t)place;
    return ioctl(fd, IOCTL_GNTDEV_SET_UNMAP_NOTIFY, &notify) == 0;
}

/* Tell the owner that this process has the memory, before it does */
static int xshm_xen_view_enter(xshm_xen_view_t *view, uint32_t mappers_ref)
{
    uint64_t random = view->xen->super.process ^ view->region;
    int      place;

    view->mappers =
            xshm_xen_view_map(view, &mappers_ref, 1, PROT_READ | PROT_WRITE);
    if (view->mappers == NULL) {
        return 0;
    }

    place = xshm_xen_mappers_take(view->mappers, (uint32_t)random);
    if (place < 0) {
        return 0;
    }

    if (!xshm_xen_view_set_notify(view, place)) {
        view->mappers[place] = 0;
        return 0;
    }

    /* The owner may have freed it meanwhile, and not seen this process */
    return xshm_xen_table_is_current(view->table, view->region);
}

/* The other pages of the table are needed for a moment only */
static int xshm_xen_view_read_refs(const xshm_xen_view_t  *view,
                                   const xshm_xen_table_t *content,
                                   uint32_t               *refs)
{
    uint32_t        more_refs[XSHM_ABI_TABLE_MAX_MORE];
    const uint32_t *more = NULL;
    uint32_t        i;

    for (i = 0; i < content->num_more; ++i) {
        more_refs[i] = ((const volatile uint32_t *)view->table->more_refs)[i];
    }

    if (content->num_more > 0) {
        more = xshm_xen_view_map(view, more_refs, content->num_more, PROT_READ);
        if (more == NULL) {
            return 0;
        }
    }

    xshm_xen_table_copy_refs(view->table, more, content->num_pages, refs);
    xshm_xen_view_unmap_pages(view, more, content->num_more);
    return 1;
}

static int
xshm_xen_view_map_data(xshm_xen_view_t *view, const xshm_xen_table_t *content)
{
    int prot =
            PROT_READ | (xshm_rights_write(content->rights) ? PROT_WRITE : 0);
    uint32_t *refs;

    refs = malloc(content->num_pages * sizeof(*refs));
    if (refs == NULL) {
        return 0;
    }

    if (xshm_xen_view_read_refs(view, content, refs)) {
        view->data = xshm_xen_view_map(view, refs, content->num_pages, prot);
    }

    view->num_pages = content->num_pages;
    free(refs);
    return view->data != NULL;
}

static uint32_t xshm_xen_view_num_pages(const xshm_xen_view_t *view)
{
    /* The table's first page, and the mappers' one */
    return view->num_pages + 2;
}

static int xshm_xen_view_map_all(xshm_xen_view_t *view, uint32_t gref,
                                 xshm_xen_table_t *content)
{
    view->table = xshm_xen_view_map(view, &gref, 1, PROT_READ);

    return (view->table != NULL) &&
           xshm_xen_table_read(view->table, view->region, content) &&
           xshm_xen_domain_may_map(view->domain, content->num_pages) &&
           xshm_xen_view_enter(view, content->mappers_ref) &&
           xshm_xen_view_map_data(view, content);
}

static void xshm_xen_view_info(xshm_xen_view_t        *view,
                               const xshm_xen_table_t *content,
                               xshm_region_info_t     *info)
{
    info->address = view->data;
    info->base    = content->base;
    info->length  = content->length;
    info->region  = view->region;
    info->rights  = content->rights;
    info->handle  = view;
}

static xshm_xen_view_t *xshm_xen_view_new(xshm_xen_t              *xen,
                                          xshm_xen_domain_t       *domain,
                                          const xshm_region_ask_t *ask)
{
    xshm_xen_view_t *view = calloc(1, sizeof(*view));

    if (view != NULL) {
        view->xen     = xen;
        view->domain  = domain;
        view->process = ask->process;
        view->region  = ask->region;
    }

    return view;
}

/* @return Zero: it cannot be mapped */
static int xshm_xen_view_open(xshm_xen_t *xen, uint32_t domid,
                              const xshm_region_ask_t *ask,
                              xshm_region_info_t      *info)
{
    xshm_xen_domain_t *domain = xshm_xen_domain_get(xen, domid);
    xshm_xen_table_t   content;
    xshm_xen_view_t   *view;

    view = (domain == NULL) ? NULL : xshm_xen_view_new(xen, domain, ask);
    if (view == NULL) {
        return 0;
    }

    if (!xshm_xen_view_map_all(view, ask->gref, &content)) {
        xshm_xen_view_unmap(view);
        free(view);
        return 0;
    }

    domain->num_mapped += xshm_xen_view_num_pages(view);
    ucs_list_add_tail(&domain->views, &view->list);
    xshm_xen_view_info(view, &content, info);
    xen->next_scan = 0;
    return 1;
}

void xshm_xen_region_ask(xshm_platform_t *platform, xshm_region_ask_t *ask)
{
    xshm_xen_t         *xen  = (xshm_xen_t *)platform;
    xshm_region_info_t  info = {0};
    xshm_xen_dev_addr_t addr;
    int                 is_mapped;

    memcpy(&addr, ask->dev_addr, sizeof(addr));
    is_mapped = (ask->granted == xshm_xen_domid(xen)) &&
                xshm_xen_view_open(xen, addr.domid, ask, &info);
    platform->sink->region_answered(ask, is_mapped ? &info : NULL);
}

void xshm_xen_region_unmap(const xshm_region_info_t *info)
{
    xshm_xen_view_t *view = info->handle;

    xshm_xen_view_unmap(view);
    view->domain->num_mapped -= xshm_xen_view_num_pages(view);
    ucs_list_del(&view->list);
    free(view);
}

/* Who still has a key of it keeps it mapped until then */
static void xshm_xen_view_report(xshm_xen_view_t *view)
{
    if (!view->is_gone) {
        view->is_gone = 1;
        view->xen->super.sink->region_gone(view->process, view->region,
                                           (int)view->domain->domid);
    }
}

void xshm_xen_view_scan(xshm_xen_domain_t *domain)
{
    xshm_xen_view_t *view;

    ucs_list_for_each(view, &domain->views, list) {
        if (!xshm_xen_table_is_current(view->table, view->region)) {
            xshm_xen_view_report(view);
        }
    }
}

void xshm_xen_view_fail(xshm_xen_domain_t *domain)
{
    xshm_xen_view_t *view;

    ucs_list_for_each(view, &domain->views, list) {
        xshm_xen_view_report(view);
    }
}
