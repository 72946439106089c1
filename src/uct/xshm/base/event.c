/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include "event.h"
#include "iface.h"
#include "peer.h"
#include "rma.h"
#include "../platform/complain.h"
#include "../platform/fdset.h"

#include <ucs/debug/log.h>
#include <ucs/sys/math.h>
#include <ucs/time/time.h>

#include <sched.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>


/* How long to be busy while peers acknowledge that they are to wake us: a
 * message to their service thread and back takes some ten microseconds, if it
 * runs. Then the timer does it. Seconds. */
#define XSHM_EVENT_ACK_TIME 2e-3

/* While it spins, an interface that has waited so long for a message offers the
 * processor to others: the one that is waited for may share it with us, as
 * Linux likes to place who wakes and who is woken. Two hops there and back take
 * less than that. Seconds. */
#define XSHM_EVENT_YIELD_TIME 2e-6

/* The timer's first and longest time, nanoseconds */
#define XSHM_EVENT_TIMER_MIN_NS 1000000l
#define XSHM_EVENT_TIMER_MAX_NS 64000000l

/* After so many BUSY in a row, for whatever reason, arming succeeds, with a
 * readable descriptor: a peer that never stops sending must not keep us from
 * that, nor a limit on open files */
#define XSHM_EVENT_MAX_BUSY 100000u

/* After so many turns of the pollset (XSHM_POLLSET_COOL_TURNS calls of progress
 * each) without sleeping, an interface is one that polls: some milliseconds */
#define XSHM_EVENT_RELAX_TURNS 64u


void xshm_event_init(xshm_events_t *events, double spin)
{
    memset(events, 0, sizeof(*events));
    events->epoll_fd = -1;
    events->timer_fd = -1;
    events->spin     = ucs_time_from_sec(spin);
}

void xshm_event_cleanup(xshm_events_t *events)
{
    xshm_fdset_close(events->timer_fd);
    xshm_fdset_close(events->epoll_fd);
}

uint64_t xshm_event_flags(const xshm_iface_t *iface)
{
    return (xshm_iface_platform(iface)->ops->wake_open == NULL) ?
                   0 :
                   (UCT_IFACE_FLAG_EVENT_SEND_COMP | UCT_IFACE_FLAG_EVENT_RECV |
                    UCT_IFACE_FLAG_EVENT_FD);
}

