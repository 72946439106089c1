/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "mailbox.h"
#include "../platform/complain.h"
#include "../platform/fdset.h"

#include <ucs/debug/log.h>

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>


#define XSHM_NSEC_PER_SEC 1000000000l

/* "inf" is a time, too: a year, in seconds */
#define XSHM_MAILBOX_MAX_TIMEOUT 31536000.0


/* All open mailboxes of this process */
static struct {
    pthread_mutex_t lock;
    ucs_list_link_t list;
    uint32_t        next_iface;
} xshm_mailboxes = {.lock = PTHREAD_MUTEX_INITIALIZER,
                    .list = UCS_LIST_INITIALIZER(&xshm_mailboxes.list,
                                                 &xshm_mailboxes.list)};


static ucs_status_t xshm_mailbox_init_locks(xshm_mailbox_t *mailbox)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr) != 0) {
        return UCS_ERR_NO_MEMORY;
    }

    /* The waiting time must not change with the time of day */
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&mailbox->cond, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&mailbox->lock, NULL);
    return UCS_OK;
}

ucs_status_t xshm_mailbox_create(xshm_platform_t    *platform,
                                 const xshm_allow_t *allow,
                                 xshm_mailbox_t    **mailbox_p)
{
    xshm_mailbox_t *mailbox;

    mailbox = calloc(1, sizeof(*mailbox));
    if (mailbox == NULL) {
        ucs_error("xshm: cannot allocate %zu bytes for an interface",
                  sizeof(*mailbox));
        return UCS_ERR_NO_MEMORY;
    }

    mailbox->refs      = 1;
    mailbox->signal_fd = -1;
    mailbox->platform  = platform;
    if (allow != NULL) {
        mailbox->allow = *allow;
    }

    mailbox->addr.version = XSHM_ABI_VERSION;
    mailbox->addr.process = platform->process;
    ucs_list_head_init(&mailbox->events);

    if (getrandom(mailbox->addr.token, sizeof(mailbox->addr.token), 0) !=
        sizeof(mailbox->addr.token)) {
        ucs_error("xshm: cannot get %zu random bytes for a token: %m",
                  sizeof(mailbox->addr.token));
        free(mailbox);
        return UCS_ERR_IO_ERROR;
    }

    if (xshm_mailbox_init_locks(mailbox) != UCS_OK) {
        free(mailbox);
        return UCS_ERR_NO_MEMORY;
    }

    pthread_mutex_lock(&xshm_mailboxes.lock);
    mailbox->addr.iface = xshm_mailboxes.next_iface++;
    ucs_list_add_tail(&xshm_mailboxes.list, &mailbox->list);
    pthread_mutex_unlock(&xshm_mailboxes.lock);

    *mailbox_p = mailbox;
    return UCS_OK;
}

static void xshm_mailbox_deadline(double timeout, struct timespec *deadline)
{
    timeout = (timeout < XSHM_MAILBOX_MAX_TIMEOUT) ? timeout :
                                                     XSHM_MAILBOX_MAX_TIMEOUT;
    clock_gettime(CLOCK_MONOTONIC, deadline);
    deadline->tv_sec += (time_t)timeout;
    deadline->tv_nsec +=
            (long)((timeout - (time_t)timeout) * XSHM_NSEC_PER_SEC);
    if (deadline->tv_nsec >= XSHM_NSEC_PER_SEC) {
        deadline->tv_nsec -= XSHM_NSEC_PER_SEC;
        ++deadline->tv_sec;
    }
}

int xshm_mailbox_close(xshm_mailbox_t *mailbox, double timeout)
{
    struct timespec deadline;
    int             is_answered, ret = 0;

    pthread_mutex_lock(&xshm_mailboxes.lock);
    ucs_list_del(&mailbox->list);
    pthread_mutex_unlock(&xshm_mailboxes.lock);

    xshm_mailbox_deadline(timeout, &deadline);
    pthread_mutex_lock(&mailbox->lock);
    mailbox->is_closed = 1;
    while ((mailbox->num_asking > 0) && (ret == 0)) {
        ret = pthread_cond_timedwait(&mailbox->cond, &mailbox->lock, &deadline);
    }
    is_answered = (mailbox->num_asking == 0);
    pthread_mutex_unlock(&mailbox->lock);
    return is_answered;
}

void xshm_mailbox_get(xshm_mailbox_t *mailbox)
{
    __atomic_add_fetch(&mailbox->refs, 1, __ATOMIC_RELAXED);
}

void xshm_mailbox_put(xshm_mailbox_t *mailbox)
{
    if (__atomic_sub_fetch(&mailbox->refs, 1, __ATOMIC_ACQ_REL) > 0) {
        return;
    }

    if (mailbox->wake != NULL) {
        mailbox->platform->ops->wake_close(mailbox->wake);
    }

    xshm_fdset_close(mailbox->signal_fd);
    pthread_cond_destroy(&mailbox->cond);
    pthread_mutex_destroy(&mailbox->lock);
    free(mailbox);
}

/* Takes the same time wherever the difference is */
static int xshm_token_equal(const uint8_t *a, const uint8_t *b)
{
    unsigned difference = 0;
    unsigned i;

    for (i = 0; i < XSHM_ABI_TOKEN_SIZE; ++i) {
        difference |= a[i] ^ b[i];
    }

    return difference == 0;
}

