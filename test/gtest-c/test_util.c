/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "test_util.h"

#include <ucs/debug/log.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>


/* splitmix64: https://prng.di.unimi.it/splitmix64.c is its description */
#define XSHM_TEST_RANDOM_STEP  0x9e3779b97f4a7c15ull
#define XSHM_TEST_RANDOM_MIX_1 0xbf58476d1ce4e5b9ull
#define XSHM_TEST_RANDOM_MIX_2 0x94d049bb133111ebull

#define XSHM_TEST_PAUSE_USEC 100
#define XSHM_TEST_LOG_SIZE   (256 * 1024)
#define XSHM_TEST_NAME_MAX   128


const char *const xshm_test_devices[] = {"local", NULL};

const char *xshm_test_device = "local";

void (*xshm_test_reset)(void);

static int xshm_test_is_peer;

static struct {
    pthread_mutex_t lock;
    char            text[XSHM_TEST_LOG_SIZE];
    size_t          length;
} xshm_test_log = {.lock = PTHREAD_MUTEX_INITIALIZER};


unsigned xshm_test_scale(unsigned count)
{
    const char *percent = getenv("XSHM_TEST_PERCENT");

    return (percent == NULL) ?
                   count :
                   (unsigned)(((uint64_t)count * strtoul(percent, NULL, 10)) /
                              100) +
                           1;
}

void xshm_test_random_init(xshm_test_random_t *random)
{
    const char *seed = getenv("XSHM_TEST_SEED");

    random->state = (seed == NULL) ? 1 : strtoull(seed, NULL, 0);
}

uint64_t xshm_test_random_next(xshm_test_random_t *random)
{
    uint64_t value;

    random->state += XSHM_TEST_RANDOM_STEP;
    value = random->state;
    value = (value ^ (value >> 30)) * XSHM_TEST_RANDOM_MIX_1;
    value = (value ^ (value >> 27)) * XSHM_TEST_RANDOM_MIX_2;
    return value ^ (value >> 31);
}

uint32_t xshm_test_random_below(xshm_test_random_t *random, uint32_t limit)
{
    return (uint32_t)(((xshm_test_random_next(random) >> 32) * limit) >> 32);
}

void xshm_test_fill(void *buffer, size_t length, uint64_t seed)
{
    xshm_test_random_t random = {seed};
    uint8_t           *bytes  = buffer;
    uint64_t           word;

    for (; length >= sizeof(word); length -= sizeof(word)) {
        word = xshm_test_random_next(&random);
        memcpy(bytes, &word, sizeof(word));
        bytes += sizeof(word);
    }

    word = xshm_test_random_next(&random);
    memcpy(bytes, &word, length);
}

int xshm_test_is_filled(const void *buffer, size_t length, uint64_t seed)
{
    xshm_test_random_t random = {seed};
    const uint8_t     *bytes  = buffer;
    uint64_t           word;

    for (; length >= sizeof(word); length -= sizeof(word)) {
        word = xshm_test_random_next(&random);
        if (memcmp(bytes, &word, sizeof(word))) {
            return 0;
        }
        bytes += sizeof(word);
    }

    word = xshm_test_random_next(&random);
    return !memcmp(bytes, &word, length);
}

double xshm_test_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + ((double)now.tv_nsec * 1e-9);
}

void xshm_test_pause(void)
{
    usleep(XSHM_TEST_PAUSE_USEC);
}

unsigned xshm_test_count_fds(void)
{
    DIR           *dir   = opendir("/proc/self/fd");
    unsigned       count = 0;
    struct dirent *entry;

    xshm_test_check(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        count += (entry->d_name[0] != '.');
    }

    closedir(dir);
    return count - 1; /* The folder itself */
}

unsigned xshm_test_count_shared_maps(void)
{
    FILE    *file  = fopen("/proc/self/maps", "r");
    unsigned count = 0;
    char     line[1024], flags[8];

    xshm_test_check(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (sscanf(line, "%*s %7s", flags) == 1) {
            count += (flags[3] == 's');
        }
    }

    fclose(file);
    return count;
}

void xshm_test_failed(const char *what, const char *file, int line)
{
    if (xshm_test_is_peer) {
        fprintf(stderr, "%s:%d: in the other process: %s\n", file, line, what);
        xshm_test_log_show();
        _exit(EXIT_FAILURE);
    }

    xshm_test_log_show();
    _assert_true(0, what, file, line);
}

/* cmocka's handlers would go on with the next test in the other process */
static void xshm_test_reset_signals(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS};
    size_t           i;

    for (i = 0; i < XSHM_TEST_ARRAY_SIZE(signals); ++i) {
        signal(signals[i], SIG_DFL);
    }
}

