/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_setname_np(), pthread_timedjoin_np() */
#endif

#include "service.h"
#include "barrier.h"
#include "../channel/channel.h"
#include "../memory/registry.h"
#include "../platform/fdset.h"

#include <ucs/debug/log.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>


#define XSHM_SERVICE_MAX_PLATFORMS 2
#define XSHM_SERVICE_MAX_EVENTS    (XSHM_SERVICE_MAX_PLATFORMS + 1)

/* How long the thread may take to end. It may never do so: libxenstore waits
 * without a limit for the answer of a xenstored that has died. */
#define XSHM_SERVICE_END_TIMEOUT 10 /* seconds */


static struct {
    pthread_mutex_t  lock;
    int              is_running;
    int              is_stopping;
    pthread_t        thread;
    int              epoll_fd;
    int              wake_fd; /* There is work, or it is time to stop */
    ucs_queue_head_t work;
    uint64_t         process;
    xshm_platform_t *platforms[XSHM_SERVICE_MAX_PLATFORMS];
} xshm_service = {.lock = PTHREAD_MUTEX_INITIALIZER};


static void xshm_service_wake(void)
{
    const uint64_t one = 1;

    /* EAGAIN: the counter is full, so the thread wakes in any case */
    (void)!write(xshm_service.wake_fd, &one, sizeof(one));
}

static void xshm_service_drain_wake(void)
{
    uint64_t count;

    (void)!read(xshm_service.wake_fd, &count, sizeof(count));
}

static xshm_work_t *xshm_service_next_work(void)
{
    xshm_work_t *work = NULL;

    pthread_mutex_lock(&xshm_service.lock);
    if (!ucs_queue_is_empty(&xshm_service.work)) {
        work = ucs_queue_pull_elem_non_empty(&xshm_service.work, xshm_work_t,
                                             elem);
    }
    pthread_mutex_unlock(&xshm_service.lock);
    return work;
}

static void xshm_service_do_work(void)
{
    xshm_work_t *work;

    while ((work = xshm_service_next_work()) != NULL) {
        work->func(work);
    }
}

/* The shortest time that any platform wants to wait, or -1 */
static int xshm_service_dispatch(void)
{
    int timeout = -1;
    int i, wanted;

    for (i = 0; i < XSHM_SERVICE_MAX_PLATFORMS; ++i) {
        if (xshm_service.platforms[i] == NULL) {
            continue;
        }

        wanted = xshm_service.platforms[i]->ops->dispatch(
                xshm_service.platforms[i]);
        if ((wanted >= 0) && ((timeout < 0) || (wanted < timeout))) {
            timeout = wanted;
        }
    }

    return timeout;
}

static int xshm_service_is_stopping(void)
{
    return __atomic_load_n(&xshm_service.is_stopping, __ATOMIC_ACQUIRE);
}

static void *xshm_service_main(void *arg)
{
    struct epoll_event events[XSHM_SERVICE_MAX_EVENTS];
    int                timeout;

    (void)arg;

    while (!xshm_service_is_stopping()) {
        xshm_service_do_work();
        timeout = xshm_service_dispatch();
        (void)epoll_wait(xshm_service.epoll_fd, events, XSHM_SERVICE_MAX_EVENTS,
                         timeout);
        xshm_service_drain_wake();
    }

    /* What was posted last is cleaning up */
    xshm_service_do_work();
    return NULL;
}

static ucs_status_t xshm_service_watch(int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(xshm_service.epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        ucs_error("xshm: cannot poll descriptor %d: %m", fd);
        return UCS_ERR_IO_ERROR;
    }

    return UCS_OK;
}

static void xshm_service_close_fds(void)
{
    xshm_fdset_close(xshm_service.wake_fd);
    xshm_fdset_close(xshm_service.epoll_fd);
}

static ucs_status_t xshm_service_open_fds(void)
{
    ucs_status_t status;

    xshm_service.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (xshm_service.epoll_fd < 0) {
        goto err;
    }

    xshm_fdset_add(xshm_service.epoll_fd);
    xshm_service.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (xshm_service.wake_fd < 0) {
        goto err_close_epoll;
    }

    xshm_fdset_add(xshm_service.wake_fd);
    status = xshm_service_watch(xshm_service.wake_fd);
    if (status != UCS_OK) {
        xshm_service_close_fds();
    }
    return status;

err_close_epoll:
    xshm_fdset_close(xshm_service.epoll_fd);
err:
    ucs_error("xshm: cannot open the service's descriptors: %m. If there are "
              "too many open files, raise ulimit -n");
    return UCS_ERR_IO_ERROR;
}

static void xshm_service_close_platforms(void)
{
    int i;

    for (i = 0; i < XSHM_SERVICE_MAX_PLATFORMS; ++i) {
        if (xshm_service.platforms[i] != NULL) {
            xshm_service.platforms[i]->ops->close(xshm_service.platforms[i]);
            xshm_service.platforms[i] = NULL;
        }
    }
}

/* Once for each process that uses the transport: UCX goes on with what it
 * has */
static void
xshm_service_report_unusable(const xshm_platform_ops_t *ops, const char *reason)
{
    int is_here = (ops->is_here == NULL) || ops->is_here();

    ucs_log(is_here ? UCS_LOG_LEVEL_WARN : UCS_LOG_LEVEL_DEBUG,
            "xshm: device %s cannot be used: %s", ops->device, reason);
}

