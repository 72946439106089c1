/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_TEST_UTIL_H_
#define XSHM_TEST_UTIL_H_

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <sys/types.h>

#include <cmocka.h>

/**
 * What the unit tests share.
 */

/** After this long, what is waited for will not come: seconds. Only to end
 *  tests that hang. */
#define XSHM_TEST_DEADLINE 60.0

#define XSHM_TEST_ARRAY_SIZE(_array) (sizeof(_array) / sizeof((_array)[0]))

/** A factor for how much random tests do: XSHM_TEST_PERCENT in the environment,
 *  for runs under slow tools */
unsigned xshm_test_scale(unsigned count);


/** Random numbers that are the same in each run, unless XSHM_TEST_SEED says
 *  otherwise */
typedef struct xshm_test_random {
    uint64_t state;
} xshm_test_random_t;

void xshm_test_random_init(xshm_test_random_t *random);

uint64_t xshm_test_random_next(xshm_test_random_t *random);

/** A number from 0 to @a limit - 1 */
uint32_t xshm_test_random_below(xshm_test_random_t *random, uint32_t limit);

/** Fill with bytes that follow from @a seed */
void xshm_test_fill(void *buffer, size_t length, uint64_t seed);

/** Is it filled so? */
int xshm_test_is_filled(const void *buffer, size_t length, uint64_t seed);

/** Seconds of a clock that only goes forward */
double xshm_test_now(void);

/** Give others the processor for a moment */
void xshm_test_pause(void);

/** Entries of /proc/self/fd, and lines of /proc/self/maps that are shared */
unsigned xshm_test_count_fds(void);
unsigned xshm_test_count_shared_maps(void);

/** Wait for a condition. Fails the test (of a forked child: ends it) if it does
 *  not come true. */
#define xshm_test_wait(_cond) \
    do { \
        double _deadline = xshm_test_now() + XSHM_TEST_DEADLINE; \
        while (!(_cond)) { \
            xshm_test_check(xshm_test_now() < _deadline); \
            xshm_test_pause(); \
        } \
    } while (0)

/** An assertion that works in a forked child, too */
#define xshm_test_check(_cond) \
    do { \
        if (!(_cond)) { \
            xshm_test_failed(#_cond, __FILE__, __LINE__); \
        } \
    } while (0)

void xshm_test_failed(const char *what, const char *file, int line);


/** Another process, which was forked before this one used the transport */
typedef struct xshm_test_peer {
    pid_t pid;
    int   fd; /**< A socket, for messages between the two */
} xshm_test_peer_t;

/** Start a process that calls @a func and ends. It is killed when its parent
 *  dies. */
void xshm_test_peer_start(xshm_test_peer_t *peer,
                          void (*func)(int fd, void *arg), void *arg);

/** Wait for it, and fail unless it succeeded */
void xshm_test_peer_join(xshm_test_peer_t *peer);

/** Kill it (SIGKILL) and wait for it */
void xshm_test_peer_kill(xshm_test_peer_t *peer);

/** Send and receive whole messages on the socket between two processes */
void xshm_test_put(int fd, const void *data, size_t length);
void xshm_test_get(int fd, void *data, size_t length);

/** Say that one is ready, and wait for the other to say so */
void xshm_test_signal(int fd);
void xshm_test_await(int fd);


/** Lines of UCX's log are kept instead of printed from here on */
void xshm_test_log_start(void);

/** Forget what was logged */
void xshm_test_log_clear(void);

/** How many lines contain a text */
unsigned xshm_test_log_count(const char *text);

/** As text, to be shown */
void xshm_test_log_show(void);


/**
 * The devices that the suites are run on. A device that cannot be used on this
 * machine is a failure.
 */
extern const char *const xshm_test_devices[];

/** The device of the test that runs */
extern const char *xshm_test_device;

/** Called before each test: a test that failed may have left something running */
extern void (*xshm_test_reset)(void);

/** Run each test on each device, as one group */
int xshm_test_run_on_devices(const char *group, const struct CMUnitTest *tests,
                             size_t num_tests);

#endif
