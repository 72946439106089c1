/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_SERVICE_H_
#define XSHM_SERVICE_H_

#include "../platform/platform.h"

#include <ucs/datastruct/queue.h>

/**
 * One thread per process does what may take long: finding peers, answering
 * their requests, mapping memory, and cleaning up. It never touches an object
 * of UCX. Others give it work by a queue; it reports by mailboxes
 * (mailbox.h).
 *
 * It starts when it is first needed, and stops when the library is unloaded.
 */

/** Something to do on the service thread. Part of the object that it is about,
 *  so that it needs no memory of its own. */
typedef struct xshm_work {
    ucs_queue_elem_t elem;
    void (*func)(struct xshm_work *work);
} xshm_work_t;


/** Start the service, if it does not run yet.
 *  @return UCS_ERR_UNSUPPORTED in a forked child. */
ucs_status_t xshm_service_start(void);

/** Stop the thread and close all that it has open */
void xshm_service_stop(void);

/** The running service's state of a platform, or NULL if it cannot be used */
xshm_platform_t *xshm_service_platform(const xshm_platform_ops_t *ops);

/** Domain id of this virtual machine, or XSHM_DOMAIN_SAME: it has none, or the
 *  service does not run yet. Any thread. */
int xshm_service_domain(void);

/** Do something on the service thread. The work must not be queued already.
 *  Any thread. */
void xshm_service_post(xshm_work_t *work, void (*func)(xshm_work_t *work));

#endif
