/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "barrier.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>


static int xshm_barrier_available;


static int xshm_barrier_call(int command)
{
    return (int)syscall(__NR_membarrier, command, 0, 0);
}

int xshm_barrier_init(void)
{
    xshm_barrier_available =
            xshm_barrier_call(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    return xshm_barrier_available;
}

int xshm_barrier_is_available(void)
{
    return xshm_barrier_available;
}

void xshm_barrier_all_threads(void)
{
    if (xshm_barrier_available) {
        (void)xshm_barrier_call(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}