static ucs_status_t
xshm_service_open_platform(const xshm_platform_ops_t *ops, int index)
{
    xshm_platform_t *platform;
    ucs_status_t     status;
    char             reason[XSHM_UNUSABLE_MAX];

    if (!ops->probe(reason, sizeof(reason))) {
        xshm_service_report_unusable(ops, reason);
        return UCS_OK;
    }

    /* It has said why. The others may work. */
    status = ops->open(xshm_service.process, &xshm_channel_sink, &platform);
    if (status != UCS_OK) {
        return UCS_OK;
    }

    xshm_service.platforms[index] = platform;
    return xshm_service_watch(ops->event_fd(platform));
}

static ucs_status_t xshm_service_open_platforms(void)
{
    ucs_status_t status;
    int          i;

    for (i = 0; xshm_platforms[i] != NULL; ++i) {
        status = xshm_service_open_platform(xshm_platforms[i], i);
        if (status != UCS_OK) {
            return status;
        }
    }

    return UCS_OK;
}

/* The application's signals are not for this thread */
static ucs_status_t xshm_service_create_thread(void)
{
    sigset_t all, old;
    int      ret;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    ret = pthread_create(&xshm_service.thread, NULL, xshm_service_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ret != 0) {
        errno = ret;
        ucs_error("xshm: cannot start the service thread: %m. Raise the "
                  "number of processes (ulimit -u)");
        return UCS_ERR_IO_ERROR;
    }

    pthread_setname_np(xshm_service.thread, "xshm");
    return UCS_OK;
}

static ucs_status_t xshm_service_start_locked(void)
{
    ucs_status_t status;

    xshm_service.process = xshm_process_name();
    if (xshm_service.process == 0) {
        return UCS_ERR_IO_ERROR;
    }

    if (!xshm_barrier_init()) {
        ucs_debug(
                "xshm: no membarrier system call: each message costs a fence");
    }

    ucs_queue_head_init(&xshm_service.work);
    xshm_service.is_stopping = 0;

    status = xshm_service_open_fds();
    if (status != UCS_OK) {
        return status;
    }

    status = xshm_service_open_platforms();
    if (status != UCS_OK) {
        goto err_close_platforms;
    }

    status = xshm_service_create_thread();
    if (status != UCS_OK) {
        goto err_close_platforms;
    }

    xshm_service.is_running = 1;
    return UCS_OK;

err_close_platforms:
    xshm_service_close_platforms();
    xshm_service_close_fds();
    return status;
}

ucs_status_t xshm_service_start(void)
{
    ucs_status_t status = UCS_OK;

    if (xshm_fdset_is_child()) {
        ucs_error("xshm: this process was forked from one that uses xshm, and "
                  "cannot use it itself: call exec first");
        return UCS_ERR_UNSUPPORTED;
    }

    pthread_mutex_lock(&xshm_service.lock);
    if (!xshm_service.is_running) {
        status = xshm_service_start_locked();
    }
    pthread_mutex_unlock(&xshm_service.lock);
    return status;
}

/* @return Zero if the thread hangs */
static int xshm_service_join(void)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += XSHM_SERVICE_END_TIMEOUT;
    return pthread_timedjoin_np(xshm_service.thread, NULL, &deadline) == 0;
}

void xshm_service_stop(void)
{
    /* A forked child has neither the thread nor the descriptors */
    if (!xshm_service.is_running || xshm_fdset_is_child()) {
        return;
    }

    __atomic_store_n(&xshm_service.is_stopping, 1, __ATOMIC_RELEASE);
    xshm_service_wake();
    if (!xshm_service_join()) {
        /* The process ends all the same, and what the thread uses stays */
        ucs_warn("xshm: the service thread does not end in %d seconds: does "
                 "xenstored answer?",
                 XSHM_SERVICE_END_TIMEOUT);
        return;
    }

    xshm_service_close_platforms();
    xshm_service_close_fds();
    xshm_service.is_running = 0;
}

xshm_platform_t *xshm_service_platform(const xshm_platform_ops_t *ops)
{
    int i;

    for (i = 0; i < XSHM_SERVICE_MAX_PLATFORMS; ++i) {
        if ((xshm_service.platforms[i] != NULL) &&
            (xshm_service.platforms[i]->ops == ops)) {
            return xshm_service.platforms[i];
        }
    }

    return NULL;
}

int xshm_service_domain(void)
{
    const xshm_platform_t *platform;
    int                    i;

    for (i = 0; i < XSHM_SERVICE_MAX_PLATFORMS; ++i) {
        platform = xshm_service.platforms[i];
        if ((platform != NULL) && (platform->ops->own_domain != NULL)) {
            return platform->ops->own_domain(platform);
        }
    }

    return XSHM_DOMAIN_SAME;
}

void xshm_service_post(xshm_work_t *work, void (*func)(xshm_work_t *work))
{
    /* A forked child has no thread for it */
    if (xshm_fdset_is_child()) {
        return;
    }

    work->func = func;
    pthread_mutex_lock(&xshm_service.lock);
    /* Memory may be freed after the library's end, when nobody needs to know */
    if (xshm_service.is_running) {
        ucs_queue_push(&xshm_service.work, &work->elem);
        xshm_service_wake();
    }
    pthread_mutex_unlock(&xshm_service.lock);
}
