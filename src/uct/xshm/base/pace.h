/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_PACE_H_
#define XSHM_PACE_H_

#include <ucs/sys/compiler.h>
#include <ucs/time/time.h>

#include <limits.h>

/**
 * When to look for the next message.
 *
 * A receiver that looks at a line takes it away from the sender that is about
 * to write it, and the line has to travel twice. So where messages come alone,
 * one after the other, as answers do, the receiver learns after which time the
 * next one is there, and looks then. Nobody waits for that time to end:
 * progress goes on to whatever else there is. docs/performance.md has what it
 * gains.
 *
 * Learning is a tug of war: a look that finds its message makes the time a
 * little shorter, one in vain makes it twice as much longer. So about a third
 * of the first looks come just too early, and the time follows what it
 * measures. After a look in vain, each call of progress looks.
 */

/** The time is kept in parts of the clock's ticks */
#define XSHM_PACE_SHIFT 8u

/** A look that finds its message takes this part (a power of two) of the time,
 *  and one in vain adds that. Measured: docs/performance.md. */
#define XSHM_PACE_SHORTER_SHIFT 7u
#define XSHM_PACE_LONGER_SHIFT  6u

/** So many messages in a row have come alone before there is a pace */
#define XSHM_PACE_ALONE 4u

/** One of so many messages is looked behind, whether more have come with it: a
 *  power of two */
#define XSHM_PACE_LOOK_BEHIND 16u

/** After so many looks in vain the next message is not an answer: no pace */
#define XSHM_PACE_MAX_VAIN 256u


typedef enum {
    XSHM_PACE_NOW,   /**< Each call of progress looks */
    XSHM_PACE_BEGIN, /**< The next call lets the time begin: what the user does
                          with the message does not count */
    XSHM_PACE_WAIT   /**< Not before the time has passed */
} xshm_pace_state_t;


typedef struct xshm_pace {
    xshm_pace_state_t state;
    unsigned          num_alone;    /**< Messages in a row that came alone */
    unsigned          enough_alone; /**< For a pace; UINT_MAX: never */
    ucs_time_t        next;         /**< When to look, if WAIT, ticks */
    ucs_time_t        wait;     /**< From a message to that, parts of ticks */
    ucs_time_t        max_wait; /**< At most so long */
} xshm_pace_t;


/** @param [in] max_wait  Longest time not to look after a message, ticks;
 *                        zero: always look. */
static inline void xshm_pace_init(xshm_pace_t *pace, ucs_time_t max_wait)
{
    pace->state        = XSHM_PACE_NOW;
    pace->num_alone    = 0;
    pace->enough_alone = (max_wait > 0) ? XSHM_PACE_ALONE : UINT_MAX;
    pace->next         = 0;
    pace->max_wait     = max_wait << XSHM_PACE_SHIFT;
    pace->wait         = pace->max_wait;
}

/** Does each call of progress look for messages? */
static UCS_F_ALWAYS_INLINE int xshm_pace_is_now(const xshm_pace_t *pace)
{
    return pace->state == XSHM_PACE_NOW;
}

/** Else: is it time to look, at the time @a now? */
static inline int xshm_pace_is_due_at(xshm_pace_t *pace, ucs_time_t now)
{
    if (pace->state == XSHM_PACE_BEGIN) {
        pace->state = XSHM_PACE_WAIT;
        pace->next  = now + (pace->wait >> XSHM_PACE_SHIFT);
        return 0;
    }

    return now >= pace->next;
}

/** It has been so long that the next message is not an answer */
static inline void xshm_pace_forget(xshm_pace_t *pace)
{
    pace->num_alone = 0;
    pace->state     = XSHM_PACE_NOW;
}

/** How many messages to take in this look: behind one that comes alone there is
 *  nothing, and a look there would be in vain */
static UCS_F_ALWAYS_INLINE unsigned
xshm_pace_limit(const xshm_pace_t *pace, unsigned max)
{
    return (ucs_likely(pace->num_alone < pace->enough_alone) ||
            ((pace->num_alone % XSHM_PACE_LOOK_BEHIND) == 0)) ?
                   max :
                   1;
}

/** The look after the time has found nothing */
static inline void xshm_pace_missed(xshm_pace_t *pace)
{
    pace->state = XSHM_PACE_NOW;
    pace->wait += pace->wait >> XSHM_PACE_LONGER_SHIFT;
    if (pace->wait > pace->max_wait) {
        pace->wait = pace->max_wait;
    }
}

/** A message has come, and no other with it */
static inline void xshm_pace_hit(xshm_pace_t *pace, unsigned num_vain)
{
    if (pace->state == XSHM_PACE_WAIT) {
        pace->wait -= pace->wait >> XSHM_PACE_SHORTER_SHIFT;
    }

    pace->num_alone = (num_vain < XSHM_PACE_MAX_VAIN) ? pace->num_alone + 1 : 0;
    pace->state     = (pace->num_alone < pace->enough_alone) ? XSHM_PACE_NOW :
                                                               XSHM_PACE_BEGIN;
}

/**
 * Note what a look has found.
 *
 * @param [in] count      Messages.
 * @param [in] num_looked Channels that were looked at: it takes one for a pace.
 * @param [in] num_vain   Calls of progress without a message before this one.
 */
static UCS_F_ALWAYS_INLINE void
xshm_pace_looked(xshm_pace_t *pace, unsigned count, unsigned num_looked,
                 unsigned num_vain)
{
    if (ucs_likely(count == 0)) {
        if (ucs_unlikely(pace->state != XSHM_PACE_NOW)) {
            xshm_pace_missed(pace);
        }
    } else if ((count == 1) && (num_looked == 1)) {
        xshm_pace_hit(pace, num_vain);
    } else {
        xshm_pace_forget(pace);
    }
}

#endif
