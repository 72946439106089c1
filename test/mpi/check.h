/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Shared by the MPI test programs: data whose every byte depends on where it
 * comes from, and checks that stop the whole job at the first wrong one.
 */

#ifndef XSHM_TEST_MPI_CHECK_H_
#define XSHM_TEST_MPI_CHECK_H_

#include <mpi.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK_KIB 1024UL
#define CHECK_MIB (1024UL * 1024UL)

/**
 * Stop the job with the place, the rank and a sentence unless @a _cond holds.
 */
#define CHECK(_cond, ...) \
    do { \
        if (!(_cond)) { \
            check_fail(__FILE__, __LINE__, #_cond, __VA_ARGS__); \
        } \
    } while (0)

extern int check_rank;    /**< This process's rank in MPI_COMM_WORLD */
extern int check_size;    /**< Number of ranks in MPI_COMM_WORLD */
extern int check_corrupt; /**< 1 where a test wants this rank to send damaged
                               data, so as to see that this is found */

/**
 * Start MPI and remember the rank and the number of ranks.
 */
void check_init(int *argc, char ***argv);

/**
 * The same where somebody else has started MPI, as OpenSHMEM does.
 */
void check_attach(void);

/**
 * Let rank 0 print the line that the test scripts look for, then stop MPI.
 *
 * @param [in] name  Name of the program.
 *
 * @return The exit status of the program.
 */
int check_finish(const char *name);

/**
 * Let rank 0 print that line only.
 */
void check_report(const char *name);

/** Print where a check failed, and abort the job. Does not return. */
void check_fail(const char *file, int line, const char *what, const char *fmt,
                ...) __attribute__((noreturn, format(printf, 4, 5)));

/** Mix three numbers into a seed for check_fill() and check_data(). */
uint64_t check_seed(uint64_t a, uint64_t b, uint64_t c);

/** Next number of a reproducible sequence. */
uint64_t check_random(uint64_t *state);

/** Fill a buffer with bytes that follow from @a seed. */
void check_fill(void *buffer, size_t length, uint64_t seed);

/**
 * Check that a buffer holds what check_fill() wrote, and count its bytes as
 * moved.
 *
 * @param [in] what  What was done, for the message.
 */
void check_data(const void *buffer, size_t length, uint64_t seed,
                const char *what);

/** Bytes that this rank has received and checked so far. */
uint64_t check_moved(void);

/** Count bytes that were checked in another way than by check_data(). */
void check_count(uint64_t bytes);

/** Allocate memory, or stop the job. */
void *check_alloc(size_t length);

#endif
