/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#include "complain.h"

#include <pthread.h>
#include <time.h>


/* Rarely taken: by who complains */
static pthread_mutex_t xshm_complain_lock = PTHREAD_MUTEX_INITIALIZER;


static uint64_t xshm_complain_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static int xshm_complaint_is_due(const xshm_complaint_t *complaint)
{
    return (complaint->num_lines < XSHM_COMPLAIN_BURST) ||
           (xshm_complain_now() - complaint->last >= XSHM_COMPLAIN_SECONDS);
}

int xshm_complaint_may(xshm_complaint_t *complaint, uint32_t *left_out_p)
{
    int is_due;

    pthread_mutex_lock(&xshm_complain_lock);
    is_due = xshm_complaint_is_due(complaint);
    if (is_due) {
        ++complaint->num_lines;
        *left_out_p             = complaint->num_left_out;
        complaint->num_left_out = 0;
        complaint->last         = xshm_complain_now();
    } else {
        ++complaint->num_left_out;
    }
    pthread_mutex_unlock(&xshm_complain_lock);
    return is_due;
}
