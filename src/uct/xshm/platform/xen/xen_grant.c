/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "xen_grant.h"


/* References of data pages in the first page of a table, and in each other */
#define XSHM_XEN_TABLE_FIRST_REFS \
    ((XSHM_ABI_PAGE_SIZE - XSHM_ABI_TABLE_REFS_OFFSET) / sizeof(uint32_t))
#define XSHM_XEN_TABLE_PAGE_REFS (XSHM_ABI_PAGE_SIZE / sizeof(uint32_t))

/* A machine has far fewer processes that map the same memory at once (Xen
 * allows 128), unless somebody has written there who should not have */
#define XSHM_XEN_MAPPERS_MAX_TRIES 256u


int xshm_xen_domain_only(int only, int domain)
{
    if ((only == XSHM_DOMAIN_SAME) || (only == domain)) {
        return domain;
    }

    return (domain == XSHM_DOMAIN_SAME) ? only : XSHM_XEN_DOMAIN_MANY;
}

uint32_t xshm_xen_table_num_more(uint32_t num_pages)
{
    if (num_pages <= XSHM_XEN_TABLE_FIRST_REFS) {
        return 0;
    }

    return (uint32_t)((num_pages - XSHM_XEN_TABLE_FIRST_REFS +
                       XSHM_XEN_TABLE_PAGE_REFS - 1) /
                      XSHM_XEN_TABLE_PAGE_REFS);
}

void xshm_xen_table_write(xshm_abi_table_t *table, uint64_t region,
                          const xshm_xen_table_t *content)
{
    table->magic       = XSHM_ABI_TABLE_MAGIC;
    table->version     = XSHM_ABI_VERSION;
    table->base        = content->base;
    table->length      = content->length;
    table->rights      = content->rights;
    table->mappers_ref = content->mappers_ref;
    table->live        = 1;
    /* NAME: pairs with READ */
    __atomic_store_n(&table->region, region, __ATOMIC_RELEASE);
}

void xshm_xen_table_revoke(xshm_abi_table_t *table)
{
    __atomic_store_n(&table->live, 0, __ATOMIC_RELAXED);
    /* REVOKE: pairs with TAKE */
    __atomic_store_n(&table->region, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* The peer may write anything: what is looked at is a copy */
static int xshm_xen_table_check(xshm_xen_table_t *content)
{
    if ((content->length == 0) ||
        ((content->length % XSHM_ABI_PAGE_SIZE) != 0) ||
        (content->length / XSHM_ABI_PAGE_SIZE > XSHM_ABI_TABLE_MAX_PAGES) ||
        (content->base + content->length < content->base) ||
        (content->rights & ~(unsigned)XSHM_RIGHT_ALL)) {
        return 0;
    }

    content->num_pages = (uint32_t)(content->length / XSHM_ABI_PAGE_SIZE);
    content->num_more  = xshm_xen_table_num_more(content->num_pages);
    return 1;
}

int xshm_xen_table_read(const volatile xshm_abi_table_t *table, uint64_t region,
                        xshm_xen_table_t *content)
{
    /* READ: pairs with NAME */
    if ((region == 0) ||
        (__atomic_load_n(&table->region, __ATOMIC_ACQUIRE) != region) ||
        (table->magic != XSHM_ABI_TABLE_MAGIC) ||
        (table->version != XSHM_ABI_VERSION)) {
        return 0;
    }

    content->base        = table->base;
    content->length      = table->length;
    content->rights      = table->rights;
    content->mappers_ref = table->mappers_ref;
    return xshm_xen_table_check(content);
}

int xshm_xen_table_is_current(const volatile xshm_abi_table_t *table,
                              uint64_t                         region)
{
    return (__atomic_load_n(&table->live, __ATOMIC_RELAXED) != 0) &&
           (__atomic_load_n(&table->region, __ATOMIC_RELAXED) == region);
}

void xshm_xen_table_copy_refs(const volatile xshm_abi_table_t *table,
                              const volatile uint32_t *more, uint32_t num_pages,
                              uint32_t *refs)
{
    const volatile uint32_t *first =
            (const volatile uint32_t *)((const volatile char *)table +
                                        XSHM_ABI_TABLE_REFS_OFFSET);
    uint32_t i;

    for (i = 0; i < num_pages; ++i) {
        refs[i] = (i < XSHM_XEN_TABLE_FIRST_REFS) ?
                          first[i] :
                          more[i - XSHM_XEN_TABLE_FIRST_REFS];
    }
}

int xshm_xen_mappers_take(uint8_t *mappers, uint32_t start)
{
    uint8_t  expected;
    uint32_t place;
    unsigned i;

    for (i = 0; i < XSHM_XEN_MAPPERS_MAX_TRIES; ++i) {
        place    = (start + i) % XSHM_ABI_NUM_MAPPERS;
        expected = 0;
        /* TAKE: pairs with REVOKE. A full fence, as the name is looked at
         * afterwards. */
        if (__atomic_compare_exchange_n(&mappers[place], &expected, 1, 0,
                                        __ATOMIC_SEQ_CST, __ATOMIC_RELAXED)) {
            __atomic_thread_fence(__ATOMIC_SEQ_CST);
            return (int)place;
        }
    }

    return -1;
}

int xshm_xen_mappers_is_empty(const uint8_t *mappers)
{
    unsigned i;

    for (i = 0; i < XSHM_ABI_NUM_MAPPERS; ++i) {
        if (__atomic_load_n(&mappers[i], __ATOMIC_ACQUIRE) != 0) {
            return 0;
        }
    }

    return 1;
}
