/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * One-sided communication through windows, of memory that MPI allocates and
 * of memory of our own: put, get, accumulate, fetch-and-op, compare-and-swap,
 * with fences, with start and post, and with locks; atomics at random places with
 * a known sum.
 */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RMA_SLOT       (256 * CHECK_KIB) /* Of each rank in each window */
#define RMA_COUNTERS   16
#define RMA_ADDS       200
#define RMA_SWAPS      40
#define RMA_PAUSE_US   100
#define RMA_NUMBER_MAX (1UL << 32)

typedef struct {
    MPI_Win win;
    char   *base;
    size_t  length;
    int     created; /* Over memory of our own */
} rma_window_t;

static void rma_open(rma_window_t *window, int created)
{
    window->created = created;
    window->length  = RMA_SLOT * check_size;
    if (created) {
        window->base = check_alloc(window->length);
        MPI_Win_create(window->base, window->length, 1, MPI_INFO_NULL,
                       MPI_COMM_WORLD, &window->win);
    } else {
        MPI_Win_allocate(window->length, 1, MPI_INFO_NULL, MPI_COMM_WORLD,
                         &window->base, &window->win);
    }
    memset(window->base, 0, window->length);
    MPI_Barrier(MPI_COMM_WORLD);
}

static void rma_close(rma_window_t *window)
{
    MPI_Win_free(&window->win);
    if (window->created) {
        free(window->base);
    }
}

static void rma_put_fence(rma_window_t *window, size_t size)
{
    char *out = check_alloc(size);
    int   rank;

    check_fill(out, size, check_seed(check_rank, size, 1));
    MPI_Win_fence(0, window->win);
    for (rank = 0; rank < check_size; ++rank) {
        MPI_Put(out, size, MPI_BYTE, rank, check_rank * RMA_SLOT, size,
                MPI_BYTE, window->win);
    }
    MPI_Win_fence(0, window->win);
    for (rank = 0; rank < check_size; ++rank) {
        check_data(window->base + rank * RMA_SLOT, size,
                   check_seed(rank, size, 1), "put, fence");
    }
    MPI_Win_fence(0, window->win);
    free(out);
}

static void rma_get_lock(rma_window_t *window, size_t size)
{
    char *in = check_alloc(size);
    int   rank;

    MPI_Win_lock(MPI_LOCK_EXCLUSIVE, check_rank, 0, window->win);
    check_fill(window->base, size, check_seed(check_rank, size, 2));
    MPI_Win_unlock(check_rank, window->win);
    MPI_Barrier(MPI_COMM_WORLD);

    for (rank = 0; rank < check_size; ++rank) {
        MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, window->win);
        MPI_Get(in, size, MPI_BYTE, rank, 0, size, MPI_BYTE, window->win);
        MPI_Win_unlock(rank, window->win);
        check_data(in, size, check_seed(rank, size, 2), "get, lock");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    free(in);
}

/* Put, flush, get it back: the target does nothing but wait in a barrier */
static void rma_put_get_flush(rma_window_t *window, size_t size)
{
    int   target = (check_rank + 1) % check_size;
    char *out    = check_alloc(size);
    char *in     = check_alloc(size);

    check_fill(out, size, check_seed(check_rank, size, 3));
    MPI_Win_lock_all(0, window->win);
    MPI_Put(out, size, MPI_BYTE, target, 0, size, MPI_BYTE, window->win);
    MPI_Win_flush(target, window->win);
    memset(in, 0, size);
    MPI_Get(in, size, MPI_BYTE, target, 0, size, MPI_BYTE, window->win);
    MPI_Win_flush(target, window->win);
    MPI_Win_unlock_all(window->win);
    check_data(in, size, check_seed(check_rank, size, 3), "put, flush, get");
    MPI_Barrier(MPI_COMM_WORLD);
    free(in);
    free(out);
}

/* Each rank reads from all at once, what is there for it */
static void rma_get_all(rma_window_t *window, size_t size)
{
    char *in = check_alloc(size * check_size);
    int   rank;

    for (rank = 0; rank < check_size; ++rank) {
        check_fill(window->base + rank * RMA_SLOT, size,
                   check_seed(check_rank, rank, size));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, window->win);
    for (rank = 0; rank < check_size; ++rank) {
        MPI_Get(in + rank * size, size, MPI_BYTE, rank, check_rank * RMA_SLOT,
                size, MPI_BYTE, window->win);
    }
    MPI_Win_flush_all(window->win);
    MPI_Win_unlock_all(window->win);
    for (rank = 0; rank < check_size; ++rank) {
        check_data(in + rank * size, size, check_seed(rank, check_rank, size),
                   "get from all");
    }
    MPI_Barrier(MPI_COMM_WORLD);
    free(in);
}

