/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "info.h"

#include <sys/time.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif


#define XSHM_INFO_CLOCK_SOURCE \
    "/sys/devices/system/clocksource/clocksource0/current_clocksource"

/* Readings that are timed at once, and how often: the best counts, since others
 * may have the processor meanwhile */
#define XSHM_INFO_CLOCK_READINGS 100
#define XSHM_INFO_CLOCK_ROUNDS   10

/* A reading that takes longer than this, in ns, is a system call. Without one
 * it took 20 to 60, emulated, too. */
#define XSHM_INFO_CLOCK_SLOW 150

/* "Advanced Power Management Information", and its bit for an invariant time
 * stamp counter, in EDX (AMD64 Architecture Programmer's Manual, volume 3,
 * appendix E.4.6) */
#define XSHM_INFO_CPUID_POWER     0x80000007u
#define XSHM_INFO_CPUID_INVARIANT (1u << 8)

#define XSHM_INFO_NS_PER_SEC 1000000000l


/* Does UCX read the processor's counter? */
static int xshm_info_counter_is_invariant(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;

    return __get_cpuid(XSHM_INFO_CPUID_POWER, &a, &b, &c, &d) &&
           (d & XSHM_INFO_CPUID_INVARIANT);
#else
    return 1;
#endif
}

static long xshm_info_time_readings(void)
{
    struct timespec begin, end;
    struct timeval  ignored;
    int             i;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (i = 0; i < XSHM_INFO_CLOCK_READINGS; ++i) {
        gettimeofday(&ignored, NULL);
    }

    clock_gettime(CLOCK_MONOTONIC, &end);
    return (((end.tv_sec - begin.tv_sec) * XSHM_INFO_NS_PER_SEC) +
            (end.tv_nsec - begin.tv_nsec)) /
           XSHM_INFO_CLOCK_READINGS;
}

/* In ns, as UCX reads the system's clock */
static long xshm_info_time_reading(void)
{
    long best = xshm_info_time_readings();
    long time;
    int  i;

    for (i = 1; i < XSHM_INFO_CLOCK_ROUNDS; ++i) {
        time = xshm_info_time_readings();
        best = (time < best) ? time : best;
    }

    return best;
}

void xshm_info_find_clock(xshm_info_section_t *section)
{
    const char *source = xshm_info_read_line(XSHM_INFO_CLOCK_SOURCE);
    long        time;

    if (xshm_info_counter_is_invariant()) {
        xshm_info_add(section, "clock", XSHM_INFO_OK, "processor",
                      "UCX reads the time from the processor's counter", NULL);
        return;
    }

    source = (source == NULL) ? "unknown" : source;
    time   = xshm_info_time_reading();
    if (time <= XSHM_INFO_CLOCK_SLOW) {
        xshm_info_add(section, "clock", XSHM_INFO_OK, source,
                      xshm_info_format("UCX reads the system's clock, \"%s\", "
                                       "in %ld ns",
                                       source, time),
                      NULL);
        return;
    }

    xshm_info_add(
            section, "clock", XSHM_INFO_NOTE, source,
            xshm_info_format("UCX takes %ld ns for each reading of the "
                             "system's clock, \"%s\", which adds to the "
                             "latency of programs that read it often",
                             time, source),
            "if the host's time stamp counter is invariant: nomigrate=1 in "
            "this guest's xl.cfg, or clocksource=tsc tsc=reliable on its "
            "kernel's command line (docs/tuning.md, \"The clock\")");
}
