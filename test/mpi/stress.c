/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * Random traffic: every rank sends messages of random sizes to random ranks,
 * itself included, while it receives whatever comes. Each message carries the
 * number that its sender gave it, and a checksum over it all.
 *
 * Usage: stress [messages per rank [seed]]
 */

#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRESS_MESSAGES 4000
#define STRESS_SEED     1
#define STRESS_TAG      7
#define STRESS_SLOTS    48
#define STRESS_MAX      (300 * CHECK_KIB)
#define STRESS_FNV_INIT 0xcbf29ce484222325UL
#define STRESS_FNV_MUL  0x100000001b3UL

typedef struct {
    uint64_t number;   /* How many messages went this way before */
    uint64_t length;   /* Of the whole message */
    uint64_t checksum; /* Over what follows, and the two numbers above */
} stress_header_t;

typedef struct {
    char       *buffer;
    MPI_Request request;
} stress_slot_t;

typedef struct {
    stress_slot_t slots[STRESS_SLOTS];
    uint64_t     *sent;     /* To each rank */
    uint64_t     *received; /* From each rank */
    char         *in;
    uint64_t      random;
} stress_t;

static uint64_t stress_checksum(const stress_header_t *header)
{
    const uint64_t *words  = (const uint64_t *)(header + 1);
    uint64_t        sum    = STRESS_FNV_INIT ^ header->number;
    size_t          length = header->length - sizeof(*header);
    size_t          i;

    sum = (sum ^ header->length) * STRESS_FNV_MUL;
    for (i = 0; i < length / sizeof(*words); ++i) {
        sum = (sum ^ words[i]) * STRESS_FNV_MUL;
    }
    for (i *= sizeof(*words); i < length; ++i) {
        sum = (sum ^ ((const unsigned char *)words)[i]) * STRESS_FNV_MUL;
    }
    return sum;
}

/* Mostly small; every size class up to the largest has its share */
static size_t stress_size(stress_t *stress)
{
    size_t limit = 32UL << (check_random(&stress->random) % 8);

    switch (check_random(&stress->random) % 16) {
    case 0:
        limit = STRESS_MAX;
        break;
    case 1:
    case 2:
        limit = 20 * CHECK_KIB;
        break;
    default:
        break;
    }
    return sizeof(stress_header_t) + check_random(&stress->random) % limit;
}

static void stress_receive(stress_t *stress, MPI_Status *probed)
{
    stress_header_t *header = (stress_header_t *)stress->in;
    int              source = probed->MPI_SOURCE;
    int              count;

    MPI_Get_count(probed, MPI_BYTE, &count);
    MPI_Recv(stress->in, count, MPI_BYTE, source, STRESS_TAG, MPI_COMM_WORLD,
             MPI_STATUS_IGNORE);
    CHECK((size_t)count >= sizeof(*header), "%d bytes from %d", count, source);
    CHECK(header->number == stress->received[source],
          "message %lu of rank %d came as its %lu", header->number, source,
          stress->received[source]);
    CHECK(header->length == (uint64_t)count,
          "message %lu of rank %d has %d bytes, not %lu", header->number,
          source, count, header->length);
    CHECK(header->checksum == stress_checksum(header),
          "message %lu of rank %d, %d bytes: wrong checksum", header->number,
          source, count);
    ++stress->received[source];
    check_count(count);
}

static void stress_poll(stress_t *stress)
{
    MPI_Status status;
    int        there;

    MPI_Iprobe(MPI_ANY_SOURCE, STRESS_TAG, MPI_COMM_WORLD, &there, &status);
    if (there) {
        stress_receive(stress, &status);
    }
}

static stress_slot_t *stress_free_slot(stress_t *stress, int index)
{
    stress_slot_t *slot = &stress->slots[index % STRESS_SLOTS];
    int            done = 0;

    MPI_Test(&slot->request, &done, MPI_STATUS_IGNORE);
    while (!done) {
        stress_poll(stress);
        MPI_Test(&slot->request, &done, MPI_STATUS_IGNORE);
    }
    return slot;
}

static void stress_send(stress_t *stress, int index)
{
    stress_slot_t   *slot   = stress_free_slot(stress, index);
    stress_header_t *header = (stress_header_t *)slot->buffer;
    int              target = check_random(&stress->random) % check_size;
    size_t           size   = stress_size(stress);

    header->number = stress->sent[target]++;
    header->length = size;
    check_fill(header + 1, size - sizeof(*header), stress->random);
    header->checksum = stress_checksum(header) ^ check_corrupt;
    MPI_Isend(slot->buffer, size, MPI_BYTE, target, STRESS_TAG, MPI_COMM_WORLD,
              &slot->request);
}

static void stress_drain(stress_t *stress)
{
    uint64_t   *expected = check_alloc(check_size * sizeof(*expected));
    MPI_Request request;
    int         rank, index, done = 0;

    /* Rank n learns how many messages each rank has sent to it */
    MPI_Ialltoall(stress->sent, 1, MPI_UINT64_T, expected, 1, MPI_UINT64_T,
                  MPI_COMM_WORLD, &request);
    while (!done) {
        stress_poll(stress);
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    for (rank = 0; rank < check_size; ++rank) {
        while (stress->received[rank] < expected[rank]) {
            stress_poll(stress);
        }
    }
    for (index = 0; index < STRESS_SLOTS; ++index) {
        stress_free_slot(stress, index);
    }
    MPI_Barrier(MPI_COMM_WORLD);
    for (rank = 0; rank < check_size; ++rank) {
        CHECK(stress->received[rank] == expected[rank],
              "%lu messages from rank %d, which sent %lu",
              stress->received[rank], rank, expected[rank]);
    }
    free(expected);
}

static void stress_init(stress_t *stress, uint64_t seed)
{
    size_t counts = check_size * sizeof(*stress->sent);
    int    i;

    stress->random   = check_seed(seed, check_rank, 0);
    stress->sent     = check_alloc(counts);
    stress->received = check_alloc(counts);
    stress->in       = check_alloc(STRESS_MAX + sizeof(stress_header_t));
    memset(stress->sent, 0, counts);
    memset(stress->received, 0, counts);
    for (i = 0; i < STRESS_SLOTS; ++i) {
        stress->slots[i].request = MPI_REQUEST_NULL;
        stress->slots[i].buffer =
                check_alloc(STRESS_MAX + sizeof(stress_header_t));
    }
}

static void stress_cleanup(stress_t *stress)
{
    int i;

    for (i = 0; i < STRESS_SLOTS; ++i) {
        free(stress->slots[i].buffer);
    }
    free(stress->in);
    free(stress->received);
    free(stress->sent);
}

int main(int argc, char **argv)
{
    stress_t stress;
    int      messages, i;

    check_init(&argc, &argv);
    messages = (argc > 1) ? atoi(argv[1]) : STRESS_MESSAGES;
    stress_init(&stress, (argc > 2) ? strtoul(argv[2], NULL, 0) : STRESS_SEED);
    for (i = 0; i < messages; ++i) {
        stress_send(&stress, i);
        stress_poll(&stress);
    }
    stress_drain(&stress);
    stress_cleanup(&stress);
    return check_finish("stress");
}