static void rma_start_post(rma_window_t *window, size_t size)
{
    int       next = (check_rank + 1) % check_size;
    int       prev = (check_rank + check_size - 1) % check_size;
    char     *out  = check_alloc(size);
    MPI_Group world, to, from;

    MPI_Comm_group(MPI_COMM_WORLD, &world);
    MPI_Group_incl(world, 1, &next, &to);
    MPI_Group_incl(world, 1, &prev, &from);
    check_fill(out, size, check_seed(check_rank, size, 4));
    MPI_Win_post(from, 0, window->win);
    MPI_Win_start(to, 0, window->win);
    MPI_Put(out, size, MPI_BYTE, next, 0, size, MPI_BYTE, window->win);
    MPI_Win_complete(window->win);
    MPI_Win_wait(window->win);
    check_data(window->base, size, check_seed(prev, size, 4), "start, post");
    MPI_Group_free(&from);
    MPI_Group_free(&to);
    MPI_Group_free(&world);
    MPI_Barrier(MPI_COMM_WORLD);
    free(out);
}

static void rma_accumulate(rma_window_t *window, int count)
{
    int64_t *out   = check_alloc(count * sizeof(*out));
    int64_t *sums  = (int64_t *)window->base;
    int64_t  ranks = (int64_t)check_size * (check_size + 1) / 2;
    int      i, rank;

    memset(window->base, 0, count * sizeof(*out));
    for (i = 0; i < count; ++i) {
        out[i] = (int64_t)(check_rank + 1) * (i + 1);
    }
    MPI_Win_fence(0, window->win);
    for (rank = 0; rank < check_size; ++rank) {
        MPI_Accumulate(out, count, MPI_INT64_T, rank, 0, count, MPI_INT64_T,
                       MPI_SUM, window->win);
    }
    MPI_Win_fence(0, window->win);
    for (i = 0; i < count; ++i) {
        CHECK(sums[i] == ranks * (i + 1), "accumulate[%d] is %ld, not %ld", i,
              sums[i], ranks * (i + 1));
    }
    check_count(count * sizeof(*sums));
    MPI_Win_fence(0, window->win);
    free(out);
}

/* All ranks draw numbers from all counters: no number may come twice to the
 * same rank or go backwards, and in the end each counter has them all */
static void rma_fetch_and_op(rma_window_t *window)
{
    int64_t  one  = 1, last[RMA_COUNTERS];
    int64_t *mine = (int64_t *)window->base;
    int64_t  value;
    int      i, counter, target = 0;

    memset(mine, 0, RMA_COUNTERS * sizeof(*mine));
    memset(last, 0xff, sizeof(last));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, window->win);
    for (i = 0; i < RMA_ADDS; ++i) {
        counter = i % RMA_COUNTERS;
        MPI_Fetch_and_op(&one, &value, MPI_INT64_T, target,
                         counter * sizeof(one), MPI_SUM, window->win);
        MPI_Win_flush(target, window->win);
        CHECK(value > last[counter], "counter %d gave %ld after %ld", counter,
              value, last[counter]);
        last[counter] = value;
    }
    MPI_Win_unlock_all(window->win);
    MPI_Barrier(MPI_COMM_WORLD);
    if (check_rank == target) {
        for (value = 0, counter = 0; counter < RMA_COUNTERS; ++counter) {
            value += mine[counter];
        }
        CHECK(value == (int64_t)RMA_ADDS * check_size,
              "the counters hold %ld, not %ld", value,
              (int64_t)RMA_ADDS * check_size);
    }
    check_count(RMA_ADDS * sizeof(value));
    MPI_Barrier(MPI_COMM_WORLD);
}