void xshm_test_peer_start(xshm_test_peer_t *peer,
                          void (*func)(int fd, void *arg), void *arg)
{
    struct timeval timeout = {.tv_sec = (time_t)XSHM_TEST_DEADLINE};
    int            fds[2];

    xshm_test_check(
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    xshm_test_check(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &timeout,
                               sizeof(timeout)) == 0);
    fflush(NULL);
    peer->pid = fork();
    xshm_test_check(peer->pid >= 0);
    if (peer->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        xshm_test_is_peer = 1;
        xshm_test_reset_signals();
        close(fds[0]);
        func(fds[1], arg);
        _exit(EXIT_SUCCESS);
    }

    close(fds[1]);
    peer->fd = fds[0];
}

static int xshm_test_peer_wait(xshm_test_peer_t *peer)
{
    int status;

    xshm_test_check(waitpid(peer->pid, &status, 0) == peer->pid);
    close(peer->fd);
    return status;
}

void xshm_test_peer_join(xshm_test_peer_t *peer)
{
    assert_int_equal(xshm_test_peer_wait(peer), 0);
}

void xshm_test_peer_kill(xshm_test_peer_t *peer)
{
    kill(peer->pid, SIGKILL);
    (void)xshm_test_peer_wait(peer);
}

void xshm_test_put(int fd, const void *data, size_t length)
{
    xshm_test_check(send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length);
}

void xshm_test_get(int fd, void *data, size_t length)
{
    xshm_test_check(recv(fd, data, length, 0) == (ssize_t)length);
}

void xshm_test_signal(int fd)
{
    xshm_test_put(fd, "", 1);
}

void xshm_test_await(int fd)
{
    char byte;

    xshm_test_get(fd, &byte, sizeof(byte));
}

static ucs_log_func_rc_t
xshm_test_log_handler(const char *file, unsigned line, const char *function,
                      ucs_log_level_t                   level,
                      const ucs_log_component_config_t *component,
                      const char *message, va_list ap)
{
    size_t room;
    int    length;

    if (level > UCS_LOG_LEVEL_WARN) {
        return UCS_LOG_FUNC_RC_STOP;
    }

    pthread_mutex_lock(&xshm_test_log.lock);
    room   = sizeof(xshm_test_log.text) - xshm_test_log.length;
    length = vsnprintf(xshm_test_log.text + xshm_test_log.length, room, message,
                       ap);
    if ((size_t)length + 1 < room) {
        xshm_test_log.length += (size_t)length;
        xshm_test_log.text[xshm_test_log.length++] = '\n';
        xshm_test_log.text[xshm_test_log.length]   = '\0';
    }
    pthread_mutex_unlock(&xshm_test_log.lock);
    return UCS_LOG_FUNC_RC_STOP;
}

void xshm_test_log_start(void)
{
    ucs_log_push_handler(xshm_test_log_handler);
}

void xshm_test_log_clear(void)
{
    pthread_mutex_lock(&xshm_test_log.lock);
    xshm_test_log.length  = 0;
    xshm_test_log.text[0] = '\0';
    pthread_mutex_unlock(&xshm_test_log.lock);
}

unsigned xshm_test_log_count(const char *text)
{
    unsigned    count = 0;
    const char *line  = xshm_test_log.text;

    pthread_mutex_lock(&xshm_test_log.lock);
    while ((line = strstr(line, text)) != NULL) {
        ++count;
        line = strchrnul(line, '\n');
    }
    pthread_mutex_unlock(&xshm_test_log.lock);
    return count;
}

void xshm_test_log_show(void)
{
    pthread_mutex_lock(&xshm_test_log.lock);
    fprintf(stderr, "log: %s\n", xshm_test_log.text);
    pthread_mutex_unlock(&xshm_test_log.lock);
}

static int xshm_test_select_device(void **state)
{
    if (xshm_test_reset != NULL) {
        xshm_test_reset();
    }
    xshm_test_log_clear();
    xshm_test_device = *state;
    return 0;
}

static size_t xshm_test_num_devices(void)
{
    size_t count = 0;

    while (xshm_test_devices[count] != NULL) {
        ++count;
    }
    return count;
}

int xshm_test_run_on_devices(const char *group, const struct CMUnitTest *tests,
                             size_t num_tests)
{
    size_t             num_devices = xshm_test_num_devices();
    struct CMUnitTest *all;
    size_t             i, j;
    char              *name;

    all = calloc(num_devices * num_tests, sizeof(*all));
    for (i = 0; i < num_devices; ++i) {
        for (j = 0; j < num_tests; ++j) {
            name = malloc(XSHM_TEST_NAME_MAX);
            snprintf(name, XSHM_TEST_NAME_MAX, "%s/%s", xshm_test_devices[i],
                     tests[j].name);
            all[(i * num_tests) + j] =
                    (struct CMUnitTest){.name       = name,
                                        .test_func  = tests[j].test_func,
                                        .setup_func = xshm_test_select_device,
                                        .initial_state =
                                                (void *)xshm_test_devices[i]};
        }
    }

    return _cmocka_run_group_tests(group, all, num_devices * num_tests, NULL,
                                   NULL);
}
