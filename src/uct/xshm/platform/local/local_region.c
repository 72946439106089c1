/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fallocate(), seals */
#endif

#include "local_region.h"
#include "../fdset.h"
#include "../gntalloc.h"
#include "../region.h"
#include "../complain.h"

#include <ucs/debug/log.h>
#include <ucs/sys/compiler.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>


ucs_status_t xshm_local_region_alloc(xshm_platform_t          *platform,
                                     const xshm_region_spec_t *spec,
                                     xshm_region_t           **region_p)
{
    xshm_region_t *region;
    ucs_status_t   status;

    (void)platform;

    region = calloc(1, sizeof(*region));
    if (region == NULL) {
        return UCS_ERR_NO_MEMORY;
    }

    region->granted = XSHM_ABI_NO_DOMAIN;
    region->length  = spec->length;
    region->fd =
            xshm_local_memfd("xshm-memory", spec->length, "Free some memory");
    if (region->fd < 0) {
        status = UCS_ERR_NO_MEMORY;
        goto err_free;
    }

    status = xshm_local_seal(region->fd, XSHM_LOCAL_SIZE_SEALS);
    if (status != UCS_OK) {
        goto err_close;
    }

    status = xshm_region_map(region, spec);
    if (status != UCS_OK) {
        goto err_close;
    }

    *region_p = region;
    return UCS_OK;

err_close:
    xshm_fdset_close(region->fd);
err_free:
    free(region);
    return status;
}

/* A peer that does not unmap would keep the pages: take them away. It sees
 * zeros from then on. */
void xshm_local_region_free(xshm_region_t *region)
{
    munmap(region->address, region->length);
    if ((region->shared != NULL) && !xshm_fdset_is_child() &&
        (fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                   (off_t)region->length) != 0)) {
        ucs_debug("xshm: cannot free the pages of %zu bytes that peers have "
                  "mapped: %m",
                  region->length);
    }

    xshm_fdset_close(region->fd);
    free(region);
}

void xshm_local_region_ask(xshm_platform_t *platform, xshm_region_ask_t *ask)
{
    xshm_local_t      *local = ucs_derived_of(platform, xshm_local_t);
    xshm_local_link_t *link;
    xshm_local_msg_t   msg;

    if (xshm_local_link_get_own(local, ask->process, &link) != UCS_OK) {
        platform->sink->region_answered(ask, NULL);
        return;
    }

    ucs_list_add_tail(&link->asks, &ask->list);
    xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_MAP);
    msg.slot = ask->slot;
    msg.id   = ask->id;
    xshm_local_link_post(link, &msg);
}

/* Who may not write gets a descriptor that cannot. Of the device there is none
 * that could be had: opened again, it is another file, without these pages. */
static int xshm_local_region_open(const xshm_region_t *region)
{
    char path[64];
    int  fd;

    if (xshm_rights_write(region->rights)) {
        return region->fd;
    }

    if (xshm_gntalloc_is_device(region->fd)) {
        errno = EACCES;
        return -1;
    }

    snprintf(path, sizeof(path), "/proc/self/fd/%d", region->fd);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    return (fd < 0) ? fd : xshm_fdset_add(fd);
}

static ucs_status_t xshm_local_region_give(xshm_local_link_t      *link,
                                           const xshm_local_msg_t *request,
                                           const xshm_region_t    *region)
{
    xshm_local_msg_t msg;
    ucs_status_t     status;
    int              fd;

    fd = xshm_local_region_open(region);
    if (fd < 0) {
        ucs_debug("xshm: no descriptor for a peer that wants to map memory: "
                  "%m");
        return UCS_ERR_NO_RESOURCE;
    }

    xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_REGION);
    msg.slot   = request->slot;
    msg.id     = request->id;
    msg.region = region->id;
    msg.base   = (uintptr_t)region->address;
    msg.length = region->length;
    msg.rights = region->rights;
    status     = xshm_local_link_send_fd(link, &msg, fd);
    if (fd != region->fd) {
        xshm_fdset_close(fd);
    }

    return status;
}

/* Only what another process of this user names rightly is given away */
static void
xshm_local_handle_map(xshm_local_link_t *link, const xshm_local_msg_t *request)
{
    const xshm_platform_sink_t *sink   = link->local->super.sink;
    xshm_region_t              *region = NULL;
    ucs_status_t                status = UCS_ERR_REJECTED;
    xshm_local_msg_t            msg;

    region = sink->region_get(request->slot, request->id);
    if (region != NULL) {
        /* From here on its end must be told */
        region->shared = &link->local->super;
        status         = xshm_local_region_give(link, request, region);
        sink->region_put(region);
    }

    if (status != UCS_OK) {
        xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_NO_REGION);
        msg.slot = request->slot;
        msg.id   = request->id;
        xshm_local_link_post(link, &msg);
    }
}

static xshm_region_ask_t *
xshm_local_find_ask(xshm_local_link_t *link, const xshm_local_msg_t *msg)
{
    xshm_region_ask_t *ask;

    ucs_list_for_each(ask, &link->asks, list) {
        if ((ask->id == msg->id) && (ask->slot == msg->slot)) {
            ucs_list_del(&ask->list);
            return ask;
        }
    }

    return NULL;
}