static int xshm_mailbox_match(xshm_mailbox_t  *mailbox,
                              xshm_platform_t *platform, int domain,
                              const xshm_iface_addr_t *addr)
{
    if ((mailbox->platform != platform) ||
        (mailbox->addr.iface != addr->iface) ||
        (mailbox->addr.process != addr->process)) {
        return 0;
    }

    if (!xshm_token_equal(mailbox->addr.token, addr->token) ||
        !xshm_allow_has(&mailbox->allow, domain)) {
        ++mailbox->num_refused;
        return 0;
    }

    return 1;
}

xshm_mailbox_t *xshm_mailbox_find(xshm_platform_t *platform, int domain,
                                  const xshm_iface_addr_t *addr)
{
    xshm_mailbox_t *mailbox, *found = NULL;

    pthread_mutex_lock(&xshm_mailboxes.lock);
    ucs_list_for_each(mailbox, &xshm_mailboxes.list, list) {
        if (xshm_mailbox_match(mailbox, platform, domain, addr)) {
            xshm_mailbox_get(mailbox);
            found = mailbox;
            break;
        }
    }
    pthread_mutex_unlock(&xshm_mailboxes.lock);
    return found;
}

ucs_status_t xshm_mailbox_open_signal(xshm_mailbox_t *mailbox)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    if (fd < 0) {
        xshm_complain("xshm: cannot open a descriptor for events: %m. If there "
                      "are too many open files, raise ulimit -n");
        return UCS_ERR_IO_ERROR;
    }

    pthread_mutex_lock(&mailbox->lock);
    mailbox->signal_fd = xshm_fdset_add(fd);
    pthread_mutex_unlock(&mailbox->lock);
    return UCS_OK;
}

ucs_status_t xshm_mailbox_open_wake(xshm_mailbox_t *mailbox)
{
    return mailbox->platform->ops->wake_open(mailbox->platform, &mailbox->wake);
}

/* With the lock */
static void xshm_mailbox_do_signal(xshm_mailbox_t *mailbox)
{
    const uint64_t one = 1;

    mailbox->is_armed     = 0;
    mailbox->is_signalled = 1;
    (void)!write(mailbox->signal_fd, &one, sizeof(one));
}

void xshm_mailbox_signal(xshm_mailbox_t *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    xshm_mailbox_do_signal(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
}

/* With the lock. @return Was it readable? */
static int xshm_mailbox_drain_signal(xshm_mailbox_t *mailbox)
{
    uint64_t count;

    if (!mailbox->is_signalled) {
        return 0;
    }

    mailbox->is_signalled = 0;
    (void)!read(mailbox->signal_fd, &count, sizeof(count));
    return 1;
}

int xshm_mailbox_arm(xshm_mailbox_t *mailbox)
{
    int is_armed;

    pthread_mutex_lock(&mailbox->lock);
    is_armed = !xshm_mailbox_drain_signal(mailbox) &&
               ucs_list_is_empty(&mailbox->events);
    mailbox->is_armed = is_armed;
    pthread_mutex_unlock(&mailbox->lock);
    return is_armed;
}

void xshm_mailbox_disarm(xshm_mailbox_t *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    mailbox->is_armed = 0;
    (void)xshm_mailbox_drain_signal(mailbox);
    pthread_mutex_unlock(&mailbox->lock);
}

int xshm_mailbox_post(xshm_mailbox_t *mailbox, xshm_event_t *event,
                      unsigned flags)
{
    int is_open;

    pthread_mutex_lock(&mailbox->lock);
    is_open = !mailbox->is_closed && !event->is_forgotten;
    if (is_open) {
        event->flags |= flags;
        if (!event->is_queued) {
            event->is_queued = 1;
            ucs_list_add_tail(&mailbox->events, &event->list);
        }
        mailbox->has_events = 1;
        if (mailbox->is_armed) {
            xshm_mailbox_do_signal(mailbox);
        }
    }
    pthread_mutex_unlock(&mailbox->lock);
    return is_open;
}

static void xshm_mailbox_remove(xshm_mailbox_t *mailbox, xshm_event_t *event)
{
    ucs_list_del(&event->list);
    event->is_queued    = 0;
    event->flags        = 0;
    mailbox->has_events = !ucs_list_is_empty(&mailbox->events);
}

unsigned xshm_mailbox_take(xshm_mailbox_t *mailbox, xshm_event_t **event_p)
{
    xshm_event_t *event;
    unsigned      flags = 0;

    pthread_mutex_lock(&mailbox->lock);
    if (!ucs_list_is_empty(&mailbox->events)) {
        event    = ucs_list_head(&mailbox->events, xshm_event_t, list);
        flags    = event->flags;
        *event_p = event;
        xshm_mailbox_remove(mailbox, event);
    }
    pthread_mutex_unlock(&mailbox->lock);
    return flags;
}

void xshm_mailbox_forget(xshm_mailbox_t *mailbox, xshm_event_t *event)
{
    pthread_mutex_lock(&mailbox->lock);
    event->is_forgotten = 1;
    if (event->is_queued) {
        xshm_mailbox_remove(mailbox, event);
    }
    pthread_mutex_unlock(&mailbox->lock);
}

void xshm_mailbox_ask(xshm_mailbox_t *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    ++mailbox->num_asking;
    pthread_mutex_unlock(&mailbox->lock);
}

void xshm_mailbox_answered(xshm_mailbox_t *mailbox)
{
    pthread_mutex_lock(&mailbox->lock);
    --mailbox->num_asking;
    pthread_cond_broadcast(&mailbox->cond);
    pthread_mutex_unlock(&mailbox->lock);
}
