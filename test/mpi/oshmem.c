/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * OpenSHMEM: put and get on the symmetric heap and on static data, atomics,
 * flags that are waited for, locks, collectives. Started by oshrun, or by mpirun.
 */

#include "check.h"

#include <shmem.h>
#include <stdlib.h>
#include <string.h>

#define OSH_MAX      CHECK_MIB
#define OSH_STATIC   (64 * CHECK_KIB)
#define OSH_ROUNDS   20
#define OSH_COUNTERS 16
#define OSH_ADDS     200
#define OSH_SWAPS    40

/* Put, get and flags by static data, which no peer can map: by message */
static char osh_static[OSH_STATIC];
static long osh_flag;
static long osh_lock_word;
static long osh_guarded;
static long osh_sync[SHMEM_BCAST_SYNC_SIZE];

static int osh_neighbour(int distance)
{
    return (check_rank + distance + check_size) % check_size;
}

/* Each rank puts to the next, waits for all, and looks at what it got */
static void osh_put_ring(char *target, size_t size, uint64_t salt)
{
    char *out = check_alloc(size);

    check_fill(out, size, check_seed(check_rank, size, salt));
    shmem_putmem(target, out, size, osh_neighbour(1));
    shmem_barrier_all();
    check_data(target, size, check_seed(osh_neighbour(-1), size, salt), "put");
    shmem_barrier_all();
    free(out);
}

/* Each rank gets from the next what that one has written itself */
static void osh_get_ring(char *source, size_t size, uint64_t salt)
{
    char *in = check_alloc(size);

    check_fill(source, size, check_seed(check_rank, size, salt));
    shmem_barrier_all();
    shmem_getmem(in, source, size, osh_neighbour(1));
    check_data(in, size, check_seed(osh_neighbour(1), size, salt), "get");
    memset(in, 0, size);
    shmem_getmem_nbi(in, source, size, osh_neighbour(1));
    shmem_quiet();
    check_data(in, size, check_seed(osh_neighbour(1), size, salt),
               "get, quiet");
    shmem_barrier_all();
    free(in);
}

/* The flag is put after a fence, so what it announces is there */
static void osh_signal(char *target, size_t size)
{
    char *out = check_alloc(size);
    long  round;

    for (round = 1; round <= OSH_ROUNDS; ++round) {
        check_fill(out, size, check_seed(check_rank, round, size));
        shmem_putmem_nbi(target, out, size, osh_neighbour(1));
        shmem_fence();
        shmem_long_p(&osh_flag, round, osh_neighbour(1));
        shmem_long_wait_until(&osh_flag, SHMEM_CMP_EQ, round);
        check_data(target, size, check_seed(osh_neighbour(-1), round, size),
                   "put, flag");
        shmem_barrier_all();
    }
    osh_flag = 0;
    shmem_barrier_all();
    free(out);
}

/* All ranks add to counters drawn at random, in the memory of ranks drawn at
 * random: in the end all counters together hold all that was added */
static void osh_random_adds(long *counters)
{
    uint64_t random = check_seed(check_rank, check_size, 1);
    long     added = 0, sum = 0, i;
    uint64_t draw;

    memset(counters, 0, OSH_COUNTERS * sizeof(*counters));
    shmem_barrier_all();
    for (i = 0; i < OSH_ADDS; ++i) {
        draw = check_random(&random);
        shmem_long_atomic_add(&counters[draw % OSH_COUNTERS], i,
                              (int)((draw >> 32) % check_size));
        added += i;
    }
    shmem_barrier_all();
    for (i = 0; i < OSH_COUNTERS; ++i) {
        sum += counters[i];
    }
    MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_LONG, MPI_SUM, MPI_COMM_WORLD);
    CHECK(sum == added * check_size, "the counters hold %ld, not %ld", sum,
          added * check_size);
    check_count(OSH_ADDS * sizeof(sum));
    shmem_barrier_all();
}

