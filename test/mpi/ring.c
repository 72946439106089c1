/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * The main job: every rank passes messages of many sizes around a ring, then
 * all of them take part in the usual collective operations. Each byte is
 * checked where it arrives. Prints a short summary for the person who runs it.
 */

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RING_MAX_SIZE (4 * CHECK_MIB)
#define RING_TAG      17
#define RING_ROUNDS   4
#define COLL_ROUNDS   8
#define COLL_COUNT    20000

typedef struct {
    const char *name;
    void (*run)(char *detail, size_t max);
} ring_step_t;

static int ring_pass(char *out, char *in, size_t size, int round)
{
    int        next = (check_rank + 1) % check_size;
    int        prev = (check_rank + check_size - 1) % check_size;
    MPI_Status status;
    int        count;

    check_fill(out, size, check_seed(check_rank, size, round));
    MPI_Sendrecv(out, size, MPI_BYTE, next, RING_TAG, in, size, MPI_BYTE, prev,
                 RING_TAG, MPI_COMM_WORLD, &status);
    MPI_Get_count(&status, MPI_BYTE, &count);
    CHECK((size_t)count == size, "asked for %zu bytes, got %d", size, count);
    check_data(in, size, check_seed(prev, size, round), "ring");
    return 1;
}

/* Every power of two with its neighbours: the limits of the protocols are
 * among them or just beside them */
static int ring_pass_around(char *out, char *in, size_t size, int round)
{
    int passed = ring_pass(out, in, size, round);

    if (size > 1) {
        passed += ring_pass(out, in, size - 1, round);
    }
    if ((size > 2) && (size < RING_MAX_SIZE)) {
        passed += ring_pass(out, in, size + 1, round);
    }
    return passed;
}

static void ring_run(char *detail, size_t max)
{
    char  *out    = check_alloc(RING_MAX_SIZE);
    char  *in     = check_alloc(RING_MAX_SIZE);
    int    passed = 0;
    size_t size;
    int    round;

    for (round = 0; round < RING_ROUNDS; ++round) {
        passed += ring_pass(out, in, 0, round);
        for (size = 1; size <= RING_MAX_SIZE; size *= 2) {
            passed += ring_pass_around(out, in, size, round);
        }
    }
    snprintf(detail, max, "%d messages a rank, 0 B to %lu MB", passed,
             RING_MAX_SIZE / CHECK_MIB);
    free(in);
    free(out);
}

static void ring_bcast(int root)
{
    char *data = check_alloc(COLL_COUNT);

    if (check_rank == root) {
        check_fill(data, COLL_COUNT, check_seed(root, COLL_COUNT, 1));
    }
    MPI_Bcast(data, COLL_COUNT, MPI_BYTE, root, MPI_COMM_WORLD);
    check_data(data, COLL_COUNT, check_seed(root, COLL_COUNT, 1), "bcast");
    free(data);
}

static void ring_allreduce(int round)
{
    int64_t *in       = check_alloc(COLL_COUNT * sizeof(*in));
    int64_t *out      = check_alloc(COLL_COUNT * sizeof(*out));
    int64_t  rank_sum = (int64_t)check_size * (check_size - 1) / 2;
    int64_t  expected;
    int      i;

    for (i = 0; i < COLL_COUNT; ++i) {
        in[i] = (int64_t)i * round + check_rank;
    }
    MPI_Allreduce(in, out, COLL_COUNT, MPI_INT64_T, MPI_SUM, MPI_COMM_WORLD);
    for (i = 0; i < COLL_COUNT; ++i) {
        expected = (int64_t)i * round * check_size + rank_sum;
        CHECK(out[i] == expected, "allreduce[%d] is %ld, not %ld", i, out[i],
              expected);
    }
    check_count(COLL_COUNT * sizeof(*out));
    free(out);
    free(in);
}

static void ring_allgather(int round)
{
    char *mine = check_alloc(COLL_COUNT);
    char *all  = check_alloc((size_t)COLL_COUNT * check_size);
    int   rank;

    check_fill(mine, COLL_COUNT, check_seed(check_rank, round, 2));
    MPI_Allgather(mine, COLL_COUNT, MPI_BYTE, all, COLL_COUNT, MPI_BYTE,
                  MPI_COMM_WORLD);
    for (rank = 0; rank < check_size; ++rank) {
        check_data(all + (size_t)COLL_COUNT * rank, COLL_COUNT,
                   check_seed(rank, round, 2), "allgather");
    }
    free(all);
    free(mine);
}

static void ring_alltoall(int round)
{
    char *out = check_alloc((size_t)COLL_COUNT * check_size);
    char *in  = check_alloc((size_t)COLL_COUNT * check_size);
    int   rank;

    for (rank = 0; rank < check_size; ++rank) {
        check_fill(out + (size_t)COLL_COUNT * rank, COLL_COUNT,
                   check_seed(check_rank, rank, round));
    }
    MPI_Alltoall(out, COLL_COUNT, MPI_BYTE, in, COLL_COUNT, MPI_BYTE,
                 MPI_COMM_WORLD);
    for (rank = 0; rank < check_size; ++rank) {
        check_data(in + (size_t)COLL_COUNT * rank, COLL_COUNT,
                   check_seed(rank, check_rank, round), "alltoall");
    }
    free(in);
    free(out);
}

static void ring_collectives(char *detail, size_t max)
{
    int round, root;

    for (round = 0; round < COLL_ROUNDS; ++round) {
        MPI_Barrier(MPI_COMM_WORLD);
        for (root = 0; root < check_size; ++root) {
            ring_bcast(root);
        }
        ring_allreduce(round);
        ring_allgather(round);
        ring_alltoall(round);
    }
    snprintf(detail, max, "barrier, bcast, allreduce, allgather, alltoall");
}

static void ring_step(const ring_step_t *step)
{
    char     detail[128] = "";
    uint64_t before      = check_moved();
    uint64_t mine, total;
    double   start, took;

    MPI_Barrier(MPI_COMM_WORLD);
    start = MPI_Wtime();
    step->run(detail, sizeof(detail));
    mine = check_moved() - before;
    MPI_Reduce(&mine, &total, 1, MPI_UINT64_T, MPI_SUM, 0, MPI_COMM_WORLD);
    took = MPI_Wtime() - start;
    if (check_rank == 0) {
        printf("  %-12s %-52s %7.1f MB in %.2f s\n", step->name, detail,
               (double)total / CHECK_MIB, took);
    }
}

int main(int argc, char **argv)
{
    static const ring_step_t steps[] = {
            {"ring", ring_run},
            {"collectives", ring_collectives},
    };
    const char *tls = getenv("UCX_TLS");
    size_t      i;

    check_init(&argc, &argv);
    if (check_rank == 0) {
        printf("%d MPI ranks, UCX_TLS=%s\n", check_size,
               (tls != NULL) ? tls : "(not set)");
    }
    for (i = 0; i < sizeof(steps) / sizeof(steps[0]); ++i) {
        ring_step(&steps[i]);
    }
    if (check_rank == 0) {
        printf("  Every byte arrived as it was sent.\n");
    }
    return check_finish("ring");
}
