/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_EVENT_H_
#define XSHM_EVENT_H_

#include <ucs/time/time_def.h>
#include <uct/api/uct.h>

/**
 * UCX's wake-up interface: a descriptor that is readable when there is
 * something for progress to do.
 *
 * The descriptor is of epoll, with up to three others behind it:
 *
 *   signal  the service has put something into the mailbox: a peer wants to
 *           send, has accepted, or is gone
 *   wake    a peer has notified. Opened when the interface first sleeps while
 *           it has channels: UCP takes the descriptor of every interface, also
 *           where nobody ever sleeps
 *   timer   as long as a peer has not acknowledged that it is to wake us, the
 *           interface wakes by itself
 *
 * Threads: the worker's.
 */

struct xshm_iface;


/** State of an interface's events */
typedef struct xshm_events {
    int        epoll_fd;     /**< -1: nobody has asked for it */
    int        timer_fd;     /**< -1: was not needed yet */
    int        was_notified; /**< Before the last xshm_event_disarm() */
    int        has_wake;     /**< The mailbox' wake is behind the descriptor */
    int        owes_signal;  /**< The descriptor is to be readable at first */
    unsigned   num_busy;     /**< BUSY in a row */
    unsigned   num_cool;     /**< Calls of xshm_event_relax() since it slept */
    ucs_time_t spin;         /**< How long to say BUSY before sleeping */
    ucs_time_t spin_end;     /**< When to sleep this time; 0: not asked yet */
    ucs_time_t yield_time;   /**< When to offer the processor to others */
    ucs_time_t ack_end;      /**< How long to wait for peers' acknowledgement */
    uint64_t   received;     /**< Messages, when last asked to sleep */
    long       timer_ns;     /**< Time until the timer wakes us, or 0 */
    uint64_t   num_sleeps;   /**< Times that the interface went to sleep */
    uint64_t   num_timeouts; /**< Times with a timer */
    uint64_t   num_notified; /**< Times that peers have woken it */
    uint64_t   num_idle_wakes; /**< Of those, without anything to do */
} xshm_events_t;


/** Nothing is open yet. @a spin is UCX_XSHM_SPIN, in seconds. */
void xshm_event_init(xshm_events_t *events, double spin);

/** Close what is open */
void xshm_event_cleanup(xshm_events_t *events);

/** UCT_IFACE_FLAG_EVENT_xx that the interface's platform allows */
uint64_t xshm_event_flags(const struct xshm_iface *iface);

/** See uct_iface_ops_t::iface_event_fd_get. Until somebody asks for it, arming
 *  opens the descriptor itself. */
ucs_status_t xshm_event_fd_get(uct_iface_h tl_iface, int *fd_p);

/**
 * See uct_iface_ops_t::iface_event_arm.
 *
 * @return UCS_OK or UCS_ERR_BUSY, nothing else; and UCS_OK after a bounded
 *         number of calls, with a readable descriptor if there is something to
 *         do, or if something that it needs cannot be opened. If that is the
 *         descriptor itself, nobody has it to sleep on: it is readable then when
 *         xshm_event_fd_get() can open it.
 */
ucs_status_t xshm_event_arm(uct_iface_h tl_iface, unsigned events);

/** In the progress after xshm_event_disarm() nothing was to be done */
void xshm_event_was_idle(struct xshm_iface *iface);

/** Progress was called many times more: when it never sleeps in between, peers
 *  need not look for that any more */
void xshm_event_relax(struct xshm_iface *iface);

/**
 * Progress was called: tell the peers that we do not sleep.
 *
 * @return Not zero if a peer has notified, or may have had reason to: then the
 *         channels that are looked at seldom have been looked at, and those
 *         with messages are hot.
 */
int xshm_event_disarm(struct xshm_iface *iface);

#endif
