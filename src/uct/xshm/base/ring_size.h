/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_RING_SIZE_H_
#define XSHM_RING_SIZE_H_

/*
 * Sizes of rings for UCX_XSHM_RING_SIZE=auto, bytes.
 *
 * A stream of messages that both sides copy moves up to 1.8 times as fast
 * through the large one (docs/performance.md, "The size of the ring"). Only the
 * channels that an interface opens first have one, so that many peers take little
 * memory, and only where memory for rings is not scarce (xshm_platform_ops_t).
 */
#define XSHM_RING_SIZE_SMALL (56u * 1024)
#define XSHM_RING_SIZE_LARGE (512u * 1024)

/** Large rings of an interface */
#define XSHM_RING_SIZE_MAX_LARGE 8u

#endif
