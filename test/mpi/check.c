/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Set by a test that wants to see the program fail: rank 0 damages the data
 * that it sends */
#define CHECK_CORRUPT_ENV "XSHM_TEST_CORRUPT"

#define CHECK_STEP  0x9e3779b97f4a7c15UL
#define CHECK_MIX_1 0xbf58476d1ce4e5b9UL
#define CHECK_MIX_2 0x94d049bb133111ebUL

int check_rank    = -1;
int check_size    = 0;
int check_corrupt = 0;

static uint64_t check_bytes = 0;

void check_init(int *argc, char ***argv)
{
    MPI_Init(argc, argv);
    check_attach();
}

void check_attach(void)
{
    MPI_Comm_rank(MPI_COMM_WORLD, &check_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &check_size);
    check_corrupt = (check_rank == 0) && (getenv(CHECK_CORRUPT_ENV) != NULL);
}

int check_finish(const char *name)
{
    check_report(name);
    MPI_Finalize();
    return EXIT_SUCCESS;
}

void check_report(const char *name)
{
    uint64_t total = 0;

    MPI_Reduce(&check_bytes, &total, 1, MPI_UINT64_T, MPI_SUM, 0,
               MPI_COMM_WORLD);
    if (check_rank == 0) {
        printf("RESULT %s ranks=%d bytes=%lu ok\n", name, check_size, total);
        fflush(stdout);
    }
}

void check_fail(const char *file, int line, const char *what, const char *fmt,
                ...)
{
    va_list ap;

    fprintf(stderr, "%s:%d: rank %d of %d: failed: %s: ", file, line,
            check_rank, check_size, what);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    fflush(stderr);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
    abort();
}

static uint64_t check_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * CHECK_MIX_1;
    value = (value ^ (value >> 27)) * CHECK_MIX_2;
    return value ^ (value >> 31);
}

uint64_t check_seed(uint64_t a, uint64_t b, uint64_t c)
{
    return check_mix(check_mix(check_mix(a + CHECK_STEP) + b) + c);
}

uint64_t check_random(uint64_t *state)
{
    *state += CHECK_STEP;
    return check_mix(*state);
}

void check_fill(void *buffer, size_t length, uint64_t seed)
{
    unsigned char *bytes  = buffer;
    size_t         offset = 0;
    uint64_t       word;
    size_t         part;

    while (offset < length) {
        word = check_random(&seed);
        part = (length - offset < sizeof(word)) ? length - offset :
                                                  sizeof(word);
        memcpy(bytes + offset, &word, part);
        offset += part;
    }

    if (check_corrupt && (length > 0)) {
        bytes[length - 1] ^= 1;
    }
}

void check_data(const void *buffer, size_t length, uint64_t seed,
                const char *what)
{
    const unsigned char *bytes  = buffer;
    size_t               offset = 0;
    uint64_t             word;
    size_t               part;

    while (offset < length) {
        word = check_random(&seed);
        part = (length - offset < sizeof(word)) ? length - offset :
                                                  sizeof(word);
        CHECK(memcmp(bytes + offset, &word, part) == 0,
              "%s: wrong data near byte %zu of %zu", what, offset, length);
        offset += part;
    }
    check_bytes += length;
}

uint64_t check_moved(void)
{
    return check_bytes;
}

void check_count(uint64_t bytes)
{
    check_bytes += bytes;
}

void *check_alloc(size_t length)
{
    void *buffer = malloc((length > 0) ? length : 1);

    CHECK(buffer != NULL, "no memory for %zu bytes", length);
    return buffer;
}
