/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Collective operations, every result checked: small and large, on the world
 * and on communicators that hold a part of it in another order.
 */

#include "check.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COLL_BARRIERS 50
#define COLL_LATE_US  500

static MPI_Comm coll_comm;
static int      coll_rank;
static int      coll_size;

/* Seeds hold the root or round beside the rank, so that a late message of an
 * earlier operation is never taken for the right one */
static void coll_bcast(size_t size, int root)
{
    char *data = check_alloc(size);

    if (coll_rank == root) {
        check_fill(data, size, check_seed(root, size, 1));
    }
    MPI_Bcast(data, size, MPI_BYTE, root, coll_comm);
    check_data(data, size, check_seed(root, size, 1), "bcast");
    free(data);
}

static void coll_gather_scatter(size_t size, int root)
{
    char *mine = check_alloc(size);
    char *all  = check_alloc(size * coll_size);
    int   rank;

    check_fill(mine, size, check_seed(coll_rank, size, root));
    MPI_Gather(mine, size, MPI_BYTE, all, size, MPI_BYTE, root, coll_comm);
    for (rank = 0; (coll_rank == root) && (rank < coll_size); ++rank) {
        check_data(all + rank * size, size, check_seed(rank, size, root),
                   "gather");
        check_fill(all + rank * size, size,
                   check_seed(rank, size, root + 1000));
    }
    MPI_Scatter(all, size, MPI_BYTE, mine, size, MPI_BYTE, root, coll_comm);
    check_data(mine, size, check_seed(coll_rank, size, root + 1000), "scatter");
    free(all);
    free(mine);
}

static void coll_allgather(size_t size)
{
    char *mine = check_alloc(size);
    char *all  = check_alloc(size * coll_size);
    int   rank;

    check_fill(mine, size, check_seed(coll_rank, size, 3));
    MPI_Allgather(mine, size, MPI_BYTE, all, size, MPI_BYTE, coll_comm);
    for (rank = 0; rank < coll_size; ++rank) {
        check_data(all + rank * size, size, check_seed(rank, size, 3),
                   "allgather");
    }
    free(all);
    free(mine);
}

static void coll_alltoall(size_t size)
{
    char *out = check_alloc(size * coll_size);
    char *in  = check_alloc(size * coll_size);
    int   rank;

    for (rank = 0; rank < coll_size; ++rank) {
        check_fill(out + rank * size, size, check_seed(coll_rank, rank, size));
    }
    MPI_Alltoall(out, size, MPI_BYTE, in, size, MPI_BYTE, coll_comm);
    for (rank = 0; rank < coll_size; ++rank) {
        check_data(in + rank * size, size, check_seed(rank, coll_rank, size),
                   "alltoall");
    }
    free(in);
    free(out);
}

/* Another size for every pair, none for some */
static int coll_pair_size(int from, int to, size_t limit)
{
    return ((from + to) % 3 == 0) ? 0 : check_seed(from, to, limit) % limit;
}

static void coll_alltoallv(size_t limit)
{
    int  *sizes     = check_alloc(4 * coll_size * sizeof(*sizes));
    int  *out_sizes = sizes, *out_offsets = sizes + coll_size;
    int  *in_sizes = sizes + 2 * coll_size, *in_offsets = sizes + 3 * coll_size;
    char *out = check_alloc(limit * coll_size);
    char *in  = check_alloc(limit * coll_size);
    int   rank;

    for (rank = 0; rank < coll_size; ++rank) {
        out_sizes[rank]   = coll_pair_size(coll_rank, rank, limit);
        in_sizes[rank]    = coll_pair_size(rank, coll_rank, limit);
        out_offsets[rank] = rank * limit;
        in_offsets[rank]  = rank * limit;
        check_fill(out + rank * limit, out_sizes[rank],
                   check_seed(coll_rank, rank, limit + 1));
    }
    MPI_Alltoallv(out, out_sizes, out_offsets, MPI_BYTE, in, in_sizes,
                  in_offsets, MPI_BYTE, coll_comm);
    for (rank = 0; rank < coll_size; ++rank) {
        check_data(in + rank * limit, in_sizes[rank],
                   check_seed(rank, coll_rank, limit + 1), "alltoallv");
    }
    free(in);
    free(out);
    free(sizes);
}

static void
coll_check_sums(const int64_t *sums, int count, int ranks, const char *what)
{
    int64_t rank_sum = (int64_t)ranks * (ranks - 1) / 2;
    int     i;

    for (i = 0; i < count; ++i) {
        CHECK(sums[i] == (int64_t)i * ranks + rank_sum,
              "%s: element %d of %d is %ld", what, i, count, sums[i]);
    }
    check_count(count * sizeof(*sums));
}

