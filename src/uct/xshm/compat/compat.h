/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_COMPAT_H_
#define XSHM_COMPAT_H_

/**
 * The differences between the versions of UCX, in one place. UCX's internal
 * headers are no stable ABI: a build of this library serves the one minor
 * version (1.13, say) whose headers it was built with.
 */

/**
 * Is the UCX in this process the one that this library was built for?
 *
 * Safe to call with any version of UCX: it only looks for names and calls
 * nothing but UCX's public way to ask for the version.
 *
 * @return Zero, after a line in the log, if not.
 */
int xshm_compat_check(void);

#endif
