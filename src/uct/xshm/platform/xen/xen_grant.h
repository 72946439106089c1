/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_GRANT_H_
#define XSHM_XEN_GRANT_H_

#include "../platform.h"

/**
 * What two machines say to each other about granted memory, in pages that both
 * have mapped: the table, which the owner writes, and the mappers' page, which
 * the other machine's processes write (xshm_abi.h). Calls nothing of Xen, so
 * that it can be tested and fuzzed anywhere.
 *
 * Threads: any. Ordered accesses:
 *
 *   NAME    (owner) stores the name, after all else in the table.
 *   READ    (user)  loads the name, before all else. Pairs with NAME.
 *   TAKE    (user)  takes its byte, then looks whether the name is there still.
 *   REVOKE  (owner) takes the name away, then looks whether a byte is taken.
 *           Pairs with TAKE: both have a full fence between the two, so at
 *           least one sees the other. What nobody has taken is used again.
 */

/** What a table says: copied, and checked */
typedef struct xshm_xen_table {
    uint64_t base;
    uint64_t length;
    unsigned rights;      /**< XSHM_RIGHT_xx */
    uint32_t mappers_ref; /**< Reference of the mappers' page */
    uint32_t num_pages;   /**< Data pages */
    uint32_t num_more;    /**< Pages of the table besides the first */
} xshm_xen_table_t;


/** Several domains, of which none is the only one */
#define XSHM_XEN_DOMAIN_MANY (-2)

/**
 * The only one of several domains, one after the other: start with
 * XSHM_DOMAIN_SAME, which stands for none.
 *
 * @return A domain id, XSHM_DOMAIN_SAME, or XSHM_XEN_DOMAIN_MANY.
 */
int xshm_xen_domain_only(int only, int domain);

/** Pages that the table of so many data pages needs besides its first */
uint32_t xshm_xen_table_num_more(uint32_t num_pages);

/** Give new memory its name and description (owner). The references are
 *  there. */
void xshm_xen_table_write(xshm_abi_table_t *table, uint64_t region,
                          const xshm_xen_table_t *content);

/** Take the name away (owner) */
void xshm_xen_table_revoke(xshm_abi_table_t *table);

/** Read and check what the table of memory @a region says. @return Zero: it is
 *  not what it should be. */
int xshm_xen_table_read(const volatile xshm_abi_table_t *table, uint64_t region,
                        xshm_xen_table_t *content);

/** Is it the table of that memory, which its owner has still? */
int xshm_xen_table_is_current(const volatile xshm_abi_table_t *table,
                              uint64_t                         region);

/**
 * Copy the references of the data pages.
 *
 * @param [in]  more  The other pages of the table, one behind the other, or
 *                    NULL if there are none.
 * @param [out] refs  num_pages of them.
 */
void xshm_xen_table_copy_refs(const volatile xshm_abi_table_t *table,
                              const volatile uint32_t *more, uint32_t num_pages,
                              uint32_t *refs);

/** Take a byte, at @a start or behind it. @return Its place, or -1: no free
 *  one was found in a bounded time. */
int xshm_xen_mappers_take(uint8_t *mappers, uint32_t start);

/** Has nobody a byte? (owner) */
int xshm_xen_mappers_is_empty(const uint8_t *mappers);

#endif
