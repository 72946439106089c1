/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_LOCAL_H_
#define XSHM_LOCAL_H_

#include "../platform.h"

/**
 * Peers of the same user, on this kernel, in this network namespace: memory
 * from memfd, and an abstract UNIX socket to meet. Nothing of it has a place
 * in a file system, so nothing is left behind, however a process ends.
 */
extern const xshm_platform_ops_t xshm_local_ops;

#endif
