/**
 * Copyright (c) 2026, the xshm authors. All rights reserved.
 * SPDX-License-Identifier: BSD-3-Clause
 */

#ifndef XSHM_XEN_STORE_H_
#define XSHM_XEN_STORE_H_

#include <ucs/type/status.h>

#include <stdint.h>

/**
 * Xenstore, through libxenstore: each call asks the daemon and waits for its
 * answer (on a quiet host a fraction of a millisecond). Paths without a leading
 * slash are below this domain's own tree. No transactions are used: xenstored
 * limits their rate.
 *
 * Threads: the service's.
 */

struct xs_handle;

typedef struct xshm_xen_store {
    struct xs_handle *xs;
} xshm_xen_store_t;


/** An event of a watch; to be freed with free() */
typedef char **xshm_xen_event_t;


/** Who may read a node besides its owner */
#define XSHM_XEN_STORE_ALL UINT32_MAX


/** How long a process waits at its start for xenstored to answer, seconds */
#define XSHM_XEN_STORE_TIMEOUT 10

/**
 * Does xenstored answer at all? It does not any more for this machine when it
 * was started anew without its state; and libxenstore would wait for ever. A
 * thread of its own finds out, so whoever starts a process can be told.
 *
 * Threads: any.
 */
int xshm_xen_store_answers(void);

/** @return UCS_ERR_IO_ERROR, with errno */
ucs_status_t xshm_xen_store_open(xshm_xen_store_t *store);

void xshm_xen_store_close(xshm_xen_store_t *store);

/**
 * Open again what libxenstore has closed: it does so after an error that the
 * kernel reports, as when no more watches are allowed. All watches are gone.
 *
 * @return UCS_ERR_IO_ERROR, with errno
 */
ucs_status_t xshm_xen_store_reopen(xshm_xen_store_t *store);

/** A descriptor that is readable when there are events */
int xshm_xen_store_fd(const xshm_xen_store_t *store);

/** Read a node. @return Its value, to be freed, or NULL; errno says why. */
char *xshm_xen_store_read(xshm_xen_store_t *store, const char *path);

/** Write a node: what is new inherits who may read it from its parent */
int xshm_xen_store_write(xshm_xen_store_t *store, const char *path,
                         const char *value);

/** Make a node that @a reader (or XSHM_XEN_STORE_ALL) can read */
int xshm_xen_store_share(xshm_xen_store_t *store, uint32_t domid,
                         const char *path, uint32_t reader);

/** Could a node be made now? @a path is the one to try, and is gone after
 *  it. */
int xshm_xen_store_has_room(xshm_xen_store_t *store, const char *path);

/** Remove a node, if it is there */
void xshm_xen_store_remove(xshm_xen_store_t *store, const char *path);

/** Names of a node's children, to be freed at once with free(), or NULL */
char **
xshm_xen_store_list(xshm_xen_store_t *store, const char *path, unsigned *num_p);

/**
 * Ask for events of a node and of all below it.
 *
 * @return UCS_ERR_EXCEEDS_LIMIT if this domain has as many watches as it may, or
 *         UCS_ERR_IO_ERROR, with errno. The store has to be reopened then.
 */
ucs_status_t xshm_xen_store_watch(xshm_xen_store_t *store, const char *path);

/** Ask for them no more. Some may still come. */
void xshm_xen_store_unwatch(xshm_xen_store_t *store, const char *path);

/** Take the oldest event. @return Its path, valid until @a event_p is freed,
 *  or NULL: none. */
const char *
xshm_xen_store_next(xshm_xen_store_t *store, xshm_xen_event_t *event_p);

#endif