/* Neither file can be cut off below our feet: the one by its seals, the other
 * because it is the device. Where the device has no such pages, they cannot be
 * mapped. */
static int xshm_local_region_check(int fd, size_t length)
{
    return xshm_gntalloc_is_device(fd) ||
           xshm_local_memfd_check(fd, length, XSHM_LOCAL_SIZE_SEALS);
}

/* Fills all but the handle */
static int xshm_local_view_map(const xshm_local_msg_t *msg, int fd,
                               xshm_region_info_t *info)
{
    int prot = PROT_READ | (xshm_rights_write(msg->rights) ? PROT_WRITE : 0);

    if ((msg->length == 0) || (msg->rights & ~(unsigned)XSHM_RIGHT_ALL) ||
        (msg->base + msg->length < msg->base) ||
        !xshm_local_region_check(fd, msg->length)) {
        return 0;
    }

    info->address = mmap(NULL, msg->length, prot, MAP_SHARED, fd, 0);
    if (info->address == MAP_FAILED) {
        ucs_debug("xshm: cannot map %" PRIu64 " bytes of a peer: %m",
                  msg->length);
        return 0;
    }

    /* As the channels' memory: a forked child has none of it */
    madvise(info->address, msg->length, MADV_DONTFORK);
    info->base   = msg->base;
    info->length = msg->length;
    info->region = msg->region;
    info->rights = msg->rights;
    return 1;
}

static int xshm_local_view_new(xshm_local_link_t      *link,
                               const xshm_local_msg_t *msg, int fd,
                               xshm_region_info_t *info)
{
    xshm_local_view_t *view;

    view = malloc(sizeof(*view));
    if (view == NULL) {
        return 0;
    }

    if (!xshm_local_view_map(msg, fd, info)) {
        free(view);
        return 0;
    }

    view->link    = link;
    view->process = link->process;
    view->region  = msg->region;
    info->handle  = view;
    ucs_list_add_tail(&link->views, &view->list);
    return 1;
}

void xshm_local_region_unmap(const xshm_region_info_t *info)
{
    xshm_local_view_t *view = info->handle;

    munmap(info->address, info->length);
    ucs_list_del(&view->list);
    if (view->link != NULL) {
        xshm_local_link_release(view->link);
    }

    free(view);
}

static void xshm_local_handle_region(xshm_local_link_t      *link,
                                     const xshm_local_msg_t *msg, int fd)
{
    xshm_region_ask_t *ask  = xshm_local_find_ask(link, msg);
    xshm_region_info_t info = {0};
    int                is_mapped;

    if (ask == NULL) {
        xshm_complain(
                "xshm: a peer gives memory that nobody has asked for: its "
                "socket is closed");
        link->is_broken = 1;
        return;
    }

    is_mapped = (fd >= 0) && xshm_local_view_new(link, msg, fd, &info);
    link->local->super.sink->region_answered(ask, is_mapped ? &info : NULL);
    xshm_local_link_release(link);
}

static void xshm_local_handle_no_region(xshm_local_link_t      *link,
                                        const xshm_local_msg_t *msg)
{
    xshm_region_ask_t *ask = xshm_local_find_ask(link, msg);

    if (ask != NULL) {
        link->local->super.sink->region_answered(ask, NULL);
        xshm_local_link_release(link);
    }
}

void xshm_local_region_handle_msg(xshm_local_link_t      *link,
                                  const xshm_local_msg_t *msg, const int *fds)
{
    switch (msg->type) {
    case XSHM_LOCAL_MSG_MAP:
        xshm_local_handle_map(link, msg);
        break;
    case XSHM_LOCAL_MSG_REGION:
        xshm_local_handle_region(link, msg, fds[0]);
        break;
    case XSHM_LOCAL_MSG_NO_REGION:
        xshm_local_handle_no_region(link, msg);
        break;
    default:
        link->local->super.sink->region_gone(link->process, msg->region,
                                             XSHM_DOMAIN_SAME);
        break;
    }
}

void xshm_local_region_forget(xshm_platform_t *platform, uint64_t region)
{
    xshm_local_t      *local = ucs_derived_of(platform, xshm_local_t);
    xshm_local_link_t *link;
    xshm_local_msg_t   msg;

    ucs_list_for_each(link, &local->links, list) {
        xshm_local_msg_init(&msg, link, XSHM_LOCAL_MSG_FORGET);
        msg.region = region;
        xshm_local_link_post(link, &msg);
    }
}

void xshm_local_region_link_down(xshm_local_link_t *link)
{
    const xshm_platform_sink_t *sink = link->local->super.sink;
    xshm_local_view_t          *view;
    xshm_region_ask_t          *ask;

    while (!ucs_list_is_empty(&link->asks)) {
        ask = ucs_list_extract_head(&link->asks, xshm_region_ask_t, list);
        sink->region_answered(ask, NULL);
    }

    while (!ucs_list_is_empty(&link->views)) {
        view = ucs_list_extract_head(&link->views, xshm_local_view_t, list);
        view->link = NULL;
        ucs_list_head_init(&view->list);
        sink->region_gone(view->process, view->region, XSHM_DOMAIN_SAME);
    }
}
