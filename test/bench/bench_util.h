/*
 * Helpers of the micro-benchmarks: time, pinning, shared memory, medians.
 *
 * SPDX-License-Identifier: BSD-3-Clause
 */
#ifndef XSHM_BENCH_UTIL_H
#define XSHM_BENCH_UTIL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#define BENCH_LINE     64
#define BENCH_INLINE   static inline __attribute__((always_inline))
#define BENCH_NOINLINE static __attribute__((noinline))

/* A function that keeps its name, by which callgrind is told what to count. */
#if defined(__clang__)
#define BENCH_COUNTED __attribute__((noinline))
#else
#define BENCH_COUNTED __attribute__((noinline, noclone))
#endif


__attribute__((noreturn)) static inline void bench_die(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(EXIT_FAILURE);
}

/** Monotonic time in nanoseconds. */
static inline double bench_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (ts.tv_sec * 1e9) + ts.tv_nsec;
}

BENCH_INLINE void bench_relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/** Keep the calling process on one CPU: a migration would void the figures. */
static inline void bench_pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        fprintf(stderr, "cannot pin to CPU %d (see --cpus): ", cpu);
        bench_die("sched_setaffinity");
    }
}

/** Anonymous shared memory, touched, so that no page fault is timed. */
static inline void *bench_shm_alloc(size_t size)
{
    int   fd = memfd_create("xshm_bench", MFD_CLOEXEC);
    void *mem;

    if ((fd < 0) || (ftruncate(fd, size) != 0)) {
        bench_die("memfd_create");
    }

    mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
               fd, 0);
    if (mem == MAP_FAILED) {
        bench_die("mmap of the shared memory");
    }

    close(fd);
    memset(mem, 0, size);
    return mem;
}

/** Private page-aligned and touched memory. */
static inline void *bench_alloc(size_t size)
{
    void *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (mem == MAP_FAILED) {
        bench_die("mmap");
    }

    memset(mem, 1, size);
    return mem;
}

/* A second side that failed would leave the first one spinning for ever. */
static inline void bench_child_signal(int signum, siginfo_t *info, void *arg)
{
    static const char message[] = "the second side failed\n";

    (void)signum;
    (void)arg;
    if ((info->si_code != CLD_EXITED) || (info->si_status != 0)) {
        if (write(STDERR_FILENO, message, sizeof(message) - 1) < 0) {
            _exit(EXIT_FAILURE + 1);
        }
        _exit(EXIT_FAILURE);
    }
}

/** fork() in which neither side outlives the other's failure. */
static inline pid_t bench_fork(void)
{
    struct sigaction action = {.sa_sigaction = bench_child_signal,
                               .sa_flags     = SA_SIGINFO | SA_NOCLDSTOP};
    pid_t            parent = getpid();
    pid_t            pid;

    sigaction(SIGCHLD, &action, NULL);
    pid = fork();

    if (pid < 0) {
        bench_die("fork");
    }

    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) {
            _exit(EXIT_FAILURE);
        }
    }
    return pid;
}

/** Wait for the other side; its failure is ours. */
static inline void bench_join(pid_t pid)
{
    pid_t ret;
    int   status;

    do {
        ret = waitpid(pid, &status, 0);
    } while ((ret < 0) && (errno == EINTR));
    if ((ret != pid) || (status != 0)) {
        fprintf(stderr, "the second side failed (status 0x%x)\n", status);
        exit(EXIT_FAILURE);
    }
}

static inline int bench_compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/** Median; sorts the values in place. */
static inline double bench_median(double *values, int count)
{
    qsort(values, count, sizeof(*values), bench_compare);
    return (count & 1) ? values[count / 2] :
                         ((values[(count / 2) - 1] + values[count / 2]) / 2);
}

/**
 * What the machine does when nobody disturbs it: the lowest decile of many
 * short blocks' times. A block in which one side had to give up its CPU says
 * nothing, and on a busy machine these are more than half of the blocks.
 * Sorts the values in place.
 */
static inline double bench_undisturbed(double *values, int count)
{
    qsort(values, count, sizeof(*values), bench_compare);
    return values[count / 10];
}

/** Parse "A,B" (the CPUs of the two sides). */
static inline void bench_parse_cpus(const char *arg, int cpus[2])
{
    if (sscanf(arg, "%d,%d", &cpus[0], &cpus[1]) != 2) {
        fprintf(stderr, "--cpus wants two CPU numbers, such as 0,1: '%s'\n",
                arg);
        exit(EXIT_FAILURE);
    }
}

/** The arguments of the simple programs: nothing, or --cpus A,B. */
static inline void bench_args(int argc, char **argv, int cpus[2])
{
    static const struct option options[] = {{"cpus", required_argument, NULL,
                                             'c'},
                                            {NULL, 0, NULL, 0}};
    int                        opt;

    cpus[0] = 0;
    cpus[1] = 1;
    while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (opt != 'c') {
            fprintf(stderr, "usage: %s [--cpus A,B]\n", argv[0]);
            exit(EXIT_FAILURE);
        }
        bench_parse_cpus(optarg, cpus);
    }
}

#endif
