/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_GNTALLOC_H_
#define XSHM_GNTALLOC_H_

#include <ucs/type/status.h>

#include <stdint.h>

/**
 * Pages that the kernel grants to another virtual machine: the device gntalloc.
 * They belong to the file by which they were allocated. Who has a descriptor of
 * that file can map them, also in another process.
 *
 * The device's own calls are used, not libxengnttab: it would drop the handle
 * to the pages at once, and with it the way to have the first of several pages
 * changed by the kernel when this process dies, or to pass them to others.
 *
 * Threads: any.
 */

#define XSHM_GNTALLOC_PATH "/dev/xen/gntalloc"


/** Open the device, close-on-exec and in the set of descriptors. @return -1 on
 *  failure, with errno. */
int xshm_gntalloc_open(void);

/** Is it a descriptor of the device? It need not be one that was opened
 *  here. */
int xshm_gntalloc_is_device(int fd);

/**
 * Grant new pages, which are zero.
 *
 * @param [in]  flags    GNTALLOC_FLAG_WRITABLE, or zero: read-only for the peer.
 * @param [out] index_p  Where in the file they are.
 * @param [out] grefs_p  Reference of each, to be freed.
 *
 * @return UCS_ERR_NO_RESOURCE, with errno.
 */
ucs_status_t xshm_gntalloc_grant(int fd, uint32_t domid, uint16_t flags,
                                 uint32_t count, uint64_t *index_p,
                                 uint32_t **grefs_p);

/** Free pages. They stay as long as they are mapped here. */
void xshm_gntalloc_ungrant(int fd, uint64_t index, uint32_t count);

/**
 * Begin, and end, to take pages for a moment only, to see whether there are so
 * many. Who finds none meanwhile, in any process, waits for the end.
 *
 * @return Zero: others do so all the time.
 */
int  xshm_gntalloc_begin_try(int fd);
void xshm_gntalloc_end_try(int fd);

/** Wait, not for long, until nobody takes pages for a moment only */
void xshm_gntalloc_await_try(int fd);

/** When the page at @a index is freed, and so when this process dies, the
 *  kernel clears the byte at @a index. @return Zero on failure. */
int xshm_gntalloc_clear_at_end(int fd, uint64_t index);

/** Number of pages that all programs together may grant, or -1: not known */
long xshm_gntalloc_limit(void);

#endif
