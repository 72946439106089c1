/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_COMPLAIN_H_
#define XSHM_COMPLAIN_H_

#include <ucs/debug/log.h>

#include <inttypes.h>
#include <stdint.h>

/**
 * Warnings that a peer can cause, and so could cause without end: of each kind
 * some are written, and after that one from time to time, with the number of
 * those that were left out.
 *
 * Threads: any.
 */

/** Lines of one kind at once, and after how many seconds it is one more */
#define XSHM_COMPLAIN_BURST   8u
#define XSHM_COMPLAIN_SECONDS 10u

/** What was written of one kind; zeroed at the start */
typedef struct xshm_complaint {
    uint32_t num_lines;    /**< Written */
    uint32_t num_left_out; /**< Since the last one */
    uint64_t last;         /**< When it was written, seconds */
} xshm_complaint_t;


/**
 * May another line be written?
 *
 * @param [out] left_out_p  If so: how many were not, since the last one.
 */
int xshm_complaint_may(xshm_complaint_t *complaint, uint32_t *left_out_p);


/** Warn of what a peer has done. The arguments are those of printf(). */
#define xshm_complain(_fmt, ...) \
    do { \
        static xshm_complaint_t _complaint; \
        uint32_t                _left_out; \
\
        if (!xshm_complaint_may(&_complaint, &_left_out)) { \
            ucs_debug(_fmt, ##__VA_ARGS__); \
        } else if (_left_out == 0) { \
            ucs_warn(_fmt, ##__VA_ARGS__); \
        } else { \
            ucs_warn(_fmt " (%u more of such lines were left out)", \
                     ##__VA_ARGS__, _left_out); \
        } \
    } while (0)

#endif
