/*
 * The rate of a bare ring: the limit for small messages.
 *
 * One producer and one consumer, pinned, over a memfd. A message is one cache
 * line: a sequence number, which says that it is there, and 56 bytes. There
 * is no length, no wrap record, no check: less cannot be done.
 * Prints one CSV line, in 64-byte messages per second: by the lowest decile of
 * many blocks' times.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#define SLOTS        512u
#define CREDIT_BATCH (SLOTS / 4)
#define BLOCK        (64u * SLOTS)
#define BLOCKS       101
#define WORDS        (BENCH_LINE / sizeof(uint64_t))

typedef struct {
    uint64_t sequence;
    uint64_t data[WORDS - 1];
} slot_t;

typedef struct {
    slot_t   slot[SLOTS] __attribute__((aligned(BENCH_LINE)));
    uint64_t consumed __attribute__((aligned(BENCH_LINE)));
} ring_t;


static void produce(ring_t *ring, double *times)
{
    uint64_t sequence = 0;
    uint64_t consumed = 0;
    unsigned block, i, j;
    slot_t  *slot;
    double   start;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < BLOCK; ++i) {
            slot = &ring->slot[sequence % SLOTS];
            sequence++;
            while ((sequence - consumed) > SLOTS) {
                consumed = __atomic_load_n(&ring->consumed, __ATOMIC_ACQUIRE);
            }
            for (j = 0; j < WORDS - 1; ++j) {
                slot->data[j] = sequence;
            }
            __atomic_store_n(&slot->sequence, sequence, __ATOMIC_RELEASE);
        }
        times[block] = (bench_now() - start) / BLOCK;
    }
}

static void consume(ring_t *ring)
{
    uint64_t sequence;
    slot_t  *slot;

    for (sequence = 1; sequence <= (uint64_t)BLOCK * BLOCKS; ++sequence) {
        slot = &ring->slot[(sequence - 1) % SLOTS];
        while (__atomic_load_n(&slot->sequence, __ATOMIC_ACQUIRE) != sequence) {
        }
        if (slot->data[WORDS - 2] != sequence) {
            fprintf(stderr, "message %lu is torn\n", sequence);
            _exit(EXIT_FAILURE);
        }
        if ((sequence % CREDIT_BATCH) == 0) {
            __atomic_store_n(&ring->consumed, sequence, __ATOMIC_RELEASE);
        }
    }
}

int main(int argc, char **argv)
{
    double  times[BLOCKS];
    ring_t *ring;
    int     cpus[2];
    pid_t   pid;

    bench_args(argc, argv, cpus);
    ring = bench_shm_alloc(sizeof(*ring));
    pid  = bench_fork();
    if (pid == 0) {
        bench_pin(cpus[1]);
        consume(ring);
        _exit(0);
    }

    bench_pin(cpus[0]);
    produce(ring, times);
    bench_join(pid);
    printf("spsc,64,messages/s,%.0f\n", 1e9 / bench_undisturbed(times, BLOCKS));
    return 0;
}
