/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_BARRIER_H_
#define XSHM_BARRIER_H_

/**
 * A full memory fence in all threads of this process at once, so that the
 * threads that send need none of their own for what changes once in a while
 * (ALL_THREADS in ring/sleep.h).
 */

/** Must be called before the first barrier, once in a process.
 *  @return Zero if this kernel does not have it. */
int xshm_barrier_init(void);

/** Can xshm_barrier_all_threads() be called? If not, those who would rely on it
 *  have to fence each time. Any thread. */
int xshm_barrier_is_available(void);

/** Returns when each thread of this process has passed a full fence. Any
 *  thread. */
void xshm_barrier_all_threads(void);

#endif
