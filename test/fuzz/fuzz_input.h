/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_FUZZ_INPUT_H_
#define XSHM_FUZZ_INPUT_H_

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/** What libFuzzer calls */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/** The fuzzer's bytes, taken one after the other; zeros when they are used up */
typedef struct fuzz_input {
    const uint8_t *data;
    size_t         size;
} fuzz_input_t;

/** A finding: libFuzzer keeps the input */
#define fuzz_check(_cond) \
    do { \
        if (!(_cond)) { \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #_cond); \
            abort(); \
        } \
    } while (0)

static inline uint64_t fuzz_take(fuzz_input_t *input, size_t length)
{
    uint64_t value = 0;
    size_t   rest  = (length < input->size) ? length : input->size;

    memcpy(&value, input->data, rest);
    input->data += rest;
    input->size -= rest;
    return value;
}

/** Memory with a page before and after it that nobody may touch. Stays mapped
 *  to the end of the process. */
static inline uint8_t *fuzz_map(size_t size, size_t page_size)
{
    uint8_t *area;

    area = mmap(NULL, size + (2 * page_size), PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    fuzz_check(area != MAP_FAILED);
    fuzz_check(mprotect(area + page_size, size, PROT_READ | PROT_WRITE) == 0);
    return area + page_size;
}

#endif
