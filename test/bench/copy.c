/*
 * Bandwidth of copying: the limit for large messages.
 *
 *   memcpy      one process copies between two buffers of its own
 *   one-copy    the second side copies from the first one's buffer, which the
 *               first one has just written: no transport can be faster that
 *               does not hand over the buffer itself
 *   two-copy    both sides at once: the first copies into a shared ring in
 *               pieces, the second from it into its own buffer
 * Prints one CSV line for each size, in MB/s: the fastest tenth of many blocks
 * is as fast or faster.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#include "bench_util.h"

#define BLOCKS      101
#define BLOCK_BYTES (4u << 20)
#define MAX_SIZE    (4u << 20)
#define PIECE       8192u
#define MAX_SLOTS   8u
#define NS_PER_MB   1e3 /* bytes per ns are 1000 MB/s */

typedef struct {
    uint64_t go __attribute__((aligned(BENCH_LINE)));
    uint64_t done __attribute__((aligned(BENCH_LINE)));
    uint64_t full[MAX_SLOTS][BENCH_LINE / sizeof(uint64_t)]
            __attribute__((aligned(BENCH_LINE)));
    uint64_t consumed __attribute__((aligned(BENCH_LINE)));
    uint8_t  data[MAX_SIZE] __attribute__((aligned(4096)));
} shared_t;

static const size_t sizes[]      = {64,    256,    1024,    8192,
                                    65536, 262144, 1048576, MAX_SIZE};
static const size_t ring_sizes[] = {32768, 65536};


static void
result_print(const char *name, size_t size, double *times, size_t bytes)
{
    printf("copy,%s %zu,MB/s,%.0f\n", name, size,
           bytes * NS_PER_MB / bench_undisturbed(times, BLOCKS));
    fflush(stdout);
}

static void memcpy_test(size_t size)
{
    size_t   count = BLOCK_BYTES / size;
    uint8_t *src   = bench_alloc(size);
    uint8_t *dst   = bench_alloc(size);
    double   times[BLOCKS];
    unsigned block;
    double   start;
    size_t   i;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < count; ++i) {
            memcpy(dst, src, size);
            __asm__ volatile("" : : "r"(dst) : "memory");
        }
        times[block] = bench_now() - start;
    }
    result_print("memcpy", size, times, count * size);
    munmap(src, size);
    munmap(dst, size);
}

static void value_wait(uint64_t *at, uint64_t value)
{
    while (__atomic_load_n(at, __ATOMIC_ACQUIRE) < value) {
    }
}

static void one_copy_second(shared_t *shm, size_t size, uint8_t *dst)
{
    uint64_t block;

    for (block = 1; block <= BLOCKS; ++block) {
        value_wait(&shm->go, block);
        memcpy(dst, shm->data, size);
        __atomic_store_n(&shm->done, block, __ATOMIC_RELEASE);
    }
}

static void one_copy_first(shared_t *shm, size_t size)
{
    double   times[BLOCKS];
    uint64_t block;
    double   start;

    for (block = 1; block <= BLOCKS; ++block) {
        memset(shm->data, block, size);
        start = bench_now();
        __atomic_store_n(&shm->go, block, __ATOMIC_RELEASE);
        value_wait(&shm->done, block);
        times[block - 1] = bench_now() - start;
    }
    result_print("one-copy", size, times, size);
}

static void two_copy_first(shared_t *shm, size_t size, size_t ring_size)
{
    unsigned slots  = ring_size / PIECE;
    size_t   count  = BLOCK_BYTES / size;
    uint8_t *src    = bench_alloc(size);
    uint64_t number = 0;
    char     name[32];
    double   times[BLOCKS];
    unsigned block;
    size_t   i, offset;
    double   start;

    for (block = 0; block < BLOCKS; ++block) {
        start = bench_now();
        for (i = 0; i < count; ++i) {
            for (offset = 0; offset < size; offset += PIECE) {
                if (number >= slots) {
                    value_wait(&shm->consumed, number - slots + 1);
                }
                memcpy(shm->data + ((number % slots) * PIECE), src + offset,
                       PIECE);
                number++;
                __atomic_store_n(&shm->full[(number - 1) % slots][0], number,
                                 __ATOMIC_RELEASE);
            }
        }
        times[block] = bench_now() - start;
    }
    snprintf(name, sizeof(name), "two-copy-%zuK", ring_size >> 10);
    result_print(name, size, times, count * size);
    munmap(src, size);
}

static void
two_copy_second(shared_t *shm, size_t size, size_t ring_size, uint8_t *dst)
{
    unsigned slots = ring_size / PIECE;
    uint64_t total = (uint64_t)(BLOCK_BYTES / size) * BLOCKS * (size / PIECE);
    uint64_t number;

    for (number = 0; number < total; ++number) {
        value_wait(&shm->full[number % slots][0], number + 1);
        memcpy(dst + ((number * PIECE) % size),
               shm->data + ((number % slots) * PIECE), PIECE);
        __atomic_store_n(&shm->consumed, number + 1, __ATOMIC_RELEASE);
    }
}

/* With a ring: two copies. Without one (size 0): one copy. */
static void two_sides_test(const int cpus[2], size_t size, size_t ring_size)
{
    shared_t *shm = bench_shm_alloc(sizeof(*shm));
    uint8_t  *dst;
    pid_t     pid;

    pid = bench_fork();
    if (pid == 0) {
        bench_pin(cpus[1]);
        dst = bench_alloc(size);
        if (ring_size > 0) {
            two_copy_second(shm, size, ring_size, dst);
        } else {
            one_copy_second(shm, size, dst);
        }
        _exit(0);
    }

    if (ring_size > 0) {
        two_copy_first(shm, size, ring_size);
    } else {
        one_copy_first(shm, size);
    }
    bench_join(pid);
    munmap(shm, sizeof(*shm));
}

int main(int argc, char **argv)
{
    int      cpus[2];
    unsigned i, j;

    bench_args(argc, argv, cpus);
    bench_pin(cpus[0]);
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
        memcpy_test(sizes[i]);
        if (sizes[i] < PIECE) {
            continue;
        }
        two_sides_test(cpus, sizes[i], 0);
        for (j = 0; j < sizeof(ring_sizes) / sizeof(ring_sizes[0]); ++j) {
            two_sides_test(cpus, sizes[i], ring_sizes[j]);
        }
    }
    return 0;
}
