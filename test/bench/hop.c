/*
 * One-way time of a cache line between two cores: the limit for a message.
 *
 * Two pinned processes bounce a flag over a memfd, in three ways:
 *   same    both write one line in turn
 *   own     each writes a line of its own
 *   ring    each writes the next line of a ring of its own, as a message does
 * Where a line's home in the cache is makes a difference: all three take many
 * lines. Prints one CSV line for each: the lowest decile of the blocks.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#define BLOCKS     201
#define PING_COUNT 500
#define RING_LINES 512
#define STAY       25 /* round trips on a line */
#define WORDS      (BENCH_LINE / sizeof(uint64_t))

typedef struct {
    const char *name;
    unsigned    stay;     /* round trips before the next line is taken */
    unsigned    distance; /* second side's lines start so many after */
} hop_test_t;

static const hop_test_t tests[] = {{"same", STAY, 0},
                                   {"own", STAY, RING_LINES},
                                   {"ring", 1, RING_LINES}};


static void flag_wait(uint64_t *flag, uint64_t value)
{
    while (__atomic_load_n(flag, __ATOMIC_ACQUIRE) != value) {
    }
}

static void
hop_run(const hop_test_t *test, uint64_t *mem, int first, double *times)
{
    uint64_t  value = 0;
    uint64_t *mine  = first ? mem : (mem + (test->distance * WORDS));
    uint64_t *yours = first ? (mem + (test->distance * WORDS)) : mem;
    unsigned  block, i, line;
    double    start;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < PING_COUNT; ++i) {
            line = ((((block * PING_COUNT) + i) / test->stay) % RING_LINES) *
                   WORDS;
            value += 2;
            if (first) {
                __atomic_store_n(mine + line, value - 1, __ATOMIC_RELEASE);
                flag_wait(yours + line, value);
            } else {
                flag_wait(yours + line, value - 1);
                __atomic_store_n(mine + line, value, __ATOMIC_RELEASE);
            }
        }
        times[block] = (bench_now() - start) / (2 * PING_COUNT);
    }
}

static void hop_test(const hop_test_t *test, const int cpus[2])
{
    uint64_t *mem = bench_shm_alloc(2 * RING_LINES * BENCH_LINE);
    double    times[BLOCKS];
    pid_t     pid;

    pid = bench_fork();
    if (pid == 0) {
        bench_pin(cpus[1]);
        hop_run(test, mem, 0, times);
        _exit(0);
    }

    hop_run(test, mem, 1, times);
    bench_join(pid);
    printf("hop,%s,ns,%.1f\n", test->name, bench_undisturbed(times, BLOCKS));
}

int main(int argc, char **argv)
{
    int      cpus[2];
    unsigned i;

    bench_args(argc, argv, cpus);
    bench_pin(cpus[0]);
    for (i = 0; i < sizeof(tests) / sizeof(tests[0]); ++i) {
        hop_test(&tests[i], cpus);
    }
    return 0;
}