static int64_t rma_sum(const rma_window_t *window)
{
    const int64_t *mine = (const int64_t *)window->base;
    int64_t        sum  = 0;
    int            i;

    for (i = 0; i < RMA_COUNTERS; ++i) {
        sum += mine[i];
    }
    MPI_Allreduce(MPI_IN_PLACE, &sum, 1, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    return sum;
}

/* Add a number to a counter drawn at random of a rank drawn at random */
static int64_t rma_random_add(rma_window_t *window, uint64_t *random, int fetch)
{
    int64_t number = (int64_t)(check_random(random) % RMA_NUMBER_MAX);
    int     target = (int)(check_random(random) % check_size);
    size_t  offset = check_random(random) % RMA_COUNTERS * sizeof(number);
    int64_t old;

    if (fetch) {
        MPI_Fetch_and_op(&number, &old, MPI_INT64_T, target, offset, MPI_SUM,
                         window->win);
    } else {
        MPI_Accumulate(&number, 1, MPI_INT64_T, target, offset, 1, MPI_INT64_T,
                       MPI_SUM, window->win);
    }
    MPI_Win_flush(target, window->win);
    return number;
}

/* All counters of all ranks together must hold all that was added */
static void rma_random_adds(rma_window_t *window)
{
    uint64_t random = check_seed(check_rank, check_size, 5);
    int64_t  added  = 0, sum;
    int      i;

    memset(window->base, 0, RMA_COUNTERS * sizeof(sum));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, window->win);
    for (i = 0; i < RMA_ADDS; ++i) {
        added += rma_random_add(window, &random, i % 2);
    }
    MPI_Win_unlock_all(window->win);
    MPI_Allreduce(MPI_IN_PLACE, &added, 1, MPI_INT64_T, MPI_SUM,
                  MPI_COMM_WORLD);
    sum = rma_sum(window);
    CHECK(sum == added, "the counters hold %ld, not %ld", sum, added);
    check_count(RMA_ADDS * sizeof(sum));
    MPI_Barrier(MPI_COMM_WORLD);
}

static int64_t rma_swap(rma_window_t *window, int64_t from, int64_t to)
{
    int64_t old = -1;

    MPI_Compare_and_swap(&to, &from, &old, MPI_INT64_T, 0, 0, window->win);
    MPI_Win_flush(0, window->win);
    return old;
}

/* The pause lets others come in between: Open MPI guards each operation by a
 * lock of its own, which the rank that owns the window would win for ever */
static void rma_lock(rma_window_t *window, int64_t mark)
{
    int there;

    while (rma_swap(window, 0, mark) != 0) {
        MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &there,
                   MPI_STATUS_IGNORE);
        usleep(RMA_PAUSE_US);
    }
}

static void rma_unlock(rma_window_t *window, int64_t mark)
{
    int64_t old = rma_swap(window, mark, 0);

    CHECK(old == mark, "the lock of rank %d was held by %ld", check_rank,
          old - 1);
}

/* A lock made of compare-and-swap, around a counter that is not atomic */
static void rma_compare_and_swap(rma_window_t *window)
{
    int64_t *mine = (int64_t *)window->base;
    int64_t  mark = check_rank + 1;
    int64_t  count;
    int      i;

    memset(mine, 0, 2 * sizeof(*mine));
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_lock_all(0, window->win);
    for (i = 0; i < RMA_SWAPS; ++i) {
        rma_lock(window, mark);
        MPI_Get(&count, 1, MPI_INT64_T, 0, sizeof(count), 1, MPI_INT64_T,
                window->win);
        MPI_Win_flush(0, window->win);
        ++count;
        MPI_Put(&count, 1, MPI_INT64_T, 0, sizeof(count), 1, MPI_INT64_T,
                window->win);
        MPI_Win_flush(0, window->win);
        rma_unlock(window, mark);
    }
    MPI_Win_unlock_all(window->win);
    MPI_Barrier(MPI_COMM_WORLD);
    CHECK((check_rank != 0) || (mine[1] == (int64_t)RMA_SWAPS * check_size),
          "counted %ld, not %ld", mine[1], (int64_t)RMA_SWAPS * check_size);
    check_count(RMA_SWAPS * sizeof(count));
    MPI_Barrier(MPI_COMM_WORLD);
}

static void rma_run(int created)
{
    static const size_t sizes[] = {1, 8, 100, 4096, 8300, 70000, RMA_SLOT};
    rma_window_t        window;
    size_t              i;

    rma_open(&window, created);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        rma_put_fence(&window, sizes[i]);
        rma_get_lock(&window, sizes[i]);
        rma_put_get_flush(&window, sizes[i]);
        rma_get_all(&window, sizes[i]);
        rma_start_post(&window, sizes[i]);
        rma_accumulate(&window, sizes[i] / sizeof(int64_t) + 1);
    }
    rma_fetch_and_op(&window);
    rma_random_adds(&window);
    rma_compare_and_swap(&window);
    rma_close(&window);
}

int main(int argc, char **argv)
{
    check_init(&argc, &argv);
    rma_run(0);
    rma_run(1);
    return check_finish("rma");
}
