/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "pollset.h"

#include <ucs/debug/log.h>

#include <stdlib.h>
#include <string.h>


#define XSHM_POLLSET_MIN_CAPACITY 16u

/* Turns in which a hot channel must have a message to stay hot. An empty turn
 * takes some nanoseconds: so this is in the order of a hundred microseconds. */
#define XSHM_POLLSET_COOL_TURNS 16384u


void xshm_pollset_init(xshm_pollset_t *set)
{
    memset(set, 0, sizeof(*set));
    set->countdown = XSHM_POLLSET_COOL_TURNS;
}

void xshm_pollset_cleanup(xshm_pollset_t *set)
{
    free(set->hot);
    free(set->cold);
}

static ucs_status_t xshm_pollset_grow(xshm_pollset_t *set)
{
    unsigned        capacity = (set->capacity > 0) ? (set->capacity * 2) :
                                                     XSHM_POLLSET_MIN_CAPACITY;
    xshm_cold_rx_t *cold;
    xshm_rx_t     **hot;

    hot = realloc(set->hot, capacity * sizeof(*hot));
    if (hot == NULL) {
        goto err;
    }

    set->hot = hot;
    cold     = realloc(set->cold, capacity * sizeof(*cold));
    if (cold == NULL) {
        goto err;
    }

    set->cold     = cold;
    set->capacity = capacity;
    return UCS_OK;

err:
    ucs_error("xshm: cannot allocate memory to poll %u peers", capacity);
    return UCS_ERR_NO_MEMORY;
}

/* Only messages of hot channels have to be counted where they come in */
static void xshm_pollset_make_hot(xshm_pollset_t *set, xshm_rx_t *rx)
{
    set->received_away -= rx->received;
    set->hot[set->num_hot++] = rx;
}

/* The last one takes its place */
static void xshm_pollset_remove_hot(xshm_pollset_t *set, unsigned index)
{
    set->received_away += set->hot[index]->received;
    set->hot[index] = set->hot[--set->num_hot];
}

ucs_status_t xshm_pollset_add(xshm_pollset_t *set, xshm_rx_t *rx)
{
    ucs_status_t status;

    if ((set->num_hot + set->num_cold) == set->capacity) {
        status = xshm_pollset_grow(set);
        if (status != UCS_OK) {
            return status;
        }
    }

    xshm_pollset_make_hot(set, rx);
    return UCS_OK;
}

/* The last one takes its place */
static void xshm_pollset_remove_cold(xshm_pollset_t *set, unsigned index)
{
    set->cold[index] = set->cold[--set->num_cold];
    if (set->next_cold >= set->num_cold) {
        set->next_cold = 0;
    }
}

void xshm_pollset_remove(xshm_pollset_t *set, xshm_rx_t *rx)
{
    unsigned i;

    for (i = 0; i < set->num_hot; ++i) {
        if (set->hot[i] == rx) {
            xshm_pollset_remove_hot(set, i);
            return;
        }
    }

    for (i = 0; i < set->num_cold; ++i) {
        if (set->cold[i].rx == rx) {
            xshm_pollset_remove_cold(set, i);
            return;
        }
    }
}

uint64_t xshm_pollset_received(const xshm_pollset_t *set)
{
    uint64_t count = set->received_away;
    unsigned i;

    for (i = 0; i < set->num_hot; ++i) {
        count += set->hot[i]->received;
    }

    return count;
}

xshm_rx_t *xshm_pollset_any(const xshm_pollset_t *set)
{
    if (set->num_hot > 0) {
        return set->hot[0];
    }

    return (set->num_cold > 0) ? set->cold[0].rx : NULL;
}

xshm_rx_t *
xshm_pollset_find(const xshm_pollset_t *set, int (*match)(const xshm_rx_t *rx))
{
    unsigned i;

    for (i = 0; i < set->num_hot; ++i) {
        if (match(set->hot[i])) {
            return set->hot[i];
        }
    }

    for (i = 0; i < set->num_cold; ++i) {
        if (match(set->cold[i].rx)) {
            return set->cold[i].rx;
        }
    }

    return NULL;
}

static void xshm_pollset_make_cold(xshm_pollset_t *set, unsigned hot_index)
{
    xshm_cold_rx_t *cold = &set->cold[set->num_cold++];
    xshm_rx_t      *rx   = set->hot[hot_index];

    xshm_turn_withhold(&rx->ring);
    cold->rx          = rx;
    cold->pos         = rx->ring.pos;
    cold->lap         = rx->ring.lap;
    cold->turn        = rx->ring.turn;
    cold->turn_number = rx->ring.turn_number;
    cold->num_records = rx->ring.num_records;
    cold->other       = xshm_ring_rx_other_place(&rx->ring, &cold->other_lap);
    xshm_pollset_remove_hot(set, hot_index);
}

void xshm_pollset_cool(xshm_pollset_t *set)
{
    unsigned   i = 0;
    xshm_rx_t *rx;

    set->countdown = XSHM_POLLSET_COOL_TURNS;
    while (i < set->num_hot) {
        rx = set->hot[i];
        if (rx->received == rx->seen) {
            xshm_pollset_make_cold(set, i);
        } else {
            rx->seen = rx->received;
            ++i;
        }
    }
}

xshm_rx_t *xshm_pollset_heat(xshm_pollset_t *set, unsigned index)
{
    xshm_rx_t *rx = set->cold[index].rx;

    xshm_pollset_remove_cold(set, index);
    xshm_pollset_make_hot(set, rx);
    xshm_turn_resume(&rx->ring);
    return rx;
}

void xshm_pollset_heat_rx(xshm_pollset_t *set, const xshm_rx_t *rx)
{
    unsigned i;

    for (i = 0; i < set->num_cold; ++i) {
        if (set->cold[i].rx == rx) {
            (void)xshm_pollset_heat(set, i);
            return;
        }
    }
}

void xshm_pollset_heat_all(xshm_pollset_t *set)
{
    unsigned i = 0;

    while (i < set->num_cold) {
        if (xshm_cold_rx_has_record(&set->cold[i])) {
            /* Another one takes its place */
            (void)xshm_pollset_heat(set, i);
        } else {
            ++i;
        }
    }
}
