/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_POLLSET_H_
#define XSHM_POLLSET_H_

#include "../channel/rx.h"

#include <ucs/sys/compiler_def.h>

/**
 * The receiving channels of an interface. Those that had messages lately are
 * "hot", and looked at each time; of the others, one in turn. So a thousand
 * silent channels cost little more than one. The price is that the first
 * message on a channel that was silent waits for its turn: as many calls of
 * progress as there are silent channels.
 *
 * While a channel is cold nothing is sent by its pair's turn line: so where to
 * look for the next message does not change.
 */

/** A cold channel, so that all that is needed to look at it is in one place:
 *  while it is cold, its position does not change. */
typedef struct xshm_cold_rx {
    const uint8_t         *pos;
    const uint8_t         *other; /**< The other place for a record */
    const xshm_abi_turn_t *turn;
    uint16_t               lap;
    uint16_t               other_lap;
    uint16_t               turn_number;
    uint32_t               num_records;
    xshm_rx_t             *rx;
} xshm_cold_rx_t;


typedef struct xshm_pollset {
    xshm_rx_t **hot;
    unsigned    num_hot;
    unsigned    num_cold;
    unsigned    next_cold; /**< Whose turn it is; less than num_cold, or 0 */
    unsigned    countdown; /**< Turns until cooling */
    xshm_cold_rx_t *cold;
    unsigned        capacity;      /**< Of both arrays */
    uint64_t        received_away; /**< Messages of channels that are not hot:
                                        cold, or gone */
} xshm_pollset_t;


/** It is empty, and takes no memory yet */
void xshm_pollset_init(xshm_pollset_t *set);

/** Free the arrays; the channels are the caller's */
void xshm_pollset_cleanup(xshm_pollset_t *set);

/** Add a channel, hot */
ucs_status_t xshm_pollset_add(xshm_pollset_t *set, xshm_rx_t *rx);

/** Remove a channel. The order of the others may change. */
void xshm_pollset_remove(xshm_pollset_t *set, xshm_rx_t *rx);

/** Any channel of the set, or NULL if it is empty */
xshm_rx_t *xshm_pollset_any(const xshm_pollset_t *set);

/** Number of channels */
static inline unsigned xshm_pollset_size(const xshm_pollset_t *set)
{
    return set->num_hot + set->num_cold;
}

/** Messages of all channels, also of those that are gone: what is a message
 *  does not depend on which channels are hot */
uint64_t xshm_pollset_received(const xshm_pollset_t *set);

/** A channel: first the hot ones, then the cold ones */
static inline xshm_rx_t *
xshm_pollset_get(const xshm_pollset_t *set, unsigned index)
{
    return (index < set->num_hot) ? set->hot[index] :
                                    set->cold[index - set->num_hot].rx;
}

/** Find a channel that @a match says yes to, or NULL */
xshm_rx_t *
xshm_pollset_find(const xshm_pollset_t *set, int (*match)(const xshm_rx_t *rx));

/** Move the channels that had no message since the last time to the cold */
void xshm_pollset_cool(xshm_pollset_t *set);

/** Make all cold channels hot that have something in them */
void xshm_pollset_heat_all(xshm_pollset_t *set);

/** Make a cold channel hot.
 *
 *  @param [in] index  Its place among the cold ones. */
xshm_rx_t *xshm_pollset_heat(xshm_pollset_t *set, unsigned index);

/** Make this channel hot, if it is cold */
void xshm_pollset_heat_rx(xshm_pollset_t *set, const xshm_rx_t *rx);


/** Only a hint: the channel itself looks with SEE */
static inline int xshm_cold_rx_has_record(const xshm_cold_rx_t *cold)
{
    xshm_abi_turn_head_t head;
    xshm_abi_record_t    record, other;

    record.word =
            __atomic_load_n((const uint64_t *)cold->pos, __ATOMIC_RELAXED);
    other.word =
            __atomic_load_n((const uint64_t *)cold->other, __ATOMIC_RELAXED);
    head.word = __atomic_load_n(&cold->turn->head.word, __ATOMIC_RELAXED);
    return (record.lap == cold->lap) || (other.lap == cold->other_lap) ||
           ((head.number == cold->turn_number) &&
            (head.sequence == cold->num_records));
}

static inline void xshm_cold_rx_prefetch(const xshm_cold_rx_t *cold)
{
    __builtin_prefetch(cold->pos);
    __builtin_prefetch(cold->other);
    __builtin_prefetch(cold->turn);
}

/**
 * Look at one cold channel, if there is any, and fetch the next one's lines for
 * the next time.
 *
 * @param [out] index_p  If there is any: its place among the cold ones.
 *
 * @return Is there something in it? Then it is to be made hot.
 */
static UCS_F_ALWAYS_INLINE int
xshm_pollset_look_at_cold(xshm_pollset_t *set, unsigned *index_p)
{
    unsigned index = set->next_cold;
    unsigned next  = index + 1;

    if (set->num_cold == 0) {
        return 0;
    }

    if (next < set->num_cold) {
        xshm_cold_rx_prefetch(&set->cold[next]);
        set->next_cold = next;
    } else if (index > 0) {
        xshm_cold_rx_prefetch(&set->cold[0]);
        set->next_cold = 0;
    }

    *index_p = index;
    return xshm_ring_unlikely(xshm_cold_rx_has_record(&set->cold[index]));
}

#endif