static void coll_sums(int count, int root)
{
    int64_t *in  = check_alloc(count * sizeof(*in));
    int64_t *out = check_alloc(count * sizeof(*out));
    int      i;

    for (i = 0; i < count; ++i) {
        in[i] = i + coll_rank;
    }
    MPI_Reduce(in, out, count, MPI_INT64_T, MPI_SUM, root, coll_comm);
    if (coll_rank == root) {
        coll_check_sums(out, count, coll_size, "reduce");
    }
    MPI_Allreduce(in, out, count, MPI_INT64_T, MPI_SUM, coll_comm);
    coll_check_sums(out, count, coll_size, "allreduce");
    MPI_Scan(in, out, count, MPI_INT64_T, MPI_SUM, coll_comm);
    coll_check_sums(out, count, coll_rank + 1, "scan");
    MPI_Exscan(in, out, count, MPI_INT64_T, MPI_SUM, coll_comm);
    if (coll_rank > 0) {
        coll_check_sums(out, count, coll_rank, "exscan");
    }
    free(out);
    free(in);
}

static void coll_reduce_scatter(int count)
{
    int64_t *in  = check_alloc((size_t)count * coll_size * sizeof(*in));
    int64_t *out = check_alloc(count * sizeof(*out));
    int      i;

    for (i = 0; i < count * coll_size; ++i) {
        in[i] = (i % count) + coll_rank;
    }
    MPI_Reduce_scatter_block(in, out, count, MPI_INT64_T, MPI_SUM, coll_comm);
    coll_check_sums(out, count, coll_size, "reduce_scatter");
    free(out);
    free(in);
}

static void coll_min_max(void)
{
    struct {
        double value;
        int    rank;
    } mine  = {coll_size - coll_rank, coll_rank}, result;
    int max = -1;

    MPI_Allreduce(&mine, &result, 1, MPI_DOUBLE_INT, MPI_MINLOC, coll_comm);
    CHECK((result.rank == coll_size - 1) && (result.value == 1.0),
          "minloc found %g at %d", result.value, result.rank);
    MPI_Allreduce(&coll_rank, &max, 1, MPI_INT, MPI_MAX, coll_comm);
    CHECK(max == coll_size - 1, "max is %d", max);
}

static double coll_clock(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec * 1e-9;
}

/* Nobody leaves a barrier before the last one has come. The clocks of two
 * nodes do not agree, so only ranks of one node are compared. */
static void coll_barrier(MPI_Comm node, int round)
{
    double before, after, last_before;

    if (coll_rank == round % coll_size) {
        usleep(COLL_LATE_US);
    }
    before = coll_clock();
    MPI_Barrier(coll_comm);
    after = coll_clock();
    MPI_Allreduce(&before, &last_before, 1, MPI_DOUBLE, MPI_MAX, node);
    CHECK(after >= last_before, "left barrier %d %g s before the last came",
          round, last_before - after);
}

static void coll_barriers(void)
{
    MPI_Comm node;
    int      round;

    MPI_Comm_split_type(coll_comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL,
                        &node);
    for (round = 0; round < COLL_BARRIERS; ++round) {
        coll_barrier(node, round);
    }
    MPI_Comm_free(&node);
}

static void coll_nonblocking(size_t size)
{
    char       *data = check_alloc(size);
    int64_t     in = coll_rank, out = -1;
    MPI_Request requests[3];

    if (coll_rank == 0) {
        check_fill(data, size, check_seed(size, 5, 5));
    }
    MPI_Ibcast(data, size, MPI_BYTE, 0, coll_comm, &requests[0]);
    MPI_Iallreduce(&in, &out, 1, MPI_INT64_T, MPI_SUM, coll_comm, &requests[1]);
    MPI_Ibarrier(coll_comm, &requests[2]);
    MPI_Waitall(3, requests, MPI_STATUSES_IGNORE);
    check_data(data, size, check_seed(size, 5, 5), "ibcast");
    CHECK(out == (int64_t)coll_size * (coll_size - 1) / 2, "iallreduce is %ld",
          out);
    free(data);
}

static void coll_all_of_size(size_t size)
{
    int root;

    for (root = 0; root < coll_size; ++root) {
        coll_bcast(size, root);
        coll_gather_scatter(size, root);
        coll_sums(size / sizeof(int64_t) + 1, root);
    }
    coll_allgather(size);
    coll_alltoall(size);
    coll_alltoallv(size);
    coll_reduce_scatter(size / sizeof(int64_t) + 1);
    coll_nonblocking(size);
}

static void coll_run(MPI_Comm comm)
{
    static const size_t sizes[] = {1,    8,    64,    100,   1000,  4096,
                                   8200, 9000, 40000, 70000, 300000};
    size_t              i;

    coll_comm = comm;
    MPI_Comm_rank(comm, &coll_rank);
    MPI_Comm_size(comm, &coll_size);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        coll_all_of_size(sizes[i]);
    }
    coll_barriers();
    coll_min_max();
}

int main(int argc, char **argv)
{
    MPI_Comm part;

    check_init(&argc, &argv);
    coll_run(MPI_COMM_WORLD);
    /* Odd and even ranks each on their own, in the reverse order */
    MPI_Comm_split(MPI_COMM_WORLD, check_rank % 2, -check_rank, &part);
    coll_run(part);
    MPI_Comm_free(&part);
    return check_finish("coll");
}
