/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_RING_SIZE_H_
#define XSHM_RING_SIZE_H_

/*
 * Sizes of rings that the user leaves to us, bytes. xshm_info tells of them.
 *
 * A stream of messages that both sides copy moves up to twice as fast through
 * the large one (docs/performance.md, "The size of the ring"). An interface has
 * some of these, for the peers that it meets first, where memory costs no more
 * than itself: so many peers do not take much of it.
 */
#define XSHM_RING_SIZE_SMALL (56u * 1024)
#define XSHM_RING_SIZE_LARGE (512u * 1024)

/** Large rings of an interface */
#define XSHM_RING_SIZE_MAX_LARGE 8u

#endif
