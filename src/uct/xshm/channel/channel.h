/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_CHANNEL_H_
#define XSHM_CHANNEL_H_

#include "../platform/platform.h"

/**
 * How news from a platform reach the channels, on the service thread. The
 * owner of a connection is an xshm_tx_t where this side sends, and an
 * xshm_rx_t where it receives.
 */
extern const xshm_platform_sink_t xshm_channel_sink;

#endif