/* Numbers that are drawn from one counter never go backwards */
static void osh_fetching(long *counter)
{
    long last = -1, value, i;

    *counter = 0;
    shmem_barrier_all();
    for (i = 0; i < OSH_ADDS; ++i) {
        value = shmem_long_atomic_fetch_inc(counter, 0);
        CHECK(value > last, "the counter gave %ld after %ld", value, last);
        last = value;
    }
    shmem_barrier_all();
    value = shmem_long_atomic_fetch(counter, 0);
    CHECK(value == (long)OSH_ADDS * check_size, "counted %ld, not %ld", value,
          (long)OSH_ADDS * check_size);
    check_count(OSH_ADDS * sizeof(value));
    shmem_barrier_all();
}

/* A token goes round by swap and compare-and-swap, each seen by its neighbour */
static void osh_swapping(long *word)
{
    long old;

    *word = check_rank;
    shmem_barrier_all();
    old = shmem_long_atomic_swap(word, check_rank + check_size,
                                 osh_neighbour(1));
    CHECK(old == osh_neighbour(1), "swapped %ld out of rank %d", old,
          osh_neighbour(1));
    shmem_barrier_all();
    old = shmem_long_atomic_compare_swap(word, check_rank, -1,
                                         osh_neighbour(1));
    CHECK(old == check_rank + check_size, "a swap of another value took place");
    old = shmem_long_atomic_compare_swap(word, check_rank + check_size, -1,
                                         osh_neighbour(1));
    CHECK(old == check_rank + check_size, "the swapped value is gone");
    shmem_barrier_all();
    CHECK(*word == -1, "the value %ld was not replaced", *word);
    shmem_barrier_all();
}

/* A counter that is not atomic, under a lock */
static void osh_locking(void)
{
    long count;
    int  i;

    for (i = 0; i < OSH_SWAPS; ++i) {
        shmem_set_lock(&osh_lock_word);
        count = shmem_long_g(&osh_guarded, 0);
        shmem_long_p(&osh_guarded, count + 1, 0);
        shmem_quiet();
        shmem_clear_lock(&osh_lock_word);
    }
    shmem_barrier_all();
    CHECK((check_rank != 0) || (osh_guarded == (long)OSH_SWAPS * check_size),
          "counted %ld, not %ld", osh_guarded, (long)OSH_SWAPS * check_size);
    shmem_barrier_all();
}

static void osh_broadcasting(char *buffer, size_t size)
{
    size_t words = size / sizeof(uint64_t);
    size_t i;

    for (i = 0; i < SHMEM_BCAST_SYNC_SIZE; ++i) {
        osh_sync[i] = SHMEM_SYNC_VALUE;
    }
    if (check_rank == 0) {
        check_fill(buffer, size, check_seed(0, size, 2));
    }
    shmem_barrier_all();
    shmem_broadcast64(buffer, buffer, words, 0, 0, 0, check_size, osh_sync);
    shmem_barrier_all();
    check_data(buffer, size, check_seed(0, size, 2), "broadcast");
    shmem_barrier_all();
}

static void osh_run(char *heap)
{
    static const size_t sizes[] = {1, 8, 100, 4096, 8300, OSH_STATIC};
    size_t              i;

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        osh_put_ring(heap, sizes[i], 1);
        osh_put_ring(osh_static, sizes[i], 2);
        osh_get_ring(heap, sizes[i], 3);
        osh_get_ring(osh_static, sizes[i], 4);
        osh_signal(heap, sizes[i]);
    }
    osh_put_ring(heap, OSH_MAX, 5);
    osh_get_ring(heap, OSH_MAX, 6);
    osh_broadcasting(heap, OSH_STATIC);
    osh_random_adds((long *)heap);
    osh_fetching((long *)heap);
    osh_swapping((long *)heap);
    osh_locking();
}

int main(void)
{
    char *heap;

    shmem_init();
    check_attach();
    CHECK((shmem_my_pe() == check_rank) && (shmem_n_pes() == check_size),
          "PE %d of %d", shmem_my_pe(), shmem_n_pes());
    heap = shmem_malloc(OSH_MAX);
    CHECK(heap != NULL, "no symmetric memory for %lu bytes", OSH_MAX);
    osh_run(heap);
    shmem_free(heap);
    check_report("oshmem");
    shmem_finalize();
    return EXIT_SUCCESS;
}
