/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Put and get on the memory of a target that calls nothing of MPI meanwhile: it
 * only looks into its memory, until the last word that is put there appears.
 * Memory that MPI allocates, and no lock that Open MPI would have to take.
 */

#include "check.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PASSIVE_SIZE    (2 * CHECK_MIB)
#define PASSIVE_ROUNDS  6
#define PASSIVE_SECONDS 60
#define PASSIVE_USEC    100

/* The neighbour, and in each second round one that may be on another node, where
 * two ranks are on each */
#define PASSIVE_DISTANCE(_round) (1 + (int)((_round) % 2))

/* The first word tells the number of the round that is complete */
static void passive_wait(const char *base, uint64_t round)
{
    const volatile uint64_t *word = (const volatile uint64_t *)base;
    time_t                   end  = time(NULL) + PASSIVE_SECONDS;

    while (*word != round) {
        CHECK(time(NULL) < end,
              "nothing arrived in %d seconds, at a target "
              "that does not call MPI",
              PASSIVE_SECONDS);
        usleep(PASSIVE_USEC);
    }
}

static void passive_put_get(MPI_Win win, int target, uint64_t round)
{
    size_t length = PASSIVE_SIZE - sizeof(round);
    char  *out    = check_alloc(length);
    char  *in     = check_alloc(length);

    check_fill(out, length, check_seed(check_rank, round, 1));
    MPI_Win_lock(MPI_LOCK_SHARED, target, MPI_MODE_NOCHECK, win);
    MPI_Put(out, length, MPI_BYTE, target, sizeof(round), length, MPI_BYTE,
            win);
    MPI_Win_flush(target, win);
    MPI_Get(in, length, MPI_BYTE, target, sizeof(round), length, MPI_BYTE, win);
    MPI_Win_flush(target, win);
    CHECK(!memcmp(in, out, length), "what was put is not what is there");
    MPI_Put(&round, sizeof(round), MPI_BYTE, target, 0, sizeof(round), MPI_BYTE,
            win);
    MPI_Win_unlock(target, win);
    free(in);
    free(out);
}

/* Of two ranks with that distance, the first puts, and the other one waits
 * without MPI */
static void
passive_round(MPI_Win win, const char *base, uint64_t round, int distance)
{
    int last = check_size - (check_size % (2 * distance));

    if (check_rank >= last) {
        return;
    }

    if (((check_rank / distance) % 2) == 0) {
        passive_put_get(win, check_rank + distance, round);
    } else {
        passive_wait(base, round);
        check_data(base + sizeof(round), PASSIVE_SIZE - sizeof(round),
                   check_seed(check_rank - distance, round, 1), "put, passive");
    }
}

int main(int argc, char **argv)
{
    uint64_t round;
    MPI_Win  win;
    char    *base;

    check_init(&argc, &argv);
    MPI_Win_allocate(PASSIVE_SIZE, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base,
                     &win);
    memset(base, 0, PASSIVE_SIZE);
    for (round = 1; round <= PASSIVE_ROUNDS; ++round) {
        MPI_Barrier(MPI_COMM_WORLD);
        passive_round(win, base, round, PASSIVE_DISTANCE(round));
    }
    MPI_Barrier(MPI_COMM_WORLD);
    MPI_Win_free(&win);
    return check_finish("passive");
}
