/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The table of granted memory and the mappers' page of a hostile virtual
 * machine: they hold anything, and a thread of one input in four changes them
 * all the time. What is accepted is in bounds, and nothing outside is read.
 */

#include "fuzz_input.h"

#include <uct/xshm/platform/xen/xen_grant.h>

#include <pthread.h>


/* Few pages, so that the addresses behind them are often tried */
#define FUZZ_MORE_PAGES 2u
#define FUZZ_NAME       0x1122334455667788ul


static xshm_abi_table_t *fuzz_table;
static uint8_t          *fuzz_more;
static uint8_t          *fuzz_mappers;
static int               fuzz_is_disturbed;


static void fuzz_init(void)
{
    fuzz_table = (xshm_abi_table_t *)fuzz_map(XSHM_ABI_PAGE_SIZE,
                                              XSHM_ABI_PAGE_SIZE);
    fuzz_more =
            fuzz_map(FUZZ_MORE_PAGES * XSHM_ABI_PAGE_SIZE, XSHM_ABI_PAGE_SIZE);
    fuzz_mappers = fuzz_map(XSHM_ABI_PAGE_SIZE, XSHM_ABI_PAGE_SIZE);
}

/* Other descriptions that are accepted, too, so that mixtures are */
static void *fuzz_disturb(void *arg)
{
    uint64_t i = 0;

    (void)arg;

    while (__atomic_load_n(&fuzz_is_disturbed, __ATOMIC_RELAXED)) {
        ++i;
        __atomic_store_n(&fuzz_table->length, (i % 4000) * XSHM_ABI_PAGE_SIZE,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&fuzz_table->base, i * UINT64_MAX / 7,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&fuzz_table->rights, (uint32_t)i % 9,
                         __ATOMIC_RELAXED);
        __atomic_store_n(&fuzz_mappers[i % XSHM_ABI_NUM_MAPPERS], (uint8_t)i,
                         __ATOMIC_RELAXED);
    }

    return NULL;
}

/* As an honest owner writes it, but for what the input damages */
static void fuzz_fill(fuzz_input_t *input)
{
    xshm_xen_table_t content = {.base = fuzz_take(input, 6) *
                                        XSHM_ABI_PAGE_SIZE,
                                .length = fuzz_take(input, 2) *
                                          XSHM_ABI_PAGE_SIZE,
                                .rights = (unsigned)fuzz_take(input, 1) % 8,
                                .mappers_ref = (uint32_t)fuzz_take(input, 4)};
    unsigned         count   = (unsigned)fuzz_take(input, 1) % 4;
    unsigned         place;

    xshm_xen_table_write(fuzz_table, FUZZ_NAME, &content);
    memset(fuzz_mappers, (int)fuzz_take(input, 1) % 2, XSHM_ABI_PAGE_SIZE);
    while (count-- > 0) {
        place                          = (unsigned)fuzz_take(input, 1) % 72;
        ((uint8_t *)fuzz_table)[place] = (uint8_t)fuzz_take(input, 1);
        fuzz_mappers[fuzz_take(input, 2) % XSHM_ABI_PAGE_SIZE] = 0;
    }
}

static void fuzz_check_content(const xshm_xen_table_t *content)
{
    fuzz_check(content->num_pages > 0);
    fuzz_check(content->num_pages <= XSHM_ABI_TABLE_MAX_PAGES);
    fuzz_check(content->num_more <= XSHM_ABI_TABLE_MAX_MORE);
    fuzz_check(content->length ==
               (uint64_t)content->num_pages * XSHM_ABI_PAGE_SIZE);
    fuzz_check(content->base + content->length >= content->base);
    fuzz_check((content->rights & ~(unsigned)XSHM_RIGHT_ALL) == 0);
    fuzz_check(content->num_more ==
               xshm_xen_table_num_more(content->num_pages));
}

/* Into memory of just that size, behind which a sanitizer looks */
static void fuzz_copy(const xshm_xen_table_t *content)
{
    uint32_t *refs = malloc(content->num_pages * sizeof(*refs));

    fuzz_check(refs != NULL);
    xshm_xen_table_copy_refs(fuzz_table,
                             (content->num_more == 0) ? NULL :
                                                        (uint32_t *)fuzz_more,
                             content->num_pages, refs);
    free(refs);
}

static void fuzz_take_byte(fuzz_input_t *input)
{
    uint32_t start = (uint32_t)fuzz_take(input, 4);
    int      place = xshm_xen_mappers_take(fuzz_mappers, start);

    fuzz_check((place >= -1) && (place < (int)XSHM_ABI_NUM_MAPPERS));
    fuzz_check((place < 0) || fuzz_is_disturbed ||
               !xshm_xen_mappers_is_empty(fuzz_mappers));
}

static void fuzz_run(fuzz_input_t *input)
{
    xshm_xen_table_t content;

    while (input->size > 0) {
        fuzz_fill(input);
        if (xshm_xen_table_read(fuzz_table, FUZZ_NAME, &content)) {
            fuzz_check_content(&content);
            if (content.num_more <= FUZZ_MORE_PAGES) {
                fuzz_copy(&content);
            }
        }
        fuzz_take_byte(input);
        (void)xshm_xen_table_is_current(fuzz_table, FUZZ_NAME);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_input_t input = {data, size};
    pthread_t    thread;

    if (fuzz_table == NULL) {
        fuzz_init();
    }

    if ((fuzz_take(&input, 1) % 4) != 3) {
        fuzz_run(&input);
        return 0;
    }

    __atomic_store_n(&fuzz_is_disturbed, 1, __ATOMIC_RELAXED);
    fuzz_check(pthread_create(&thread, NULL, fuzz_disturb, NULL) == 0);
    fuzz_run(&input);
    __atomic_store_n(&fuzz_is_disturbed, 0, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    return 0;
}