static ucs_status_t xshm_event_watch(xshm_events_t *events, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

    if (epoll_ctl(events->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        xshm_complain("xshm: cannot poll descriptor %d: %m", fd);
        return UCS_ERR_IO_ERROR;
    }

    return UCS_OK;
}

static ucs_status_t xshm_event_open(xshm_iface_t *iface)
{
    xshm_events_t *events = &iface->events;
    ucs_status_t   status;

    if (iface->mailbox->signal_fd < 0) {
        status = xshm_mailbox_open_signal(iface->mailbox);
        if (status != UCS_OK) {
            return status;
        }
    }

    events->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (events->epoll_fd < 0) {
        xshm_complain("xshm: cannot open a descriptor for events: %m. If there "
                      "are too many open files, raise ulimit -n");
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(events->epoll_fd);
    status = xshm_event_watch(events, iface->mailbox->signal_fd);
    if (status != UCS_OK) {
        xshm_fdset_close(events->epoll_fd);
        events->epoll_fd = -1;
    }
    return status;
}

/* Arming has succeeded before there was a descriptor: it is to be readable */
static void xshm_event_pay_signal(xshm_iface_t *iface)
{
    if (iface->events.owes_signal && (iface->events.epoll_fd >= 0)) {
        iface->events.owes_signal = 0;
        xshm_iface_schedule(iface, XSHM_IFACE_WORK_ARMED);
        xshm_mailbox_signal(iface->mailbox);
    }
}

ucs_status_t xshm_event_fd_get(uct_iface_h tl_iface, int *fd_p)
{
    xshm_iface_t *iface  = ucs_derived_of(tl_iface, xshm_iface_t);
    ucs_status_t  status = UCS_OK;

    if (xshm_event_flags(iface) == 0) {
        return UCS_ERR_UNSUPPORTED;
    }

    if (iface->events.epoll_fd < 0) {
        status = xshm_event_open(iface);
        xshm_event_pay_signal(iface);
    }

    *fd_p = iface->events.epoll_fd;
    return status;
}

/* Peers can only wake us by something that we have opened. @return Zero if that
 * fails: then we cannot sleep. */
static int xshm_event_open_wake(xshm_iface_t *iface)
{
    xshm_mailbox_t            *mailbox = iface->mailbox;
    const xshm_platform_ops_t *ops     = mailbox->platform->ops;

    if (iface->events.has_wake) {
        return 1;
    }

    if ((mailbox->wake == NULL) &&
        (xshm_mailbox_open_wake(mailbox) != UCS_OK)) {
        return 0;
    }

    if (xshm_event_watch(&iface->events, ops->wake_fd(mailbox->wake)) !=
        UCS_OK) {
        return 0;
    }

    iface->events.has_wake = 1;
    return 1;
}

/* Before SLEEP: what was notified before we look is seen when we look.
 * @return Was there a notification? Then UCX wants to hear that we are busy. */
static int xshm_event_drain(xshm_iface_t *iface)
{
    if (!iface->events.has_wake ||
        !xshm_iface_platform(iface)->ops->wake_drain(iface->mailbox->wake)) {
        return 0;
    }

    ++iface->events.num_notified;
    return 1;
}

static ucs_status_t xshm_event_set_timer(xshm_events_t *events, long ns)
{
    struct itimerspec time = {.it_value = {.tv_nsec = ns}};

    if (timerfd_settime(events->timer_fd, 0, &time, NULL) != 0) {
        xshm_complain("xshm: cannot set a timer: %m");
        return UCS_ERR_IO_ERROR;
    }

    events->timer_ns = ns;
    return UCS_OK;
}

static ucs_status_t xshm_event_open_timer(xshm_events_t *events)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    if (fd < 0) {
        xshm_complain("xshm: cannot open a timer: %m. If there are too many "
                      "open files, raise ulimit -n");
        return UCS_ERR_IO_ERROR;
    }

    xshm_fdset_add(fd);
    if (xshm_event_watch(events, fd) != UCS_OK) {
        xshm_fdset_close(fd);
        return UCS_ERR_IO_ERROR;
    }

    events->timer_fd = fd;
    return UCS_OK;
}

/* Sleep for a bounded time: longer each time that peers have still not
 * acknowledged. @return Zero if that is not possible. */
static int xshm_event_start_timer(xshm_events_t *events)
{
    long ns = events->timer_ns * 2;

    if ((events->timer_fd < 0) && (xshm_event_open_timer(events) != UCS_OK)) {
        return 0;
    }

    ns = ucs_max(ns, XSHM_EVENT_TIMER_MIN_NS);
    ns = ucs_min(ns, XSHM_EVENT_TIMER_MAX_NS);
    ++events->num_timeouts;
    return xshm_event_set_timer(events, ns) == UCS_OK;
}

static int xshm_event_has_timed_out(const xshm_events_t *events)
{
    uint64_t count;

    return (events->timer_ns != 0) &&
           (read(events->timer_fd, &count, sizeof(count)) == sizeof(count));
}

static void xshm_event_stop_timer(xshm_events_t *events)
{
    if (events->timer_ns != 0) {
        (void)xshm_event_set_timer(events, 0);
    }
}

/* Say that this end sleeps */
static void xshm_event_begin(xshm_iface_t *iface, xshm_sleeper_t *sleeper)
{
    if (sleeper->sleep.wants == 0) {
        xshm_sleeper_ask(sleeper);
        iface->events.ack_end =
                ucs_get_time() + ucs_time_from_sec(XSHM_EVENT_ACK_TIME);
    }

    xshm_sleep_begin(&sleeper->sleep);
}

/* Only a channel that the peer has accepted can have room again; of the others'
 * acceptance the mailbox tells */
static int xshm_event_is_for_room(const xshm_peer_t *peer)
{
    return peer->tx->state == XSHM_TX_ACCEPTED;
}

static void xshm_event_begin_all(xshm_iface_t *iface)
{
    xshm_pollset_t  *set = &iface->pollset;
    xshm_rma_peer_t *rma;
    xshm_peer_t     *peer;
    unsigned         i;

    for (i = 0; i < xshm_pollset_size(set); ++i) {
        xshm_event_begin(iface, &xshm_pollset_get(set, i)->sleeper);
    }

    ucs_list_for_each(peer, &iface->blocked, blocked) {
        if (xshm_event_is_for_room(peer)) {
            xshm_event_begin(iface, &peer->tx->sleeper);
        }
    }

    /* What is given back also says that an operation is done */
    ucs_list_for_each(rma, &iface->rma_active, list) {
        if (xshm_event_is_for_room(rma->peer)) {
            xshm_event_begin(iface, &rma->peer->tx->sleeper);
        }
    }
}

/* Look again at all channels. @return Is there nothing? */
static int xshm_event_rx_is_empty(xshm_iface_t *iface, unsigned *num_unacked)
{
    xshm_pollset_t *set = &iface->pollset;
    xshm_rx_t      *rx;
    unsigned        i;

    for (i = 0; i < xshm_pollset_size(set); ++i) {
        rx = xshm_pollset_get(set, i);
        /* ACKED is before LOOK_AGAIN */
        *num_unacked += !xshm_sleep_is_acked(&rx->sleeper.sleep);
        /* LOOK_AGAIN */
        if (xshm_ring_rx_is_empty(&rx->ring)) {
            continue;
        }

        /* Its turn would come late */
        if (i >= set->num_hot) {
            xshm_pollset_heat(set, i - set->num_hot);
        }
        return 0;
    }

    return 1;
}

/* Can a request that waits be sent, or can the channel only be failed? */
static int xshm_event_can_send(const xshm_iface_t *iface, xshm_ring_tx_t *ring)
{
    /* LOOK_AGAIN */
    return xshm_ring_tx_can_reserve(ring, iface->config.seg_lines) ||
           ring->violation;
}

static int xshm_event_tx_is_full(xshm_iface_t *iface, unsigned *num_unacked)
{
    xshm_peer_t *peer;

    ucs_list_for_each(peer, &iface->blocked, blocked) {
        if (!xshm_event_is_for_room(peer)) {
            continue;
        }

        /* ACKED is before LOOK_AGAIN */
        *num_unacked += !xshm_sleep_is_acked(&peer->tx->sleeper.sleep);
        if (xshm_event_can_send(iface, &peer->tx->ring)) {
            return 0;
        }
    }

    return 1;
}

static int xshm_event_rma_waits(xshm_iface_t *iface, unsigned *num_unacked)
{
    xshm_rma_peer_t *rma;

    ucs_list_for_each(rma, &iface->rma_active, list) {
        if (!xshm_event_is_for_room(rma->peer)) {
            continue;
        }

        /* ACKED is before LOOK_AGAIN */
        *num_unacked += !xshm_sleep_is_acked(&rma->peer->tx->sleeper.sleep);
        /* LOOK_AGAIN */
        if (xshm_rma_has_news(rma->peer)) {
            return 0;
        }
    }

    return 1;
}

/*
 * Has UCX switched off the progress of this interface, until it wakes? UCP does
 * so where it has no endpoints, and when arming says BUSY then, UCP 1.13 lets
 * its user go to sleep nevertheless: its handler looks again only when the user
 * calls progress. So such an interface is never busy: if there is something to
 * do, its descriptor is readable.
 */
static int xshm_event_is_parked(const xshm_iface_t *iface)
{
    return iface->super.progress_flags == 0;
}

/* An interface that has just had messages stays awake for a while */
static int xshm_event_must_spin(xshm_iface_t *iface)
{
    xshm_events_t *events   = &iface->events;
    uint64_t       received = xshm_pollset_received(&iface->pollset);
    ucs_time_t     now;

    if ((events->spin == 0) || xshm_event_is_parked(iface)) {
        return 0;
    }

    now = ucs_get_time();
    if (received != events->received) {
        events->received   = received;
        events->spin_end   = now + events->spin;
        events->yield_time = now + ucs_time_from_sec(XSHM_EVENT_YIELD_TIME);
    }

    if (now >= events->spin_end) {
        return 0;
    }

    if (now > events->yield_time) {
        sched_yield();
    }

    return 1;
}

/* Sleep although some peers may not wake us: at first not, then not for long */
static int xshm_event_may_sleep(xshm_iface_t *iface, unsigned num_unacked)
{
    xshm_events_t *events = &iface->events;

    if (num_unacked == 0) {
        xshm_event_stop_timer(events);
        return 1;
    }

    return (xshm_event_is_parked(iface) ||
            (ucs_get_time() >= events->ack_end)) &&
           xshm_event_start_timer(events);
}

/* @return Can the interface sleep now? */
static int xshm_event_try_arm(xshm_iface_t *iface)
{
    unsigned num_unacked = 0;

    if (iface->work & (XSHM_IFACE_WORK_ENDED | XSHM_IFACE_WORK_FAILED)) {
        return 0;
    }

    xshm_iface_schedule(iface, XSHM_IFACE_WORK_ARMED);
    /* All three, whatever the first ones say: each takes its news away */
    if (xshm_event_drain(iface) | !xshm_mailbox_arm(iface->mailbox) |
        xshm_event_has_timed_out(&iface->events)) {
        return 0;
    }

    xshm_event_begin_all(iface);
    xshm_sleep_fence();
    return xshm_event_rx_is_empty(iface, &num_unacked) &&
           xshm_event_tx_is_full(iface, &num_unacked) &&
           xshm_event_rma_waits(iface, &num_unacked) &&
           xshm_event_may_sleep(iface, num_unacked);
}

/* There is, or may be, something to do. Progress makes the descriptor not
 * readable again. One that nobody has yet will be readable when it is
 * opened. */
static ucs_status_t xshm_event_busy(xshm_iface_t *iface)
{
    if (!xshm_event_is_parked(iface) &&
        (++iface->events.num_busy < XSHM_EVENT_MAX_BUSY)) {
        return UCS_ERR_BUSY;
    }

    iface->events.num_busy = 0;
    if (iface->events.epoll_fd < 0) {
        iface->events.owes_signal = 1;
    } else {
        xshm_iface_schedule(iface, XSHM_IFACE_WORK_ARMED);
        xshm_mailbox_signal(iface->mailbox);
    }
    return UCS_OK;
}

/* Is there somebody that may have to wake us? */
static int xshm_event_needs_wake(xshm_iface_t *iface)
{
    return (xshm_pollset_size(&iface->pollset) > 0) ||
           !ucs_list_is_empty(&iface->blocked) ||
           !ucs_list_is_empty(&iface->rma_active);
}

/* Is all open by which this interface can be woken? */
static int xshm_event_can_wake(xshm_iface_t *iface)
{
    int fd;

    return ((iface->events.epoll_fd >= 0) ||
            (xshm_event_fd_get(&iface->super.super, &fd) == UCS_OK)) &&
           (!xshm_event_needs_wake(iface) || xshm_event_open_wake(iface));
}

ucs_status_t xshm_event_arm(uct_iface_h tl_iface, unsigned events)
{
    xshm_iface_t *iface = ucs_derived_of(tl_iface, xshm_iface_t);

    if (xshm_event_must_spin(iface) || !xshm_event_can_wake(iface) ||
        !xshm_event_try_arm(iface)) {
        return xshm_event_busy(iface);
    }

    iface->events.num_busy = 0;
    iface->events.num_cool = 0;
    ++iface->events.num_sleeps;
    return UCS_OK;
}

int xshm_event_disarm(xshm_iface_t *iface)
{
    xshm_pollset_t  *set = &iface->pollset;
    xshm_rma_peer_t *rma;
    xshm_peer_t     *peer;
    unsigned         i;

    /* The cold ones keep their state: the next time brings a new one */
    for (i = 0; i < set->num_hot; ++i) {
        xshm_sleep_end(&set->hot[i]->sleeper.sleep);
    }

    ucs_list_for_each(peer, &iface->blocked, blocked) {
        if (xshm_event_is_for_room(peer)) {
            xshm_sleep_end(&peer->tx->sleeper.sleep);
        }
    }

    ucs_list_for_each(rma, &iface->rma_active, list) {
        if (xshm_event_is_for_room(rma->peer)) {
            xshm_sleep_end(&rma->peer->tx->sleeper.sleep);
        }
    }

    /* Else the descriptor would stay readable until it is armed again */
    xshm_mailbox_disarm(iface->mailbox);
    iface->events.was_notified = xshm_event_drain(iface);
    if (!iface->events.was_notified &&
        !xshm_event_has_timed_out(&iface->events)) {
        return 0;
    }

    xshm_pollset_heat_all(set);
    return 1;
}

void xshm_event_was_idle(xshm_iface_t *iface)
{
    iface->events.num_idle_wakes += iface->events.was_notified;
}

static void xshm_event_leave(xshm_sleeper_t *sleeper)
{
    if (sleeper->sleep.wants != 0) {
        xshm_sleeper_leave(sleeper);
    }
}

void xshm_event_relax(xshm_iface_t *iface)
{
    xshm_pollset_t *set = &iface->pollset;
    xshm_peer_t    *peer;
    unsigned        i;

    if (!iface->events.has_wake ||
        (++iface->events.num_cool < XSHM_EVENT_RELAX_TURNS)) {
        return;
    }

    iface->events.num_cool = 0;
    for (i = 0; i < xshm_pollset_size(set); ++i) {
        xshm_event_leave(&xshm_pollset_get(set, i)->sleeper);
    }

    kh_foreach_value(&iface->peers, peer, {
        if (xshm_event_is_for_room(peer)) {
            xshm_event_leave(&peer->tx->sleeper);
        }
    });
}
