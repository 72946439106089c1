/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Pairs of ranks send a message back and forth for some seconds. Prints one
 * line: "pingpong,RANKS,latency,processor", half a round trip on average and the
 * processor time that all ranks used for a message, in nanoseconds.
 * contrib/bench runs it with more ranks than processors.
 */

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define PINGPONG_WARMUP_SEC 0.02
#define PINGPONG_SEC        0.2
#define PINGPONG_NSEC       1e9
#define PINGPONG_USEC       1e3

typedef enum {
    PINGPONG_GO_ON,
    PINGPONG_STOP
} pingpong_word_t;

static double pingpong_processor_time(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) *
                   PINGPONG_NSEC +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) *
                   PINGPONG_USEC;
}

static void pingpong_round_trip(int peer, int64_t word)
{
    int64_t answer = -1;

    MPI_Send(&word, 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD);
    MPI_Recv(&answer, 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    CHECK(answer == word, "%ld came back as %ld", word, answer);
}

/* The even rank of a pair knows when the time is over, and says so */
static double pingpong_lead(int peer, double seconds)
{
    double end   = MPI_Wtime() + seconds;
    double trips = 1;

    for (; MPI_Wtime() < end; ++trips) {
        pingpong_round_trip(peer, PINGPONG_GO_ON);
    }
    pingpong_round_trip(peer, PINGPONG_STOP);
    return trips;
}

static void pingpong_follow(int peer)
{
    int64_t word;

    do {
        MPI_Recv(&word, 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD,
                 MPI_STATUS_IGNORE);
        MPI_Send(&word, 1, MPI_INT64_T, peer, 0, MPI_COMM_WORLD);
    } while (word == PINGPONG_GO_ON);
}

static double pingpong_run(double seconds)
{
    int    peer  = check_rank ^ 1;
    double trips = 0;

    if (peer < check_rank) {
        pingpong_follow(peer);
    } else {
        trips = pingpong_lead(peer, seconds);
    }
    return trips;
}

int main(int argc, char **argv)
{
    double mine[3], all[3]; /* Round trips, elapsed and processor time */
    double start, seconds;

    check_init(&argc, &argv);
    CHECK((argc <= 2) && (check_size % 2 == 0),
          "usage: pingpong [SECONDS], with an even number of ranks");
    seconds = (argc == 2) ? atof(argv[1]) : PINGPONG_SEC;
    pingpong_run(PINGPONG_WARMUP_SEC);

    MPI_Barrier(MPI_COMM_WORLD);
    start   = MPI_Wtime();
    mine[2] = pingpong_processor_time();
    mine[0] = pingpong_run(seconds);
    mine[2] = pingpong_processor_time() - mine[2];
    mine[1] = (mine[0] > 0) ? (MPI_Wtime() - start) * PINGPONG_NSEC : 0;
    MPI_Reduce(mine, all, 3, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
    if (check_rank == 0) {
        printf("pingpong,%d,%.1f,%.1f\n", check_size, all[1] / (2 * all[0]),
               all[2] / (2 * all[0]));
    }
    MPI_Finalize();
    return EXIT_SUCCESS;
}
