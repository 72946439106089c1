/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_H_
#define XSHM_XEN_H_

#include "../platform.h"

/**
 * Peers in other virtual machines of one Xen host: memory that this machine
 * grants to the peer's (gntalloc, gntdev), and xenstore to meet.
 */
extern const xshm_platform_ops_t xshm_xen_ops;

#endif
